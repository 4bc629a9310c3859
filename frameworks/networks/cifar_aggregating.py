"""Networks that join the results of several depths, for 32 x 32 images, after kuangliu/pytorch-cifar, in its names.

Szegedy et al., "Going deeper with convolutions", 2014; Huang et al., "Densely connected convolutional networks", 2017;
Chen et al., "Dual path networks", 2017; Yu et al., "Deep layer aggregation", 2018; Liu et al., "Progressive neural
architecture search", 2018. The first convolution is 3 x 3 with stride 1 and no pool follows it.
"""

from __future__ import annotations

from collections.abc import Callable

from frameworks.networks.cifar_residual import basic, conv, head
from frameworks.networks.googlenet import TABLE
from frameworks.spec import (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Layer,
    MaxPool,
    Network,
    ReLU,
    Residual,
    Select,
)

# Builds an aggregation tree from its name, the channels that come in, its width, level and stride.
_Tree = Callable[[str, int, int, int, int], list[Layer]]


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


def cifar_dpn26(classes: int = 10, channels: int = 3) -> Network:
    """Two blocks in each stage. 11,574,842 parameters."""
    return _dual_path("cifar_dpn26", (2, 2, 2, 2), classes, channels)


def cifar_dpn92(classes: int = 10, channels: int = 3) -> Network:
    """34,236,634 parameters."""
    return _dual_path("cifar_dpn92", (3, 4, 20, 3), classes, channels)


def cifar_dla(classes: int = 10, channels: int = 3) -> Network:
    """Hierarchical aggregation: a node of level 2 also joins the results of level 1. 16,291,386 parameters."""
    return _aggregated("cifar_dla", _tree, (), "dla.py", classes, channels)


def cifar_simple_dla(classes: int = 10, channels: int = 3) -> Network:
    """Binary trees of blocks, each with a node that joins its two halves. 15,142,970 parameters."""
    return _aggregated(
        "cifar_simple_dla",
        _binary_tree,
        ("a node joins its two halves only, not all nodes before it",),
        "dla_simple.py",
        classes,
        channels,
    )


def cifar_pnasnet_a(classes: int = 10, channels: int = 3) -> Network:
    """Cells of one depthwise convolution and one pool. 130,646 parameters."""
    return _cells("cifar_pnasnet_a", _cell_a, 44, classes, channels)


def cifar_pnasnet_b(classes: int = 10, channels: int = 3) -> Network:
    """Cells of three depthwise convolutions and one pool. 451,626 parameters."""
    return _cells("cifar_pnasnet_b", _cell_b, 32, classes, channels)


# --- GoogLeNet --------------------------------------------------------------------------------------------------------


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


# --- DenseNet ---------------------------------------------------------------------------------------------------------


def _dense_block(name: str, growth: int) -> Concat:
    """`growth` new channels before those of the input."""
    body = [
        *(BatchNorm("bn1"), ReLU(), conv("conv1", 4 * growth, 1)),
        *(BatchNorm("bn2"), ReLU(), conv("conv2", growth, 3)),
    ]
    return Concat(name, [body, []])


def _transition(name: str, maps: int) -> list[Layer]:
    return [BatchNorm(f"{name}.bn"), ReLU(), conv(f"{name}.conv", maps, 1), AvgPool(f"{name}.pool", 2, 2)]


# --- DPN --------------------------------------------------------------------------------------------------------------


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


# --- DLA --------------------------------------------------------------------------------------------------------------


def _aggregated(name: str, tree: _Tree, departures: tuple[str, ...], file: str, classes: int, channels: int) -> Network:
    return Network(
        name,
        (channels, 32, 32),
        [
            *(conv("base.0", 16, 3), BatchNorm("base.1"), ReLU()),
            *(conv("layer1.0", 16, 3), BatchNorm("layer1.1"), ReLU()),
            *(conv("layer2.0", 32, 3), BatchNorm("layer2.1"), ReLU()),
            *tree("layer3", 32, 64, 1, 1),
            *tree("layer4", 64, 128, 2, 2),
            *tree("layer5", 128, 256, 2, 2),
            *tree("layer6", 256, 512, 1, 2),
            *head(classes),
        ],
        departures=("a first convolution of 3 x 3 for 7 x 7, stride 1 up to layer3: 32 x 32 images", *departures),
        source=f"Yu et al. 2018, figure 3; kuangliu/pytorch-cifar, models/{file}",
    )


def _tree(name: str, maps: int, width: int, level: int, stride: int) -> list[Layer]:
    """Two blocks, one after the other, and a node that joins them. level: 1 or 2.

    At level 2 a tree of level 1 comes before them, and the node also joins its result and that of a block beside it.
    """
    right = _beside(basic(f"{name}.right_node", width, width, 1))
    if level == 1:
        return [*basic(f"{name}.left_node", maps, width, stride), right, *_node(name, width)]
    lower = _tree(f"{name}.level_1", maps, width, 1, stride)
    chain = [*lower, _beside([*basic(f"{name}.left_node", width, width, 1), right])]
    return [Concat("", [basic(f"{name}.prev_root", maps, width, stride), chain]), *_node(name, width)]


def _binary_tree(name: str, maps: int, width: int, level: int, stride: int) -> list[Layer]:
    """Two halves, one after the other, and a node that joins them; a half is a block or a tree."""
    if level == 1:
        left, right = basic(f"{name}.left_tree", maps, width, stride), basic(f"{name}.right_tree", width, width, 1)
    else:
        left = _binary_tree(f"{name}.left_tree", maps, width, level - 1, stride)
        right = _binary_tree(f"{name}.right_tree", width, width, level - 1, 1)
    return [*left, _beside(right), *_node(name, width)]


def _beside(layers: list[Layer]) -> Concat:
    """The input, and beside it the result of the layers."""
    return Concat("", [[], layers])


def _node(name: str, width: int) -> list[Layer]:
    return [conv(f"{name}.root.conv", width, 1), BatchNorm(f"{name}.root.bn"), ReLU()]


# --- PNASNet ----------------------------------------------------------------------------------------------------------


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
    left, right = Add("left", [seven, three]), Add("right", [_pooled(width, stride), five])
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
