"""Networks of depthwise convolutions for 32 x 32 images, in the forms of kuangliu/pytorch-cifar and under its names.

Howard et al., "MobileNets", 2017; Sandler et al., "MobileNetV2", 2018; Zhang et al., "ShuffleNet", 2018; Ma et al.,
"ShuffleNet V2", 2018; Tan and Le, "EfficientNet", 2019. Fewer layers than in the papers halve height and width.
"""

from __future__ import annotations

from frameworks.networks.cifar_residual import conv, head
from frameworks.spec import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Multiply,
    Network,
    ReLU,
    Residual,
    Select,
    Sigmoid,
    SiLU,
)

# Maps and stride of each depthwise separable convolution.
_MOBILENET = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)),
    *((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    *((1024, 2), (1024, 1)),
)
# Table 2 of the paper: expansion, maps, blocks and stride. The stride of the second row is 2 in the paper.
_MOBILENET_V2 = (
    *((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
# Table 1 of the paper: expansion, kernel, maps, blocks and stride.
_EFFICIENTNET_B0 = (
    *((1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2)),
    *((6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1)),
)


def cifar_mobilenet(classes: int = 10, channels: int = 3) -> Network:
    """3,217,226 parameters."""
    layers: list[Layer] = []
    maps = 32
    for number, (width, stride) in enumerate(_MOBILENET):
        layers += _separable(f"layers.{number}", maps, width, stride)
        maps = width
    return Network(
        "cifar_mobilenet",
        (channels, 32, 32),
        [conv("conv1", 32, 3), BatchNorm("bn1"), ReLU(), *layers, *head(classes)],
        departures=("the first convolution has stride 1, where the paper has 2",),
        source="Howard et al. 2017; kuangliu/pytorch-cifar, models/mobilenet.py",
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


# --- blocks -----------------------------------------------------------------------------------------------------------


def _separable(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    """A depthwise convolution, then a 1 x 1 convolution."""
    return [
        *(conv(f"{name}.conv1", maps, 3, stride, groups=maps), BatchNorm(f"{name}.bn1"), ReLU()),
        *(conv(f"{name}.conv2", width, 1), BatchNorm(f"{name}.bn2"), ReLU()),
    ]


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
