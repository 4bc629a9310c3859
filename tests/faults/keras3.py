"""Faulty adapters of Keras: each class plants one fault of `tests.faults.FAULTS`."""

from __future__ import annotations

from collections.abc import Sequence
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
from frameworks.spec import Network, Node, pair
from frameworks.training import SGD, Adam, Training
from tests.faults import contract

# --- layers -----------------------------------------------------------------------------------------------------------


class CeilForFloor(Keras3):
    layers = LAYERS | {
        spec.MaxPool: lambda node, layer, x: layers.MaxPooling2D(pair(layer.kernel), pair(layer.stride), "same")(x)
    }


class PaddingOnTheOtherSide(Keras3):
    @staticmethod
    def pad(node: Node, layer: spec.Pad, x: KerasTensor) -> KerasTensor:
        (top, bottom), (left, right) = layer.padding
        return keras3.pad(node, replace(layer, padding=((bottom, top), (right, left))), x)

    layers = LAYERS | {spec.Pad: pad}


class ZeroForMinusInfinity(Keras3):
    layers = LAYERS | {spec.Pad: lambda node, layer, x: keras3.pad(node, replace(layer, value=0.0), x)}


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


# --- beyond one pass and one step: `tests.faults.CHECK_FAULTS` --------------------------------------------------------


def __getattr__(name: str) -> type:
    """The adapter with a fault of the contract."""
    return contract.planted(Keras3, name)


class DropoutOffInTrain(Keras3):
    """In `train` alone: every other pass in training mode has its masks."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        rates = [layer.rate for layer in self.dropouts]
        for layer in self.dropouts:
            layer.rate = 0.0
        trained = super().train(order, batch_size, lrs, seed)
        for layer, rate in zip(self.dropouts, rates):
            layer.rate = rate
        return trained


class OneMaskForAllImages(Keras3):
    """In `train` alone."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        for layer in self.dropouts:
            layer.noise_shape = (1, *layer.input.shape[1:])
        trained = super().train(order, batch_size, lrs, seed)
        for layer in self.dropouts:
            layer.noise_shape = None
        return trained


class SameMaskInEveryLayer(Keras3):
    """Every dropout restarts the same stream of random numbers."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        dropouts, self.dropouts = self.dropouts, []  # `Keras3.train` seeds these apart
        for layer in dropouts:
            layer.seed_generator.state.assign([seed % 2**31, 0])
        trained = super().train(order, batch_size, lrs, seed)
        self.dropouts = dropouts
        return trained


class LossDividedByFour(Keras3):
    """The sum over the batch is divided by 4 at any batch size."""

    def _cross_entropy(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return super()._cross_entropy(logits, labels) * tf.cast(tf.size(labels), logits.dtype) / 4


class EvalLeftOutOnceTrained(Keras3):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        if not getattr(self, "in_training_mode", False):
            self.in_training_mode = True
            _, self._predict = self._compiled()
        return super().train(order, batch_size, lrs, seed)

    def _evaluate(self, images: tf.Tensor) -> tf.Tensor:
        in_training_mode = getattr(self, "in_training_mode", False)
        return self.net(tf.cast(images, self.dtype), training=in_training_mode)[self.network.nodes[-1].path]


class SmoothingOverTen(Keras3):
    """Every class has smoothing / 10, whatever the number of classes."""

    def _cross_entropy(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        smoothing = self.training.label_smoothing
        targets = (1 - smoothing) * ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype) + smoothing / 10
        return ops.mean(ops.categorical_crossentropy(targets, logits, from_logits=True))


class LateTraining(Keras3):
    """Without a fault: from a step on, a subclass uses another training."""

    from_step = 0

    def _update(self, gradients: Sequence[tf.Tensor], lr: tf.Tensor) -> None:
        update, sound = super()._update, self.training

        def updated(training: Training) -> tf.Tensor:
            self.training = training
            self.steps.assign_sub(1)  # `update` counts the step
            update(gradients, lr)
            self.training = sound
            return tf.constant(0)

        step = self.steps.assign_add(1)
        tf.cond(step < self.from_step, lambda: updated(sound), lambda: updated(self.late(sound)))

    @staticmethod
    def late(training: Training) -> Training:
        return training


class MomentumChangedLate(LateTraining):
    from_step = 11

    @staticmethod
    def late(training: Training) -> Training:
        rule = training.optimizer
        return contract.changed(training, SGD, momentum=0.9 * rule.momentum) if isinstance(rule, SGD) else training


class FirstBetaChangedLate(LateTraining):
    from_step = 51

    @staticmethod
    def late(training: Training) -> Training:
        rule = training.optimizer
        return contract.changed(training, Adam, beta1=0.9 * rule.beta1) if isinstance(rule, Adam) else training


class GradientNormClipped(Keras3):
    """At 10."""

    def _update(self, gradients: Sequence[tf.Tensor], lr: tf.Tensor) -> None:
        clipped, _ = tf.clip_by_global_norm(gradients, 10.0)
        super()._update(clipped, lr)


class CrossEntropyOfProbabilities(Keras3):
    """Keras clips probabilities at 1e-7."""

    def _cross_entropy(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        smoothing, classes = self.training.label_smoothing, logits.shape[-1]
        targets = (1 - smoothing) * ops.one_hot(labels, classes, dtype=logits.dtype) + smoothing / classes
        return ops.mean(ops.categorical_crossentropy(targets, 1 * ops.softmax(logits)))


class LogarithmPlusEpsilon(Keras3):
    """log(p + 1e-12)."""

    def _cross_entropy(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        smoothing, classes = self.training.label_smoothing, logits.shape[-1]
        targets = (1 - smoothing) * ops.one_hot(labels, classes, dtype=logits.dtype) + smoothing / classes
        return -ops.mean(ops.sum(targets * ops.log(ops.softmax(logits) + 1e-12), 1))


class ImagesInBfloat16(Keras3):
    """With more than one thread."""

    def _forward(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return super()._forward(self.rounded(images), labels)

    def _evaluate(self, images: tf.Tensor) -> tf.Tensor:
        return super()._evaluate(self.rounded(images))

    def rounded(self, images: tf.Tensor) -> tf.Tensor:
        x = tf.cast(images, self.dtype)
        return tf.cast(tf.cast(x / 255, tf.bfloat16), self.dtype) * 255 if self.setting.threads > 1 else x


class SmallestLogitCounted(Keras3):
    """An image is correct if its label has the smallest logit."""

    def _forward(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss, logits = super()._forward(images, labels)
        return loss, -logits
