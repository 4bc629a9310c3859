"""The maximum over dilated windows as arithmetic: of strided slices of an image, the larger values one after the other.

Keras has no layer for it, so `port --to keras` writes `where(other > first, other, first)` for each place of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.porting.array_builder import short_pair
from benchmarks.porting.graphs import Value
from frameworks.arrays import Array
from frameworks.spec import MaxPool
from frameworks.spec.windowed import extent


@dataclass(frozen=True)
class Maximum:
    """The largest of slices of one output; of equal values, that of the first slice."""

    slices: tuple[Value, ...]


@dataclass(frozen=True)
class Larger:
    """Where a slice is larger than the maximum of those before it."""

    slice: Value
    before: Maximum


def maximum_of(value: Value | Maximum) -> Maximum:
    return value if isinstance(value, Maximum) else Maximum((value,))


def larger(one: object, other: object) -> Larger | None:
    """`one > other`; None if they are no slices of one image."""
    if not isinstance(one, Value) or not isinstance(other, (Value, Maximum)):
        return None
    before = maximum_of(other)
    alike = (one.source, one.shape) == (before.slices[0].source, before.slices[0].shape)
    image = len(one.of) == len(one.shape) == 3 and all(one.shape)
    return Larger(one, before) if alike and image else None


def chosen(condition: object, one: object, other: object) -> Maximum | None:
    """`where(condition, one, other)`; None if that is not the larger of both."""
    if not isinstance(condition, Larger) or not isinstance(one, Value) or not isinstance(other, (Value, Maximum)):
        return None
    operands = zip((one, *maximum_of(other).slices), (condition.slice, *condition.before.slices), strict=False)
    same = len(maximum_of(other).slices) == len(condition.before.slices)
    if not same or any(a.source != b.source or not np.array_equal(a.index, b.index) for a, b in operands):
        return None
    return Maximum((*condition.before.slices, one))


def pool(maximum: Maximum, whole: Value) -> MaxPool | None:
    """The layer that gives a maximum of slices of a whole output; None if none does."""
    last = whole.last
    _, height, width = whole.of
    first = [each.index[..., 0] if last else each.index[0] for each in maximum.slices]  # of the first channel
    rows, columns = [each[:, 0] // width for each in first], [each[0] % width for each in first]
    vertical, horizontal = _axis(rows, height), _axis(columns, width)
    if not vertical or not horizontal:
        return None
    kernel, stride, dilation = (short_pair(each) for each in zip(vertical, horizontal))
    spans = [
        [slice(place * gap, size - extent(count, gap) + place * gap + 1, step) for place in range(count)]
        for size, (count, step, gap) in ((height, vertical), (width, horizontal))
    ]
    places = [(row, column) for row in spans[0] for column in spans[1]]
    expected = [whole.index[place if last else (slice(None), *place)] for place in places]
    found = [each.index for each in maximum.slices]
    if len(found) != len(expected) or not all(map(np.array_equal, found, expected)):
        return None
    return MaxPool("", kernel, stride, dilation=dilation)


def _axis(pixels: list[Array], size: int) -> tuple[int, int, int] | None:
    """Window, stride and dilation along an axis, of the pixels that each slice takes."""
    starts = sorted({int(each[0]) for each in pixels})
    gap = starts[1] - starts[0] if len(starts) > 1 else 1
    if starts[0] or starts != list(range(0, len(starts) * gap, gap)):
        return None
    one_window = len(pixels[0]) == 1
    step = size - extent(len(starts), gap) + 1 if one_window else int(pixels[0][1] - pixels[0][0])
    return len(starts), step, gap
