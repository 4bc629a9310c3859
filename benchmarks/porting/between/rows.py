"""The layers of a network as rows to compare: in reading order, in one form for what can be written in several ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from frameworks.spec import (
    AdaptiveAvgPool,
    Add,
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    InstanceNorm,
    Layer,
    MaxPool,
    Multiply,
    Network,
    Node,
    Normalize,
    Pad,
    Residual,
    Scale,
    Select,
    Shape,
    pair,
    sides,
)
from frameworks.spec.windowed import rounded_up

_PAIRS = ("kernel", "stride", "dilation")
_HIDDEN = ("name", "out", "chains", "body", "shortcut", "head")  # what a row shows otherwise, or not at all


@dataclass(frozen=True, eq=False)
class LayerRow:
    """A layer to compare.

    arguments: in one form, a pair for a number that is given once for both ways. computed: those that decide what it
    computes. before: the row whose output it takes, None for the network's input. depth: of the joins around it.
    """

    path: str
    kind: str
    arguments: dict[str, Any]
    computed: dict[str, Any]
    node: Node
    before: LayerRow | None
    depth: int
    chain: int

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of its arrays, by role."""
        return {parameter.role: parameter.shape for parameter in self.node.parameters}

    @property
    def written(self) -> dict[str, Any]:
        """The arguments as they are written, also where the row has another form."""
        return _arguments(self.node.layer, self.node)[0]

    def same(self, other: LayerRow) -> bool:
        """Whether both compute the same from the same arrays."""
        return self.kind == other.kind and self.computed == other.computed


def rows(network: Network) -> list[LayerRow]:
    """The rows of a network in reading order, a join before the layers inside it.

    Left out are flattenings, which have one order only, and layers that change nothing. Zeros around an image are a
    part of the convolution behind them.
    """
    return list(_chain(network.layers, network.nodes, None, 0, 0))


def _chain(
    layers: Sequence[Layer], nodes: Sequence[Node], before: LayerRow | None, depth: int, number: int
) -> Iterator[LayerRow]:
    pad: Pad | None = None
    for index, (layer, node) in enumerate(zip(layers, nodes)):
        following = layers[index + 1] if index + 1 < len(layers) else None
        if isinstance(layer, Pad) and layer.value == 0 and isinstance(following, Conv) and pad is None:
            pad = layer
            continue
        written = _around(layer, pad) if isinstance(layer, Conv) and pad else layer
        pad = None
        if _changes_nothing(written, node):
            continue
        plain = _plain(written, node.input)
        if plain is None:
            continue
        row = LayerRow(node.path, plain.kind, *_arguments(plain, node), node, before, depth, number)
        yield row
        for place, (inside, branch) in enumerate(_branches(layer, node)):
            yield from _chain(inside, branch, before, depth + 1, place)
        before = row


def _branches(layer: Layer, node: Node) -> list[tuple[Sequence[Layer], Sequence[Node]]]:
    """The chains inside, those of a sum or product with the largest first: their order does not matter."""
    pairs: list[tuple[Sequence[Layer], Sequence[Node]]] = list(zip(layer.branches(), node.branches))
    if isinstance(layer, (Add, Multiply, Residual)):
        pairs.sort(key=lambda each: (-_size(each[1]), -len(each[1])))
    return pairs


def _size(nodes: Sequence[Node]) -> int:
    """The number of values in the arrays of a chain."""
    return sum(parameter.size for top in nodes for _, node in top.walk() for parameter in node.parameters)


def _around(layer: Conv, pad: Pad) -> Conv:
    """A convolution with the zeros of the layer before it."""
    ways = zip(sides(layer.padding), sides(pad.padding))
    vertical, horizontal = ((one[0] + two[0], one[1] + two[1]) for one, two in ways)
    return replace(layer, padding=(vertical, horizontal))


def _changes_nothing(layer: Layer, node: Node) -> bool:
    match layer:
        case Flatten():
            return True
        case Dropout():
            return layer.rate == 0
        case Scale():
            return layer.factor == 1
        case Normalize():
            return not any(layer.mean) and set(layer.std) == {1.0}
        case Select():
            return layer.maps == tuple(range(node.input[0]))
        case Pad():
            return not np.any(sides(layer.padding))
    return False


def _plain(layer: Layer, shape: Shape) -> Layer | None:
    """The layer in the form that is compared; None for one that changes nothing."""
    match layer:
        case Residual():
            return Add(layer.name, layer.branches())
        case InstanceNorm():
            return GroupNorm(layer.name, shape[0], layer.eps, layer.gamma, layer.beta)
        case AdaptiveAvgPool():
            window = shape[1] // layer.height, shape[2] // layer.width
            if (window[0] * layer.height, window[1] * layer.width) != shape[1:]:
                return layer
            return _plain(AvgPool(layer.name, window, window), shape)
        case GlobalAvgPool():
            return None if shape[1:] == (1, 1) else layer
        case AvgPool() | MaxPool():
            if pair(layer.kernel) == pair(layer.stride) == (1, 1) and not np.any(sides(layer.padding)):
                return None
            whole = pair(layer.kernel) == shape[1:] and not np.any(sides(layer.padding))
            return GlobalAvgPool(layer.name) if whole and isinstance(layer, AvgPool) else layer
        case Conv():
            whole = pair(layer.kernel) == shape[1:] and not np.any(sides(layer.padding)) and layer.groups == 1
            return Dense(layer.name, layer.channels, layer.bias) if whole else layer
    return layer


def _arguments(layer: Layer, node: Node) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments as they are written, and those that decide what is computed."""
    given: dict[str, Any] = {}
    for item in fields(layer):
        if item.name not in _HIDDEN:
            given[item.name] = _value(item.name, getattr(layer, item.name), node.input)
    if node.branches:
        given["chains"] = len(node.branches)
    computed = dict(given)
    if isinstance(layer, (MaxPool, AvgPool)):
        whole = rounded_up(layer, node.input) if layer.ceil else layer
        computed |= {"padding": sides(whole.padding), "ceil": False}
        if isinstance(layer, AvgPool):
            padded = np.any(sides(whole.padding))
            computed["ceil"] = layer.ceil and sides(whole.padding) != sides(layer.padding)
            computed["count_padding"] = layer.count_padding if padded else True
            if layer.ceil and padded and (not layer.count_padding or not np.any(sides(layer.padding))):
                # What rounding up adds is never counted: the same as padding that is not.
                computed |= {"ceil": False, "count_padding": False}
    return given, computed


def _value(name: str, value: Any, shape: Shape) -> Any:
    if name in _PAIRS:
        return pair(value)
    if name == "padding":
        return sides(value)
    if name in ("mean", "std"):
        return tuple(map(_digits, np.resize(value, shape[0]).tolist()))
    return _digits(value) if isinstance(value, float) else value


def _digits(value: float) -> float:
    """A number to twelve digits: some programs have 1 - momentum or 1 / std, and its rounding is no difference."""
    return float(f"{value:.12g}")


def execution(
    pairs: Iterable[tuple[LayerRow | None, LayerRow | None]],
) -> list[tuple[LayerRow | None, LayerRow | None]]:
    """Pairs of aligned rows in the order in which they are computed: a join after the layers inside it."""
    done: list[tuple[LayerRow | None, LayerRow | None]] = []
    waiting: list[tuple[int, tuple[LayerRow | None, LayerRow | None]]] = []
    for each in pairs:
        depth = max(row.depth for row in each if row)
        while waiting and waiting[-1][0] >= depth:
            done.append(waiting.pop()[1])
        if any(row and row.node.branches for row in each):
            waiting.append((depth, each))
        else:
            done.append(each)
    return [*done, *(each for _, each in reversed(waiting))]
