"""What all layers have in common: shapes, padding, arrays, and the base class.

Shapes are channels x height x width of one image: (1, 28, 28); after `Flatten`, (400,). Padding is explicit, in zeros
(minus infinity under a maximum): one number, (vertical, horizontal), or ((top, bottom), (left, right)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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

    def joined(self, shape: Shape, ends: Sequence[Shape]) -> Shape:
        """The output's shape of a layer with chains inside: of its input and of the end of each chain."""
        return shape


def channels(layer: Layer, shape: Shape) -> int:
    """Channels of an input; `SpecError` where it has no height and width."""
    if len(shape) != 3:
        raise SpecError(f"{layer.kind} takes channels x height x width, not {times(shape)}")
    return shape[0]
