"""ShuffleNet: 1 x 1 convolutions in groups, and a permutation of the channels between them.

Zhang, Zhou, Lin and Sun, "ShuffleNet: an extremely efficient convolutional neural network for mobile devices", 2018.
"""

from __future__ import annotations

from frameworks.networks.blocks import shuffle
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
    Residual,
)

# Table 1 of the paper: maps of stage 2 by the number of groups; each later stage has twice as many.
STAGE_2 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}


def shufflenet_v1(classes: int = 1000, channels: int = 3, size: int = 224, groups: int = 3) -> Network:
    """The paper's ShuffleNet 1x with 3 groups. 1,865,728 parameters."""
    layers: list[Layer] = [
        *_conv("conv1", 24, 3, 2),
        ReLU(),
        MaxPool("maxpool", 3, 2, padding=1, out=(24, 56, 56)),
    ]
    maps = 24
    for stage, (count, side) in enumerate(((4, 28), (8, 14), (4, 7)), start=2):
        out = STAGE_2[groups] * 2 ** (stage - 2)
        for number in range(count):
            first = 1 if stage == 2 and number == 0 else groups  # "too few input channels" for groups
            body = _unit(out // 4, out if number else out - maps, groups, first, stride=1 if number else 2)
            name = f"stage{stage}.{number}"
            if number:
                layers += [Residual(name, body, out=(out, side, side)), ReLU()]
            else:
                pooled = [AvgPool("pool", 3, 2, padding=1)]
                layers += [Concat(name, [pooled, body], out=(out, side, side)), ReLU()]
        maps = out
    layers += [GlobalAvgPool("avgpool"), Flatten(), Dense("fc", classes)]
    return Network(
        "shufflenet_v1",
        (channels, 224, 224),
        layers,
        departures=("the paper prints no padding: windows are padded by 1 on all sides",),
        source="Zhang et al. 2018, table 1 and figure 2",
    ).with_input((channels, size, size))


def _unit(narrow: int, out: int, groups: int, first: int, stride: int) -> list[Layer]:
    """Figure 2 of the paper, (b) and (c). first: the groups of the first 1 x 1 convolution."""
    return [
        *_conv("compress", narrow, 1, groups=first),
        ReLU(),
        shuffle("shuffle", narrow, groups),
        *_conv("depthwise", narrow, 3, stride, groups=narrow),
        *_conv("expand", out, 1, groups=groups),
    ]


def _conv(name: str, maps: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Layer]:
    convolution = Conv(f"{name}.conv", maps, kernel, stride, kernel // 2, groups, bias=False)
    return [convolution, BatchNorm(f"{name}.bn")]
