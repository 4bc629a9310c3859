"""The primitives of a network in MXNet Gluon: a table of builders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, nn
from mxnet.ndarray import NDArray

from frameworks import spec
from frameworks.adapter import Builder
from frameworks.arrays import Array
from frameworks.spec import Layer, Node, lowering, pair
from frameworks.spec.lowering import leading

# --- layers -----------------------------------------------------------------------------------------------------------

# `F` is mxnet.nd or, while a graph is traced, mxnet.sym; what flows through is an array of the one or the other.


class Function(HybridBlock):
    """A layer without trained arrays: `function(F, x, *constants)`."""

    def __init__(self, function: Callable[..., Any], *constants: Array) -> None:
        super().__init__()
        self.function = function
        for number, constant in enumerate(constants):
            name = f"constant{number}"
            setattr(self, name, self.params.get_constant(name, nd.array(constant, dtype="float64")))

    def hybrid_forward(self, F: Any, x: Any, **constants: Any) -> Any:
        return self.function(F, x, *constants.values())


class Affine(HybridBlock):
    def __init__(self, node: Node, layer: spec.Affine) -> None:
        super().__init__()
        self.gamma = self.params.get("gamma", shape=(node.input[0],))
        self.beta = self.params.get("beta", shape=(node.input[0],))
        self.function = affine(node)

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any) -> Any:
        return self.function(F, x, gamma, beta)


class Concat(HybridBlock):
    """The outputs of the chains side by side; see the adapter's docstring for channels that do not fill blocks."""

    BLOCK = 16  # channels in oneDNN's largest block

    def __init__(self, node: Node, layer: spec.Concat, *chains: HybridBlock) -> None:
        super().__init__()
        self.chains = chains
        self.aligned = all(chain[-1].output[0] % self.BLOCK == 0 for chain in node.branches if chain)
        for chain in chains:
            self.register_child(chain)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = F.concat(*(chain(x) for chain in self.chains), dim=1)
        return y if self.aligned else F.slice_axis(y, axis=1, begin=0, end=None)


class Residual(HybridBlock):
    def __init__(self, node: Node, layer: spec.Residual, body: HybridBlock, shortcut: HybridBlock) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.body(x) + self.shortcut(x)


class Auxiliary(HybridBlock):
    """Keeps its head's logits for the loss; its input passes on."""

    def __init__(self, node: Node, layer: spec.Auxiliary, head: HybridBlock) -> None:
        super().__init__()
        self.head, self.weight = head, layer.weight
        self.logits: Any = None

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        self.logits = self.head(x) if autograd.is_training() else None
        return x


def pad(node: Node, layer: lowering.Pad) -> HybridBlock:
    (top, bottom), (left, right) = layer.padding
    width = (0, 0, 0, 0, top, bottom, left, right)
    return Function(lambda F, x: F.pad(x, "constant", width, layer.value))


def conv(node: Node, layer: spec.Conv) -> HybridBlock:
    window = pair(layer.kernel), pair(layer.stride), leading(layer)
    options = {"groups": layer.groups, "use_bias": layer.bias, "in_channels": node.input[0]}
    return nn.Conv2D(layer.channels, *window, **options)


def avg_pool(node: Node, layer: spec.AvgPool) -> HybridBlock:
    window = pair(layer.kernel), pair(layer.stride), leading(layer)
    return nn.AvgPool2D(*window, count_include_pad=layer.count_padding)


def batch_norm(node: Node, layer: spec.BatchNorm) -> HybridBlock:
    options = {"momentum": 1 - layer.momentum, "epsilon": layer.eps, "in_channels": node.input[0]}
    return nn.BatchNorm(center=layer.beta, scale=layer.gamma, **options)


def affine(node: Node) -> Callable[..., Any]:
    """gamma[c] x[c] + beta[c], as a function of F, x, gamma and beta."""
    channels, *size = node.input
    options = {"kernel": (1, 1), "num_filter": channels, "num_group": channels}

    def function(F: Any, x: Any, gamma: Any, beta: Any) -> Any:
        if size:
            return F.Convolution(x, F.reshape(gamma, (-1, 1, 1, 1)), beta, **options)
        return F.broadcast_add(F.broadcast_mul(x, F.expand_dims(gamma, 0)), F.expand_dims(beta, 0))

    return function


def local_response_norm(node: Node, layer: spec.LocalResponseNorm, operator: bool = True) -> HybridBlock:
    """operator: whether evaluation may use MXNet's."""
    channels, size = node.input[0], layer.size
    distance = np.arange(channels) - np.arange(channels)[:, None]  # of the column's channel from the row's
    band = ((-(size // 2) <= distance) & (distance <= (size - 1) // 2)) / size
    options = {"alpha": layer.alpha, "beta": layer.beta, "knorm": layer.k, "nsize": size}

    def function(F: Any, x: Any, band: Any) -> Any:
        if operator and size % 2 and not autograd.is_training():
            return F.LRN(x, **options)
        mean = F.Convolution(F.square(x), band, kernel=(1, 1), num_filter=channels, no_bias=True)
        return x * (layer.k + layer.alpha * mean) ** -layer.beta

    return Function(function, band[:, :, None, None])


def multiply(node: Node, layer: lowering.Multiply) -> HybridBlock:
    if isinstance(layer.factor, float):
        return Function(lambda F, x: layer.factor * x)
    return Function(lambda F, x, factor: F.broadcast_mul(x, factor), layer.factor[None, None])


def interpolate(node: Node, layer: lowering.Interpolate) -> HybridBlock:
    """Columns by a matrix product; rows by a 1 x 1 convolution that takes them for channels."""
    channels, height, _ = node.output

    def function(F: Any, x: Any, rows: Any, columns: Any) -> Any:
        wide = F.expand_dims(F.reshape(F.dot(x, columns), (-3, 0, 0)), 3)  # N*C x H x W' x 1
        high = F.Convolution(wide, rows, kernel=(1, 1), num_filter=height, no_bias=True)
        return F.reshape(high, (-4, -1, channels, 0, -3))

    return Function(function, layer.rows[:, :, None, None], layer.columns.T)


def select(node: Node, layer: spec.Select) -> HybridBlock:
    return Function(lambda F, x: F.concat(*(F.slice_axis(x, 1, *run) for run in layer.runs), dim=1))


# The block of each primitive, of its node, its layer and the blocks of its branches.
LAYERS: dict[type[Layer], Builder] = {
    lowering.Pad: pad,
    spec.Conv: conv,
    spec.MaxPool: lambda node, layer: nn.MaxPool2D(pair(layer.kernel), pair(layer.stride), leading(layer)),
    spec.AvgPool: avg_pool,
    spec.GlobalAvgPool: lambda node, layer: nn.GlobalAvgPool2D(),
    spec.Dense: lambda node, layer: nn.Dense(layer.units, use_bias=layer.bias, in_units=node.input[0]),
    spec.BatchNorm: batch_norm,
    spec.Affine: Affine,
    lowering.ConstantAffine: lambda node, layer: Function(affine(node), layer.gamma, layer.beta),
    spec.LocalResponseNorm: local_response_norm,
    spec.Dropout: lambda node, layer: nn.Dropout(layer.rate),
    spec.ReLU: lambda node, layer: nn.Activation("relu"),
    spec.Sigmoid: lambda node, layer: nn.Activation("sigmoid"),
    spec.Tanh: lambda node, layer: nn.Activation("tanh"),
    spec.Flatten: lambda node, layer: nn.Flatten(),
    lowering.Multiply: multiply,
    lowering.Interpolate: interpolate,
    spec.Select: select,
    spec.Concat: Concat,
    spec.Residual: Residual,
    spec.Auxiliary: Auxiliary,
}


# --- layers in float64 ------------------------------------------------------------------------------------------------


class BatchNorm(HybridBlock):
    """Batch normalization in plain arithmetic; the batch's statistics are left in `batch`."""

    def __init__(self, node: Node, layer: spec.BatchNorm) -> None:
        super().__init__()
        self.eps, self.momentum = layer.eps, layer.momentum
        self.shape = (1, -1, *[1] * (len(node.input) - 1))
        for parameter in node.parameters:
            trained = "write" if parameter.trainable else "null"
            array = self.params.get(parameter.role, shape=parameter.shape, grad_req=trained)
            setattr(self, parameter.role, array)

    def hybrid_forward(
        self, F: Any, x: Any, running_mean: Any, running_var: Any, gamma: Any = None, beta: Any = None
    ) -> Any:
        mean, variance = F.reshape(running_mean, self.shape), F.reshape(running_var, self.shape)
        if autograd.is_training():
            mean, variance = self.statistics(F, x)
            self.batch = F.reshape(mean, (-1,)), F.reshape(variance, (-1,))
        y = self.normalized(F, x, mean, variance)
        y = y if gamma is None else F.broadcast_mul(y, F.reshape(gamma, self.shape))
        return y if beta is None else F.broadcast_add(y, F.reshape(beta, self.shape))

    def statistics(self, F: Any, x: Any) -> tuple[Any, Any]:
        mean = F.mean(x, axis=1, exclude=True, keepdims=True)
        return mean, F.mean(F.square(F.broadcast_sub(x, mean)), axis=1, exclude=True, keepdims=True)

    def normalized(self, F: Any, x: Any, mean: Any, variance: Any) -> Any:
        return F.broadcast_div(F.broadcast_sub(x, mean), F.sqrt(variance + self.eps))

    def move_running(self, mean: NDArray, variance: NDArray) -> None:
        for running, batch in ((self.running_mean.data(), mean), (self.running_var.data(), variance)):
            running *= 1 - self.momentum
            running += self.momentum * batch


def dropout(node: Node, layer: spec.Dropout) -> HybridBlock:
    """The operator draws only the mask: what it multiplies by is float32."""

    def function(F: Any, x: Any) -> Any:
        if not autograd.is_training():
            return x
        return x * (F.Dropout(F.ones_like(x), p=layer.rate) > 0) / (1 - layer.rate)

    return Function(function)


# What replaces builders whose operators have float32 attributes.
FLOAT64: dict[type[Layer], Builder] = {
    spec.BatchNorm: BatchNorm,
    spec.LocalResponseNorm: lambda node, layer: local_response_norm(node, layer, operator=False),
    spec.Dropout: dropout,
}
