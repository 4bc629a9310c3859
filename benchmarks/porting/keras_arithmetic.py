"""GELU and local response normalization as arithmetic: an operation on a part of one gives a larger part.

Keras has no layer for the response normalization, and its GELU has constants in float32. So `port --to keras` writes
both as arithmetic, and so do people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, TypeAlias

import numpy as np

from benchmarks.porting.array_builder import ArrayBuilder
from benchmarks.porting.graphs import Value
from frameworks.arrays import Array
from frameworks.spec import GELU, Layer, LocalResponseNorm, Scale


@dataclass(frozen=True)
class Gate:
    """A part of x * (1 + erf(x / sqrt(2))) / 2, by its form: `erf`, `1 + erf` or `x (1 + erf)`."""

    of: Value
    form: str


@dataclass(frozen=True)
class Response:
    """A part of x / (k + factor * s) ** beta, where s sums the squares of `size` channels."""

    of: Value
    size: int = 0
    factor: float = 1.0
    k: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True)
class Whole:
    """All of one: the layer, and what it takes."""

    of: Value
    layer: Layer


Part: TypeAlias = "Gate | Response"


def erf_of(builder: ArrayBuilder, value: Value) -> Gate | None:
    """erf(x / sqrt(2)), for the value in the brackets; None for another value."""
    operator = builder.operators.get(value.source)
    match operator.layers if operator else ():
        case (Scale(factor=factor) as scale,) if abs(factor * sqrt(2) - 1) < 1e-6:
            of = _before(builder, value, scale)
            return Gate(of, "erf") if of else None
    return None


def after(
    builder: ArrayBuilder,
    part: Part,
    kind: str,
    others: Sequence[Any],
    values: Sequence[Value],
    *,
    part_divides: bool,
) -> Part | Whole | None:
    """A part after an operation, or all of it; None for an operation of neither.

    kind: the operation's class. others: its constants. values: the tensors beside the part. part_divides: whether the
    part is the second of two tensors.
    """
    numbers = [float(each) for each in others if isinstance(each, (int, float))]
    match kind, part, numbers, values:
        case "Add", Gate(form="erf"), [1.0], []:
            return Gate(part.of, "1 + erf")
        case "Multiply", Gate(form="x (1 + erf)"), [0.5], []:
            return Whole(part.of, GELU())
        case "Multiply", Gate(form="1 + erf"), [], [value]:
            if _is_same(value, part.of):
                return Gate(part.of, "x (1 + erf)")
            if _is_same(_before(builder, value, Scale(factor=0.5)), part.of):
                return Whole(part.of, GELU())
        case "Matmul", Response(size=0), [], [] if size := _band(np.array(others, object)):
            return replace(part, size=size)
        case "Multiply", Response(k=0.0, beta=0.0), [factor], [] if part.size:
            return replace(part, factor=part.factor * factor)
        case "Add", Response(beta=0.0), [number], [] if part.size:
            return replace(part, k=part.k + number)
        case "Power", Response(beta=0.0), [number], [] if part.size:
            return replace(part, beta=number)
        case "TrueDivide" | "Divide", Response(of=of), [], [value] if part.beta and part_divides:
            if _is_same(value, of):
                alpha = float(f"{part.factor * part.size:.15g}")
                return Whole(of, LocalResponseNorm("", part.size, alpha, part.beta, part.k))
    return None


def _before(builder: ArrayBuilder, value: Value, layer: Layer) -> Value | None:
    """The value that a layer takes to give this one; None if another layer gives it."""
    operator = builder.operators.get(value.source)
    if operator is None or operator.layers != (layer,):
        return None
    return builder.whole(operator.inputs[0], last=value.is_last and not value.is_whole)


def _is_same(one: Value | None, other: Value) -> bool:
    return one is not None and one.source == other.source and np.array_equal(one.index, other.index)


def _band(matrix: Array) -> int:
    """The size of the windows of local response normalization whose sums a product with a matrix gives; 0 for none."""
    places = np.arange(len(matrix))
    distance = places[:, None] - places
    for size in range(1, 2 * len(matrix)):
        if np.array_equal(matrix, (distance >= -(size // 2)) & (distance <= (size - 1) // 2)):
            return size
    return 0
