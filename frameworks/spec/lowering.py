"""Lowering: the layers of a network split into the primitives that adapters build.

The spec has a kind of layer for each row of a paper; a framework has layers of its own, each with limits. Before an
adapter sees a network, `lower` replaces

    Scale, Tanh with factors            ConstantMultiply, Tanh
    Normalize                           ConstantAffine
    InstanceNorm                        GroupNorm with a group for each channel
    Resize, AdaptiveAvgPool             Interpolate, which holds its two matrices
    Residual                            Add
    padding that a framework lacks      Pad, then the layer without padding
    an average over unpadded places     AvgPool over padded zeros, then ConstantMultiply by kh * kw / places inside

What remains are Pad, Conv, Dense, MaxPool, AvgPool, GlobalAvgPool, BatchNorm, LayerNorm, GroupNorm, Affine and
ConstantAffine, LocalResponseNorm, Dropout and StochasticDepth, the activations, Flatten, ConstantMultiply, Interpolate,
Select, Concat, Add, Multiply, Auxiliary.

The last primitive of a layer has its path, its arrays and its output; the others are not `reported`. The NumPy
reference computes the spec's layers, not these, so comparing an adapter with it verifies the lowering, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np

from frameworks.arrays import Array, parts_matrix, resize_matrix, window_counts
from frameworks.spec import (
    AdaptiveAvgPool,
    Add,
    AvgPool,
    Conv,
    GroupNorm,
    InstanceNorm,
    Layer,
    MaxPool,
    Node,
    Normalize,
    Pad,
    Pool,
    Residual,
    Resize,
    Scale,
    Shape,
    Sides,
    Tanh,
    pair,
    sides,
)
from frameworks.spec.windowed import rounded_up

Windowed: TypeAlias = Conv | MaxPool | AvgPool

UNPADDED: Sides = ((0, 0), (0, 0))


@dataclass(frozen=True, eq=False)
class ConstantMultiply(Layer):
    """factor * x: a number, or an array with a factor for each place, H x W."""

    factor: float | Array


@dataclass(frozen=True, eq=False)
class ConstantAffine(Layer):
    """gamma[c] x[c] + beta[c] with constant coefficients: `Affine` without parameters."""

    gamma: Array
    beta: Array


@dataclass(frozen=True, eq=False)
class Interpolate(Layer):
    """rows @ x[c] @ columns.T for each channel: rows is H' x H, columns W' x W."""

    rows: Array
    columns: Array

    def output(self, shape: Shape) -> Shape:
        return (shape[0], len(self.rows), len(self.columns))


def lower(nodes: Sequence[Node], pads: Callable[[Node], bool]) -> tuple[Node, ...]:
    """The primitives of layers in a row, and of all layers inside them.

    pads: whether the framework's own layer takes this node's padding, which is then left in it.
    """
    return tuple(primitive for node in nodes for primitive in _lower(node, pads))


def symmetric(padding: Sides) -> bool:
    """Whether a padding has the same size at the top and the bottom, and at the left and the right."""
    return all(before == after for before, after in padding)


def leading(layer: Conv | Pool) -> tuple[int, int]:
    """(vertical, horizontal) of a padding that is the same on both sides."""
    (top, _), (left, _) = sides(layer.padding)
    return top, left


def _lower(node: Node, pads: Callable[[Node], bool]) -> Iterator[Node]:
    branches = tuple(lower(branch, pads) for branch in node.branches)
    *first, last = _primitives(node, pads)
    shape = node.input
    for primitive in first:
        output = primitive.output(shape)
        path = f"{node.path}/{primitive.kind.lower()}"
        yield Node(path, primitive, shape, output, (), 0, reported=False)
        shape = output
    yield replace(node, layer=last, input=shape, branches=branches)


def _primitives(node: Node, pads: Callable[[Node], bool]) -> list[Layer]:
    """The primitives of one layer, branches aside."""
    layer = node.layer
    match layer:
        case Conv() | MaxPool() | AvgPool():
            return _windowed(node, layer, pads)
        case Scale():
            return [ConstantMultiply(layer.name, layer.factor)]
        case Normalize():
            mean, std = (np.resize(values, node.input[0]) for values in (layer.mean, layer.std))
            return [ConstantAffine(layer.name, 1 / std, -mean / std)]
        case Tanh():
            before = [] if layer.slope == 1 else [ConstantMultiply("", layer.slope)]
            after = [] if layer.amplitude == 1 else [ConstantMultiply(layer.name, layer.amplitude)]
            return [*before, Tanh(layer.name), *after]
        case Resize():
            rows, columns = (resize_matrix(layer, *way) for way in zip(node.input[1:], node.output[1:]))
            return [Interpolate(layer.name, rows, columns)]
        case AdaptiveAvgPool():
            rows, columns = (parts_matrix(*way) for way in zip(node.input[1:], node.output[1:]))
            return [Interpolate(layer.name, rows, columns)]
        case InstanceNorm():
            return [GroupNorm(layer.name, node.input[0], layer.eps, layer.gamma, layer.beta)]
        case Residual():
            return [Add(layer.name, (layer.body, layer.shortcut))]
    return [layer]


def _windowed(node: Node, layer: Windowed, pads: Callable[[Node], bool]) -> list[Layer]:
    padding = sides(layer.padding)
    if isinstance(layer, AvgPool) and layer.ceil:
        return _rounded_up(node, layer, pads)
    if padding == UNPADDED:
        return [replace(layer, count_padding=True) if isinstance(layer, AvgPool) else layer]
    if pads(node):
        return [layer]
    value = -np.inf if isinstance(layer, MaxPool) else 0.0
    pad = Pad("", padding, value)
    if isinstance(layer, AvgPool) and not layer.count_padding:
        inside = window_counts(node.input, layer.kernel, layer.stride, padding)
        factor = prod(pair(layer.kernel)) / inside
        return [pad, replace(layer, padding=0, count_padding=True), ConstantMultiply(layer.name, factor)]
    return [pad, replace(layer, padding=0)]


def _rounded_up(node: Node, layer: AvgPool, pads: Callable[[Node], bool]) -> list[Layer]:
    """An average whose last windows may reach beyond the padding, where no place counts."""
    whole = rounded_up(layer, node.input)
    if not layer.count_padding or whole.padding == sides(layer.padding):
        plain = replace(whole, ceil=False)
        return _windowed(replace(node, layer=plain), plain, pads)
    pad = Pad("", sides(layer.padding), 0.0)
    vertical, horizontal = (
        (0, after - inner) for (_, after), (_, inner) in zip(sides(whole.padding), sides(layer.padding))
    )
    padded = replace(node, input=pad.output(node.input))
    uncounted = replace(layer, padding=(vertical, horizontal), count_padding=False, ceil=False)
    return [pad, *_windowed(padded, uncounted, lambda _: False)]
