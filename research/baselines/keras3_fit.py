"""`model.fit` and `model.predict` of Keras as a loop, on any engine."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras3_models import MODELS

from frameworks.adapter import Setting, Split, Trained
from frameworks.arrays import Array
from frameworks.bare_loop import Loop
from frameworks.spec import Network
from frameworks.training import SGD, Training


class Means(keras.callbacks.Callback):
    """The mean loss and accuracy since the epoch began, after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.accuracy = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.losses.append(float(logs["loss"]))
        self.accuracy = float(logs["accuracy"])


class FitLoop(Loop):
    """An epoch of `fit` is a slice; the images are floats, as in Keras's examples."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        keras.utils.set_random_seed(0)
        self.net = MODELS[network.name]()
        self.arrays = {array.path: (tuple(array.shape), True) for array in self.net.trainable_variables}
        momentum = training.optimizer.momentum if isinstance(training.optimizer, SGD) else 0.0
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.net.compile(keras.optimizers.SGD(0.9, momentum), loss, metrics=["accuracy"])
        self.data: dict[str, tuple[Array, Array]] = {}

    def settings(self) -> dict[str, str]:
        return {"mode": "model.fit"}

    def load(self, split: Split, images: Array, labels: Array) -> None:
        pixels = np.transpose(images, (0, 2, 3, 1)).astype(np.float32) / 255
        self.data[split] = np.ascontiguousarray(pixels), np.asarray(labels)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.net.optimizer.learning_rate = float(lrs[0])
        (images, labels), means = self.data["train"], Means()
        self.net.fit(images[order], labels[order], batch_size, verbose=0, callbacks=[means], shuffle=False)
        sizes = np.array([min(batch_size, len(order) - at) for at in range(0, len(order), batch_size)])
        losses = np.diff(np.array(means.losses) * np.cumsum(sizes), prepend=0.0) / sizes
        return Trained(losses, round(means.accuracy * len(order)))

    def predict(self, split: Split, batch_size: int) -> Array:
        logits: Array = self.net.predict(self.data[split][0], batch_size, verbose=0)
        return logits
