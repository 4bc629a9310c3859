"""MobileNet for 32 x 32 images, as in kuangliu/pytorch-cifar and in its names.

Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017.
"""

from __future__ import annotations

from frameworks.networks.cifar_blocks import conv, head
from frameworks.spec import BatchNorm, Layer, Network, ReLU

# Maps and stride of each depthwise separable convolution.
_MOBILENET = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)),
    *((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    *((1024, 2), (1024, 1)),
)


def cifar_mobilenet(classes: int = 10, channels: int = 3) -> Network:
    """3,217,226 parameters."""
    layers: list[Layer] = []
    maps = 32
    for number, (width, stride) in enumerate(_MOBILENET):
        layers += _separable(f"layers.{number}", maps, width, stride)
        maps = width
    return Network(
        "cifar_mobilenet",
        (channels, 32, 32),
        [conv("conv1", 32, 3), BatchNorm("bn1"), ReLU(), *layers, *head(classes)],
        departures=("the first convolution has stride 1, where the paper has 2",),
        source="Howard et al. 2017; kuangliu/pytorch-cifar, models/mobilenet.py",
    )


def _separable(name: str, maps: int, width: int, stride: int) -> list[Layer]:
    """A depthwise convolution, then a 1 x 1 convolution."""
    return [
        *(conv(f"{name}.conv1", maps, 3, stride, groups=maps), BatchNorm(f"{name}.bn1"), ReLU()),
        *(conv(f"{name}.conv2", width, 1), BatchNorm(f"{name}.bn2"), ReLU()),
    ]
