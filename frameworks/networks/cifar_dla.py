"""Deep layer aggregation for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Yu, Wang, Shelhamer and Darrell, "Deep layer aggregation", 2018.
"""

from __future__ import annotations

from collections.abc import Callable

from frameworks.networks.cifar_blocks import basic, conv, head
from frameworks.spec import BatchNorm, Concat, Layer, Network, ReLU

# Builds an aggregation tree from its name, the channels that come in, its width, level and stride.
_Tree = Callable[[str, int, int, int, int], list[Layer]]


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
