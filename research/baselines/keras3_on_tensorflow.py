"""Networks in bare Keras on TensorFlow, as compiled graphs: the guides' custom training step under `tf.function`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import tensorflow as tf
from keras import layers

from frameworks.adapter import Setting, Split, Trained, batches
from frameworks.arrays import Array
from frameworks.bare_loop import Loop
from frameworks.spec import Network
from frameworks.training import SGD, Training


def lenet() -> keras.Model:
    return keras.Sequential(
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


def vgg_small() -> keras.Model:
    net = keras.Sequential([keras.Input((224, 224, 1))])
    for convolutions, width in ((1, 8), (1, 16), (2, 32), (2, 64), (2, 64)):
        for _ in range(convolutions):
            net.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        net.add(layers.MaxPooling2D(2, 2))
    net.add(layers.Flatten())
    for _ in range(2):
        net.add(layers.Dense(512, activation="relu"))
        net.add(layers.Dropout(0.5))
    net.add(layers.Dense(10))
    return net


def conv_bn(x: Any, width: int, kernel: int, stride: int = 1) -> Any:
    """TensorFlow's "same" pads a strided convolution at the bottom and the right; the paper's net pads both sides."""
    around = kernel // 2
    if stride > 1 and around:
        x = layers.ZeroPadding2D(around)(x)
    padding = "same" if stride == 1 else "valid"
    return layers.BatchNormalization()(layers.Conv2D(width, kernel, stride, padding, use_bias=False)(x))


def resnet18() -> keras.Model:
    images = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv_bn(images, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    for width, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        shortcut = x if stride == 1 else conv_bn(x, width, 1, stride)
        y = layers.ReLU()(conv_bn(x, width, 3, stride))
        x = layers.ReLU()(layers.Add()([conv_bn(y, width, 3), shortcut]))
    return keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


MODELS = {"lenet": lenet, "vgg_small": vgg_small, "resnet18": resnet18}


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
