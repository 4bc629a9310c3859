"""Convolutions in groups, in forms that XLA computes fast on a CPU.

XLA is slow at the derivative of a convolution in groups by its kernel, and with a group for each channel at all of it:
docs/performance.md has the effect. `depthwise` and `grouped` take the place of `jax.lax.conv_general_dilated` in
`nnx.Conv`: images N x H x W x C, a kernel H x W x C / groups x maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Sides: TypeAlias = Sequence[tuple[int, int]]
Pair: TypeAlias = "tuple[jax.Array, jax.Array]"  # images and kernel, or their derivatives


class Window(NamedTuple):
    """The size of a kernel, the steps between its places, and the steps between the values that it takes."""

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    @staticmethod
    def of(kernel: jax.Array, strides: Sequence[int], dilation: Sequence[int]) -> Window:
        return Window(kernel.shape[:2], (strides[0], strides[1]), (dilation[0], dilation[1]))

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns from the first value that it takes to the last one."""
        (height, width), (vertical, horizontal) = self.size, self.dilation
        return (height - 1) * vertical, (width - 1) * horizontal

    def taps(self, x: jax.Array) -> Iterator[jax.Array]:
        """What each value of the kernel is multiplied with, of padded images, row by row of the kernel."""
        rows, columns = (given - extent for given, extent in zip(x.shape[1:3], self.extent))
        for place in np.ndindex(self.size):
            top, left = (number * step for number, step in zip(place, self.dilation))
            yield x[:, top : top + rows : self.stride[0], left : left + columns : self.stride[1]]


def depthwise(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Sides, *, rhs_dilation: Sequence[int], **_: Any
) -> jax.Array:
    """A convolution with a group for each channel, as a sum over the values of the kernel, in float32 or float64."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0))).astype(wide)
    repeated = jnp.repeat(padded, kernel.shape[-1] // x.shape[-1], axis=-1)
    y = _depthwise(repeated, kernel[:, :, 0].astype(wide), Window.of(kernel, strides, rhs_dilation))
    return y.astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _depthwise(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Of padded images, and a kernel H x W x C."""
    products = (factor * tap for factor, tap in zip(kernel.reshape(-1, kernel.shape[-1]), window.taps(x)))
    return sum(products, jnp.zeros((), x.dtype))


def _depthwise_forward(x: jax.Array, kernel: jax.Array, window: Window) -> tuple[jax.Array, Pair]:
    return _depthwise(x, kernel, window), (x, kernel)


def _depthwise_backward(window: Window, saved: Pair, dy: jax.Array) -> Pair:
    """The derivative by the images is a convolution of `dy`, with zeros between its values, by the kernel turned."""
    x, kernel = saved
    sizes = zip(window.extent, x.shape[1:3], dy.shape[1:3], window.stride)
    edges = [(extent, given - (taken - 1) * step - 1, step - 1) for extent, given, taken, step in sizes]
    spread = jax.lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    dx = _depthwise(spread, kernel[::-1, ::-1], window._replace(stride=(1, 1)))
    products = [(tap * dy).sum(2).sum((0, 1)) for tap in window.taps(x)]  # by rows: a sum over all at once is slower
    return dx, jnp.stack(products).reshape(kernel.shape)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def grouped(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sides,
    *,
    rhs_dilation: Sequence[int],
    feature_group_count: int,
    **_: Any,
) -> jax.Array:
    """A convolution in groups whose derivative by the kernel is a matrix product for each group."""
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    return _grouped(padded, kernel, Window.of(kernel, strides, rhs_dilation), feature_group_count)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _grouped(x: jax.Array, kernel: jax.Array, window: Window, groups: int) -> jax.Array:
    return _convolved(kernel, window, groups, x)


def _convolved(kernel: jax.Array, window: Window, groups: int, x: jax.Array) -> jax.Array:
    layout = jax.lax.conv_dimension_numbers(x.shape, kernel.shape, ("NHWC", "HWIO", "NHWC"))
    options = {"rhs_dilation": window.dilation, "dimension_numbers": layout, "feature_group_count": groups}
    return jax.lax.conv_general_dilated(x, kernel, window.stride, "VALID", **options)


def _grouped_forward(x: jax.Array, kernel: jax.Array, window: Window, groups: int) -> tuple[jax.Array, Pair]:
    return _convolved(kernel, window, groups, x), (x, kernel)


def _grouped_backward(window: Window, groups: int, saved: Pair, dy: jax.Array) -> Pair:
    x, kernel = saved
    (dx,) = jax.vjp(partial(_convolved, kernel, window, groups), x)[1](dy)
    product = partial(jnp.einsum, "nhwgi,nhwgo->igo", preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))
    apart = partial(jnp.reshape, shape=(*dy.shape[:3], groups, -1))
    products = [product(apart(tap), apart(dy)) for tap in window.taps(x)]
    return dx, jnp.stack(products).reshape(kernel.shape).astype(kernel.dtype)


_grouped.defvjp(_grouped_forward, _grouped_backward)
