"""GoogLeNet, the first Inception network.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich, "Going deeper with convolutions", 2014.
"""

from __future__ import annotations

from collections.abc import Sequence

from frameworks.networks.inception import conv_bn_relu
from frameworks.spec import (
    AdaptiveAvgPool,
    Auxiliary,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Network,
    ReLU,
)

# Table 1 of the paper: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5 and pool proj; the maps that these give together.
TABLE = {
    "3a": ((64, 96, 128, 16, 32, 32), 256),
    "3b": ((128, 128, 192, 32, 96, 64), 480),
    "4a": ((192, 96, 208, 16, 48, 64), 512),
    "4b": ((160, 112, 224, 24, 64, 64), 512),
    "4c": ((128, 128, 256, 24, 64, 64), 512),
    "4d": ((112, 144, 288, 32, 64, 64), 528),
    "4e": ((256, 160, 320, 32, 128, 128), 832),
    "5a": ((256, 160, 320, 32, 128, 128), 832),
    "5b": ((384, 192, 384, 48, 128, 128), 1024),
}
_PAPER = "Szegedy et al. 2014, table 1"


def googlenet(classes: int = 1000, channels: int = 3) -> Network:
    """The paper's network, as it is in evaluation. 6,998,552 parameters."""
    return _googlenet("googlenet", classes, channels, heads=((), ()))


def googlenet_aux(classes: int = 1000, channels: int = 3) -> Network:
    """The paper's network with its two auxiliary classifiers, as it is trained. 13,378,280 parameters."""
    heads = ([_auxiliary("aux1", classes)], [_auxiliary("aux2", classes)])
    return _googlenet("googlenet_aux", classes, channels, heads)


def googlenet_fashion(classes: int = 10, channels: int = 1) -> Network:
    """The textbook's GoogLeNet for 96 x 96 gray images. 5,977,530 parameters."""
    return Network(
        "googlenet_fashion",
        (channels, 96, 96),
        [
            Conv("conv1", 64, 7, 2, padding=3, out=(64, 48, 48)),
            ReLU(),
            MaxPool("pool1", 3, 2, padding=1, out=(64, 24, 24)),
            Conv("conv2_reduce", 64, 1, out=(64, 24, 24)),
            Conv("conv2", 192, 3, padding=1, out=(192, 24, 24)),
            MaxPool("pool2", 3, 2, padding=1, out=(192, 12, 12)),
            *(_inception(row, 12) for row in ("3a", "3b")),
            MaxPool("pool3", 3, 2, padding=1, out=(480, 6, 6)),
            *(_inception(row, 6) for row in ("4a", "4b", "4c", "4d", "4e")),
            MaxPool("pool4", 3, 2, padding=1, out=(832, 3, 3)),
            *(_inception(row, 3) for row in ("5a", "5b")),
            GlobalAvgPool("pool5", out=(1024, 1, 1)),
            Flatten(),
            Dense("fc", classes),
        ],
        departures=(
            "no ReLU after the two convolutions before the second pool (the textbook has them)",
            "no response normalization, no dropout, no auxiliary classifiers",
            "the pools are padded on all sides",
        ),
        source="a tutorial's code after Zhang, Lipton, Li and Smola, Dive into Deep Learning, 2021, section 8.4",
    )


def googlenet_bn(classes: int = 1000, channels: int = 3) -> Network:
    """torchvision's GoogLeNet, with batch normalization, under its names. 6,624,904 parameters."""
    return _googlenet_bn("googlenet_bn", classes, channels, heads=((), ()))


def googlenet_bn_aux(classes: int = 1000, channels: int = 3) -> Network:
    """torchvision's GoogLeNet with its two auxiliary classifiers, as it is trained. 13,004,888 parameters."""
    heads = ([_auxiliary_bn("aux1", classes)], [_auxiliary_bn("aux2", classes)])
    return _googlenet_bn("googlenet_bn_aux", classes, channels, heads)


def _googlenet_bn(name: str, classes: int, channels: int, heads: Sequence[Sequence[Layer]]) -> Network:
    """`heads`: the auxiliary classifiers after 4a and 4d."""
    return Network(
        name,
        (channels, 224, 224),
        [
            *conv_bn_relu("conv1", 64, 7, 2, padding=3),
            MaxPool("maxpool1", 3, 2, ceil=True, out=(64, 56, 56)),
            *conv_bn_relu("conv2", 64, 1),
            *conv_bn_relu("conv3", 192, 3, padding=1),
            MaxPool("maxpool2", 3, 2, ceil=True, out=(192, 28, 28)),
            *(_inception_bn(row, 28) for row in ("3a", "3b")),
            MaxPool("maxpool3", 3, 2, ceil=True, out=(480, 14, 14)),
            _inception_bn("4a", 14),
            *heads[0],
            *(_inception_bn(row, 14) for row in ("4b", "4c", "4d")),
            *heads[1],
            _inception_bn("4e", 14),
            MaxPool("maxpool4", 2, 2, ceil=True, out=(832, 7, 7)),
            *(_inception_bn(row, 7) for row in ("5a", "5b")),
            GlobalAvgPool("avgpool", out=(1024, 1, 1)),
            Flatten(),
            Dropout(rate=0.2),
            Dense("fc", classes),
        ],
        departures=(
            "batch normalization; no response normalization",
            "3 x 3 convolutions where the paper has 5 x 5 (pytorch/vision issue 906)",
            "the last maximum pool has 2 x 2 windows",
            "torchvision transforms the input when it loads its weights: that is left to the data",
            "the auxiliary classifiers have overlapping means of 4 x 4 windows with stride 3, not 5 x 5",
        ),
        source="Szegedy et al. 2014; torchvision 0.28, models/googlenet.py",
    )


def _googlenet(name: str, classes: int, channels: int, heads: Sequence[Sequence[Layer]]) -> Network:
    """`heads`: the auxiliary classifiers after 4a and 4d."""
    return Network(
        name,
        (channels, 224, 224),
        [
            Conv("conv1", 64, 7, 2, padding=3, out=(64, 112, 112)),
            ReLU(),
            MaxPool("pool1", 3, 2, ceil=True, out=(64, 56, 56)),
            LocalResponseNorm("norm1", 5),
            Conv("conv2_reduce", 64, 1, out=(64, 56, 56)),
            ReLU(),
            Conv("conv2", 192, 3, padding=1, out=(192, 56, 56)),
            ReLU(),
            LocalResponseNorm("norm2", 5),
            MaxPool("pool2", 3, 2, ceil=True, out=(192, 28, 28)),
            *(_inception(row, 28) for row in ("3a", "3b")),
            MaxPool("pool3", 3, 2, ceil=True, out=(480, 14, 14)),
            _inception("4a", 14),
            *heads[0],
            *(_inception(row, 14) for row in ("4b", "4c", "4d")),
            *heads[1],
            _inception("4e", 14),
            MaxPool("pool4", 3, 2, ceil=True, out=(832, 7, 7)),
            *(_inception(row, 7) for row in ("5a", "5b")),
            GlobalAvgPool("pool5", out=(1024, 1, 1)),
            Flatten(),
            Dropout(rate=0.4),
            Dense("fc", classes),
        ],
        departures=(
            "the paper prints no padding: pools are padded at the bottom and the right, as in Caffe and TensorFlow",
            "the paper prints no constants of response normalization: they are Caffe's (5 channels, k = 1)",
        ),
        source=_PAPER,
    )


def _inception(row: str, side: int) -> Concat:
    (one, reduce3, three, reduce5, five, projection), maps = TABLE[row]
    return Concat(
        f"inception{row}",
        [
            [Conv("1x1", one, 1), ReLU()],
            [Conv("3x3_reduce", reduce3, 1), ReLU(), Conv("3x3", three, 3, padding=1), ReLU()],
            [Conv("5x5_reduce", reduce5, 1), ReLU(), Conv("5x5", five, 5, padding=2), ReLU()],
            [MaxPool("pool", 3, 1, padding=1), Conv("pool_proj", projection, 1), ReLU()],
        ],
        out=(maps, side, side),
    )


def _inception_bn(row: str, side: int) -> Concat:
    (one, reduce3, three, reduce5, five, projection), maps = TABLE[row]
    return Concat(
        f"inception{row}",
        [
            conv_bn_relu("branch1", one, 1),
            [*conv_bn_relu("branch2.0", reduce3, 1), *conv_bn_relu("branch2.1", three, 3, padding=1)],
            [*conv_bn_relu("branch3.0", reduce5, 1), *conv_bn_relu("branch3.1", five, 3, padding=1)],
            [MaxPool("branch4.0", 3, 1, padding=1), *conv_bn_relu("branch4.1", projection, 1)],
        ],
        out=(maps, side, side),
    )


def _auxiliary(name: str, classes: int) -> Auxiliary:
    """Section 5 of the paper: a 5 x 5 mean with stride 3, 128 maps of 1 x 1, 1024 units, 70 % dropout, weight 0.3."""
    return Auxiliary(
        name,
        [
            AvgPool("pool", 5, 3),
            Conv("conv", 128, 1, out=(128, 4, 4)),
            ReLU(),
            Flatten(),
            Dense("fc1", 1024),
            ReLU(),
            Dropout(rate=0.7),
            Dense("fc2", classes),
        ],
        weight=0.3,
    )


def _auxiliary_bn(name: str, classes: int) -> Auxiliary:
    return Auxiliary(
        name,
        [
            AdaptiveAvgPool("pool", 4, 4),
            *conv_bn_relu("conv", 128, 1),
            Flatten(),
            Dense("fc1", 1024),
            ReLU(),
            Dropout(rate=0.7),
            Dense("fc2", classes),
        ],
        weight=0.3,
    )
