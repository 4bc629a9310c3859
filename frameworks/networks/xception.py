"""Xception: Inception's modules taken to one window for each channel, with shortcuts.

Chollet, "Xception: deep learning with depthwise separable convolutions", 2017. Parameters have the names of
keras.applications.
"""

from __future__ import annotations

from frameworks.spec import (
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Network,
    ReLU,
    Residual,
    same,
)


def xception(classes: int = 1000, channels: int = 3, size: int = 299) -> Network:
    """22,855,952 parameters."""
    side = (size - 3) // 2 + 1 - 2  # after the two convolutions of block 1, which have no padding
    sides = [side]
    for _ in range(4):  # each halving rounds up
        sides.append(-(-sides[-1] // 2))
    layers: list[Layer] = [
        # Entry flow
        *_conv("block1_conv1", 32, 3, 2),
        ReLU(),
        *_conv("block1_conv2", 64, 3),
        ReLU(),
        _halving("block2", (64, 128, 128), sides[0], first=None),
        _halving("block3", (128, 256, 256), sides[1], ReLU()),
        _halving("block4", (256, 728, 728), sides[2], ReLU(), out=(728, 19, 19)),
        # Middle flow
        *(_middle(f"block{number}") for number in range(5, 13)),
        # Exit flow
        _halving("block13", (728, 728, 1024), sides[3], ReLU()),
        *_separable("block14_sepconv1", 1024, 1536),
        ReLU(),
        *_separable("block14_sepconv2", 1536, 2048),
        ReLU(),
        GlobalAvgPool("avg_pool", out=(2048, 1, 1)),
        Flatten(),
        Dense("predictions", classes),
    ]
    return Network(
        "xception",
        (channels, size, size),
        layers,
        departures=(
            'pools have the padding of TensorFlow\'s "same" for this size: more at the bottom and the right',
            "the optional fully-connected layers of figure 5 are absent",
        ),
        source="Chollet 2017, figure 5; keras.applications 3.15, xception.py",
        as_printed=size == 299,
    )


def _conv(name: str, maps: int, kernel: int, stride: int = 1) -> list[Layer]:
    return [Conv(name, maps, kernel, stride, bias=False), _norm(f"{name}_bn")]


def _norm(name: str) -> BatchNorm:
    return BatchNorm(name, eps=1e-3, momentum=0.01)


def _separable(name: str, maps: int, out: int) -> list[Layer]:
    """A 3 x 3 convolution of each channel alone and a 1 x 1 convolution, without an activation between them."""
    return [
        Conv(f"{name}.depthwise", maps, 3, padding=1, groups=maps, bias=False),
        Conv(f"{name}.pointwise", out, 1, bias=False),
        _norm(f"{name}_bn"),
    ]


def _halving(
    name: str, maps: tuple[int, int, int], side: int, first: Layer | None, out: tuple[int, int, int] | None = None
) -> Residual:
    """Two separable convolutions and a pool of stride 2, beside a 1 x 1 convolution of stride 2.

    maps: of the input and of the convolutions. side: height and width of the input. first: the activation before.
    """
    body = [
        *([first] if first else []),
        *_separable("sepconv1", *maps[:2]),
        ReLU(),
        *_separable("sepconv2", *maps[1:]),
        MaxPool("pool", 3, 2, same(3, 2, side)),
    ]
    return Residual(name, body, _conv("shortcut", maps[2], 1, 2), out=out)


def _middle(name: str) -> Residual:
    body = [layer for number in (1, 2, 3) for layer in (ReLU(), *_separable(f"sepconv{number}", 728, 728))]
    return Residual(name, body, out=(728, 19, 19))
