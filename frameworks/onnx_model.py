"""A network as an ONNX model, node by node from the spec: batch normalization stays, arrays have canonical names.

The exporter of `onespec port` and the adapter of ONNX Runtime build the same model. It needs the package onnx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from frameworks import spec
from frameworks.arrays import Array, Weights, parts_matrix, resize_matrix
from frameworks.spec import Layer, Network, Node, pair, sides
from frameworks.spec.windowed import rounded_up

OPSET, IR_VERSION = 21, 10
IMAGES, PIXELS, LOGITS = "images", "pixels", "logits"

ACTIVATIONS = {
    **{"ReLU": "Relu", "SELU": "Selu", "Sigmoid": "Sigmoid", "HardSwish": "HardSwish", "Softplus": "Softplus"},
    "Mish": "Mish",
}


class NotInONNX(Exception):
    """ONNX has no operators for a layer in this form; the message names the layer."""


def onnx_model(
    network: Network,
    weights: Weights,
    dtype: str = "float32",
    *,
    text: str = "",
    pixels: bool = False,
    every: bool = False,
) -> tuple[Any, dict[str, str]]:
    """The checked ModelProto of a network in evaluation, and the name of each layer's output in it, by path.

    weights: by canonical name. text: its documentation. pixels: the input is uint8 instead of `dtype`. every: the
    output of every layer is one of the model, behind the logits. Raises NotInONNX.
    """
    graph = _Graph(weights, np.dtype(dtype))
    kind = onnx.helper.np_dtype_to_tensor_dtype(graph.dtype)
    images = graph.unused(network, IMAGES)
    given = onnx.helper.make_tensor_value_info(images, kind, ["N", *network.input])
    if pixels:
        whole = graph.unused(network, PIXELS)
        given = onnx.helper.make_tensor_value_info(whole, onnx.TensorProto.UINT8, ["N", *network.input])
        graph.add("Cast", [whole], images, to=kind)
    last = graph.chain(list(zip(network.layers, network.nodes)), images)
    logits = last if last == LOGITS else graph.add("Identity", [last], graph.unused(network, LOGITS))
    ends = {logits: network.output}
    if every:
        ends |= {graph.outputs[node.path]: node.output for _, node in network.walk() if node.path in graph.outputs}
        ends.pop(images, None)  # of a layer that is absent in evaluation, at the start
    made = onnx.helper.make_graph(
        graph.nodes,
        network.name,
        [given],
        [onnx.helper.make_tensor_value_info(name, kind, ["N", *shape]) for name, shape in ends.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
        doc_string=text,
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    proto = onnx.helper.make_model(made, opset_imports=opset, producer_name="onespec", ir_version=IR_VERSION)
    onnx.checker.check_model(proto, full_check=True)
    return proto, graph.outputs


class _Graph:
    def __init__(self, weights: Mapping[str, Array], dtype: np.dtype[Any]) -> None:
        self.weights, self.dtype = weights, dtype
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {}
        self.outputs: dict[str, str] = {}  # of each layer, by its path
        # In what layer and group normalization compute: float32 by default, whatever the type of their input.
        double = self.dtype == np.float64
        self.stash = {"stash_type": int(onnx.TensorProto.DOUBLE)} if double else {}

    @staticmethod
    def unused(network: Network, name: str) -> str:
        """A name for a value that no layer of the network has."""
        return name if all(node.path != name for _, node in network.walk()) else f"{name}/{name}"

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(onnx.helper.make_node(operator, list(inputs), [output], output, **attributes))
        return output

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        self.arrays[name] = np.asarray(values, self.dtype if dtype is None else dtype)
        return name

    def array(self, node: Node, role: str, *shape: int) -> str:
        """An array of a layer, with axes of length 1 at its end if a shape is given."""
        name = node.parameter(role).name
        array = np.asarray(self.weights[name], self.dtype)
        return self.constant(name, array.reshape(shape) if shape else array)

    def optional(self, node: Node, role: str, default: float) -> str:
        """gamma or beta, or the constant that stands for it."""
        if any(parameter.role == role for parameter in node.parameters):
            return self.array(node, role)
        return self.constant(f"{node.path}.{role}", np.full(node.input[0], default))

    def chain(self, pairs: Sequence[tuple[Layer, Node]], x: str) -> str:
        for layer, node in pairs:
            x = self.outputs[node.path] = self.layer(layer, node, x)
        return x

    def layer(self, layer: Layer, node: Node, x: str) -> str:
        path = node.path
        by_channel = (-1, *[1] * (len(node.input) - 1))
        match layer:
            case spec.Conv():
                arrays = [self.array(node, parameter.role) for parameter in node.parameters]
                options = {"kernel_shape": pair(layer.kernel), "dilations": pair(layer.dilation), "group": layer.groups}
                return self.add("Conv", [x, *arrays], path, **options, **windows(layer))
            case spec.Dense():
                arrays = [self.array(node, parameter.role) for parameter in node.parameters]
                return self.add("Gemm", [x, *arrays], path, transB=1)
            case spec.MaxPool():
                whole = layer.resolved(node.input)
                options = {"kernel_shape": pair(layer.kernel), "dilations": pair(layer.dilation)}
                return self.add("MaxPool", [x], path, **options, **windows(whole))
            case spec.AvgPool():
                counts = layer.count_padding
                if layer.ceil:
                    if counts and sides(layer.padding) != ((0, 0), (0, 0)):
                        raise lacking(node, layer, "it counts some of the places outside")
                    layer, counts = replace(rounded_up(layer, node.input), ceil=False), False
                options = {"kernel_shape": pair(layer.kernel), "count_include_pad": int(counts)}
                return self.add("AveragePool", [x], path, **options, **windows(layer))
            case spec.GlobalAvgPool():
                return self.add("GlobalAveragePool", [x], path)
            case spec.AdaptiveAvgPool() | spec.Resize():
                matrix = parts_matrix if isinstance(layer, spec.AdaptiveAvgPool) else None
                ways = list(zip(node.input[1:], node.output[1:]))
                rows, columns = (matrix(*way) if matrix else resize_matrix(layer, *way) for way in ways)  # type: ignore[arg-type]
                high = self.add("MatMul", [self.constant(f"{path}/rows", rows), x], f"{path}/high")
                return self.add("MatMul", [high, self.constant(f"{path}/columns", columns.T)], path)
            case spec.Pad():
                (top, bottom), (left, right) = sides(layer.padding)
                pads = self.constant(f"{path}/pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
                return self.add("Pad", [x, pads, self.constant(f"{path}/value", layer.value)], path)
            case spec.BatchNorm():
                arrays = [self.optional(node, "gamma", 1.0), self.optional(node, "beta", 0.0)]
                arrays += [self.array(node, role) for role in ("running_mean", "running_var")]
                options = {"epsilon": layer.eps, "momentum": 1 - layer.momentum}
                return self.add("BatchNormalization", [x, *arrays], path, **options)
            case spec.LayerNorm():
                arrays = [self.optional(node, "gamma", 1.0), self.optional(node, "beta", 0.0)]
                if len(node.input) == 1:
                    return self.add("LayerNormalization", [x, *arrays], path, epsilon=layer.eps, **self.stash)
                last = self.add("Transpose", [x], f"{path}/last", perm=(0, 2, 3, 1))
                options = {"epsilon": layer.eps, **self.stash}
                normal = self.add("LayerNormalization", [last, *arrays], f"{path}/normal", **options)
                return self.add("Transpose", [normal], path, perm=(0, 3, 1, 2))
            case spec.GroupNorm() | spec.InstanceNorm():
                arrays = [self.optional(node, "gamma", 1.0), self.optional(node, "beta", 0.0)]
                groups = layer.groups if isinstance(layer, spec.GroupNorm) else node.input[0]
                options = {"epsilon": layer.eps, "num_groups": groups, **self.stash}
                return self.add("GroupNormalization", [x, *arrays], path, **options)
            case spec.Affine():
                y = self.add(
                    "Mul", [x, self.array(node, "gamma", *by_channel)], f"{path}/product" if layer.beta else path
                )
                return self.add("Add", [y, self.array(node, "beta", *by_channel)], path) if layer.beta else y
            case spec.LocalResponseNorm() if layer.size % 2:
                options = {"alpha": layer.alpha, "beta": layer.beta, "bias": layer.k, "size": layer.size}
                return self.add("LRN", [x], path, **options)
            case spec.LocalResponseNorm():
                return self.even_response_norm(layer, node, x)
            case spec.StochasticDepth() | spec.Auxiliary():
                return x  # absent in evaluation
            case spec.Dropout():
                return self.add("Dropout", [x, self.constant(f"{path}/rate", layer.rate)], path)
            case spec.Flatten():
                return self.add("Flatten", [x], path, axis=1) if len(node.input) > 1 else x
            case spec.Scale():
                return self.add("Mul", [x, self.constant(f"{path}/factor", layer.factor)], path)
            case spec.Normalize():
                mean, std = (np.reshape(values, by_channel) for values in (layer.mean, layer.std))
                centered = self.add("Sub", [x, self.constant(f"{path}/mean", mean)], f"{path}/centered")
                return self.add("Div", [centered, self.constant(f"{path}/std", std)], path)
            case spec.Select():
                return self.select(layer, node, x)
        if joined := self.join(layer, node, x):
            return joined
        return self.activation(layer, node, x)

    def even_response_norm(self, layer: spec.LocalResponseNorm, node: Node, x: str) -> str:
        """With a window of an even size, which ONNX Runtime's LRN lacks: the mean is a pool along the channels."""
        path, (channels, height, width) = node.path, node.input
        squares = self.add("Mul", [x, x], f"{path}/squares")
        rows = self.constant(f"{path}/rows", (0, 1, channels, height * width), np.int64)
        column = self.add("Reshape", [squares, rows], f"{path}/column")
        options = {"kernel_shape": (layer.size, 1), "pads": (layer.size // 2, 0, (layer.size - 1) // 2, 0)}
        pooled = self.add("AveragePool", [column], f"{path}/pooled", count_include_pad=1, **options)
        images = self.constant(f"{path}/images", (0, channels, height, width), np.int64)
        mean = self.add("Reshape", [pooled, images], f"{path}/mean")
        scaled = self.add("Mul", [mean, self.constant(f"{path}/alpha", layer.alpha)], f"{path}/scaled")
        base = self.add("Add", [scaled, self.constant(f"{path}/k", layer.k)], f"{path}/base")
        power = self.add("Pow", [base, self.constant(f"{path}/beta", layer.beta)], f"{path}/power")
        return self.add("Div", [x, power], path)

    def select(self, layer: spec.Select, node: Node, x: str) -> str:
        channels, rank = node.input[0], len(node.input) + 1
        if None in layer.maps:
            pads = [0] * (2 * rank)
            pads[rank + 1] = 1
            x = self.add("Pad", [x, self.constant(f"{node.path}/pads", pads, np.int64)], f"{node.path}/zero")
        maps = [channels if number is None else number for number in layer.maps]
        return self.add("Gather", [x, self.constant(f"{node.path}/maps", maps, np.int64)], node.path, axis=1)

    def join(self, layer: Layer, node: Node, x: str) -> str:
        """The output of a layer with chains, or "" for another layer."""
        chains = list(zip(layer.branches(), node.branches))
        if not chains:
            return ""
        ends = [self.chain(list(zip(*chain)), x) for chain in chains]
        if isinstance(layer, spec.Concat):
            return self.add("Concat", ends, node.path, axis=1)
        operator = "Mul" if isinstance(layer, spec.Multiply) else "Add"
        y = ends[0]
        for number, end in enumerate(ends[1:], start=2):
            y = self.add(operator, [y, end], node.path if number == len(ends) else f"{node.path}/{number}")
        return y

    def gelu_by_tanh(self, node: Node, x: str) -> str:
        """Written out, because ONNX Runtime rounds the constants of its operator to float32.

        x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), Hendrycks and Gimpel, 2016.
        """
        path = node.path
        cube = self.add("Pow", [x, self.constant(f"{path}/three", 3.0)], f"{path}/cube")
        small = self.add("Mul", [cube, self.constant(f"{path}/factor", 0.044715)], f"{path}/small")
        inner = self.add("Add", [x, small], f"{path}/inner")
        scaled = self.add("Mul", [inner, self.constant(f"{path}/scale", np.sqrt(2 / np.pi))], f"{path}/scaled")
        shifted = self.add(
            "Add", [self.add("Tanh", [scaled], f"{path}/tanh"), self.constant(f"{path}/one", 1.0)], f"{path}/shifted"
        )
        half = self.add("Mul", [x, self.constant(f"{path}/half", 0.5)], f"{path}/halved")
        return self.add("Mul", [half, shifted], path)

    def activation(self, layer: Layer, node: Node, x: str) -> str:
        path = node.path
        match layer:
            case spec.ReLU6():
                limits = [self.constant(f"{path}/least", 0.0), self.constant(f"{path}/most", 6.0)]
                return self.add("Clip", [x, *limits], path)
            case spec.LeakyReLU():
                return self.add("LeakyRelu", [x], path, alpha=layer.slope)
            case spec.PReLU():
                return self.add("PRelu", [x, self.array(node, "slope", -1, *[1] * (len(node.input) - 1))], path)
            case spec.ELU():
                return self.add("Elu", [x], path, alpha=layer.alpha)
            case spec.HardSigmoid():
                return self.add("HardSigmoid", [x], path, alpha=layer.slope, beta=0.5)
            case spec.GELU() if layer.approximate and self.dtype == np.float64:
                return self.gelu_by_tanh(node, x)
            case spec.GELU():
                return self.add("Gelu", [x], path, approximate="tanh" if layer.approximate else "none")
            case spec.SiLU():
                return self.add("Mul", [x, self.add("Sigmoid", [x], f"{path}/sigmoid")], path)
            case spec.Tanh():
                if layer.slope != 1:
                    x = self.add("Mul", [x, self.constant(f"{path}/slope", layer.slope)], f"{path}/scaled")
                if layer.amplitude == 1:
                    return self.add("Tanh", [x], path)
                y = self.add("Tanh", [x], f"{path}/tanh")
                return self.add("Mul", [y, self.constant(f"{path}/amplitude", layer.amplitude)], path)
        if layer.kind not in ACTIVATIONS:
            raise lacking(node, layer)
        return self.add(ACTIVATIONS[layer.kind], [x], path)


def windows(layer: Any) -> dict[str, Any]:
    (top, bottom), (left, right) = sides(layer.padding)
    return {"strides": pair(layer.stride), "pads": (top, left, bottom, right)}


def lacking(node: Node, layer: Layer, reason: str = "") -> NotInONNX:
    return NotInONNX(f"{node.path} ({layer.kind}){f': {reason}' if reason else ''}")
