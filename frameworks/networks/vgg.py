"""VGG: blocks of 3 x 3 convolutions, each block followed by a pool that halves height and width.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014. Parameters have
torchvision's names: `features.N` in order of appearance, `classifier.N`.
"""

from __future__ import annotations

from frameworks.spec import BatchNorm, Conv, Dense, Dropout, Flatten, Layer, MaxPool, Network, ReLU

# Table 1 of the paper: convolutions in each of the five blocks.
_A = (1, 1, 2, 2, 2)
_B = (2, 2, 2, 2, 2)
_D = (2, 2, 3, 3, 3)
_E = (2, 2, 4, 4, 4)
_WIDTHS = (64, 128, 256, 512, 512)

_ADAPTIVE = "torchvision's adaptive mean to 7 x 7 is left out: at 224 x 224 it changes nothing"
_PAPER = "Simonyan and Zisserman 2014, table 1"
_TEXTBOOK = "Zhang, Lipton, Li and Smola, Dive into Deep Learning, 2021, section 8.2"


def vgg11(classes: int = 1000, channels: int = 3) -> Network:
    """Configuration A. 132,863,336 parameters."""
    return _imagenet("vgg11", _A, classes, channels)


def vgg13(classes: int = 1000, channels: int = 3) -> Network:
    """Configuration B. 133,047,848 parameters."""
    return _imagenet("vgg13", _B, classes, channels)


def vgg16(classes: int = 1000, channels: int = 3) -> Network:
    """Configuration D. 138,357,544 parameters."""
    return _imagenet("vgg16", _D, classes, channels)


def vgg19(classes: int = 1000, channels: int = 3) -> Network:
    """Configuration E. 143,667,240 parameters."""
    return _imagenet("vgg19", _E, classes, channels)


def vgg11_bn(classes: int = 1000, channels: int = 3) -> Network:
    """Configuration A with batch normalization after each convolution. 132,868,840 parameters."""
    return _imagenet("vgg11_bn", _A, classes, channels, batch_norm=True)


def vgg13_bn(classes: int = 1000, channels: int = 3) -> Network:
    """Configuration B with batch normalization after each convolution. 133,053,736 parameters."""
    return _imagenet("vgg13_bn", _B, classes, channels, batch_norm=True)


def vgg16_bn(classes: int = 1000, channels: int = 3) -> Network:
    """Configuration D with batch normalization after each convolution. 138,365,992 parameters."""
    return _imagenet("vgg16_bn", _D, classes, channels, batch_norm=True)


def vgg19_bn(classes: int = 1000, channels: int = 3) -> Network:
    """Configuration E with batch normalization after each convolution. 143,678,248 parameters."""
    return _imagenet("vgg19_bn", _E, classes, channels, batch_norm=True)


def vgg11_fashion(classes: int = 10, channels: int = 1) -> Network:
    """Configuration A for gray images and ten classes. 128,806,154 parameters."""
    return _textbook("vgg11_fashion", _WIDTHS, 4096, classes, channels)


def vgg_small(classes: int = 10, channels: int = 1) -> Network:
    """Configuration A with every width divided by 8. 2,018,346 parameters."""
    return _textbook("vgg_small", _divided(8), 4096 // 8, classes, channels)


def vgg_d2l(classes: int = 10, channels: int = 1) -> Network:
    """Configuration A with convolutions of a quarter of the width. 43,093,322 parameters."""
    return _textbook("vgg_d2l", _divided(4), 4096, classes, channels)


def vgg_cifar(classes: int = 10, channels: int = 3) -> Network:
    """Configuration A's convolutions with batch normalization for 32 x 32 images. 9,231,114 parameters.

    It is also the VGG11 of kuangliu/pytorch-cifar.
    """
    source = "Ocean University of China, deep learning course, 2021, notebook 05_03_VGG_CIFAR10"
    return _small_images("vgg_cifar", _A, classes, channels, source)


def cifar_vgg13(classes: int = 10, channels: int = 3) -> Network:
    """Configuration B's convolutions for 32 x 32 images. 9,416,010 parameters."""
    return _cifar("cifar_vgg13", _B, classes, channels)


def cifar_vgg16(classes: int = 10, channels: int = 3) -> Network:
    """Configuration D's convolutions for 32 x 32 images. 14,728,266 parameters."""
    return _cifar("cifar_vgg16", _D, classes, channels)


def cifar_vgg19(classes: int = 10, channels: int = 3) -> Network:
    """Configuration E's convolutions for 32 x 32 images. 20,040,522 parameters."""
    return _cifar("cifar_vgg19", _E, classes, channels)


def _divided(ratio: int) -> tuple[int, ...]:
    return tuple(width // ratio for width in _WIDTHS)


def _imagenet(
    name: str, convolutions: tuple[int, ...], classes: int, channels: int, batch_norm: bool = False
) -> Network:
    normalized = ("batch normalization after each convolution",) if batch_norm else ()
    return Network(
        name,
        (channels, 224, 224),
        [*_features(convolutions, _WIDTHS, (112, 56, 28, 14, 7), batch_norm), *_classifier(4096, classes)],
        departures=(*normalized, _ADAPTIVE),
        source=_PAPER,
    )


def _cifar(name: str, convolutions: tuple[int, ...], classes: int, channels: int) -> Network:
    source = "Simonyan and Zisserman 2014, table 1; kuangliu/pytorch-cifar, models/vgg.py"
    return _small_images(name, convolutions, classes, channels, source)


def _small_images(name: str, convolutions: tuple[int, ...], classes: int, channels: int, source: str) -> Network:
    layers = [*_features(convolutions, _WIDTHS, (16, 8, 4, 2, 1), batch_norm=True), Flatten()]
    return Network(
        name,
        (channels, 32, 32),
        [*layers, Dense("classifier", classes)],
        departures=(
            "batch normalization, and one dense layer for three",
            "the source's last layer, a mean over 1 x 1 windows, is left out: it changes nothing",
        ),
        source=source,
    )


def _textbook(name: str, widths: tuple[int, ...], hidden: int, classes: int, channels: int) -> Network:
    layers = [*_features(_A, widths, (112, 56, 28, 14, 7)), *_classifier(hidden, classes)]
    return Network(name, (channels, 224, 224), layers, ("gray images, ten classes",), source=_TEXTBOOK)


def _features(
    convolutions: tuple[int, ...], widths: tuple[int, ...], sides: tuple[int, ...], batch_norm: bool = False
) -> list[Layer]:
    """Five blocks; `sides` are the heights and widths that the pools give."""
    layers: list[Layer] = []
    number = 0
    for block, (count, width, side) in enumerate(zip(convolutions, widths, sides), start=1):
        for _ in range(count):
            layers.append(Conv(f"features.{number}", width, 3, padding=1, out=(width, 2 * side, 2 * side)))
            if batch_norm:
                layers.append(BatchNorm(f"features.{number + 1}"))
            layers.append(ReLU())
            number += 3 if batch_norm else 2
        layers.append(MaxPool(f"pool{block}", 2, 2, out=(width, side, side)))
        number += 1
    return layers


def _classifier(hidden: int, classes: int) -> list[Layer]:
    return [
        Flatten(),
        Dense("classifier.0", hidden),
        ReLU(),
        Dropout(),
        Dense("classifier.3", hidden),
        ReLU(),
        Dropout(),
        Dense("classifier.6", classes),
    ]
