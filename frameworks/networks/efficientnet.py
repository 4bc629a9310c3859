"""EfficientNet: depth, width and image size grow together.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019. Tan and Le,
"EfficientNetV2: smaller models and faster training", 2021. Parameters have torchvision's names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

from frameworks.networks.blocks import Part, block, conv_norm, divisible, sequence, squeeze_excitation
from frameworks.spec import Dense, Dropout, Flatten, GlobalAvgPool, Layer, Network, Padding, SiLU, same

LAST_DROP = 0.2  # towards this probability of stochastic depth the blocks go in equal steps


@dataclass(frozen=True)
class _Stage:
    """A row of a table. fused: a full convolution in place of the expansion and the convolution by channel."""

    expansion: int
    kernel: int
    stride: int
    maps: int
    count: int
    fused: bool = False


_fused = partial(_Stage, fused=True)

_B0 = (  # table 1 of the first paper
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)
_V2_S = (  # table 4 of the second paper
    _fused(1, 3, 1, 24, 2),
    _fused(4, 3, 2, 48, 4),
    _fused(4, 3, 2, 64, 4),
    _Stage(4, 3, 2, 128, 6),
    _Stage(6, 3, 1, 160, 9),
    _Stage(6, 3, 2, 256, 15),
)
_V2_M = (
    _fused(1, 3, 1, 24, 3),
    _fused(4, 3, 2, 48, 5),
    _fused(4, 3, 2, 80, 5),
    _Stage(4, 3, 2, 160, 7),
    _Stage(6, 3, 1, 176, 14),
    _Stage(6, 3, 2, 304, 18),
    _Stage(6, 3, 1, 512, 5),
)
_V2_L = (
    _fused(1, 3, 1, 32, 4),
    _fused(4, 3, 2, 64, 7),
    _fused(4, 3, 2, 96, 7),
    _Stage(4, 3, 2, 192, 10),
    _Stage(6, 3, 1, 224, 19),
    _Stage(6, 3, 2, 384, 25),
    _Stage(6, 3, 1, 640, 7),
)
_V2_B0 = (  # of keras.applications and of google/automl, the authors' code
    _fused(1, 3, 1, 16, 1),
    _fused(4, 3, 2, 32, 2),
    _fused(4, 3, 2, 48, 2),
    _Stage(4, 3, 2, 96, 3),
    _Stage(6, 3, 1, 112, 5),
    _Stage(6, 3, 2, 192, 8),
)
_LAST = 1280  # maps of the last convolution of B0 and of version 2


def efficientnet_b0(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """5,288,548 parameters."""
    return _scaled("efficientnet_b0", 1.0, 1.0, 0.2, classes, (channels, size, size))


def efficientnet_b1(classes: int = 1000, channels: int = 3, size: int = 240) -> Network:
    """7,794,184 parameters."""
    return _scaled("efficientnet_b1", 1.0, 1.1, 0.2, classes, (channels, size, size))


def efficientnet_b2(classes: int = 1000, channels: int = 3, size: int = 260) -> Network:
    """9,109,994 parameters."""
    return _scaled("efficientnet_b2", 1.1, 1.2, 0.3, classes, (channels, size, size))


def efficientnet_b3(classes: int = 1000, channels: int = 3, size: int = 300) -> Network:
    """12,233,232 parameters."""
    return _scaled("efficientnet_b3", 1.2, 1.4, 0.3, classes, (channels, size, size))


def efficientnet_b4(classes: int = 1000, channels: int = 3, size: int = 380) -> Network:
    """19,341,616 parameters."""
    return _scaled("efficientnet_b4", 1.4, 1.8, 0.4, classes, (channels, size, size))


def efficientnet_b5(classes: int = 1000, channels: int = 3, size: int = 456) -> Network:
    """30,389,784 parameters."""
    return _scaled("efficientnet_b5", 1.6, 2.2, 0.4, classes, (channels, size, size), eps=1e-3, momentum=0.01)


def efficientnet_b6(classes: int = 1000, channels: int = 3, size: int = 528) -> Network:
    """43,040,704 parameters."""
    return _scaled("efficientnet_b6", 1.8, 2.6, 0.5, classes, (channels, size, size), eps=1e-3, momentum=0.01)


def efficientnet_b7(classes: int = 1000, channels: int = 3, size: int = 600) -> Network:
    """66,347,960 parameters."""
    return _scaled("efficientnet_b7", 2.0, 3.1, 0.5, classes, (channels, size, size), eps=1e-3, momentum=0.01)


def efficientnet_v2_s(classes: int = 1000, channels: int = 3, size: int = 384) -> Network:
    """21,458,488 parameters."""
    return _version2("efficientnet_v2_s", _V2_S, 24, 0.2, classes, (channels, size, size))


def efficientnet_v2_m(classes: int = 1000, channels: int = 3, size: int = 480) -> Network:
    """54,139,356 parameters."""
    return _version2("efficientnet_v2_m", _V2_M, 24, 0.3, classes, (channels, size, size))


def efficientnet_v2_l(classes: int = 1000, channels: int = 3, size: int = 480) -> Network:
    """118,515,272 parameters."""
    return _version2("efficientnet_v2_l", _V2_L, 32, 0.4, classes, (channels, size, size))


def efficientnet_v2_b0(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """7,139,704 parameters."""
    return _version2_scaled("efficientnet_v2_b0", 1.0, 1.0, classes, (channels, size, size))


def efficientnet_v2_b1(classes: int = 1000, channels: int = 3, size: int = 240) -> Network:
    """8,141,052 parameters."""
    return _version2_scaled("efficientnet_v2_b1", 1.0, 1.1, classes, (channels, size, size))


def efficientnet_v2_b2(classes: int = 1000, channels: int = 3, size: int = 260) -> Network:
    """10,096,086 parameters."""
    return _version2_scaled("efficientnet_v2_b2", 1.1, 1.2, classes, (channels, size, size))


def efficientnet_v2_b3(classes: int = 1000, channels: int = 3, size: int = 300) -> Network:
    """14,358,406 parameters."""
    return _version2_scaled("efficientnet_v2_b3", 1.2, 1.4, classes, (channels, size, size))


def _scaled(
    name: str,
    width: float,
    depth: float,
    dropout: float,
    classes: int,
    image: tuple[int, int, int],
    eps: float = 1e-5,
    momentum: float = 0.1,
) -> Network:
    """B0 with `width` times the maps, in multiples of 8, and `depth` times the blocks."""
    stages = [replace(row, maps=divisible(row.maps * width), count=ceil(row.count * depth)) for row in _B0]
    return Network(
        name,
        image,
        _layers(stages, divisible(32 * width), 4 * stages[-1].maps, dropout, classes, eps, momentum),
        departures=(
            "stride 2 has padding on all sides; TensorFlow pads the bottom and the right more",
            *(("torchvision's weights are for images of 288 x 288",) * name.endswith("b2")),
        ),
        source="Tan and Le 2019, table 1; torchvision 0.28, models/efficientnet.py",
    )


def _version2(
    name: str, stages: Sequence[_Stage], stem: int, dropout: float, classes: int, image: tuple[int, int, int]
) -> Network:
    return Network(
        name,
        image,
        _layers(stages, stem, _LAST, dropout, classes, eps=1e-3, momentum=0.1),
        departures=(
            "stride 2 has padding on all sides; TensorFlow pads the bottom and the right more",
            "the paper trains on images that grow: the input has the size of the evaluation",
        ),
        source="Tan and Le 2021, table 4; torchvision 0.28, models/efficientnet.py",
    )


def _version2_scaled(name: str, width: float, depth: float, classes: int, image: tuple[int, int, int]) -> Network:
    """The form of version 2 that only Keras has, with the padding of TensorFlow's "same" for this size."""
    nearest = partial(_nearest, width)
    stages = [replace(row, maps=nearest(row.maps), count=ceil(row.count * depth)) for row in _V2_B0]
    return Network(
        name,
        image,
        _layers(stages, nearest(32), nearest(_LAST), 0.2, classes, eps=1e-3, momentum=0.1, same_from=image[1]),
        departures=(
            "the paper's table has S, M and L alone",
            "stochastic depth grows to 0.2 over the blocks of this network; Keras counts those of B0",
        ),
        source="Tan and Le 2021; keras.applications 3.15, efficientnet_v2.py",
    )


def _nearest(width: float, maps: int) -> int:
    """The multiple of 8 nearest to the scaled maps; `divisible` never takes away more than a tenth of them."""
    return int(maps * width / 8 + 0.5) * 8


def _layers(
    stages: Sequence[_Stage],
    maps: int,
    last: int,
    dropout: float,
    classes: int,
    eps: float,
    momentum: float,
    same_from: int = 0,
) -> list[Layer]:
    """same_from: height and width of the images if windows have the padding of TensorFlow's "same"."""
    conv = partial(conv_norm, eps=eps, momentum=momentum)
    side = same_from
    stem_padding = same(3, 2, side) if same_from else None
    layers: list[Layer] = conv("features.0", maps, 3, 2, padding=stem_padding, activation=SiLU())
    side = -(-side // 2)
    blocks, done = sum(row.count for row in stages), 0
    for number, row in enumerate(stages, start=1):
        for index in range(row.count):
            stride = row.stride if index == 0 else 1
            padding = same(row.kernel, stride, side) if same_from else None
            side = -(-side // stride)
            body = _body(row, maps, stride, conv, padding)
            drop = LAST_DROP * done / blocks
            layers += block(f"features.{number}.{index}", body, stride == 1 and maps == row.maps, drop)
            maps, done = row.maps, done + 1
    return [
        *layers,
        *conv(f"features.{len(stages) + 1}", last, activation=SiLU()),
        GlobalAvgPool("avgpool"),
        Flatten(),
        Dropout(rate=dropout),
        Dense("classifier.1", classes),
    ]


def _body(row: _Stage, maps: int, stride: int, conv: partial[list[Layer]], padding: Padding | None) -> list[Layer]:
    """MBConv, or Fused-MBConv (figure 2 of the second paper). The squeezed maps are a quarter of the block's input."""
    wide = divisible(maps * row.expansion)
    expand: list[Part] = [partial(conv, channels=wide, activation=SiLU())] if wide != maps else []
    window = partial(conv, channels=wide, kernel=row.kernel, stride=stride, padding=padding, activation=SiLU())
    project = partial(conv, channels=row.maps)
    if row.fused:
        return sequence("block", [window, project] if wide != maps else [partial(window, channels=row.maps)])
    squeeze = partial(squeeze_excitation, channels=wide, squeezed=max(1, maps // 4), activation=SiLU())
    return sequence("block", [*expand, partial(window, groups=wide), squeeze, project])
