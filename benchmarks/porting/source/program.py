"""A network as a program: its layers in groups, in the order in which they are computed.

The dots in the layers' names make the groups: `layer1.0.conv1` is in the group `0` of the group `layer1`. A named join
is a group of its own. An activation without a name belongs to the group of the layer before it.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeAlias

from benchmarks.porting.source.names import ATTRIBUTES, free
from benchmarks.runtime.errors import BadInput
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
    Add,
    Auxiliary,
    AvgPool,
    Concat,
    Dropout,
    Flatten,
    GlobalAvgPool,
    HardSigmoid,
    HardSwish,
    Layer,
    LeakyReLU,
    MaxPool,
    Mish,
    Multiply,
    Network,
    Node,
    PReLU,
    ReLU,
    ReLU6,
    Residual,
    Select,
    Sigmoid,
    SiLU,
    Softplus,
    StochasticDepth,
    Tanh,
    sides,
)  # fmt: skip

ACTIVATIONS = (
    *(ReLU, ReLU6, LeakyReLU, PReLU, ELU, SELU, Sigmoid, HardSigmoid, Tanh, SiLU, HardSwish, GELU, Softplus, Mish),
)
REDUCING = (AdaptiveAvgPool, AvgPool, Dropout, Flatten, GlobalAvgPool)


@dataclass(frozen=True)
class Op:
    """A layer without layers inside.

    name: its own part of the path, or "". layer: as the spec has it. form: what distinguishes two kinds of code.
    values: what may be an argument of a repeated block.
    """

    name: str
    layer: Layer
    node: Node
    form: tuple[Any, ...]
    values: Mapping[str, Any]

    @property
    def path(self) -> str:
        return self.node.path


@dataclass(frozen=True)
class Fork:
    """A join: its chains take one input. A residual's chains are its body and its shortcut.

    skip: False where a block computes the body alone. drop: the stochastic depth at the end of the body.
    """

    layer: Layer
    node: Node
    chains: tuple[tuple[Item, ...], ...]
    skip: bool = True
    drop: Op | None = None


@dataclass(frozen=True)
class Group:
    """Layers that have a part of their names in common; the whole network is the group without a name."""

    name: str
    items: tuple[Item, ...]
    number: int = field(default=-1, compare=False)  # its place among all groups
    path: str = field(default="", compare=False)  # what the paths of its layers begin with


Item: TypeAlias = "Op | Fork | Group"


class SourceTarget:
    """What the program's form depends on: a framework, its limits and its layout."""

    title = ""
    channels_last = False
    unused: frozenset[str] = frozenset()  # values that the framework infers

    def prepared(self, layer: Layer, node: Node) -> list[tuple[Layer, Node]]:
        """The layers that stand for one layer: padding that the framework's own layer lacks is a layer of its own."""
        return [(layer, node)]

    def described(self, layer: Layer, node: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The form and the values of a layer. Raises `Lacking`."""
        raise NotImplementedError


class Lacking(BadInput):
    """The writer of a framework has no code for a layer."""


def lacking(target: SourceTarget, node: Node, layer: Layer, reason: str = "") -> Lacking:
    why = f": {reason}" if reason else ""
    return Lacking(f"{target.title}: no source for {node.path} ({layer.kind}){why}")


# --- groups -----------------------------------------------------------------------------------------------------------

Pairs: TypeAlias = Sequence[tuple[Layer, Node]]


def program(network: Network, target: SourceTarget) -> Group:
    """The network's layers in groups, for a framework. Raises `Lacking`."""
    builder = _Builder(target)
    root = Group("", builder.items(list(zip(network.layers, network.nodes)), ""))
    return numbered(root)


def numbered(root: Group) -> Group:
    """The same groups, each with a number of its own."""
    count = iter(range(10**9))

    def of(item: Item) -> Item:
        match item:
            case Group():
                number = next(count)
                return replace(item, items=tuple(map(of, item.items)), number=number)
            case Fork():
                return replace(item, chains=tuple(tuple(map(of, chain)) for chain in item.chains))
        return item

    numbered_root = of(root)
    assert isinstance(numbered_root, Group)
    return numbered_root


def groups(item: Item) -> Iterator[Group]:
    """All groups in reading order, outer ones first."""
    if isinstance(item, Group):
        yield item
    for inner in inside(item):
        yield from groups(inner)


def inside(item: Item) -> Iterator[Item]:
    match item:
        case Group():
            yield from item.items
        case Fork():
            for chain in item.chains:
                yield from chain


def ops(item: Item) -> Iterator[Op]:
    """All layers in reading order."""
    if isinstance(item, Op):
        yield item
    for inner in inside(item):
        yield from ops(inner)


def layer_ops(target: SourceTarget, name: str, layer: Layer, node: Node) -> list[Op]:
    """A layer without layers inside; padding that the framework's own layer lacks comes before it. Raises `Lacking`."""
    return _Builder(target).ops(name, layer, node)


class _Builder:
    def __init__(self, target: SourceTarget) -> None:
        self.target = target

    def items(self, pairs: Pairs, prefix: str) -> tuple[Item, ...]:
        """The items of a chain whose names begin with the prefix."""
        found: list[Item] = []
        for component, run in self._runs(pairs, prefix):
            found += self._run(component, run, prefix)
        return tuple(found)

    def _runs(self, pairs: Pairs, prefix: str) -> list[tuple[str, list[tuple[Layer, Node]]]]:
        """The chain in runs of layers with the same next part of their names."""
        runs: list[tuple[str, list[tuple[Layer, Node]]]] = []
        for layer, node in pairs:
            component = _component(layer, node, prefix)
            if runs and (component is None or (component and component == runs[-1][0])):
                runs[-1][1].append((layer, node))
            else:
                runs.append((component or "", [(layer, node)]))
        merged: list[tuple[str, list[tuple[Layer, Node]]]] = []
        for component, run in runs:
            earlier = [index for index, (other, _) in enumerate(merged) if other == component and component]
            between = [pair for _, each in merged[earlier[-1] + 1 :] for pair in each] if earlier else []
            if earlier and not any(list(_parameters(node)) for _, node in between):
                whole = [pair for _, each in merged[earlier[-1] :] for pair in each] + run
                merged[earlier[-1] :] = [(component, whole)]
            else:
                merged.append((component, run))
        return self._numbered_from_one(merged, prefix)

    def _numbered_from_one(
        self, runs: list[tuple[str, list[tuple[Layer, Node]]]], prefix: str
    ) -> list[tuple[str, list[tuple[Layer, Node]]]]:
        """Move layers without a name into the group behind them where its first number leaves room for them."""
        for (_, before), (component, run) in pairwise(runs):
            first = run[0][1].path[len(prefix) + len(component) + 1 :].partition(".")[0]
            while first.isdigit() and int(first) > 0 and len(before) > 1 and not before[-1][0].name:
                if isinstance(before[-1][0], (Flatten, *ACTIVATIONS)) or before[-1][0].branches():
                    break
                run.insert(0, before.pop())
                first = str(int(first) - 1)
        return runs

    def _run(self, component: str, run: list[tuple[Layer, Node]], prefix: str) -> list[Item]:
        (layer, node), *rest = run
        if isinstance(layer, Auxiliary) and component and node.path == prefix + component:
            head = Group(
                component, self.items(list(zip(layer.head, node.branches[0])), f"{node.path}."), path=node.path
            )
            following = self.items(rest, prefix) if rest else ()
            return [Fork(layer, node, ((head,),)), *following]
        relative = node.path[len(prefix) :] if layer.name else ""
        if relative == component and not any(each.name for each, _ in rest):
            first = [self._fork(layer, node, f"{node.path}." if layer.name else prefix)] if layer.branches() else []
            if not first:
                return [
                    *self.ops(component, layer, node),
                    *(op for pair in rest for op in self._nameless(pair, prefix)),
                ]
            split = next((i for i, (each, _) in enumerate(rest) if not isinstance(each, ACTIVATIONS)), len(rest))
            inner = [op for pair in rest[:split] for op in self._nameless(pair, prefix)]
            outer = [op for pair in rest[split:] for op in self._nameless(pair, prefix)]
            if not component:
                return [*first, *inner, *outer]
            return [Group(component, (*first, *inner), path=node.path), *outer]
        if relative == component and component and layer.branches():
            fork = self._fork(layer, node, f"{node.path}.")
            return [Group(component, (fork, *self.items(rest, f"{node.path}.")), path=node.path)]
        if relative == component and component:  # a layer and layers below its name
            return [*self.ops(component, layer, node), *self._run(component, rest, prefix)]
        run, after = _without_end(run)
        inner_items = self.items(run, f"{prefix}{component}.") if component else self._plain(run, prefix)
        outer = [op for pair in after for op in self._nameless(pair, prefix)]
        if not component:
            return [*inner_items, *outer]
        if len(inner_items) == 1 and isinstance(inner_items[0], (Op, Group)):
            return [replace(inner_items[0], name=component), *outer]
        return [Group(component, tuple(inner_items), path=f"{prefix}{component}"), *outer]

    def _plain(self, run: list[tuple[Layer, Node]], prefix: str) -> list[Item]:
        return [op for pair in run for op in self._nameless(pair, prefix)]

    def _nameless(self, pair: tuple[Layer, Node], prefix: str) -> list[Item]:
        layer, node = pair
        return [self._fork(layer, node, prefix)] if layer.branches() else [*self.ops("", layer, node)]

    def _fork(self, layer: Layer, node: Node, prefix: str) -> Fork:
        if not isinstance(layer, (Concat, Add, Multiply, Residual, Auxiliary)):
            raise lacking(self.target, node, layer)
        chains = [self.items(list(zip(*each)), prefix) for each in zip(layer.branches(), node.branches)]
        drop = None
        if isinstance(layer, Residual):
            *body, last = chains[0] or (None,)
            if isinstance(last, Op) and isinstance(last.layer, StochasticDepth):
                chains[0], drop = tuple(body), last  # type: ignore[assignment]
        return Fork(layer, node, tuple(chains), drop=drop)

    def ops(self, name: str, layer: Layer, node: Node) -> list[Op]:
        prepared = self.target.prepared(layer, node)
        last = len(prepared) - 1
        named = name or (node.path.rpartition(".")[2] if node.parameters else "")
        found: list[Op] = []
        for number, (each, place) in enumerate(prepared):
            form, values = self.target.described(each, place)
            used = {key: value for key, value in values.items() if key not in self.target.unused}
            found.append(Op(named if number == last else "", each, place, (each.kind, *form), used))
        return found


def _component(layer: Layer, node: Node, prefix: str) -> str | None:
    """The next part of a layer's name; None without a name. A join without one has that of all layers inside, or ""."""
    if layer.name:
        return node.path[len(prefix) :].partition(".")[0]
    if not node.branches:
        return None
    below = {each.path for branch in node.branches for inner in branch for _, each in inner.walk() if each.parameters}
    names = {path[len(prefix) :].partition(".")[0] for path in below}
    dotted = all("." in path[len(prefix) :] for path in below)
    return names.pop() if len(names) == 1 and dotted else ""


def _without_end(run: list[tuple[Layer, Node]]) -> tuple[list[tuple[Layer, Node]], list[tuple[Layer, Node]]]:
    """The run, and the layers at its end that reduce the images to features: without names, they are in no group."""
    begin = len(run)
    while begin > 1 and not run[begin - 1][0].name and isinstance(run[begin - 1][0], REDUCING):
        begin -= 1
    if not any(isinstance(layer, (Flatten, GlobalAvgPool, AdaptiveAvgPool)) for layer, _ in run[begin:]):
        return run, []
    return run[:begin], run[begin:]


def _parameters(node: Node) -> Iterator[Any]:
    for _, inner in node.walk():
        yield from inner.parameters


# --- names ------------------------------------------------------------------------------------------------------------

_MODULES = "F np nn nnx mx torch jax jnp keras layers ops".split()  # their names would hide modules as arguments
_TAKEN = {*keyword.kwlist, *ATTRIBUTES, *_MODULES, *"x self rngs mode state".split()}


def identifier(name: str, kind: str) -> str:
    """A layer's name as an attribute: `1x1` of a convolution is `conv_1x1`."""
    text = re.sub(r"\W", "_", name)
    if not text or text[0].isdigit():
        text = f"{_stem(kind)}_{text}" if text else _stem(kind)
    return free(text, _TAKEN)


def _stem(kind: str) -> str:
    known = {"Conv": "conv", "Dense": "dense", "MaxPool": "pool", "AvgPool": "pool", "BatchNorm": "norm"}
    return known.get(kind, re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", kind).lower())


def numeric(names: Sequence[str]) -> bool:
    """Whether all names are numbers, or one word with consecutive numbers: the places in a sequence."""
    if not names or all(name.isdigit() for name in names):
        return True
    parts = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    stems = {part[1] for part in parts if part}
    numbers = [int(part[2]) for part in parts if part]
    return (
        len(parts) == len(numbers) > 1 and len(stems) == 1 and numbers == [*range(numbers[0], numbers[0] + len(parts))]
    )


# --- forms of layers --------------------------------------------------------------------------------------------------


def select_form(layer: Select, channels: int) -> tuple[str, dict[str, Any]]:
    """How a selection of channels is written: a slice, a shuffle of groups, a list, or with zeros.

    zeros: behind all channels. pad: zeros at both sides of a slice. gap: zeros at one place between all channels.
    places: any other; a map that is the number of channels is one of zeros.
    """
    maps = layer.maps
    if None not in maps:
        numbers = [number for number in maps if number is not None]
        if numbers == list(range(numbers[0], numbers[0] + len(numbers))):
            end = numbers[-1] + 1
            return "slice", {"begin": numbers[0], "end": None if end == channels else end}
        for count in range(2, channels):
            size = channels // count
            if channels % count == 0 and numbers == [g * size + p for p in range(size) for g in range(count)]:
                return "shuffle", {"groups": count}
        return "list", {"maps": tuple(numbers)}
    if maps[:channels] == tuple(range(channels)) and set(maps[channels:]) == {None}:
        return "zeros", {"count": len(maps) - channels}
    runs = layer.runs
    if [begin is None for begin, _ in runs] in ([True, False], [False, True], [True, False, True]):
        (first, size), *_ = [(begin, size) for begin, size in runs if begin is not None]
        before, after = (count if begin is None else 0 for begin, count in (runs[0], runs[-1]))
        stop = None if first + size == channels else first + size
        return "pad", {"begin": first, "end": stop, "before": before, "after": after}
    begin, count = maps.index(None), maps.count(None)
    if maps == (*range(begin), *(None,) * count, *range(begin, channels)):
        return "gap", {"begin": begin, "count": count}
    return "places", {"maps": tuple(channels if number is None else number for number in maps)}


def collapsed(value: Any) -> Any:
    """(3, 3) as 3, ((1, 1), (2, 2)) as (1, 2), ((1, 1), (1, 1)) as 1."""
    if isinstance(value, tuple) and len(value) == 2:
        first, second = collapsed(value[0]), collapsed(value[1])
        return first if first == second else (first, second)
    return value


def padding_of(layer: Any) -> Any:
    """A padding as a number, (vertical, horizontal), or the sides where these differ."""
    around = sides(layer.padding)
    if any(before != after for before, after in around):
        return around
    return collapsed(around)


def rounded_up(layer: MaxPool | AvgPool, node: Node) -> bool:
    """Whether rounding the number of windows up matters for this input."""
    return layer.ceil and replace(layer, ceil=False).output(node.input) != node.output
