"""Residual networks.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015. Parameters have torchvision's names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from frameworks.networks.inception import conv_bn_relu
from frameworks.spec import (
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Network,
    ReLU,
    Residual,
    Scale,
)

# Builds a residual block from its name, width, stride, whether its shortcut is a projection, and its output size.
Block: TypeAlias = Callable[[str, int, int, bool, int], Residual]

STRIDE_AT_3X3 = ("stride 2 is at the 3 x 3 of a bottleneck, not at its first 1 x 1",)


def resnet18(classes: int = 1000, channels: int = 3) -> Network:
    """11,689,512 parameters."""
    return residual_network("resnet18", _basic, (2, 2, 2, 2), classes, channels)


def resnet34(classes: int = 1000, channels: int = 3) -> Network:
    """21,797,672 parameters."""
    return residual_network("resnet34", _basic, (3, 4, 6, 3), classes, channels)


def resnet50(classes: int = 1000, channels: int = 3) -> Network:
    """25,557,032 parameters."""
    return residual_network("resnet50", bottleneck, (3, 4, 6, 3), classes, channels, STRIDE_AT_3X3)


def resnet101(classes: int = 1000, channels: int = 3) -> Network:
    """44,549,160 parameters."""
    return residual_network("resnet101", bottleneck, (3, 4, 23, 3), classes, channels, STRIDE_AT_3X3)


def resnet152(classes: int = 1000, channels: int = 3) -> Network:
    """60,192,808 parameters."""
    return residual_network("resnet152", bottleneck, (3, 8, 36, 3), classes, channels, STRIDE_AT_3X3)


def resnet18_fashion(classes: int = 10, channels: int = 1) -> Network:
    """The textbook's ResNet-18 for 96 x 96 gray images, convolutions with bias. 11,178,378 parameters."""
    return Network(
        "resnet18_fashion",
        (channels, 96, 96),
        [
            Conv("conv1", 64, 7, 2, padding=3, out=(64, 48, 48)),
            BatchNorm("bn1"),
            ReLU(),
            MaxPool("maxpool", 3, 2, padding=1, out=(64, 24, 24)),
            *_stages(_textbook, (2, 2, 2, 2), sides=(24, 12, 6, 3)),
            GlobalAvgPool("avgpool"),
            Flatten(),
            Dense("fc", classes),
        ],
        departures=("convolutions have a bias", "no batch normalization on the shortcuts"),
        source="Zhang, Lipton, Li and Smola, Dive into Deep Learning, 2021, section 8.6",
    )


def resnet9(classes: int = 10, channels: int = 3) -> Network:
    """The network of the CIFAR-10 speed records (DAWNBench), with nine weighted layers. 6,573,120 parameters."""
    return Network(
        "resnet9",
        (channels, 32, 32),
        [
            *_page_conv("prep", 64),
            *_page_conv("layer1", 128),
            MaxPool("layer1.pool", 2, 2),
            _page_residual("layer1.residual", 128, 16),
            *_page_conv("layer2", 256),
            MaxPool("layer2.pool", 2, 2),
            *_page_conv("layer3", 512),
            MaxPool("layer3.pool", 2, 2),
            _page_residual("layer3.residual", 512, 4),
            MaxPool("pool", 4, 4),
            Flatten(),
            Dense("linear", classes, bias=False),
            Scale("classifier", factor=0.125),
        ],
        departures=("the ReLU comes before the sum, not after it", "layer2 has no residual block"),
        source='Page, "How to train your ResNet", 2018; davidcpage/cifar10-fast, dawn.py',
    )


def residual_network(
    name: str,
    block: Block,
    blocks: tuple[int, ...],
    classes: int,
    channels: int,
    departures: tuple[str, ...] = (),
    source: str = "He et al. 2015, table 1; torchvision 0.28, models/resnet.py",
) -> Network:
    """Table 1 of the paper with blocks of any kind, which give four times their width unless they are `_basic`."""
    return Network(
        name,
        (channels, 224, 224),
        [
            Conv("conv1", 64, 7, 2, padding=3, bias=False, out=(64, 112, 112)),
            BatchNorm("bn1"),
            ReLU(),
            MaxPool("maxpool", 3, 2, padding=1, out=(64, 56, 56)),
            *_stages(block, blocks, sides=(56, 28, 14, 7)),
            GlobalAvgPool("avgpool"),
            Flatten(),
            Dense("fc", classes),
        ],
        departures=departures,
        source=source,
    )


def _stages(block: Block, blocks: tuple[int, ...], sides: tuple[int, ...]) -> list[Layer]:
    """Four stages of residual blocks; all but the first start by halving height and width."""
    layers: list[Layer] = []
    for stage, (count, width, side) in enumerate(zip(blocks, (64, 128, 256, 512), sides), start=1):
        for number in range(count):
            stride = 2 if stage > 1 and number == 0 else 1
            project = number == 0 and (stage > 1 or block not in (_basic, _textbook))  # where maps or size change
            layers += [block(f"layer{stage}.{number}", width, stride, project, side), ReLU()]
    return layers


def _basic(name: str, width: int, stride: int, project: bool, side: int) -> Residual:
    """Figure 5 of the paper, left."""
    body = [
        Conv("conv1", width, 3, stride, padding=1, bias=False),
        BatchNorm("bn1"),
        ReLU(),
        Conv("conv2", width, 3, padding=1, bias=False),
        BatchNorm("bn2"),
    ]
    return Residual(name, body, projection(width, stride) if project else (), out=(width, side, side))


def bottleneck(
    name: str, width: int, stride: int, project: bool, side: int, *, groups: int = 1, group_width: int = 64
) -> Residual:
    """Figure 5 of the paper, right: four times `width` output maps.

    The inner convolutions have `groups` times `group_width` maps in the first stage.
    """
    inner = width * group_width // 64 * groups
    body = [
        Conv("conv1", inner, 1, bias=False),
        BatchNorm("bn1"),
        ReLU(),
        Conv("conv2", inner, 3, stride, padding=1, groups=groups, bias=False),
        BatchNorm("bn2"),
        ReLU(),
        Conv("conv3", 4 * width, 1, bias=False),
        BatchNorm("bn3"),
    ]
    return Residual(name, body, projection(4 * width, stride) if project else (), out=(4 * width, side, side))


def projection(maps: int, stride: int) -> list[Layer]:
    return [Conv("downsample.0", maps, 1, stride, bias=False), BatchNorm("downsample.1")]


def _textbook(name: str, width: int, stride: int, project: bool, side: int) -> Residual:
    body = [
        Conv("conv1", width, 3, stride, padding=1),
        BatchNorm("bn1"),
        ReLU(),
        Conv("conv2", width, 3, padding=1),
        BatchNorm("bn2"),
    ]
    return Residual(name, body, [Conv("conv3", width, 1, stride)] if project else (), out=(width, side, side))


def _page_conv(name: str, maps: int) -> list[Layer]:
    return conv_bn_relu(name, maps, 3, padding=1, eps=1e-5)


def _page_residual(name: str, maps: int, side: int) -> Residual:
    return Residual(name, [*_page_conv("res1", maps), *_page_conv("res2", maps)], out=(maps, side, side))
