"""LeNet and its descendants.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
"""

from __future__ import annotations

from frameworks.spec import (
    Affine,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    Network,
    ReLU,
    Select,
    Sigmoid,
    Tanh,
)

# Table 1 of the paper, column by column: the maps of S2 that each of the sixteen maps of C3 sees.
_C3 = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


def lenet5(classes: int = 10, channels: int = 1) -> Network:
    """The paper's LeNet-5 for 32 x 32 images. 60,000 parameters before `head`, which the paper does not have."""
    return Network(
        "lenet5",
        (channels, 32, 32),
        [
            Conv("C1", 6, 5, out=(6, 28, 28)),
            _squash(),
            AvgPool("S2_mean", 2, 2),
            Affine("S2", out=(6, 14, 14)),
            _squash(),
            Concat("C3", [_map(number, seen) for number, seen in enumerate(_C3)], out=(16, 10, 10)),
            _squash(),
            AvgPool("S4_mean", 2, 2),
            Affine("S4", out=(16, 5, 5)),
            _squash(),
            Conv("C5", 120, 5, out=(120, 1, 1)),
            _squash(),
            Flatten(),
            Dense("F6", 84),
            _squash(),
            Dense("head", classes),
        ],
        departures=(
            "head: a dense layer trained by cross-entropy for the Euclidean distances to fixed codes",
            "S2 and S4 take the mean of four values where the paper takes their sum: the trained coefficient is four "
            "times the paper's",
        ),
        source="LeCun et al. 1998, section II.B, table 1 and appendix A",
    )


def _squash() -> Tanh:
    """Appendix A: f(a) = 1.7159 tanh(2/3 a), after every layer up to F6, the sub-sampling layers too."""
    return Tanh(amplitude=1.7159, slope=2 / 3)


def _map(number: int, seen: tuple[int, ...]) -> list[Layer]:
    return [Select(f"map{number}_sees", seen), Conv(f"map{number}", 1, 5)]


def lenet(classes: int = 10, channels: int = 1) -> Network:
    """The textbook's LeNet: sigmoid, average pooling, 28 x 28 padded to the paper's 32 x 32. 61,706 parameters."""
    return Network(
        "lenet",
        (channels, 28, 28),
        [
            Conv("C1", 6, 5, padding=2, out=(6, 28, 28)),
            Sigmoid(),
            AvgPool("S2", 2, 2, out=(6, 14, 14)),
            Conv("C3", 16, 5, out=(16, 10, 10)),
            Sigmoid(),
            AvgPool("S4", 2, 2, out=(16, 5, 5)),
            Flatten(),
            Dense("C5", 120),
            Sigmoid(),
            Dense("F6", 84),
            Sigmoid(),
            Dense("output", classes),
        ],
        departures=(
            "sigmoid for the paper's scaled tanh",
            "S2 and S4 are plain means: no trained coefficient and bias, no squashing",
            "C3 sees all maps of S2 (the paper: 60 of 96 pairs)",
            "a dense output with cross-entropy for Euclidean distances to fixed codes",
        ),
        source="Zhang, Lipton, Li and Smola, Dive into Deep Learning, 2021, section 7.6",
    )


def lenet_bn(classes: int = 10, channels: int = 1) -> Network:
    """LeNet with batch normalization before each sigmoid, on unpadded 28 x 28 images. 44,878 parameters."""
    return Network(
        "lenet_bn",
        (channels, 28, 28),
        [
            Conv("C1", 6, 5, out=(6, 24, 24)),
            BatchNorm("C1_bn"),
            Sigmoid(),
            AvgPool("S2", 2, 2, out=(6, 12, 12)),
            Conv("C3", 16, 5, out=(16, 8, 8)),
            BatchNorm("C3_bn"),
            Sigmoid(),
            AvgPool("S4", 2, 2, out=(16, 4, 4)),
            Flatten(),
            Dense("C5", 120),
            BatchNorm("C5_bn"),
            Sigmoid(),
            Dense("F6", 84),
            BatchNorm("F6_bn"),
            Sigmoid(),
            Dense("output", classes),
        ],
        departures=("LeNet's departures (see lenet), no padding, and batch normalization, which is of 2015",),
        source="Zhang, Lipton, Li and Smola, Dive into Deep Learning, 2021, section 8.5",
    )


def lenet_relu(classes: int = 10, channels: int = 1) -> Network:
    """LeNet with ReLU and maximum pooling on unpadded 28 x 28 images. 44,426 parameters."""
    return _with_relu("lenet_relu", (channels, 28, 28), maps=((24, 12), (8, 4)), classes=classes)


def lenet_cifar(classes: int = 10, channels: int = 3) -> Network:
    """LeNet with ReLU and maximum pooling for 32 x 32 color images. 62,006 parameters.

    It is also the network of PyTorch's tutorial "Deep learning with PyTorch: a 60 minute blitz" and the LeNet of
    kuangliu/pytorch-cifar.
    """
    return _with_relu("lenet_cifar", (channels, 32, 32), maps=((28, 14), (10, 5)), classes=classes)


def _with_relu(name: str, input: tuple[int, int, int], maps: tuple[tuple[int, int], ...], classes: int) -> Network:
    (c1, s2), (c3, s4) = maps
    layers: list[Layer] = [
        Conv("C1", 6, 5, out=(6, c1, c1)),
        ReLU(),
        MaxPool("S2", 2, 2, out=(6, s2, s2)),
        Conv("C3", 16, 5, out=(16, c3, c3)),
        ReLU(),
        MaxPool("S4", 2, 2, out=(16, s4, s4)),
        Flatten(),
        Dense("C5", 120),
        ReLU(),
        Dense("F6", 84),
        ReLU(),
        Dense("output", classes),
    ]
    departures = ("ReLU and maximum pooling for scaled tanh and trained averages", "C3 sees all maps of S2")
    return Network(name, input, layers, departures, source="LeCun et al. 1998, modernized")
