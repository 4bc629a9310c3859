"""MobileNet: convolutions split into one window for each channel and a 1 x 1 convolution.

Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto and Adam, "MobileNets: efficient convolutional neural networks
for mobile vision applications", 2017. Parameters have the names of keras.applications.
"""

from __future__ import annotations

from frameworks.spec import (
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Network,
    Padding,
    ReLU6,
    same,
)

# Table 1 of the paper: stride, maps, and height and width of the 13 pairs of convolutions.
_TABLE = (
    *((1, 64, 112), (2, 128, 56), (1, 128, 56), (2, 256, 28), (1, 256, 28), (2, 512, 14)),
    *(((1, 512, 14),) * 5),
    *((2, 1024, 7), (1, 1024, 7)),
)


def mobilenet_v1(classes: int = 1000, channels: int = 3, size: int = 224, width: float = 1.0) -> Network:
    """What keras.applications calls MobileNet. 4,231,976 parameters.

    width: the paper's alpha, the factor of all maps.
    """
    layers: list[Layer] = _conv("conv1", int(32 * width), 3, 2, same(3, 2, size))
    for number, (stride, maps, side) in enumerate(_TABLE, start=1):
        narrow = int((_TABLE[number - 2][1] if number > 1 else 32) * width)
        padding = ((0, 1), (0, 1)) if stride == 2 else 1
        layers += _conv(f"conv_dw_{number}", narrow, 3, stride, padding, groups=narrow)
        layers += _conv(f"conv_pw_{number}", int(maps * width), 1, side=side)
    layers += [GlobalAvgPool("avgpool"), Dropout(rate=1e-3), Conv("conv_preds", classes, 1), Flatten()]
    return Network(
        "mobilenet_v1",
        (channels, size, size),
        layers,
        departures=(
            "table 1 prints stride 2 for the last 3 x 3 convolution, which its own sizes contradict: it has stride 1",
            "ReLU6, not ReLU",
            "at stride 2 the padding is at the bottom and the right alone, as in TensorFlow",
        ),
        source="Howard et al. 2017, table 1; keras.applications 3.15, mobilenet.py",
        as_printed=size == 224,
    )


def _conv(
    name: str, maps: int, kernel: int, stride: int = 1, padding: Padding = 0, groups: int = 1, side: int = 0
) -> list[Layer]:
    """A convolution with batch normalization and ReLU6. side: the height and width that the paper prints, if any."""
    out = (maps, side, side) if side else None
    convolution = Conv(name, maps, kernel, stride, padding, groups, bias=False, out=out)
    return [convolution, BatchNorm(f"{name}_bn", eps=1e-3, momentum=0.01), ReLU6()]
