"""A network: named layers in order. Shapes, parameters and multiply-adds are computed and checked when it is made."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from frameworks.spec.base import Layer, Parameter, Shape, SpecError, TooSmallError, times
from frameworks.spec.joins import Auxiliary
from frameworks.spec.serialization import serializable, to_json
from frameworks.spec.value_checks import check_input, check_layer, check_values


@dataclass(frozen=True)
class Node:
    """A layer in its place: its full name, the shapes around it, its arrays, and the chains of nodes inside it.

    reported: `Adapter.activations` gives its output; False for all but the last of the primitives into which
    `lowering` splits a layer.
    """

    path: str
    layer: Layer
    input: Shape
    output: Shape
    parameters: tuple[Parameter, ...]
    macs: int
    branches: tuple[tuple[Node, ...], ...] = ()
    reported: bool = True

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """This node and all inside it with their depth, in reading order."""
        yield depth, self
        for branch in self.branches:
            for node in branch:
                yield from node.walk(depth + 1)

    def parameter(self, role: str) -> Parameter:
        """The node's array of this role; `KeyError` where it has none."""
        for parameter in self.parameters:
            if parameter.role == role:
                return parameter
        raise KeyError(f"{self.path} has no {role}")


@serializable
@dataclass(frozen=True)
class Network:
    """A name, the input's shape and the layers. Shapes and parameters are computed when the network is made.

    departures: where the network differs from its paper, in words. source: the paper. Raises SpecError for a row that
    cannot be built.
    """

    name: str
    input: Shape
    layers: Sequence[Layer]
    departures: tuple[str, ...] = ()
    source: str = ""
    as_printed: bool = True  # check `out=`; off where the input differs from the paper's

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "input", tuple(self.input))
        if not self.layers:
            raise SpecError(f"{self.name}: no layers")
        try:
            check_input(self.input)
        except SpecError as error:
            raise SpecError(f"{self.name}: {error}") from None
        self.nodes  # noqa: B018  a wrong row fails here, not where it is used

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The layers in their places, as a tree."""
        try:
            return _chain(self, self.layers, self.input)
        except TooSmallError as error:
            raise SpecError(f"{error}{_smallest(self)}") from None

    def walk(self) -> Iterator[tuple[int, Node]]:
        """(depth, node) of every layer, in reading order."""
        for node in self.nodes:
            yield from node.walk()

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every array, parameters and buffers, in reading order."""
        return tuple(parameter for _, node in self.walk() for parameter in node.parameters)

    @property
    def output(self) -> Shape:
        return self.nodes[-1].output

    @property
    def classes(self) -> int:
        return self.output[0]

    @cached_property
    def heads(self) -> tuple[Node, ...]:
        """The auxiliary classifiers, in reading order."""
        return tuple(node for _, node in self.walk() if isinstance(node.layer, Auxiliary))

    @property
    def params(self) -> int:
        """Number of trained values: the count that papers print."""
        return sum(parameter.size for parameter in self.parameters if parameter.trainable)

    @property
    def buffers(self) -> int:
        """Number of values that training updates without a gradient: batch norm's running means and variances."""
        return sum(parameter.size for parameter in self.parameters if not parameter.trainable)

    @property
    def macs(self) -> int:
        """Multiply-adds of one image's forward pass in evaluation, auxiliary classifiers left out."""
        return sum(node.macs for top in self.nodes for _, node in _evaluated(top))

    def training_bytes(self, batch_size: int, slots: int = 0, itemsize: int = 4) -> int:
        """Approximate bytes that training takes beside the framework itself: to refuse a run, not to be reported.

        Counts every trained value with its gradient and the optimizer's `slots`, and every layer's output with its
        gradient. Workspaces are left out, and so are savings from computing in place: the two are of similar size.
        """
        outputs = sum(prod(node.output) for _, node in self.walk() if not node.branches)
        values = self.params * (2 + slots) + self.buffers + 2 * batch_size * (outputs + prod(self.input))
        return values * itemsize

    def with_input(self, shape: Shape) -> Network:
        """The same layers on another input; the shapes that the paper prints no longer hold and are not checked."""
        return self if shape == self.input else replace(self, input=shape, as_printed=False)

    def after(self, *layers: Layer, input: Shape) -> Network:
        """The same network behind other layers (`Scale`, `Resize`, ...) that take `input` and give the network's."""
        return replace(self, input=input, layers=(*layers, *self.layers))

    @property
    def sha256(self) -> str:
        """The spec's identity: the digest of its JSON without departures and source, which are prose."""
        return hashlib.sha256(json.dumps(to_json(replace(self, departures=(), source=""))).encode()).hexdigest()


def _evaluated(node: Node) -> Iterator[tuple[int, Node]]:
    if not isinstance(node.layer, Auxiliary):
        yield 0, node
        for branch in node.branches:
            for inner in branch:
                yield from _evaluated(inner)


def _chain(
    network: Network, layers: Sequence[Layer], shape: Shape, prefix: str = "", taken: set[str] | None = None
) -> tuple[Node, ...]:
    """Place the layers one after the other and name the nameless; `taken` holds the paths in use."""
    taken = set() if taken is None else taken
    nodes: list[Node] = []
    last = prefix
    for layer in layers:
        try:
            check_layer(layer)
        except SpecError as error:
            raise SpecError(f"{network.name}.{prefix}{len(nodes) + 1}: {error}") from None
        if layer.name:
            path, last = prefix + layer.name, prefix + layer.name + "_"
        else:
            path = _free(last + layer.kind.lower(), taken)
        if path in taken:
            raise SpecError(f"{network.name}.{path}: two layers have this name")
        taken.add(path)
        inside = path + "." if layer.name else prefix  # a nameless layer adds nothing to the names inside it
        nodes.append(_place(network, layer, shape, path, inside, taken))
        shape = nodes[-1].output
    return tuple(nodes)


def _free(stem: str, taken: set[str]) -> str:
    """The stem, or the stem and the first number from 2 on that makes it new."""
    path, number = stem, 2
    while path in taken:
        path, number = f"{stem}{number}", number + 1
    return path


def _place(network: Network, layer: Layer, shape: Shape, path: str, inside: str, taken: set[str]) -> Node:
    where = f"{network.name}.{path}"
    branches = tuple(_chain(network, chain, shape, inside, taken) for chain in layer.branches())
    try:
        check_values(layer)
        ends = [branch[-1].output if branch else shape for branch in branches]
        output = layer.joined(shape, ends) if branches else layer.output(shape)
        arrays = layer.parameters(shape)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    if min(output) < 1:
        raise TooSmallError(f"{where}: {times(output[1:])} output for input {times(network.input)}")
    if network.as_printed and layer.out is not None and layer.out != output:
        raise SpecError(f"{where}: {times(shape)} gives {times(output)}, the paper says {times(layer.out)}")
    parameters = tuple(Parameter(f"{path}.{role}", size, role) for role, size in arrays.items())
    return Node(path, layer.resolved(shape), shape, output, parameters, layer.macs(shape), branches)


def _smallest(network: Network) -> str:
    """The remedy for an input that is too small: the smallest square one."""
    channels, *size = network.input
    unchecked = copy(network)
    object.__setattr__(unchecked, "as_printed", False)

    def error(side: int) -> type[SpecError] | None:
        try:
            _chain(unchecked, network.layers, (channels, side, side))
        except SpecError as raised:
            return type(raised)
        return None

    sides = range(min(size) + 1, 1025)
    large_enough = bisect_left(sides, True, key=lambda side: error(side) is not TooSmallError)
    for side in sides[large_enough:]:  # branches may not fit together at every size
        if error(side) is None:
            return f"; the smallest input is {channels}x{side}x{side}"
    return ""
