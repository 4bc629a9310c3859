"""ShuffleNet V2: half of the channels pass each unit unchanged; no convolution of 1 x 1 windows has groups.

Ma, Zhang, Zheng and Sun, "ShuffleNet V2: practical guidelines for efficient CNN architecture design", 2018. Parameters
have torchvision's names.
"""

from __future__ import annotations

from frameworks.networks.blocks import shuffle
from frameworks.spec import (
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Network,
    ReLU,
    Select,
)


def shufflenet_v2_x0_5(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """1,366,792 parameters."""
    return _shufflenet("shufflenet_v2_x0_5", (48, 96, 192, 1024), classes, (channels, size, size))


def shufflenet_v2_x1_0(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """2,278,604 parameters."""
    return _shufflenet("shufflenet_v2_x1_0", (116, 232, 464, 1024), classes, (channels, size, size))


def shufflenet_v2_x1_5(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """3,503,624 parameters."""
    return _shufflenet("shufflenet_v2_x1_5", (176, 352, 704, 1024), classes, (channels, size, size))


def shufflenet_v2_x2_0(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """7,393,996 parameters."""
    return _shufflenet("shufflenet_v2_x2_0", (244, 488, 976, 2048), classes, (channels, size, size))


def _shufflenet(name: str, widths: tuple[int, ...], classes: int, image: tuple[int, int, int]) -> Network:
    """Table 5 of the paper. widths: the maps of stages 2 to 4 and of the last convolution."""
    layers: list[Layer] = [
        *_conv("conv1.", 0, 24, 3, 2),
        ReLU(),
        MaxPool("maxpool", 3, 2, padding=1, out=(24, 56, 56)),
    ]
    maps = 24
    for stage, (count, side, width) in enumerate(zip((4, 8, 4), (28, 14, 7), widths), start=2):
        for number in range(count):
            layers += _unit(f"stage{stage}.{number}", maps, width, side, halves=number == 0)
            maps = width
    layers += [*_conv("conv5.", 0, widths[-1], 1), ReLU(), GlobalAvgPool("avgpool"), Flatten(), Dense("fc", classes)]
    return Network(
        name,
        (image[0], 224, 224),
        layers,
        source="Ma et al. 2018, table 5; torchvision 0.28, models/shufflenetv2.py",
    ).with_input(image)


def _unit(name: str, maps: int, out: int, side: int, halves: bool) -> list[Layer]:
    """Figure 3 of the paper, (d) where height and width halve, else (c)."""
    half = out // 2
    stride = 2 if halves else 1
    left: list[Layer] = [Select("left", tuple(range(half)))]
    right: list[Layer] = [Select("right", tuple(range(half, out)))]
    if halves:
        left = [*_conv("branch1.", 0, maps, 3, 2, groups=maps), *_conv("branch1.", 2, half, 1), ReLU()]
        right = []
    right += [
        *_conv("branch2.", 0, half, 1),
        ReLU(),
        *_conv("branch2.", 3, half, 3, stride, groups=half),
        *_conv("branch2.", 5, half, 1),
        ReLU(),
    ]
    return [Concat(name, [left, right], out=(out, side, side)), shuffle(f"{name}.shuffle", out, 2)]


def _conv(prefix: str, index: int, maps: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Layer]:
    """A convolution and its batch normalization, as modules `index` and `index + 1` of a sequence."""
    return [
        Conv(f"{prefix}{index}", maps, kernel, stride, kernel // 2, groups, bias=False),
        BatchNorm(f"{prefix}{index + 1}"),
    ]
