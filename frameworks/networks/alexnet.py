"""AlexNet, as in its paper and as it is taught.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from frameworks.spec import Conv, Dense, Dropout, Flatten, Layer, LocalResponseNorm, MaxPool, Network, ReLU

_PAPER = "Krizhevsky, Sutskever and Hinton 2012"
_INPUT = "the input is 227 x 227: the paper's 224 x 224 does not give its 55 x 55"
_PAPER_MAPS = (96, 256, 384, 384, 256)


@dataclass(frozen=True)
class _Variant:
    """The differences between the AlexNets; layers are C1 to C5, P1, P2 and P5, N1 and N2 where `norms` are given.

    maps: channels of C1 to C5. groups: groups of C2, C4 and C5. sides: heights and widths after C1, P1, P2 and P5.
    """

    name: str
    input: int
    maps: tuple[int, int, int, int, int]
    sides: tuple[int, int, int, int]
    padding: int = 0  # of C1
    groups: int = 1
    norms: tuple[LocalResponseNorm, ...] = ()
    norm_before_pool: bool = False
    names: Sequence[str] = ("C1", "P1", "C2", "P2", "C3", "C4", "C5", "P5")


def alexnet(classes: int = 1000, channels: int = 3) -> Network:
    """The paper's two towers, one for each GPU, as grouped convolutions. 60,965,224 parameters."""
    norms = response_norm("N1"), response_norm("N2")
    variant = _Variant("alexnet", 227, _PAPER_MAPS, (55, 27, 13, 6), groups=2, norms=norms, norm_before_pool=True)
    return _network(
        variant,
        [*_hidden("FC6", 4096), *_hidden("FC7", 4096), Dense("FC8", classes)],
        channels,
        departures=(_INPUT, "response normalization runs over the maps of both GPUs, side by side"),
        source=_PAPER,
    )


def alexnet_single(classes: int = 1000, channels: int = 3) -> Network:
    """AlexNet on one GPU, no groups, pooling before response normalization. 62,378,344 parameters."""
    norms = response_norm("N1"), response_norm("N2")
    return _network(
        _Variant("alexnet_single", 227, _PAPER_MAPS, (55, 27, 13, 6), norms=norms),
        [*_hidden("FC6", 4096), *_hidden("FC7", 4096), Dense("FC8", classes)],
        channels,
        departures=(_INPUT, "no groups: every map sees all maps before it", "pooling comes before normalization"),
        source=_PAPER,
    )


def alexnet_owt(classes: int = 1000, channels: int = 3) -> Network:
    """The one-tower net of torchvision and Gluon, under torchvision's names. 61,100,840 parameters."""
    names = ["features.0", "pool1", "features.3", "pool2", "features.6", "features.8", "features.10", "pool5"]
    maps = 64, 192, 384, 256, 256
    return _network(
        _Variant("alexnet_owt", 224, maps, (55, 27, 13, 6), padding=2, names=names),
        [
            Dropout(),
            Dense("classifier.1", 4096),
            ReLU(),
            Dropout(),
            Dense("classifier.4", 4096),
            ReLU(),
            Dense("classifier.6", classes),
        ],
        channels,
        departures=("torchvision's adaptive mean to 6 x 6 is left out: at 224 x 224 it changes nothing",),
        source='Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014; torchvision 0.28',
    )


def alexnet_fashion(classes: int = 10, channels: int = 1) -> Network:
    """The textbook's AlexNet for 224 x 224 gray images, with one hidden dense layer. 29,983,434 parameters."""
    return _textbook("alexnet_fashion", [*_hidden("FC6", 4096), Dense("FC8", classes)], channels)


def alexnet_d2l(classes: int = 10, channels: int = 1) -> Network:
    """The textbook's AlexNet with both hidden dense layers. 46,764,746 parameters."""
    hidden = [*_hidden("FC6", 4096), *_hidden("FC7", 4096)]
    return _textbook("alexnet_d2l", [*hidden, Dense("FC8", classes)], channels)


def alexnet_cifar(classes: int = 10, channels: int = 3) -> Network:
    """AlexNet for CIFAR-10 resized to 224 x 224; response normalization spans all channels. 26,840,458 parameters."""
    norms = LocalResponseNorm("N1", 96), LocalResponseNorm("N2", 256)
    return _network(
        _Variant("alexnet_cifar", 224, _PAPER_MAPS, (55, 27, 13, 6), padding=2, norms=norms),
        [Dropout(), Dense("FC6", 2048), ReLU(), Dropout(), Dense("FC7", 2048), ReLU(), Dense("FC8", classes)],
        channels,
        departures=(
            "no groups, 2,048 hidden units for 4,096, and dropout before FC6 and FC7 instead of after them",
            "response normalization over 96 and 256 channels with k = 1 for 5 channels with k = 2: nearly the identity",
        ),
        source="a tutorial's PyTorch code after Krizhevsky, Sutskever and Hinton 2012",
    )


def response_norm(name: str) -> LocalResponseNorm:
    """Section 3.3 of the paper: n = 5, k = 2, alpha = 1e-4 for each of the five, beta = 0.75."""
    return LocalResponseNorm(name, 5, alpha=5e-4, beta=0.75, k=2.0)


def _textbook(name: str, classifier: list[Layer], channels: int) -> Network:
    return _network(
        _Variant(name, 224, _PAPER_MAPS, (54, 26, 12, 5)),
        classifier,
        channels,
        departures=("224 x 224 unpadded, so 54 x 54 maps", "no groups", "no response normalization"),
        source="Zhang, Lipton, Li and Smola, Dive into Deep Learning, 2021, section 8.1",
    )


def _hidden(name: str, units: int) -> list[Layer]:
    return [Dense(name, units), ReLU(), Dropout()]


def _network(
    variant: _Variant, classifier: list[Layer], channels: int, departures: tuple[str, ...], source: str
) -> Network:
    c1, p1, c2, p2, c3, c4, c5, p5 = variant.names
    maps1, maps2, maps3, maps4, maps5 = variant.maps
    side1, side2, side3, side5 = variant.sides
    groups = variant.groups

    def pooled(stage: int, name: str, maps: int, side: int) -> list[Layer]:
        """A pool, and response normalization before or after it."""
        pool: list[Layer] = [MaxPool(name, 3, 2, out=(maps, side, side))]
        norm: list[Layer] = [*variant.norms[stage : stage + 1]]
        return norm + pool if variant.norm_before_pool else pool + norm

    return Network(
        variant.name,
        (channels, variant.input, variant.input),
        [
            Conv(c1, maps1, 11, 4, variant.padding, out=(maps1, side1, side1)),
            ReLU(),
            *pooled(0, p1, maps1, side2),
            Conv(c2, maps2, 5, padding=2, groups=groups, out=(maps2, side2, side2)),
            ReLU(),
            *pooled(1, p2, maps2, side3),
            Conv(c3, maps3, 3, padding=1, out=(maps3, side3, side3)),
            ReLU(),
            Conv(c4, maps4, 3, padding=1, groups=groups, out=(maps4, side3, side3)),
            ReLU(),
            Conv(c5, maps5, 3, padding=1, groups=groups, out=(maps5, side3, side3)),
            ReLU(),
            MaxPool(p5, 3, 2, out=(maps5, side5, side5)),
            Flatten(),
            *classifier,
        ],
        departures=departures,
        source=source,
    )
