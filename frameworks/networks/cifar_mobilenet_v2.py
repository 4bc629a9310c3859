"""MobileNetV2 for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: inverted residuals and linear bottlenecks", 2018.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import conv, head
from frameworks.spec import BatchNorm, Layer, Network, ReLU, Residual

# Table 2 of the paper: expansion, maps, blocks and stride. The stride of the second row is 2 in the paper.
_MOBILENET_V2 = (
    *((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def cifar_mobilenet_v2(classes: int = 10, channels: int = 3) -> Network:
    """2,296,922 parameters."""
    layers: list[Layer] = []
    maps, number = 32, 0
    for expansion, width, blocks, stride in _MOBILENET_V2:
        for block in range(blocks):
            layers += _inverted(f"layers.{number}", maps, expansion * maps, width, 1 if block else stride)
            maps, number = width, number + 1
    return Network(
        "cifar_mobilenet_v2",
        (channels, 32, 32),
        [
            *(conv("conv1", 32, 3), BatchNorm("bn1"), ReLU()),
            *layers,
            *(conv("conv2", 1280, 1), BatchNorm("bn2"), ReLU()),
            *head(classes),
        ],
        departures=(
            "the first convolution and the second row of table 2 have stride 1, where the paper has 2",
            "ReLU for ReLU6; no dropout",
            "every block with stride 1 has a shortcut, a 1 x 1 convolution where the channels change",
        ),
        source="Sandler et al. 2018, table 2; kuangliu/pytorch-cifar, models/mobilenetv2.py",
    )


def _inverted(name: str, maps: int, expanded: int, width: int, stride: int) -> list[Layer]:
    """1 x 1 convolution to `expanded` channels, depthwise convolution, 1 x 1 convolution; no ReLU at the end."""
    prefix = f"{name}." if stride > 1 else ""  # without a shortcut the layers are part of the chain
    body: list[Layer] = [
        *(conv(f"{prefix}conv1", expanded, 1), BatchNorm(f"{prefix}bn1"), ReLU()),
        *(conv(f"{prefix}conv2", expanded, 3, stride, groups=expanded), BatchNorm(f"{prefix}bn2"), ReLU()),
        *(conv(f"{prefix}conv3", width, 1), BatchNorm(f"{prefix}bn3")),
    ]
    if stride > 1:
        return body
    shortcut = [conv("shortcut.0", width, 1), BatchNorm("shortcut.1")] if maps != width else []
    return [Residual(name, body, shortcut)]
