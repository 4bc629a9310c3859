"""LeNet in bare Keras on TensorFlow, as its compiled graph: the guides' custom training step under `tf.function`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import tensorflow as tf
from keras import layers

from frameworks.adapter import Array, Setting, Trained, batches, resident_peak


class Bare:
    """`@tf.function` around one step, batches cut from tensors in memory; channels last, as TensorFlow's CPU wants."""

    arrays: dict[str, Any] = {}  # noqa: RUF012
    departures = ()

    def __init__(self, network: object, training: object, setting: Setting) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(setting.threads)
        keras.utils.set_random_seed(0)
        self.net = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(6, 5, padding="same", activation="sigmoid"),
                layers.AveragePooling2D(2, 2),
                layers.Conv2D(16, 5, activation="sigmoid"),
                layers.AveragePooling2D(2, 2),
                layers.Flatten(),
                layers.Dense(120, activation="sigmoid"),
                layers.Dense(84, activation="sigmoid"),
                layers.Dense(10),
            ]
        )
        self.optimizer = keras.optimizers.SGD(0.9)
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

    def load(self, split: str, images: Array, labels: Array) -> None:
        self.data[split] = tf.constant(np.transpose(images, (0, 2, 3, 1))), tf.constant(labels)

    def _step(self, images: tf.Tensor, labels: tf.Tensor, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.cast(tf.gather(images, batch), tf.float32) / 255, tf.gather(labels, batch)
        with tf.GradientTape() as tape:
            logits = self.net(x, training=True)
            loss = self.loss(y, logits)
        variables = self.net.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss, tf.math.count_nonzero(tf.argmax(logits, 1) == y)

    def train(self, order: Array, batch_size: int, rates: Array, seed: int) -> Trained:
        done = [self.step(*self.data["train"], tf.constant(batch)) for batch in batches(order, batch_size)]
        return Trained(np.array([float(loss) for loss, _ in done]), int(sum(int(right) for _, right in done)))

    def predict(self, split: str, batch_size: int) -> Array:
        images, _ = self.data[split]
        starts = range(0, len(images), batch_size)
        found: Array = np.concatenate([self.infer(images[start : start + batch_size]).numpy() for start in starts])
        return found

    def peak_memory(self) -> dict[str, int]:
        return {"resident": resident_peak()}
