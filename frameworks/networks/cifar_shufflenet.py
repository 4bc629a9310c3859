"""ShuffleNets for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Zhang, Zhou, Lin and Sun, "ShuffleNet", 2018; Ma, Zhang, Zheng and Sun, "ShuffleNet V2", 2018.
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


def cifar_shufflenet_v2_1(classes: int = 10, channels: int = 3) -> Network:
    """Width 1. 1,263,854 parameters."""
    layers: list[Layer] = []
    for stage, (width, blocks) in enumerate(((116, 3), (232, 7), (464, 3)), start=1):
        maps = 24 if stage == 1 else width // 2
        layers += _halving(f"layer{stage}.0", maps, width // 2)
        for number in range(1, blocks + 1):
            layers += _split(f"layer{stage}.{number}", width // 2)
    return Network(
        "cifar_shufflenet_v2_1",
        (channels, 32, 32),
        [
            *(conv("conv1", 24, 3), BatchNorm("bn1"), ReLU()),
            *layers,
            *(conv("conv2", 1024, 1), BatchNorm("bn2"), ReLU()),
            *head(classes),
        ],
        departures=("a first convolution with stride 1 and no pool after it: 32 x 32 images",),
        source="Ma et al. 2018, table 5; kuangliu/pytorch-cifar, models/shufflenetv2.py",
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


def _halving(name: str, maps: int, half: int) -> list[Layer]:
    """Figure 3 (d) of the ShuffleNet V2 paper: two branches of stride 2."""
    left = [
        *(conv("conv1", maps, 3, 2, groups=maps), BatchNorm("bn1")),
        *(conv("conv2", half, 1), BatchNorm("bn2"), ReLU()),
    ]
    right = [
        *(conv("conv3", half, 1), BatchNorm("bn3"), ReLU()),
        *(conv("conv4", half, 3, 2, groups=half), BatchNorm("bn4")),
        *(conv("conv5", half, 1), BatchNorm("bn5"), ReLU()),
    ]
    return [Concat(name, [left, right]), shuffled(f"{name}.shuffle", 2 * half, 2)]


def _split(name: str, half: int) -> list[Layer]:
    """Figure 3 (c) of the ShuffleNet V2 paper: half of the channels pass unchanged."""
    right = [
        Select("right", tuple(range(half, 2 * half))),
        *(conv("conv1", half, 1), BatchNorm("bn1"), ReLU()),
        *(conv("conv2", half, 3, groups=half), BatchNorm("bn2")),
        *(conv("conv3", half, 1), BatchNorm("bn3"), ReLU()),
    ]
    return [
        Concat(name, [[Select("left", tuple(range(half)))], right]),
        shuffled(f"{name}.shuffle", 2 * half, 2),
    ]


def shuffled(name: str, maps: int, groups: int) -> Select:
    """One channel of each group in turn: the first of every group, the second of every group, and so on."""
    size = maps // groups
    return Select(name, tuple(group * size + place for place in range(size) for group in range(groups)))
