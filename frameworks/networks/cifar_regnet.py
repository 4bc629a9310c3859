"""RegNet for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Radosavovic, Kosaraju, Girshick, He and Dollar, "Designing network design spaces", 2020.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import excitation, head, narrowed, stages, stem
from frameworks.spec import Layer, Network


def cifar_regnet_x_200mf(classes: int = 10, channels: int = 3) -> Network:
    """2,321,946 parameters."""
    return _regnet("cifar_regnet_x_200mf", (1, 1, 4, 7), (24, 56, 152, 368), 8, False, classes, channels)


def cifar_regnet_x_400mf(classes: int = 10, channels: int = 3) -> Network:
    """4,779,338 parameters."""
    return _regnet("cifar_regnet_x_400mf", (1, 2, 7, 12), (32, 64, 160, 384), 16, False, classes, channels)


def cifar_regnet_y_400mf(classes: int = 10, channels: int = 3) -> Network:
    """RegNetX-400MF with squeeze and excitation. 5,714,362 parameters."""
    return _regnet("cifar_regnet_y_400mf", (1, 2, 7, 12), (32, 64, 160, 384), 16, True, classes, channels)


def _regnet(
    name: str,
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    group_width: int,
    excited: bool,
    classes: int,
    channels: int,
) -> Network:
    """group_width: the channels of a group; excited: squeeze and excitation to a quarter of the block's input."""

    def block(name: str, maps: int, width: int, stride: int) -> list[Layer]:
        weighted = [excitation("se", "se1", "se2", round(maps / 4), width)] if excited else []
        return narrowed(name, maps, width, width, stride, width // group_width, weighted)

    return Network(
        name,
        (channels, 32, 32),
        [*stem(64), *stages(block, depths, widths, (1, 1, 2, 2), first=64), *head(classes)],
        departures=("a first convolution with 64 channels for 32, stride 1 in it and in the first two stages",),
        source="Radosavovic et al. 2020; kuangliu/pytorch-cifar, models/regnet.py",
    )
