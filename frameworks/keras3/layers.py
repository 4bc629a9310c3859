"""The primitives of a network in Keras: a table of builders."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import KerasTensor, layers, ops

from frameworks import spec
from frameworks.adapter import Builder
from frameworks.arrays import Array
from frameworks.spec import Layer, Node, Shape, lowering, pair, sides

# --- layers -----------------------------------------------------------------------------------------------------------

Outputs = dict[str, KerasTensor]


class GroupedConv2D(layers.Conv2D):
    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        convolve = super().convolution_op
        groups = zip(ops.split(inputs, self.groups, -1), ops.split(kernel, self.groups, -1))
        return ops.concatenate([convolve(*group) for group in groups], -1)


class Affine(layers.Layer):
    def build(self, shape: Shape) -> None:
        self.gamma = self.add_weight(shape[-1:], "ones", name="gamma")
        self.beta = self.add_weight(shape[-1:], "zeros", name="beta")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.gamma * x + self.beta


def pad(node: Node, layer: lowering.Pad, x: KerasTensor) -> KerasTensor:
    return ops.pad(x, ((0, 0), *layer.padding, (0, 0)), constant_values=layer.value)


def conv(node: Node, layer: spec.Conv, x: KerasTensor, grouped: type[layers.Conv2D] = GroupedConv2D) -> KerasTensor:
    kind = layers.Conv2D if layer.groups == 1 else grouped
    window = pair(layer.kernel), pair(layer.stride), padding_word(node)
    options = {"groups": layer.groups, "use_bias": layer.bias, "kernel_initializer": "zeros"}
    return kind(layer.channels, *window, **options, name=keras_name(node))(x)


def max_pool(node: Node, layer: spec.MaxPool, x: KerasTensor) -> KerasTensor:
    return layers.MaxPooling2D(pair(layer.kernel), pair(layer.stride), padding_word(node))(x)


def avg_pool(node: Node, layer: spec.AvgPool, x: KerasTensor) -> KerasTensor:
    return layers.AveragePooling2D(pair(layer.kernel), pair(layer.stride), padding_word(node))(x)


def dense(node: Node, layer: spec.Dense, x: KerasTensor) -> KerasTensor:
    options = {"use_bias": layer.bias, "kernel_initializer": "zeros", "name": keras_name(node)}
    return layers.Dense(layer.units, **options)(x)


def batch_norm(node: Node, layer: spec.BatchNorm, x: KerasTensor) -> KerasTensor:
    options = {"center": layer.beta, "scale": layer.gamma, "name": keras_name(node)}
    return layers.BatchNormalization(-1, 1 - layer.momentum, layer.eps, **options)(x)


def constant_affine(node: Node, layer: lowering.ConstantAffine, x: KerasTensor) -> KerasTensor:
    return x * constant(layer.gamma, x) + constant(layer.beta, x)


def local_response_norm(node: Node, layer: spec.LocalResponseNorm, x: KerasTensor) -> KerasTensor:
    channels = np.arange(node.input[0])
    distance = np.subtract.outer(channels, channels)  # of channel j from channel c
    window = (distance >= -(layer.size // 2)) & (distance <= (layer.size - 1) // 2)
    total = ops.matmul(ops.square(x), constant(window, x))
    return x / (layer.k + layer.alpha / layer.size * total) ** layer.beta


def flatten(node: Node, layer: spec.Flatten, x: KerasTensor) -> KerasTensor:
    return layers.Flatten()(x if x.shape[1:-1] in ((), (1, 1)) else channels_first(x))


def multiply(node: Node, layer: lowering.Multiply, x: KerasTensor) -> KerasTensor:
    if isinstance(layer.factor, float):  # as a layer: Keras takes the product of a number and a tensor for sparse
        return layers.Activation(lambda y: layer.factor * y)(x)
    return x * constant(layer.factor[:, :, None], x)


def interpolate(node: Node, layer: lowering.Interpolate, x: KerasTensor) -> KerasTensor:
    rows, columns = constant(layer.rows, x), constant(layer.columns, x)
    return ops.moveaxis(ops.matmul(ops.matmul(rows, channels_first(x)), columns.T), 1, -1)


def select(node: Node, layer: spec.Select, x: KerasTensor) -> KerasTensor:
    """By a matrix product: on a CPU twice as fast as `ops.take`, forward and backward."""
    return ops.matmul(x, constant(np.eye(node.input[0])[:, layer.maps], x))


def keras_name(node: Node) -> str:
    """The path, less what TensorFlow does not take in a name."""
    return re.sub(r"[^A-Za-z0-9._]", "_", node.path)


def padding_word(node: Node) -> str:
    """Keras's word for a layer's padding: "valid" or "same", or "" where it has none."""
    layer: Any = node.layer
    ways = list(zip(node.input[1:], node.output[1:], pair(layer.kernel), pair(layer.stride), sides(layer.padding)))
    # The last window may end before the spec's padding does.
    used = [(before, max(0, (to - 1) * step + window - size - before)) for size, to, window, step, (before, _) in ways]
    same = [max(0, (-(-size // step) - 1) * step + window - size) for size, _, window, step, _ in ways]
    if not np.any(used):
        return "valid"
    return "same" if used == [(total // 2, total - total // 2) for total in same] else ""


def channels_first(x: KerasTensor) -> KerasTensor:
    return ops.moveaxis(x, -1, 1)


def constant(values: npt.ArrayLike, like: KerasTensor) -> Array:
    """Numbers in a tensor's precision, to which float64 would raise it."""
    return np.asarray(values, like.dtype)


# The output of each primitive, of its node, its layer, its input and the outputs of its branches.
LAYERS: dict[type[Layer], Builder] = {
    lowering.Pad: pad,
    spec.Conv: conv,
    spec.MaxPool: max_pool,
    spec.AvgPool: avg_pool,
    spec.GlobalAvgPool: lambda node, layer, x: layers.GlobalAveragePooling2D(keepdims=True)(x),
    spec.Dense: dense,
    spec.BatchNorm: batch_norm,
    spec.Affine: lambda node, layer, x: Affine(name=keras_name(node))(x),
    lowering.ConstantAffine: constant_affine,
    spec.LocalResponseNorm: local_response_norm,
    spec.Dropout: lambda node, layer, x: layers.Dropout(layer.rate)(x),
    spec.ReLU: lambda node, layer, x: layers.Activation("relu")(x),
    spec.Sigmoid: lambda node, layer, x: layers.Activation("sigmoid")(x),
    spec.Tanh: lambda node, layer, x: layers.Activation("tanh")(x),
    spec.Flatten: flatten,
    lowering.Multiply: multiply,
    lowering.Interpolate: interpolate,
    spec.Select: select,
    spec.Concat: lambda node, layer, x, *chains: layers.Concatenate()(chains),
    spec.Residual: lambda node, layer, x, body, shortcut: layers.Add()([body, shortcut]),
    spec.Auxiliary: lambda node, layer, x, head: x,
}
