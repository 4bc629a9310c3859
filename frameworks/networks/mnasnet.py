"""MnasNet: a network found by search for accuracy at the speed of a phone.

Tan, Chen, Pang, Vasudevan, Sandler, Howard and Le, "MnasNet: platform-aware neural architecture search for mobile",
2019. Parameters have torchvision's names.
"""

from __future__ import annotations

from frameworks.networks.blocks import block, divisible
from frameworks.spec import BatchNorm, Conv, Dense, Dropout, Flatten, GlobalAvgPool, Layer, Network, ReLU

MOMENTUM = 1 - 0.9997  # the paper's 0.9997 is TensorFlow's, the fraction of the old value that is retained

# Window, stride, expansion, maps and repetitions of the stacks.
_STACKS = (
    (3, 2, 3, 24, 3),
    (5, 2, 3, 40, 3),
    (5, 2, 6, 80, 3),
    (3, 1, 6, 96, 2),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def mnasnet0_5(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """Half the maps. 2,218,512 parameters."""
    return _mnasnet("mnasnet0_5", 0.5, classes, (channels, size, size))


def mnasnet0_75(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """Three quarters of the maps. 3,170,208 parameters."""
    return _mnasnet("mnasnet0_75", 0.75, classes, (channels, size, size))


def mnasnet1_0(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """4,383,312 parameters."""
    return _mnasnet("mnasnet1_0", 1.0, classes, (channels, size, size))


def mnasnet1_3(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """1.3 times the maps. 6,282,256 parameters."""
    return _mnasnet("mnasnet1_3", 1.3, classes, (channels, size, size))


def _mnasnet(name: str, width: float, classes: int, image: tuple[int, int, int]) -> Network:
    maps = divisible(16 * width)
    layers: list[Layer] = [
        *_conv("layers.", 0, divisible(32 * width), 3, stride=2),
        ReLU(),
        *_conv("layers.", 3, divisible(32 * width), 3, groups=divisible(32 * width)),
        ReLU(),
        *_conv("layers.", 6, maps, 1),
    ]
    for number, (kernel, stride, expansion, unscaled, count) in enumerate(_STACKS, start=8):
        out = divisible(unscaled * width)
        for index in range(count):
            step = stride if index == 0 else 1
            body = _inverted_residual(maps * expansion, out, kernel, step)
            layers += block(f"layers.{number}.{index}", body, skip=step == 1 and maps == out)
            maps = out
    layers += [
        *_conv("layers.", 14, 1280, 1),
        ReLU(),
        GlobalAvgPool("avgpool"),
        Flatten(),
        Dropout(rate=0.2),
        Dense("classifier.1", classes),
    ]
    return Network(
        name,
        (image[0], 224, 224),
        layers,
        departures=("the network is MnasNet-B1, without squeeze and excitation, not A1 of the paper's figure 7",),
        source="Tan et al. 2019; torchvision 0.28, models/mnasnet.py",
    ).with_input(image)


def _inverted_residual(expanded: int, out: int, kernel: int, stride: int) -> list[Layer]:
    return [
        *_conv("layers.", 0, expanded, 1),
        ReLU(),
        *_conv("layers.", 3, expanded, kernel, stride, groups=expanded),
        ReLU(),
        *_conv("layers.", 6, out, 1),
    ]


def _conv(prefix: str, index: int, maps: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Layer]:
    """A convolution and its batch normalization, as modules `index` and `index + 1` of a sequence."""
    return [
        Conv(f"{prefix}{index}", maps, kernel, stride, kernel // 2, groups, bias=False),
        BatchNorm(f"{prefix}{index + 1}", momentum=MOMENTUM),
    ]
