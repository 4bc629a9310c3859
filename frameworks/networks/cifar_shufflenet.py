"""ShuffleNet for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Zhang, Zhou, Lin and Sun, "ShuffleNet: an extremely efficient convolutional neural network for mobile devices", 2018.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import conv, head
from frameworks.spec import AvgPool, BatchNorm, Concat, Layer, Network, ReLU, Residual, Select


def cifar_shufflenet_g2(classes: int = 10, channels: int = 3) -> Network:
    """Two groups. 887,582 parameters."""
    groups = 2
    layers: list[Layer] = []
    maps = 24
    for stage, (width, blocks) in enumerate(((200, 4), (400, 8), (800, 4)), start=1):
        for number in range(blocks):
            layers += _shuffled(f"layer{stage}.{number}", maps, width, groups, halve=number == 0)
            maps = width
    return Network(
        "cifar_shufflenet_g2",
        (channels, 32, 32),
        [conv("conv1", 24, 1), BatchNorm("bn1"), ReLU(), *layers, *head(classes)],
        departures=(
            "a first convolution of 1 x 1 and stride 1 for 3 x 3 and stride 2 with a pool: 32 x 32 images",
            "a ReLU after the depthwise convolution, which the paper does not have",
        ),
        source="Zhang et al. 2018; kuangliu/pytorch-cifar, models/shufflenet.py",
    )


def _shuffled(name: str, maps: int, width: int, groups: int, halve: bool) -> list[Layer]:
    """Grouped 1 x 1 convolutions with a shuffle of the channels between them (figure 2 of the ShuffleNet paper).

    halve: stride 2, and the mean of 3 x 3 windows of the input beside the result instead of a sum.
    """
    given = width - maps if halve else width
    narrow = given // 4
    first = 1 if maps == 24 else groups  # the input of the first block has too few channels for groups
    shuffle = [shuffled("shuffle1", narrow, first)] if first > 1 else []
    body = [
        *(conv("conv1", narrow, 1, groups=first), BatchNorm("bn1"), ReLU()),
        *shuffle,
        *(conv("conv2", narrow, 3, 2 if halve else 1, groups=narrow), BatchNorm("bn2"), ReLU()),
        *(conv("conv3", given, 1, groups=groups), BatchNorm("bn3")),
    ]
    if halve:
        return [Concat(name, [body, [AvgPool("shortcut.0", 3, 2, padding=1)]]), ReLU()]
    return [Residual(name, body), ReLU()]


def shuffled(name: str, maps: int, groups: int) -> Select:
    """One channel of each group in turn: the first of every group, the second of every group, and so on."""
    size = maps // groups
    return Select(name, tuple(group * size + place for place in range(size) for group in range(groups)))
