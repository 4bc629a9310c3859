"""The maximum over windows, recognized in slices of an image, and interpolations, recognized in matrices."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from benchmarks.porting.graphs import Value
from benchmarks.porting.interpolation import interpolation
from benchmarks.porting.keras_windows import Larger, Maximum, chosen, larger, maximum_of, pool
from frameworks.arrays import resize_matrix
from frameworks.spec import AdaptiveAvgPool, MaxPool, Resize, pair
from frameworks.spec.value_checks import METHODS, POSITIONS
from frameworks.spec.windowed import extent

SHAPE = (3, 9, 8)


def slices(layer: MaxPool, last: bool) -> list[Value]:
    """The places of a layer's windows, row by row, from the definition of a window."""
    _, height, width = layer.output(SHAPE)
    (down, right), (vertical, horizontal) = pair(layer.dilation), pair(layer.stride)
    whole = Value("x", SHAPE, last=last)
    found = []
    for row, column in np.ndindex(pair(layer.kernel)):
        rows = row * down + vertical * np.arange(height)
        columns = column * right + horizontal * np.arange(width)
        key = np.ix_(rows, columns, range(3)) if last else np.ix_(range(3), rows, columns)
        found.append(whole.moved(lambda index, key=key: index[key]))  # type: ignore[misc]
    return found


def combined(values: list[Value]) -> Maximum:
    """What a program with `greater` and `where` gives."""
    result: Value | Maximum = values[0]
    for value in values[1:]:
        condition = larger(value, result)
        assert isinstance(condition, Larger)
        chosen_of_both = chosen(condition, value, result)
        assert chosen_of_both is not None
        result = chosen_of_both
    return maximum_of(result)


LAYERS = [
    *(MaxPool("", 3, 2, dilation=2), MaxPool("", (2, 3), (1, 2), dilation=(3, 2)), MaxPool("", 2, 1)),
    *(MaxPool("", (1, 2), 3, dilation=(1, 4)), MaxPool("", 4, 1, dilation=(2, 2))),
]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_maximum_of_slices_is_a_layer(layer: MaxPool, last: bool) -> None:
    found = pool(combined(slices(layer, last)), Value("x", SHAPE, last=last))
    assert found is not None
    same = [pair(found.kernel), found.output(SHAPE), found.padding]
    assert same == [pair(layer.kernel), layer.output(SHAPE), 0]
    for k, one, other in zip(pair(layer.kernel), pair(found.dilation), pair(layer.dilation)):
        assert extent(k, one) == extent(k, other)
    indices = [[each.index for each in slices(each_layer, last)] for each_layer in (found, layer)]
    assert all(map(np.array_equal, *indices))


def test_what_is_no_window_is_no_layer() -> None:
    values = slices(MaxPool("", 3, 2, dilation=2), True)
    whole = Value("x", SHAPE, last=True)
    for others in (values[1:], values[:-1], values[::-1], [*values, values[0]]):
        assert pool(Maximum(tuple(others)), whole) is None, "places are missing, or in another order"
    shifted = slices(MaxPool("", 3, 2), True)
    assert pool(Maximum((*values[:3], *shifted[3:])), whole) is None


def test_other_comparisons_are_no_part_of_a_maximum() -> None:
    first, second, third = slices(MaxPool("", (1, 3), 1), True)
    other = Value("y", SHAPE, second.index)
    assert larger(second, 0.0) is None and larger(other, first) is None, "a number; another image"
    assert larger(slices(MaxPool("", 2, 1), True)[0], first) is None, "another shape"
    condition = larger(second, first)
    assert condition is not None
    assert chosen(condition, second, first) == Maximum((first, second))
    assert chosen(condition, first, second) is None, "the minimum"
    assert chosen(condition, third, first) is None and chosen(condition, second, third) is None
    assert chosen(None, second, first) is None and chosen(condition, 0.0, first) is None


@pytest.mark.parametrize(("method", "positions"), list(product(METHODS, POSITIONS)))
def test_matrices_in_float32_are_a_resize(method: str, positions: str) -> None:
    layer = Resize("r", 14, 13, method, positions)
    rows, columns = (resize_matrix(layer, *way).astype(np.float32) for way in ((9, 14), (8, 13)))
    assert interpolation("r", SHAPE, rows, columns, tolerance=1e-6) == layer
    assert interpolation("r", SHAPE, rows, columns[::-1], tolerance=1e-6) is None
    if method == "linear":
        assert interpolation("r", SHAPE, rows, columns) is None, "1e-9 is less than the rounding of float32"


def test_matrices_of_means_are_an_adaptive_mean() -> None:
    rows, columns = np.repeat(np.eye(3), 3, axis=1) / 3, np.repeat(np.eye(2), 4, axis=1) / 4
    assert interpolation("r", SHAPE, rows, columns) == AdaptiveAvgPool("r", 3, 2)
