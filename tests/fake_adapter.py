"""An adapter of no framework, in NumPy: it trains nothing, at once, and misbehaves when its learning rate says so."""

from __future__ import annotations

import os
import sys
import time

import numpy as np

from frameworks.adapter import Adapter, Array, Setting, Split, Trained, Unavailable, Weights
from frameworks.spec import Network
from frameworks.training import Training

DIES, RAISES, HANGS, PRINTS, EXHAUSTS = 101.0, 102.0, 103.0, 104.0, 105.0


class Fake(Adapter):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        if setting.mode:
            raise Unavailable(f"no mode {setting.mode} in a fake")
        self.arrays = {parameter.name: (parameter.shape, parameter.trainable) for parameter in network.parameters}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"fake": "1.0"}

    def settings(self) -> dict[str, str]:
        return {"threads": os.environ["OMP_NUM_THREADS"], "pythonpath": os.environ.get("PYTHONPATH", "")}

    def get_weights(self) -> Weights:
        return self.weights

    def set_weights(self, weights: Weights) -> None:
        self.weights = weights

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.count = len(images)

    def train(self, order: Array, batch_size: int, rates: Array, seed: int) -> Trained:
        wish = rates[0]
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
        return Trained(np.zeros(len(rates)), len(order))

    def predict(self, split: Split, batch_size: int) -> Array:
        return np.zeros((self.count, self.network.classes))

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        return 0.0, {}

    def activations(self, images: Array, training: bool) -> Weights:
        return {}
