"""Adapters of no framework, in NumPy.

`Fake` returns at once without training, and fails in the way that its learning rate selects. `Correct` is the
reference. The other classes are the reference with wrong results or implausible timing.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import numpy as np

from frameworks.adapter import Adapter, Setting, Split, Trained, batches
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.numpy_reference import Reference
from frameworks.spec import Network
from frameworks.training import Training

DIES, RAISES, HANGS, PRINTS, EXHAUSTS = 101.0, 102.0, 103.0, 104.0, 105.0


class Fake(Adapter):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        if setting.mode:
            raise Unavailable(f"no mode {setting.mode} in a fake")
        self.arrays = {parameter.name: (parameter.shape, parameter.trainable) for parameter in network.parameters}
        self.counts: dict[str, int] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"fake": "1.0"}

    def settings(self) -> dict[str, str]:
        found = {name: os.environ.get(name, "") for name in ("PYTHONPATH", "TMPDIR")}
        return {"threads": os.environ["OMP_NUM_THREADS"], **found}

    def get_weights(self) -> Weights:
        return self.weights

    def set_weights(self, weights: Weights) -> None:
        self.weights = weights

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.count = self.counts[split] = len(images)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        wish = lrs[0]
        if wish == DIES:
            print("the last words", file=sys.stderr)
            os._exit(7)
        if wish == RAISES:
            raise RuntimeError("a shape is wrong\nand more of it")
        if wish == HANGS:
            time.sleep(3600)
        if wish == PRINTS:
            print('{"ok": true, "seconds": 0}', flush=True)
        if wish == EXHAUSTS:
            np.ones(1 << 50)
        return Trained(np.zeros(len(lrs)), len(order))

    def predict(self, split: Split, batch_size: int) -> Array:
        return np.zeros((self.count, self.network.classes))

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        return 0.0, {}

    def activations(self, images: Array, training: bool) -> Weights:
        return {}


class Noting(Fake):
    """Prints the sizes of its batches, and when it gets weights."""

    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights)
        print("weights", flush=True)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        for batch in batches(order, batch_size):
            print("train", len(batch), flush=True)
        return super().train(order, batch_size, lrs, seed)

    def predict(self, split: Split, batch_size: int) -> Array:
        for batch in batches(np.arange(self.counts[split]), batch_size):
            print(split, len(batch), flush=True)
        return np.zeros((self.counts[split], self.network.classes))


class Correct(Reference):
    """The reference, declared like a framework."""

    def settings(self) -> dict[str, str]:
        return {"mode": "NumPy", **super().settings()}


class Anywhere(Adapter):
    """The reference, which says that it obeys every setting, and reports what the worker got of it."""

    devices = ("cpu", "cuda", "mps")
    precisions = ("float64", "float32", "bfloat16", "float16")

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.reference = Reference(network, training, Setting(precision="float64"))
        self.arrays = self.reference.arrays

    @staticmethod
    def versions() -> dict[str, str]:
        return {"anywhere": "1.0"}

    def settings(self) -> dict[str, str]:
        own = {name: str(getattr(self.setting, name)) for name in ("device", "precision", "tf32")}
        return own | {name: os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")}

    def get_weights(self) -> Weights:
        return self.reference.get_weights()

    def set_weights(self, weights: Weights) -> None:
        self.reference.set_weights(weights)

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.reference.load(split, images, labels)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return self.reference.train(order, batch_size, lrs, seed)

    def predict(self, split: Split, batch_size: int) -> Array:
        return self.reference.predict(split, batch_size)

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        return self.reference.gradients(images, labels)

    def activations(self, images: Array, training: bool) -> Weights:
        return self.reference.activations(images, training)

    def peak_memory(self) -> dict[str, int]:
        return {**super().peak_memory(), "device": 3 << 20}


class Early(Correct):
    """Returns after a sixtieth of its work. A thread continues, and reading the weights waits for it."""

    at_work: threading.Thread | None = None

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.wait()
        trained = super().train(order, batch_size, lrs, seed)
        rest = np.tile(order, 60), batch_size, np.tile(lrs, 60), seed
        self.at_work = threading.Thread(target=super().train, args=rest)
        self.at_work.start()
        return trained

    def wait(self) -> None:
        if self.at_work:
            self.at_work.join()

    def get_weights(self) -> Weights:
        self.wait()
        return super().get_weights()

    def set_weights(self, weights: Weights) -> None:
        self.wait()
        super().set_weights(weights)


class Skips(Correct):
    """Skips every tenth step of its life and reports the previous loss for it."""

    taken = 0

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        losses, correct = [0.0], 0
        for batch, rate in zip(batches(order, batch_size), lrs):
            self.taken += 1
            if self.taken % 10:
                trained = super().train(batch, batch_size, np.array([rate]), seed)
                losses.append(float(trained.losses[0]))
                correct += trained.correct
            else:
                losses.append(losses[-1])
        return Trained(np.array(losses[1:]), correct)


class Forgets(Correct):
    """Computes every loss but skips every tenth update, which only later losses show."""

    taken = 0

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        moves = (np.arange(len(lrs)) + self.taken) % 10 != 3
        self.taken += len(lrs)
        return super().train(order, batch_size, lrs * moves, seed)


class Halves(Correct):
    """Trains on the first half of every batch."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        half = [batch[: -(-len(batch) // 2)] for batch in batches(order, batch_size)]
        return super().train(np.concatenate(half), -(-batch_size // 2), lrs, seed)


class Guesses(Correct):
    """Predicts from half of each batch: the other half gets the same logits."""

    def predict(self, split: Split, batch_size: int) -> Array:
        logits = super().predict(split, batch_size)
        half = len(logits) // 2
        return np.concatenate([logits[: len(logits) - half], logits[:half]])


class Crowds(Correct):
    """Keeps a second thread busy, during its slices and between them."""

    def load(self, split: Split, images: Array, labels: Array) -> None:
        super().load(split, images, labels)
        if threading.active_count() == 1:
            threading.Thread(target=self.burn, daemon=True).start()

    def burn(self) -> None:
        block = np.ones((300, 300))
        while True:
            np.sin(block)


class Falls(Correct):
    """Exits in its second slice, which it recognizes by the seed."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        if seed == 1:
            print("fell over", file=sys.stderr)
            os._exit(9)
        return super().train(order, batch_size, lrs, seed)
