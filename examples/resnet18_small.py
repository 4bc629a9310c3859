"""ResNet-18 for images of 32 x 32, without resizing.

onespec speed --net examples/resnet18_small.py:resnet18_small --dataset cifar10 --fw all
"""

from __future__ import annotations

from frameworks.networks import NETWORKS
from frameworks.spec import Network


def resnet18_small() -> Network:
    return NETWORKS["resnet18"](classes=10).with_input((3, 32, 32))
