"""Networks in bare MXNet Gluon, hybridized."""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import model_zoo, nn

from frameworks.adapter import Setting, Split, Trained, batches
from frameworks.arrays import Array
from frameworks.bare_loop import Loop
from frameworks.spec import Network
from frameworks.training import SGD, Training


def lenet() -> gluon.HybridBlock:
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(6, 5, padding=2, activation="sigmoid"),
        nn.AvgPool2D(2, 2),
        nn.Conv2D(16, 5, activation="sigmoid"),
        nn.AvgPool2D(2, 2),
        nn.Dense(120, activation="sigmoid"),
        nn.Dense(84, activation="sigmoid"),
        nn.Dense(10),
    )
    return net


def vgg_small() -> gluon.HybridBlock:
    net = nn.HybridSequential()
    for convolutions, width in ((1, 8), (1, 16), (2, 32), (2, 64), (2, 64)):
        for _ in range(convolutions):
            net.add(nn.Conv2D(width, 3, padding=1, activation="relu"))
        net.add(nn.MaxPool2D(2, 2))
    for _ in range(2):
        net.add(nn.Dense(512, activation="relu"), nn.Dropout(0.5))
    net.add(nn.Dense(10))
    return net


MODELS = {"lenet": lenet, "vgg_small": vgg_small, "resnet18": lambda: model_zoo.vision.resnet18_v1(classes=10)}


class Bare(Loop):
    """The documentation's training loop on arrays that are in memory, with `hybridize`."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        mx.random.seed(0)
        self.net = MODELS[network.name]()
        self.net.initialize(mx.init.Xavier())
        self.net(mx.nd.zeros((1, *network.input)))  # shapes are inferred from the first images
        trained = {name: array for name, array in self.net.collect_params().items() if array.grad_req != "null"}
        self.arrays = {name: (array.shape, True) for name, array in trained.items()}
        self.net.hybridize(static_alloc=True, static_shape=True)
        self.loss = gluon.loss.SoftmaxCrossEntropyLoss()
        self.loss.hybridize()
        momentum = training.optimizer.momentum if isinstance(training.optimizer, SGD) else 0.0
        options = {"learning_rate": 0.9, "momentum": momentum}
        self.trainer = gluon.Trainer(self.net.collect_params(), "sgd", options)
        self.data: dict[str, tuple[mx.nd.NDArray, mx.nd.NDArray]] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"mxnet": mx.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "hybridized"}

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.data[split] = mx.nd.array(images, dtype="uint8"), mx.nd.array(labels, dtype="int32")

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        images, labels = self.data["train"]
        self.trainer.set_learning_rate(float(lrs[0]))
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

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        starts = range(0, len(images), batch_size)
        parts = [self.net(images[start : start + batch_size].astype("float32") / 255) for start in starts]
        logits: Array = np.concatenate([part.asnumpy() for part in parts])
        return logits
