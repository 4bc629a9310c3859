"""The primitives of a network in Flax NNX: a table of builders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype as nnx_promoted

from frameworks import spec
from frameworks.adapter import Builder, combined
from frameworks.flax_nnx.grouped_convolutions import depthwise, grouped
from frameworks.spec import Layer, Node, lowering, pair, sides

# --- layers -----------------------------------------------------------------------------------------------------------


def unused() -> dict[str, Any]:
    """Options of a module whose arrays are set later: only their shapes are computed, those of zeros fastest."""
    return {"kernel_init": nnx.initializers.zeros, "rngs": nnx.Rngs(0), "promote_dtype": promoted}


def promoted(arrays: Sequence[jax.Array | None], dtype: Any = None) -> tuple[jax.Array | None, ...]:
    """Input and kernel in a module's `dtype`, if it has one; the bias as it is.

    The gradient by a bias is a sum over the batch and all places, in the precision in which the bias is added.
    """
    if dtype is None:
        return nnx_promoted(arrays)
    *factors, bias = arrays
    return *nnx_promoted(factors, dtype=dtype), bias


class Affine(nnx.Module):
    def __init__(self, channels: int, shift: bool) -> None:
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels)) if shift else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.scale[...] * x
        return y if self.bias is None else y + self.bias[...]


class PReLU(nnx.Module):
    """With a slope for each channel, where `nnx.PReLU` has one for all."""

    def __init__(self, channels: int) -> None:
        self.slope = nnx.Param(jnp.zeros(channels))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, x, self.slope[...] * x)


class BlockedConv(nnx.Conv):
    """A convolution with stride 1 that takes `COLUMNS` neighboring columns as channels, and gives as many.

    XLA is slow on a CPU where an input has a single channel: docs/performance.md has the effect on LeNet. The kernel is
    the same one `COLUMNS` times, each a column further, between zeros.
    """

    COLUMNS = 4

    def __call__(self, inputs: jax.Array) -> jax.Array:
        bias = self.bias[...] if self.bias else None
        x, kernel, bias = self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
        x = jnp.pad(x, ((0, 0), *self.padding, (0, 0)))
        images, rows, columns, channels = x.shape
        height, width, _, maps = kernel.shape
        given = columns - width + 1
        blocks, taken = -(-given // self.COLUMNS), -(-(width + self.COLUMNS - 1) // self.COLUMNS)
        lacking = (blocks + taken - 1) * self.COLUMNS - columns
        x = jnp.pad(x, ((0, 0), (0, 0), (0, max(lacking, 0)), (0, 0)))[:, :, : columns + lacking]
        x = x.reshape(images, rows, -1, self.COLUMNS * channels)
        ends = [(column, taken * self.COLUMNS - width - column) for column in range(self.COLUMNS)]
        kernels = jnp.stack([jnp.pad(kernel, ((0, 0), each, (0, 0), (0, 0))) for each in ends], 3)
        kernels = kernels.reshape(height, taken, self.COLUMNS * channels, self.COLUMNS * maps)
        layout = jax.lax.conv_dimension_numbers(x.shape, kernels.shape, ("NHWC", "HWIO", "NHWC"))
        y = jax.lax.conv_general_dilated(x, kernels, (1, 1), "VALID", dimension_numbers=layout)
        y = y.reshape(images, -1, blocks * self.COLUMNS, maps)[:, :, :given]
        return y if bias is None else y + bias


def pad(node: Node, layer: spec.Pad) -> Callable[..., jax.Array]:
    around = ((0, 0), *sides(layer.padding), (0, 0))
    return lambda x: jnp.pad(x, around, constant_values=layer.value)


def conv(node: Node, layer: spec.Conv) -> nnx.Module:
    window = {"strides": pair(layer.stride), "padding": sides(layer.padding), "kernel_dilation": pair(layer.dilation)}
    options = {"feature_group_count": layer.groups, "use_bias": layer.bias, **unused()}
    kind = nnx.Conv
    if jax.default_backend() == "cpu":
        steps_of_one = {pair(layer.stride), pair(layer.dilation)} == {(1, 1)}
        if node.input[0] == 1 and steps_of_one and pair(layer.kernel)[1] > 1:
            kind = BlockedConv
        elif layer.groups > 1:
            options["conv_general_dilated"] = depthwise if layer.groups == node.input[0] else grouped
    return kind(node.input[0], layer.channels, pair(layer.kernel), **window, **options)


def max_pool(node: Node, layer: spec.MaxPool) -> Callable[..., jax.Array]:
    """Flax's, or, because JAX differentiates none with dilation, the largest of the places of the windows."""
    if pair(layer.dilation) == (1, 1):
        return partial(nnx.max_pool, **windows(layer))
    (down, right), (vertical, horizontal) = pair(layer.dilation), pair(layer.stride)
    _, height, width = node.output

    def place(x: jax.Array, row: int, column: int) -> jax.Array:
        rows = slice(row * down, row * down + (height - 1) * vertical + 1, vertical)
        columns = slice(column * right, column * right + (width - 1) * horizontal + 1, horizontal)
        return x[:, rows, columns]

    def larger(x: jax.Array, y: jax.Array) -> jax.Array:
        """Of equals the first, which takes the whole gradient; jnp.maximum divides it."""
        return jnp.where(y > x, y, x)

    return lambda x: combined(larger, [place(x, *each) for each in np.ndindex(pair(layer.kernel))])


def windows(layer: spec.Pool) -> dict[str, Any]:
    return {
        "window_shape": pair(layer.kernel),
        "strides": pair(layer.stride),
        "padding": sides(layer.padding),
    }


def batch_norm(node: Node, layer: spec.BatchNorm) -> nnx.Module:
    options = {"use_scale": layer.gamma, "use_bias": layer.beta, "use_fast_variance": False, "rngs": nnx.Rngs(0)}
    return nnx.BatchNorm(node.input[0], momentum=1 - layer.momentum, epsilon=layer.eps, **options)


def layer_norm(node: Node, layer: spec.LayerNorm) -> nnx.Module:
    options = {"use_scale": layer.gamma, "use_bias": layer.beta, "use_fast_variance": False, "rngs": nnx.Rngs(0)}
    return nnx.LayerNorm(node.input[0], epsilon=layer.eps, **options)


def group_norm(node: Node, layer: spec.GroupNorm) -> nnx.Module:
    options = {"use_scale": layer.gamma, "use_bias": layer.beta, "use_fast_variance": False, "rngs": nnx.Rngs(0)}
    return nnx.GroupNorm(node.input[0], layer.groups, epsilon=layer.eps, **options)


def constant_affine(node: Node, layer: lowering.ConstantAffine) -> Callable[..., jax.Array]:
    return lambda x: x * constant(layer.gamma, x) + constant(layer.beta, x)


def local_response_norm(node: Node, layer: spec.LocalResponseNorm) -> Callable[..., jax.Array]:
    channels = np.arange(node.input[0])
    distance = np.subtract.outer(channels, channels)  # of channel j from channel c
    window = (distance >= -(layer.size // 2)) & (distance <= (layer.size - 1) // 2)

    def normalize(x: jax.Array) -> jax.Array:
        wide = widened(x)
        total = jnp.square(wide) @ constant(window, wide)
        return (wide / (layer.k + layer.alpha / layer.size * total) ** layer.beta).astype(x.dtype)

    return normalize


def hard_sigmoid(node: Node, layer: spec.HardSigmoid) -> Callable[..., jax.Array]:
    return lambda x: nnx.relu6(6 * layer.slope * x + 3) / 6


def flatten(x: jax.Array) -> jax.Array:
    return (jnp.moveaxis(x, -1, 1) if x.ndim > 2 else x).reshape(len(x), -1)


def multiply(node: Node, layer: lowering.ConstantMultiply) -> Callable[..., jax.Array]:
    factor = layer.factor if isinstance(layer.factor, float) else layer.factor[:, :, None]
    return lambda x: constant(factor, x) * x


def interpolate(node: Node, layer: lowering.Interpolate) -> Callable[..., jax.Array]:
    return lambda x: jnp.einsum("rh,nhwc,sw->nrsc", constant(layer.rows, x), x, constant(layer.columns, x))


def select(node: Node, layer: spec.Select) -> Callable[..., jax.Array]:
    """By a matrix product: the derivative of indexing adds value by value."""
    taken = np.equal.outer(np.arange(node.input[0]), [-1 if number is None else number for number in layer.maps])
    return lambda x: x @ constant(taken, x)


def widened(x: jax.Array) -> jax.Array:
    """At least in float32, for powers, which overflow in float16, and where the gradient is a sum over places."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def constant(values: npt.ArrayLike, like: jax.Array) -> jax.Array:
    """Numbers in a tensor's precision."""
    return jnp.asarray(values, like.dtype)


def activation(function: Callable[[jax.Array], jax.Array]) -> Builder:
    """The builder of a layer that is a function without options."""
    return lambda node, layer: function


# The module or function of each primitive, of its node and its layer; called with the input and the branches' outputs.
LAYERS: dict[type[Layer], Builder] = {
    spec.Pad: pad,
    spec.Conv: conv,
    spec.MaxPool: max_pool,
    spec.AvgPool: lambda node, layer: partial(nnx.avg_pool, **windows(layer)),
    spec.GlobalAvgPool: activation(lambda x: x.mean((1, 2), keepdims=True)),
    spec.Dense: lambda node, layer: nnx.Linear(node.input[0], layer.units, use_bias=layer.bias, **unused()),
    spec.BatchNorm: batch_norm,
    spec.LayerNorm: layer_norm,
    spec.GroupNorm: group_norm,
    spec.Affine: lambda node, layer: Affine(node.input[0], layer.beta),
    lowering.ConstantAffine: constant_affine,
    spec.LocalResponseNorm: local_response_norm,
    spec.Dropout: lambda node, layer: nnx.Dropout(layer.rate),
    spec.StochasticDepth: lambda node, layer: nnx.Dropout(layer.rate, broadcast_dims=range(1, 1 + len(node.input))),
    spec.ReLU: activation(nnx.relu),
    spec.ReLU6: activation(nnx.relu6),
    spec.LeakyReLU: lambda node, layer: lambda x: jnp.where(x > 0, x, layer.slope * x),
    spec.PReLU: lambda node, layer: PReLU(node.input[0]),
    spec.ELU: lambda node, layer: partial(nnx.elu, alpha=layer.alpha),
    spec.SELU: activation(nnx.selu),
    spec.Sigmoid: activation(nnx.sigmoid),
    spec.HardSigmoid: hard_sigmoid,
    spec.Tanh: activation(jnp.tanh),
    spec.SiLU: activation(nnx.silu),
    spec.HardSwish: activation(nnx.hard_swish),
    spec.GELU: lambda node, layer: lambda x: nnx.gelu(widened(x), approximate=layer.approximate).astype(x.dtype),
    spec.Softplus: activation(nnx.softplus),
    spec.Mish: activation(jax.nn.mish),
    spec.Flatten: activation(flatten),
    lowering.ConstantMultiply: multiply,
    lowering.Interpolate: interpolate,
    spec.Select: select,
    spec.Concat: lambda node, layer: lambda x, *ends: jnp.concatenate(ends, -1),
    spec.Add: lambda node, layer: lambda x, *ends: reduce(jnp.add, ends),
    spec.Multiply: lambda node, layer: lambda x, *ends: reduce(jnp.multiply, map(widened, ends)).astype(ends[0].dtype),
    spec.Auxiliary: lambda node, layer: lambda x, *head: x,
}
