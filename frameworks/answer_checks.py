"""What an adapter's methods return, checked where it arrives: a wrong type or shape is named with its method.

Without these checks a wrong answer fails later, in code that the author of the adapter does not know.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from frameworks.adapter import Adapter, Trained
from frameworks.arrays import Array, Weights
from frameworks.spec import Shape


class WrongAnswer(TypeError):
    """A method of an adapter returned what the contract does not allow."""


def texts(kind: type[Adapter], method: str, answer: Any) -> dict[str, str]:
    """`versions()` or `settings()`: texts by name."""
    if not isinstance(answer, dict) or not all(isinstance(each, str) for pair in answer.items() for each in pair):
        raise _wrong(kind, method, answer, "a dictionary of texts by name")
    if method == "versions" and not answer:
        raise _wrong(kind, method, answer, "the version of the framework and of what it computes with")
    return answer


def array_shapes(adapter: Adapter) -> dict[str, tuple[Shape, bool]]:
    """`arrays`: shape and whether it is trained, by name."""
    answer: Any = getattr(adapter, "arrays", None)
    if not isinstance(answer, Mapping) or not all(map(_is_described, answer.values())):
        raise _wrong(type(adapter), "__init__", answer, "(shape, trained) by name in `arrays`")
    return {name: (tuple(map(int, shape)), bool(trained)) for name, (shape, trained) in answer.items()}


def trained(adapter: Adapter, answer: Any, steps: int, images: int) -> Trained:
    """`train(...)`: the loss of each step and the number of correct images."""
    if not isinstance(answer, Trained):
        raise _wrong(type(adapter), "train", answer, "frameworks.adapter.Trained")
    losses = np.asarray(answer.losses)
    if losses.shape != (steps,) or losses.dtype.kind not in "fiu":
        raise _wrong(type(adapter), "train", answer.losses, f"losses of shape ({steps},), one for each step")
    if not isinstance(answer.correct, (int, np.integer)) or not 0 <= answer.correct <= images:
        raise _wrong(type(adapter), "train", answer.correct, f"a number of correct images from 0 to {images}")
    return Trained(losses.astype(np.float64), int(answer.correct))


def logits(adapter: Adapter, answer: Any, images: int | None) -> Array:
    """`predict(...)`: N x classes. images: N, if it is known."""
    classes = adapter.network.classes
    fits = isinstance(answer, np.ndarray) and answer.ndim == 2 and answer.dtype.kind == "f"
    if not fits or answer.shape[1] != classes or images not in (None, len(answer)):
        count = "N" if images is None else str(images)
        raise _wrong(type(adapter), "predict", answer, f"a NumPy array of floats, {count} x {classes}")
    return answer


def named_arrays(adapter: Adapter, method: str, answer: Any) -> Weights:
    """`get_weights()`, `activations(...)` or the second part of `gradients(...)`: arrays by name."""
    if not isinstance(answer, Mapping) or not all(isinstance(each, np.ndarray) for each in answer.values()):
        raise _wrong(type(adapter), method, answer, "NumPy arrays by name")
    if method == "get_weights" and (missing := [name for name in adapter.arrays if name not in answer]):
        raise _wrong(type(adapter), method, answer, f"all arrays of the network; {missing[0]} is missing")
    return dict(answer)


def loss_and_gradients(adapter: Adapter, answer: Any) -> tuple[float, Weights]:
    """`gradients(...)`: the loss and arrays by name."""
    if not isinstance(answer, tuple) or len(answer) != 2 or np.ndim(answer[0]) or not np.isreal(answer[0]):
        raise _wrong(type(adapter), "gradients", answer, "(loss, arrays by name)")
    return float(answer[0]), named_arrays(adapter, "gradients", answer[1])


def sizes(adapter: Adapter, answer: Any) -> dict[str, int]:
    """`peak_memory()`: bytes by name."""
    if not isinstance(answer, dict) or not all(isinstance(each, (int, np.integer)) for each in answer.values()):
        raise _wrong(type(adapter), "peak_memory", answer, "bytes by name")
    return {str(name): int(size) for name, size in answer.items()}


def _is_described(value: Any) -> bool:
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not isinstance(value[0], (tuple, list)):
        return False
    return all(isinstance(size, (int, np.integer)) for size in value[0])


def _wrong(kind: type[Adapter], method: str, answer: Any, allowed: str) -> WrongAnswer:
    what = type(answer).__name__
    if isinstance(answer, np.ndarray):
        what = f"an array of {answer.dtype}, {' x '.join(map(str, answer.shape)) or 'one value'}"
    elif isinstance(answer, (int, float, str)):
        what = repr(answer)[:40]
    return WrongAnswer(f"{kind.__name__}.{method} gives {what}; the contract asks for {allowed}{_place(kind, method)}")


def _place(kind: type[Adapter], method: str) -> str:
    """Where a method is defined, for messages; empty if it is not a Python function."""
    function = inspect.unwrap(getattr(kind, method))
    code = getattr(function, "__code__", None)
    return f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
