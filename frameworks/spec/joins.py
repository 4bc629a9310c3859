"""Layers with chains of layers inside: sums, products, channels side by side, and auxiliary classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from frameworks.spec.base import Layer, Shape, SpecError, times


@dataclass(frozen=True)
class Join(Layer):
    """What layers that join the outputs of several chains on the same input have in common.

    An empty chain is the input itself.
    """

    chains: Sequence[Sequence[Layer]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "chains", tuple(tuple(chain) for chain in self.chains))

    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        return tuple(tuple(chain) for chain in self.chains)


@dataclass(frozen=True)
class Concat(Join):
    """The outputs of the chains, joined by channel."""

    def joined(self, shape: Shape, ends: Sequence[Shape]) -> Shape:
        if len({end[1:] for end in ends}) > 1:
            raise SpecError(f"branches give {', '.join(map(times, ends))}: heights and widths differ")
        return (sum(end[0] for end in ends), *ends[0][1:])


@dataclass(frozen=True)
class Add(Join):
    """The sum of the outputs of the chains, which have one shape."""

    def joined(self, shape: Shape, ends: Sequence[Shape]) -> Shape:
        if len(set(ends)) > 1:
            raise SpecError(f"branches give {', '.join(map(times, ends))}: a sum needs equal shapes")
        return ends[0]


@dataclass(frozen=True)
class Multiply(Join):
    """The product of the outputs of the chains: C x 1 x 1 multiplies every pixel of C x H x W.

    With an empty chain and one that ends in a sigmoid it is squeeze and excitation (Hu et al. 2018).
    """

    def joined(self, shape: Shape, ends: Sequence[Shape]) -> Shape:
        largest = max(ends, key=lambda end: (len(end), end[1:]))
        for end in ends:
            if end != largest and (len(end), end[:1], end[1:]) != (len(largest), largest[:1], (1,) * (len(end) - 1)):
                raise SpecError(
                    f"branches give {', '.join(map(times, ends))}: a product needs equal shapes, or Cx1x1 for some"
                )
        return largest


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

    def joined(self, shape: Shape, ends: Sequence[Shape]) -> Shape:
        if ends[0] != ends[1]:
            raise SpecError(f"the body gives {times(ends[0])}, the shortcut {times(ends[1])}")
        return ends[0]


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
