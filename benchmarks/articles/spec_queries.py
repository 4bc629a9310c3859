"""Queries that count something in the specs: `parameters alexnet C1` is the number of parameters of AlexNet's layer C1.

A query is a function of this module followed by its arguments: networks, paths of layers and kinds of layers. The
table of the articles' claims, `claims.csv`, has one query per claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from math import prod
from typing import Any, TypeAlias

from benchmarks.reporting.layer_text import padding_text
from benchmarks.reporting.number_formats import percent
from frameworks import spec
from frameworks.networks import NETWORKS
from frameworks.spec import (
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Network,
    Node,
    ReLU,
    pair,
    times,
)

Value: TypeAlias = "int | str | tuple[int | str, ...]"


def evaluate(query: str) -> Value:
    """The value of a query. Several queries, separated by `;`, give a tuple of their values.

    Raises KeyError for an unknown function, network, layer or kind of layer.
    """
    parts = [part.split() for part in query.split(";")]
    values = [QUERIES[name](*arguments) for name, *arguments in parts]
    return values[0] if len(values) == 1 else tuple(values)


# --- access to the specs ----------------------------------------------------------------------------------------------


@cache
def _network(name: str) -> Network:
    """A network by name; `lenet_relu@32` is lenet_relu with an input of 32 x 32."""
    name, _, side = name.partition("@")
    network = NETWORKS[name]()
    return network.with_input((network.input[0], int(side), int(side))) if side else network


def _node(network: str, path: str) -> Node:
    for _, node in _network(network).walk():
        if node.path == path:
            return node
    raise KeyError(f"{network} has no layer {path}")


def _nodes(network: str, *kinds: type[Layer]) -> list[Node]:
    return [node for _, node in _network(network).walk() if isinstance(node.layer, kinds)]


def _kinds(names: Iterable[str]) -> tuple[type[Layer], ...]:
    return tuple(getattr(spec, name) for name in names)


def _window_layer(network: str, path: str) -> Conv | MaxPool | AvgPool:
    layer = _node(network, path).layer
    if not isinstance(layer, (Conv, MaxPool, AvgPool)):
        raise KeyError(f"{network}.{path} has no window")
    return layer


# --- one layer --------------------------------------------------------------------------------------------------------


def output(network: str, path: str) -> str:
    """The shape of a layer's output."""
    return times(_node(network, path).output)


def height(network: str, path: str) -> int:
    """The height of a layer's output."""
    return _node(network, path).output[1]


def values(network: str, path: str) -> int:
    """The number of values in a layer's output: its nodes."""
    return prod(_node(network, path).output)


def inputs(network: str, path: str) -> int:
    """The number of values in a layer's input."""
    return prod(_node(network, path).input)


def size_ratio(network: str, path: str) -> int:
    """How many values of a layer's input there are to each value of its output."""
    return inputs(network, path) // values(network, path)


def height_ratio(network: str, path: str) -> int:
    """The height of a layer's input over that of its output."""
    node = _node(network, path)
    return node.input[1] // node.output[1]


def rows_lost(network: str, path: str) -> int:
    """The height of a layer's input less that of its output."""
    node = _node(network, path)
    return node.input[1] - node.output[1]


def window(network: str, path: str) -> str:
    """A layer's window: 5x5."""
    return times(pair(_window_layer(network, path).kernel))


def stride(network: str, path: str) -> int | str:
    """A layer's vertical stride; words for a layer without one."""
    layer = _node(network, path).layer
    return pair(layer.stride)[0] if isinstance(layer, (Conv, MaxPool, AvgPool)) else f"{layer.kind}, no stride"


def window_stride_padding(network: str, path: str) -> str:
    """A layer's window, stride and padding: 5x5/1/2."""
    return f"{window(network, path)}/{stride(network, path)}/{padding_text(_window_layer(network, path).padding)}"


def kernel(network: str, path: str) -> str:
    """A convolution's window and the number of maps that each of its kernels sees: 5x5x48."""
    _, maps_seen, *sides = _node(network, path).parameter("weight").shape
    return times((*sides, maps_seen))


def input_and_maps(network: str, path: str) -> tuple[int, ...]:
    """The maps of a module's input, then the maps of each of its convolutions."""
    node = _node(network, path)
    convolutions = [inner for _, inner in node.walk() if isinstance(inner.layer, Conv)]
    return (node.input[0], *(inner.output[0] for inner in convolutions))


# --- one network ------------------------------------------------------------------------------------------------------


def input(network: str) -> str:
    """The shape of a network's input."""
    return times(_network(network).input)


def classes(network: str) -> int:
    """The number of classes."""
    return _network(network).classes


def layers(network: str, *kinds: str) -> int:
    """The number of layers of these kinds."""
    return len(_nodes(network, *_kinds(kinds)))


def hidden_dense_layers(network: str) -> int:
    """The number of dense layers before the last."""
    return len(_nodes(network, Dense)) - 1


def maps(network: str, *paths: str) -> tuple[int, ...]:
    """The maps of each convolution in reading order: of all of them, or of those at these paths."""
    return tuple(node.output[0] for node in _nodes(network, Conv) if not paths or node.path in paths)


def parameters(network: str, *paths: str) -> int:
    """The number of trained parameters: of these layers, or of the whole network."""
    if not paths:
        return _network(network).params
    return sum(array.size for path in paths for array in _node(network, path).parameters if array.trainable)


def depth(network: str, *kinds: str) -> int:
    """The number of layers of these kinds on the longest path through the network."""
    classes = _kinds(kinds)

    def longest(nodes: Iterable[Node]) -> int:
        return sum(
            isinstance(node.layer, classes) + max((longest(branch) for branch in node.branches), default=0)
            for node in nodes
        )

    return longest(_network(network).nodes)


def building_blocks(network: str) -> int:
    """The number of layers other than activations, dropout and flattening."""
    return sum(not isinstance(node.layer, (ReLU, Dropout, Flatten)) for _, node in _network(network).walk())


def convolutions_over_all_maps(network: str) -> int:
    """The number of convolutions in one group: each kernel sees all maps of the input."""
    return sum(node.parameter("weight").shape[1] == node.input[0] for node in _nodes(network, Conv))


def layers_before(network: str, kind: str) -> str:
    """The layers after which a layer of this kind follows; it is named after them: C1_tanh follows C1."""
    return ", ".join(node.path.partition("_")[0] for node in _nodes(network, *_kinds([kind])))


def dense_fraction(network: str) -> str:
    """The fraction of the parameters that are in dense layers."""
    dense = sum(array.size for node in _nodes(network, Dense) for array in node.parameters)
    return f"{percent(dense / parameters(network))} in {network}"


# --- several networks -------------------------------------------------------------------------------------------------


def fewest_and_most_weight_layers(*networks: str) -> str:
    """The least and the greatest number of layers with weights."""
    counts = [layers(network, "Conv", "Dense") for network in networks]
    return f"{min(counts)} to {max(counts)}"


def parameters_as_unit_fraction(network: str, larger: str) -> str:
    """The parameters of a network as a fraction of those of a larger one: 1/8.7."""
    return f"1/{parameters(larger) / parameters(network):.1f}"


def parameter_ratio(network: str, other: str) -> str:
    """The parameters of a network over those of another: 2.11 times."""
    return f"{parameters(network) / parameters(other):.2f} times"


def first_with_reductions(*networks: str) -> str:
    """The first of these networks with a 1 x 1 convolution that has fewer output maps than input maps."""
    return next(name for name in networks if any(_reduces(node) for node in _nodes(name, Conv)))


def _reduces(node: Node) -> bool:
    return node.parameter("weight").shape[2:] == (1, 1) and node.output[0] < node.input[0]


def networks_with_a_pool_between_dense_layers() -> str:
    """The networks of the catalog in which a pool stands between two dense layers."""
    return ", ".join(name for name in NETWORKS if _has_a_pool_between_dense_layers(name)) or "none"


def _has_a_pool_between_dense_layers(name: str) -> bool:
    kinds = (Dense, MaxPool, AvgPool, GlobalAvgPool)
    dense = [isinstance(node.layer, Dense) for node in _network(name).nodes if isinstance(node.layer, kinds)]
    if True not in dense:
        return False
    first, last = dense.index(True), len(dense) - dense[::-1].index(True)
    return False in dense[first:last]


QUERIES: dict[str, Callable[..., Any]] = {
    query.__name__: query
    for query in (
        output,
        height,
        values,
        inputs,
        size_ratio,
        height_ratio,
        rows_lost,
        window,
        stride,
        window_stride_padding,
        kernel,
        input_and_maps,
        input,
        classes,
        layers,
        hidden_dense_layers,
        maps,
        parameters,
        depth,
        building_blocks,
        convolutions_over_all_maps,
        layers_before,
        dense_fraction,
        fewest_and_most_weight_layers,
        parameters_as_unit_fraction,
        parameter_ratio,
        first_with_reductions,
        networks_with_a_pool_between_dense_layers,
    )
}
