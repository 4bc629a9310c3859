"""Dual path networks for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Chen, Li, Xiao, Jin, Yan and Feng, "Dual path networks", 2017.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import conv, head
from frameworks.spec import BatchNorm, Layer, Network, ReLU, Residual, Select


def cifar_dpn26(classes: int = 10, channels: int = 3) -> Network:
    """Two blocks in each stage. 11,574,842 parameters."""
    return _dual_path("cifar_dpn26", (2, 2, 2, 2), classes, channels)


def cifar_dpn92(classes: int = 10, channels: int = 3) -> Network:
    """34,236,634 parameters."""
    return _dual_path("cifar_dpn92", (3, 4, 20, 3), classes, channels)


def _dual_path(name: str, blocks: tuple[int, ...], classes: int, channels: int) -> Network:
    """Stages of `blocks` blocks. Summed, then joined channels: 256 and 16, 512 and 32, 1,024 and 24, 2,048 and 128."""
    layers: list[Layer] = []
    stages = zip(blocks, (96, 192, 384, 768), (256, 512, 1024, 2048), (16, 32, 24, 128), (1, 2, 2, 2))
    for stage, (count, width, summed, joined, stride) in enumerate(stages, start=1):
        for number in range(count):
            path = f"layer{stage}.{number}"
            layers += _dual_path_block(path, width, summed, joined, number, 1 if number else stride)
    return Network(
        name,
        (channels, 32, 32),
        [conv("conv1", 64, 3), BatchNorm("bn1"), ReLU(), *layers, *head(classes)],
        departures=(
            "a first convolution of 3 x 3 with stride 1 for 7 x 7 with stride 2 and a pool: 32 x 32 images",
            "batch normalization and ReLU after each convolution, not before it",
        ),
        source="Chen et al. 2017, table 1; kuangliu/pytorch-cifar, models/dpn.py",
    )


def _dual_path_block(name: str, width: int, summed: int, joined: int, number: int, stride: int) -> list[Layer]:
    """The first `summed` channels of input and result are added; those of both after it are joined.

    As a sum: both get channels of zeros where only the other one has channels.
    number: the number of blocks of the stage before this one, each of which joined `joined` channels.
    """
    before = joined if number == 0 else (number + 1) * joined  # joined channels of the input
    body = [
        *(conv("conv1", width, 1), BatchNorm("bn1"), ReLU()),
        *(conv("conv2", width, 3, stride, groups=32), BatchNorm("bn2"), ReLU()),
        *(conv("conv3", summed + joined, 1), BatchNorm("bn3")),
        Select("result", (*range(summed), *(None,) * before, *range(summed, summed + joined))),
    ]
    shortcut: list[Layer] = []
    if number == 0:
        shortcut = [conv("shortcut.0", summed + joined, 1, stride), BatchNorm("shortcut.1")]
    shortcut.append(Select("input", (*range(summed + before), *(None,) * joined)))
    return [Residual(name, body, shortcut), ReLU()]
