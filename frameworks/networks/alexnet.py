"""AlexNet, as its paper has it and as it is taught.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
"""

from __future__ import annotations

from frameworks.spec import Conv, Dense, Dropout, Flatten, Layer, LocalResponseNorm, MaxPool, Network, ReLU

_PAPER = "Krizhevsky, Sutskever and Hinton 2012"
_INPUT = "the input is 227 x 227: the paper's 224 x 224 does not give its 55 x 55"


def alexnet(classes: int = 1000, channels: int = 3) -> Network:
    """The paper's two towers of one GPU each as grouped convolutions. 60,965,224 parameters."""
    return Network(
        "alexnet",
        (channels, 227, 227),
        [
            Conv("C1", 96, 11, 4, out=(96, 55, 55)),
            ReLU(),
            _norm("N1"),
            MaxPool("P1", 3, 2, out=(96, 27, 27)),
            Conv("C2", 256, 5, padding=2, groups=2, out=(256, 27, 27)),
            ReLU(),
            _norm("N2"),
            MaxPool("P2", 3, 2, out=(256, 13, 13)),
            Conv("C3", 384, 3, padding=1, out=(384, 13, 13)),
            ReLU(),
            Conv("C4", 384, 3, padding=1, groups=2, out=(384, 13, 13)),
            ReLU(),
            Conv("C5", 256, 3, padding=1, groups=2, out=(256, 13, 13)),
            ReLU(),
            MaxPool("P5", 3, 2, out=(256, 6, 6)),
            Flatten(),
            *_hidden("FC6", 4096),
            *_hidden("FC7", 4096),
            Dense("FC8", classes),
        ],
        departures=(_INPUT, "response normalization runs over the maps of both GPUs, side by side"),
        source=_PAPER,
    )


def alexnet_single(classes: int = 1000, channels: int = 3) -> Network:
    """AlexNet on one GPU, no groups, pooling before response normalization. 62,378,344 parameters."""
    return Network(
        "alexnet_single",
        (channels, 227, 227),
        [
            Conv("C1", 96, 11, 4, out=(96, 55, 55)),
            ReLU(),
            MaxPool("P1", 3, 2, out=(96, 27, 27)),
            _norm("N1"),
            Conv("C2", 256, 5, padding=2, out=(256, 27, 27)),
            ReLU(),
            MaxPool("P2", 3, 2, out=(256, 13, 13)),
            _norm("N2"),
            Conv("C3", 384, 3, padding=1, out=(384, 13, 13)),
            ReLU(),
            Conv("C4", 384, 3, padding=1, out=(384, 13, 13)),
            ReLU(),
            Conv("C5", 256, 3, padding=1, out=(256, 13, 13)),
            ReLU(),
            MaxPool("P5", 3, 2, out=(256, 6, 6)),
            Flatten(),
            *_hidden("FC6", 4096),
            *_hidden("FC7", 4096),
            Dense("FC8", classes),
        ],
        departures=(_INPUT, "no groups: every map sees all maps before it", "pooling comes before normalization"),
        source=_PAPER,
    )


def alexnet_owt(classes: int = 1000, channels: int = 3) -> Network:
    """The one-tower net of torchvision and Gluon, under torchvision's names. 61,100,840 parameters."""
    return Network(
        "alexnet_owt",
        (channels, 224, 224),
        [
            Conv("features.0", 64, 11, 4, padding=2, out=(64, 55, 55)),
            ReLU(),
            MaxPool("pool1", 3, 2, out=(64, 27, 27)),
            Conv("features.3", 192, 5, padding=2, out=(192, 27, 27)),
            ReLU(),
            MaxPool("pool2", 3, 2, out=(192, 13, 13)),
            Conv("features.6", 384, 3, padding=1, out=(384, 13, 13)),
            ReLU(),
            Conv("features.8", 256, 3, padding=1, out=(256, 13, 13)),
            ReLU(),
            Conv("features.10", 256, 3, padding=1, out=(256, 13, 13)),
            ReLU(),
            MaxPool("pool5", 3, 2, out=(256, 6, 6)),
            Flatten(),
            Dropout(),
            Dense("classifier.1", 4096),
            ReLU(),
            Dropout(),
            Dense("classifier.4", 4096),
            ReLU(),
            Dense("classifier.6", classes),
        ],
        departures=("torchvision's adaptive mean to 6 x 6 is left out: at 224 x 224 it changes nothing",),
        source='Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014; torchvision 0.28',
    )


def alexnet_fashion(classes: int = 10, channels: int = 1) -> Network:
    """The textbook's AlexNet for 224 x 224 gray images, with one hidden dense layer. 29,983,434 parameters."""
    return _textbook("alexnet_fashion", _hidden("FC6", 4096), classes, channels)


def alexnet_d2l(classes: int = 10, channels: int = 1) -> Network:
    """The textbook's AlexNet with both hidden dense layers. 46,764,746 parameters."""
    return _textbook("alexnet_d2l", [*_hidden("FC6", 4096), *_hidden("FC7", 4096)], classes, channels)


def alexnet_cifar(classes: int = 10, channels: int = 3) -> Network:
    """AlexNet for CIFAR-10 resized to 224 x 224; response normalization spans all channels. 26,840,458 parameters."""
    return Network(
        "alexnet_cifar",
        (channels, 224, 224),
        [
            Conv("C1", 96, 11, 4, padding=2, out=(96, 55, 55)),
            ReLU(),
            MaxPool("P1", 3, 2, out=(96, 27, 27)),
            LocalResponseNorm("N1", 96),
            Conv("C2", 256, 5, padding=2, out=(256, 27, 27)),
            ReLU(),
            MaxPool("P2", 3, 2, out=(256, 13, 13)),
            LocalResponseNorm("N2", 256),
            Conv("C3", 384, 3, padding=1, out=(384, 13, 13)),
            ReLU(),
            Conv("C4", 384, 3, padding=1, out=(384, 13, 13)),
            ReLU(),
            Conv("C5", 256, 3, padding=1, out=(256, 13, 13)),
            ReLU(),
            MaxPool("P5", 3, 2, out=(256, 6, 6)),
            Flatten(),
            Dropout(),
            Dense("FC6", 2048),
            ReLU(),
            Dropout(),
            Dense("FC7", 2048),
            ReLU(),
            Dense("FC8", classes),
        ],
        departures=(
            "no groups, 2,048 hidden units for 4,096, and dropout before FC6 and FC7 instead of after them",
            "response normalization over 96 and 256 channels with k = 1 for 5 channels with k = 2: nearly the identity",
        ),
        source="a tutorial's PyTorch code after Krizhevsky, Sutskever and Hinton 2012",
    )


def _norm(name: str) -> LocalResponseNorm:
    """Section 3.3 of the paper: n = 5, k = 2, alpha = 1e-4 for each of the five, beta = 0.75."""
    return LocalResponseNorm(name, 5, alpha=5e-4, beta=0.75, k=2.0)


def _hidden(name: str, units: int) -> list[Layer]:
    return [Dense(name, units), ReLU(), Dropout()]


def _textbook(name: str, hidden: list[Layer], classes: int, channels: int) -> Network:
    return Network(
        name,
        (channels, 224, 224),
        [
            Conv("C1", 96, 11, 4, out=(96, 54, 54)),
            ReLU(),
            MaxPool("P1", 3, 2, out=(96, 26, 26)),
            Conv("C2", 256, 5, padding=2, out=(256, 26, 26)),
            ReLU(),
            MaxPool("P2", 3, 2, out=(256, 12, 12)),
            Conv("C3", 384, 3, padding=1, out=(384, 12, 12)),
            ReLU(),
            Conv("C4", 384, 3, padding=1, out=(384, 12, 12)),
            ReLU(),
            Conv("C5", 256, 3, padding=1, out=(256, 12, 12)),
            ReLU(),
            MaxPool("P5", 3, 2, out=(256, 5, 5)),
            Flatten(),
            *hidden,
            Dense("FC8", classes),
        ],
        departures=("224 x 224 unpadded, so 54 x 54 maps", "no groups", "no response normalization"),
        source="Zhang, Lipton, Li and Smola, Dive into Deep Learning, section 8.1",
    )
