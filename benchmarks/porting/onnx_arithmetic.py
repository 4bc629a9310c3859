"""Layers that a file writes out as arithmetic, known by what they compute.

Exporters write out what their version of ONNX has no operator for: GELU, layer normalization, PReLU, local response
normalization. Each has its own
way. So the operators after the last tensor on which alone a result depends are computed for random values, and so are
the layers that they may be. Nothing depends on which operators these are, or on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from benchmarks.porting.graphs import Value
from benchmarks.porting.numbers import shortest
from benchmarks.runtime.errors import BadInput
from frameworks.arrays import Array
from frameworks.reference_layers import LAYERS
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)

OPERATORS = frozenset(
    "Abs Add AveragePool Cast Clip Div Elu Equal Erf Exp Expand Greater GreaterOrEqual HardSigmoid Identity LeakyRelu "
    "Less LessOrEqual Log Max Min Mul Neg Pad Pow Reciprocal ReduceMean ReduceSum ReduceSumSquare Relu Reshape Selu "
    "Sigmoid Sign Softplus Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where".split()
)
MOST = 32  # operators of one layer
ENOUGH = 64  # values of each channel: some are negative, and a factor and a bias are found and checked
FEW = 64  # values that exclude most activations
SPREAD = 3.0  # the deviation of the random values
ROUNDING = 1e-9
MOST_EPS = 0.1
MOST_BETA = 4.0
_ACTIVATIONS = (
    GELU(),
    GELU(approximate=True),
    SiLU(),
    Mish(),
    Softplus(),
    Sigmoid(),
    Tanh(),
    HardSwish(),
    HardSigmoid(),
    HardSigmoid(slope=0.2),
    ELU(),
    SELU(),
    ReLU(),
    ReLU6(),
)


@dataclass(frozen=True)
class Unknown:
    """A tensor that no layer gives; it may be a part of one that is written out. error: for who needs it."""

    error: BadInput


@dataclass(frozen=True)
class Written:
    """A layer without a name, on the whole output that a value is of, and its arrays by role: each with its name in the
    file, which is empty for one that the file computes. inside: the tensors that are parts of it, and its output."""

    value: Value
    layer: Layer
    arrays: Mapping[str, tuple[str, Array]]
    inside: tuple[str, ...] = ()


class Arithmetic:
    """Finds layers in the operators of a model. compute: the outputs of one operator. batch: images at a time."""

    def __init__(
        self, nodes: Sequence[Any], compute: Callable[[Any, Mapping[str, Array]], Sequence[Array]], batch: int
    ) -> None:
        self.compute, self.batch = compute, batch
        self.producers = {name: (place, node) for place, node in enumerate(nodes) for name in node.output}
        self.root, self.known = "", [dict[str, Array]()]

    def layer(self, node: Any, values: Mapping[str, Any]) -> Written | None:
        """The layer whose output an operator gives; None if it is none, or if other operators are part of it."""
        found = self._since(node, values)
        if found is None:
            return None
        root, nodes = found
        value = values[root]
        in_order = value.is_whole or value.is_last
        if not in_order and not np.array_equal(np.sort(value.index, None), np.arange(prod(value.of))):
            return None  # a part of an output
        constants = {name: values[name] for each in nodes for name in each.input if _is_array(values.get(name))}
        with np.errstate(all="ignore"):  # a part of a layer need not be defined everywhere
            samples = self._samples(root, value, nodes, constants)
            kinds = {each.op_type for each in nodes}
            written = samples and _written(value, *samples, constants, kinds)
        return written and replace(written, inside=tuple(each.output[0] for each in nodes))

    def _since(self, node: Any, values: Mapping[str, Any]) -> tuple[str, list[Any]] | None:
        """The last tensor on which alone an operator depends, and the operators since then, in order."""
        taken, left = {self.producers[node.output[0]][0]: node}, _inputs(node, values)
        while len(taken) <= MOST:
            if len(left) == 1 and isinstance(values.get(root := next(iter(left))), Value):
                return root, [taken[place] for place in sorted(taken)]
            place, latest = max((self.producers.get(name, (-1, None)) for name in left), key=lambda each: each[0])
            if latest is None or latest.op_type not in OPERATORS or latest.domain not in ("", "ai.onnx"):
                return None
            taken[place] = latest
            left = left - set(latest.output) | _inputs(latest, values)
        return None

    def _samples(
        self, root: str, value: Value, nodes: Sequence[Any], constants: Mapping[str, Array]
    ) -> tuple[Array, Array] | None:
        """Random values of the output that a value is of, and what the operators make of them, in the same order."""
        random, order = np.random.default_rng(0), value.index.ravel()
        batches = -(-ENOUGH // (self.batch * prod(value.of[1:])))
        x = random.normal(scale=SPREAD, size=(batches, self.batch, len(order)))
        if root != self.root:
            self.root, self.known = root, [{root: each[:, order].reshape(-1, *value.shape)} for each in x]
        y = np.empty_like(x)
        for batch, known in enumerate(self.known):
            for node in nodes:
                if node.output[0] not in known:
                    given = {name: known[name] if name in known else constants[name] for name in node.input if name}
                    try:
                        known |= zip(node.output, self.compute(node, given))
                    except (TypeError, ValueError, IndexError, RuntimeError):  # of onnx.reference, for sizes
                        return None
            output = known[nodes[-1].output[0]]
            if output.shape != (self.batch, *value.shape) or output.dtype != np.float64:
                return None
            y[batch][:, order] = output.reshape(self.batch, -1)
        return x.reshape(-1, *value.of), y.reshape(-1, *value.of)


def _inputs(node: Any, values: Mapping[str, Any]) -> set[str]:
    return {name for name in node.input if name and not _is_array(values.get(name))}


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _written(
    value: Value, x: Array, y: Array, constants: Mapping[str, Array], kinds: Collection[str]
) -> Written | None:
    """The layer that gives y for x, if there is one. kinds: the operators that do."""
    if "AveragePool" in kinds:
        return _response_norm(value, x, y, constants)
    for layer in _ACTIVATIONS:
        few = np.ravel(x)[:FEW], np.ravel(y)[:FEW]
        if _equal(_computed(layer, few[0]), few[1]) and _equal(_computed(layer, x), y):
            return Written(value, layer, {})
    if any(kind.startswith("Reduce") for kind in kinds):
        return _normalization(value, x, y, constants)
    axes = (0, *range(2, x.ndim))
    slope = np.sum(y * (x < 0), axes) / np.sum(np.minimum(x, 0), axes)
    if not _equal(_computed(PReLU(""), x, slope=slope), y):
        return None
    name, array = _of_file(slope, constants)
    if name and slope.size > 1:
        return Written(value, PReLU(""), {"slope": (name, array)})
    constant = np.ptp(slope) < ROUNDING and 0 <= slope[0] < 1
    return Written(value, LeakyReLU(slope=shortest(float(slope[0]))), {}) if constant else None


def _normalization(value: Value, x: Array, y: Array, constants: Mapping[str, Array]) -> Written | None:
    """The normalization whose epsilon is one of the constants, with a factor and a bias by channel that are found."""
    best, least = None, ROUNDING
    axes = (0, *range(2, x.ndim))
    numbers = {float(each.ravel()[0]) for each in constants.values() if each.size == 1}
    for layer in (kind for eps in sorted(numbers) if 0 < eps < MOST_EPS for kind in _normalizations(value, eps)):
        z = _computed(replace(layer, gamma=False, beta=False), x)
        deviations = z - z.mean(axes, keepdims=True)
        squares = (deviations**2).sum(axes)
        if not squares.all():
            continue
        gamma = (deviations * y).sum(axes) / squares
        arrays = {"gamma": gamma, "beta": y.mean(axes) - gamma * z.mean(axes)}
        difference = float(np.abs(_computed(layer, x, **arrays) - y).max() / max(np.abs(y).max(), 1))
        if difference < least:
            least = difference
            kept = {role: each for role, each in arrays.items() if np.abs(each - (role == "gamma")).max() > ROUNDING}
            options: Any = {role: role in kept for role in arrays}
            named = {role: _of_file(each, constants) for role, each in kept.items()}
            best = Written(value, replace(layer, eps=shortest(layer.eps), **options), named)
    return best


def _response_norm(value: Value, x: Array, y: Array, constants: Mapping[str, Array]) -> Written | None:
    """The local response normalization whose k and beta are among the constants; its size and alpha are found.

    (x / y)^(1 / beta) - k is alpha / size times the sum of the squares in the window, for every value alike.
    """
    numbers = sorted({float(each.ravel()[0]) for each in constants.values() if each.size == 1})
    channels = x.shape[1]
    for beta in (number for number in numbers if 0 < number <= MOST_BETA):
        bases = (x / y) ** (1 / beta)
        for k in (number for number in numbers if number > 0):
            for size in range(1, 2 * channels):
                sums = (LocalResponseNorm("", size, alpha=1.0, beta=1.0, k=0.0), x)
                factors = (bases - k) * _computed(*sums) / x
                alpha = float(np.median(factors))
                layer = LocalResponseNorm("", size, alpha=alpha, beta=beta, k=k)
                if np.isfinite(alpha) and alpha > 0 and _equal(_computed(layer, x), y):
                    alpha, beta, k = map(shortest, (alpha, beta, k))
                    return Written(value, LocalResponseNorm("", size, alpha=alpha, beta=beta, k=k), {})
    return None


def _normalizations(value: Value, eps: float) -> Iterator[Any]:
    yield LayerNorm("", eps)
    if len(value.of) == 3:
        maps = value.of[0]
        yield from (GroupNorm("", groups, eps) for groups in range(1, maps) if maps % groups == 0)
        yield InstanceNorm("", eps)


def _of_file(array: Array, constants: Mapping[str, Array]) -> tuple[str, Array]:
    """The constant of the file that has these values, with its name; the values themselves if there is none."""
    for name, constant in constants.items():
        for signed in (constant.ravel(), -constant.ravel()):
            if signed.size == array.size and np.allclose(signed, array, rtol=ROUNDING, atol=ROUNDING):
                return name, signed
    return "", array


def _computed(layer: Layer, x: Array, **arrays: Array) -> Array:
    return np.asarray(LAYERS[type(layer)](layer, x, **arrays)[0])


def _equal(one: Array, other: Array) -> bool:
    return bool(np.abs(one - other).max() <= ROUNDING * max(np.abs(other).max(), 1))
