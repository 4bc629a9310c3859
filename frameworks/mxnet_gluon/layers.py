"""The primitives of a network in MXNet Gluon: a table of builders."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, nn
from mxnet.ndarray import NDArray

from frameworks import spec
from frameworks.adapter import Builder, combined
from frameworks.arrays import Array
from frameworks.spec import Layer, Node, lowering, pair, sides
from frameworks.spec.activations import SELU_ALPHA, SELU_SCALE
from frameworks.spec.lowering import leading

Reorder = Callable[[Any, Any], Any]  # of F and x

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
        if layer.beta:
            self.beta = self.params.get("beta", shape=(node.input[0],))
        self.function = affine(node)

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any = None) -> Any:
        return self.function(F, x, gamma, beta)


class Standardized(HybridBlock):
    """gamma (x - mean) / sqrt(variance + eps) + beta, with the statistics of the values that `arrange` puts last.

    In plain arithmetic: MXNet's GroupNorm has a gamma for each group, and its operators' epsilon is float32.
    """

    def __init__(
        self,
        node: Node,
        layer: spec.LayerNorm | spec.GroupNorm,
        arrange: Callable[..., Any],
        restore: Callable[..., Any],
    ) -> None:
        super().__init__()
        self.eps, self.arrange, self.restore = layer.eps, arrange, restore
        self.shape = (1, -1, *[1] * (len(node.input) - 1))
        for parameter in node.parameters:
            setattr(self, parameter.role, self.params.get(parameter.role, shape=parameter.shape))

    def hybrid_forward(self, F: Any, x: Any, gamma: Any = None, beta: Any = None) -> Any:
        values = self.arrange(F, x)
        centered = F.broadcast_sub(values, F.mean(values, axis=-1, keepdims=True))
        variance = F.mean(F.square(centered), axis=-1, keepdims=True)
        y = self.restore(F, F.broadcast_div(centered, F.sqrt(variance + self.eps)))
        y = y if gamma is None else F.broadcast_mul(y, F.reshape(gamma, self.shape))
        return y if beta is None else F.broadcast_add(y, F.reshape(beta, self.shape))


class PReLU(HybridBlock):
    def __init__(self, node: Node, layer: spec.PReLU) -> None:
        super().__init__()
        self.slope = self.params.get("slope", shape=(node.input[0],))
        self.shape = (1, -1, *[1] * (len(node.input) - 1))

    def hybrid_forward(self, F: Any, x: Any, slope: Any) -> Any:
        return F.where(x > 0, x, F.broadcast_mul(x, F.reshape(slope, self.shape)))


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


class Elementwise(HybridBlock):
    """The chains' outputs, combined two by two by the operator of this name."""

    def __init__(self, operator: str, *chains: HybridBlock) -> None:
        super().__init__()
        self.operator, self.chains = operator, chains
        for chain in chains:
            self.register_child(chain)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return reduce(getattr(F, self.operator), [chain(x) for chain in self.chains])


class Auxiliary(HybridBlock):
    """Keeps its head's logits for the loss; its input passes on."""

    def __init__(self, node: Node, layer: spec.Auxiliary, head: HybridBlock) -> None:
        super().__init__()
        self.head, self.weight = head, layer.weight
        self.logits: Any = None

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        self.logits = self.head(x) if autograd.is_training() else None
        return x


def pad(node: Node, layer: spec.Pad) -> HybridBlock:
    (top, bottom), (left, right) = sides(layer.padding)
    width = (0, 0, 0, 0, top, bottom, left, right)
    return Function(lambda F, x: F.pad(x, "constant", width, layer.value))


def conv(node: Node, layer: spec.Conv) -> HybridBlock:
    window = pair(layer.kernel), pair(layer.stride), leading(layer)
    options = {"groups": layer.groups, "use_bias": layer.bias, "in_channels": node.input[0]}
    return nn.Conv2D(layer.channels, *window, pair(layer.dilation), **options)


def max_pool(node: Node, layer: spec.MaxPool) -> HybridBlock:
    """MXNet's, or, because that has no dilation, the largest of the places of the windows, one after the other."""
    if pair(layer.dilation) == (1, 1):
        return nn.MaxPool2D(pair(layer.kernel), pair(layer.stride), leading(layer))
    (down, right), (vertical, horizontal) = pair(layer.dilation), pair(layer.stride)
    _, height, width = node.output
    size = ((height - 1) * vertical + 1, (width - 1) * horizontal + 1)

    def place(F: Any, x: Any, row: int, column: int) -> Any:
        begin = (None, None, row * down, column * right)
        end = (None, None, row * down + size[0], column * right + size[1])
        return F.slice(x, begin, end, (None, None, vertical, horizontal))

    def function(F: Any, x: Any) -> Any:
        # Of equals, the operator gives the whole gradient to the first.
        return combined(F.broadcast_maximum, [place(F, x, *each) for each in np.ndindex(pair(layer.kernel))])

    return Function(function)


def avg_pool(node: Node, layer: spec.AvgPool) -> HybridBlock:
    window = pair(layer.kernel), pair(layer.stride), leading(layer)
    return nn.AvgPool2D(*window, count_include_pad=layer.count_padding)


def batch_norm(node: Node, layer: spec.BatchNorm) -> HybridBlock:
    options = {"momentum": 1 - layer.momentum, "epsilon": layer.eps, "in_channels": node.input[0]}
    return nn.BatchNorm(center=layer.beta, scale=layer.gamma, **options)


def affine(node: Node) -> Callable[..., Any]:
    """gamma[c] x[c] + beta[c], as a function of F, x, gamma and beta, which may be None."""
    channels, *size = node.input
    options = {"kernel": (1, 1), "num_filter": channels, "num_group": channels}

    def function(F: Any, x: Any, gamma: Any, beta: Any) -> Any:
        if size:
            kernel = F.reshape(gamma, (-1, 1, 1, 1))
            arrays = (kernel,) if beta is None else (kernel, beta)
            return F.Convolution(x, *arrays, no_bias=beta is None, **options)
        y = F.broadcast_mul(x, F.expand_dims(gamma, 0))
        return y if beta is None else F.broadcast_add(y, F.expand_dims(beta, 0))

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


def layer_norm(node: Node, layer: spec.LayerNorm) -> HybridBlock:
    last = [0, *range(2, len(node.input) + 1), 1]
    first = [0, len(node.input), *range(1, len(node.input))]
    return Standardized(node, layer, lambda F, x: F.transpose(x, last), lambda F, x: F.transpose(x, first))


def group_norm(node: Node, layer: spec.GroupNorm) -> HybridBlock:
    return Standardized(
        node,
        layer,
        lambda F, x: F.reshape(x, (0, layer.groups, -1)),
        lambda F, x: F.reshape(x, (-1, *node.input)),
    )


def stochastic_depth(node: Node, layer: spec.StochasticDepth) -> HybridBlock:
    return nn.Dropout(layer.rate, axes=tuple(range(1, len(node.input) + 1)))


def clipped(F: Any, x: Any, most: float) -> Any:
    """min(max(x, 0), most); its derivative at both ends is 0, that of `clip` is 1."""
    return most - F.relu(most - F.relu(x))


def softplus(F: Any, x: Any) -> Any:
    """log(1 + exp(x)) without overflow: above 30 it is x plus 1e-13. MXNet's `softrelu` is x above 20."""
    return F.log1p(F.exp(F.broadcast_minimum(x, 30 * F.ones_like(x)))) + F.relu(x - 30)


def exponential(F: Any, x: Any, alpha: float) -> Any:
    """x above 0, else alpha (exp(x) - 1)."""
    return F.where(x > 0, x, alpha * F.expm1(F.where(x > 0, F.zeros_like(x), x)))


def hard_sigmoid(F: Any, x: Any, slope: float) -> Any:
    return clipped(F, slope * x + 0.5, 1.0)


def gelu(F: Any, x: Any, approximate: bool) -> Any:
    if approximate:
        return 0.5 * x * (1 + F.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(F, x / math.sqrt(2)))


def erf(F: Any, x: Any) -> Any:
    """The error function. The gradient of MXNet's has a factor 2 / sqrt(pi) with a float32 root, which is corrected."""
    y = F.erf(x)
    value = F.BlockGrad(y)
    return value + float(np.sqrt(np.float32(math.pi))) / math.sqrt(math.pi) * (y - value)


def activation(function: Callable[..., Any]) -> Builder:
    """The builder of a layer that is `function(F, x, layer)`."""
    return lambda node, layer: Function(lambda F, x: function(F, x, layer))


def multiply(node: Node, layer: lowering.ConstantMultiply) -> HybridBlock:
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
    def run(F: Any, x: Any, begin: int | None, count: int) -> Any:
        if begin is None:
            return F.broadcast_axis(F.zeros_like(F.slice_axis(x, 1, 0, 1)), axis=1, size=count)
        return F.slice_axis(x, 1, begin, begin + count)

    return Function(lambda F, x: F.concat(*(run(F, x, *each) for each in layer.runs), dim=1))


# The block of each primitive, of its node, its layer and the blocks of its branches.
LAYERS: dict[type[Layer], Builder] = {
    spec.Pad: pad,
    spec.Conv: conv,
    spec.MaxPool: max_pool,
    spec.AvgPool: avg_pool,
    spec.GlobalAvgPool: lambda node, layer: nn.GlobalAvgPool2D(),
    spec.Dense: lambda node, layer: nn.Dense(layer.units, use_bias=layer.bias, in_units=node.input[0]),
    spec.BatchNorm: batch_norm,
    spec.LayerNorm: layer_norm,
    spec.GroupNorm: group_norm,
    spec.Affine: Affine,
    lowering.ConstantAffine: lambda node, layer: Function(affine(node), layer.gamma, layer.beta),
    spec.LocalResponseNorm: local_response_norm,
    spec.Dropout: lambda node, layer: nn.Dropout(layer.rate),
    spec.StochasticDepth: stochastic_depth,
    spec.ReLU: lambda node, layer: nn.Activation("relu"),
    spec.ReLU6: activation(lambda F, x, layer: clipped(F, x, 6.0)),
    spec.LeakyReLU: activation(lambda F, x, layer: F.where(x > 0, x, layer.slope * x)),
    spec.PReLU: PReLU,
    spec.ELU: activation(lambda F, x, layer: exponential(F, x, layer.alpha)),
    spec.SELU: activation(lambda F, x, layer: SELU_SCALE * exponential(F, x, SELU_ALPHA)),
    spec.Sigmoid: lambda node, layer: nn.Activation("sigmoid"),
    spec.HardSigmoid: activation(lambda F, x, layer: hard_sigmoid(F, x, layer.slope)),
    spec.Tanh: lambda node, layer: nn.Activation("tanh"),
    spec.SiLU: activation(lambda F, x, layer: x * F.sigmoid(x)),
    spec.HardSwish: activation(lambda F, x, layer: x * hard_sigmoid(F, x, 1 / 6)),
    spec.GELU: activation(lambda F, x, layer: gelu(F, x, layer.approximate)),
    spec.Softplus: activation(lambda F, x, layer: softplus(F, x)),
    spec.Mish: activation(lambda F, x, layer: x * F.tanh(softplus(F, x))),
    spec.Flatten: lambda node, layer: nn.Flatten(),
    lowering.ConstantMultiply: multiply,
    lowering.Interpolate: interpolate,
    spec.Select: select,
    spec.Concat: Concat,
    spec.Add: lambda node, layer, *chains: Elementwise("elemwise_add", *chains),
    spec.Multiply: lambda node, layer, *chains: Elementwise("broadcast_mul", *chains),
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
    axes = tuple(range(1, len(node.input) + 1)) if isinstance(layer, spec.StochasticDepth) else ()

    def function(F: Any, x: Any) -> Any:
        if not autograd.is_training():
            return x
        return x * (F.Dropout(F.ones_like(x), p=layer.rate, axes=axes) > 0) / (1 - layer.rate)

    return Function(function)


# What replaces builders whose operators have float32 attributes.
FLOAT64: dict[type[Layer], Builder] = {
    spec.BatchNorm: BatchNorm,
    spec.LocalResponseNorm: lambda node, layer: local_response_norm(node, layer, operator=False),
    spec.Dropout: dropout,
    spec.StochasticDepth: dropout,
}
