"""Residual networks for 32 x 32 images: the paper's and, in its names, those of kuangliu/pytorch-cifar.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import (
    STRIDES,
    WIDTHS,
    Block,
    basic,
    head,
    narrowed,
    stages,
    stem,
    two_convolutions,
)
from frameworks.spec import AvgPool, Layer, Network, ReLU, Residual, Select


def cifar_resnet20(classes: int = 10, channels: int = 3) -> Network:
    """n = 3. 269,722 parameters."""
    return _paper("cifar_resnet20", 3, classes, channels)


def cifar_resnet32(classes: int = 10, channels: int = 3) -> Network:
    """n = 5. 464,154 parameters."""
    return _paper("cifar_resnet32", 5, classes, channels)


def cifar_resnet44(classes: int = 10, channels: int = 3) -> Network:
    """n = 7. 658,586 parameters."""
    return _paper("cifar_resnet44", 7, classes, channels)


def cifar_resnet56(classes: int = 10, channels: int = 3) -> Network:
    """n = 9. 853,018 parameters."""
    return _paper("cifar_resnet56", 9, classes, channels)


def cifar_resnet110(classes: int = 10, channels: int = 3) -> Network:
    """n = 18. 1,727,962 parameters."""
    return _paper("cifar_resnet110", 18, classes, channels)


def cifar_resnet18(classes: int = 10, channels: int = 3) -> Network:
    """11,173,962 parameters."""
    return _resnet("cifar_resnet18", basic, (2, 2, 2, 2), 512, classes, channels)


def cifar_resnet50(classes: int = 10, channels: int = 3) -> Network:
    """23,520,842 parameters."""
    return _resnet("cifar_resnet50", _bottleneck, (3, 4, 6, 3), 2048, classes, channels)


def cifar_resnet101(classes: int = 10, channels: int = 3) -> Network:
    """42,512,970 parameters."""
    return _resnet("cifar_resnet101", _bottleneck, (3, 4, 23, 3), 2048, classes, channels)


def _paper(name: str, blocks: int, classes: int, channels: int) -> Network:
    """6n + 2 weighted layers, of which 2n have 16, 32 and 64 maps of 32, 16 and 8 rows. blocks: the paper's n."""
    layers = stages(_option_a, (blocks,) * 3, (16, 32, 64), STRIDES[:3], first=16)
    return Network(
        name,
        (channels, 32, 32),
        [*stem(16), *layers, *head(classes)],
        departures=("the paper does not say where the zeros of the shortcuts go: here they follow the channels",),
        source="He et al. 2015, section 4.2, shortcuts of option A",
    )


def _option_a(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    """The shortcut has no parameters: every second row and column, and zeros for the channels that are new."""
    shortcut: list[Layer] = []
    if stride != 1 or maps != width:
        zeros = (None,) * (width - maps)
        shortcut = [AvgPool("shortcut.pixels", 1, stride), Select("shortcut.zeros", (*range(maps), *zeros))]
    return [Residual(name, two_convolutions(width, stride), shortcut), ReLU()]


def _resnet(name: str, block: Block, blocks: tuple[int, ...], maps: int, classes: int, channels: int) -> Network:
    """maps: the channels that the last block gives."""
    layers = stages(block, blocks, WIDTHS, STRIDES, first=64, expansion=maps // WIDTHS[-1])
    return Network(
        name,
        (channels, 32, 32),
        [*stem(64), *layers, *head(classes)],
        departures=("a 3 x 3 convolution with stride 1 for the 7 x 7 with stride 2 and the pool: 32 x 32 images",),
        source="He et al. 2015; kuangliu/pytorch-cifar, models/resnet.py",
    )


def _bottleneck(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    return narrowed(name, maps, width, 4 * width, stride)
