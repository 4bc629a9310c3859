"""Writes networks of Gluon in its formats, with images and logits, for `tests/contract/test_gluon_weights.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo import vision


class Residual(HybridBlock):
    """Batch normalization ends both branches, with arrays of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.downsample = nn.HybridSequential(), nn.HybridSequential()
        self.downsample.add(nn.Conv2D(6, 1), nn.BatchNorm())
        self.body.add(nn.Conv2D(6, 3, padding=1), nn.BatchNorm(), nn.Activation("relu"))
        self.body.add(nn.Conv2D(6, 3, padding=1), nn.BatchNorm())

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.relu(self.downsample(x) + self.body(x))


class Named(HybridBlock):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2D(3, 1), nn.Conv2D(3, 1), nn.Dense(5)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.fc(self.conv1(self.conv2(x)))


def chained(*blocks: Any) -> Any:
    net = nn.HybridSequential()
    net.add(*blocks)
    return net


MODELS = {
    "sequential": lambda: chained(
        nn.Conv2D(4, 3), nn.BatchNorm(), nn.Activation("relu"), nn.MaxPool2D(2), nn.Conv2D(4, 2, groups=2),
        nn.PReLU(in_channels=4), nn.Dense(7), nn.BatchNorm(), nn.Dense(7), nn.Dense(5),
    ),
    "fixed": lambda: chained(nn.Conv2D(4, 3), nn.BatchNorm(scale=False), nn.Dense(5)),
    "residual": lambda: chained(nn.Conv2D(4, 3), Residual(), nn.GlobalAvgPool2D(), nn.Dense(5)),
    "epsilon": lambda: chained(nn.Conv2D(4, 3), nn.BatchNorm(epsilon=2e-3), nn.Dense(5)),
    "named": Named,
    "resnet18": lambda: vision.resnet18_v1(classes=5),
}  # fmt: skip


def drawn(net: Any, stream: np.random.Generator) -> None:
    """Values that differ and keep the outputs near 1; those of a fixed gamma, too, which the network does not use."""
    for parameter in net.collect_params().values():
        shape = parameter.shape
        values = stream.uniform(0.5, 1.5, shape)
        if len(shape) > 1:
            values = stream.normal(0, np.prod(shape[1:]) ** -0.5, shape)
        parameter.set_data(mx.nd.array(values))


if __name__ == "__main__":
    folder, stream = Path(sys.argv[1]), np.random.default_rng(0)
    for name, make in MODELS.items():
        net = make()
        net.initialize()
        net.hybridize()
        side = 32 if name == "resnet18" else 8
        images = stream.uniform(0, 1, (2, 3, side, side)).astype(np.float32)
        net(mx.nd.array(images))
        drawn(net, stream)
        net.save_parameters(str(folder / f"{name}.alone"))
        net.collect_params().save(str(folder / f"{name}.old"))
        logits = net(mx.nd.array(images)).asnumpy()
        net.export(str(folder / name))
        np.savez(folder / f"{name}.npz", images=images, logits=logits)
