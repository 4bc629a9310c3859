"""SqueezeNet: AlexNet's accuracy with fifty times fewer parameters.

Iandola, Han, Moskewicz, Ashraf, Dally and Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
< 0.5 MB model size", 2016. Parameters have torchvision's names.
"""

from __future__ import annotations

from frameworks.spec import Concat, Conv, Dropout, Flatten, GlobalAvgPool, Layer, MaxPool, Network, ReLU


def squeezenet1_0(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """The paper's network. 1,248,424 parameters."""
    return Network(
        "squeezenet1_0",
        (channels, 224, 224),
        [
            Conv("features.0", 96, 7, 2, out=(96, 109, 109)),
            ReLU(),
            _pool("features.2", out=(96, 54, 54)),
            *_fire("features.3", 16, 64, 54),
            *_fire("features.4", 16, 64, 54),
            *_fire("features.5", 32, 128, 54),
            _pool("features.6", out=(256, 27, 27)),
            *_fire("features.7", 32, 128, 27),
            *_fire("features.8", 48, 192, 27),
            *_fire("features.9", 48, 192, 27),
            *_fire("features.10", 64, 256, 27),
            _pool("features.11", out=(512, 13, 13)),
            *_fire("features.12", 64, 256, 13),
            *_classifier(classes),
        ],
        departures=("table 1 prints 111 x 111 maps after the first convolution, which need 227 pixels, not 224",),
        source="Iandola et al. 2016, table 1; torchvision 0.28, models/squeezenet.py",
    ).with_input((channels, size, size))


def squeezenet1_1(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """The authors' later version, with 2.4 times fewer multiply-adds. 1,235,496 parameters."""
    return Network(
        "squeezenet1_1",
        (channels, 224, 224),
        [
            Conv("features.0", 64, 3, 2, out=(64, 111, 111)),
            ReLU(),
            _pool("features.2", out=(64, 55, 55)),
            *_fire("features.3", 16, 64, 55),
            *_fire("features.4", 16, 64, 55),
            _pool("features.5", out=(128, 27, 27)),
            *_fire("features.6", 32, 128, 27),
            *_fire("features.7", 32, 128, 27),
            _pool("features.8", out=(256, 13, 13)),
            *_fire("features.9", 48, 192, 13),
            *_fire("features.10", 48, 192, 13),
            *_fire("features.11", 64, 256, 13),
            *_fire("features.12", 64, 256, 13),
            *_classifier(classes),
        ],
        departures=("64 windows of 3 x 3 in the first convolution, not 96 of 7 x 7", "the pools come earlier"),
        source="forresti/SqueezeNet, SqueezeNet_v1.1, 2016; torchvision 0.28, models/squeezenet.py",
    ).with_input((channels, size, size))


def _pool(name: str, out: tuple[int, int, int]) -> MaxPool:
    return MaxPool(name, 3, 2, ceil=True, out=out)


def _fire(name: str, squeeze: int, expand: int, side: int) -> list[Layer]:
    """Figure 1 of the paper: 1 x 1 windows squeeze the maps; 1 x 1 beside 3 x 3 windows expand them."""
    chains: list[list[Layer]] = [
        [Conv("expand1x1", expand, 1), ReLU()],
        [Conv("expand3x3", expand, 3, padding=1), ReLU()],
    ]
    return [Conv(f"{name}.squeeze", squeeze, 1), ReLU(), Concat(name, chains, out=(2 * expand, side, side))]


def _classifier(classes: int) -> list[Layer]:
    """A map for each class and its mean, as in Network in Network."""
    return [Dropout(), Conv("classifier.1", classes, 1), ReLU(), GlobalAvgPool("classifier.3"), Flatten()]
