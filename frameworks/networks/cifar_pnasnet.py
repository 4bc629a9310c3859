"""PNASNet for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Liu et al., "Progressive neural architecture search", 2018.
"""

from __future__ import annotations

from collections.abc import Callable

from frameworks.networks.cifar_blocks import conv, head
from frameworks.spec import Add, BatchNorm, Concat, Layer, MaxPool, Network, ReLU


def cifar_pnasnet_a(classes: int = 10, channels: int = 3) -> Network:
    """Cells of one depthwise convolution and one pool. 130,646 parameters."""
    return _cells("cifar_pnasnet_a", _cell_a, 44, classes, channels)


def cifar_pnasnet_b(classes: int = 10, channels: int = 3) -> Network:
    """Cells of three depthwise convolutions and one pool. 451,626 parameters."""
    return _cells("cifar_pnasnet_b", _cell_b, 32, classes, channels)


def _cells(
    name: str, cell: Callable[[str, int, int, int], list[Layer]], width: int, classes: int, channels: int
) -> Network:
    """Six cells with `width` channels, one of stride 2 that doubles them, six, one, six."""
    layers: list[Layer] = []
    maps = width
    for layer, (count, factor, stride) in enumerate(((6, 1, 1), (1, 2, 2), (6, 2, 1), (1, 4, 2), (6, 4, 1)), start=1):
        for number in range(count):
            path = f"layer{layer}" if count == 1 else f"layer{layer}.{number}"
            layers += cell(path, maps, factor * width, stride)
            maps = factor * width
    return Network(
        name,
        (channels, 32, 32),
        [conv("conv1", width, 3), BatchNorm("bn1"), ReLU(), *layers, *head(classes)],
        departures=(
            "a cell takes the cell before it only, where the paper's takes two",
            "a separable convolution is one depthwise convolution",
        ),
        source="Liu et al. 2018; kuangliu/pytorch-cifar, models/pnasnet.py",
    )


def _cell_a(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    return [Add(name, [_depthwise("sep_conv1", maps, width, 7, stride), _pooled(width, stride)]), ReLU()]


def _cell_b(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    seven, three, five = (
        _depthwise(f"sep_conv{number}", maps, width, kernel, stride) for number, kernel in ((1, 7), (2, 3), (3, 5))
    )
    left, right = Add("", [seven, three]), Add("", [_pooled(width, stride), five])
    return [
        Concat(name, [[left, ReLU()], [right, ReLU()]]),
        *(conv(f"{name}.conv2", width, 1), BatchNorm(f"{name}.bn2"), ReLU()),
    ]


def _depthwise(name: str, maps: int, width: int, kernel: int, stride: int) -> list[Layer]:
    """`width / maps` results for each channel of the input."""
    return [conv(f"{name}.conv1", width, kernel, stride, groups=maps), BatchNorm(f"{name}.bn1")]


def _pooled(width: int, stride: int) -> list[Layer]:
    """A maximum pool; at stride 2 a 1 x 1 convolution gives it the new number of channels."""
    pool = MaxPool("pool", 3, stride, padding=1)
    return [pool] if stride == 1 else [pool, conv("conv1", width, 1), BatchNorm("bn1")]
