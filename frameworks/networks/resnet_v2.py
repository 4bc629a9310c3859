"""Residual networks with batch normalization and ReLU before the convolutions.

He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", 2016. The layers have the names of
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
    Pad,
    ReLU,
    Residual,
)


def resnet50_v2(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """25,568,360 parameters."""
    return _resnet("resnet50_v2", (3, 4, 6, 3), classes, (channels, size, size))


def resnet101_v2(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """44,577,896 parameters."""
    return _resnet("resnet101_v2", (3, 4, 23, 3), classes, (channels, size, size))


def resnet152_v2(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """60,236,904 parameters."""
    return _resnet("resnet152_v2", (3, 8, 36, 3), classes, (channels, size, size))


def _resnet(name: str, blocks: tuple[int, ...], classes: int, image: tuple[int, int, int]) -> Network:
    layers: list[Layer] = [
        Conv("conv1_conv", 64, 7, 2, padding=3, out=(64, 112, 112)),
        Pad("pool1_pad", 1),  # zeros, which exceed negative values: nothing has been rectified yet
        MaxPool("pool1_pool", 3, 2, out=(64, 56, 56)),
    ]
    for stage, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512)), start=2):
        for number in range(1, count + 1):
            stride = 2 if stage < 5 and number == count else 1
            layers += _block(f"conv{stage}_block{number}", width, stride, project=number == 1)
    layers += [_norm("post_bn"), ReLU(), GlobalAvgPool("avg_pool"), Flatten(), Dense("predictions", classes)]
    return Network(
        name,
        (image[0], 224, 224),
        layers,
        departures=(
            "stride 2 is in the last block of a stage, not in the first, and at its 3 x 3 convolution",
            "the first convolution, the projections and the last convolutions of the blocks have a bias",
            "the first pool is padded with zeros, not minus infinity",
        ),
        source="He et al. 2016, figure 4 (e); keras.applications 3.15, resnet.py",
    ).with_input(image)


def _block(name: str, width: int, stride: int, project: bool) -> list[Layer]:
    """A block with a projection shares its first normalization and ReLU with it."""
    body = [
        Conv("1_conv", width, 1, bias=False),
        _norm("1_bn"),
        ReLU(),
        Conv("2_conv", width, 3, stride, padding=1, bias=False),
        _norm("2_bn"),
        ReLU(),
        Conv("3_conv", 4 * width, 1),
    ]
    if project:
        return [_norm(f"{name}.preact_bn"), ReLU(), Residual(name, body, [Conv("0_conv", 4 * width, 1, stride)])]
    return [Residual(name, [_norm("preact_bn"), ReLU(), *body], [MaxPool("pool", 1, stride)] if stride > 1 else ())]


def _norm(name: str) -> BatchNorm:
    return BatchNorm(name, eps=1.001e-5, momentum=0.01)
