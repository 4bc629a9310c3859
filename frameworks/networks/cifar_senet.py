"""SENet for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Hu, Shen and Sun, "Squeeze-and-excitation networks", 2018.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import STRIDES, WIDTHS, excitation, head, preactivated, stages, stem
from frameworks.spec import Layer, Network


def cifar_senet18(classes: int = 10, channels: int = 3) -> Network:
    """The pre-activated ResNet-18 with squeeze and excitation in each block. 11,260,354 parameters."""
    return Network(
        "cifar_senet18",
        (channels, 32, 32),
        [*stem(64), *stages(_excited, (2, 2, 2, 2), WIDTHS, STRIDES, first=64), *head(classes)],
        departures=("pre-activated blocks, where the paper extends the blocks of ResNet",),
        source="Hu et al. 2018; kuangliu/pytorch-cifar, models/senet.py",
    )


def _excited(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    return preactivated(name, maps, width, stride, [excitation("", "fc1", "fc2", width // 16, width)])
