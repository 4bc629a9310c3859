"""Wide residual networks, with more maps in each convolution.

Zagoruyko and Komodakis, "Wide residual networks", 2016. Parameters have torchvision's names.
"""

from __future__ import annotations

from functools import partial

from frameworks.networks.resnet import STRIDE_AT_3X3, bottleneck, residual_network
from frameworks.spec import Network


def wide_resnet50_2(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """68,883,240 parameters."""
    return _wide("wide_resnet50_2", (3, 4, 6, 3), classes, (channels, size, size))


def wide_resnet101_2(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """126,886,696 parameters."""
    return _wide("wide_resnet101_2", (3, 4, 23, 3), classes, (channels, size, size))


def _wide(name: str, blocks: tuple[int, ...], classes: int, image: tuple[int, int, int]) -> Network:
    """ResNet with twice the maps in the 3 x 3 convolutions."""
    return residual_network(
        name,
        partial(bottleneck, group_width=128),
        blocks,
        classes,
        image[0],
        departures=STRIDE_AT_3X3,
        source="Zagoruyko and Komodakis 2016, WRN-50-2-bottleneck; torchvision 0.28, models/resnet.py",
    ).with_input(image)
