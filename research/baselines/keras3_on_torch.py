"""Networks in bare Keras on PyTorch: the guides' own training loop, and `model.fit`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

os.environ["KERAS_BACKEND"] = "torch"
sys.path.insert(0, str(Path(__file__).parent))  # a worker imports this file by its path
import keras
import torch
from keras3_fit import FitLoop
from keras3_models import MODELS

from frameworks.adapter import Setting, Split, Trained, batches
from frameworks.arrays import Array
from frameworks.bare_loop import Loop
from frameworks.spec import Network
from frameworks.training import SGD, Training


class Bare(Loop):
    """Autograd, and an optimizer of Keras, on tensors that are in memory."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        torch.set_num_threads(setting.threads)
        keras.utils.set_random_seed(0)
        self.net = MODELS[network.name]()
        self.arrays = {array.path: (tuple(array.shape), True) for array in self.net.trainable_variables}
        momentum = training.optimizer.momentum if isinstance(training.optimizer, SGD) else 0.0
        self.optimizer = keras.optimizers.SGD(0.9, momentum)
        self.optimizer.build(self.net.trainable_weights)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.data: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"keras": keras.__version__, "torch": torch.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "eager", "threads": str(torch.get_num_threads())}

    def load(self, split: Split, images: Array, labels: Array) -> None:
        pixels = np.ascontiguousarray(np.transpose(images, (0, 2, 3, 1)))
        self.data[split] = torch.from_numpy(pixels), torch.from_numpy(np.array(labels))

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.optimizer.learning_rate = float(lrs[0])
        images, labels = self.data["train"]
        losses, correct = [], 0
        for batch in map(torch.from_numpy, batches(order, batch_size)):
            x, y = images[batch].float() / 255, labels[batch]
            logits = self.net(x, training=True)
            loss = self.loss(y, logits)
            self.net.zero_grad()
            loss.backward()
            weights = self.net.trainable_weights
            with torch.no_grad():
                self.optimizer.apply([weight.value.grad for weight in weights], weights)
            losses.append(loss.detach())
            correct += int((logits.argmax(1) == y).sum())
        return Trained(torch.stack(losses).double().numpy(), correct)

    @torch.no_grad()
    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        parts = [self.net(part.float() / 255, training=False) for part in images.split(batch_size)]
        return torch.cat(parts).numpy()


class Fit(FitLoop):
    """`model.fit` and `model.predict`."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        super().__init__(network, training, setting)

    @staticmethod
    def versions() -> dict[str, str]:
        return Bare.versions()
