"""EfficientNet-B0 for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import conv
from frameworks.spec import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Multiply,
    Network,
    Residual,
    Sigmoid,
    SiLU,
)

# Table 1 of the paper: expansion, kernel, maps, blocks and stride.
_EFFICIENTNET_B0 = (
    *((1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2)),
    *((6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1)),
)


def cifar_efficientnet_b0(classes: int = 10, channels: int = 3) -> Network:
    """3,598,598 parameters."""
    layers: list[Layer] = []
    maps, number = 32, 0
    for expansion, kernel, width, blocks, stride in _EFFICIENTNET_B0:
        for block in range(blocks):
            layers += _mbconv(f"layers.{number}", maps, expansion, width, kernel, 1 if block else stride)
            maps, number = width, number + 1
    return Network(
        "cifar_efficientnet_b0",
        (channels, 32, 32),
        [
            *(conv("conv1", 32, 3), BatchNorm("bn1"), SiLU()),
            *layers,
            GlobalAvgPool("mean"),
            Flatten(),
            Dropout(rate=0.2),
            Dense("linear", classes),
        ],
        departures=(
            "the first convolution has stride 1, where the paper has 2",
            "no 1 x 1 convolution to 1,280 channels before the mean",
            "no stochastic depth: pytorch-cifar has a rate for it, which is 0 in every block",
            "the first block has no 1 x 1 convolution before the depthwise one: pytorch-cifar creates its 1,088 "
            "parameters but does not use them",
        ),
        source="Tan and Le 2019, table 1; kuangliu/pytorch-cifar, models/efficientnet.py",
    )


def _mbconv(name: str, maps: int, expansion: int, width: int, kernel: int, stride: int) -> list[Layer]:
    """MobileNetV2's block with squeeze and excitation to a quarter of the block's input, and SiLU for ReLU."""
    expanded = expansion * maps
    identity = stride == 1 and maps == width
    prefix = "" if identity else f"{name}."
    weights = [GlobalAvgPool(), Conv("se1", maps // 4, 1), SiLU(), Conv("se2", expanded, 1), Sigmoid()]
    body: list[Layer] = []
    if expansion > 1:
        body += [conv(f"{prefix}conv1", expanded, 1), BatchNorm(f"{prefix}bn1"), SiLU()]
    body += [
        *(conv(f"{prefix}conv2", expanded, kernel, stride, groups=expanded), BatchNorm(f"{prefix}bn2"), SiLU()),
        Multiply(f"{prefix}se", [[], weights]),
        *(conv(f"{prefix}conv3", width, 1), BatchNorm(f"{prefix}bn3")),
    ]
    return [Residual(name, body)] if identity else body
