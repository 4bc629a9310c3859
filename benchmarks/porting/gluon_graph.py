"""The operators of an exported Gluon network (`NAME-symbol.json`) as layers of the spec."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from math import prod
from typing import Any, TypeAlias

import numpy as np

from benchmarks.porting.array_builder import ArrayBuilder, short_padding, short_pair
from benchmarks.porting.graphs import Graph, Probabilities, Value, refused
from benchmarks.runtime.errors import BadInput
from frameworks.arrays import Array, Weights
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    GlobalAvgPool,
    HardSigmoid,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool,
    Multiply,
    Pad,
    PReLU,
    ReLU,
    ReLU6,
    Scale,
    Shape,
    Sigmoid,
    Softplus,
    Tanh,
    times,
)

_ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "softrelu": Softplus,
}
_SUMS = ("elemwise_add", "_Plus", "_plus", "broadcast_add", "broadcast_plus", "add_n", "ElementWiseSum")
_DIFFERENCES = ("elemwise_sub", "_Minus", "_sub", "broadcast_sub", "broadcast_minus")
_PRODUCTS = ("elemwise_mul", "_Mul", "_mul", "broadcast_mul")
_SAME = ("identity", "_copy", "BlockGrad", "stop_gradient", "Cast", "cast")
_SOFTMAX = ("softmax", "log_softmax", "SoftmaxOutput", "Softmax", "SoftmaxActivation")
# Operators whose arguments, or for LRN values, MXNet holds in float32: by that they differ from the spec.
SINGLE = ("LeakyReLU", "LRN", "_mul_scalar", "_plus_scalar", "_minus_scalar", "_div_scalar", "hard_sigmoid")
_ROLE = re.compile(r"(?P<stem>.+?)[._](?:weight|gamma|alpha)")


Result: TypeAlias = "Value | Probabilities | str"  # str: the name of an array


class SymbolCall:
    """An operator with its attributes as values and its inputs."""

    def __init__(self, node: Mapping[str, Any], inputs: list[Result], sources: list[str]) -> None:
        self.kind, self.name, self.inputs, self.sources = str(node["op"]), str(node["name"]), inputs, sources
        given = node.get("attrs") or node.get("param") or node.get("attr") or {}
        self.attributes = {key: _literal(text) for key, text in given.items()}
        self.where = f"node {self.name}"

    def __call__(self, name: str, default: Any = None) -> Any:
        value = self.attributes.get(name)
        return default if value is None else value

    def value(self, place: int) -> Value:
        found = self.inputs[place]
        if isinstance(found, Probabilities):
            raise refused(found.operator, self.where, "a softmax is only cut off at the end")
        if isinstance(found, str):
            raise self.refused(f"its input {found} is an array")
        return found

    @property
    def input(self) -> Value:
        return self.value(0)

    def axis(self, number: int) -> int:
        axis = number % (len(self.input.shape) + 1) - 1
        if axis < 0:
            raise self.refused("it mixes the images of a batch")
        return axis

    def refused(self, why: str = "") -> BadInput:
        return refused(self.kind, self.where, why)


def image_of(symbol: Mapping[str, Any], arrays: Weights) -> str:
    """The name of the input: the one variable that has no array and is no label."""
    names = [node["name"] for node in symbol["nodes"] if node["op"] == "null" and node["name"] not in arrays]
    images = [name for name in names if not name.endswith("label")]
    if len(images) != 1:
        raise BadInput(f"{len(images)} variables have no array: {', '.join(images[:4])}; a network has one input")
    image: str = images[0]
    return image


def converted(symbol: Mapping[str, Any], arrays: Weights, input: Shape) -> tuple[Graph, str, Weights]:
    """The graph of a symbol, the node that gives the logits, and the arrays by canonical name."""
    return _GluonConverter(symbol, arrays, input).run()


class _GluonConverter:
    def __init__(self, symbol: Mapping[str, Any], arrays: Weights, input: Shape) -> None:
        self.symbol, self.arrays, self.builder = symbol, arrays, ArrayBuilder(input)
        self.image = image_of(symbol, arrays)
        self.prefix = _shared_start(node["name"] for node in symbol["nodes"] if node["name"] in arrays)

    def run(self) -> tuple[Graph, str, Weights]:
        nodes, results = self.symbol["nodes"], []
        for node in nodes:
            if node["op"] == "null":
                results.append(self.builder.start if node["name"] == self.image else node["name"])
                continue
            sources = [int(each[0]) for each in node["inputs"]]
            if any(each[1] and nodes[each[0]]["op"] != "null" for each in node["inputs"]):
                raise refused(node["op"], f"node {node['name']}", "it takes a second output")
            call = SymbolCall(node, [results[each] for each in sources], [nodes[each]["name"] for each in sources])
            results.append(self._result(call))
        if len(self.symbol["heads"]) != 1:
            self.builder.notes.append(f"its first output of {len(self.symbol['heads'])} is the network's")
        head = int(self.symbol["heads"][0][0])
        name, value = str(nodes[head]["name"]), results[head]
        if isinstance(value, Probabilities):
            self.builder.notes.append(f"the final {value.operator} is cut off: the network gives logits")
            name, value = value.node, value.logits
        assert isinstance(value, Value), "a head is an operator"
        return self.builder.graph(value), name, self.builder.arrays

    def _result(self, call: SymbolCall) -> Result:
        if call.kind in _SAME:
            return call.input
        if call.kind in _SOFTMAX:
            if len(call.input.shape) != 1:
                raise call.refused(f"of {times(call.input.shape)}")
            return Probabilities(call.input, call.kind, call.sources[0])
        if call.kind in _ACTIVATIONS:
            return self._add(call, _ACTIVATIONS[call.kind]())
        if call.kind in (*_SUMS, *_PRODUCTS):
            kind = Add if call.kind in _SUMS else Multiply
            return self.builder.join(kind, [call.value(i) for i in range(len(call.inputs))], call.where, call.name)
        if call.kind in _DIFFERENCES:
            return self.builder.difference(call.value(0), call.value(1), call.where, call.name)
        method = getattr(self, f"on_{call.kind.lstrip('_')}", None)
        if method is None:
            raise call.refused()
        result: Result = method(call)
        return result

    def _add(self, call: SymbolCall, *layers: Layer, input: Value | None = None) -> Value:
        return self.builder.layer(input or call.input, *layers, where=call.where, node=call.name)

    def _array(self, call: SymbolCall, place: int) -> Array:
        name = call.inputs[place]
        if not isinstance(name, str) or name not in self.arrays:
            raise call.refused(f"its input {place + 1} is no array of the file")
        return self.arrays[name]

    def _name(self, call: SymbolCall) -> str:
        """The name of a layer with arrays: that of its first, without what all names of the file start with."""
        found = _ROLE.fullmatch(str(call.inputs[1]))
        name = found["stem"] if found else call.name.removesuffix("_fwd")
        return name.removeprefix(self.prefix) or call.name

    def _check_layout(self, call: SymbolCall) -> None:
        if call("layout", "NCHW") != "NCHW" or len(call.input.shape) != 3:
            raise call.refused(f"layout {call('layout')} of {times(call.input.shape)}")

    # --- layers with arrays -------------------------------------------------------------------------------------------

    def on_Convolution(self, call: SymbolCall) -> Value:
        self._check_layout(call)
        arrays = {"weight": self._array(call, 1)}
        if not call("no_bias", False):
            arrays["bias"] = self._array(call, 2)
        window = short_pair(call("kernel")), short_pair(call("stride") or (1, 1)), short_pair(call("pad") or (0, 0))
        options: Any = {"groups": call("num_group", 1), "bias": "bias" in arrays}
        layer = Conv(
            self._name(call), call("num_filter"), *window, dilation=short_pair(call("dilate") or (1, 1)), **options
        )
        return self.builder.weighted(call.input, layer, arrays, call.where, call.name)

    def on_FullyConnected(self, call: SymbolCall) -> Value:
        arrays = {"weight": self._array(call, 1)}
        if not call("no_bias", False):
            arrays["bias"] = self._array(call, 2)
        value = call.input.moved(np.ravel) if call("flatten", True) else call.input
        return self.builder.dense(value, self._name(call), arrays, call.where, call.name)

    def on_BatchNorm(self, call: SymbolCall) -> Value:
        if call("axis", 1) != 1 or call("use_global_stats", False):
            raise call.refused(f"axis={call('axis', 1)}, use_global_stats={call('use_global_stats', False)}")
        roles = "gamma", "beta", "running_mean", "running_var"
        arrays = {role: self._array(call, place) for place, role in enumerate(roles, start=1)}
        gamma = not call("fix_gamma", True)
        if not gamma:  # it is 1, whatever the file holds
            del arrays["gamma"]
        layer = BatchNorm(self._name(call), call("eps", 1e-3), round(1 - call("momentum", 0.9), 12), gamma=gamma)
        return self.builder.weighted(call.input, layer, arrays, call.where, call.name)

    def on_InstanceNorm(self, call: SymbolCall) -> Value:
        arrays = {"gamma": self._array(call, 1), "beta": self._array(call, 2)}
        layer = InstanceNorm(self._name(call), call("eps", 1e-3))
        return self.builder.weighted(call.input, layer, arrays, call.where, call.name)

    def on_LayerNorm(self, call: SymbolCall) -> Value:
        channel = len(call.input.shape) - 1 if call.input.is_last else 0
        if call.axis(call("axis", -1)) != channel:
            raise call.refused(f"axis={call('axis', -1)} of {times(call.input.shape)}")
        arrays = {"gamma": self._array(call, 1), "beta": self._array(call, 2)}
        layer = LayerNorm(self._name(call), call("eps", 1e-5))
        return self.builder.weighted(call.input, layer, arrays, call.where, call.name)

    def on_LeakyReLU(self, call: SymbolCall) -> Value:
        match call("act_type", "leaky"):
            case "leaky":
                return self._add(call, LeakyReLU(slope=call("slope", 0.25)))
            case "elu":
                return self._add(call, ELU(alpha=call("slope", 0.25)))
            case "selu":
                return self._add(call, SELU())
            case "gelu":
                return self._add(call, GELU())
            case "prelu":
                slope = self._array(call, 1).ravel()
                if slope.size == 1 < call.input.shape[0]:
                    self.builder.notes.append(f"{call.name}: one slope of all channels becomes one for each")
                    slope = np.repeat(slope, call.input.shape[0])
                layer = PReLU(self._name(call))
                return self.builder.weighted(call.input, layer, {"slope": slope}, call.where, call.name)
        raise call.refused(f"act_type={call('act_type')}")

    # --- windows ------------------------------------------------------------------------------------------------------

    def on_Pooling(self, call: SymbolCall) -> Value:
        self._check_layout(call)
        kind, whole = call("pool_type", "max"), call("global_pool", False)
        if kind not in ("max", "avg") or call("pooling_convention", "valid") not in ("valid", "full"):
            raise call.refused(f"pool_type={kind}, pooling_convention={call('pooling_convention', 'valid')}")
        kernel, padding = short_pair(call("kernel") or (1, 1)), short_pair(call("pad") or (0, 0))
        if whole or (kernel == short_pair(call.input.shape[1:]) and padding == 0):
            size = short_pair(call.input.shape[1:])
            return self._add(call, GlobalAvgPool() if kind == "avg" else MaxPool("", size, 1))
        window = kernel, short_pair(call("stride") or (1, 1)), padding
        ceil = call("pooling_convention", "valid") == "full"
        if kind == "max":
            return self._add(call, MaxPool("", *window, ceil=ceil))
        counts = bool(call("count_include_pad", True))
        return self._add(call, AvgPool("", *window, count_padding=counts, ceil=ceil))

    def on_mean(self, call: SymbolCall) -> Value:
        given = call("axis", ())
        axes = [call.axis(axis) for axis in (given if isinstance(given, tuple) else (given,))]
        keep = bool(call("keepdims", False))
        return self.builder.over_pixels(call.input, axes, keep, lambda of: GlobalAvgPool(), call.where, call.name)

    def on_LRN(self, call: SymbolCall) -> Value:
        options = call("alpha", 1e-4), call("beta", 0.75), float(call("knorm", 2.0))
        return self._add(call, LocalResponseNorm("", call("nsize"), *options))

    def on_Pad(self, call: SymbolCall) -> Value:
        around = call("pad_width")
        if call("mode", "constant") != "constant" or any(around[:4]):
            raise call.refused(f"mode={call('mode')}, pad_width={around}")
        sides = (around[4], around[5]), (around[6], around[7])
        return self._add(call, Pad("", short_padding(sides), float(call("constant_value", 0.0))))

    on_pad = on_Pad

    # --- values -------------------------------------------------------------------------------------------------------

    def on_Activation(self, call: SymbolCall) -> Value:
        kind = call("act_type")
        if kind not in _ACTIVATIONS:
            raise call.refused(f"act_type={kind}")
        return self._add(call, _ACTIVATIONS[kind]())

    def on_hard_sigmoid(self, call: SymbolCall) -> Value:
        if call("beta", 0.5) != 0.5:
            raise call.refused(f"beta={call('beta')}")
        return self._add(call, HardSigmoid(slope=call("alpha", 0.2)))

    def on_clip(self, call: SymbolCall) -> Value:
        if (call("a_min"), call("a_max")) != (0, 6):
            raise call.refused(f"from {call('a_min')} to {call('a_max')}; only from 0 to 6")
        return self._add(call, ReLU6())

    def on_Dropout(self, call: SymbolCall) -> Value:
        rate = call("p", 0.5)
        return self._add(call, *([Dropout(rate=rate)] if rate else []))

    def on_mul_scalar(self, call: SymbolCall) -> Value:
        return self._add(call, Scale(factor=float(call("scalar"))))

    def on_div_scalar(self, call: SymbolCall) -> Value:
        return self._add(call, Scale(factor=1 / float(call("scalar"))))

    def on_plus_scalar(self, call: SymbolCall) -> Value:
        mean = np.array([-float(call("scalar"))])
        return self.builder.normalized(call.input, call.where, call.name, mean=mean)

    def on_rminus_scalar(self, call: SymbolCall) -> Value:
        constant = np.array([float(call("scalar"))])
        return self.builder.subtracted_from(constant, call.input, call.where, call.name)

    def on_minus_scalar(self, call: SymbolCall) -> Value:
        return self.builder.normalized(call.input, call.where, call.name, mean=np.array([float(call("scalar"))]))

    def on_Concat(self, call: SymbolCall) -> Value:
        if call("dim", 1) != 1:
            raise call.refused(f"dim={call('dim')}")
        return self.builder.join(Concat, [call.value(i) for i in range(len(call.inputs))], call.where, call.name)

    on_concat = on_Concat

    def on_Flatten(self, call: SymbolCall) -> Value:
        return call.input.moved(np.ravel)

    on_flatten = on_Flatten

    def on_Reshape(self, call: SymbolCall) -> Value:
        shape, before = call("shape", ()), call.input.shape
        if call("reverse", False) or not shape or shape[0] not in (0, -1) or min(shape) < -1:
            raise call.refused(f"shape={shape}")
        sizes = [before[place] if size == 0 else size for place, size in enumerate(shape[1:])]
        if shape[0] == -1 and prod(sizes) != prod(before):
            raise call.refused(f"shape={shape} of {times(before)}: it mixes the images of a batch")
        return call.input.moved(lambda index: index.reshape(sizes))

    on_reshape = on_Reshape

    def on_transpose(self, call: SymbolCall) -> Value:
        axes = call("axes", ())
        if not axes or axes[0] != 0:
            raise call.refused(f"axes={axes}")
        return call.input.moved(lambda index: index.transpose([axis - 1 for axis in axes[1:]]))

    def on_slice_axis(self, call: SymbolCall) -> Value:
        axis, part = call.axis(call("axis")), slice(call("begin", 0), call("end"))
        whole = self.builder.settled(call.input, call.where)
        return whole.moved(lambda index: index[(slice(None),) * axis + (part,)])


def _shared_start(names: Iterable[str]) -> str:
    """What all names start with, up to an underscore: resnetv10_."""
    first, *others = sorted(names) or [""]
    last = others[-1] if others else ""
    equal = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(first, last))))
    return first[: first.rfind("_", 0, equal) + 1]


def _literal(text: Any) -> Any:
    """An attribute, which the file holds as text: (1, 1), True, 0.9, relu."""
    try:
        return ast.literal_eval(str(text))
    except (ValueError, SyntaxError):
        return text
