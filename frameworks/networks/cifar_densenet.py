"""DenseNet for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2017.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import conv, head
from frameworks.spec import AvgPool, BatchNorm, Concat, Layer, Network, ReLU


def cifar_densenet121(classes: int = 10, channels: int = 3) -> Network:
    """6,956,298 parameters."""
    growth = 32
    layers: list[Layer] = []
    maps = 2 * growth
    for stage, blocks in enumerate((6, 12, 24, 16), start=1):
        for number in range(blocks):
            layers.append(_dense_block(f"dense{stage}.{number}", growth))
        maps += blocks * growth
        if stage < 4:
            maps //= 2
            layers += _transition(f"trans{stage}", maps)
    return Network(
        "cifar_densenet121",
        (channels, 32, 32),
        [conv("conv1", 2 * growth, 3), *layers, BatchNorm("bn"), ReLU(), *head(classes)],
        departures=("a first convolution of 3 x 3 with stride 1 for 7 x 7 with stride 2 and a pool: 32 x 32 images",),
        source="Huang et al. 2017, table 1; kuangliu/pytorch-cifar, models/densenet.py",
    )


def _dense_block(name: str, growth: int) -> Concat:
    """`growth` new channels before those of the input."""
    body = [
        *(BatchNorm("bn1"), ReLU(), conv("conv1", 4 * growth, 1)),
        *(BatchNorm("bn2"), ReLU(), conv("conv2", growth, 3)),
    ]
    return Concat(name, [body, []])


def _transition(name: str, maps: int) -> list[Layer]:
    return [BatchNorm(f"{name}.bn"), ReLU(), conv(f"{name}.conv", maps, 1), AvgPool(f"{name}.pool", 2, 2)]
