"""Squeeze-and-excitation networks: each channel is weighted by a factor computed from the means of all channels.

Hu, Shen and Sun, "Squeeze-and-excitation networks", 2018. Parameters have the names of torchvision's ResNet.
"""

from __future__ import annotations

from frameworks.networks.blocks import squeeze_excitation
from frameworks.networks.resnet import projection, residual_network
from frameworks.spec import BatchNorm, Conv, Network, ReLU, Residual

REDUCTION = 16


def se_resnet50(classes: int = 1000, channels: int = 3, size: int = 224) -> Network:
    """28,088,024 parameters."""
    return residual_network(
        "se_resnet50",
        _block,
        (3, 4, 6, 3),
        classes,
        channels,
        departures=("squeeze and excitation are 1 x 1 convolutions on C x 1 x 1, which compute what dense layers do",),
        source="Hu et al. 2018, table 1",
    ).with_input((channels, size, size))


def _block(name: str, width: int, stride: int, project: bool, side: int) -> Residual:
    """Figure 3 of the paper. Stride 2 is at the first 1 x 1 convolution: so it has the paper's 3.87 G multiply-adds."""
    body = [
        Conv("conv1", width, 1, stride, bias=False),
        BatchNorm("bn1"),
        ReLU(),
        Conv("conv2", width, 3, padding=1, bias=False),
        BatchNorm("bn2"),
        ReLU(),
        Conv("conv3", 4 * width, 1, bias=False),
        BatchNorm("bn3"),
        *squeeze_excitation("se", 4 * width, 4 * width // REDUCTION),
    ]
    return Residual(name, body, projection(4 * width, stride) if project else (), out=(4 * width, side, side))
