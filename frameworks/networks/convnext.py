"""ConvNeXt: a residual network brought up to the design of vision transformers.

Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, "A ConvNet for the 2020s", 2022. Parameters have torchvision's names.
"""

from __future__ import annotations

from frameworks.spec import (
    GELU,
    Affine,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    LayerNorm,
    Network,
    Residual,
    StochasticDepth,
)

EPS = 1e-6


def convnext_tiny(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """28,589,128 parameters."""
    return _convnext("convnext_tiny", 96, (3, 3, 9, 3), 0.1, classes, (channels, size, size))


def convnext_small(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """50,223,688 parameters."""
    return _convnext("convnext_small", 96, (3, 3, 27, 3), 0.4, classes, (channels, size, size))


def convnext_base(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """88,591,464 parameters."""
    return _convnext("convnext_base", 128, (3, 3, 27, 3), 0.5, classes, (channels, size, size))


def convnext_large(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """197,767,336 parameters."""
    return _convnext("convnext_large", 192, (3, 3, 27, 3), 0.5, classes, (channels, size, size))


def convnext_xlarge(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """350,196,968 parameters."""
    return _convnext("convnext_xlarge", 256, (3, 3, 27, 3), 0.5, classes, (channels, size, size))


def _convnext(
    name: str, width: int, blocks: tuple[int, ...], drop: float, classes: int, image: tuple[int, int, int]
) -> Network:
    """Table 9 of the paper. width: the maps of the first stage. drop: stochastic depth of the last block."""
    layers: list[Layer] = [
        Conv("features.0.0", width, 4, 4, out=(width, 56, 56)),
        LayerNorm("features.0.1", EPS),
    ]
    done = 0
    for stage, (count, side) in enumerate(zip(blocks, (56, 28, 14, 7))):
        maps = width * 2**stage
        if stage:
            down = f"features.{2 * stage}"
            layers += [LayerNorm(f"{down}.0", EPS), Conv(f"{down}.1", maps, 2, 2, out=(maps, side, side))]
        for number in range(count):
            layers.append(_block(f"features.{2 * stage + 1}.{number}", maps, drop * done / (sum(blocks) - 1)))
            done += 1
    layers += [
        GlobalAvgPool("avgpool"),
        LayerNorm("classifier.0", EPS),
        Flatten(),
        Dense("classifier.2", classes),
    ]
    return Network(
        name,
        (image[0], 224, 224),
        layers,
        departures=(
            *(("neither torchvision nor the paper's training on ImageNet-1K alone has this size",) * (width == 256)),
            "the layer scale starts at the initial value of a gamma, not at the paper's 1e-6",
        ),
        source="Liu et al. 2022, table 9; torchvision 0.28, models/convnext.py",
    ).with_input(image)


def _block(name: str, maps: int, drop: float) -> Residual:
    """Figure 4 of the paper: the 1 x 1 convolutions are dense layers over the channels of a pixel."""
    body = [
        Conv("block.0", maps, 7, padding=3, groups=maps),
        LayerNorm("block.2", EPS),
        Conv("block.3", 4 * maps, 1),
        GELU(),
        Conv("block.5", maps, 1),
        Affine("layer_scale", beta=False),
        *([StochasticDepth(rate=drop)] if drop else []),
    ]
    return Residual(name, body)
