"""The graph form for files that hold arrays beside operators: ONNX, Keras, Gluon.

Arrays are given to the layer that has them, by role and in canonical layout. Flat values may be in the order of another
layout (Keras flattens rows, columns, channels): then the arrays of the layers after `Flatten` are reordered, and the
network flattens channels first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from benchmarks.porting.graphs import INPUT, Builder, Value, refused
from frameworks.arrays import Array, Weights
from frameworks.spec import (
    Affine,
    Concat,
    Conv,
    Dense,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    Normalize,
    Padding,
    Pair,
    Scale,
    Shape,
    Sides,
    times,
)
from frameworks.spec.joins import Join

_WITHOUT: dict[str, tuple[type[Layer], ...]] = {
    "bias": (Conv, Dense),
    "gamma": (GroupNorm, InstanceNorm, LayerNorm),
    "beta": (Affine, GroupNorm, InstanceNorm, LayerNorm),
}


class ArrayBuilder(Builder):
    """Builds a graph and collects the arrays of its layers, by canonical name."""

    def __init__(self, input: Shape) -> None:
        super().__init__(input)
        self.arrays: Weights = {}
        self.unnamed: set[str] = set()  # names that are not the file's

    # --- flat values in another order ---------------------------------------------------------------------------------

    def layer(self, value: Value, *layers: Layer, where: str, node: str = "") -> Value:
        natural, order = _natural(value)
        if order is None or not layers:
            return super().layer(value, *layers, where=where, node=node)
        return super().layer(natural, *layers, where=where).moved(lambda _: order)

    def join(self, kind: type[Join], values: Sequence[Value], where: str, node: str = "") -> Value:
        pairs = [_natural(value) for value in values]
        first = pairs[0][1]
        if (
            first is None
            or kind is Concat
            or not all(order is not None and np.array_equal(order, first) for _, order in pairs)
        ):
            return super().join(kind, values, where, node)
        return super().join(kind, [natural for natural, _ in pairs], where).moved(lambda _: first)

    def weighted(self, value: Value, layer: Layer, arrays: Mapping[str, Array], where: str, node: str = "") -> Value:
        """A layer with arrays, by role. Those of a dense layer or by channel follow the order of a flat value."""
        natural, order = _natural(value)
        if order is not None:
            inverse = np.argsort(order)
            arrays = {
                role: array[:, inverse] if array.ndim == 2 else array if isinstance(layer, Dense) else array[inverse]
                for role, array in arrays.items()
            }
        if isinstance(layer, Dense):
            order = None  # that of its output is the file's
        result = super().layer(natural, layer, where=where, node=node if order is None else "")
        self.arrays |= {f"{layer.name}.{role}": array for role, array in arrays.items()}
        return result if order is None else result.moved(lambda _: order)

    # --- dense layers on images, means, windows -----------------------------------------------------------------------

    def dense(self, value: Value, name: str, arrays: Mapping[str, Array], where: str, node: str = "") -> Value:
        """A dense layer on a flat value, or on each pixel of an image with its channels last: a 1 x 1 convolution."""
        weight, bias = arrays["weight"], "bias" in arrays
        if len(value.shape) == 1:
            return self.weighted(value, Dense(name, len(weight), bias=bias), arrays, where, node)
        if len(value.shape) != 3:
            raise refused("Dense", where, f"its input is {times(value.shape)}, neither flat nor an image")
        arrays = {**arrays, "weight": weight[:, :, None, None]}
        last = self.channels_last(value, where)
        return self.weighted(last, Conv(name, len(weight), 1, bias=bias), arrays, where, node)

    def over_pixels(
        self,
        value: Value,
        axes: Sequence[int],
        keep: bool,
        layer: Callable[[Shape], Layer],
        where: str,
        node: str = "",
    ) -> Value:
        """A layer that gives C x 1 x 1, on these axes of a value, which are its rows and columns in any order.

        layer: for the shape of its input. keep: the axes remain, of length 1. Raises BadInput for other axes.
        """
        if len(value.shape) == 3 and value.index.size != prod(value.of):  # a part of an output becomes an output
            source, last = self._oriented(value, where)
            value = self.whole(source, last)
        index = np.moveaxis(value.index, axes, range(-len(axes), 0))
        left = index.shape[: index.ndim - len(axes)]
        rows = index.reshape(prod(left), -1)
        whole = len(value.of) == 3 and rows.shape[1] == prod(value.of[1:])
        if not axes or not whole or not np.array_equal(np.sort(rows).ravel(), np.arange(rows.size)):
            why = f"over axes {times(tuple(axes))} of {times(value.shape)}, not over all pixels"
            raise refused(layer(value.of).kind, where, why)
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape)) if keep else left
        result = self.layer(self.whole(value.source), layer(value.of), where=where, node=node)
        return result.moved(lambda each: each.reshape(shape))

    # --- arithmetic with arrays ---------------------------------------------------------------------------------------

    def absorbed(self, value: Value, role: str, name: str, array: Array, node: str) -> Value | None:
        """The value with an array in the layer that gives it and lacks one of this role; None if there is none.

        So a product and a sum after a normalization are its gamma and beta, and a sum after a dense layer its bias.
        name: of a layer that has none, or one that the file does not say.
        """
        operator = self.operators.get(value.source)
        last = operator.layers[-1] if operator and operator.layers else None
        natural, order = _natural(value)
        whole = natural.is_whole or natural.is_last
        if not operator or not whole or not isinstance(last, _WITHOUT[role]) or getattr(last, role):
            return None
        if role == "gamma" and getattr(last, "beta", False):
            return None
        new = name if name and last.name in (*self.unnamed, "") else last.name
        self.names.pop(last.name, None)
        self.names[new] = operator.where
        for known in [each for each in self.arrays if each.rpartition(".")[0] == last.name]:
            self.arrays[f"{new}.{known.rpartition('.')[2]}"] = self.arrays.pop(known)
        changed: Any = {"name": new, role: True}
        self.operators[value.source] = replace(
            operator, layers=(*operator.layers[:-1], replace(last, **changed)), node=node if order is None else ""
        )
        self.arrays[f"{new}.{role}"] = array if order is None else array[np.argsort(order)]
        return value

    def by_channel(self, value: Value, array: Array) -> Array | None:
        """An array that broadcasts to a batch of the value, as one number or one for each channel; None if neither."""
        if array.size == 1:
            return array.reshape(1)
        channel = len(value.shape) - 1 if value.is_last and not value.is_whole else 0
        shape = (1,) * (len(value.shape) + 1 - array.ndim) + array.shape
        wanted = [1] * (len(value.shape) + 1)
        wanted[channel + 1] = value.shape[channel]
        return array.ravel() if list(shape) == wanted else None

    def normalized(
        self, value: Value, where: str, node: str, *, mean: Array | None = None, std: Array | None = None
    ) -> Value:
        """(value - mean) / std, of constants by channel."""
        _, order = _natural(value)
        options: Any = {
            key: tuple(map(float, each if order is None or len(each) == 1 else each[np.argsort(order)]))
            for key, each in (("mean", mean), ("std", std))
            if each is not None
        }
        return self.layer(value, Normalize(**options), where=where, node=node)

    def subtracted_from(self, constant: Array, value: Value, where: str, node: str) -> Value:
        """constant - value, of a constant by channel: there is no layer for it."""
        negated = Scale(factor=-1.0)
        if not np.any(constant):
            return self.layer(value, negated, where=where, node=node)
        return self.normalized(self.layer(value, negated, where=where), where, node, mean=-constant)


def _natural(value: Value) -> tuple[Value, Array | None]:
    """A flat value in the order of its operator, and the place of each of its values, if they are in another order."""
    if len(value.shape) != 1 or value.is_whole:
        return value, None
    order = value.index
    places = np.arange(prod(value.of), dtype=order.dtype)
    if len(order) != len(places) or np.array_equal(order, places) or not np.array_equal(np.sort(order), places):
        return value, None
    return value.moved(lambda _: places), order


def is_of_input(value: Value) -> bool:
    return value.source == INPUT


def short_pair(values: Sequence[int]) -> Pair:
    """One number for two equal ones."""
    vertical, horizontal = map(int, values)
    return vertical if vertical == horizontal else (vertical, horizontal)


def short_padding(sides: Sides) -> Padding:
    """A padding in its shortest form."""
    vertical, horizontal = (each[0] if each[0] == each[1] else (int(each[0]), int(each[1])) for each in sides)
    if isinstance(vertical, tuple) or isinstance(horizontal, tuple):
        return tuple(map(int, sides[0])), tuple(map(int, sides[1]))  # type: ignore[return-value]
    return short_pair((vertical, horizontal))
