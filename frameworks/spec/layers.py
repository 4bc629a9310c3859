"""The layers of a network: one class for each kind of row in a paper's table.

Shapes are channels x height x width of one image: (1, 28, 28); after `Flatten`, (400,). Padding is explicit, in zeros
(minus infinity under a maximum): one number, (vertical, horizontal), or ((top, bottom), (left, right)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import TypeAlias

from frameworks.errors import OnespecError

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = "int | tuple[int, int]"  # both ways, or (vertical, horizontal)
Sides: TypeAlias = tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))
Padding: TypeAlias = "Pair | Sides"


class SpecError(OnespecError, ValueError):
    """A spec that cannot be built, in one line: network, layer, the value and the expected one."""

    exit_code = 2


class TooSmallError(SpecError):
    """A window does not fit: the one error that a larger input resolves."""


def times(shape: Shape) -> str:
    """A shape as papers write it: 6x28x28."""
    return "x".join(map(str, shape))


def pair(value: Pair) -> tuple[int, int]:
    """(vertical, horizontal) of a number given once for both."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def sides(padding: Padding) -> Sides:
    """((top, bottom), (left, right)) of a padding in any of its forms."""
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    vertical, horizontal = padding
    return (pair(vertical), pair(horizontal))


@dataclass(frozen=True)
class Parameter:
    """An array of a layer in canonical layout: convolution out,in/groups,kh,kw; dense out,in; vectors by channel."""

    name: str
    shape: Shape
    role: str  # weight, bias, gamma, beta, running_mean or running_var

    @property
    def trainable(self) -> bool:
        return not self.role.startswith("running_")

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def fans(self) -> tuple[int, int]:
        """(fan in, fan out) of a weight: connections into one output and out of one input (Glorot and Bengio 2010)."""
        outputs, inputs, *kernel = self.shape
        return inputs * prod(kernel), outputs * prod(kernel)


@dataclass(frozen=True)
class Layer:
    """One row of a paper's table. A layer without a name is called after the named one before it: C1, then C1_relu."""

    name: str
    out: Shape | None = field(default=None, kw_only=True)

    @property
    def kind(self) -> str:
        return type(self).__name__

    def output(self, shape: Shape) -> Shape:
        """The output's shape for this input shape; `SpecError` where the layer cannot take it."""
        return shape

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """Shapes of the layer's arrays for this input, by role, in the order in which they are counted and stored."""
        return {}

    def macs(self, shape: Shape) -> int:
        """Multiply-adds of convolutions and dense layers for one image; the bias is not counted."""
        return 0

    def resolved(self, shape: Shape) -> Layer:
        """The same layer with every rule replaced by its result for this input: see `MaxPool`."""
        return self

    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        """The chains of layers inside; empty for most layers."""
        return ()


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution (cross-correlation, as every framework computes it): y[o] = b[o] + sum over i of w[o, i] * x[i]."""

    channels: int
    kernel: Pair
    stride: Pair = 1
    padding: Padding = 0
    groups: int = 1
    bias: bool = True

    def output(self, shape: Shape) -> Shape:
        maps = channels(self, shape)
        if maps % self.groups or self.channels % self.groups:
            raise SpecError(f"{maps} and {self.channels} channels do not divide into {self.groups} groups")
        return (self.channels, *_windows(shape, self.kernel, self.stride, sides(self.padding)))

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        weight = (self.channels, shape[0] // self.groups, *pair(self.kernel))
        return {"weight": weight} | ({"bias": (self.channels,)} if self.bias else {})

    def macs(self, shape: Shape) -> int:
        return prod(self.output(shape)) * prod(self.parameters(shape)["weight"][1:])


@dataclass(frozen=True)
class Pool(Layer):
    """What `MaxPool` and `AvgPool` have in common."""

    kernel: Pair
    stride: Pair
    padding: Padding = 0

    def output(self, shape: Shape) -> Shape:
        if any(side >= window for around, window in zip(sides(self.padding), pair(self.kernel)) for side in around):
            raise SpecError(f"padding {self.padding} fills a whole {times(pair(self.kernel))} window; less is needed")
        return (channels(self, shape), *_windows(shape, self.kernel, self.stride, sides(self.padding)))


@dataclass(frozen=True)
class MaxPool(Pool):
    """The largest value of each window; the padding is minus infinity.

    `ceil=True` rounds the number of windows up, as Caffe does and `torch.nn.MaxPool2d(ceil_mode=True)`; it is
    resolved into padding at the bottom and the right, so no framework's rule is used.
    """

    ceil: bool = False

    def output(self, shape: Shape) -> Shape:
        return super().output(shape) if not self.ceil else self.resolved(shape).output(shape)

    def resolved(self, shape: Shape) -> MaxPool:
        if not self.ceil:
            return self
        channels(self, shape)
        ways = zip(shape[1:], pair(self.kernel), pair(self.stride), sides(self.padding))
        vertical, horizontal = (_ceil_sides(*way) for way in ways)
        return replace(self, padding=(vertical, horizontal), ceil=False)


def _ceil_sides(size: int, kernel: int, stride: int, around: tuple[int, int]) -> tuple[int, int]:
    """Padding for the rounded-up number of windows; none may start beyond the image and its first padding."""
    before, after = around
    windows = -(-(size + before + after - kernel) // stride) + 1
    if (windows - 1) * stride >= size + before:
        windows -= 1
    return before, max(after, (windows - 1) * stride + kernel - size - before)


@dataclass(frozen=True)
class AvgPool(Pool):
    """The mean of each window; padded zeros count (divisor kh * kw), or with `count_padding=False` do not."""

    count_padding: bool = True


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """The mean of each channel: C x H x W gives C x 1 x 1."""

    name: str = ""

    def output(self, shape: Shape) -> Shape:
        return (channels(self, shape), 1, 1)


@dataclass(frozen=True)
class Dense(Layer):
    """y = W x + b on a flat input."""

    units: int
    bias: bool = True

    def output(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise SpecError(f"a dense layer takes a flat input, not {times(shape)}; put Flatten() before it")
        return (self.units,)

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"weight": (self.units, shape[0])} | ({"bias": (self.units,)} if self.bias else {})

    def macs(self, shape: Shape) -> int:
        return self.units * shape[0]


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization (Ioffe and Szegedy 2015): gamma (x - mean) / sqrt(variance + eps) + beta, by channel.

    Training uses the batch's mean and biased variance, and moves the running statistics towards them:
    r = (1 - momentum) r + momentum * batch statistic.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    gamma: bool = True
    beta: bool = True

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        present = {"gamma": self.gamma, "beta": self.beta, "running_mean": True, "running_var": True}
        return {role: (shape[0],) for role in present if present[role]}


@dataclass(frozen=True)
class Affine(Layer):
    """gamma[c] x[c] + beta[c]: a trained coefficient and bias for each channel, as in LeNet-5's sub-sampling (1998)."""

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"gamma": (shape[0],), "beta": (shape[0],)}


@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """y[c] = x[c] / (k + alpha / size * sum of x[j]^2)^beta over j from c - size // 2 to c + (size - 1) // 2.

    Krizhevsky et al. 2012, section 3.3, has alpha undivided: its alpha of 1e-4 at size 5 is 5e-4 here.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def output(self, shape: Shape) -> Shape:
        return (channels(self, shape), *shape[1:])


@dataclass(frozen=True)
class Dropout(Layer):
    """In training each value is 0 with probability `rate`, else divided by 1 - rate; in evaluation unchanged."""

    name: str = ""
    rate: float = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0); its derivative at 0 is 0."""

    name: str = ""


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    name: str = ""


@dataclass(frozen=True)
class Tanh(Layer):
    """amplitude * tanh(slope * x); LeCun et al. 1998 has 1.7159 and 2/3."""

    name: str = ""
    amplitude: float = field(default=1.0, kw_only=True)
    slope: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True)
class Flatten(Layer):
    """C x H x W gives C*H*W values in that order."""

    name: str = ""

    def output(self, shape: Shape) -> Shape:
        return (prod(shape),)


@dataclass(frozen=True)
class Scale(Layer):
    """factor * x: 1 / 255 brings pixels to 0..1."""

    name: str = ""
    factor: float = field(default=1 / 255, kw_only=True)


@dataclass(frozen=True)
class Normalize(Layer):
    """(x - mean[c]) / std[c] by channel; a single value serves all channels."""

    name: str = ""
    mean: tuple[float, ...] = field(default=(0.0,), kw_only=True)
    std: tuple[float, ...] = field(default=(1.0,), kw_only=True)

    def output(self, shape: Shape) -> Shape:
        for values in (self.mean, self.std):
            if len(values) not in (1, shape[0]):
                raise SpecError(f"{len(values)} values for {shape[0]} channels")
        return shape


@dataclass(frozen=True)
class Resize(Layer):
    """Linear interpolation to height x width, pixel centers at (i + 1/2) / size, no smoothing when it shrinks."""

    height: int
    width: int

    def output(self, shape: Shape) -> Shape:
        return (channels(self, shape), self.height, self.width)


@dataclass(frozen=True)
class Select(Layer):
    """Some of the channels, in the order given: LeNet-5's C3 sees three, four or six of its input's maps."""

    maps: tuple[int, ...]

    def output(self, shape: Shape) -> Shape:
        if not all(0 <= number < shape[0] for number in self.maps):
            raise SpecError(f"maps {', '.join(map(str, self.maps))} of an input with {shape[0]}, counted from 0")
        return (len(self.maps), *shape[1:])

    @property
    def runs(self) -> list[tuple[int, int]]:
        """(begin, end) of each run of maps that follow each other."""
        breaks = [i for i in range(1, len(self.maps)) if self.maps[i] != self.maps[i - 1] + 1]
        bounds = pairwise([0, *breaks, len(self.maps)])
        return [(self.maps[begin], self.maps[end - 1] + 1) for begin, end in bounds]


@dataclass(frozen=True)
class Concat(Layer):
    """The outputs of several chains on the same input, joined by channel."""

    chains: Sequence[Sequence[Layer]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "chains", tuple(tuple(chain) for chain in self.chains))

    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        return tuple(tuple(chain) for chain in self.chains)


@dataclass(frozen=True)
class Residual(Layer):
    """body(x) + shortcut(x); an empty shortcut is the input itself (He et al. 2015)."""

    body: Sequence[Layer]
    shortcut: Sequence[Layer] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", tuple(self.body))
        object.__setattr__(self, "shortcut", tuple(self.shortcut))

    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        return tuple(self.body), tuple(self.shortcut)


@dataclass(frozen=True)
class Auxiliary(Layer):
    """A classifier beside the main one: its loss, times `weight`, is added in training; in evaluation it is absent.

    The input passes on unchanged (Szegedy et al. 2014, section 5).
    """

    head: Sequence[Layer]
    weight: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", tuple(self.head))

    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        return (tuple(self.head),)


def channels(layer: Layer, shape: Shape) -> int:
    """Channels of an input; `SpecError` where it has no height and width."""
    if len(shape) != 3:
        raise SpecError(f"{layer.kind} takes channels x height x width, not {times(shape)}")
    return shape[0]


def _windows(shape: Shape, kernel: Pair, stride: Pair, padding: Sides) -> Shape:
    """Rows and columns of windows: floor((size + padding - kernel) / stride) + 1 (Dumoulin and Visin 2016)."""
    ways = zip(shape[1:], padding, pair(kernel), pair(stride))
    return tuple(max(0, (size + sum(around) - window) // step + 1) for size, around, window, step in ways)


# Every kind of layer by the name that JSON gives it.
KINDS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        Conv,
        MaxPool,
        AvgPool,
        GlobalAvgPool,
        Dense,
        BatchNorm,
        Affine,
        LocalResponseNorm,
        Dropout,
        ReLU,
        Sigmoid,
        Tanh,
        Flatten,
        Scale,
        Normalize,
        Resize,
        Select,
        Concat,
        Residual,
        Auxiliary,
    )
}
