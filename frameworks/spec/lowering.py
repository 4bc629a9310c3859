"""Lowering: the layers of a network split into the primitives that adapters build.

The spec has a kind of layer for each row of a paper; a framework has layers of its own, each with limits. Before an
adapter sees a network, `lower` replaces

    Scale, Tanh with factors            Multiply, Tanh
    Normalize                           ConstantAffine
    Resize                              Interpolate, which holds its two matrices
    padding that a framework lacks      Pad, then the layer without padding
    an average over unpadded places     AvgPool over padded zeros, then Multiply by kh * kw / places inside

What remains are Pad, Conv, Dense, MaxPool, AvgPool, GlobalAvgPool, BatchNorm, Affine and ConstantAffine,
LocalResponseNorm, Dropout, ReLU, Sigmoid and Tanh, Flatten, Multiply, Interpolate, Select, Concat, Residual, Auxiliary.

The last primitive of a layer has its path, its arrays and its output; the others are not `reported`. The NumPy
reference computes the spec's layers, not these, so comparing an adapter with it verifies the lowering, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np

from frameworks.arrays import Array, resize_matrix, window_counts
from frameworks.spec import (
    AvgPool,
    Conv,
    Layer,
    MaxPool,
    Node,
    Normalize,
    Pool,
    Resize,
    Scale,
    Shape,
    Sides,
    Tanh,
    pair,
    sides,
)

Windowed: TypeAlias = Conv | MaxPool | AvgPool

UNPADDED: Sides = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Pad(Layer):
    """The input with `value`, 0 or minus infinity, around its rows and columns."""

    padding: Sides
    value: float

    def output(self, shape: Shape) -> Shape:
        return (shape[0], *(size + sum(around) for size, around in zip(shape[1:], self.padding)))


@dataclass(frozen=True, eq=False)
class Multiply(Layer):
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
            return [Multiply(layer.name, layer.factor)]
        case Normalize():
            mean, std = (np.resize(values, node.input[0]) for values in (layer.mean, layer.std))
            return [ConstantAffine(layer.name, 1 / std, -mean / std)]
        case Tanh():
            before = [] if layer.slope == 1 else [Multiply("", layer.slope)]
            after = [] if layer.amplitude == 1 else [Multiply(layer.name, layer.amplitude)]
            return [*before, Tanh(layer.name), *after]
        case Resize():
            rows, columns = (resize_matrix(*way) for way in zip(node.input[1:], node.output[1:]))
            return [Interpolate(layer.name, rows, columns)]
    return [layer]


def _windowed(node: Node, layer: Windowed, pads: Callable[[Node], bool]) -> list[Layer]:
    padding = sides(layer.padding)
    if padding == UNPADDED:
        return [replace(layer, count_padding=True) if isinstance(layer, AvgPool) else layer]
    if pads(node):
        return [layer]
    value = -np.inf if isinstance(layer, MaxPool) else 0.0
    pad = Pad("", padding, value)
    if isinstance(layer, AvgPool) and not layer.count_padding:
        inside = window_counts(node.input, layer.kernel, layer.stride, padding)
        factor = prod(pair(layer.kernel)) / inside
        return [pad, replace(layer, padding=0, count_padding=True), Multiply(layer.name, factor)]
    return [pad, replace(layer, padding=0)]
