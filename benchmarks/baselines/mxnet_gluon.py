"""LeNet in bare MXNet Gluon, hybridized."""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn

from frameworks.adapter import Array, Setting, Trained, batches, resident_peak


class Bare:
    """The documentation's training loop on arrays that are in memory, with `hybridize`."""

    arrays: dict[str, Any] = {}  # noqa: RUF012
    departures = ()

    def __init__(self, network: object, training: object, setting: Setting) -> None:
        mx.random.seed(0)
        self.net = nn.HybridSequential()
        self.net.add(
            nn.Conv2D(6, 5, padding=2, activation="sigmoid"),
            nn.AvgPool2D(2, 2),
            nn.Conv2D(16, 5, activation="sigmoid"),
            nn.AvgPool2D(2, 2),
            nn.Dense(120, activation="sigmoid"),
            nn.Dense(84, activation="sigmoid"),
            nn.Dense(10),
        )
        self.net.initialize(mx.init.Xavier())
        self.net.hybridize(static_alloc=True, static_shape=True)
        self.loss = gluon.loss.SoftmaxCrossEntropyLoss()
        self.loss.hybridize()
        self.trainer = gluon.Trainer(self.net.collect_params(), "sgd", {"learning_rate": 0.9})
        self.data: dict[str, tuple[mx.nd.NDArray, mx.nd.NDArray]] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"mxnet": mx.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "hybridized"}

    def load(self, split: str, images: Array, labels: Array) -> None:
        self.data[split] = mx.nd.array(images, dtype="uint8"), mx.nd.array(labels, dtype="int32")

    def train(self, order: Array, batch_size: int, rates: Array, seed: int) -> Trained:
        images, labels = self.data["train"]
        losses, correct = [], []
        for batch in batches(order, batch_size):
            chosen = mx.nd.array(batch, dtype="int32")
            x, y = mx.nd.take(images, chosen).astype("float32") / 255, mx.nd.take(labels, chosen)
            with autograd.record():
                logits = self.net(x)
                loss = self.loss(logits, y)
            loss.backward()
            self.trainer.step(len(batch))
            losses.append(loss.mean())
            correct.append((logits.argmax(1) == y.astype("float32")).sum())
        right = int(sum(float(count.asscalar()) for count in correct))
        return Trained(np.array([float(loss.asscalar()) for loss in losses]), right)

    def predict(self, split: str, batch_size: int) -> Array:
        images, _ = self.data[split]
        starts = range(0, len(images), batch_size)
        logits = [self.net(images[start : start + batch_size].astype("float32") / 255) for start in starts]
        found: Array = np.concatenate([part.asnumpy() for part in logits])
        return found

    def peak_memory(self) -> dict[str, int]:
        return {"resident": resident_peak()}
