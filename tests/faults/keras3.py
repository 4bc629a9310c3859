"""Faulty adapters of Keras: each class plants one fault of `tests.faults.FAULTS`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf
from keras import KerasTensor, layers, ops

from frameworks import spec
from frameworks.adapter import Setting, Trained
from frameworks.arrays import Array, Weights
from frameworks.keras3 import Keras3
from frameworks.keras3 import layers as keras3
from frameworks.keras3.layers import LAYERS
from frameworks.spec import Network, Node, lowering, pair
from frameworks.training import Training

# --- layers -----------------------------------------------------------------------------------------------------------


class CeilForFloor(Keras3):
    layers = LAYERS | {
        spec.MaxPool: lambda node, layer, x: layers.MaxPooling2D(pair(layer.kernel), pair(layer.stride), "same")(x)
    }


class PaddingOnTheOtherSide(Keras3):
    @staticmethod
    def pad(node: Node, layer: lowering.Pad, x: KerasTensor) -> KerasTensor:
        (top, bottom), (left, right) = layer.padding
        return keras3.pad(node, replace(layer, padding=((bottom, top), (right, left))), x)

    layers = LAYERS | {lowering.Pad: pad}


class ZeroForMinusInfinity(Keras3):
    layers = LAYERS | {lowering.Pad: lambda node, layer, x: keras3.pad(node, replace(layer, value=0.0), x)}


class FlattenByPlace(Keras3):
    layers = LAYERS | {spec.Flatten: lambda node, layer, x: layers.Flatten()(x)}


class GroupsInAnotherOrder(Keras3):
    class GroupedConv2D(keras3.GroupedConv2D):
        def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
            kernels = ops.split(kernel, self.groups, -1)
            return super().convolution_op(inputs, ops.concatenate(kernels[::-1], -1))

    layers = LAYERS | {
        spec.Conv: lambda node, layer, x: keras3.conv(node, layer, x, GroupsInAnotherOrder.GroupedConv2D)
    }


class NormEpsilon(Keras3):
    layers = LAYERS | {spec.BatchNorm: lambda node, layer, x: keras3.batch_norm(node, replace(layer, eps=1e-3), x)}


class NormMomentum(Keras3):
    layers = LAYERS | {
        spec.BatchNorm: lambda node, layer, x: keras3.batch_norm(node, replace(layer, momentum=1 - layer.momentum), x)
    }


class AlphaUndivided(Keras3):
    layers = LAYERS | {
        spec.LocalResponseNorm: lambda node, layer, x: keras3.local_response_norm(
            node, replace(layer, alpha=layer.alpha * layer.size), x
        )
    }


class NoBeta(Keras3):
    class Affine(keras3.Affine):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return self.gamma * x + 0 * self.beta

    layers = LAYERS | {
        spec.Affine: lambda node, layer, x: NoBeta.Affine(name=keras3.keras_name(node))(x),
    }


class BatchStatisticsInEvaluation(Keras3):
    def activations(self, images: Array, training: bool) -> Weights:
        return super().activations(images, training=True)


# --- weights ----------------------------------------------------------------------------------------------------------


class WeightsNotLoaded(Keras3):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights | {"groups.weight": 0 * weights["groups.weight"]})


# --- loss -------------------------------------------------------------------------------------------------------------


class SoftmaxTwice(Keras3):
    def _cross_entropy(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return super()._cross_entropy(1 * ops.softmax(logits), labels)


class AuxiliaryHeadInFull(Keras3):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.heads = dict.fromkeys(self.heads, 1.0)


# --- steps ------------------------------------------------------------------------------------------------------------


class EpsilonInside(Keras3):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, epsilon_hat=True)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class LearningRateInVelocity(Keras3):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, lr_in_velocity=True)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class MomentumInFloat32(Keras3):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        rule = training.optimizer
        wrong = replace(rule, momentum=float(np.float32(rule.momentum)))  # type: ignore[union-attr]
        super().__init__(network, replace(training, optimizer=wrong), setting)


class DecayOnBiases(Keras3):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, replace(training, decay_all=True), setting)


class LearningRateOneStepLate(Keras3):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return super().train(order, batch_size, np.concatenate([lrs[:1], lrs[:-1]]), seed)
