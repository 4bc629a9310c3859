"""Inception-ResNet: Inception's modules as the bodies of residual blocks.

Szegedy, Ioffe, Vanhoucke and Alemi, "Inception-v4, Inception-ResNet and the impact of residual connections on
learning", 2017. The layers have the names of TensorFlow's slim/nets/inception_resnet_v2.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from frameworks.spec import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Network,
    Pair,
    ReLU,
    Residual,
    Scale,
    pair,
)


def inception_resnet_v2(classes: int = 1000, channels: int = 3, size: int = 299) -> Network:
    """55,813,192 parameters."""
    return Network(
        "inception_resnet_v2",
        (channels, 299, 299),
        [
            *_conv("Conv2d_1a_3x3", 32, 3, 2, padded=False),
            *_conv("Conv2d_2a_3x3", 32, 3, padded=False),
            *_conv("Conv2d_2b_3x3", 64, 3),
            MaxPool("MaxPool_3a_3x3", 3, 2, out=(64, 73, 73)),
            *_conv("Conv2d_3b_1x1", 80, 1),
            *_conv("Conv2d_4a_3x3", 192, 3, padded=False),
            MaxPool("MaxPool_5a_3x3", 3, 2, out=(192, 35, 35)),
            _mixed_5b(),
            *(layer for number in range(1, 11) for layer in _block35(f"block35_{number}")),
            _mixed_6a(),
            *(layer for number in range(1, 21) for layer in _block17(f"block17_{number}")),
            _mixed_7a(),
            *(layer for number in range(1, 10) for layer in _block8(f"block8_{number}")),
            *_block8("block8_10", scale=1.0)[:1],  # without the ReLU
            *_conv("Conv2d_7b_1x1", 1536, 1),
            GlobalAvgPool("avgpool", out=(1536, 1, 1)),
            Flatten(),
            Dense("Logits", classes),
        ],
        departures=(
            "the stem is that of Inception v3, and sizes are those of the code that Google published, not of figures 3 "
            "and 16 to 19",
            "batch normalization has no gamma",
            "no dropout and no auxiliary classifier",
        ),
        source="Szegedy et al. 2017; keras.applications 3.15, inception_resnet_v2.py",
    ).with_input((channels, size, size))


def _conv(name: str, maps: int, kernel: Pair, stride: int = 1, padded: bool = True) -> list[Layer]:
    """A convolution, batch normalization without gamma, and ReLU."""
    vertical, horizontal = pair(kernel)
    padding = (vertical // 2, horizontal // 2) if padded else 0
    convolution = Conv(f"{name}.conv", maps, kernel, stride, padding, bias=False)
    return [convolution, BatchNorm(f"{name}.bn", eps=1e-3, momentum=0.01, gamma=False), ReLU()]


def _mixed_5b() -> Concat:
    return Concat(
        "Mixed_5b",
        [
            _conv("Branch_0.Conv2d_1x1", 96, 1),
            [*_conv("Branch_1.Conv2d_0a_1x1", 48, 1), *_conv("Branch_1.Conv2d_0b_5x5", 64, 5)],
            [
                *_conv("Branch_2.Conv2d_0a_1x1", 64, 1),
                *_conv("Branch_2.Conv2d_0b_3x3", 96, 3),
                *_conv("Branch_2.Conv2d_0c_3x3", 96, 3),
            ],
            [
                AvgPool("Branch_3.AvgPool_0a_3x3", 3, 1, padding=1, count_padding=False),
                *_conv("Branch_3.Conv2d_0b_1x1", 64, 1),
            ],
        ],
        out=(320, 35, 35),
    )


def _mixed_6a() -> Concat:
    """Reduction-A, figure 7 of the paper."""
    return Concat(
        "Mixed_6a",
        [
            _conv("Branch_0.Conv2d_1a_3x3", 384, 3, 2, padded=False),
            [
                *_conv("Branch_1.Conv2d_0a_1x1", 256, 1),
                *_conv("Branch_1.Conv2d_0b_3x3", 256, 3),
                *_conv("Branch_1.Conv2d_1a_3x3", 384, 3, 2, padded=False),
            ],
            [MaxPool("Branch_2.MaxPool_1a_3x3", 3, 2)],
        ],
        out=(1088, 17, 17),
    )


def _mixed_7a() -> Concat:
    """Reduction-B, figure 18 of the paper."""
    return Concat(
        "Mixed_7a",
        [
            [*_conv("Branch_0.Conv2d_0a_1x1", 256, 1), *_conv("Branch_0.Conv2d_1a_3x3", 384, 3, 2, padded=False)],
            [*_conv("Branch_1.Conv2d_0a_1x1", 256, 1), *_conv("Branch_1.Conv2d_1a_3x3", 288, 3, 2, padded=False)],
            [
                *_conv("Branch_2.Conv2d_0a_1x1", 256, 1),
                *_conv("Branch_2.Conv2d_0b_3x3", 288, 3),
                *_conv("Branch_2.Conv2d_1a_3x3", 320, 3, 2, padded=False),
            ],
            [MaxPool("Branch_3.MaxPool_1a_3x3", 3, 2)],
        ],
        out=(2080, 8, 8),
    )


def _block35(name: str) -> list[Layer]:
    """Inception-ResNet-A, figure 16 of the paper."""
    chains = [
        _conv("Branch_0.Conv2d_1x1", 32, 1),
        [*_conv("Branch_1.Conv2d_0a_1x1", 32, 1), *_conv("Branch_1.Conv2d_0b_3x3", 32, 3)],
        [
            *_conv("Branch_2.Conv2d_0a_1x1", 32, 1),
            *_conv("Branch_2.Conv2d_0b_3x3", 48, 3),
            *_conv("Branch_2.Conv2d_0c_3x3", 64, 3),
        ],
    ]
    return _residual(name, chains, (320, 35, 35), scale=0.17)


def _block17(name: str) -> list[Layer]:
    """Inception-ResNet-B, figure 17 of the paper."""
    chains = [
        _conv("Branch_0.Conv2d_1x1", 192, 1),
        [
            *_conv("Branch_1.Conv2d_0a_1x1", 128, 1),
            *_conv("Branch_1.Conv2d_0b_1x7", 160, (1, 7)),
            *_conv("Branch_1.Conv2d_0c_7x1", 192, (7, 1)),
        ],
    ]
    return _residual(name, chains, (1088, 17, 17), scale=0.1)


def _block8(name: str, scale: float = 0.2) -> list[Layer]:
    """Inception-ResNet-C, figure 19 of the paper."""
    chains = [
        _conv("Branch_0.Conv2d_1x1", 192, 1),
        [
            *_conv("Branch_1.Conv2d_0a_1x1", 192, 1),
            *_conv("Branch_1.Conv2d_0b_1x3", 224, (1, 3)),
            *_conv("Branch_1.Conv2d_0c_3x1", 256, (3, 1)),
        ],
    ]
    return _residual(name, chains, (2080, 8, 8), scale)


def _residual(name: str, chains: Sequence[Sequence[Layer]], out: tuple[int, int, int], scale: float) -> list[Layer]:
    """The chains' maps, projected to as many as the input has, scaled (section 3.3 of the paper) and added to it."""
    body = [Concat("", chains), Conv("Conv2d_1x1", out[0], 1), Scale(factor=scale)]
    return [Residual(name, body, out=out), ReLU()]
