"""ResNeXt: residual networks whose 3 x 3 convolutions have groups.

Xie, Girshick, Dollar, Tu and He, "Aggregated residual transformations for deep neural networks", 2017. Parameters have
torchvision's names.
"""

from __future__ import annotations

from functools import partial

from frameworks.networks.resnet import bottleneck, residual_network
from frameworks.spec import Network

_SOURCE = "Xie et al. 2017, table 1; torchvision 0.28, models/resnet.py"


def resnext50_32x4d(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """32 groups of 4 maps. 25,028,904 parameters."""
    return _resnext("resnext50_32x4d", (3, 4, 6, 3), 32, 4, classes, (channels, size, size))


def resnext101_32x8d(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """32 groups of 8 maps. 88,791,336 parameters."""
    return _resnext("resnext101_32x8d", (3, 4, 23, 3), 32, 8, classes, (channels, size, size))


def resnext101_64x4d(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """64 groups of 4 maps. 83,455,272 parameters."""
    return _resnext("resnext101_64x4d", (3, 4, 23, 3), 64, 4, classes, (channels, size, size))


def _resnext(
    name: str, blocks: tuple[int, ...], groups: int, group_width: int, classes: int, image: tuple[int, int, int]
) -> Network:
    block = partial(bottleneck, groups=groups, group_width=group_width)
    return residual_network(name, block, blocks, classes, image[0], source=_SOURCE).with_input(image)
