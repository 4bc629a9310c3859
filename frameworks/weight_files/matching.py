"""Which layer of a file is which layer of a network: by name, by the file's graph, or by order.

Files of other programs count layers (`conv2d_3`) or call them as the program's author did. What is compared is the
shapes of the weights and what is between the layers: layers without arrays do not count, joins do.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from frameworks.arrays import Weights
from frameworks.errors import WeightFileError
from frameworks.spec import (
    Add,
    Auxiliary,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    GroupNorm,
    LayerNorm,
    Multiply,
    Network,
    Node,
    PReLU,
    Residual,
    Shape,
)
from frameworks.weight_files.state_dict_names import significant

WEIGHTS = "convolution or dense layer"
KINDS = {
    Conv: WEIGHTS,
    Dense: WEIGHTS,
    BatchNorm: "batch normalization",
    LayerNorm: "layer normalization",
    GroupNorm: "group normalization",
    PReLU: "PReLU",
}
# Layers without arrays that tell branches apart, by their kind in the spec.
TELLING = ("relu", "sigmoid", "tanh", "maxpool", "avgpool", "globalavgpool")
JOINS = {Add: "add", Residual: "add", Multiply: "multiply", Concat: "concatenate"}
ORDERED = "concatenate"  # the join whose inputs have an order
NUMBERED = "numbers"
LISTED = 3

Label = tuple[str, tuple[Shape, ...]]
Source = tuple[int, tuple[str, ...]]  # a vertex, -1 for the network's input, and the `TELLING` layers behind it


@dataclass(frozen=True)
class FileLayer:
    """A layer of a file.

    arrays: by role, in canonical layout, except that flat values keep the file's order; by position, "0", "1", where
    the roles are not known. settings: `eps` and `momentum` in the meaning of the spec, where the file says them.
    order: layers with the same value are in the file in the order in which they are computed; for `NUMBERED`, two are
    if the first parts of their names that differ are numbers: `features.3.conv`. attribute: where the layer is in an
    object of the program, which is another name of it.
    """

    name: str
    kind: str
    arrays: Weights = field(repr=False)
    settings: Mapping[str, float] = field(default_factory=dict)
    order: str = ""
    attribute: str = ""

    @property
    def label(self) -> Label:
        if self.kind == WEIGHTS:
            return self.kind, (significant(self.arrays["weight"].shape),)
        shapes = tuple(array.shape for array in self.arrays.values())
        return self.kind, shapes[:1] if self.kind in KINDS.values() else shapes


@dataclass(frozen=True)
class Vertex:
    """A layer with arrays, or a join, and where its inputs come from. It stands behind its inputs in the list."""

    item: Node | FileLayer | str
    inputs: tuple[Source, ...]


def label_of(node: Node) -> Label:
    """What a layer of the file must have to be this one."""
    kind = KINDS.get(type(node.layer), node.layer.kind.lower())
    shapes = tuple(parameter.shape for parameter in node.parameters)
    if kind == WEIGHTS:
        return kind, (significant(node.parameter("weight").shape),)
    return kind, shapes[:1] if kind in KINDS.values() else shapes


def matched(
    network: Network, layers: Sequence[FileLayer], graph: Sequence[Vertex] | None, remedy: str
) -> tuple[dict[str, FileLayer], str]:
    """The file's layer of each layer with arrays, by path, and how they were assigned.

    remedy: how a file is written that says which layer is which. Raises WeightFileError if the layers are not those of
    the network, or if nothing says which is which.
    """
    nodes = [node for _, node in network.walk() if node.parameters]
    if found := _by_name(nodes, layers):
        return found, "by their names"
    _check_counts(network, nodes, layers)
    if graph and (found := _by_graph(spec_graph(network), graph)):
        return found, "by the graph in the file"
    return _by_order(network, nodes, layers, remedy), "by their order"


def _by_name(nodes: Sequence[Node], layers: Sequence[FileLayer]) -> dict[str, FileLayer]:
    """Layers with the network's names, or in attributes with these names; empty if there is one without."""
    for names in ([layer.name for layer in layers], [layer.attribute for layer in layers]):
        named = dict(zip(map(_plain, names), layers))
        found = {node.path: named[_plain(node.path)] for node in nodes if _plain(node.path) in named}
        fitting = all(found[node.path].label == label_of(node) for node in nodes if node.path in found)
        if fitting and len(found) == len(nodes) == len(layers) == len(named):
            return found
    return {}


def _plain(name: str) -> str:
    """A name without the separators of modules, which differ."""
    return re.sub(r"[./-]", "_", name)


def _check_counts(network: Network, nodes: Sequence[Node], layers: Sequence[FileLayer]) -> None:
    """Raise WeightFileError unless each label occurs as often in the file as in the network."""
    left = _grouped(layers)
    for node in nodes:
        if not left[label_of(node)]:
            unused = [layer for group in left.values() for layer in group]
            has = f"; unused in the file: {_listed(unused)}" if unused else ""
            raise WeightFileError(
                f"it has fewer layers than {network.name}: none for {node.path} ({_text(label_of(node))}){has}"
            )
        left[label_of(node)].pop(0)
    if unused := [layer for group in left.values() for layer in group]:
        raise WeightFileError(f"it has more layers than {network.name}: {_listed(unused)}")


def _listed(layers: Sequence[FileLayer]) -> str:
    more = f" and {len(layers) - LISTED} more" if len(layers) > LISTED else ""
    return ", ".join(f"{layer.name or layer.order} ({_text(layer.label)})" for layer in layers[:LISTED]) + more


def _text(label: Label) -> str:
    return f"{label[0]}, {' and '.join('x'.join(map(str, shape)) or '1' for shape in label[1])}"


def _grouped(layers: Sequence[FileLayer]) -> dict[Label, list[FileLayer]]:
    groups: dict[Label, list[FileLayer]] = defaultdict(list)
    for layer in layers:
        groups[layer.label].append(layer)
    return groups


# --- by order ---------------------------------------------------------------------------------------------------------


def _by_order(
    network: Network, nodes: Sequence[Node], layers: Sequence[FileLayer], remedy: str
) -> dict[str, FileLayer]:
    """Layers with the same label in order; refused where it says nothing: layers side by side have no order."""
    groups = _grouped(layers)
    places = dict(_places(network.nodes, ()))
    seen: dict[Label, list[Node]] = defaultdict(list)
    for node in nodes:
        for other in seen[label_of(node)]:
            if any(places[node.path].get(join, branch) != branch for join, branch in places[other.path].items()):
                raise WeightFileError(
                    f"it does not say which of its layers is {other.path} and which {node.path}, side by side in "
                    f"{network.name} and alike; {remedy}, or give its layers these names"
                )
        seen[label_of(node)].append(node)
    for label, group in groups.items():
        if not all(_in_order(one, other) for one, other in combinations(group, 2)):
            names = ", ".join(layer.name for layer in group[:LISTED])
            paths = ", ".join(node.path for node in seen[label][:LISTED])
            raise WeightFileError(f"it does not say in which order {names} are {paths}; {remedy}")
    return {node.path: groups[label_of(node)].pop(0) for node in nodes}


def _in_order(one: FileLayer, other: FileLayer) -> bool:
    """Whether the file has two layers in the order in which they are computed."""
    if one.order != other.order:
        return False
    parts = zip(one.name.split("."), other.name.split("."))
    differing = next((pair for pair in parts if pair[0] != pair[1]), ("", ""))
    return one.order != NUMBERED or all(part.isdigit() for part in differing)


def _places(nodes: Sequence[Node], around: tuple[tuple[str, int], ...]) -> Iterator[tuple[str, dict[str, int]]]:
    """The joins around each layer, and the branch of each in which the layer is."""
    for node in nodes:
        yield node.path, dict(around)
        for number, branch in enumerate(node.branches):
            yield from _places(branch, (*around, (node.path, number)))


# --- by graph ---------------------------------------------------------------------------------------------------------


def spec_graph(network: Network) -> list[Vertex]:
    """The network's layers with arrays and its joins."""
    graph: list[Vertex] = []

    def chained(nodes: Sequence[Node], last: Source) -> Source:
        for node in nodes:
            ends = [chained(branch, last) for branch in node.branches]
            if ends and not isinstance(node.layer, Auxiliary):
                graph.append(Vertex(JOINS[type(node.layer)], tuple(ends)))
                last = len(graph) - 1, ()
            elif node.parameters:
                graph.append(Vertex(node, (last,)))
                last = len(graph) - 1, ()
            elif node.layer.kind.lower() in TELLING:
                last = last[0], (*last[1], node.layer.kind.lower())
        return last

    chained(network.nodes, (-1, ()))
    return graph


def _by_graph(ours: Sequence[Vertex], theirs: Sequence[Vertex]) -> dict[str, FileLayer]:
    """Layers with the same paths before and behind them; empty if the graphs differ, or if nothing tells layers apart.

    If several layers have this in common although activations and pools count, the graph is symmetric: one pair is
    fixed, and the others follow. If the graphs are equal without activations and pools alone, this decides nothing.
    """
    for telling in (True, False):
        pinned: list[tuple[int, int]] = []
        while True:
            left = _signatures(ours, {a: number for number, (a, _) in enumerate(pinned)}, telling)
            right = _signatures(theirs, {b: number for number, (_, b) in enumerate(pinned)}, telling)
            tied = next((each for each in left if left.count(each) > 1), None)
            if sorted(left) != sorted(right) or (tied is not None and not telling):
                break
            if tied is None:
                known = {signature: vertex.item for signature, vertex in zip(right, theirs)}
                pairs = [(vertex.item, known[signature]) for vertex, signature in zip(ours, left)]
                return {a.path: b for a, b in pairs if isinstance(a, Node) and isinstance(b, FileLayer)}
            pinned.append((left.index(tied), right.index(tied)))
    return {}


def _signatures(graph: Sequence[Vertex], pinned: Mapping[int, int], telling: bool) -> list[int]:
    """A number for each vertex: of its label and of everything before and behind it."""
    before: dict[int, int] = {-1: 0}
    for index, vertex in enumerate(graph):
        inputs = [hash((before[source], passed if telling else ())) for source, passed in vertex.inputs]
        inputs = inputs if vertex.item == ORDERED else sorted(inputs)
        before[index] = hash((_label(vertex), pinned.get(index, -1), tuple(inputs)))
    behind: dict[int, list[int]] = defaultdict(list)
    signatures = [0] * len(graph)
    for index in reversed(range(len(graph))):
        own = signatures[index] = hash((before[index], tuple(sorted(behind[index]))))
        for position, (source, passed) in enumerate(graph[index].inputs):
            place = position if graph[index].item == ORDERED else -1
            behind[source].append(hash((own, place, passed if telling else ())))
    return signatures


def _label(vertex: Vertex) -> Hashable:
    if isinstance(vertex.item, Node):
        return label_of(vertex.item)
    return vertex.item.label if isinstance(vertex.item, FileLayer) else vertex.item


# --- a layer with its layer of the file -------------------------------------------------------------------------------


def fitted(node: Node, layer: FileLayer, changes: Counter[str]) -> Weights:
    """The file's arrays by the roles that the layer has; what is filled in or left out is counted in the changes.

    Gamma and beta that the file does not have are 1 and 0, and those that the layer does not have must be. Raises
    WeightFileError.
    """
    given = layer.arrays
    wanted = [parameter.role for parameter in node.parameters]
    if all(role.isdigit() for role in given):
        given = dict(zip(wanted, given.values()))
    if "0" in given:  # gamma or beta
        trained = [role for role in wanted if role in ("gamma", "beta")]
        if len(trained) != 1:
            raise WeightFileError(f"it does not say whether {layer.name} has gamma or beta; save the whole model")
        given = {trained[0] if each == "0" else each: array for each, array in given.items()}
    if "normalization" in layer.kind:
        for role, value in (("gamma", 1.0), ("beta", 0.0)):
            if role in wanted and role not in given:
                given = {**given, role: np.full(node.input[:1], value, np.float32)}
                changes[f"the file has no {role}: it is {value:g}"] += 1
            elif role in given and role not in wanted and np.all(given[role] == value):
                given = {each: array for each, array in given.items() if each != role}
                changes[f"left out: a {role} that is {value:g}"] += 1
    if set(given) != set(wanted):
        raise WeightFileError(
            f"its layer {layer.name} has {len(layer.arrays)} arrays ({', '.join(layer.arrays)}) for {node.path}, "
            f"which needs {', '.join(wanted)}"
        )
    return given


def counted(changes: Counter[str]) -> list[str]:
    """A line for each kind of change."""
    return [f"{change}, in {count} {'layer' if count == 1 else 'layers'}" for change, count in changes.items()]


def checked_settings(network: Network, found: Mapping[str, FileLayer], program: str, default: float) -> Iterator[str]:
    """Lines about values of normalizations that are no arrays. Raises WeightFileError for an epsilon that differs.

    program: what wrote the file, with the epsilon that it has by default.
    """
    momenta, unknown = [], []
    for _, node in network.walk():
        eps = getattr(node.layer, "eps", None)
        if node.path not in found or eps is None:
            continue
        theirs = found[node.path].settings
        if "eps" not in theirs:
            unknown.append((node.path, eps))
        elif not np.isclose(theirs["eps"], eps, rtol=1e-6, atol=0):
            raise WeightFileError(
                f"{found[node.path].name} has epsilon {theirs['eps']:g}, {node.path} of {network.name} has {eps:g}: "
                "they compute different values; give the layer of the spec the epsilon of the file"
            )
        momentum = getattr(node.layer, "momentum", None)
        if momentum is not None and "momentum" in theirs and not np.isclose(theirs["momentum"], momentum, rtol=1e-6):
            momenta.append((node.path, theirs["momentum"], momentum))
    if momenta:
        path, given, ours = momenta[0]
        yield (
            f"momentum counts in training alone, and {len(momenta)} of the file differ: {path} has {ours:g}, the file "
            f"{given:g}, which {program} writes as {1 - given:g}"
        )
    if unknown:
        path, eps = unknown[0]
        yield (
            f"the file does not say the epsilon of normalizations: {path} has {eps:g}, the default of {program} is "
            f"{default:g}"
        )
