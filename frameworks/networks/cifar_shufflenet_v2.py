"""ShuffleNet V2 for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Ma, Zhang, Zheng and Sun, "ShuffleNet V2: practical guidelines for efficient CNN architecture design", 2018.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import conv, head
from frameworks.networks.cifar_shufflenet import shuffled
from frameworks.spec import BatchNorm, Concat, Layer, Network, ReLU, Select


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
