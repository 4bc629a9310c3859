"""Networks in bare Keras on TensorFlow, as compiled graphs: the guides' custom training step under `tf.function`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(Path(__file__).parent))  # a worker imports this file by its path
import keras
import tensorflow as tf
from keras3_models import MODELS

from frameworks.adapter import Setting, Split, Trained, batches
from frameworks.arrays import Array
from frameworks.bare_loop import Loop
from frameworks.spec import Network
from frameworks.training import SGD, Training


class Bare(Loop):
    """`@tf.function` around one step, batches cut from tensors in memory; channels last, as TensorFlow's CPU wants."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        tf.config.threading.set_intra_op_parallelism_threads(setting.threads)
        keras.utils.set_random_seed(0)
        self.net = MODELS[network.name]()
        self.arrays = {array.path: (tuple(array.shape), True) for array in self.net.trainable_variables}
        momentum = training.optimizer.momentum if isinstance(training.optimizer, SGD) else 0.0
        self.optimizer = keras.optimizers.SGD(0.9, momentum)
        self.optimizer.build(self.net.trainable_variables)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.data: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        self.step = tf.function(self._step, reduce_retracing=True)
        self.infer = tf.function(lambda x: self.net(tf.cast(x, tf.float32) / 255), reduce_retracing=True)

    @staticmethod
    def versions() -> dict[str, str]:
        return {"keras": keras.__version__, "tensorflow": tf.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "graph"}

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.data[split] = tf.constant(np.transpose(images, (0, 2, 3, 1))), tf.constant(labels)

    def _step(self, images: tf.Tensor, labels: tf.Tensor, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.cast(tf.gather(images, batch), tf.float32) / 255, tf.gather(labels, batch)
        with tf.GradientTape() as tape:
            logits = self.net(x, training=True)
            loss = self.loss(y, logits)
        variables = self.net.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss, tf.math.count_nonzero(tf.argmax(logits, 1) == y)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.optimizer.learning_rate = float(lrs[0])
        done = [self.step(*self.data["train"], tf.constant(batch)) for batch in batches(order, batch_size)]
        return Trained(np.array([float(loss) for loss, _ in done]), int(sum(int(right) for _, right in done)))

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        starts = range(0, len(images), batch_size)
        logits: Array = np.concatenate([self.infer(images[start : start + batch_size]).numpy() for start in starts])
        return logits
