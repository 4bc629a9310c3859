"""Rows that several papers share, under the names that torchvision gives their parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from frameworks.spec import (
    BatchNorm,
    Conv,
    GlobalAvgPool,
    Layer,
    Multiply,
    Padding,
    Pair,
    ReLU,
    Residual,
    Select,
    Sigmoid,
    StochasticDepth,
    pair,
)

# Builds a row of layers from its name.
Part: TypeAlias = Callable[[str], list[Layer]]


def divisible(width: float, divisor: int = 8) -> int:
    """The multiple of `divisor` that is nearest to a scaled width, or the next if that is below 90 % of the width.

    This is the rounding of TensorFlow's MobileNet code, which the papers do not print.
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def conv_norm(
    name: str,
    channels: int,
    kernel: Pair = 1,
    stride: int = 1,
    *,
    groups: int = 1,
    padding: Padding | None = None,
    activation: Layer | None = None,
    eps: float = 1e-5,
    momentum: float = 0.1,
) -> list[Layer]:
    """A convolution without bias, batch normalization and the activation: name.0, name.1.

    padding: half the window on all sides if None.
    """
    vertical, horizontal = pair(kernel)
    around = (vertical // 2, horizontal // 2) if padding is None else padding
    convolution = Conv(f"{name}.0", channels, kernel, stride, around, groups, bias=False)
    return [convolution, BatchNorm(f"{name}.1", eps, momentum), *([activation] if activation else [])]


def squeeze_excitation(
    name: str, channels: int, squeezed: int, activation: Layer | None = None, gate: Layer | None = None
) -> list[Layer]:
    """Each channel times a factor that two 1 x 1 convolutions compute from the means (Hu et al. 2018, figure 2).

    activation: between the convolutions, ReLU if None. gate: gives the factor, a sigmoid if None.
    """
    excitation = [
        GlobalAvgPool("avgpool"),
        Conv("fc1", squeezed, 1),
        activation or ReLU(),
        Conv("fc2", channels, 1),
        gate or Sigmoid(),
    ]
    return [Multiply(name, [[], excitation])]


def sequence(name: str, parts: Sequence[Part]) -> list[Layer]:
    """The layers of all parts, which are called name.0, name.1, ..."""
    return [layer for number, part in enumerate(parts) for layer in part(f"{name}.{number}")]


def block(name: str, body: Sequence[Layer], skip: bool, drop: float = 0.0) -> list[Layer]:
    """A residual block; without `skip`, where maps or size change, the body alone under the same names.

    drop: probability of stochastic depth, which only a block with `skip` has.
    """
    if skip:
        return [Residual(name, [*body, *([StochasticDepth(rate=drop)] if drop else [])])]
    return [replace(layer, name=f"{name}.{layer.name}") if layer.name else layer for layer in body]


def shuffle(name: str, channels: int, groups: int) -> Select:
    """The first channel of each group, then the second of each, and so on (Zhang et al. 2018, figure 1)."""
    size = channels // groups
    return Select(name, tuple(group * size + place for place in range(size) for group in range(groups)))
