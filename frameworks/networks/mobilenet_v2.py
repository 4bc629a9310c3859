"""MobileNetV2: residual blocks whose ends are narrow and whose middle is wide.

Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: inverted residuals and linear bottlenecks", 2018. Parameters
have torchvision's names.
"""

from __future__ import annotations

from functools import partial

from frameworks.networks.blocks import Part, block, conv_norm, divisible, sequence
from frameworks.spec import BatchNorm, Conv, Dense, Dropout, Flatten, GlobalAvgPool, Layer, Network, ReLU6

# Table 2 of the paper: expansion t, maps c, repetitions n, and the stride s of the first.
_TABLE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(classes: int = 1000, channels: int = 3, size: int = 224, width: float = 1.0) -> Network:
    """3,504,872 parameters.

    width: the factor of all maps, rounded to multiples of 8.
    """
    maps = divisible(32 * width)
    last = divisible(1280 * max(1.0, width))
    layers: list[Layer] = conv_norm("features.0", maps, 3, 2, activation=ReLU6())
    number = 1
    for expansion, unscaled, count, stride in _TABLE:
        out = divisible(unscaled * width)
        for index in range(count):
            step = stride if index == 0 else 1
            body = _inverted_residual(maps, expansion, out, step)
            layers += block(f"features.{number}", body, skip=step == 1 and maps == out)
            maps, number = out, number + 1
    layers += [
        *conv_norm(f"features.{number}", last, activation=ReLU6()),
        GlobalAvgPool("avgpool"),
        Flatten(),
        Dropout(rate=0.2),
        Dense("classifier.1", classes),
    ]
    return Network(
        "mobilenet_v2",
        (channels, 224, 224),
        layers,
        departures=("stride 2 has padding 1 on all sides; TensorFlow pads the bottom and the right alone",),
        source="Sandler et al. 2018, table 2; torchvision 0.28, models/mobilenetv2.py",
    ).with_input((channels, size, size))


def _inverted_residual(maps: int, expansion: int, out: int, stride: int) -> list[Layer]:
    """Table 1 of the paper: expand, filter each channel alone, and project without an activation."""
    wide = maps * expansion
    parts: list[Part] = [partial(conv_norm, channels=wide, activation=ReLU6())] if expansion > 1 else []
    parts.append(partial(conv_norm, channels=wide, kernel=3, stride=stride, groups=wide, activation=ReLU6()))
    parts.append(lambda name: [Conv(name, out, 1, bias=False)])
    parts.append(lambda name: [BatchNorm(name)])
    return sequence("conv", parts)
