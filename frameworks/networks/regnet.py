"""RegNet: networks whose stages follow a linear rule with a few numbers, found by a search over such rules.

Radosavovic, Kosaraju, Girshick, He and Dollar, "Designing network design spaces", 2020. Parameters have torchvision's
names.
"""

from __future__ import annotations

from itertools import groupby
from math import log

from frameworks.networks.blocks import conv_norm, divisible, squeeze_excitation
from frameworks.spec import Dense, Flatten, GlobalAvgPool, Layer, Network, ReLU, Residual

# Blocks, initial width w_0, slope w_a, step w_m, and group width, which the paper's figures 15 and 16 print.
_Rule = tuple[int, int, float, float, int]


def regnet_x_400mf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """5,495,976 parameters."""
    return _regnet("regnet_x_400mf", (22, 24, 24.48, 2.54, 16), classes, (channels, size, size))


def regnet_x_800mf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """7,259,656 parameters."""
    return _regnet("regnet_x_800mf", (16, 56, 35.73, 2.28, 16), classes, (channels, size, size))


def regnet_x_1_6gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """9,190,136 parameters."""
    return _regnet("regnet_x_1_6gf", (18, 80, 34.01, 2.25, 24), classes, (channels, size, size))


def regnet_x_3_2gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """15,296,552 parameters."""
    return _regnet("regnet_x_3_2gf", (25, 88, 26.31, 2.25, 48), classes, (channels, size, size))


def regnet_x_8gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """39,572,648 parameters."""
    return _regnet("regnet_x_8gf", (23, 80, 49.56, 2.88, 120), classes, (channels, size, size))


def regnet_x_16gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """54,278,536 parameters."""
    return _regnet("regnet_x_16gf", (22, 216, 55.59, 2.1, 128), classes, (channels, size, size))


def regnet_x_32gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """107,811,560 parameters."""
    return _regnet("regnet_x_32gf", (23, 320, 69.86, 2.0, 168), classes, (channels, size, size))


def regnet_y_400mf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """4,344,144 parameters."""
    return _regnet("regnet_y_400mf", (16, 48, 27.89, 2.09, 8), classes, (channels, size, size), squeezes=True)


def regnet_y_800mf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """6,432,512 parameters."""
    return _regnet("regnet_y_800mf", (14, 56, 38.84, 2.4, 16), classes, (channels, size, size), squeezes=True)


def regnet_y_1_6gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """11,202,430 parameters."""
    return _regnet("regnet_y_1_6gf", (27, 48, 20.71, 2.65, 24), classes, (channels, size, size), squeezes=True)


def regnet_y_3_2gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """19,436,338 parameters."""
    return _regnet("regnet_y_3_2gf", (21, 80, 42.63, 2.66, 24), classes, (channels, size, size), squeezes=True)


def regnet_y_8gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """39,381,472 parameters."""
    return _regnet("regnet_y_8gf", (17, 192, 76.82, 2.19, 56), classes, (channels, size, size), squeezes=True)


def regnet_y_16gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """83,590,140 parameters."""
    return _regnet("regnet_y_16gf", (18, 200, 106.23, 2.48, 112), classes, (channels, size, size), squeezes=True)


def regnet_y_32gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """145,046,770 parameters."""
    return _regnet("regnet_y_32gf", (20, 232, 115.89, 2.53, 232), classes, (channels, size, size), squeezes=True)


def regnet_y_128gf(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """644,812,894 parameters."""
    return _regnet("regnet_y_128gf", (27, 456, 160.83, 2.52, 264), classes, (channels, size, size), squeezes=True)


def _regnet(name: str, rule: _Rule, classes: int, image: tuple[int, int, int], squeezes: bool = False) -> Network:
    """squeezes: the Y networks, which have squeeze and excitation."""
    maps = 32
    layers: list[Layer] = conv_norm("stem", maps, 3, 2, activation=ReLU())
    for stage, (width, count, group) in enumerate(_stages(rule), start=1):
        for number in range(count):
            path = f"trunk_output.block{stage}.block{stage}-{number}"
            squeezed = round(maps / 4) if squeezes else 0
            layers += [_block(path, maps, width, 1 if number else 2, group, squeezed), ReLU()]
            maps = width
    layers += [GlobalAvgPool("avgpool"), Flatten(), Dense("fc", classes)]
    return Network(
        name,
        (image[0], 224, 224),
        layers,
        departures=("the paper prints no network of this size: pycls, the authors' code, has it",)
        * name.endswith("128gf"),
        source="Radosavovic et al. 2020, figures 15 and 16; torchvision 0.28, models/regnet.py",
    ).with_input(image)


def _stages(rule: _Rule) -> list[tuple[int, int, int]]:
    """Width, number of blocks and group width of each stage (equations 2 to 4 of the paper).

    Block j would have w_0 + w_a j maps; it has w_0 w_m^s for the whole number s that brings it nearest in the
    logarithm, in multiples of 8. Equal widths are a stage, whose width is then rounded to a multiple of its group's.
    """
    depth, initial, slope, step, group = rule
    exponents = (round(log((initial + slope * j) / initial) / log(step)) for j in range(depth))
    widths = [round(initial * step**exponent / 8) * 8 for exponent in exponents]
    stages = []
    for width, equal in groupby(widths):
        narrow = min(group, width)
        stages.append((divisible(width, narrow), len(list(equal)), narrow))
    return stages


def _block(name: str, maps: int, width: int, stride: int, group: int, squeezed: int) -> Residual:
    """The X block (figure 4 of the paper), and the Y block if `squeezed` is not 0."""
    body = [
        *conv_norm("f.a", width, activation=ReLU()),
        *conv_norm("f.b", width, 3, stride, groups=width // group, activation=ReLU()),
        *(squeeze_excitation("f.se", width, squeezed) if squeezed else []),
        *conv_norm("f.c", width),
    ]
    return Residual(name, body, conv_norm("proj", width, stride=stride) if stride > 1 or maps != width else ())
