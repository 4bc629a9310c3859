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
from frameworks.keras3 import layers as keras3
from frameworks.keras3.layers import LAYERS
from frameworks.keras3.on_tensorflow import Keras3
from frameworks.spec import Network, Node, lowering, pair
from frameworks.training import SGD, Adam, Training
from tests.faults import contract
from tests.faults.matrices import linear

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
        spec.Conv: lambda node, layer, x: keras3.conv(node, layer, x, grouped=GroupsInAnotherOrder.GroupedConv2D)
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
        spec.Affine: lambda node, layer, x: NoBeta.Affine(layer.beta, keras3.keras_name(node))(x),
    }


class BatchStatisticsInEvaluation(Keras3):
    def activations(self, images: Array, training: bool) -> Weights:
        return super().activations(images, training=True)


# --- modern layers ----------------------------------------------------------------------------------------------------


class GeluInTheTanhForm(Keras3):
    layers = LAYERS | {spec.GELU: keras3.activation(lambda x, layer: keras3.gelu(x, True))}


class HardSigmoidSlope(Keras3):
    """That of Keras 2."""

    layers = LAYERS | {spec.HardSigmoid: keras3.activation(lambda x, layer: keras3.hard_sigmoid(x, 0.2))}


class LeakySlope(Keras3):
    """The default of Keras's layer."""

    layers = LAYERS | {spec.LeakyReLU: keras3.activation(lambda x, layer: ops.where(x > 0, x, 0.3 * x))}


class SlopeShared(Keras3):
    class PReLU(keras3.PReLU):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return ops.where(x > 0, x, self.slope[:1] * x)

    layers = LAYERS | {spec.PReLU: lambda node, layer, x: SlopeShared.PReLU(name=keras3.keras_name(node))(x)}


class NoUpperLimit(Keras3):
    layers = LAYERS | {spec.ReLU6: lambda node, layer, x: layers.Activation("relu")(x)}


class HardSwishForSilu(Keras3):
    layers = LAYERS | {spec.SiLU: lambda node, layer, x: layers.Activation("hard_silu")(x)}


class AlphaOfOne(Keras3):
    layers = LAYERS | {spec.ELU: keras3.activation(lambda x, layer: ops.elu(x))}


class LayerNormOverAllValues(Keras3):
    layers = LAYERS | {
        spec.LayerNorm: lambda node, layer, x: keras3.group_norm(node, spec.GroupNorm(layer.name, 1, layer.eps), x)
    }


class GroupsInterleaved(Keras3):
    """Channel c is in group c % groups; its gamma and beta are those of channel c."""

    class GroupNorm(layers.GroupNormalization):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            *size, channels = x.shape[1:]
            apart = ops.reshape(x, (-1, *size, channels // self.groups, self.groups))
            axes = (*range(1, len(size) + 2),)
            mean, variance = ops.moments(apart, axes, keepdims=True)
            z = ops.reshape((apart - mean) / ops.sqrt(variance + self.epsilon), (-1, *size, channels))
            return z * self.gamma + self.beta

    layers = LAYERS | {
        spec.GroupNorm: lambda node, layer, x: GroupsInterleaved.GroupNorm(
            layer.groups, -1, layer.eps, name=keras3.keras_name(node)
        )(x)
    }


class InstanceNormEpsilon(Keras3):
    """The default of Keras's GroupNormalization."""

    @staticmethod
    def norm(node: Node, layer: spec.GroupNorm, x: KerasTensor) -> KerasTensor:
        return keras3.group_norm(node, replace(layer, eps=1e-3) if layer.groups == node.input[0] else layer, x)

    layers = LAYERS | {spec.GroupNorm: norm}


class DepthByValue(Keras3):
    layers = LAYERS | {spec.StochasticDepth: lambda node, layer, x: layers.Dropout(layer.rate)(x)}


class DepthUnscaled(Keras3):
    class StochasticDepth(layers.Dropout):
        def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
            return super().call(inputs, training) * (1 - self.rate if training else 1.0)

    layers = LAYERS | {
        spec.StochasticDepth: lambda node, layer, x: DepthUnscaled.StochasticDepth(
            layer.rate, noise_shape=(None, *[1] * len(node.input))
        )(x)
    }


class DepthInEvaluation(Keras3):
    class StochasticDepth(layers.Dropout):
        def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
            return super().call(inputs, training=True)

    layers = LAYERS | {
        spec.StochasticDepth: lambda node, layer, x: DepthInEvaluation.StochasticDepth(
            layer.rate, noise_shape=(None, *[1] * len(node.input))
        )(x)
    }


class DilationIgnored(Keras3):
    layers = LAYERS | {
        spec.Conv: lambda node, layer, x: keras3.conv(node, replace(layer, dilation=1), x)[:, 1:-1, 1:-1]
    }


class PlacesBeyondCounted(Keras3):
    """The mean of a window is not divided by its own count."""

    @staticmethod
    def multiply(node: Node, layer: lowering.ConstantMultiply, x: KerasTensor) -> KerasTensor:
        return keras3.multiply(node, layer if isinstance(layer.factor, float) else replace(layer, factor=1.0), x)

    layers = LAYERS | {lowering.ConstantMultiply: multiply}


class EqualWindows(Keras3):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate, x: KerasTensor) -> KerasTensor:
        rows, columns = (np.eye(*matrix.shape) for matrix in (layer.rows, layer.columns))  # windows of 1 x 1
        return keras3.interpolate(node, replace(layer, rows=rows, columns=columns), x)

    layers = LAYERS | {lowering.Interpolate: interpolate}


class FirstOfEquallyNear(Keras3):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate, x: KerasTensor) -> KerasTensor:
        return keras3.interpolate(node, replace(layer, columns=layer.columns[::-1, ::-1]), x)

    layers = LAYERS | {lowering.Interpolate: interpolate}


class CornersNotAligned(Keras3):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate, x: KerasTensor) -> KerasTensor:
        rows, columns = (linear(*matrix.shape) for matrix in (layer.rows, layer.columns))
        return keras3.interpolate(node, replace(layer, rows=rows, columns=columns), x)

    layers = LAYERS | {lowering.Interpolate: interpolate}


class ZerosFilled(Keras3):
    @staticmethod
    def select(node: Node, layer: spec.Select, x: KerasTensor) -> KerasTensor:
        return keras3.select(node, replace(layer, maps=tuple(each or 0 for each in layer.maps)), x)

    layers = LAYERS | {spec.Select: select}


class ProductAdded(Keras3):
    layers = LAYERS | {spec.Multiply: lambda node, layer, x, *chains: chains[0] + chains[1]}


class ThirdTermDropped(Keras3):
    layers = LAYERS | {spec.Add: lambda node, layer, x, one, two, *others: ops.add(one, two) + 0 * sum(others)}


class PaddedByZero(ZeroForMinusInfinity):
    """Pads by 0, whatever the value."""


class LayerScaleLeftOut(Keras3):
    class Affine(keras3.Affine):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x + 0 * self.gamma

    layers = LAYERS | {
        spec.Affine: lambda node, layer, x: LayerScaleLeftOut.Affine(layer.beta, keras3.keras_name(node))(x)
    }


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

    by_image = False

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        dropouts = [layer for layer in self.dropouts if (layer.noise_shape is not None) == self.by_image]
        rates = [layer.rate for layer in dropouts]
        for layer in dropouts:
            layer.rate = 0.0
        trained = super().train(order, batch_size, lrs, seed)
        for layer, rate in zip(dropouts, rates):
            layer.rate = rate
        return trained


class DepthOffInTrain(DropoutOffInTrain):
    by_image = True


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


class ClippedArrayByArray(Keras3):
    def _clipped(self, gradients: Sequence[tf.Tensor], limit: float) -> list[tf.Tensor]:
        return [super(ClippedArrayByArray, self)._clipped([gradient], limit)[0] for gradient in gradients]


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
