"""One step of two persons' own training code, `train.py:step`, and what kind of step each is.

The step starts from known weights on known images, so the change of each array tells what was computed. The gradient is
linear in the targets: that of a smoothed label is a sum of the plain gradient and that of uniform targets. If the
changes of all arrays are a sum of these two and of the weights, the step is one of SGD, and the coefficients are its
learning rate, label smoothing and weight decay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path

import numpy as np

import frameworks
from benchmarks.porting import network_import
from benchmarks.porting.between.differences import TRAINING, NetworkDifference
from benchmarks.porting.scripts import run_script
from benchmarks.porting.sources import Side
from benchmarks.runtime import user_files
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.training.checkpoints import read_npz
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass
from frameworks.spec import Dropout, Network

SCRIPT = Path(frameworks.__file__).parent / "network_files" / "torch_step.py"
EXPLAINED = 1e-6  # of the largest change: what a formula may leave
_MODULE = re.compile(r"(?P<file>.*\.py):(?P<name>\w+)(?:\((?P<call>.*)\))?", re.DOTALL)

# Arguments of a step in the order in which differences are reported, and how a message names them.
_NAMES = {
    "rule": "the optimizer",
    "lr": "the learning rate",
    "label_smoothing": "label smoothing",
    "weight_decay": "weight decay of the weights",
    "gamma_decay": "weight decay of gamma",
    "bias_decay": "weight decay of biases and beta",
}

_DECAYED = (("weight",), ("gamma", "slope"), ("bias", "beta"))  # roles of arrays that have one decay


@dataclass(frozen=True)
class FittedStep:
    """What one step computes. rule: `SGD`, `Adam` or empty if it is neither; Adam's decay is decoupled."""

    rule: str
    lr: float = 0.0
    label_smoothing: float = 0.0
    weight_decay: float = 0.0
    gamma_decay: float = 0.0
    bias_decay: float = 0.0

    @property
    def text(self) -> str:
        if not self.rule:
            return "a step that is neither SGD's nor Adam's of this gradient, decoupled decay and smoothing included"
        given = [f"{words} {getattr(self, name):.6g}" for name, words in _NAMES.items() if name not in ("rule", "lr")]
        return ", ".join([f"{self.rule} at {self.lr:.6g}", *(each for each in given if not each.endswith(" 0"))])


def is_own(text: str) -> bool:
    """Whether a training is code of a file."""
    return user_files.is_file(text)


def check(step: str) -> None:
    """Raise BadInput unless the file of a step exists and a function is named, before anything is computed."""
    file, name = user_files.split(step)
    if not Path(file).is_file() or not name:
        raise BadInput(f"{step}: write FILE.py:FUNCTION, a file that exists and a function of module, images, labels")


def after(
    side: Side,
    weights: Weights,
    images: Array,
    labels: Array,
    step: str,
    pythons: Mapping[str, str],
    progress: Callable[[str], None],
) -> Weights:
    """The arrays of a module after one step of its own training code, by canonical names. Raises BadInput."""
    module, (file, name) = _MODULE.fullmatch(side.text), user_files.split(step)
    if module is None or side.imported is None:
        raise BadInput(f"{step}: own training code is for a module of PyTorch, and {side.text} is none")
    network, own = side.network, network_import.own_names(side.network)
    if side.imported.pixels:
        front = network.nodes[side.imported.pixels - 1].path
        images = Pass(network, weights, images, None, False).outputs[front]
    given = side.imported.original.arrays
    task = {
        **{"file": str(Path(module["file"]).resolve()), "name": module["name"], "call": module["call"] or ""},
        **{"step_file": str(Path(file).resolve()), "step": name},
    }
    python = environment(FrameworkRequest(network_import.TORCH), pythons, device="cpu", progress=progress).python
    with TemporaryFolder("step") as folder:
        arrays = {own[key]: array.reshape(given[own[key]].shape) for key, array in weights.items()}
        np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
        np.save(folder / "images.npy", images)
        np.save(folder / "labels.npy", labels)
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        run_script(python, SCRIPT, [str(folder)], [folder / "after.npz"], step)
        changed = read_npz(folder / "after.npz", "file")
    return {key: changed[own[key]].reshape(array.shape) for key, array in weights.items()}


def described(network: Network, before: Weights, changed: Weights, images: Array, labels: Array) -> FittedStep | None:
    """What kind of step changed the arrays; None if dropout makes the gradient unknown."""
    if any(isinstance(node.layer, Dropout) for _, node in network.walk()):
        return None
    plain, uniform = (_gradients(network, before, images, labels, smoothing) for smoothing in (0.0, 1.0))
    names = [parameter.name for parameter in network.parameters if parameter.trainable]
    changes = _joined({name: changed[name] - before[name] for name in names})
    decayed = [
        _joined({name: before[name] * (name.rpartition(".")[2] in roles) for name in names}) for roles in _DECAYED
    ]
    g, u = (_joined({name: each[name] for name in names}) for each in (plain, uniform))
    found = _fitted(changes, np.stack([g, u, *decayed], 1))
    if found is not None and (total := found[0] + found[1]):
        return FittedStep("SGD", _rounded(-total), *(_rounded(each / total) for each in found[1:]))
    found = _fitted(changes, np.stack([g / (np.abs(g) + 1e-8), *decayed], 1))
    if found is not None and found[0]:
        return FittedStep("Adam", _rounded(-found[0]), 0.0, *(_rounded(each / found[0]) for each in found[1:]))
    return FittedStep("")


def differences(a: FittedStep | None, b: FittedStep | None, batch: int) -> list[NetworkDifference]:
    """How two steps differ, with the likely cause."""
    if a is None or b is None:
        return []
    if not a.rule or not b.rule:
        cause = f"{a.text} in A, {b.text} in B"
        return [NetworkDifference(TRAINING, TRAINING, "step", a.text, b.text, cause, True)]
    found: list[NetworkDifference] = []
    for name, words in _NAMES.items():
        one, other = getattr(a, name), getattr(b, name)
        if one != other:
            texts = (one, other) if name == "rule" else (f"{one:.6g}", f"{other:.6g}")
            cause = f"{words} is {texts[0]} in A, {texts[1]} in B"
            if name == "lr" and any(isclose(x, batch * y, rel_tol=1e-6) for x, y in ((one, other), (other, one))):
                cause += f": the loss is summed over the {batch} images in one and averaged in the other"
            found.append(NetworkDifference(TRAINING, TRAINING, name, texts[0], texts[1], cause))
    return found


def _gradients(network: Network, weights: Weights, images: Array, labels: Array, smoothing: float) -> Weights:
    run = Pass(network, weights, images, np.random.default_rng(0), False)
    run.backward(labels, smoothing)
    return run.gradients


def _joined(arrays: Weights) -> Array:
    return np.concatenate([array.ravel() for array in arrays.values()])


def _fitted(changes: Array, parts: Array) -> Array | None:
    """The coefficients of the parts whose sum the changes are; None if they are no such sum."""
    scales = np.abs(parts).max(0)
    parts = parts / np.where(scales > 0, scales, 1.0)
    found = np.linalg.lstsq(parts, changes, rcond=None)[0]
    if np.abs(parts @ found - changes).max() > EXPLAINED * np.abs(changes).max():
        return None
    return found / np.where(scales > 0, scales, 1.0)


def _rounded(value: float) -> float:
    """A coefficient to six digits; one that is rounding is 0."""
    return 0.0 if abs(value) < EXPLAINED else float(f"{value:.6g}")
