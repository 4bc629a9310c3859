"""Layers that slide a window over an image: convolution, pooling, padding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TypeVar

from frameworks.spec.base import Layer, Padding, Pair, Shape, Sides, SpecError, channels, pair, sides, times

AnyPool = TypeVar("AnyPool", bound="Pool")


def same(kernel: Pair, stride: Pair, size: Pair, *, dilation: Pair = 1, lower: bool = False) -> Sides:
    """The padding with which a window gives ceil(size / stride) rows and columns, as explicit sides.

    It is TensorFlow's and Keras's "same" and ONNX's SAME_UPPER, where an odd zero goes to the bottom and the right;
    with `lower` it goes to the top and the left, ONNX's SAME_LOWER. size: (height, width) of the input. At stride 2 the
    zeros depend on the size: a 3x3 window gets (0, 1) on 224 pixels and (1, 1) on 225, where PyTorch code has 1 for
    both. So a network with this padding computes something else than one with padding 1.
    """

    def around(window: int, step: int, pixels: int, gap: int) -> tuple[int, int]:
        total = max(0, (-(-pixels // step) - 1) * step + extent(window, gap) - pixels)
        small, large = total // 2, total - total // 2
        return (large, small) if lower else (small, large)

    vertical, horizontal = (around(*way) for way in zip(pair(kernel), pair(stride), pair(size), pair(dilation)))
    return vertical, horizontal


def extent(window: int, dilation: int) -> int:
    """Pixels from the first to the last place of a window, both included."""
    return dilation * (window - 1) + 1


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution (cross-correlation, as every framework computes it): y[o] = b[o] + sum over i of w[o, i] * x[i].

    dilation: the distance between two places of the window (Yu and Koltun 2016).
    """

    channels: int
    kernel: Pair
    stride: Pair = 1
    padding: Padding = 0
    groups: int = 1
    bias: bool = True
    dilation: Pair = 1

    def output(self, shape: Shape) -> Shape:
        maps = channels(self, shape)
        if maps % self.groups or self.channels % self.groups:
            raise SpecError(f"{maps} and {self.channels} channels do not divide into {self.groups} groups")
        return (self.channels, *_windows(shape, self.kernel, self.stride, sides(self.padding), self.dilation))

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        weight = (self.channels, shape[0] // self.groups, *pair(self.kernel))
        return {"weight": weight} | ({"bias": (self.channels,)} if self.bias else {})

    def macs(self, shape: Shape) -> int:
        return prod(self.output(shape)) * prod(self.parameters(shape)["weight"][1:])


@dataclass(frozen=True)
class Pool(Layer):
    """What `MaxPool` and `AvgPool` have in common.

    `ceil=True` rounds the number of windows up, as Caffe does and PyTorch's `ceil_mode=True`.
    """

    kernel: Pair
    stride: Pair
    padding: Padding = 0

    def output(self, shape: Shape) -> Shape:
        spans = [extent(*way) for way in zip(pair(self.kernel), pair(gaps(self)))]
        if any(side >= span for around, span in zip(sides(self.padding), spans) for side in around):
            raise SpecError(f"padding {self.padding} fills a whole {times(tuple(spans))} window; less is needed")
        return (channels(self, shape), *_windows(shape, self.kernel, self.stride, sides(self.padding), gaps(self)))


@dataclass(frozen=True)
class MaxPool(Pool):
    """The largest value of each window; the padding is minus infinity.

    `ceil=True` is resolved into padding at the bottom and the right, so no framework's rule is used.
    """

    ceil: bool = False
    dilation: Pair = 1

    def output(self, shape: Shape) -> Shape:
        return super().output(shape) if not self.ceil else self.resolved(shape).output(shape)

    def resolved(self, shape: Shape) -> MaxPool:
        return replace(rounded_up(self, shape), ceil=False) if self.ceil else self


@dataclass(frozen=True)
class AvgPool(Pool):
    """The mean of each window; padded zeros count (divisor kh * kw), or with `count_padding=False` do not.

    `ceil=True` may add places beyond the padding, which never count: the divisor is the number of places inside the
    image and, with `count_padding`, inside its padding (torch.nn.AvgPool2d, ceil_mode).
    """

    count_padding: bool = True
    ceil: bool = False

    def output(self, shape: Shape) -> Shape:
        return super().output(shape) if not self.ceil else super(AvgPool, rounded_up(self, shape)).output(shape)


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """The mean of each channel: C x H x W gives C x 1 x 1."""

    name: str = ""

    def output(self, shape: Shape) -> Shape:
        return (channels(self, shape), 1, 1)


@dataclass(frozen=True)
class AdaptiveAvgPool(Layer):
    """The mean of windows that divide the image into height x width parts.

    Part i of n along H pixels is from floor(i H / n) to ceil((i + 1) H / n): the windows overlap if n does not divide
    H (torch.nn.AdaptiveAvgPool2d).
    """

    height: int
    width: int

    def output(self, shape: Shape) -> Shape:
        return (channels(self, shape), self.height, self.width)


@dataclass(frozen=True)
class Pad(Layer):
    """The input with `value` around its rows and columns."""

    padding: Padding
    value: float = 0.0

    def output(self, shape: Shape) -> Shape:
        return (channels(self, shape), *(size + sum(around) for size, around in zip(shape[1:], sides(self.padding))))


def gaps(layer: Conv | Pool) -> Pair:
    """A layer's dilation; 1 for one that has none."""
    return layer.dilation if isinstance(layer, (Conv, MaxPool)) else 1


def rounded_up(layer: AnyPool, shape: Shape) -> AnyPool:
    """The layer with the padding that its rounded-up number of windows needs."""
    channels(layer, shape)
    ways = zip(shape[1:], pair(layer.kernel), pair(layer.stride), sides(layer.padding), pair(gaps(layer)))
    vertical, horizontal = (_ceil_sides(size, extent(k, gap), step, around) for size, k, step, around, gap in ways)
    return replace(layer, padding=(vertical, horizontal))


def _ceil_sides(size: int, window: int, stride: int, around: tuple[int, int]) -> tuple[int, int]:
    """Padding for the rounded-up number of windows; none may start beyond the image and its first padding."""
    before, after = around
    windows = -(-(size + before + after - window) // stride) + 1
    if (windows - 1) * stride >= size + before:
        windows -= 1
    return before, max(after, (windows - 1) * stride + window - size - before)


def _windows(shape: Shape, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair = 1) -> Shape:
    """Rows and columns of windows: floor((size + padding - window) / stride) + 1 (Dumoulin and Visin 2016)."""
    ways = zip(shape[1:], padding, pair(kernel), pair(stride), pair(dilation))
    return tuple(
        max(0, (size + sum(around) - extent(window, gap)) // step + 1) for size, around, window, step, gap in ways
    )
