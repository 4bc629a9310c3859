"""The operators of PyTorch as layers of the spec: the graph that `frameworks/network_files/torch_module.py` writes.

A module of torch.nn and its function have one method here; `_POSITIONS` names the arguments that a function is given by
place. Shapes are those that PyTorch computed for a batch of images, whose axis is left out here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import isclose, prod
from typing import Any, TypeAlias

import numpy as np

from benchmarks.porting.array_builder import short_padding
from benchmarks.porting.graphs import ZERO, Builder, Graph, Probabilities, Value, refused
from benchmarks.runtime.errors import BadInput
from frameworks.arrays import Array
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
    Add,
    Affine,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    GlobalAvgPool,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool,
    Mish,
    Multiply,
    Normalize,
    Pad,
    Padding,
    PReLU,
    ReLU,
    ReLU6,
    Resize,
    Scale,
    Shape,
    Sigmoid,
    SiLU,
    Softplus,
    StochasticDepth,
    Tanh,
    pair,
    same,
)
from frameworks.spec.joins import Join

Description: TypeAlias = Mapping[str, Any]  # of a node, as the script writes it


@dataclass(frozen=True)
class Attribute:
    """A parameter or a constant of a module."""

    target: str
    shape: Shape
    trained: bool
    constant: Array | None


Result: TypeAlias = "Value | Attribute | Probabilities | list[Value]"

_POSITIONS: dict[str, str] = {
    "conv2d": "input weight bias stride padding dilation groups",
    "linear": "input weight bias",
    "batch_norm": "input running_mean running_var weight bias training momentum eps",
    "layer_norm": "input normalized_shape weight bias eps",
    "group_norm": "input num_groups weight bias eps",
    "max_pool2d": "input kernel_size stride padding dilation ceil_mode return_indices",
    "avg_pool2d": "input kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "adaptive_avg_pool2d": "input output_size",
    "adaptive_max_pool2d": "input output_size return_indices",
    "local_response_norm": "input size alpha beta k",
    "interpolate": "input size scale_factor mode align_corners recompute_scale_factor antialias",
    "upsample": "input size scale_factor mode align_corners",
    "pad": "input pad mode value",
    "dropout": "input p training inplace",
    "dropout2d": "input p training inplace",
    "stochastic_depth": "input p mode training",
    "leaky_relu": "input negative_slope inplace",
    "elu": "input alpha inplace",
    "gelu": "input approximate",
    "softplus": "input beta threshold",
    "hardtanh": "input min_val max_val inplace",
    "clamp": "input min max",
    "prelu": "input weight",
    "softmax": "input dim",
    "log_softmax": "input dim",
    "mean": "input dim keepdim",
    "cat": "tensors dim",
    "chunk": "input chunks dim",
    "split": "input size dim",
    "unbind": "input dim",
    "transpose": "input dim0 dim1",
    "movedim": "input source destination",
    "narrow": "input dim start length",
    "select": "input dim index",
    "flip": "input dims",
    "channel_shuffle": "input groups",
    "add": "input other alpha",
    "sub": "input other alpha",
    "rsub": "input other alpha",
    "mul": "input other",
    "div": "input other",
}
# Other names of functions, methods and operators; an underscore at the end, in place, does not count.
_ALIASES = {
    **{"iadd": "add", "radd": "add", "isub": "sub", "subtract": "sub", "imul": "mul", "multiply": "mul"},
    **{"truediv": "div", "itruediv": "div", "divide": "div", "concat": "cat", "concatenate": "cat", "clip": "clamp"},
    **{
        "moveaxis": "movedim",
        "swapaxes": "transpose",
        "swapdims": "transpose",
        "tensor_split": "split",
        "split_with_sizes": "split",
    },
    **{"feature_dropout": "dropout2d", "moveaxis": "movedim", "rsub": "rsub", "true_divide": "div"},
}
_MODULES = {
    "Conv2d": "conv2d",
    "Linear": "linear",
    "BatchNorm1d": "batch_norm",
    "BatchNorm2d": "batch_norm",
    "LayerNorm": "layer_norm",
    "GroupNorm": "group_norm",
    "InstanceNorm2d": "instance_norm",
    "MaxPool2d": "max_pool2d",
    "AvgPool2d": "avg_pool2d",
    "AdaptiveAvgPool2d": "adaptive_avg_pool2d",
    "AdaptiveMaxPool2d": "adaptive_max_pool2d",
    "LocalResponseNorm": "local_response_norm",
    "Upsample": "interpolate",
    "UpsamplingNearest2d": "interpolate",
    "UpsamplingBilinear2d": "interpolate",
    "ZeroPad2d": "constant_pad",
    "ConstantPad2d": "constant_pad",
    "Dropout": "dropout",
    "Dropout2d": "dropout2d",
    "StochasticDepth": "stochastic_depth",
    "DropPath": "stochastic_depth",
    "Flatten": "reshape",
    "Unflatten": "reshape",
    "Identity": "identity",
    "ChannelShuffle": "channel_shuffle",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "SELU": "selu",
    "Sigmoid": "sigmoid",
    "Hardsigmoid": "hardsigmoid",
    "Tanh": "tanh",
    "SiLU": "silu",
    "Hardswish": "hardswish",
    "GELU": "gelu",
    "Softplus": "softplus",
    "Mish": "mish",
    "Hardtanh": "hardtanh",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
}
_PLAIN: dict[str, Callable[[], Layer]] = {
    "relu": ReLU,
    "relu6": ReLU6,
    "selu": SELU,
    "sigmoid": Sigmoid,
    "hardsigmoid": HardSigmoid,
    "tanh": Tanh,
    "silu": SiLU,
    "hardswish": HardSwish,
    "mish": Mish,
}
# The same values in the same order; the shape is PyTorch's.
_RESHAPES = "view reshape flatten unflatten squeeze unsqueeze view_as reshape_as ravel"
_SAME = "contiguous identity clone detach float double to alias requires_grad_ cpu type_as expand expand_as type"


GRADIENTS_OFF = "torch.no_grad()"


class OperatorCall:
    """A node with its arguments by name."""

    def __init__(self, node: Description, values: Mapping[str, Result | None]) -> None:
        self.node, self.values = node, values
        self.name: str = node["name"]
        self.path: str = node["path"]
        self.is_module = node["op"] == "module"
        self.where = ", ".join(filter(None, (self.path, node["line"])))
        target = str(node["target"])
        plain = target.rstrip("_") if not target.startswith("_") else target
        self.target = _MODULES.get(target, f"nn.{target}") if self.is_module else _ALIASES.get(plain, plain)
        self.given = written(node)
        names = _POSITIONS.get(self.target, "input").split()
        self.places = [self._resolved(each) for each in node["args"]]
        options = dict(zip(names, self.places)) | {name: self._resolved(each) for name, each in node["kwargs"].items()}
        self.options: dict[str, Any] = (dict(node["settings"]) if self.is_module else {}) | options

    def _resolved(self, argument: Any) -> Any:
        if isinstance(argument, list):
            return [self._resolved(each) for each in argument]
        if isinstance(argument, dict) and "node" in argument:
            return self.values[argument["node"]]
        if isinstance(argument, dict) and "slice" in argument:
            return slice(*argument["slice"])
        return argument

    def __call__(self, name: str, default: Any = None) -> Any:
        value = self.options.get(name)
        return default if value is None else value

    @property
    def input(self) -> Value:
        value = self.options.get("input", self.places[0] if self.places else None)
        if isinstance(value, Probabilities):
            raise self.refused(f"its input is a {value.operator}, which is only cut off at the end")
        if not isinstance(value, Value):
            raise self.refused()
        return value

    @property
    def shape(self) -> Shape:
        """The shape of the result, without the batch."""
        return tuple(self.node["shape"][1:]) or (1,)  # one value, such as that of a single class, has no axis

    def axis(self, number: int, rank: int | None = None) -> int:
        """An axis counted from the end, or from the batch, as an axis of one image. The batch is refused."""
        rank = len(self.input.shape) + 1 if rank is None else rank
        axis = (number + rank if number < 0 else number) - 1
        if axis < 0:
            raise self.refused("it mixes the images of a batch")
        return axis

    @property
    def is_drawn(self) -> bool:
        """Whether dropout drops values in training: a module may stay in evaluation then."""
        return bool(self("training", True))

    @property
    def is_of_arrays(self) -> bool:
        """Whether no input of it depends on the images."""
        inputs = [each for each in self.options.values() if isinstance(each, (Value, Attribute, Probabilities))]
        return bool(inputs) and all(isinstance(each, Attribute) for each in inputs)

    def refused(self, why: str = "") -> BadInput:
        return refused(self.given, self.where, why)


def written(node: Description) -> str:
    """An operator as the user writes it."""
    return f"nn.{node['target']}" if node["op"] == "module" else str(node.get("written", node["target"]))


def placed(node: Description) -> str:
    """An operator as the user writes it, with its module and line."""
    where = ", ".join(filter(None, (node["path"], node["line"])))
    return written(node) + (f" ({where})" if where else "")


def converted(graph: Description, input: Shape, training: bool) -> tuple[Graph, str]:
    """The graph of PyTorch's nodes, and the node that gives the logits. Raises BadInput for what has no layer.

    In evaluation the first output of forward is the network's. In training others may be auxiliary classifiers: those
    that are a row of values for each image.
    """
    return _TorchConverter(graph, input, training).run()


def inputs_of(graph: Description, names: Iterable[str]) -> set[str]:
    """The nodes that these nodes are computed from, and themselves."""
    nodes = {node["name"]: node for node in graph["nodes"]}
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _named([nodes[name]["args"], nodes[name]["kwargs"]])
    return found


def _named(argument: Any) -> list[str]:
    """The nodes in an argument."""
    if isinstance(argument, dict):
        return [argument["node"]] if "node" in argument else _named(list(argument.values()))
    return [name for each in argument for name in _named(each)] if isinstance(argument, list) else []


def rows(graph: Description) -> list[str]:
    """The outputs of forward that are a row of values for each image, and the first, whatever it is."""
    shapes = {node["name"]: node["shape"] for node in graph["nodes"]}
    return [name for place, name in enumerate(graph["outputs"]) if not place or len(shapes[name]) <= 2]


def training_notes(graph: Description, outputs: Iterable[str]) -> list[str]:
    """Where these outputs are trained otherwise than layers are: gradients that end, and statistics that stay."""
    used = inputs_of(graph, outputs)
    notes: list[str] = []
    before = ""
    for node in graph["nodes"]:
        if node["op"] == "attribute":
            continue
        cut = graph["cuts"].get(node["name"], "")
        if node["name"] in used:
            if cut == GRADIENTS_OFF and before != cut:
                notes.append(f"{cut} around {placed(node)}: the port has the gradient")
            elif cut and cut != GRADIENTS_OFF:
                port = "the gradient of its forward" if cut.endswith(".backward") else "its gradient"
                notes.append(f"{cut} ({node['line']}): the port has {port}")
            if node["op"] != "input" and _keeps_statistics(OperatorCall(node, dict.fromkeys(used))):
                notes.append(f"{placed(node)} stays in evaluation in training: the port trains it as batch norm")
        before = cut
    return list(dict.fromkeys(notes))


def _keeps_statistics(call: OperatorCall) -> bool:
    return call.target == "batch_norm" and not call("training", False)


def difference(evaluation: Description, training: Description) -> str:
    """The first operator that one of two graphs alone has, dropout aside, or that has other arguments; else empty."""
    kept = [
        [node for node in each["nodes"] if node["op"] not in ("input", "attribute") and not _is_dropout(node)]
        for each in (evaluation, training)
    ]
    counts = [Counter(map(placed, nodes)) for nodes in kept]
    for one, other, name in ((0, 1, "evaluation"), (1, 0, "training")):
        if alone := next(iter(counts[one] - counts[other]), None):
            return f"{alone} in {name} alone"
    for a, b in zip(*kept):
        given = [(placed(each), _plain([each["args"], each["kwargs"]])) for each in (a, b)]
        if given[0] != given[1]:
            return placed(a)
    return ""


def _is_dropout(node: Description) -> bool:
    target = str(node["target"])
    return _MODULES.get(target, target.rstrip("_")) in ("dropout", "dropout2d", "stochastic_depth", "feature_dropout")


def _plain(argument: Any) -> Any:
    """An argument without the names of nodes."""
    if isinstance(argument, dict):
        return "node" if "node" in argument else {key: _plain(each) for key, each in argument.items()}
    return [_plain(each) for each in argument] if isinstance(argument, list) else argument


class _TorchConverter:
    def __init__(self, graph: Description, input: Shape, training: bool) -> None:
        self.graph, self.training = graph, training
        self.builder = Builder(input)
        self.values: dict[str, Result] = {}
        self.averaged: dict[str, Value] = {}  # what an operator gives the means of rows or columns of
        self.flattened: dict[str, OperatorCall] = {}  # what makes rows of an operator's output with its channels last
        self.nodes = {node["name"]: node for node in graph["nodes"]}
        self.attributes = {node["target"] for node in graph["nodes"] if node["op"] == "attribute"}
        self.calls = Counter(node["path"] for node in graph["nodes"] if node["op"] == "module")

    def run(self) -> tuple[Graph, str]:
        kept = rows(self.graph) if self.training else self.graph["outputs"][:1]
        used = inputs_of(self.graph, kept)
        for node in self.graph["nodes"]:
            if node["name"] in used or node["op"] == "input":
                self.values[node["name"]] = self._value(node)
        ends = []
        for name in kept:
            node, value = name, self.values[name]
            if isinstance(value, Probabilities):
                self.builder.notes.append(f"the final {value.operator} is cut off: the network gives logits")
                node, value = value.node, value.logits
            if not isinstance(value, Value):
                raise BadInput("forward gives no tensor")
            end = self.nodes[name]
            self.builder.tensor(value, ", ".join(filter(None, (written(end), end["path"], end["line"]))))
            ends.append((node, value))
        built = self.builder.graph(ends[0][1], [value for _, value in ends[1:]])
        return replace(built, notes=tuple(dict.fromkeys(built.notes))), ends[0][0]

    def _value(self, node: Description) -> Result:
        if node["op"] == "input":
            return self.builder.start
        if node["op"] == "attribute":
            constant = np.broadcast_to(node["constant"], node["shape"]) if "constant" in node else None
            return Attribute(node["target"], tuple(node["shape"]), node["trained"], constant)
        call = OperatorCall(node, self.values)
        if node.get("hooks"):
            raise call.refused("a hook changes what it computes")
        if node.get("computed"):
            raise call.refused("its weights are computed from others")
        batches = {tuple(each)[:1] for each in (node["shape"] if _is_nested(node) else [node["shape"]])}
        if call.is_module and not self._has_layer(call):
            raise call.refused()
        if call.places and isinstance(call.places[0], Attribute) and call.target in (*_RESHAPES.split(), "getitem"):
            return self._reshaped_attribute(call, call.places[0])
        if batches != {(2,)}:
            raise call.refused(
                "it computes from arrays of the network alone, and weights that are computed have no layer"
                if call.is_of_arrays
                else "its result has not one row for each image"
            )
        result = self._layers(call)
        if isinstance(result, Value) and result.shape != call.shape and call.target not in ("expand", "expand_as"):
            raise call.refused(f"it gives {call.shape}, the layer {result.shape}")
        return result

    def _has_layer(self, call: OperatorCall) -> bool:
        known = (*_PLAIN, *_RESHAPES.split(), *_SAME.split())
        return call.target in known or hasattr(self, f"on_{call.target}")

    def _layers(self, call: OperatorCall) -> Result:
        if call.target in _PLAIN:
            return self._add(call, _PLAIN[call.target]())
        if call.target in _RESHAPES.split():
            if len(call.shape) == 1 and call.input.is_last:
                self.flattened[call.input.source] = call
            return call.input.moved(lambda index: index.reshape(call.shape))
        if call.target in _SAME.split():
            return call.input
        method = getattr(self, f"on_{call.target}", None)
        if method is None:
            raise call.refused()
        result: Result = method(call)
        return result

    def _add(self, call: OperatorCall, *layers: Layer, input: Value | None = None) -> Value:
        value = input or call.input
        if layers and (flatten := self.flattened.get(value.source)) and _is_flat_of_last(value):
            raise flatten.refused("the channels are last before it, and a layer takes flat values with channels first")
        return self.builder.layer(value, *layers, where=call.where, node=call.name)

    def _name(self, call: OperatorCall) -> str:
        """The name of a layer: its module's, if that is called once."""
        return call.path if call.is_module and self.calls[call.path] == 1 else ""

    def _weighted(self, call: OperatorCall) -> tuple[str, dict[str, Shape]]:
        """The name of a layer with arrays, and their shapes: of a module, or of a function's arguments."""
        if call.is_module:
            return call.path, {name: tuple(shape) for name, shape in call.node["arrays"].items()}
        given = {role: call.options.get(role) for role in ("weight", "bias", "running_mean", "running_var")}
        arrays = {role: value for role, value in given.items() if value is not None}
        if any(not isinstance(value, Attribute) for value in arrays.values()):
            raise call.refused("its weights are computed from others")
        names = {value.target.removesuffix(f".{role}") for role, value in arrays.items()}
        names |= {"" for role, value in arrays.items() if value.target == role}
        if len(names) > 1 or any(value.target.rpartition(".")[2] != role for role, value in arrays.items()):
            raise call.refused("its arrays are not called weight and bias of one module")
        return next(iter(names), ""), {role: value.shape for role, value in arrays.items()}

    # --- layers with arrays -------------------------------------------------------------------------------------------

    def on_conv2d(self, call: OperatorCall) -> Value:
        name, arrays = self._weighted(call)
        if call("padding_mode", "zeros") != "zeros":
            raise call.refused(f"its padding is {call('padding_mode')} values")
        maps, _, *window = arrays["weight"]
        kernel, stride, dilation = _short(window), _short(call("stride", 1)), _short(call("dilation", 1))
        padding = call("padding", 0)
        if padding == "same":
            padding = same(kernel, stride, (call.input.shape[1], call.input.shape[2]), dilation=dilation)
        groups, bias = call("groups", 1), "bias" in arrays
        layer = Conv(name, maps, kernel, stride, _padding(padding), groups=groups, bias=bias, dilation=dilation)
        return self._add(call, layer)

    def on_linear(self, call: OperatorCall) -> Value:
        name, arrays = self._weighted(call)
        units, bias = arrays["weight"][0], "bias" in arrays
        if len(call.input.shape) == 1:
            return self._add(call, Dense(name, units, bias=bias))
        if len(call.input.shape) != 3:
            raise call.refused(f"its input is {call.input.shape}, neither flat nor an image with its channels last")
        last = self.builder.channels_last(call.input, call.where)
        return self._add(call, Conv(name, units, 1, bias=bias), input=last)

    def on_batch_norm(self, call: OperatorCall) -> Value:
        name, arrays = self._weighted(call)
        training = False if call.is_module else bool(call("training", False)) and not self.training
        if "running_mean" not in arrays or training:
            raise call.refused("it has no running statistics")
        if call.options.get("momentum", 0.1) is None:
            raise call.refused("momentum=None is an average over all batches")
        eps, momentum = call("eps", 1e-5), call("momentum", 0.1)
        return self._add(call, BatchNorm(name, eps, momentum, gamma="weight" in arrays, beta="bias" in arrays))

    def on_layer_norm(self, call: OperatorCall) -> Value:
        name, arrays = self._weighted(call)
        shape, eps = tuple(np.ravel(call("normalized_shape")).tolist()), call("eps", 1e-5)
        layer = LayerNorm(name, eps, "weight" in arrays, "bias" in arrays)
        if len(shape) == len(call.input.shape) == 1:
            return self._add(call, layer)
        if len(shape) == 1 and len(call.input.shape) == 3:
            return self._add(call, layer, input=self.builder.channels_last(call.input, call.where))
        if shape == call.input.shape and not arrays:
            return self._add(call, GroupNorm(name, 1, eps, gamma=False, beta=False))
        raise call.refused(f"over {shape} of {call.input.shape}")

    def on_group_norm(self, call: OperatorCall) -> Value:
        name, arrays = self._weighted(call)
        options = {"eps": call("eps", 1e-5), "gamma": "weight" in arrays, "beta": "bias" in arrays}
        return self._add(call, GroupNorm(name, call("num_groups"), **options))

    def on_instance_norm(self, call: OperatorCall) -> Value:
        name, arrays = self._weighted(call)
        if "running_mean" in arrays:
            raise call.refused("it has running statistics")
        return self._add(call, InstanceNorm(name, call("eps", 1e-5), gamma="weight" in arrays, beta="bias" in arrays))

    def on_prelu(self, call: OperatorCall) -> Value:
        name, arrays = self._weighted(call)
        if arrays["weight"] != call.input.shape[:1]:
            raise call.refused("one slope for all channels; PReLU(num_parameters=channels) has one for each")
        return self._add(call, PReLU(name))

    # --- windows ------------------------------------------------------------------------------------------------------

    def on_max_pool2d(self, call: OperatorCall) -> Value:
        if call("return_indices", False):
            raise call.refused("return_indices")
        kernel, stride = call("kernel_size"), call("stride") or call("kernel_size")
        padding, dilation = _padding(call("padding", 0)), _short(call("dilation", 1))
        ceil = bool(call("ceil_mode", False))
        layer = MaxPool(self._name(call), _short(kernel), _short(stride), padding, ceil=ceil, dilation=dilation)
        return self._add(call, layer)

    def on_avg_pool2d(self, call: OperatorCall) -> Value:
        if call("divisor_override"):
            raise call.refused("divisor_override")
        kernel, stride = call("kernel_size"), call("stride") or call("kernel_size")
        if tuple(pair(_short(kernel))) == call.input.shape[1:] and call("padding", 0) in (0, [0, 0]):
            return self._add(call, GlobalAvgPool(self._name(call)))
        counts, ceil = bool(call("count_include_pad", True)), bool(call("ceil_mode", False))
        padding = _padding(call("padding", 0))
        layer = AvgPool(self._name(call), _short(kernel), _short(stride), padding, count_padding=counts, ceil=ceil)
        return self._add(call, layer)

    def on_adaptive_avg_pool2d(self, call: OperatorCall) -> Value:
        if call.shape[1:] == (1, 1):
            return self._add(call, GlobalAvgPool(self._name(call)))
        return self._add(call, AdaptiveAvgPool(self._name(call), *call.shape[1:]))

    def on_adaptive_max_pool2d(self, call: OperatorCall) -> Value:
        sizes = [divmod(size, parts) for size, parts in zip(call.input.shape[1:], call.shape[1:])]
        if any(rest for _, rest in sizes):
            raise call.refused(f"{call.input.shape[1:]} does not divide into {call.shape[1:]} parts")
        kernel = _short([size for size, _ in sizes])
        return self._add(call, MaxPool(self._name(call), kernel, kernel))

    def on_mean(self, call: OperatorCall) -> Value:
        """The mean of each channel, in whatever order its pixels are, or of each row or column: `mean(3).mean(2)`."""
        dims, of = call("dim"), call.input.of
        axes = sorted(call.axis(each) for each in (dims if isinstance(dims, list) else [dims]) if each is not None)
        index = np.moveaxis(call.input.index, axes, range(-len(axes), 0))
        parts = np.sort(index.reshape(prod(index.shape[: index.ndim - len(axes)]), -1))
        if len(of) == 3 and np.array_equal(parts, np.arange(prod(of)).reshape(of[0], -1)):
            source = call.input.source
            result = self._add(call, GlobalAvgPool(), input=self.averaged.get(source, self.builder.whole(source)))
        elif len(call.input.shape) == 3 and axes == [1, 2]:  # some of the channels, or in another order
            selected = self.builder.whole(self.builder.tensor(call.input, call.where))
            result = self._add(call, GlobalAvgPool(), input=selected)
        elif len(of) == 3 and call.input.is_whole and axes in ([1], [2]):
            result = self._add(call, AdaptiveAvgPool("", *((1, of[2]) if axes == [1] else (of[1], 1))))
            self.averaged[result.source] = call.input
        else:
            why = "only means of whole channels, rows or columns are layers"
            raise call.refused(f"over axes {dims} of {call.input.shape}: {why}")
        return result.moved(lambda each: each.reshape(call.shape))

    def on_pad(self, call: OperatorCall) -> Value:
        if call("mode", "constant") != "constant":
            raise call.refused(f"mode {call('mode')}")
        around, value = list(call("pad")), call("value", 0.0)
        pairs = [(around[i], around[i + 1]) for i in range(0, len(around), 2)]  # of the last axis first
        width, height, maps, *batch = pairs + [(0, 0)] * (4 - len(pairs))
        if batch != [(0, 0)] or min(map(min, (width, height, maps))) < 0 or len(call.input.shape) != 3:
            raise call.refused(f"pad={around}")
        result = call.input
        if maps != (0, 0):
            if value:
                raise call.refused(f"channels of {value}")
            result = result.moved(lambda index: np.pad(index, (maps, (0, 0), (0, 0)), constant_values=ZERO))
        if (height, width) != ((0, 0), (0, 0)):
            result = self._add(call, Pad("", short_padding((height, width)), float(value)), input=result)
        return result

    def on_constant_pad(self, call: OperatorCall) -> Value:
        left, right, top, bottom = call("padding")
        layer = Pad(self._name(call), short_padding(((top, bottom), (left, right))), float(call("value", 0.0)))
        return self._add(call, layer)

    def on_local_response_norm(self, call: OperatorCall) -> Value:
        sizes = call("alpha", 1e-4), call("beta", 0.75), float(call("k", 1.0))
        return self._add(call, LocalResponseNorm(self._name(call), call("size"), *sizes))

    def on_interpolate(self, call: OperatorCall) -> Value:
        mode, corners = call("mode", "nearest"), bool(call("align_corners", False))
        if call("antialias") or mode not in ("nearest", "nearest-exact", "bilinear"):
            raise refused(f"aten.upsample_{mode}2d", call.where)
        factors = call("scale_factor")
        if factors and not call("recompute_scale_factor"):
            given = factors if isinstance(factors, list) else [factors] * 2
            if any(not isclose(size * f, to) for size, f, to in zip(call.input.shape[1:], given, call.shape[1:])):
                raise call.refused(f"scale factor {factors} of {call.input.shape[1:]} gives no whole number of pixels")
        method = "linear" if mode == "bilinear" else "nearest"
        positions = "asymmetric" if mode == "nearest" else "aligned_corners" if corners else "half_pixel"
        return self._add(call, Resize(self._name(call), call.shape[1], call.shape[2], method, positions))

    on_upsample = on_interpolate

    # --- values -------------------------------------------------------------------------------------------------------

    def on_dropout(self, call: OperatorCall) -> Value:
        rate = call("p", 0.5)
        return self._add(call, *([Dropout(rate=rate)] if rate and (call.is_drawn or not self.training) else []))

    def on_dropout2d(self, call: OperatorCall) -> Value:
        drawn = call.is_drawn or not self.training
        if drawn and call("p", 0.5) and call.input.shape[1:] not in ((), (1, 1)):
            raise call.refused("it drops whole channels, and no layer of a spec does; nn.Dropout drops single values")
        return self.on_dropout(call)

    def on_stochastic_depth(self, call: OperatorCall) -> Value:
        if call("mode", "row") != "row" or call("scale_by_keep", True) is False:
            raise call.refused("only mode row, scaled, is stochastic depth of images")
        # The names of torchvision, timm and the sources of `port`.
        rate = next((call(name) for name in ("p", "drop_prob", "rate") if name in call.options), None)
        if rate is None:
            raise call.refused("its rate is neither p nor drop_prob nor rate")
        drawn = call.is_drawn or not self.training
        return self._add(call, *([StochasticDepth(rate=rate)] if rate and drawn else []))

    def on_leaky_relu(self, call: OperatorCall) -> Value:
        return self._add(call, LeakyReLU(slope=call("negative_slope", 0.01)))

    def on_elu(self, call: OperatorCall) -> Value:
        return self._add(call, ELU(alpha=call("alpha", 1.0)))

    def on_gelu(self, call: OperatorCall) -> Value:
        return self._add(call, GELU(approximate=call("approximate", "none") == "tanh"))

    def on_softplus(self, call: OperatorCall) -> Value:
        if call("beta", 1) != 1:
            raise call.refused(f"beta={call('beta')}")
        self.builder.notes.append("softplus has no linear part above 20, PyTorch's has: it differs by 2e-9 at most")
        return self._add(call, Softplus())

    def on_hardtanh(self, call: OperatorCall) -> Value:
        if (call("min_val", -1.0), call("max_val", 1.0)) != (0, 6):
            raise call.refused("only from 0 to 6")
        return self._add(call, ReLU6())

    def on_clamp(self, call: OperatorCall) -> Value:
        limits = call.options.get("min"), call.options.get("max")
        if limits not in ((0, None), (0, 6)):
            raise call.refused("only from 0, or from 0 to 6")
        return self._add(call, ReLU() if limits[1] is None else ReLU6())

    def on_softmax(self, call: OperatorCall) -> Result:
        dim = call.options.get("dim")
        if len(call.input.shape) != 1 or dim not in (None, 1, -1):
            raise call.refused()
        inner = call.node["args"][0] if call.node["args"] else call.node["kwargs"]["input"]
        return Probabilities(call.input, call.target, inner["node"])

    on_log_softmax = on_softmax

    # --- arithmetic ---------------------------------------------------------------------------------------------------

    def _binary(self, call: OperatorCall) -> tuple[Any, Any]:
        return call.options.get("input", call.places[0]), call.options.get("other")

    def _joined(self, call: OperatorCall, kind: type[Join], one: Value, other: Value) -> Value:
        return self.builder.join(kind, [one, other], call.where, call.name)

    def _plus(self, call: OperatorCall, sign: float) -> Value:
        one, other = self._binary(call)
        if call("alpha", 1) != 1:
            raise call.refused(f"alpha={call('alpha')}")
        if isinstance(one, Value) and isinstance(other, Value):
            if sign < 0:
                return self.builder.difference(one, other, call.where, call.name)
            return self._joined(call, Add, one, other)
        value, added = (one, other) if isinstance(one, Value) else (other, one)
        if sign < 0 and value is not one:
            return self._subtracted_from(call, value, added)
        if isinstance(added, Attribute) and added.trained:
            return self._coefficients(call, value, added, "bias")
        numbers = self._numbers(call, value, added)
        if not any(numbers):  # sum() starts with 0
            return value
        return self._add(call, Normalize(mean=tuple(-sign * number for number in numbers)), input=value)

    def _subtracted_from(self, call: OperatorCall, value: Value, constant: Any) -> Value:
        """A constant minus a value."""
        if isinstance(constant, Attribute) and constant.trained:
            raise call.refused("a trained array minus a tensor")
        mean = tuple(-number for number in self._numbers(call, value, constant))
        return self._add(call, Scale(factor=-1.0), *([Normalize(mean=mean)] if any(mean) else []), input=value)

    def _times(self, call: OperatorCall, divide: bool) -> Value:
        one, other = self._binary(call)
        if isinstance(one, Value) and isinstance(other, Value):
            if divide:
                raise call.refused("a quotient of two tensors")
            return self._joined(call, Multiply, one, other)
        value, factor = (one, other) if isinstance(one, Value) else (other, one)
        if divide and value is not one:
            raise call.refused("a number divided by a tensor")
        if isinstance(factor, Attribute) and factor.trained:
            return self._coefficients(call, value, factor, "weight")
        if self.training and isinstance(factor, Attribute) and factor.shape == (2, *(1 for _ in value.shape)):
            return self._masked(call, value, factor)
        numbers = self._numbers(call, value, factor)
        if len(numbers) == 1:
            return self._add(call, Scale(factor=1 / numbers[0] if divide else numbers[0]), input=value)
        if min(numbers) <= 0:
            raise call.refused("constants that are not positive")
        std = tuple(numbers) if divide else tuple(1 / number for number in numbers)
        return self._add(call, Normalize(std=std), input=value)

    def _masked(self, call: OperatorCall, value: Value, mask: Attribute) -> Value:
        """Stochastic depth as arithmetic: the values, divided by the rate at which images are kept, times 0 or 1."""
        before = self.builder.operators.get(value.source)
        layer = before.layers[0] if before and len(before.layers) == 1 and value.is_whole else None
        drawn = mask.constant is not None and bool(np.isin(mask.constant, (0, 1)).all())
        if not before or not isinstance(layer, Scale) or layer.factor <= 1 or not drawn:
            raise call.refused("a factor for each image, but not 0 or 1 after a division by the rate that is kept")
        rate = round(1 - 1 / layer.factor, 12)
        self.builder.notes.append(f"{call.where}: 0 or 1 for each image is taken as stochastic depth of {rate:g}")
        return self._add(call, StochasticDepth(rate=rate), input=self.builder.whole(before.inputs[0]))

    def _numbers(self, call: OperatorCall, value: Value, constant: Any) -> list[float]:
        """A constant as one number, or one for each channel."""
        if isinstance(constant, (int, float)):
            return [float(constant)]
        if not isinstance(value, Value) or not isinstance(constant, Attribute) or constant.constant is None:
            raise call.refused("its arguments are neither tensors nor constants")
        self._by_channel(call, value, constant)
        numbers: list[float] = constant.constant.ravel().tolist()
        return numbers[:1] if len(set(numbers)) == 1 else numbers

    def _by_channel(self, call: OperatorCall, value: Value, array: Attribute) -> None:
        """Raise BadInput unless an array has a value for each channel, or one alone if it is constant."""
        shape, channels = array.shape, value.shape[-1 if value.is_last else 0]
        if prod(shape) == 1 and (not array.trained or channels == 1):
            return
        aligned = (1,) * (len(value.shape) + 1 - len(shape)) + shape
        axis = len(value.shape) if value.is_last else 1
        if prod(shape) != channels or aligned[axis] != channels or len(aligned) != len(value.shape) + 1:
            raise call.refused(f"an array of {shape} for {value.shape}: only a value for each channel is a layer")

    def _coefficients(self, call: OperatorCall, value: Value, array: Attribute, role: str) -> Value:
        """A trained factor for each channel, or what is added after it."""
        self._by_channel(call, value, array)
        if role == "weight" and array.target.rpartition(".")[2] != "weight":
            return self._add(call, Affine(array.target, beta=False), input=value)
        name = array.target.rpartition(".")[0]
        if role == "weight":
            return self._add(call, Affine(name, beta=f"{name}.bias" in self.attributes), input=value)
        before = self.builder.operators.get(value.source)
        if before is None or not before.layers or before.layers[-1] != Affine(name):
            raise call.refused(f"a trained sum, {array.target}, without a trained factor {name}.weight before it")
        return value

    def _reshaped_attribute(self, call: OperatorCall, array: Attribute) -> Attribute:
        shape = tuple(call.node["shape"])
        if prod(shape) != prod(array.shape):
            raise call.refused("a part of a parameter")
        return replace(array, shape=shape)

    def on_add(self, call: OperatorCall) -> Value:
        return self._plus(call, 1.0)

    def on_sub(self, call: OperatorCall) -> Value:
        return self._plus(call, -1.0)

    def on_rsub(self, call: OperatorCall) -> Value:
        one, other = self._binary(call)
        if call("alpha", 1) != 1:
            raise call.refused(f"alpha={call('alpha')}")
        if isinstance(other, Value):
            return self.builder.difference(other, one, call.where, call.name)
        return self._subtracted_from(call, one, other)

    def on_mul(self, call: OperatorCall) -> Value:
        return self._times(call, divide=False)

    def on_div(self, call: OperatorCall) -> Value:
        return self._times(call, divide=True)

    def on_cat(self, call: OperatorCall) -> Value:
        values = call("tensors")
        if isinstance(values, list) and (first := next((each for each in values if isinstance(each, Value)), None)):
            values = [self._zeros(first, each) if isinstance(each, Attribute) else each for each in values]
        if not isinstance(values, list) or not values or not all(isinstance(each, Value) for each in values):
            raise call.refused()
        axis = call.axis(call("dim", 0), len(values[0].shape) + 1)
        if len(values) == 1:
            one: Value = values[0]
            return one
        return self.builder.concatenated(values, axis, call.where, call.name)

    def _zeros(self, value: Value, constant: Attribute) -> Value | Attribute:
        """A constant of zeros as places of a value's source."""
        if constant.constant is None or constant.constant.any():
            return constant
        return replace(value, places=np.full(constant.shape[1:], ZERO), last=False)

    # --- values in another order --------------------------------------------------------------------------------------

    def _parts(self, call: OperatorCall, axis: int) -> list[Value]:
        """Pieces along an axis, of the sizes that PyTorch gave."""
        ends = np.cumsum([shape[axis + 1] for shape in call.node["shape"]])[:-1]
        whole = self.builder.settled(call.input, call.where)
        return [replace(whole, places=part, last=False) for part in np.split(whole.index, ends, axis)]

    def on_chunk(self, call: OperatorCall) -> list[Value]:
        return self._parts(call, call.axis(call("dim", 0)))

    on_split = on_chunk

    def on_unbind(self, call: OperatorCall) -> list[Value]:
        axis = call.axis(call("dim", 0))
        whole = self.builder.settled(call.input, call.where)
        return [replace(whole, places=part, last=False) for part in np.moveaxis(whole.index, axis, 0)]

    def on_getitem(self, call: OperatorCall) -> Value:
        held, item = call.places[0], call.places[1]
        if isinstance(held, list):
            part: Value = held[item]
            return part
        items = item if isinstance(item, list) else [item]
        keys = [Ellipsis if each == {"other": "Ellipsis"} else each for each in items]
        if any(isinstance(each, (dict, Value, Attribute)) for each in keys):
            raise call.refused("an index that is a tensor")
        if keys[0] == slice(None):
            keys = keys[1:]
        elif keys[0] is not Ellipsis:
            raise call.refused("it takes some of the images")
        return self.builder.settled(call.input, call.where).moved(lambda index: np.atleast_1d(index[tuple(keys)]))

    def on_narrow(self, call: OperatorCall) -> Value:
        axis, start = call.axis(call("dim")), call("start")
        return call.input.moved(lambda index: index.take(range(start, start + call("length")), axis))

    def on_select(self, call: OperatorCall) -> Value:
        return call.input.moved(lambda index: np.atleast_1d(index.take(call("index"), call.axis(call("dim")))))

    def on_flip(self, call: OperatorCall) -> Value:
        axes = tuple(call.axis(each) for each in np.ravel(call("dims")).tolist())
        return call.input.moved(lambda index: np.flip(index, axes))

    def on_transpose(self, call: OperatorCall) -> Value:
        one, other = call.axis(call("dim0")), call.axis(call("dim1"))
        return call.input.moved(lambda index: index.swapaxes(one, other))

    def on_movedim(self, call: OperatorCall) -> Value:
        source, destination = ([call.axis(each) for each in np.ravel(call(name))] for name in ("source", "destination"))
        return call.input.moved(lambda index: np.moveaxis(index, source, destination))

    def on_permute(self, call: OperatorCall) -> Value:
        dims = call.options.get("dims", call.places[1:])
        dims = dims[0] if len(dims) == 1 and isinstance(dims[0], list) else dims
        rank = len(call.input.shape) + 1
        if dims[0] % rank:
            raise call.refused("it mixes the images of a batch")
        return call.input.moved(lambda index: index.transpose([call.axis(each) for each in dims[1:]]))

    def on_channel_shuffle(self, call: OperatorCall) -> Value:
        groups = call("groups")

        def shuffled(index: Array) -> Array:
            return index.reshape(groups, -1, *index.shape[1:]).swapaxes(0, 1).reshape(index.shape)

        return call.input.moved(shuffled)

    def on_zeros_like(self, call: OperatorCall) -> Value:
        return call.input.moved(lambda _: np.full(call.shape, ZERO))

    on_new_zeros = on_zeros_like


def _is_flat_of_last(value: Value) -> bool:
    """Whether it is a whole output as a row, in the order of its channels last."""
    if len(value.shape) != 1 or len(value.index) != prod(value.of):
        return False
    return value.moved(lambda index: index.reshape(*value.of[1:], value.of[0])).is_last


def _is_nested(node: Description) -> bool:
    return bool(node["shape"]) and isinstance(node["shape"][0], list)


def _short(value: Any) -> Any:
    """One number for two equal ones."""
    if not isinstance(value, (list, tuple)):
        return value
    one, *others = value
    return one if all(each == one for each in others) else tuple(value)


def _padding(value: Any) -> Padding:
    """A padding in its shortest form."""
    if isinstance(value, (list, tuple)):
        short: Padding = _short([_short(each) for each in value])
        return short
    return 0 if value == "valid" else int(value)
