"""The faults of `tests.cause_faults` in Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from keras import KerasTensor, layers, ops

from frameworks import spec
from frameworks.keras3.layers import LAYERS, constant, keras_name
from frameworks.keras3.on_tensorflow import Keras3
from frameworks.spec import Node
from tests.cause_faults import (
    ComplementOfRate,
    ConvolutionsExchanged,
    GammaBetaExchanged,
    WeightOf04,
    WindowOf3,
    shifted,
)


class RateOfComplement(ComplementOfRate, Keras3):
    pass


class SmallerWindow(WindowOf3, Keras3):
    pass


class WeightOfHead(WeightOf04, Keras3):
    pass


class GammaForBeta(GammaBetaExchanged, Keras3):
    pass


class LayersExchanged(ConvolutionsExchanged, Keras3):
    pass


class SoftmaxOfLogits(Keras3):
    layers = LAYERS | {
        spec.Dense: lambda node, layer, x: layers.Dense(layer.units, "softmax", name=keras_name(node))(x)
    }


class LeakyReLU(Keras3):
    layers = LAYERS | {spec.ReLU: lambda node, layer, x: layers.LeakyReLU(0.01)(x)}


class ShiftedWindow(Keras3):
    @staticmethod
    def response(node: Node, layer: spec.LocalResponseNorm, x: KerasTensor) -> KerasTensor:
        window = np.array(shifted(layer, node.input[0])).T
        mean = ops.matmul(ops.square(x), constant(window, x))
        return x / (layer.k + layer.alpha * mean) ** layer.beta

    layers = LAYERS | {spec.LocalResponseNorm: response}


class ReLUBeforeSum(Keras3):
    layers = LAYERS | {spec.Add: lambda node, layer, x, body, shortcut: ops.relu(body) + shortcut}


class VarianceDividedAgain(Keras3):
    class BatchNormalization(layers.BatchNormalization):
        def call(self, x: tf.Tensor, training: Any = None) -> tf.Tensor:
            before = 1 * self.moving_variance
            y = super().call(x, training=training)
            if training:
                batch = self.moving_variance - self.momentum * before  # (1 - momentum) times the variance
                self.moving_variance.assign(self.momentum * before + batch * 35 / 36)  # 4 images of 3 x 3 pixels
            return y

    @staticmethod
    def batch_norm(node: Node, layer: spec.BatchNorm, x: KerasTensor) -> KerasTensor:
        options = {"name": keras_name(node)}
        return VarianceDividedAgain.BatchNormalization(-1, 1 - layer.momentum, layer.eps, **options)(x)

    layers = LAYERS | {spec.BatchNorm: batch_norm}
