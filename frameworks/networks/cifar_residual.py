"""Residual networks for 32 x 32 images.

The networks of He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015, section 4.2, and the forms
of kuangliu/pytorch-cifar, under its names: the first convolution is 3 x 3 with stride 1 and no pool follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from frameworks.spec import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    Multiply,
    Network,
    ReLU,
    Residual,
    Select,
    Sigmoid,
)

# Builds a block from its name, the channels that come in, its width and its stride.
_Block = Callable[[str, int, int, int], list[Layer]]

_STRIDES = (1, 2, 2, 2)
_WIDTHS = (64, 128, 256, 512)


# --- He et al. 2015, section 4.2 --------------------------------------------------------------------------------------


def cifar_resnet20(classes: int = 10, channels: int = 3) -> Network:
    """n = 3. 269,722 parameters."""
    return _paper("cifar_resnet20", 3, classes, channels)


def cifar_resnet32(classes: int = 10, channels: int = 3) -> Network:
    """n = 5. 464,154 parameters."""
    return _paper("cifar_resnet32", 5, classes, channels)


def cifar_resnet44(classes: int = 10, channels: int = 3) -> Network:
    """n = 7. 658,586 parameters."""
    return _paper("cifar_resnet44", 7, classes, channels)


def cifar_resnet56(classes: int = 10, channels: int = 3) -> Network:
    """n = 9. 853,018 parameters."""
    return _paper("cifar_resnet56", 9, classes, channels)


def cifar_resnet110(classes: int = 10, channels: int = 3) -> Network:
    """n = 18. 1,727,962 parameters."""
    return _paper("cifar_resnet110", 18, classes, channels)


def _paper(name: str, blocks: int, classes: int, channels: int) -> Network:
    """6n + 2 weighted layers, of which 2n have 16, 32 and 64 maps of 32, 16 and 8 rows. blocks: the paper's n."""
    layers = _stages(_option_a, (blocks,) * 3, (16, 32, 64), _STRIDES[:3], first=16)
    return Network(
        name,
        (channels, 32, 32),
        [*_stem(16), *layers, *head(classes)],
        departures=("the paper does not say where the zeros of the shortcuts go: here they follow the channels",),
        source="He et al. 2015, section 4.2, shortcuts of option A",
    )


def _option_a(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    """The shortcut has no parameters: every second row and column, and zeros for the channels that are new."""
    shortcut: list[Layer] = []
    if stride != 1 or maps != width:
        zeros = (None,) * (width - maps)
        shortcut = [AvgPool("shortcut.pixels", 1, stride), Select("shortcut.zeros", (*range(maps), *zeros))]
    return [Residual(name, _two_convolutions(width, stride), shortcut), ReLU()]


# --- kuangliu/pytorch-cifar -------------------------------------------------------------------------------------------


def cifar_resnet18(classes: int = 10, channels: int = 3) -> Network:
    """11,173,962 parameters."""
    return _resnet("cifar_resnet18", basic, (2, 2, 2, 2), 512, classes, channels)


def cifar_resnet50(classes: int = 10, channels: int = 3) -> Network:
    """23,520,842 parameters."""
    return _resnet("cifar_resnet50", _bottleneck, (3, 4, 6, 3), 2048, classes, channels)


def cifar_resnet101(classes: int = 10, channels: int = 3) -> Network:
    """42,512,970 parameters."""
    return _resnet("cifar_resnet101", _bottleneck, (3, 4, 23, 3), 2048, classes, channels)


def cifar_preact_resnet18(classes: int = 10, channels: int = 3) -> Network:
    """Batch normalization and ReLU come before each convolution. 11,171,146 parameters."""
    return Network(
        "cifar_preact_resnet18",
        (channels, 32, 32),
        [
            conv("conv1", 64, 3),
            *_stages(_preactivated, (2, 2, 2, 2), _WIDTHS, _STRIDES, first=64),
            *head(classes),
        ],
        departures=("no batch normalization and no ReLU after the last block, which the paper has",),
        source="He et al. 2016; kuangliu/pytorch-cifar, models/preact_resnet.py",
    )


def cifar_senet18(classes: int = 10, channels: int = 3) -> Network:
    """The pre-activated ResNet-18 with squeeze and excitation in each block. 11,260,354 parameters."""
    return Network(
        "cifar_senet18",
        (channels, 32, 32),
        [*_stem(64), *_stages(_excited, (2, 2, 2, 2), _WIDTHS, _STRIDES, first=64), *head(classes)],
        departures=("no batch normalization and no ReLU after the last block",),
        source="Hu et al. 2018; kuangliu/pytorch-cifar, models/senet.py",
    )


def cifar_resnext29_2x64d(classes: int = 10, channels: int = 3) -> Network:
    """Two groups of 64 channels in the first stage. 9,128,778 parameters."""
    return _resnext("cifar_resnext29_2x64d", 2, 64, classes, channels)


def cifar_resnext29_32x4d(classes: int = 10, channels: int = 3) -> Network:
    """Thirty-two groups of 4 channels in the first stage. 4,774,218 parameters."""
    return _resnext("cifar_resnext29_32x4d", 32, 4, classes, channels)


def cifar_regnet_x_200mf(classes: int = 10, channels: int = 3) -> Network:
    """2,321,946 parameters."""
    return _regnet("cifar_regnet_x_200mf", (1, 1, 4, 7), (24, 56, 152, 368), 8, False, classes, channels)


def cifar_regnet_x_400mf(classes: int = 10, channels: int = 3) -> Network:
    """4,779,338 parameters."""
    return _regnet("cifar_regnet_x_400mf", (1, 2, 7, 12), (32, 64, 160, 384), 16, False, classes, channels)


def cifar_regnet_y_400mf(classes: int = 10, channels: int = 3) -> Network:
    """RegNetX-400MF with squeeze and excitation. 5,714,362 parameters."""
    return _regnet("cifar_regnet_y_400mf", (1, 2, 7, 12), (32, 64, 160, 384), 16, True, classes, channels)


def _resnet(name: str, block: _Block, blocks: tuple[int, ...], maps: int, classes: int, channels: int) -> Network:
    """maps: the channels that the last block gives."""
    layers = _stages(block, blocks, _WIDTHS, _STRIDES, first=64, expansion=maps // _WIDTHS[-1])
    return Network(
        name,
        (channels, 32, 32),
        [*_stem(64), *layers, *head(classes)],
        departures=("a 3 x 3 convolution with stride 1 for the 7 x 7 with stride 2 and the pool: 32 x 32 images",),
        source="He et al. 2015; kuangliu/pytorch-cifar, models/resnet.py",
    )


def _resnext(name: str, groups: int, width: int, classes: int, channels: int) -> Network:
    """groups, width: the cardinality and the channels of a group in the first stage (the paper's C and d)."""

    def block(name: str, maps: int, planes: int, stride: int) -> list[Layer]:
        return _narrowed(name, maps, planes, 2 * planes, stride, groups)

    widths = tuple(groups * width * factor for factor in (1, 2, 4))
    return Network(
        name,
        (channels, 32, 32),
        [*_stem(64, kernel=1), *_stages(block, (3, 3, 3), widths, _STRIDES[:3], first=64, expansion=2), *head(classes)],
        departures=("the first convolution is 1 x 1, where the paper has 3 x 3", "blocks double the channels, not x 4"),
        source="Xie et al. 2017; kuangliu/pytorch-cifar, models/resnext.py",
    )


def _regnet(
    name: str,
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    group_width: int,
    excited: bool,
    classes: int,
    channels: int,
) -> Network:
    """group_width: the channels of a group; excited: squeeze and excitation to a quarter of the block's input."""

    def block(name: str, maps: int, width: int, stride: int) -> list[Layer]:
        excitation = [_excitation("se", "se1", "se2", round(maps / 4), width)] if excited else []
        return _narrowed(name, maps, width, width, stride, width // group_width, excitation)

    return Network(
        name,
        (channels, 32, 32),
        [*_stem(64), *_stages(block, depths, widths, (1, 1, 2, 2), first=64), *head(classes)],
        departures=("a first convolution with 64 channels for 32, stride 1 in it and in the first two stages",),
        source="Radosavovic et al. 2020; kuangliu/pytorch-cifar, models/regnet.py",
    )


# --- blocks -----------------------------------------------------------------------------------------------------------


def basic(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    """Two 3 x 3 convolutions, a projection where channels or size change, and the ReLU after the sum."""
    return [Residual(name, _two_convolutions(width, stride), _projection(maps, width, stride)), ReLU()]


def _two_convolutions(width: int, stride: int) -> list[Layer]:
    return [*_conv_bn_relu("1", width, 3, stride), conv("conv2", width, 3), BatchNorm("bn2")]


def _bottleneck(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    return _narrowed(name, maps, width, 4 * width, stride)


def _narrowed(
    name: str,
    maps: int,
    width: int,
    widened: int,
    stride: int,
    groups: int = 1,
    excitation: Sequence[Layer] = (),
) -> list[Layer]:
    """1 x 1, 3 x 3 and 1 x 1 convolutions; channels: `maps`, `width`, `width`, `widened`."""
    body = [
        *_conv_bn_relu("1", width, 1),
        *_conv_bn_relu("2", width, 3, stride, groups),
        *excitation,
        conv("conv3", widened, 1),
        BatchNorm("bn3"),
    ]
    return [Residual(name, body, _projection(maps, widened, stride)), ReLU()]


def _preactivated(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    return _preactivated_block(name, maps, width, stride, [])


def _excited(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    return _preactivated_block(name, maps, width, stride, [_excitation("", "fc1", "fc2", width // 16, width)])


def _preactivated_block(name: str, maps: int, width: int, stride: int, last: Sequence[Layer]) -> list[Layer]:
    """`last` ends the body. A projection takes the input after its normalization and ReLU, the identity before it."""
    body = [conv("conv1", width, 3, stride), BatchNorm("bn2"), ReLU(), conv("conv2", width, 3), *last]
    if stride == 1 and maps == width:
        return [Residual(name, [BatchNorm("bn1"), ReLU(), *body])]
    return [
        BatchNorm(f"{name}.bn1"),
        ReLU(),
        Residual(name, body, [conv("shortcut.0", width, 1, stride)]),
    ]


def _excitation(name: str, squeeze: str, excite: str, squeezed: int, maps: int) -> Multiply:
    """Squeeze and excitation: a weight from 0 to 1 for each channel, computed from the means of all channels."""
    weights = [GlobalAvgPool(), Conv(squeeze, squeezed, 1), ReLU(), Conv(excite, maps, 1), Sigmoid()]
    return Multiply(name, [[], weights])


def _projection(maps: int, width: int, stride: int) -> list[Layer]:
    if stride == 1 and maps == width:
        return []
    return [conv("shortcut.0", width, 1, stride), BatchNorm("shortcut.1")]


# --- parts that all have in common ------------------------------------------------------------------------------------


def _stages(
    block: _Block,
    blocks: Sequence[int],
    widths: Sequence[int],
    strides: Sequence[int],
    first: int,
    expansion: int = 1,
) -> list[Layer]:
    """Stages of blocks; the first block of a stage has its stride.

    first: channels before the first stage. expansion: channels that a block gives, divided by its width.
    """
    layers: list[Layer] = []
    maps = first
    for stage, (count, width, stride) in enumerate(zip(blocks, widths, strides), start=1):
        for number in range(count):
            layers += block(f"layer{stage}.{number}", maps, width, 1 if number else stride)
            maps = expansion * width
    return layers


def _stem(maps: int, kernel: int = 3) -> list[Layer]:
    return _conv_bn_relu("1", maps, kernel)


def head(classes: int) -> list[Layer]:
    """The mean of each channel and one dense layer."""
    return [GlobalAvgPool("mean"), Flatten(), Dense("linear", classes)]


def _conv_bn_relu(number: str, maps: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Layer]:
    return [conv(f"conv{number}", maps, kernel, stride, groups), BatchNorm(f"bn{number}"), ReLU()]


def conv(name: str, maps: int, kernel: int, stride: int = 1, groups: int = 1) -> Conv:
    """Without bias, padded so that stride 1 leaves height and width as they are."""
    return Conv(name, maps, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
