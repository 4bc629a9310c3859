"""Why two ports differ: the known traps behind each difference of two layers, in one line.

Defaults are those of `frameworks/native.py` and docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isclose
from typing import Any, TypeAlias

from benchmarks.porting.between.rows import LayerRow
from benchmarks.reporting.layer_text import padding_text
from frameworks import spec
from frameworks.spec import same, sides, times
from frameworks.spec.windowed import gaps

Cause: TypeAlias = Callable[[LayerRow, LayerRow, Any, Any], str]

SIDES = ("A", "B")
_PADDED = "padding"
# The epsilon that a framework's layer has if none is given, and the fraction that batch norm takes of a new statistic.
_EPSILONS = {
    "BatchNorm": {1e-5: "PyTorch, Gluon and Flax", 1e-3: "Keras"},
    "LayerNorm": {1e-5: "PyTorch and Gluon", 1e-3: "Keras", 1e-6: "Flax"},
    "GroupNorm": {1e-5: "PyTorch and Gluon", 1e-3: "Keras", 1e-6: "Flax"},
}
_MOMENTA = {0.1: "PyTorch and Gluon", 0.01: "Keras and Flax"}
_POSITIONS = {
    "half_pixel": "half-pixel positions (PyTorch, TensorFlow 2)",
    "aligned_corners": "aligned corners (align_corners=True)",
    "asymmetric": "asymmetric positions (TensorFlow 1)",
}
_REVERSED = (2, 1, 0)


def of_argument(name: str, a: LayerRow, b: LayerRow, one: Any, other: Any) -> str:
    """Why an argument of two layers differs; the two values if nothing more is known."""
    known = _CAUSES.get(name)
    return (known(a, b, one, other) if known else "") or _plainly(name, one, other)


def of_kind(a: LayerRow, b: LayerRow) -> str:
    return f"{a.node.layer.kind} in A, {b.node.layer.kind} in B"


def of_order(in_a: str, in_b: str) -> str:
    """Why a layer is at another place."""
    return f"the order of the layers: {in_a} in A, {in_b} in B"


def of_missing(row: LayerRow, side: str) -> str:
    """Why a layer is on one side only."""
    other = SIDES[1 - SIDES.index(side)]
    layer = row.node.layer
    where = f"after {row.before.path}" if row.before else "at the input"
    match layer:
        case spec.Select() if layer.maps == _REVERSED:
            return f"{side} reverses the order of the colors (RGB and BGR), {other} does not"
        case spec.Scale():
            factor = value_text("", layer.factor)
            return f"{side} multiplies its values by {factor} {where}, {other} does not: input scaling"
        case spec.Normalize():
            return f"{side} subtracts a mean and divides by a deviation {where}, {other} does not: input scaling"
        case spec.BatchNorm():
            return f"{other} has no batch normalization {where}; a converter may have folded it into the layer before"
    return f"{other} has no {layer.kind} {where}"


def value_text(name: str, value: Any) -> str:
    """A value of an argument as reports show it."""
    if value is None:
        return "none"
    if name == _PADDED:
        return padding_text(value)
    if isinstance(value, float):
        return format(value, ".8g")
    if isinstance(value, (tuple, list)):
        if len(value) == 2 and value[0] == value[1] and isinstance(value[0], int):
            return str(value[0])
        shown = [value_text("", each) for each in value]
        return ", ".join(shown if len(shown) <= 8 else [*shown[:6], "..."])
    return str(value)


def _plainly(name: str, a: Any, b: Any) -> str:
    return f"{name.replace('_', ' ')} is {value_text(name, a)} in A, {value_text(name, b)} in B"


def _padding(a: LayerRow, b: LayerRow, one: Any, other: Any) -> str:
    plain = _plainly(_PADDED, one, other)
    if all(sum(x) == sum(y) for x, y in zip(one, other)):
        return f"{plain}: the same number of zeros on the other side, as SAME_UPPER (TensorFlow, Keras) and SAME_LOWER"
    for side, row, given in zip(SIDES, (a, b), (one, other)):
        layer: Any = row.node.layer
        if isinstance(layer, spec.Conv | spec.MaxPool | spec.AvgPool):
            _, height, width = row.node.input
            if given == same(layer.kernel, layer.stride, (height, width), dilation=gaps(layer)) and not _even(given):
                return f'{plain}: {side} has the "same" padding of TensorFlow and Keras for {times(row.node.input)}'
    return plain


def _even(padding: Any) -> bool:
    return all(before == after for before, after in sides(padding))


def _eps(a: LayerRow, b: LayerRow, one: float, other: float) -> str:
    defaults = _EPSILONS.get(a.kind, {})
    known = [f"{value_text('', each)} is the default of {defaults[each]}" for each in (one, other) if each in defaults]
    return f"epsilon is {one:g} in A, {other:g} in B" + (f": {', '.join(known)}" if known else "")


def _momentum(a: LayerRow, b: LayerRow, one: float, other: float) -> str:
    plain = f"momentum is {one:g} in A, {other:g} in B"
    if isclose(one + other, 1):
        return (
            f"{plain}: the fraction of the new statistic (PyTorch) taken for that of the old one (Keras, Gluon, Flax)"
        )
    known = [f"{value_text('', each)} is the default of {_MOMENTA[each]}" for each in (one, other) if each in _MOMENTA]
    return plain + (f": {', '.join(known)}" if known else "")


def _rate(a: LayerRow, b: LayerRow, one: float, other: float) -> str:
    plain = f"the dropout rate is {one:g} in A, {other:g} in B"
    if isclose(one + other, 1):
        return f"{plain}: the fraction that is dropped was taken for the one that is kept (keep_prob of TensorFlow 1)"
    return plain


def _alpha(a: LayerRow, b: LayerRow, one: float, other: float) -> str:
    if a.kind != "LocalResponseNorm":
        return ""
    ratio = max(one, other) / min(one, other) if min(one, other) > 0 else 0.0
    sizes = [row.arguments["size"] for row in (a, b)]
    plain = f"alpha of the response normalization is {one:g} in A, {other:g} in B"
    if any(isclose(ratio, size, rel_tol=1e-6) for size in sizes):
        return f"{plain}: PyTorch, Gluon and Caffe divide it by the window's size, TensorFlow and the paper do not"
    return plain


def _bias(a: LayerRow, b: LayerRow, one: bool, other: bool) -> str:
    return f"no bias in {SIDES[one]}"


def _gamma(a: LayerRow, b: LayerRow, one: bool, other: bool) -> str:
    fixed = "fix_gamma or scale=False of Gluon and Keras"
    return f"gamma is fixed at 1 in {SIDES[one]} ({fixed}) and trained in {SIDES[other]}"


def _beta(a: LayerRow, b: LayerRow, one: float, other: float) -> str:
    if a.kind == "LocalResponseNorm":
        return ""
    return f"no beta in {SIDES[int(one)]} (center=False of Gluon and Keras)"


def _ceil(a: LayerRow, b: LayerRow, one: bool, other: bool) -> str:
    return f"the number of windows is rounded up in {SIDES[other]} (Caffe, ceil_mode=True) and down in {SIDES[one]}"


def _count_padding(a: LayerRow, b: LayerRow, one: bool, other: bool) -> str:
    return (
        f"padded zeros count in the mean in {SIDES[other]} (PyTorch, Gluon) and not in {SIDES[one]} (TensorFlow, Keras)"
    )


def _positions(a: LayerRow, b: LayerRow, one: str, other: str) -> str:
    return f"the resize has {_POSITIONS[one]} in A, {_POSITIONS[other]} in B"


def _approximate(a: LayerRow, b: LayerRow, one: bool, other: bool) -> str:
    return f"GELU has the tanh form (JAX' default) in {SIDES[other]} and the exact form in {SIDES[one]}"


def _slope(a: LayerRow, b: LayerRow, one: float, other: float) -> str:
    plain = f"the slope is {one:.6g} in A, {other:.6g} in B"
    if a.kind == "HardSigmoid":
        return f"{plain}: 1/6 in PyTorch and Keras 3, 0.2 in Keras 2, Gluon and ONNX"
    return plain


def _factor(a: LayerRow, b: LayerRow, one: float, other: float) -> str:
    return f"values are multiplied by {one:.6g} in A, by {other:.6g} in B: input scaling"


def _maps(a: LayerRow, b: LayerRow, one: Any, other: Any) -> str:
    if sorted(map(str, one)) == sorted(map(str, other)):
        return "the channels are in another order"
    return ""


def _mean(a: LayerRow, b: LayerRow, one: Any, other: Any) -> str:
    return f"input scaling: {_plainly('mean', one, other)}"


def _std(a: LayerRow, b: LayerRow, one: Any, other: Any) -> str:
    return f"input scaling: {_plainly('std', one, other)}"


_CAUSES: dict[str, Cause] = {
    "padding": _padding,
    "eps": _eps,
    "momentum": _momentum,
    "rate": _rate,
    "alpha": _alpha,
    "bias": _bias,
    "gamma": _gamma,
    "beta": _beta,
    "ceil": _ceil,
    "count_padding": _count_padding,
    "positions": _positions,
    "approximate": _approximate,
    "slope": _slope,
    "factor": _factor,
    "maps": _maps,
    "mean": _mean,
    "std": _std,
}
