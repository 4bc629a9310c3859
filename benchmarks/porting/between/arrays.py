"""Compares the arrays of two networks, layer by layer: equal, or equal but for what a wrong conversion does to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import permutations
from math import isclose, prod
from typing import TypeAlias

import numpy as np

from benchmarks.porting.between.alignment import Alignment
from benchmarks.porting.between.differences import NetworkDifference
from benchmarks.porting.between.rows import LayerRow
from frameworks.arrays import Array, Weights
from frameworks.spec import Flatten, Network, Node, Parameter, Shape

STORED = 1e-5  # of the largest value: what storage in float32 and its arithmetic change
LOW_PRECISION = 1e-2  # what storage in float16 or bfloat16 changes

Change: TypeAlias = tuple[str, Callable[[Array], Array]]

_AXES = ("channels", "rows", "columns")
_FACTORS = {
    255.0: "pixels from 0 to 255 in one and from 0 to 1 in the other",
    1 / 255: "pixels from 0 to 255 in one and from 0 to 1 in the other",
    -1.0: "the sign is reversed",
}


def differences(alignment: Alignment, a: Network, b: Network, in_a: Weights, in_b: Weights) -> list[NetworkDifference]:
    """The arrays of aligned layers that differ, in reading order, with the change that makes them equal."""
    flattened = _flattened(a) | _flattened(b)
    found: list[NetworkDifference] = []
    for one, other in alignment.partners:
        roles = {parameter.role: parameter for parameter in other.node.parameters}
        for parameter in one.node.parameters:
            partner = roles.get(parameter.role)
            if partner is None:
                continue
            x, y = (np.asarray(each, np.float64) for each in (in_a[parameter.name], in_b[partner.name]))
            if cause := _cause(x, y, parameter, (one, other), flattened.get(one.path), (in_a, in_b)):
                texts = _described(x), _described(y)
                found.append(NetworkDifference(one.path, other.path, parameter.role, *texts, cause, True))
    return found


def _flattened(network: Network) -> dict[str, Shape]:
    """The shape before flattening of what layers behind a flatten take, by the layer's path."""
    found: dict[str, Shape] = {}

    def visit(nodes: Sequence[Node], shape: Shape | None) -> None:
        for node in nodes:
            if isinstance(node.layer, Flatten) and len(node.input) == 3:
                shape = node.input
            elif node.input != (prod(shape or ()),):
                shape = None
            if shape and not isinstance(node.layer, Flatten):
                found[node.path] = shape
            for branch in node.branches:
                visit(branch, shape)

    visit(network.nodes, None)
    return found


def _cause(
    x: Array,
    y: Array,
    parameter: Parameter,
    rows: tuple[LayerRow, LayerRow],
    flat: Shape | None,
    all_: tuple[Weights, Weights],
) -> str:
    """How two arrays differ; empty if they are equal."""
    if x.size != y.size:
        return "the shapes differ"
    if x.shape != y.shape:
        y = y.reshape(x.shape)
    if np.array_equal(x, y):
        return ""
    if _close(x, y):
        return "equal up to the rounding of float32"
    for text, changed in _changes(x.shape, parameter.role, flat):
        moved = changed(x)
        if moved.shape == y.shape and not np.array_equal(moved, x) and (factor := _factor(moved, y)) is not None:
            return text if factor == 1 else f"{text}, and {_scaled(factor)}"
    if (factor := _factor(x, y)) is not None and not isclose(factor, 1, rel_tol=LOW_PRECISION):
        return _scaled(factor)
    if parameter.role == "gamma":
        for side, values in zip("AB", (x, y)):
            if (values == 1).all():
                return f"gamma is 1 everywhere in {side}: fixed there (fix_gamma, scale=False), or never trained"
    if parameter.role == "running_var" and (x >= 0).all() and (y >= 0).all():
        for side, values, root in (("A", y, x), ("B", x, y)):
            if _close(np.sqrt(values), root):
                return f"{side} has the standard deviation where the other has the variance"
    if exchanged := _exchanged(x, y, rows, all_):
        return exchanged
    apart = float(np.abs(x - y).max() / max(np.abs(x).max(), np.abs(y).max()))
    return "equal up to the rounding of float16 or bfloat16" if apart <= LOW_PRECISION else "other values"


def _changes(shape: Shape, role: str, flat: Shape | None) -> Iterator[Change]:
    """What conversions do wrong: an axis is reversed, or axes are exchanged."""
    if role == "weight" and len(shape) == 4:
        yield "rows and columns of the kernel are exchanged (transposed)", lambda w: w.swapaxes(2, 3)
        yield (
            "the kernel is rotated by 180 degrees: a convolution in one, a cross-correlation in the other",
            lambda w: w[:, :, ::-1, ::-1],
        )
        if shape[1] == 3:
            yield "the input's colors are in reverse order: RGB in one, BGR in the other", lambda w: w[:, ::-1]
        yield "inputs and outputs are exchanged (transposed)", lambda w: w.swapaxes(0, 1)
    if role == "weight" and len(shape) == 2:
        yield "inputs and outputs are exchanged (transposed)", lambda w: w.T
    axis = 1 if role == "weight" else 0
    if flat and shape[axis] == prod(flat):
        for order in list(permutations(range(3)))[1:]:
            index = np.arange(prod(flat)).reshape(flat).transpose(order).ravel()
            names = ", ".join(_AXES), ", ".join(_AXES[each] for each in order)
            for places, (in_a, in_b) in ((index, names), (np.argsort(index), names[::-1])):
                yield f"flatten order: {in_a} in A, {in_b} in B", partial(np.take, indices=places, axis=axis)


def _factor(x: Array, y: Array) -> float | None:
    """The number that makes x equal to y; None if there is none. A factor near 1 is 1."""
    power = float((x * x).sum())
    factor = float((x * y).sum()) / power if power else 0.0
    if not factor or not _close(factor * x, y):
        return None
    return 1.0 if isclose(factor, 1, rel_tol=10 * STORED) else factor


def _scaled(factor: float) -> str:
    known = next((text for value, text in _FACTORS.items() if isclose(factor, value, rel_tol=1e-3)), "")
    return f"B is A times {factor:.6g}" + (f": {known}" if known else "")


def _exchanged(x: Array, y: Array, rows: tuple[LayerRow, LayerRow], all_: tuple[Weights, Weights]) -> str:
    """Another array of A that B has in this place."""
    constant = y.size == 0 or (y == y.flat[0]).all()
    own = {parameter.name for parameter in rows[0].node.parameters}
    for name in () if constant else (*own, *(each for each in all_[0] if each not in own)):
        other = all_[0][name]
        if other.shape == y.shape and _close(np.asarray(other, np.float64), y):
            return f"B has the values of A's {name}"
    return ""


def _close(x: Array, y: Array) -> bool:
    if x.shape != y.shape:
        return False
    return bool(np.abs(x - y).max(initial=0) <= STORED * max(np.abs(x).max(initial=0), np.abs(y).max(initial=0)))


def _described(values: Array) -> str:
    """An array in few characters: its range."""
    return f"{values.min():.4g} to {values.max():.4g}"
