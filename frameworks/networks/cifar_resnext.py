"""ResNeXt for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Xie, Girshick, Dollar, Tu and He, "Aggregated residual transformations for deep neural networks", 2017.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import STRIDES, head, narrowed, stages, stem
from frameworks.spec import Layer, Network


def cifar_resnext29_2x64d(classes: int = 10, channels: int = 3) -> Network:
    """Two groups of 64 channels in the first stage. 9,128,778 parameters."""
    return _resnext("cifar_resnext29_2x64d", 2, 64, classes, channels)


def cifar_resnext29_32x4d(classes: int = 10, channels: int = 3) -> Network:
    """Thirty-two groups of 4 channels in the first stage. 4,774,218 parameters."""
    return _resnext("cifar_resnext29_32x4d", 32, 4, classes, channels)


def _resnext(name: str, groups: int, width: int, classes: int, channels: int) -> Network:
    """groups, width: the cardinality and the channels of a group in the first stage (the paper's C and d)."""

    def block(name: str, maps: int, planes: int, stride: int) -> list[Layer]:
        return narrowed(name, maps, planes, 2 * planes, stride, groups)

    widths = tuple(groups * width * factor for factor in (1, 2, 4))
    return Network(
        name,
        (channels, 32, 32),
        [*stem(64, kernel=1), *stages(block, (3, 3, 3), widths, STRIDES[:3], first=64, expansion=2), *head(classes)],
        departures=("the first convolution is 1 x 1, where the paper has 3 x 3",),
        source="Xie et al. 2017; kuangliu/pytorch-cifar, models/resnext.py",
    )
