"""The primitives of a network in Keras: a table of builders."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from keras import KerasTensor, layers, ops
from keras.backend import standardize_dtype

from frameworks import spec
from frameworks.adapter import Builder, combined
from frameworks.arrays import Array
from frameworks.spec import Layer, Node, Shape, lowering, pair, sides
from frameworks.spec.activations import SELU_ALPHA, SELU_SCALE
from frameworks.spec.windowed import extent, gaps

# --- layers -----------------------------------------------------------------------------------------------------------

Outputs = dict[str, KerasTensor]
Tensor: TypeAlias = Any  # the engine's


class GroupedConv2D(layers.Conv2D):
    """In groups, for which TensorFlow has no kernels on a CPU: a depthwise convolution where each is of one map."""

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        vertical, horizontal = self.strides
        if self.groups == inputs.shape[-1] and vertical == horizontal:  # TensorFlow has one stride for both
            depthwise = ops.reshape(kernel, (*kernel.shape[:2], self.groups, -1))
            return ops.depthwise_conv(inputs, depthwise, self.strides, self.padding, dilation_rate=self.dilation_rate)
        convolve = super().convolution_op
        groups = zip(ops.split(inputs, self.groups, -1), ops.split(kernel, self.groups, -1))
        return ops.concatenate([convolve(*group) for group in groups], -1)


class Affine(layers.Layer):
    def __init__(self, shift: bool, name: str) -> None:
        super().__init__(name=name)
        self.shift = shift

    def build(self, shape: Shape) -> None:
        self.gamma = self.add_weight(shape[-1:], "ones", name="gamma")
        self.beta = self.add_weight(shape[-1:], "zeros", name="beta") if self.shift else None

    def call(self, x: Tensor) -> Tensor:
        return self.gamma * x if self.beta is None else self.gamma * x + self.beta


class PReLU(layers.Layer):
    """With the slope as the derivative at 0, where `layers.PReLU` has 0."""

    def build(self, shape: Shape) -> None:
        self.slope = self.add_weight(shape[-1:], "zeros", name="slope")

    def call(self, x: Tensor) -> Tensor:
        return ops.where(x > 0, x, self.slope * x)


def pad(node: Node, layer: spec.Pad, x: KerasTensor) -> KerasTensor:
    return ops.pad(x, ((0, 0), *sides(layer.padding), (0, 0)), constant_values=layer.value)


def conv(
    node: Node,
    layer: spec.Conv,
    x: KerasTensor,
    whole: type[layers.Conv2D] = layers.Conv2D,
    grouped: type[layers.Conv2D] = layers.Conv2D,
) -> KerasTensor:
    kind = whole if layer.groups == 1 else grouped
    options = {"groups": layer.groups, "use_bias": layer.bias, "kernel_initializer": "zeros", "name": keras_name(node)}
    if pair(layer.dilation) == (1, 1):
        return kind(layer.channels, pair(layer.kernel), pair(layer.stride), padding_word(node), **options)(x)
    # Keras has no dilation with a stride: what the stride passes over is computed, too.
    vertical, horizontal = pair(layer.stride)
    dense = kind(layer.channels, pair(layer.kernel), dilation_rate=pair(layer.dilation), **options)(x)
    return dense[:, ::vertical, ::horizontal]


def max_pool(node: Node, layer: spec.MaxPool, x: KerasTensor) -> KerasTensor:
    """Keras's, or, because that has no dilation, the largest of the places of the windows, one after the other."""
    if pair(layer.dilation) == (1, 1):
        return layers.MaxPooling2D(pair(layer.kernel), pair(layer.stride), padding_word(node))(x)
    (down, right), (vertical, horizontal) = pair(layer.dilation), pair(layer.stride)
    _, height, width = node.output

    def place(row: int, column: int) -> KerasTensor:
        rows = slice(row * down, row * down + (height - 1) * vertical + 1, vertical)
        columns = slice(column * right, column * right + (width - 1) * horizontal + 1, horizontal)
        return x[:, rows, columns]

    # Of equals, the operation gives the whole gradient to the first.
    return combined(ops.maximum, [place(*each) for each in np.ndindex(pair(layer.kernel))])


def avg_pool(node: Node, layer: spec.AvgPool, x: KerasTensor) -> KerasTensor:
    return layers.AveragePooling2D(pair(layer.kernel), pair(layer.stride), padding_word(node))(x)


def dense(node: Node, layer: spec.Dense, x: KerasTensor, kind: type[layers.Dense] = layers.Dense) -> KerasTensor:
    options = {"use_bias": layer.bias, "kernel_initializer": "zeros", "name": keras_name(node)}
    return kind(layer.units, **options)(x)


def batch_norm(node: Node, layer: spec.BatchNorm, x: KerasTensor) -> KerasTensor:
    options = {"center": layer.beta, "scale": layer.gamma, "name": keras_name(node)}
    return layers.BatchNormalization(-1, 1 - layer.momentum, layer.eps, **options)(x)


def layer_norm(node: Node, layer: spec.LayerNorm, x: KerasTensor) -> KerasTensor:
    options = {"center": layer.beta, "scale": layer.gamma, "name": keras_name(node)}
    return layers.LayerNormalization(-1, layer.eps, **options)(x)


def group_norm(node: Node, layer: spec.GroupNorm, x: KerasTensor) -> KerasTensor:
    options = {"center": layer.beta, "scale": layer.gamma, "name": keras_name(node)}
    return layers.GroupNormalization(layer.groups, -1, layer.eps, **options)(x)


def hard_sigmoid(x: Tensor, slope: float) -> Tensor:
    return ops.hard_sigmoid(x) if slope == 1 / 6 else ops.relu6(6 * slope * x + 3) / 6


def gelu(x: Tensor, approximate: bool) -> Tensor:
    """As `ops.gelu`, whose constants TensorFlow rounds to float32."""
    if approximate:
        wide = widened(x)
        return ops.cast(0.5 * wide * (1 + ops.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))), x.dtype)
    return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))


def activation(function: Callable[..., Any]) -> Builder:
    """The builder of a layer that is `function(x, layer)`."""
    return lambda node, layer, x: layers.Activation(lambda y: function(y, layer))(x)


def stochastic_depth(node: Node, layer: spec.StochasticDepth, x: KerasTensor) -> KerasTensor:
    return layers.Dropout(layer.rate, noise_shape=(None, *[1] * len(node.input)))(x)


def constant_affine(node: Node, layer: lowering.ConstantAffine, x: KerasTensor) -> KerasTensor:
    return x * constant(layer.gamma, x) + constant(layer.beta, x)


def local_response_norm(node: Node, layer: spec.LocalResponseNorm, x: KerasTensor) -> KerasTensor:
    channels = np.arange(node.input[0])
    distance = np.subtract.outer(channels, channels)  # of channel j from channel c
    window = (distance >= -(layer.size // 2)) & (distance <= (layer.size - 1) // 2)
    wide = widened(x)
    total = ops.matmul(ops.square(wide), constant(window, wide))
    return ops.cast(wide / (layer.k + layer.alpha / layer.size * total) ** layer.beta, x.dtype)


def flatten(node: Node, layer: spec.Flatten, x: KerasTensor) -> KerasTensor:
    return layers.Flatten()(x if x.shape[1:-1] in ((), (1, 1)) else channels_first(x))


def multiply(node: Node, layer: lowering.ConstantMultiply, x: KerasTensor) -> KerasTensor:
    if isinstance(layer.factor, float):  # as a layer: Keras takes the product of a number and a tensor for sparse
        return layers.Activation(lambda y: layer.factor * y, dtype=x.dtype)(x)  # pixels stay in float32
    return x * constant(layer.factor[:, :, None], x)


def interpolate(node: Node, layer: lowering.Interpolate, x: KerasTensor) -> KerasTensor:
    rows, columns = constant(layer.rows, x), constant(layer.columns, x)
    return ops.moveaxis(ops.matmul(ops.matmul(rows, channels_first(x)), columns.T), 1, -1)


def select(node: Node, layer: spec.Select, x: KerasTensor) -> KerasTensor:
    """By a matrix product: on a CPU twice as fast as `ops.take`, forward and backward."""
    maps = [-1 if each is None else each for each in layer.maps]
    return ops.matmul(x, constant(np.equal.outer(np.arange(node.input[0]), maps), x))


def keras_name(node: Node) -> str:
    """The path, less what TensorFlow does not take in a name."""
    return re.sub(r"[^A-Za-z0-9._]", "_", node.path)


def padding_word(node: Node) -> str:
    """Keras's word for a layer's padding: "valid" or "same", or "" where it has none."""
    layer: Any = node.layer
    spans = [extent(*way) for way in zip(pair(layer.kernel), pair(gaps(layer)))]
    ways = list(zip(node.input[1:], node.output[1:], spans, pair(layer.stride), sides(layer.padding)))
    # The last window may end before the spec's padding does.
    used = [(before, max(0, (to - 1) * step + window - size - before)) for size, to, window, step, (before, _) in ways]
    same = [max(0, (-(-size // step) - 1) * step + window - size) for size, _, window, step, _ in ways]
    if not np.any(used):
        return "valid"
    dilated = pair(gaps(layer)) != (1, 1)  # which is built without Keras's padding
    return "same" if not dilated and used == [(total // 2, total - total // 2) for total in same] else ""


def channels_first(x: KerasTensor) -> KerasTensor:
    return ops.moveaxis(x, -1, 1)


def widened(x: Tensor) -> Tensor:
    """At least in float32, for powers, which overflow in float16, and where the gradient is a sum over places."""
    return ops.cast(x, "float32") if standardize_dtype(x.dtype) in ("bfloat16", "float16") else x


def constant(values: npt.ArrayLike, like: KerasTensor) -> Array:
    """Numbers in a tensor's precision, to which float64 would raise it."""
    return np.asarray(values, like.dtype)


# The output of each primitive, of its node, its layer, its input and the outputs of its branches.
LAYERS: dict[type[Layer], Builder] = {
    spec.Pad: pad,
    spec.Conv: conv,
    spec.MaxPool: max_pool,
    spec.AvgPool: avg_pool,
    spec.GlobalAvgPool: lambda node, layer, x: layers.GlobalAveragePooling2D(keepdims=True)(x),
    spec.Dense: dense,
    spec.BatchNorm: batch_norm,
    spec.LayerNorm: layer_norm,
    spec.GroupNorm: group_norm,
    spec.Affine: lambda node, layer, x: Affine(layer.beta, keras_name(node))(x),
    lowering.ConstantAffine: constant_affine,
    spec.LocalResponseNorm: local_response_norm,
    spec.Dropout: lambda node, layer, x: layers.Dropout(layer.rate)(x),
    spec.StochasticDepth: stochastic_depth,
    spec.ReLU: lambda node, layer, x: layers.Activation("relu")(x),
    spec.ReLU6: lambda node, layer, x: layers.Activation("relu6")(x),
    # Not `ops.leaky_relu`, whose slope TensorFlow stores in float32.
    spec.LeakyReLU: activation(lambda x, layer: ops.where(x > 0, x, layer.slope * x)),
    spec.PReLU: lambda node, layer, x: PReLU(name=keras_name(node))(x),
    spec.ELU: activation(lambda x, layer: ops.elu(x, layer.alpha)),
    # Not `ops.selu`, whose derivative at 0 is that of positive values.
    spec.SELU: activation(lambda x, layer: SELU_SCALE * ops.elu(x, SELU_ALPHA)),
    spec.Sigmoid: lambda node, layer, x: layers.Activation("sigmoid")(x),
    spec.HardSigmoid: activation(lambda x, layer: hard_sigmoid(x, layer.slope)),
    spec.Tanh: lambda node, layer, x: layers.Activation("tanh")(x),
    spec.SiLU: lambda node, layer, x: layers.Activation("silu")(x),
    spec.HardSwish: lambda node, layer, x: layers.Activation("hard_silu")(x),
    spec.GELU: activation(lambda x, layer: gelu(x, layer.approximate)),
    spec.Softplus: lambda node, layer, x: layers.Activation("softplus")(x),
    spec.Mish: lambda node, layer, x: layers.Activation("mish")(x),
    spec.Flatten: flatten,
    lowering.ConstantMultiply: multiply,
    lowering.Interpolate: interpolate,
    spec.Select: select,
    spec.Concat: lambda node, layer, x, *chains: layers.Concatenate()(chains),
    spec.Add: lambda node, layer, x, *chains: reduce(ops.add, chains),
    spec.Multiply: lambda node, layer, x, *chains: reduce(ops.multiply, chains),
    spec.Auxiliary: lambda node, layer, x, head: x,
}
