"""MobileNetV3: MobileNetV2's blocks with squeeze and excitation and a piecewise linear swish, sizes found by search.

Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le and Adam, "Searching for MobileNetV3", 2019.
Parameters have torchvision's names.
"""

from __future__ import annotations

from functools import partial

from frameworks.networks.blocks import Part, block, conv_norm, divisible, sequence, squeeze_excitation
from frameworks.spec import (
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    HardSigmoid,
    HardSwish,
    Layer,
    Network,
    ReLU,
)

# Window, expansion size, maps, squeeze and excitation, activation (hard swish or ReLU), stride.
_Row = tuple[int, int, int, bool, str, int]

_LARGE: tuple[_Row, ...] = (  # table 1 of the paper
    (3, 16, 16, False, "RE", 1),
    (3, 64, 24, False, "RE", 2),
    (3, 72, 24, False, "RE", 1),
    (5, 72, 40, True, "RE", 2),
    (5, 120, 40, True, "RE", 1),
    (5, 120, 40, True, "RE", 1),
    (3, 240, 80, False, "HS", 2),
    (3, 200, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 480, 112, True, "HS", 1),
    (3, 672, 112, True, "HS", 1),
    (5, 672, 160, True, "HS", 2),
    (5, 960, 160, True, "HS", 1),
    (5, 960, 160, True, "HS", 1),
)
_SMALL: tuple[_Row, ...] = (  # table 2
    (3, 16, 16, True, "RE", 2),
    (3, 72, 24, False, "RE", 2),
    (3, 88, 24, False, "RE", 1),
    (5, 96, 40, True, "HS", 2),
    (5, 240, 40, True, "HS", 1),
    (5, 240, 40, True, "HS", 1),
    (5, 120, 48, True, "HS", 1),
    (5, 144, 48, True, "HS", 1),
    (5, 288, 96, True, "HS", 2),
    (5, 576, 96, True, "HS", 1),
    (5, 576, 96, True, "HS", 1),
)
_conv = partial(conv_norm, eps=1e-3, momentum=0.01)


def mobilenet_v3_small(classes: int = 1000, channels: int = 3, size: int = 224, width: float = 1.0) -> Network:
    """2,542,856 parameters. width: the factor of all maps."""
    return _mobilenet("mobilenet_v3_small", _SMALL, 1024, classes, (channels, size, size), width)


def mobilenet_v3_large(classes: int = 1000, channels: int = 3, size: int = 224, width: float = 1.0) -> Network:
    """5,483,032 parameters. width: the factor of all maps."""
    return _mobilenet("mobilenet_v3_large", _LARGE, 1280, classes, (channels, size, size), width)


def _mobilenet(
    name: str, table: tuple[_Row, ...], units: int, classes: int, image: tuple[int, int, int], width: float
) -> Network:
    maps = divisible(16 * width)
    layers: list[Layer] = _conv("features.0", maps, 3, 2, activation=HardSwish())
    for number, (kernel, unscaled, unscaled_out, squeezes, activation, stride) in enumerate(table, start=1):
        expanded, out = divisible(unscaled * width), divisible(unscaled_out * width)
        shape = HardSwish() if activation == "HS" else ReLU()
        body = _inverted_residual(maps, expanded, out, kernel, stride, squeezes, shape)
        layers += block(f"features.{number}", body, skip=stride == 1 and maps == out)
        maps = out
    layers += [
        *_conv(f"features.{len(table) + 1}", 6 * maps, activation=HardSwish()),
        GlobalAvgPool("avgpool"),
        Flatten(),
        Dense("classifier.0", divisible(units * width)),
        HardSwish(),
        Dropout(rate=0.2),
        Dense("classifier.3", classes),
    ]
    return Network(
        name,
        (image[0], 224, 224),
        layers,
        departures=("stride 2 has padding on all sides; TensorFlow pads the bottom and the right alone",),
        source="Howard et al. 2019, tables 1 and 2; torchvision 0.28, models/mobilenetv3.py",
    ).with_input(image)


def _inverted_residual(
    maps: int, expanded: int, out: int, kernel: int, stride: int, squeezes: bool, activation: Layer
) -> list[Layer]:
    """Figure 4 of the paper."""
    parts: list[Part] = [partial(_conv, channels=expanded, activation=activation)] if expanded != maps else []
    parts.append(
        partial(_conv, channels=expanded, kernel=kernel, stride=stride, groups=expanded, activation=activation)
    )
    if squeezes:
        squeezed = divisible(expanded // 4)
        parts.append(partial(squeeze_excitation, channels=expanded, squeezed=squeezed, gate=HardSigmoid()))
    parts.append(partial(_conv, channels=out))
    return sequence("block", parts)
