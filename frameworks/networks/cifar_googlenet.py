"""GoogLeNet for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Szegedy et al., "Going deeper with convolutions", 2014.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import head
from frameworks.networks.googlenet import TABLE
from frameworks.spec import BatchNorm, Concat, Conv, Layer, MaxPool, Network, ReLU


def cifar_googlenet(classes: int = 10, channels: int = 3) -> Network:
    """6,166,250 parameters."""
    return Network(
        "cifar_googlenet",
        (channels, 32, 32),
        [
            *(Conv("pre_layers.0", 192, 3, padding=1), BatchNorm("pre_layers.1"), ReLU()),
            *(_inception(row) for row in ("3a", "3b")),
            MaxPool("maxpool", 3, 2, padding=1, out=(480, 16, 16)),
            *(_inception(row) for row in ("4a", "4b", "4c", "4d", "4e")),
            MaxPool("maxpool2", 3, 2, padding=1, out=(832, 8, 8)),
            *(_inception(row) for row in ("5a", "5b")),
            *head(classes),
        ],
        departures=(
            "one convolution before the Inception modules, and two pools for four: 32 x 32 images",
            "batch normalization after each convolution; no response normalization, no dropout",
            "two 3 x 3 convolutions for each 5 x 5",
        ),
        source="Szegedy et al. 2014, table 1; kuangliu/pytorch-cifar, models/googlenet.py",
    )


def _inception(row: str) -> Concat:
    """A row of the paper's table; pytorch-cifar calls the row 3a a3."""
    one, reduce3, three, reduce5, five, projection = TABLE[row][0]
    return Concat(
        row[::-1],
        [
            _normalized("b1", 0, one, 1),
            [*_normalized("b2", 0, reduce3, 1), *_normalized("b2", 3, three, 3)],
            [*_normalized("b3", 0, reduce5, 1), *_normalized("b3", 3, five, 3), *_normalized("b3", 6, five, 3)],
            [MaxPool("b4.0", 3, 1, padding=1), *_normalized("b4", 1, projection, 1)],
        ],
    )


def _normalized(branch: str, number: int, maps: int, kernel: int) -> list[Layer]:
    """Convolution with bias, batch normalization, ReLU. number: the place of the convolution in its branch."""
    return [
        Conv(f"{branch}.{number}", maps, kernel, padding=kernel // 2),
        BatchNorm(f"{branch}.{number + 1}"),
        ReLU(),
    ]
