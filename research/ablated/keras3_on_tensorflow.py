"""The Keras adapter without one of its choices at a time."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from frameworks.adapter import Setting, Trained
from frameworks.arrays import Array
from frameworks.keras3.on_tensorflow import Keras3
from frameworks.spec import Network
from frameworks.training import Training


class OneAtATime(Keras3):
    """One operation at a time."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        tf.config.threading.set_inter_op_parallelism_threads(1)


class StepByStep(Keras3):
    """One graph per step, as in `Model.fit`, not per slice."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        for number, layer in enumerate(self.dropouts):
            layer.seed_generator.state.assign([seed % 2**31 * len(self.dropouts) + number, 0])
        images, labels = self.data["train"]
        if not hasattr(self, "one"):
            self.one = tf.function(self._step, autograph=False)
        losses, correct = [], []
        for start, rate in zip(range(0, len(order), batch_size), lrs):
            batch = tf.constant(order[start : start + batch_size])
            loss, right = self.one(tf.gather(images, batch), tf.gather(labels, batch), tf.constant(rate))
            losses.append(loss)
            correct.append(right)
        return Trained(np.array([float(loss) for loss in losses]), int(tf.add_n(correct)))
