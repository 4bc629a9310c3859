"""The one graph form of all importers: layers of the spec on the outputs of others, and joins.

An importer calls `Builder` for each operator of the file. A tensor is a `Value`: places of the output of an operator.
So what only moves values (a view, a transposition, a chunk of the channels) is an index, and becomes a layer, `Select`
or `Flatten`, where a layer needs the tensor: view, transpose and view are one channel shuffle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from benchmarks.runtime.errors import BadInput
from frameworks.arrays import Array
from frameworks.spec import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    Scale,
    Select,
    Shape,
    SpecError,
    times,
)
from frameworks.spec.joins import Join

INPUT = "input"  # the name of the network's input
ZERO = -1  # the place of a value that is zero


@dataclass(frozen=True)
class Operator:
    """Layers in a row on the output of one operator, or a join of several outputs.

    channels: of its output. node: its name in the file that is imported, empty for an operator that was added. where:
    for messages.
    """

    name: str
    inputs: tuple[str, ...]
    channels: int
    layers: tuple[Layer, ...] = ()
    join: type[Join] | None = None
    where: str = ""
    node: str = ""


@dataclass(frozen=True)
class Graph:
    """Operators in an order in which each comes after its inputs."""

    input: Shape
    operators: dict[str, Operator]
    output: str
    heads: tuple[str, ...] = ()  # outputs of auxiliary classifiers
    notes: tuple[str, ...] = ()  # what was stripped or ignored


@dataclass(frozen=True)
class Value:
    """Places of an operator's output, C x H x W or flat: each is a number from 0 in that order, or `ZERO`.

    places: None for the whole output in order, or with `last` for the whole output with its channels last.
    """

    source: str
    of: Shape  # the operator's output
    places: Array | None = field(default=None, repr=False)
    last: bool = False

    @property
    def shape(self) -> Shape:
        if self.places is not None:
            return tuple(self.places.shape)
        return (*self.of[1:], self.of[0]) if self.last else self.of

    @property
    def index(self) -> Array:
        """The places, also of a whole output."""
        if self.places is not None:
            return self.places
        whole = np.arange(prod(self.of), dtype=np.int32).reshape(self.of)
        return _last(whole) if self.last else whole

    @property
    def is_whole(self) -> bool:
        """Whether it is the operator's output, in order."""
        return not self.last if self.places is None else _in_order(self.places, self.of)

    @property
    def is_last(self) -> bool:
        """Whether it is the operator's output with its channels last."""
        if self.places is None:
            return self.last
        return len(self.of) == 3 == self.places.ndim and not self.is_whole and _in_order(_first(self.places), self.of)

    def moved(self, change: Callable[[Array], Array]) -> Value:
        """The value after a change of the order, or of the shape alone."""
        return Value(self.source, self.of, change(self.index))


@dataclass(frozen=True)
class Probabilities:
    """The softmax of a value, which only the output may be. node: that gives it."""

    logits: Value
    operator: str
    node: str


def refused(operator: str, where: str, why: str = "") -> BadInput:
    """What cannot be expressed, by operator, place and reason."""
    return BadInput(f"no layer for {operator}{f' ({where})' if where else ''}{f': {why}' if why else ''}")


def called_twice(name: str, where: str) -> BadInput:
    return BadInput(f"the layer {name} is called twice ({where}): each layer of a spec has arrays of its own")


class Builder:
    """Builds a graph from its input on."""

    def __init__(self, input: Shape) -> None:
        self.input = input
        self.operators: dict[str, Operator] = {}
        self.shapes: dict[str, Shape] = {INPUT: input}
        self.names: dict[str, str] = {}  # of layers with arrays, and where they are
        self.realized: dict[tuple[str, Shape, bytes], str] = {}
        self.notes: list[str] = []

    @property
    def start(self) -> Value:
        return self.whole(INPUT)

    def whole(self, name: str, last: bool = False) -> Value:
        return Value(name, self.shapes[name], last=last)

    def layer(self, value: Value, *layers: Layer, where: str, node: str = "") -> Value:
        """Layers in a row on a value; one with its channels last keeps them there."""
        if not layers:
            return value
        source, last = self._oriented(value, where)
        return self.whole(self._add((source,), layers, None, where, node), last)

    def join(self, kind: type[Join], values: Sequence[Value], where: str, node: str = "") -> Value:
        """The sum or product of values, or their channels side by side."""
        sources, lasts = zip(*(self._oriented(value, where) for value in values))
        if len(set(lasts)) > 1:
            raise refused(kind.__name__, where, "the channels are last in some of its inputs and first in others")
        return self.whole(self._add(sources, (), kind, where, node), lasts[0])

    def difference(self, one: Value, other: Value, where: str, node: str = "") -> Value:
        """The first value minus the second, as a sum with its negative: there is no layer for it."""
        return self.join(Add, [one, self.layer(other, Scale(factor=-1.0), where=where)], where, node)

    def concatenated(self, values: Sequence[Value], axis: int, where: str, node: str = "") -> Value:
        """Values side by side along an axis: different values of one output are a selection, others are channels."""
        if len({value.source for value in values}) == 1:
            index = np.concatenate([value.index for value in values], axis)
            taken = index[index != ZERO]
            if len(np.unique(taken)) == len(taken):
                return values[0].moved(lambda _: index)
        _, last = self._oriented(values[0], where)
        if axis != (len(values[0].shape) - 1 if last else 0):
            raise refused(Concat.__name__, where, f"along axis {axis + 1} of {times(values[0].shape)}")
        return self.join(Concat, values, where, node)

    def channels_last(self, value: Value, where: str) -> Value:
        """A value of height x width x channels as a whole output with its channels last."""
        return value if value.is_last else self.whole(self.tensor(value.moved(_first), where), last=True)

    def settled(self, value: Value, where: str) -> Value:
        """A value before a part of it is taken: one with all channels in another order is an output of its own."""
        whole = value.is_whole or value.is_last
        if whole or len(value.of) != 3 or value.shape not in (value.of, (*value.of[1:], value.of[0])):
            return value
        return self.whole(*self._oriented(value, where))

    def _oriented(self, value: Value, where: str) -> tuple[str, bool]:
        """The operator whose output a value is, and whether its channels are last."""
        if value.is_last:
            return value.source, True
        try:
            return self.tensor(value, where), False
        except BadInput as error:
            if len(value.shape) == 3:
                with suppress(BadInput):
                    return self.tensor(value.moved(_first), where), True
            raise error

    def graph(self, output: Value, heads: Sequence[Value] = ()) -> Graph:
        names = [self.tensor(value, "") for value in (output, *heads)]
        return Graph(self.input, dict(self.operators), names[0], tuple(names[1:]), tuple(self.notes))

    # --- values as outputs of operators -------------------------------------------------------------------------------

    def tensor(self, value: Value, where: str) -> str:
        """The operator whose output a value is; layers that move values are added."""
        if value.is_whole:
            return value.source
        key = value.source, value.shape, value.index.tobytes()
        if key not in self.realized:  # a value that several layers take is one output
            self.realized[key] = self._realized(value, where)
        return self.realized[key]

    def _realized(self, value: Value, where: str) -> str:
        if len(value.shape) == 1:
            return self._flat(value, where)
        if len(value.shape) == 3 == len(value.of):
            return self._add((value.source,), self._selection(value, where), None, where)
        if len(value.shape) == 3 and value.shape[1:] == (1, 1) and value.moved(np.ravel).is_whole:
            return self._unflattened(value.source, where)
        raise self._order(value, where)

    def _flat(self, value: Value, where: str) -> str:
        if len(value.of) == 1:
            return self._add((value.source,), (Select("", _maps(value.index)),), None, where)
        maps, rest = divmod(len(value.index), prod(value.of[1:]))
        if rest:
            raise self._order(value, where)
        square = value.moved(lambda flat: flat.reshape(maps, *value.of[1:]))
        return self._add((self.tensor(square, where),), (Flatten(),), None, where)

    def _selection(self, value: Value, where: str) -> tuple[Layer, ...]:
        """The layers that give some of the channels, and of the pixels every second, third, ..."""
        height, width = value.of[1:]
        pixels = height * width
        maps = [None if (each < 0).all() else int(each.max()) // pixels for each in value.index]
        steps = -(-height // value.shape[1]), -(-width // value.shape[2])
        grid = np.arange(pixels).reshape(height, width)[:: steps[0], :: steps[1]]
        for each, number in zip(value.index, maps):
            expected = np.full(value.shape[1:], ZERO) if number is None else grid + number * pixels
            if expected.shape != each.shape or not np.array_equal(expected, each):
                raise self._order(value, where)
        layers: list[Layer] = [] if steps == (1, 1) else [AvgPool("", 1, steps)]
        return tuple(layers if maps == list(range(value.of[0])) else [*layers, Select("", tuple(maps))])

    def _unflattened(self, name: str, where: str) -> str:
        """Makes a flat output C x 1 x 1: the dense layers before it are 1 x 1 convolutions, which compute the same."""
        operator = self.operators.get(name)
        if operator is None or len(self.shapes[name]) != 1:
            raise refused("an image of flat values", where)
        layers = list(operator.layers)
        inputs = operator.inputs
        if layers and isinstance(layers[0], Flatten) and self.shapes[inputs[0]][1:] == (1, 1):
            layers = layers[1:]
        elif len(self.shapes[inputs[0]]) == 1:
            inputs = tuple(self._unflattened(each, where) for each in inputs)
        elif not (layers and isinstance(layers[0], GlobalAvgPool)):
            raise refused("an image of flat values", where, "the values before were pixels of a larger image")
        else:
            layers = [layer for layer in layers if not isinstance(layer, Flatten)]
        layers = [
            Conv(each.name, each.units, 1, bias=each.bias) if isinstance(each, Dense) else each for each in layers
        ]
        if not layers and operator.join is None:
            return inputs[0]
        path = f"{name}:image"
        if path not in self.operators:
            self.operators[path] = replace(operator, name=path, inputs=inputs, layers=tuple(layers))
            self.shapes[path] = (*self.shapes[name], 1, 1)
        return path

    def _order(self, value: Value, where: str) -> BadInput:
        return refused(f"this order of values, {times(value.shape)} of {times(value.of)}", where)

    def _add(
        self, inputs: tuple[str, ...], layers: tuple[Layer, ...], join: type[Join] | None, where: str, node: str = ""
    ) -> str:
        if not layers and join is None:
            return inputs[0]
        try:
            if join:
                shape = join("", [[]]).joined(self.shapes[inputs[0]], [self.shapes[each] for each in inputs])
            else:
                shape = self.shapes[inputs[0]]
                for layer in layers:
                    roles, shape = layer.parameters(shape), layer.output(shape)
                    if roles and layer.name in self.names:
                        raise called_twice(layer.name, where)
                    if roles:
                        self.names[layer.name] = where
        except SpecError as error:
            raise refused((join or type(layers[0])).__name__, where, str(error)) from None
        name = node if node and node not in self.operators else f"{node or 'added'}#{len(self.operators)}"
        self.operators[name] = Operator(name, inputs, shape[0], layers, join, where, node)
        self.shapes[name] = shape
        return name


def _in_order(index: Array, shape: Shape) -> bool:
    return tuple(index.shape) == shape and np.array_equal(index.ravel(), np.arange(prod(shape)))


def _first(index: Array) -> Array:
    """Channels before pixels."""
    return np.moveaxis(index, -1, 0)


def _last(index: Array) -> Array:
    return np.moveaxis(index, 0, -1)


def _maps(chosen: Array) -> tuple[int | None, ...]:
    return tuple(None if place == ZERO else int(place) for place in chosen)
