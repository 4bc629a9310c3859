"""The layers of Keras's files: `layers/conv2d_3/vars/0` of version 3, and names of layers in earlier versions.

A whole model has its config, which gives the classes of the layers, their epsilon and their graph.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from frameworks.arrays import Array, Weights
from frameworks.errors import WeightFileError
from frameworks.spec import Auxiliary, Dense, Flatten, Network, Node, Select, Shape
from frameworks.weight_files.converted import Converted
from frameworks.weight_files.matching import (
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

_SNAKE = {"conv2d": "Conv2D", "depthwise_conv2d": "DepthwiseConv2D", "separable_conv2d": "SeparableConv2D",
          "dense": "Dense", "batch_normalization": "BatchNormalization", "p_re_lu": "PReLU",
          "layer_normalization": "LayerNormalization", "group_normalization": "GroupNormalization"}  # fmt: skip
_NORMS = {"BatchNormalization": "batch normalization", "LayerNormalization": "layer normalization",
          "GroupNormalization": "group normalization"}  # fmt: skip
_SCALES = {"LayerScale": "affine"}  # of keras.applications
_JOINS = {"Add": "add", "Multiply": "multiply", "Concatenate": "concatenate"}
_TELLING = {"ReLU": "relu", "MaxPooling2D": "maxpool", "AveragePooling2D": "avgpool",
            "GlobalAveragePooling2D": "globalavgpool"}  # fmt: skip
_ROLES = {
    **{"kernel": "weight", "bias": "bias", "gamma": "gamma", "beta": "beta", "alpha": "slope"},
    **{"moving_mean": "running_mean", "moving_variance": "running_var"},
    **{"depthwise_kernel": "weight", "pointwise_kernel": "pointwise"},
}
_EPSILON = 1e-3  # the default
_REMEDY = 'save the whole model, model.save("model.keras")'

Placed: TypeAlias = "tuple[Node, Array | None]"


def canonical(network: Network, arrays: Weights) -> Weights:
    """The arrays of a .weights.h5, by their paths, under the network's canonical names and in canonical layout.

    Raises WeightFileError where the file's layers are not the network's.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(arrays, key=_numbers):
        groups.setdefault(name.partition("/vars/")[0], []).append(name)
    layers = [{"name": "", "group": group, "arrays": names, "roles": []} for group, names in groups.items()]
    return converted(network, arrays, {"layers": layers, "order": False, "config": None}).weights


def converted(network: Network, arrays: Weights, about: Mapping[str, Any]) -> Converted:
    """The arrays as `canonical` gives them, which layer of the file each is, and what was assumed.

    about: what `keras_h5.py` writes. Raises WeightFileError, also for an epsilon that is not the network's.
    """
    model = _model(about, arrays) if about["config"] else None
    layers = [each for record in about["layers"] for each in _layers(record, arrays, {}, about["order"])]
    notes: list[str] = []
    if model:
        layers = [vertex.item for vertex in model.graph if isinstance(vertex.item, FileLayer)]
        notes += [f"left out: {name}, which prepares the pixels" for name in model.prepares]
    found, how = matched(network, layers, model.graph if model else None, _REMEDY)
    if len(network.nodes) < sum(1 for _ in network.walk()) or how != "by their order":
        notes.append(f"layers assigned {how}")
    weights: Weights = {}
    changes = Counter[str]()
    for node, order in _with_order(network.nodes):
        given = fitted(node, found[node.path], changes)
        weights |= {each.name: _in_layout(node, given[each.role], each.shape, order) for each in node.parameters}
    notes += [*counted(changes), *checked_settings(network, found, "Keras", _EPSILON)]
    names = {path: layer.name for path, layer in found.items()}
    return Converted(
        weights,
        tuple(notes),
        names,
        whole=model is not None,
        prepares=model.prepares[-1] if model and model.prepares else "",
    )


# --- the layers of a file ---------------------------------------------------------------------------------------------


@dataclass
class _Model:
    """The graph of a config; prepares: layers that bring pixels to the values that the model expects."""

    records: dict[str, dict[str, Any]]
    arrays: Weights
    graph: list[Vertex] = field(default_factory=list)
    prepares: list[str] = field(default_factory=list)

    def placed(self, config: Mapping[str, Any], inputs: Sequence[Source], group: str, outer: str) -> Source:
        """Add the layers of a model that takes these tensors; returns its output."""
        layers, counts = config["config"]["layers"], Counter[str]()
        outputs: dict[str, Source] = {}
        last = inputs[0]
        for each in layers:
            kind, name = each["class_name"], each["config"]["name"]
            snake = _snake(kind)
            number, counts[snake] = counts[snake], counts[snake] + 1
            path = f"{group}layers/{snake}_{number}" if number else f"{group}layers/{snake}"
            calls = each.get("inbound_nodes", [])
            if len(calls) > 1:
                raise WeightFileError(f"{name} is called {len(calls)} times; each layer of a spec is called once")
            if kind == "InputLayer":
                names = _references(config["config"].get("input_layers", []))
                outputs[name] = inputs[names.index(name)] if len(inputs) > 1 and name in names else last
                continue
            before = [outputs[source] for source in _references(calls)] if calls else [last]
            last = outputs[name] = self.layer(each, before, path, outer)
        ends = _references(config["config"].get("output_layers", []))
        return outputs[ends[0]] if ends else last

    def layer(self, each: Mapping[str, Any], before: list[Source], path: str, outer: str) -> Source:
        """Add a layer or a nested model; returns its output. outer: the layer of the file that it is in."""
        kind, name, activation = each["class_name"], each["config"]["name"], each["config"].get("activation")
        if "layers" in each["config"]:
            return self.placed(each, before, f"{path}/", outer or name)
        if kind in ("Rescaling", "Normalization") and before[0][0] == -1:
            self.prepares.append(name)
            return before[0]
        if len(before) > 1:
            return self.add(_JOINS.get(kind, kind), before)
        groups = [path, f"{outer}/{name}" if outer else name]
        if not outer:  # its arrays may have the name that it had when it was made
            groups += [group for group in self.records if group.startswith(f"{name}/")]
        record = next((self.records[group] for group in groups if group in self.records), None)
        for found in _layers({**record, "name": name}, self.arrays, each, True) if record else ():
            before = [self.add(found, before)]
        vertex, passed = before[0]
        telling = _TELLING.get(kind, activation)
        return (vertex, (*passed, telling)) if telling in TELLING else before[0]

    def add(self, item: FileLayer | str, before: Sequence[Source]) -> Source:
        self.graph.append(Vertex(item, tuple(before)))
        return len(self.graph) - 1, ()


def _model(about: Mapping[str, Any], arrays: Weights) -> _Model | None:
    """The graph of the file's config; None if it is not built of layers."""
    model = _Model({record["group"]: record for record in about["layers"]}, arrays)
    try:
        if "layers" not in about["config"]["config"]:
            return None
        model.placed(about["config"], [(-1, ())], "", "")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise WeightFileError(f"its config cannot be read: {type(error).__name__} {error}") from None
    return model


def _references(value: Any) -> list[str]:
    """The names of the layers whose outputs a part of a config takes, in order."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return [value["config"]["keras_history"][0]]
        return [name for each in value.values() for name in _references(each)]
    if isinstance(value, (list, tuple)):
        if len(value) >= 3 and isinstance(value[0], str) and all(isinstance(each, int) for each in value[1:3]):
            return [value[0], *_references(value[3:])]
        return [name for each in value for name in _references(each)]
    return []


def _layers(record: Mapping[str, Any], arrays: Weights, config: Mapping[str, Any], ordered: bool) -> list[FileLayer]:
    """A layer of Keras as layers of the spec: a separable convolution is two. config: empty if the file has none."""
    given = [arrays[name] for name in record["arrays"]]
    container, _, group = record["group"].rpartition("/")
    snake, by_class = re.sub(r"_\d+$", "", group), container.rpartition("/")[2] == "layers"
    kind = config.get("class_name") or _SNAKE.get(snake, "") or _guessed(record, given)
    layer = FileLayer(
        record["name"] or record["group"],
        _SCALES.get(kind, kind or snake).replace("_", "").lower(),
        {str(number): array for number, array in enumerate(given)},
        # Classes are counted in the `layers` of a model; other groups are attributes of an object.
        order="" if ordered else f"{container}/{snake if by_class else group}",
        attribute="" if by_class else record["group"],
    )
    if kind == "SeparableConv2D":
        pointwise = dict(zip(("weight", "bias"), [given[1].transpose(3, 2, 0, 1), *given[2:]]))
        parts = {"depthwise": {"weight": _depthwise(given[0])}, "pointwise": pointwise}
        return [replace(layer, name=f"{layer.name}/{part}", kind=WEIGHTS, arrays=each) for part, each in parts.items()]
    if kind in _KERNELS:
        found = dict(zip(("weight", "bias"), [_KERNELS[kind](given[0]), *given[1:]]))
        return [replace(layer, kind=WEIGHTS, arrays=found)]
    if kind in _NORMS:
        values = config.get("config", {})
        roles = [_ROLES.get(role, "") for role in record["roles"]]
        if not all(roles) or not roles:
            roles = _norm_roles(kind, len(given), values)
        settings = {"eps": values["epsilon"]} if "epsilon" in values else {}
        if "momentum" in values:
            settings["momentum"] = 1 - values["momentum"]
        return [replace(layer, kind=_NORMS[kind], arrays=dict(zip(roles, given)), settings=settings)]
    if kind == "PReLU" and given[0].size == given[0].shape[-1]:
        return [replace(layer, kind=kind, arrays={"slope": given[0].ravel()})]
    return [layer]


def _guessed(record: Mapping[str, Any], given: Sequence[Array]) -> str:
    """The class of a layer whose class is not in the file, by its arrays and its name."""
    axes = [array.ndim for array in given]
    if axes[:2] == [4, 4]:
        return "SeparableConv2D"
    if axes[0] == 4 and all(each == 1 for each in axes[1:]):
        depthwise = "depthwise" in "/".join([record["name"], *record["roles"]])
        return "DepthwiseConv2D" if depthwise else "Conv2D"
    if axes in ([2], [2, 1]):
        return "Dense"
    if axes == [1, 1, 1, 1] or "moving_mean" in record["roles"]:
        return "BatchNormalization"
    return "PReLU" if record["roles"] == ["alpha"] else ""


def _norm_roles(kind: str, count: int, config: Mapping[str, Any]) -> list[str]:
    """The roles of the arrays of a normalization, in order; positions where two arrays may be gamma or beta."""
    running = ["running_mean", "running_var"] * (kind == "BatchNormalization")
    flags = {"gamma": config.get("scale"), "beta": config.get("center")}
    trained = [role for role, flag in flags.items() if flag]
    if None in flags.values():
        trained = {0: [], 2: ["gamma", "beta"]}.get(count - len(running), ["0"])
    return [*trained, *running]


def _depthwise(kernel: Array) -> Array:
    """height, width, in, multiplier to in * multiplier, 1, height, width. The multiplier runs faster."""
    height, width, channels, multiplier = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


_KERNELS: dict[str, Callable[[Array], Array]] = {
    "Conv2D": lambda kernel: kernel.transpose(3, 2, 0, 1),  # height, width, in, out
    "DepthwiseConv2D": _depthwise,
    "Dense": lambda kernel: kernel.T,  # in, out
}


def _snake(name: str) -> str:
    """Keras' name of a class in files: PReLU is p_re_lu."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _numbers(name: str) -> list[tuple[int, str]]:
    """For sorting: numbers in a name as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


# --- arrays of the network --------------------------------------------------------------------------------------------


def _with_order(nodes: Sequence[Node], order: Array | None = None) -> Generator[Placed, None, Array | None]:
    """Each layer with arrays, and where Keras has each value of its input, if that is flattened.

    Returns the order of the output.
    """
    for node in nodes:
        if isinstance(node.layer, Flatten) and len(node.input) == 3:
            order = _flat_order(node.input) if np.prod(node.input[1:]) > 1 else None
        if isinstance(node.layer, Select) and order is not None:
            raise WeightFileError(f"{node.path} selects flat values, whose order in the file is not known")
        if node.branches:
            ends = []
            for branch in node.branches:
                ends.append((yield from _with_order(branch, order)))
            if not isinstance(node.layer, Auxiliary):
                if any(end is not None for end in ends):
                    raise WeightFileError(f"{node.path} joins flat values, whose order in the file is not known")
                order = None
        elif node.parameters:
            yield node, order
        if isinstance(node.layer, Dense) or len(node.output) == 3:
            order = None
    return order


def _flat_order(shape: Shape) -> Array:
    """Where Keras has each value of a flattened C x H x W: it flattens H x W x C."""
    channels, *size = shape
    return np.arange(np.prod(shape)).reshape(*size, channels).transpose(2, 0, 1).ravel()


def _in_layout(node: Node, array: Array, shape: Shape, order: Array | None) -> Array:
    """An array in canonical layout: of its shape, and flat values in the order of channels, rows, columns."""
    if order is not None and not (isinstance(node.layer, Dense) and array.ndim == 1):
        if array.shape[-1] != len(order):
            raise WeightFileError(
                f"it has {array.shape[-1]} values for {node.path}, which takes {len(order)} flat ones"
            )
        array = array[..., order]
    return np.ascontiguousarray(array.reshape(shape) if array.size == np.prod(shape) else array)
