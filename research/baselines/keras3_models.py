"""The timed networks in bare Keras, for the loops of every engine. The engine is chosen before this is imported."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


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
    """Keras's "same" pads a strided convolution at the bottom and the right; the paper's net pads both sides."""
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
