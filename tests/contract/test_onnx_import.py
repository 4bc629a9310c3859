"""ONNX models, as exporters write them, become networks of the spec that compute the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, save

from benchmarks.port import command
from benchmarks.porting import network_import, onnx_file
from benchmarks.porting.network_import import Imported
from benchmarks.porting.numbers import shortest
from benchmarks.porting.source.export import write
from benchmarks.runtime import networks
from benchmarks.runtime.errors import BadInput
from frameworks.adapter import Setting
from frameworks.arrays import resize_matrix
from frameworks.networks import NETWORKS
from frameworks.numpy_reference import Reference
from frameworks.spec import (
    ELU,
    GELU,
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
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool,
    Mish,
    Multiply,
    Network,
    Normalize,
    PReLU,
    Resize,
    Scale,
    Select,
    Shape,
    SiLU,
    sides,
)
from frameworks.spec.activations import SELU_SCALE
from frameworks.training import Training
from tests.command_line import exit_code_of

EXPORTS = Path(__file__).parents[1] / "third_parties" / "onnx_exports"
IMAGE: Shape = (3, 8, 8)


class Maker:
    """A model, operator by operator: `make("Relu", "x")` gives the name of its output."""

    def __init__(self, input: Sequence[int | str] = ("n", *IMAGE), opset: int = 21, dtype: Any = np.float32) -> None:
        self.input, self.opset, self.dtype = input, opset, dtype
        self.nodes: list[Any] = []
        self.arrays: dict[str, Any] = {}
        self.random = np.random.default_rng(0)

    def __call__(self, operator: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        names = [output, *(f"{output}_{n}" for n in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name, **attributes))
        return output

    def array(self, name: str, *shape: int) -> str:
        """An array of random values; those of a variance are positive."""
        values = self.random.normal(size=shape)
        self.arrays[name] = (abs(values) + 0.5 if "var" in name else values).astype(self.dtype)
        return name

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        self.arrays[name] = np.asarray(values, dtype or self.dtype)
        return name

    def numbers(self, name: str, *values: int) -> str:
        return self.constant(name, values, np.int64)

    def classified(self, x: str, channels: int) -> ModelProto:
        """The model with a mean over the pixels and a dense layer at the end."""
        x = self("Flatten", self("GlobalAveragePool", x))
        return self.model(self("Gemm", x, self.array("fc.weight", 5, channels), self.array("fc.bias", 5), transB=1))

    def model(self, output: str) -> ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info("x", kind, self.input)],
            [helper.make_tensor_value_info(output, kind, ["n", "classes"])],
            [numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)


MODELS: dict[str, Callable[[], ModelProto]] = {}


def named(function: Callable[[], ModelProto]) -> Callable[[], ModelProto]:
    MODELS[function.__name__] = function
    return function


@named
def grouped_and_dilated() -> ModelProto:
    make = Maker()
    x = make(
        "Conv", "x", make.array("c1.weight", 4, 3, 3, 2), make.array("c1.bias", 4), pads=[1, 0, 2, 1], dilations=[2, 1]
    )
    x = make("Relu", make("Conv", x, make.array("c2.weight", 6, 2, 2, 2), group=2, strides=[2, 1]))
    x = make("Flatten", make("GlobalAveragePool", x))
    weight, bias = make.array("fc.weight", 6, 5), make.array("fc.bias", 1, 5)
    return make.model(make("Gemm", x, weight, bias, alpha=0.3, beta=2.0))


@named
def same_padding() -> ModelProto:
    make = Maker(input=(1, 3, 9, 8))
    x = make("Conv", "x", make.array("c1.weight", 4, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
    x = make("Conv", x, make.array("c2.weight", 4, 4, 2, 2), auto_pad="SAME_LOWER")
    x = make("Conv", x, make.array("c3.weight", 4, 4, 3, 3), auto_pad="VALID")
    return make.classified(x, 4)


@named
def pools() -> ModelProto:
    make = Maker(input=(2, 3, 9, 9))
    x = make("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = make("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = make("AveragePool", x, kernel_shape=[2, 2], pads=[1, 0, 0, 1], count_include_pad=1)
    x = make("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 2])
    return make.classified(x, 3)


@named
def pools_with_padding_by_rule() -> ModelProto:
    make = Maker(input=(2, 3, 9, 8))
    x = make("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    x = make("AveragePool", x, kernel_shape=[2, 2], auto_pad="SAME_LOWER")
    return make.classified(make("MaxPool", x, kernel_shape=[2, 2], auto_pad="VALID"), 3)


@named
def batch_norm_of_opset_9() -> ModelProto:
    return _batch_norm(9)


@named
def batch_norm_of_opset_15() -> ModelProto:
    return _batch_norm(15)


def _batch_norm(opset: int) -> ModelProto:
    make = Maker(opset=opset)
    x = make("Conv", "x", make.array("conv_weight", 4, 3, 3, 3))
    arrays = [make.array(f"bn_{role}", 4) for role in ("gamma", "beta", "running_mean", "running_var")]
    return make.classified(make("BatchNormalization", x, *arrays, epsilon=1e-3, momentum=0.97), 4)


@named
def channels_last() -> ModelProto:
    """As tf2onnx writes a Keras model: transposed at both ends, flat in rows, columns, channels."""
    make = Maker(input=("n", 8, 7, 3))
    x = make("Transpose", "x", perm=[0, 3, 1, 2])
    x = make("Conv", x, make.array("model/conv2d/Conv2D/ReadVariableOp:0", 4, 3, 3, 3), name="model/conv2d/Conv2D")
    x = make("Relu", make("Transpose", x, perm=[0, 2, 3, 1]))
    x = make("Reshape", x, make.numbers("flat", -1, 6 * 5 * 4))
    arrays = [make.array(f"bn/{role}", 120) for role in ("gamma", "beta", "moving_mean", "moving_var")]
    x = make("Tanh", make("BatchNormalization", x, *arrays))
    x = make("MatMul", x, make.array("dense/kernel", 120, 5))
    return make.model(make("Softmax", make("Add", x, make.array("dense/bias", 5))))


@named
def differences() -> ModelProto:
    """Of tensors, and of a number and a tensor."""
    make = Maker()
    x = make("Conv", "x", make.array("c1.weight", 3, 3, 1, 1))
    x = make("Sub", make("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), x)
    x = make("Sub", make.constant("one", 1), make("Tanh", x))
    x = make("Sub", make("Relu", x), make("Conv", x, make.array("c2.weight", 3, 3, 1, 1)))
    return make.classified(x, 3)


@named
def activations() -> ModelProto:
    make = Maker(input=(2, 3, 6, 6))
    x = make("Clip", "x", make.constant("least", 0), make.constant("most", 6))
    x = make("HardSigmoid", make("Sub", x, make.constant("three", 3)))
    x = make("Add", x, make("Conv", "x", make.array("c1.weight", 3, 3, 1, 1)))
    for operator in ("HardSwish", "Sigmoid", "Softplus", "Tanh", "Mish", "Gelu", "Selu"):
        x = make("Conv", x, make.array(f"{operator}.weight", 3, 3, 1, 1))
        x = make(operator, x)
    x = make("Gelu", make("Elu", make("LeakyRelu", x, alpha=0.1), alpha=0.5), approximate="tanh")
    x = make("PRelu", x, make.array("prelu.weight", 3, 1, 1))
    return make.classified(make("Celu", make("Mul", make("Sigmoid", x), x)), 3)


@named
def gelu_as_arithmetic() -> ModelProto:
    make = Maker(opset=13)
    x = make("Conv", "x", make.array("c1.weight", 4, 3, 1, 1))
    half = make("Mul", x, make.constant("half", 0.5))
    phi = make("Add", make("Erf", make("Div", x, make.constant("root", 2**0.5))), make.constant("one", 1))
    x = make("Conv", make("Mul", half, phi), make.array("c2.weight", 4, 4, 1, 1))
    phi = make("Add", make("Erf", make("Mul", x, make.constant("inverse", 0.5**0.5))), make.constant("one", 1))
    x = make("Mul", make("Mul", x, phi), make.constant("half", 0.5))
    return make.classified(x, 4)


@named
def shapes_that_are_computed() -> ModelProto:
    """As PyTorch writes x.view(x.size(0), -1) and x.mean((2, 3))."""
    make = Maker(opset=13)
    x = make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3))
    batch = make("Gather", make("Shape", x), make.constant("zero", 0, np.int64))
    shape = make("Concat", make("Unsqueeze", batch, make.numbers("first", 0)), make.numbers("rest", -1), axis=0)
    x = make("Reshape", x, make("Cast", shape, to=TensorProto.INT64))
    return make.model(make("Gemm", x, make.array("fc.weight", 5, 144), transB=1))


@named
def joins() -> ModelProto:
    make = Maker()
    x = make("Relu", make("Conv", "x", make.array("stem.weight", 4, 3, 3, 3), pads=[1, 1, 1, 1]))
    body = make("Relu", make("Conv", x, make.array("a.weight", 4, 4, 1, 1)))
    x = make("Add", make("Conv", body, make.array("b.weight", 4, 4, 1, 1)), x)
    gate = make("Conv", make("GlobalAveragePool", x), make.array("se.weight", 4, 4, 1, 1), make.array("se.bias", 4))
    x = make("Mul", x, make("HardSigmoid", gate, alpha=1 / 6))
    branches = [make("Conv", x, make.array(f"branch{n}.weight", n, 4, 1, 1)) for n in (1, 2)]
    return make.classified(make("Concat", *branches, axis=1), 3)


@named
def normalizations() -> ModelProto:
    make = Maker(opset=21)
    x = make("LRN", make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3)), size=3, alpha=0.02, beta=0.5, bias=2.0)
    x = make("GroupNormalization", x, make.array("gn.weight", 4), make.array("gn.bias", 4), num_groups=2)
    x = make("InstanceNormalization", x, make.array("in.weight", 4), make.array("in.bias", 4), epsilon=1e-3)
    flat = make("Reshape", x, make.numbers("groups", 0, 2, -1))
    x = make("InstanceNormalization", flat, make.constant("ones", [1, 1]), make.constant("zeros", [0, 0]))
    x = make("Reshape", x, make.numbers("image", -1, 4, 6, 6))
    x = make("Mul", x, make.array("g.weight", 4, 1, 1))
    x = make("Transpose", make("Add", x, make.array("g.bias", 4, 1, 1)), perm=[0, 2, 3, 1])
    x = make("LayerNormalization", x, make.array("ln.weight", 4), make.array("ln.bias", 4), epsilon=1e-6)
    x = make("Add", make("MatMul", x, make.array("mlp.weight", 4, 6)), make.array("mlp.bias", 6))
    return make.classified(make("Transpose", x, perm=[0, 3, 1, 2]), 6)


@named
def padded_and_reduced() -> ModelProto:
    make = Maker(opset=18)
    x = make("Pad", "x", make.numbers("pads", 0, 0, 1, 0, 0, 0, 0, 2), make.constant("value", 0.5))
    x = make("Pad", x, make.numbers("channel", 0, 0, 0, 0, 0, 1, 0, 0))
    x = make(
        "Conv",
        make("Pad", x, make.numbers("more", 1, 1), "", make.numbers("rows", -2)),
        make.array("conv.weight", 4, 4, 3, 3),
    )
    x = make("ReduceMean", x, make.numbers("axes", 2, -1), keepdims=0)
    return make.model(make("Gemm", x, make.array("fc.weight", 5, 4), transB=1))


@named
def means_of_opset_13() -> ModelProto:
    make = Maker(opset=13)
    x = make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3))
    x = make("Squeeze", make("ReduceMean", x, axes=[2, 3]), make.numbers("axes", 2, 3))
    return make.model(make("Gemm", x, make.array("fc.weight", 5, 4), transB=1))


@named
def half_precision() -> ModelProto:
    make = Maker(dtype=np.float16)
    return make.classified(make("Relu", make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3))), 4)


@named
def preprocessing() -> ModelProto:
    make = Maker()
    x = make("Div", "x", make.constant("largest", 255))
    x = make("Sub", x, make.constant("mean", [[[0.485]], [[0.456]], [[0.406]]]))
    x = make("Div", x, make.constant("std", [[[0.229]], [[0.224]], [[0.225]]]))
    return make.classified(make("Conv", x, make.array("conv.weight", 4, 3, 3, 3)), 4)


@named
def decomposed_batch_norm() -> ModelProto:
    """As tf2onnx folds batch normalization before a convolution."""
    make = Maker()
    x = make("Mul", make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3)), make.array("bn.weight", 1, 4, 1, 1))
    return make.classified(make("Relu", make("Add", x, make.array("bn.bias", 1, 4, 1, 1))), 4)


@named
def channels_in_another_order() -> ModelProto:
    make = Maker()
    x = make("Conv", "x", make.array("conv.weight", 6, 3, 3, 3))
    make("Split", x, make.numbers("sizes", 2, 4), axis=1, outputs=2, name="split")
    first, second = make.nodes[-1].output
    second = make("Slice", second, make.numbers("s", 1), make.numbers("e", 4), make.numbers("a", 1))
    x = make("Concat", second, first, axis=1)
    x = make("Reshape", x, make.numbers("groups", -1, 5, 1, 6, 6))
    x = make("Reshape", make("Transpose", x, perm=[0, 2, 1, 3, 4]), make.numbers("image", -1, 5, 6, 6))
    x = make("Gather", x, make.numbers("maps", 4, 0, 2), axis=1)
    return make.classified(make("Relu", x), 3)


@named
def constants_and_dropout() -> ModelProto:
    make = Maker(opset=12)
    weight = numpy_helper.from_array(make.random.normal(size=(4, 3, 1, 1)).astype(np.float32))
    x = make("Conv", "x", make("Identity", make("Constant", value=weight)), name="stage/conv/Conv")
    x = make("Dropout", make("Flatten", make("GlobalAveragePool", x)), make.constant("ratio", 0.3))
    return make.model(make("Gemm", x, make("Transpose", make.array("fc.weight", 5, 4), perm=[1, 0])))


@named
def of_one_image() -> ModelProto:
    make = Maker(input=(1, *IMAGE))
    x = make(
        "Reshape", make("Relu", make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3))), make.numbers("to", 1, 144)
    )
    return make.model(make("Gemm", x, make.array("fc.weight", 5, 144), make.array("fc.bias", 5), transB=1))


@named
def pools_of_stride_1() -> ModelProto:
    """With padding on one side, which onnx.reference takes for both."""
    make = Maker(input=(2, 3, 5, 4))
    x = make("MaxPool", "x", kernel_shape=[2, 2], pads=[0, 0, 1, 1])
    x = make("AveragePool", x, kernel_shape=[2, 3], pads=[0, 1, 1, 1], strides=[2, 2], ceil_mode=1, count_include_pad=1)
    return make.classified(x, 3)


@named
def layer_norm_as_arithmetic() -> ModelProto:
    """As PyTorch writes it before opset 17, on channels that were moved last; the second is flat, without arrays."""
    make = Maker(opset=13)
    x = make("Transpose", make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3)), perm=[0, 2, 3, 1])
    x = make("Mul", _standardized(make, x, make.constant("eps", [[[[1e-6]]]])), make.array("norm.weight", 4))
    x = make("Transpose", make("Add", x, make.array("norm.bias", 4)), perm=[0, 3, 1, 2])
    x = _standardized(make, make("Flatten", make("GlobalAveragePool", x)), make.constant("second eps", 1e-3))
    return make.model(make("Gemm", x, make.array("fc.weight", 5, 4), transB=1))


def _standardized(make: Maker, x: str, eps: str) -> str:
    centered = make("Sub", x, make("ReduceMean", x, axes=[-1]))
    variance = make("ReduceMean", make("Pow", centered, make.constant("two", 2)), axes=[-1])
    return make("Div", centered, make("Sqrt", make("Add", variance, eps)))


@named
def group_norms_as_arithmetic() -> ModelProto:
    """As tf2onnx writes them: one factor and one summand for x."""
    make = Maker(opset=18)
    x = make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3))
    parts = make("Reshape", x, make.numbers("parts", -1, 2, 2, 6, 6))
    x = _scaled_and_shifted(make, parts, "group", (1, 2, 2, 1, 1), 2, 3, 4)
    x = make("Conv", make("Reshape", x, make.numbers("image", -1, 4, 6, 6)), make.array("second.weight", 4, 4, 1, 1))
    return make.classified(_scaled_and_shifted(make, x, "instance", (1, 4, 1, 1), 2, 3), 4)


def _scaled_and_shifted(make: Maker, x: str, name: str, shape: Sequence[int], *axes: int) -> str:
    over = make.numbers(f"{name} axes", *axes)
    mean = make("ReduceMean", x, over)
    centered = make("Sub", x, mean)
    variance = make("ReduceMean", make("Mul", centered, centered), over)
    inverse = make("Reciprocal", make("Sqrt", make("Add", variance, make.constant("epsilon", 1e-3))))
    factor = make("Mul", inverse, make.array(f"{name}.weight", *shape))
    shift = make("Add", make("Mul", make("Neg", mean), factor), make.array(f"{name}.bias", *shape))
    return make("Add", make("Mul", x, factor), shift)


@named
def activations_as_arithmetic() -> ModelProto:
    make = Maker(opset=13)
    one, half = make.constant("one", 1), make.constant("half", 0.5)

    def conv(x: str, name: str) -> str:
        return make("Conv", x, make.array(f"{name}.weight", 3, 3, 1, 1))

    x = conv("x", "mish")
    x = conv(make("Mul", x, make("Tanh", make("Log", make("Add", make("Exp", x), one)))), "silu")
    x = conv(make("Div", x, make("Add", one, make("Exp", make("Neg", x)))), "gelu")
    cube = make("Mul", make.constant("share", 0.044715), make("Pow", x, make.constant("three", 3)))
    phi = make("Tanh", make("Mul", make.constant("root", (2 / pi) ** 0.5), make("Add", x, cube)))
    x = conv(make("Mul", make("Mul", x, half), make("Add", phi, one)), "hardswish")
    part = make("Add", make("Div", x, make.constant("six", 6)), half)
    x = conv(make("Mul", x, make("Clip", part, make.constant("zero", 0), one)), "leaky")
    x = conv(make("Max", x, make("Mul", x, make.constant("tenth", 0.1))), "elu")
    above = make("Greater", x, "zero")
    x = conv(make("Where", above, x, make("Sub", make("Exp", x), one)), "prelu")
    below = make("Mul", make.array("act.weight", 1, 3, 1, 1), make("Relu", make("Neg", x)))
    return make.classified(make("Sub", make("Relu", x), below), 3)


@named
def dense_layers_on_rows() -> ModelProto:
    """As tf2onnx writes a dense layer on the channels of pixels, and MXNet: all pixels of a batch are one matrix."""
    make = Maker()
    x = make("Transpose", make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3)), perm=[0, 2, 3, 1])
    rows = make("Reshape", x, make.numbers("rows", -1, 4))
    x = make("Reshape", make("MatMul", rows, make.array("first.kernel", 4, 6)), make.numbers("image", -1, 6, 6, 6))
    x = make("Relu", make("Add", x, make.array("first.bias", 6)))
    rows = make(
        "Gemm", make("Flatten", x, axis=-1), make.array("second.weight", 3, 6), make.array("second.bias", 3), transB=1
    )
    sizes = make(
        "Concat",
        make("Slice", make("Shape", x), make.numbers("start", 0), make.numbers("end", 3)),
        make.numbers("width", 3),
        axis=0,
    )
    return make.classified(make("Transpose", make("Reshape", rows, sizes), perm=[0, 3, 1, 2]), 3)


@named
def constants_of_flat_values() -> ModelProto:
    """Batch normalization, folded and as a difference and a quotient, after channels were moved last and flattened."""
    make = Maker(input=("n", 3, 4, 5))
    x = make("Transpose", make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3)), perm=[0, 2, 3, 1])
    x = make("Mul", make("Reshape", x, make.numbers("flat", -1, 24)), make.array("bn.weight", 24))
    x = make("Add", x, make.array("bn.bias", 24))
    x = make("Div", make("Sub", x, make.array("mean", 24)), make.array("variance", 24))
    return make.model(make("Gemm", x, make.array("fc.weight", 5, 24), make.constant("none", 0), transB=1))


@named
def means_of_a_part() -> ModelProto:
    make = Maker(opset=18)
    x = make("Conv", "x", make.array("conv.weight", 6, 3, 3, 3))
    make("Split", x, axis=1, num_outputs=3, outputs=3)
    first, second, third = make.nodes[-1].output
    axes = make.numbers("axes", 2, 3)
    x = make(
        "Concat",
        make("ReduceMax", second, axes),
        make("ReduceMean", first, axes),
        make("GlobalAveragePool", third),
        axis=1,
    )
    return make.model(make("Gemm", make("Flatten", x), make.array("fc.weight", 5, 6), transB=1))


@named
def maximum_of_repeated_edges() -> ModelProto:
    """As Keras on PyTorch pads a maximum in windows by the rule "same"."""
    make = Maker(input=("n", 3, 7, 6))
    x = make("Pad", "x", make.numbers("pads", 0, 0, 1, 0, 0, 0, 2, 1), mode="edge")
    return make.classified(make("MaxPool", x, kernel_shape=[3, 2], strides=[2, 1]), 3)


@named
def gray_images() -> ModelProto:
    """tf2onnx moves one channel by a Reshape."""
    make = Maker(input=("n", 8, 7, 1))
    x = make("Reshape", "x", make.numbers("moved", -1, 1, 8, 7))
    return make.classified(make("Conv", x, make.array("conv.weight", 4, 1, 3, 3)), 4)


@named
def pixels_before_the_channels_move() -> ModelProto:
    make = Maker(input=("n", 8, 7, 3))
    x = make("Mul", "x", make.constant("scale", 1 / 127.5))
    x = make("Sub", x, make.constant("mean", [0.5, 0.4, 0.3]))
    x = make("Conv", make("Transpose", x, perm=[0, 3, 1, 2]), make.array("conv.weight", 4, 3, 3, 3))
    return make.classified(x, 4)


def saved(model: ModelProto, folder: Path) -> str:
    path = folder / "model.onnx"
    save(model, path)
    return str(path)


def found(model: ModelProto, folder: Path, input: Shape | None = None) -> Imported:
    return network_import.imported(saved(model, folder), input, {}, print)


def layers(network: Network, kind: type[Layer]) -> list[Any]:
    return [node.layer for _, node in network.walk() if isinstance(node.layer, kind)]


@pytest.mark.parametrize("name", MODELS)
def test_logits(tmp_path: Path, name: str) -> None:
    result = found(MODELS[name](), tmp_path)
    comparison = network_import.compared(result)
    assert comparison.agrees, comparison.text
    assert comparison.difference <= 1e-10 * max(comparison.scale, 1)
    assert comparison.scale > 1e-3


def test_names_are_those_of_the_file(tmp_path: Path) -> None:
    expected = {
        "batch_norm_of_opset_9": ["conv", "bn", "fc"],
        "channels_last": ["model.conv2d", "bn", "dense"],
        "constants_and_dropout": ["stage.conv", "fc"],
        "normalizations": ["conv", "gn", "in", "g", "ln", "mlp", "fc"],
        "decomposed_batch_norm": ["conv", "bn", "fc"],
        "layer_norm_as_arithmetic": ["conv", "norm", "fc"],
        "group_norms_as_arithmetic": ["conv", "group", "second", "instance", "fc"],
        "activations_as_arithmetic": ["mish", "silu", "gelu", "hardswish", "leaky", "elu", "prelu", "act", "fc"],
        "dense_layers_on_rows": ["conv", "first", "second", "fc"],
        "constants_of_flat_values": ["conv", "bn", "fc"],
    }
    for name, paths in expected.items():
        network = found(MODELS[name](), tmp_path).network
        assert [node.path for _, node in network.walk() if node.parameters] == paths


@pytest.mark.parametrize("gamma", [1.0, 0.5], ids="gamma {}".format)
@pytest.mark.parametrize("beta", [0.0, 0.5], ids="beta {}".format)
def test_a_gamma_that_training_did_not_move_is_none(gamma: float, beta: float, tmp_path: Path) -> None:
    """A new layer has gamma 1 and beta 0; one that was trained without gamma has another beta."""
    make = Maker()
    make.constant("n.gamma", np.full(3, gamma))
    make.constant("n.beta", np.full(3, beta))
    arrays = "n.gamma", "n.beta", make.array("n.mean", 3), make.array("n.var", 3)
    result = found(make.classified(make("BatchNormalization", "x", *arrays), 3), tmp_path)
    (norm,) = (node.layer for _, node in result.network.walk() if isinstance(node.layer, BatchNorm))
    assert norm.gamma == (gamma != 1 or beta == 0) and norm.beta
    assert ("n.gamma" in result.weights) == norm.gamma
    assert any("gamma is 1 beside a trained beta" in note for note in result.notes) != norm.gamma
    assert network_import.compared(result).agrees


def test_arrays_that_layers_share_name_no_layer(tmp_path: Path) -> None:
    """PyTorch's exporter stores equal arrays once, under the name of the last one; here a bias of zeros."""
    make = Maker()
    zeros = make.constant("b.conv.bias", np.zeros(4))
    x = make("Conv", "x", make.array("onnx::Conv_7", 4, 3, 1, 1), zeros, name="/a/conv/Conv")
    x = make("Conv", x, make.array("onnx::Conv_8", 4, 4, 1, 1), zeros, name="/b/b.0/conv/Conv")
    result = found(make.classified(x, 4), tmp_path)
    assert [node.path for _, node in result.network.walk() if node.parameters] == ["a.conv", "b.0.conv", "fc"]
    assert result.notes == ("batch normalization may be folded into a.conv, b.0.conv: PyTorch renamed their weights",)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("form", ["rows", "volume"])
def test_response_normalization_as_arithmetic(form: str, size: int, tmp_path: Path) -> None:
    """As `port --to onnx` writes windows of an even size, and as PyTorch's exporters write every size."""
    make = Maker(input=(2, *IMAGE))
    x = make("Conv", "x", make.array("conv.weight", 7, 3, 3, 3))
    before, after, pixels = size // 2, (size - 1) // 2, (6, 6)
    squares = make("Mul", x, x)
    if form == "rows":
        y = make("Reshape", squares, make.numbers("rows", 0, 1, 7, 36))
        y = make("AveragePool", y, kernel_shape=[size, 1], pads=[before, 0, after, 0], count_include_pad=1)
    else:
        y = make("Unsqueeze", squares, make.numbers("axis", 1))
        y = make("Pad", y, make.numbers("pads", 0, 0, before, 0, 0, 0, 0, after, 0, 0))
        y = make("AveragePool", y, kernel_shape=[size, 1, 1])
    y = make("Reshape", y, make.numbers("images", 0, 7, *pixels))
    y = make("Add", make("Mul", y, make.constant("alpha", np.float32(0.03))), make.constant("k", np.float32(2)))
    x = make("Div", x, make("Pow", y, make.constant("beta", np.float32(0.75))))
    result = found(make.classified(x, 7), tmp_path)
    assert layers(result.network, LocalResponseNorm) == [LocalResponseNorm("", size, alpha=0.03, beta=0.75, k=2.0)]
    assert network_import.compared(result).agrees


def test_arguments(tmp_path: Path) -> None:
    """Defaults of the opset, padding by rule, numbers as people write them."""
    network = found(same_padding(), tmp_path).network
    assert [sides(each.padding) for each in layers(network, Conv)] == [
        ((1, 1), (0, 1)),
        ((1, 0), (1, 0)),
        ((0, 0), (0, 0)),
    ]
    (norm,) = layers(found(batch_norm_of_opset_9(), tmp_path).network, BatchNorm)
    assert (norm.eps, norm.momentum) == (1e-3, 0.03)
    pooled = found(pools(), tmp_path).network
    assert [each.count_padding for each in layers(pooled, AvgPool)] == [False, True]
    assert [(sides(each.padding), each.dilation) for each in layers(pooled, MaxPool)] == [
        (((0, 1), (0, 1)), 1),
        (((0, 0), (0, 0)), 2),
    ]
    assert HardSigmoid(slope=0.2) in layers(found(activations(), tmp_path).network, HardSigmoid)
    assert len(layers(found(activations(), tmp_path).network, SiLU)) == 1
    assert layers(found(gelu_as_arithmetic(), tmp_path).network, GELU) == [GELU(), GELU()]
    assert layers(found(constants_and_dropout(), tmp_path).network, Dropout) == [Dropout(rate=0.3)]
    means = [each.mean for each in layers(found(preprocessing(), tmp_path).network, Normalize)]
    assert means[0] == (0.485, 0.456, 0.406)
    assert len(layers(found(channels_in_another_order(), tmp_path).network, Select)) >= 1
    assert [each.beta for each in layers(found(decomposed_batch_norm(), tmp_path).network, Affine)] == [True]
    groups = layers(found(normalizations(), tmp_path).network, GroupNorm)
    assert [(each.groups, each.gamma, each.beta) for each in groups] == [(2, True, True)] * 2
    assert len(layers(found(joins(), tmp_path).network, Multiply)) == 1
    assert len(layers(found(means_of_opset_13(), tmp_path).network, GlobalAvgPool)) == 1
    assert [each.bias for each in layers(found(shapes_that_are_computed(), tmp_path).network, Dense)] == [False]
    written = found(layer_norm_as_arithmetic(), tmp_path).network
    assert [(each.eps, each.gamma, each.beta) for each in layers(written, LayerNorm)] == [
        (1e-6, True, True),
        (1e-3, False, False),
    ]
    assert [each.groups for each in layers(found(group_norms_as_arithmetic(), tmp_path).network, GroupNorm)] == [2]
    written = found(activations_as_arithmetic(), tmp_path).network
    kinds = Mish, SiLU, GELU, HardSwish, LeakyReLU, ELU, PReLU
    assert [node.layer.kind for _, node in written.walk() if isinstance(node.layer, kinds)] == [
        kind.__name__ for kind in kinds
    ]
    assert layers(written, LeakyReLU) == [LeakyReLU(slope=0.1)]
    assert [each.bias for each in layers(found(constants_of_flat_values(), tmp_path).network, Dense)] == [False]
    assert found(gray_images(), tmp_path).network.input == (1, 8, 7)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (9.999999747378752e-06, 1e-5),
        (0.16666667163372040, 1 / 6),
        (0.003921568859368563, 1 / 255),
        (0.007843137718737125, 2 / 255),
        (0.7978845834732056, (2 / pi) ** 0.5),
        (1.0507010221481323, SELU_SCALE),
        *((0.6666666865348816, 2 / 3), (1.7158999443054199, 1.7159), (0.0, 0.0)),
    ],
)
def test_numbers_of_float32(written: float, meant: float) -> None:
    assert shortest(written) == meant


CONVENTIONS = {
    "PyTorch's nearest": ("asymmetric", "nearest", "floor", Resize("", 8, 6, "nearest", "asymmetric")),
    "PyTorch's nearest-exact": (
        "half_pixel",
        "nearest",
        "round_prefer_ceil",
        Resize("", 8, 6, "nearest", "half_pixel"),
    ),
    "PyTorch's bilinear": ("pytorch_half_pixel", "linear", "floor", Resize("", 8, 6)),
    "aligned corners": ("align_corners", "linear", "floor", Resize("", 8, 6, "linear", "aligned_corners")),
    "TensorFlow 1": ("asymmetric", "linear", "floor", Resize("", 8, 6, "linear", "asymmetric")),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_resize(tmp_path: Path, name: str) -> None:
    positions, mode, nearest, expected = CONVENTIONS[name]
    make = Maker(input=(2, 3, 5, 4))
    options = {"mode": mode, "coordinate_transformation_mode": positions, "nearest_mode": nearest}
    x = make("Resize", "x", "", "", make.numbers("sizes", 2, 3, 8, 6), **options)
    result = found(make.classified(make("Relu", make("Conv", x, make.array("c.weight", 4, 3, 3, 3))), 4), tmp_path)
    (layer,) = layers(result.network, Resize)
    matrices = [resize_matrix(each, 5, 8) for each in (layer, expected)]
    assert np.allclose(*matrices)
    comparison = network_import.compared(result)
    assert comparison.agrees, comparison.text


def test_arrays_beside_the_model(tmp_path: Path) -> None:
    model = grouped_and_dilated()
    whole = found(model, tmp_path)
    save(model, tmp_path / "outside.onnx", save_as_external_data=True, location="outside.bin", size_threshold=0)
    result = network_import.imported(str(tmp_path / "outside.onnx"), None, {}, print)
    assert result.weights.keys() == whole.weights.keys()
    assert all(np.array_equal(result.weights[name], array) for name, array in whole.weights.items())


@pytest.mark.parametrize("location", ["../outside.bin", "{folder}/outside.bin", "link.bin", "absent.bin"])
def test_arrays_are_read_from_the_folder_of_the_model_only(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save(grouped_and_dilated(), folder / "m.onnx", save_as_external_data=True, location="outside.bin", size_threshold=0)
    (folder / "outside.bin").rename(tmp_path / "outside.bin")
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    text = (folder / "m.onnx").read_bytes()
    model = ModelProto.FromString(text)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = location.format(folder=tmp_path)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match=r"the array c1\.weight lies in .*(?:not in the folder|no such file)"):
        network_import.imported(str(folder / "m.onnx"), None, {}, print)


def test_an_image_of_any_size(tmp_path: Path) -> None:
    make = Maker(input=("n", 3, "h", "w"))
    model = make.classified(make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3)), 4)
    with pytest.raises(BadInput, match="images of 3xanyxany; give --input C,H,W"):
        found(model, tmp_path)
    assert found(model, tmp_path, (3, 9, 7)).network.input == (3, 9, 7)
    with pytest.raises(BadInput, match="an input of 1x9x7: the model takes 3xanyxany"):
        found(model, tmp_path, (1, 9, 7))


def _with(operator: str, *more: str, **attributes: Any) -> Callable[[], ModelProto]:
    """A model with one operator on the output of a convolution."""

    def made() -> ModelProto:
        make = Maker()
        x = make("Conv", "x", make.array("conv.weight", 4, 3, 3, 3))
        arrays = [make.array(name, *map(int, name.split("x"))) for name in more]
        return make.classified(make(operator, x, *arrays, name="block/odd", **attributes), 4)

    return made


def _repeated_edges(operator: str, kernel: list[int]) -> Callable[[], ModelProto]:
    """Two rows are repeated before a pool."""

    def made() -> ModelProto:
        make = Maker()
        x = make("Pad", "x", make.numbers("pads", 0, 0, 2, 0, 0, 0, 0, 0), mode="edge", name="padded")
        return make.classified(make(operator, x, kernel_shape=kernel), 3)

    return made


def _on_itself(operator: str) -> Callable[[], ModelProto]:
    """A model whose output is an operator on the logits, twice."""

    def made() -> ModelProto:
        make = Maker()
        x = make("Gemm", make("Flatten", "x"), make.array("fc.weight", 192, 5))
        return make.model(make(operator, x, x, name="block/odd"))

    return made


def _shared() -> ModelProto:
    make = Maker()
    weight = make.array("conv.weight", 3, 3, 1, 1)
    return make.classified(make("Conv", make("Relu", make("Conv", "x", weight)), weight), 3)


def _softmax_inside() -> ModelProto:
    make = Maker()
    x = make("Flatten", make("GlobalAveragePool", "x"))
    return make.model(make("Relu", make("Softmax", make("Gemm", x, make.array("fc.weight", 3, 5)))))


def _two_inputs() -> ModelProto:
    model = MODELS["joins"]()
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, (1,)))
    return model


def _other_domain() -> ModelProto:
    model = _with("Relu")()
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_with("Einsum", equation="nchw->nchw"), r"no layer for Einsum \(node block/odd\)"),
        (_with("LRN", size=4), r"no layer for LRN \(node block/odd\): an even number of channels"),
        (_with("Clip", "1"), r"no layer for Clip"),
        (_with("Abs"), r"no layer for Abs \(node block/odd\)"),
        (_with("Exp"), r"no layer for Exp \(node block/odd\)"),
        (_with("Erfc"), r"no layer for Erfc \(node block/odd\): ONNX has no such operator"),
        (_repeated_edges("AveragePool", [3, 3]), r"no layer for Pad \(node padded\): mode edge; only before a maximum"),
        (_repeated_edges("MaxPool", [2, 3]), r"no layer for Pad \(node padded\): mode edge; only before a maximum"),
        (_on_itself("Div"), r"no layer for Div \(node block/odd\): a quotient by a tensor"),
        (_with("Mul", "6x6"), r"an array of 6x6 for 4x6x6; only by channel"),
        (_with("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]), "no layer for AveragePool .*dilations"),
        (_with("ConvTranspose", "4x4x2x2"), r"no layer for ConvTranspose"),
        (_with("Transpose", perm=[1, 0, 2, 3]), "it mixes the images of a batch"),
        (_with("Transpose", perm=[0, 1, 2]), r"no layer for Transpose \(node block/odd\): axes don't match array"),
        (
            _with("Conv", "4x9x3x3"),
            r"the array block\.weight is 4x9x3x3; its layer has 4x4x3x3",
        ),
        (_with("Softmax", axis=1), "no layer for Softmax"),
        (_shared, "the layer conv is called twice"),
        (_softmax_inside, "a softmax is only cut off at the end"),
        (_two_inputs, "the model has 2 inputs; a network has one"),
        (_other_domain, r"no layer for com\.microsoft\.Relu \(node block/odd\)"),
    ],
)
def test_what_has_no_layer_is_refused(tmp_path: Path, make: Callable[[], ModelProto], message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        found(make(), tmp_path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'model.onnx'}: ")


@pytest.mark.parametrize("content", [b"", b"no model", bytes(range(256))])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "damaged.onnx").write_bytes(content)
    with pytest.raises(BadInput, match=r"damaged\.onnx: no ONNX model"):
        network_import.imported(str(tmp_path / "damaged.onnx"), None, {}, print)
    with pytest.raises(BadInput, match="no file"):
        network_import.imported(str(tmp_path / "absent.onnx"), None, {}, print)


# --- exporters --------------------------------------------------------------------------------------------------------


def logits(network: Network, weights: Any, images: Any) -> Any:
    reference = Reference(network, Training(), Setting(precision="float64"))
    reference.set_weights(weights)
    return reference.activations(images.astype(np.float64), training=False)[network.nodes[-1].path]


# The exporters that wrote the files of third_parties/onnx_exports, by the end of their names: who computed the logits,
# and the number of files.
EXPORTERS = {"script": ("pytorch", 4), "dynamo": ("pytorch", 4), "keras": ("keras", 6), "mxnet": ("mxnet", 5)}
FILES = sorted(path.name.removesuffix(".onnx") for path in EXPORTS.glob("*.onnx"))
ENDS = {"Softmax": lambda x: np.exp(x), "LogSoftmax": lambda x: x}


def test_each_exporter_has_files() -> None:
    assert Counter(name.rpartition(".")[2] for name in FILES) == {key: count for key, (_, count) in EXPORTERS.items()}


@pytest.mark.parametrize("name", FILES)
def test_exports(name: str) -> None:
    """Float32 logits of the exporter's framework. PyTorch has folded batch normalization in float32."""
    model, _, exporter = name.rpartition(".")
    result = network_import.imported(str(EXPORTS / f"{name}.onnx"), None, {}, print)
    comparison = network_import.compared(result)
    assert comparison.agrees, comparison.text
    with np.load(EXPORTS / f"logits.{EXPORTERS[exporter][0]}.npz") as known:
        images, expected = known[f"{model}.images"], known[f"{model}.logits"]
    given = logits(result.network, result.weights, images)
    for end, computed in ENDS.items():
        if f"the final {end} is cut off: the network gives logits" in result.notes:
            given = computed(given - np.log(np.exp(given).sum(1, keepdims=True)))
    assert np.abs(given - expected).max() < 1e-5 * np.abs(expected).max()
    folded = any(note.startswith("batch normalization may be folded into ") for note in result.notes)
    assert folded == (name in ("ResNet6.script", "SENet.script"))


def test_layers_of_exports() -> None:
    """What exporters write out as arithmetic is one layer, with the arrays of the file."""
    results = {name: network_import.imported(str(EXPORTS / f"{name}.onnx"), None, {}, print) for name in FILES}
    keras = results["channels_last.keras"].network
    assert [each.eps for each in layers(keras, LayerNorm)] == [1e-6, 1e-3, 1e-3]
    assert [(each.groups, each.gamma, each.beta) for each in layers(keras, GroupNorm)] == [(4, True, True)]
    assert layers(keras, GELU) == [GELU(approximate=True)]
    assert len(layers(results["separable.keras"].network, PReLU)) == 1
    assert len(layers(results["separable.keras"].network, HardSwish)) == 1
    assert layers(results["separable.mxnet"].network, GELU) == [GELU()]
    assert [each.bias for each in layers(results["separable.mxnet"].network, Dense)] == [True, False]
    assert results["gray.keras"].network.input == (1, 14, 14)
    assert layers(results["excited.keras"].network, Scale)[0].factor == 2 / 255
    pools = layers(results["concatenated.mxnet"].network, AvgPool)
    assert [(each.ceil, each.count_padding) for each in pools] == [(True, True), (False, False)]
    (norm, *_) = layers(results["residual.mxnet"].network, BatchNorm)
    assert norm.name == "residual_batchnorm0" and (norm.eps, norm.momentum) == (1e-5, 0.1)
    dtypes = {array.dtype for result in results.values() for array in result.weights.values()}
    assert dtypes == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "name", ["lenet", "lenet5", "nin_cifar", "caffe_lenet", "cifar_resnet20", "cifar_shufflenet_g2"]
)
def test_own_models(tmp_path: Path, name: str) -> None:
    network = NETWORKS[name]()
    (path,) = write(network, ("onnx",), tmp_path, None, "")
    result = network_import.imported(str(path), None, {}, print)
    assert (result.network.params, result.network.buffers) == (network.params, network.buffers)
    names = {parameter.name for parameter in network.parameters}
    assert result.weights.keys() == names
    assert network_import.compared(result).agrees


def test_convolutions_and_pools_are_those_of_onnx_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The fast operators that run originals, beside those of onnx.reference."""
    for make in (grouped_and_dilated, joins, pools):
        model = onnx_file.read(Path(saved(make(), tmp_path)), "model", None)
        images = np.random.default_rng(0).normal(size=(2, *model.shape))
        fast = onnx_file.values(model, images, None)
        with monkeypatch.context() as patch:
            patch.setattr(onnx_file, "_operators", lambda onnx: [])
            slow = onnx_file.values(model, images, None)
        assert fast.keys() == slow.keys()
        assert all(np.allclose(fast[name], slow[name], rtol=1e-12) for name in fast)


# --- the command ------------------------------------------------------------------------------------------------------


def test_port_writes_what_the_model_computes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = saved(channels_last(), tmp_path)
    assert exit_code_of(command)([text, "--to", "spec,torch", "-o", str(tmp_path / "out")]) == 0
    output = capsys.readouterr().out
    assert "the final Softmax is cut off" in output and "the logits differ by at most" in output
    network = networks.network(f"{tmp_path}/out/model_spec.py:model")
    assert network.sha256 == network_import.imported(text, None, {}, print).network.sha256
    assert (tmp_path / "out" / "model_torch.npz").is_file()


def test_port_names_the_first_layer_that_differs(tmp_path: Path) -> None:
    result = found(joins(), tmp_path)
    result.weights["b.weight"][:] *= 2
    comparison = network_import.compared(result)
    assert not comparison.agrees and comparison.parted.startswith("b, by ")
