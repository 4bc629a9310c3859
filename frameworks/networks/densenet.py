"""Densely connected networks: each layer takes the maps of all layers before it in its block.

Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2017. Parameters have
torchvision's names.
"""

from __future__ import annotations

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
    ReLU,
)


def densenet121(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """7,978,856 parameters."""
    return _densenet("densenet121", (6, 12, 24, 16), classes, (channels, size, size))


def densenet161(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """The wide form, which grows by 48 maps from a stem of 96. 28,681,000 parameters."""
    return _densenet("densenet161", (6, 12, 36, 24), classes, (channels, size, size), growth=48)


def densenet169(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """14,149,480 parameters."""
    return _densenet("densenet169", (6, 12, 32, 32), classes, (channels, size, size))


def densenet201(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """20,013,928 parameters."""
    return _densenet("densenet201", (6, 12, 48, 32), classes, (channels, size, size))


def _densenet(
    name: str, blocks: tuple[int, ...], classes: int, image: tuple[int, int, int], growth: int = 32
) -> Network:
    """Table 1 of the paper. growth: the maps that each layer adds, k; the stem has 2 k."""
    layers: list[Layer] = [
        Conv("features.conv0", 2 * growth, 7, 2, padding=3, bias=False, out=(2 * growth, 112, 112)),
        BatchNorm("features.norm0"),
        ReLU(),
        MaxPool("features.pool0", 3, 2, padding=1, out=(2 * growth, 56, 56)),
    ]
    maps = 2 * growth
    for number, (count, side) in enumerate(zip(blocks, (56, 28, 14, 7)), start=1):
        for index in range(1, count + 1):
            maps += growth
            layers.append(_dense_layer(f"features.denseblock{number}.denselayer{index}", growth, (maps, side, side)))
        if number < len(blocks):
            maps //= 2
            layers += _transition(f"features.transition{number}", maps, side)
    layers += [BatchNorm("features.norm5"), ReLU(), GlobalAvgPool("avgpool"), Flatten(), Dense("classifier", classes)]
    return Network(
        name,
        (image[0], 224, 224),
        layers,
        source="Huang et al. 2017, table 1 (DenseNet-BC); torchvision 0.28, models/densenet.py",
    ).with_input(image)


def _dense_layer(name: str, growth: int, out: tuple[int, int, int]) -> Concat:
    """DenseNet-B: a 1 x 1 convolution to 4 k maps before the 3 x 3. The empty chain is the maps so far."""
    added = [
        BatchNorm("norm1"),
        ReLU(),
        Conv("conv1", 4 * growth, 1, bias=False),
        BatchNorm("norm2"),
        ReLU(),
        Conv("conv2", growth, 3, padding=1, bias=False),
    ]
    return Concat(name, [[], added], out=out)


def _transition(name: str, maps: int, side: int) -> list[Layer]:
    """DenseNet-C: half the maps, half the height and width."""
    return [
        BatchNorm(f"{name}.norm"),
        ReLU(),
        Conv(f"{name}.conv", maps, 1, bias=False, out=(maps, side, side)),
        AvgPool(f"{name}.pool", 2, 2, out=(maps, side // 2, side // 2)),
    ]
