"""Every kind of layer: one class for each kind of row in a paper's table."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from frameworks.spec import activations, joins, normalization, windowed
from frameworks.spec.base import Layer, Shape, SpecError, channels, times


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
class Dropout(Layer):
    """In training each value is 0 with probability `rate`, else divided by 1 - rate; in evaluation unchanged."""

    name: str = ""
    rate: float = field(default=0.5, kw_only=True)


@dataclass(frozen=True)
class StochasticDepth(Dropout):
    """Dropout of whole images: in training all values of an image are 0 with probability `rate`, else divided by
    1 - rate; in evaluation unchanged.

    At the end of a residual body it is stochastic depth (Huang et al. 2016) with the scaling of torchvision's
    `StochasticDepth(mode="row")`.
    """


@dataclass(frozen=True)
class Flatten(Layer):
    """C x H x W gives C*H*W values in that order."""

    name: str = ""

    def output(self, shape: Shape) -> Shape:
        return (prod(shape),)


@dataclass(frozen=True)
class Resize(Layer):
    """Interpolation to height x width, without smoothing when the image shrinks.

    Pixel i of the output is at position p of the input, of the scale s = input size / output size:

        half_pixel        p = (i + 1/2) s - 1/2, PyTorch's and TensorFlow 2's default
        aligned_corners   p = i (input size - 1) / (output size - 1), PyTorch's align_corners=True
        asymmetric        p = i s, TensorFlow 1's default

    linear: the two pixels around p, weighted; positions outside take the pixel at the edge. nearest: pixel
    floor(p + 1/2), but floor(p) for asymmetric positions (torch.nn.Upsample's "nearest"; half_pixel is its
    "nearest-exact").
    """

    height: int
    width: int
    method: str = "linear"
    positions: str = "half_pixel"

    def output(self, shape: Shape) -> Shape:
        return (channels(self, shape), self.height, self.width)


@dataclass(frozen=True)
class Select(Layer):
    """Some of the channels, in the order given: LeNet-5's C3 sees three, four or six of its input's maps.

    None gives a channel of zeros, as in the shortcuts of He et al. 2015, option A.
    """

    maps: tuple[int | None, ...]

    def output(self, shape: Shape) -> Shape:
        if not all(number is None or 0 <= number < shape[0] for number in self.maps):
            raise SpecError(f"maps {', '.join(map(str, self.maps))} of an input with {shape[0]}, counted from 0")
        return (len(self.maps), *shape[1:])

    @property
    def runs(self) -> list[tuple[int | None, int]]:
        """(begin, number) of each run of maps that follow each other; begin is None for a run of zeros."""
        runs: list[tuple[int | None, int]] = []
        for number in self.maps:
            begin, count = runs[-1] if runs else (None, 0)
            follows = count and (number is None if begin is None else number == begin + count)
            if follows:
                runs[-1] = (begin, count + 1)
            else:
                runs.append((number, 1))
        return runs


# Every kind of layer by the name that JSON gives it.
KINDS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        *(windowed.Conv, windowed.MaxPool, windowed.AvgPool, windowed.GlobalAvgPool, windowed.AdaptiveAvgPool),
        *(windowed.Pad, Dense),
        *(normalization.BatchNorm, normalization.LayerNorm, normalization.GroupNorm, normalization.InstanceNorm),
        *(normalization.Affine, normalization.LocalResponseNorm),
        *(Dropout, StochasticDepth),
        *(activations.ReLU, activations.ReLU6, activations.LeakyReLU, activations.PReLU, activations.ELU),
        *(activations.SELU, activations.Sigmoid, activations.HardSigmoid, activations.Tanh, activations.SiLU),
        *(activations.HardSwish, activations.GELU, activations.Softplus, activations.Mish),
        *(Flatten, normalization.Scale, normalization.Normalize, Resize, Select),
        *(joins.Concat, joins.Add, joins.Multiply, joins.Residual, joins.Auxiliary),
    )
}
