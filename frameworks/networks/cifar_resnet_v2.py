"""The pre-activated ResNet-18 for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", 2016.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import STRIDES, WIDTHS, conv, head, preactivated, stages
from frameworks.spec import Layer, Network


def cifar_preact_resnet18(classes: int = 10, channels: int = 3) -> Network:
    """Batch normalization and ReLU come before each convolution. 11,171,146 parameters."""
    return Network(
        "cifar_preact_resnet18",
        (channels, 32, 32),
        [
            conv("conv1", 64, 3),
            *stages(_preactivated, (2, 2, 2, 2), WIDTHS, STRIDES, first=64),
            *head(classes),
        ],
        departures=("the paper also has batch normalization and ReLU after the last block",),
        source="He et al. 2016; kuangliu/pytorch-cifar, models/preact_resnet.py",
    )


def _preactivated(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    return preactivated(name, maps, width, stride, [])
