"""The layers of Gluon's .params: `features.0.weight`, or `conv0_weight` of the graph that `export` writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from frameworks.arrays import Array, Weights
from frameworks.errors import WeightFileError
from frameworks.spec import Network
from frameworks.weight_files.converted import Converted
from frameworks.weight_files.matching import (
    NUMBERED,
    TELLING,
    WEIGHTS,
    FileLayer,
    Source,
    Vertex,
    checked_settings,
    counted,
    fitted,
    matched,
)

_ROLES = {
    **{"weight": "weight", "bias": "bias", "gamma": "gamma", "beta": "beta", "alpha": "slope"},
    **{"running_mean": "running_mean", "running_var": "running_var"},
    **{"moving_mean": "running_mean", "moving_var": "running_var"},
}
_NAME = re.compile(rf"(?P<layer>.+?)[._](?P<role>{'|'.join(_ROLES)})")
_KINDS = {
    **{"Convolution": WEIGHTS, "FullyConnected": WEIGHTS, "BatchNorm": "batch normalization"},
    **{"LayerNorm": "layer normalization", "GroupNorm": "group normalization", "LeakyReLU": "PReLU"},
}
_JOINS = {
    **dict.fromkeys(("elemwise_add", "broadcast_add", "_Plus", "_plus", "add_n"), "add"),
    **dict.fromkeys(("elemwise_mul", "broadcast_mul", "_Mul", "_mul"), "multiply"),
    "Concat": "concatenate",
}
_EPSILONS = {"BatchNorm": 1e-3, "LayerNorm": 1e-5, "GroupNorm": 1e-5}  # the defaults of the operators
_EPSILON = 1e-5  # that of the layers
_REMEDY = 'net.export("model") writes the graph, too'


def converted(network: Network, arrays: Weights, about: Mapping[str, Any]) -> Converted:
    """The arrays under the network's canonical names, which layer of the file each is, and what was assumed.

    about: what `gluon_params.py` writes. Raises WeightFileError, also for an epsilon that is not the network's.
    """
    named = {name.removeprefix("arg:").removeprefix("aux:"): arrays[name] for name in about["names"]}
    notes: list[str] = []
    changes = Counter[str]()
    graph = _graph(about["symbol"], named, changes) if about["symbol"] else None
    if graph:
        layers = [vertex.item for vertex in graph if isinstance(vertex.item, FileLayer)]
        notes.insert(0, f"the graph is that of {about['graph']}")
    else:
        layers = _layers(named)
    found, how = matched(network, layers, graph, _REMEDY)
    if len(network.nodes) < sum(1 for _ in network.walk()) or how != "by their order":
        notes.append(f"layers assigned {how}")
    weights: Weights = {}
    for _, node in network.walk():
        if node.parameters:
            given = fitted(node, found[node.path], changes)
            weights |= {each.name: _in_shape(given[each.role], each.shape) for each in node.parameters}
    notes += [*counted(changes), *checked_settings(network, found, "Gluon", _EPSILON)]
    names = {path: layer.name for path, layer in found.items()}
    return Converted(weights, tuple(notes), names, whole=graph is not None)


def _in_shape(array: Array, shape: Sequence[int]) -> Array:
    return array.reshape(shape) if array.size == np.prod(shape) else array


def _layers(named: Mapping[str, Array]) -> list[FileLayer]:
    """The layers of a file without a graph; their kinds follow from the roles of their arrays."""
    groups: dict[str, Weights] = {}
    for name, array in named.items():
        parts = _NAME.fullmatch(name)
        if not parts:
            raise WeightFileError(f"its array {name} is of no known layer")
        groups.setdefault(parts["layer"], {})[_ROLES[parts["role"]]] = array
    return [FileLayer(name, _kind(group), group, order=NUMBERED) for name, group in groups.items()]


def _kind(arrays: Weights) -> str:
    if "weight" in arrays:
        return WEIGHTS
    if "slope" in arrays:
        return "PReLU"
    return "batch normalization" if "running_mean" in arrays else "layer normalization"


# --- the graph --------------------------------------------------------------------------------------------------------


def _graph(symbol: Any, named: Mapping[str, Array], changes: Counter[str]) -> list[Vertex] | None:
    """The layers and joins of a graph; None if its arrays are not those of the file."""
    graph: list[Vertex] = []
    places: list[Source] = []
    try:
        nodes = symbol["nodes"]
        inputs = {each for node in nodes for each, *_ in node["inputs"]}
        for index, node in enumerate(nodes):
            name, kind, attributes = node["name"], node["op"], node.get("attrs", node.get("param", {}))
            own = [nodes[each]["name"] for each, *_ in node["inputs"] if nodes[each]["name"] in named]
            before = [places[each] for each, *_ in node["inputs"] if nodes[each]["name"] not in named]
            if kind == "null":
                places.append((-1, ()))
                continue
            if own or len(before) > 1:
                item = _layer(node, {each: named[each] for each in own}, changes) if own else _JOINS.get(kind, kind)
                graph.append(Vertex(item, tuple(before)))
                places.append((len(graph) - 1, ()))
                continue
            telling = _telling(kind, attributes)
            vertex, passed = before[0] if before else (-1, ())
            places.append((vertex, (*passed, telling)) if telling in TELLING else (vertex, passed))
            if index not in inputs and kind == "Custom":
                raise WeightFileError(f"{name} is an operator of the user's own")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise WeightFileError(f"its graph cannot be read: {type(error).__name__} {error}") from None
    used = [vertex.item for vertex in graph if isinstance(vertex.item, FileLayer)]
    return graph if sum(len(layer.arrays) for layer in used) == len(named) else None


def _layer(node: Mapping[str, Any], given: Weights, changes: Counter[str]) -> FileLayer:
    """A layer of a graph. A fixed gamma is 1, whatever the file holds."""
    kind, attributes = node["op"], node.get("attrs", node.get("param", {}))
    name = re.sub(r"_fwd$", "", node["name"])
    arrays = {}
    for each, array in given.items():
        parts = _NAME.fullmatch(each)
        if not parts:
            raise WeightFileError(f"its array {each} is of no known layer")
        arrays["slope" if kind == "LeakyReLU" else _ROLES[parts["role"]]] = array
    settings = {}
    if kind in _EPSILONS:
        settings["eps"] = float(attributes.get("eps", _EPSILONS[kind]))
    if kind == "BatchNorm":
        settings["momentum"] = 1 - float(attributes.get("momentum", 0.9))
        if attributes.get("fix_gamma", "True") in ("True", "1") and not np.all(arrays["gamma"] == 1):
            arrays["gamma"] = np.ones_like(arrays["gamma"])
            changes["gamma is fixed: it is 1, and what the file holds is left out"] += 1
    return FileLayer(name, _KINDS.get(kind, kind.lower()), arrays, settings)


def _telling(kind: str, attributes: Mapping[str, str]) -> str:
    """The kind in the spec of an operator without arrays."""
    if kind == "Activation":
        return attributes["act_type"]
    if kind != "Pooling":
        return kind.lower()
    pool = attributes.get("pool_type", "max")
    return f"{'global' if attributes.get('global_pool') in ('True', '1') else ''}{pool}pool"
