"""Layers with windows, in NumPy: convolution, pooling, padding."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from frameworks import spec
from frameworks.arrays import Array, Weights, parts_matrix
from frameworks.reference_layers.base import Result, Values, by_channel
from frameworks.spec import pair, sides
from frameworks.spec.windowed import extent, gaps, rounded_up

Windowed: TypeAlias = "spec.Conv | spec.MaxPool | spec.AvgPool"


def pad(x: Array, layer: Windowed, fill: float = 0.0) -> Array:
    """A copy of x, N x C x H x W, with the layer's padding around it."""
    return np.pad(x, ((0, 0), (0, 0), *sides(layer.padding)), constant_values=fill)


def windows(padded: Array, layer: Windowed) -> Array:
    """A view of the layer's windows: N x C x kh x kw x H' x W', writeable, one element in many windows."""
    (vertical, horizontal), (down, right) = pair(layer.stride), pair(gaps(layer))
    spans = [extent(*way) for way in zip(pair(layer.kernel), (down, right))]
    every = sliding_window_view(padded, spans, (2, 3), writeable=True)
    return np.moveaxis(every[:, :, ::vertical, ::horizontal, ::down, ::right], (4, 5), (2, 3))


def fold(parts: Array, x: Array, layer: Windowed) -> Array:
    """The transpose of windows(pad(x)): every element's sum over the windows that it is in; padding is dropped."""
    padded = pad(np.zeros_like(x), layer)
    places = windows(padded, layer)
    for place in np.ndindex(pair(layer.kernel)):  # no two windows have the same element at the same place
        places[:, :, place[0], place[1]] += parts[:, :, place[0], place[1]]
    (top, _), (left, _) = sides(layer.padding)
    return padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]


def conv(layer: spec.Conv, x: Array, weight: Array, bias: Values = 0.0) -> Result:
    """y[n, o, p] = b[o] + sum over i, k of w[o, i, k] x[n, i, p's window at k], i over the maps of o's group.

    One matrix product a group, over the windows of all images laid out as columns (Chellapilla et al. 2006). The
    backward pass computes the columns again, because they are kh * kw times as large as the input.
    """
    view = windows(pad(x, layer), layer)
    (count, _, _, _, height, width), groups = view.shape, layer.groups
    kernels = weight.reshape(groups, layer.channels // groups, -1)

    def columns() -> Array:
        return np.moveaxis(view, 0, 3).reshape(groups, kernels.shape[2], -1)

    y = np.moveaxis((kernels @ columns()).reshape(-1, count, height, width), 1, 0)

    def backward(dy: Array) -> tuple[Array, Weights]:
        flat = np.moveaxis(dy, 0, 1).reshape(groups, kernels.shape[1], -1)
        parts = (kernels.swapaxes(1, 2) @ flat).reshape(*view.shape[1:4], count, height, width)
        by_weight = (flat @ columns().swapaxes(1, 2)).reshape(weight.shape)
        return fold(np.moveaxis(parts, 3, 0), x, layer), {"weight": by_weight, "bias": dy.sum((0, 2, 3))}

    return y + by_channel(bias, y), backward


def max_pool(layer: spec.MaxPool, x: Array) -> Result:
    """The largest of each window, padded by minus infinity; of equals the first, row by row, has the whole gradient."""
    view = windows(pad(x, layer, -np.inf), layer)
    count, maps, kh, kw, height, width = shape = view.shape
    flat = view.reshape(count, maps, kh * kw, height, width)
    first = flat.argmax(2)[:, :, None]
    y = np.take_along_axis(flat, first, 2)[:, :, 0]

    def backward(dy: Array) -> tuple[Array, Weights]:
        parts = np.zeros((count, maps, kh * kw, height, width))
        np.put_along_axis(parts, first, dy[:, :, None], 2)
        return fold(parts.reshape(shape), x, layer), {}

    return y, backward


def avg_pool(layer: spec.AvgPool, x: Array) -> Result:
    """The sum of each window divided by how many of its places count: padding counts as 1 or as 0.

    The places beyond the padding, which exist if the number of windows is rounded up, count as 0.
    """
    whole = rounded_up(layer, x.shape[1:]) if layer.ceil else layer
    view = windows(pad(x, whole), whole)
    places = pad(np.ones_like(x), layer, float(layer.count_padding))
    beyond = [(0, size - present) for size, present in zip(pad(x, whole).shape, places.shape)]
    divisor = windows(np.pad(places, beyond), whole).sum((2, 3))

    def backward(dy: Array) -> tuple[Array, Weights]:
        return fold(np.broadcast_to((dy / divisor)[:, :, None, None], view.shape), x, whole), {}

    return view.sum((2, 3)) / divisor, backward


def global_avg_pool(layer: spec.GlobalAvgPool, x: Array) -> Result:
    """The mean over H x W; each pixel has an equal fraction of the gradient."""
    return x.mean((2, 3), keepdims=True), lambda dy: (np.broadcast_to(dy / (x.shape[2] * x.shape[3]), x.shape), {})


def adaptive_avg_pool(layer: spec.AdaptiveAvgPool, x: Array) -> Result:
    """y = R x S^T for every map, dx = R^T dy S; row i of R has 1 / n at the n pixels of part i."""
    rows, columns = parts_matrix(x.shape[2], layer.height), parts_matrix(x.shape[3], layer.width)
    return rows @ x @ columns.T, lambda dy: (rows.T @ dy @ columns, {})


def padded(layer: spec.Pad, x: Array) -> Result:
    """x with the value around it; the gradient of the padding is dropped."""
    ((top, _), (left, _)), (_, _, height, width) = sides(layer.padding), x.shape
    y = np.pad(x, ((0, 0), (0, 0), *sides(layer.padding)), constant_values=layer.value)
    return y, lambda dy: (dy[:, :, top : top + height, left : left + width], {})
