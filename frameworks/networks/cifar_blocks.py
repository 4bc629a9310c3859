"""What the networks for 32 x 32 images have in common, in the names of kuangliu/pytorch-cifar.

The first convolution has stride 1, and no pool follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from frameworks.spec import BatchNorm, Conv, Dense, Flatten, GlobalAvgPool, Layer, Multiply, ReLU, Residual, Sigmoid

# Builds a block from its name, the channels that come in, its width and its stride.
Block = Callable[[str, int, int, int], list[Layer]]
STRIDES = (1, 2, 2, 2)
WIDTHS = (64, 128, 256, 512)


def stages(
    block: Block,
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


def stem(maps: int, kernel: int = 3) -> list[Layer]:
    return conv_bn_relu("1", maps, kernel)


def head(classes: int) -> list[Layer]:
    """The mean of each channel and one dense layer."""
    return [GlobalAvgPool("mean"), Flatten(), Dense("linear", classes)]


def basic(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    """Two 3 x 3 convolutions, a projection where channels or size change, and the ReLU after the sum."""
    return [Residual(name, two_convolutions(width, stride), projection(maps, width, stride)), ReLU()]


def two_convolutions(width: int, stride: int) -> list[Layer]:
    return [*conv_bn_relu("1", width, 3, stride), conv("conv2", width, 3), BatchNorm("bn2")]


def narrowed(
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
        *conv_bn_relu("1", width, 1),
        *conv_bn_relu("2", width, 3, stride, groups),
        *excitation,
        conv("conv3", widened, 1),
        BatchNorm("bn3"),
    ]
    return [Residual(name, body, projection(maps, widened, stride)), ReLU()]


def preactivated(name: str, maps: int, width: int, stride: int, last: Sequence[Layer]) -> list[Layer]:
    """Batch normalization and ReLU before each of two convolutions (He et al. 2016); `last` ends the body.

    A projection takes the input after its normalization and ReLU, the identity before it.
    """
    body = [conv("conv1", width, 3, stride), BatchNorm("bn2"), ReLU(), conv("conv2", width, 3), *last]
    if stride == 1 and maps == width:
        return [Residual(name, [BatchNorm("bn1"), ReLU(), *body])]
    return [BatchNorm(f"{name}.bn1"), ReLU(), Residual(name, body, [conv("shortcut.0", width, 1, stride)])]


def excitation(name: str, squeeze: str, excite: str, squeezed: int, maps: int) -> Multiply:
    """Squeeze and excitation: a weight from 0 to 1 for each channel, computed from the means of all channels."""
    weights = [GlobalAvgPool(), Conv(squeeze, squeezed, 1), ReLU(), Conv(excite, maps, 1), Sigmoid()]
    return Multiply(name, [[], weights])


def projection(maps: int, width: int, stride: int) -> list[Layer]:
    if stride == 1 and maps == width:
        return []
    return [conv("shortcut.0", width, 1, stride), BatchNorm("shortcut.1")]


def conv_bn_relu(number: str, maps: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Layer]:
    return [conv(f"conv{number}", maps, kernel, stride, groups), BatchNorm(f"bn{number}"), ReLU()]


def conv(name: str, maps: int, kernel: int, stride: int = 1, groups: int = 1) -> Conv:
    """Without bias, padded so that stride 1 leaves height and width as they are."""
    return Conv(name, maps, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
