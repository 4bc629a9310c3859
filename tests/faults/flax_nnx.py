"""Faulty adapters of JAX with Flax NNX: each class plants one fault of `tests.faults.FAULTS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from frameworks import spec
from frameworks.adapter import Setting, Split, Trained
from frameworks.arrays import Array, Weights
from frameworks.flax_nnx import FlaxNNX
from frameworks.flax_nnx import layers as flax_nnx
from frameworks.flax_nnx.layers import LAYERS, activation, windows
from frameworks.jax_training.adapter import BLOCK, State
from frameworks.jax_training.optimizers import Arrays, clipped
from frameworks.spec import Network, Node, lowering, pair, sides
from frameworks.training import SGD, Adam, RMSprop, Training
from tests.faults import contract
from tests.faults.matrices import linear, shifted

# --- layers -----------------------------------------------------------------------------------------------------------


class TanhForSigmoid(FlaxNNX):
    layers = LAYERS | {spec.Sigmoid: activation(jnp.tanh)}


class PaddingOnTheOtherSide(FlaxNNX):
    @staticmethod
    def conv(node: Node, layer: spec.Conv) -> nnx.Module:
        (top, bottom), (left, right) = sides(layer.padding)
        return flax_nnx.conv(node, replace(layer, padding=((bottom, top), (right, left))))

    layers = LAYERS | {spec.Conv: conv}


class SamePadding(FlaxNNX):
    """The default of Flax's convolution."""

    @staticmethod
    def conv(node: Node, layer: spec.Conv) -> nnx.Module:
        padding = spec.same(layer.kernel, layer.stride, node.input[1:], dilation=layer.dilation)
        return flax_nnx.conv(node, replace(layer, padding=padding))

    layers = LAYERS | {spec.Conv: conv}


class CeilForFloor(FlaxNNX):
    layers = LAYERS | {
        spec.MaxPool: lambda node, layer: partial(nnx.max_pool, **windows(layer) | {"padding": "SAME"}),
    }


class ZeroForMinusInfinity(FlaxNNX):
    @staticmethod
    def max_pool(node: Node, layer: spec.MaxPool) -> Callable[..., jax.Array]:
        around, options = ((0, 0), *sides(layer.padding), (0, 0)), windows(layer) | {"padding": "VALID"}
        return lambda x: nnx.max_pool(jnp.pad(x, around), **options)

    layers = LAYERS | {spec.MaxPool: max_pool}


class PaddingCounted(FlaxNNX):
    """The mean of a window is not divided by its own count."""

    @staticmethod
    def multiply(node: Node, layer: lowering.ConstantMultiply) -> Callable[..., jax.Array]:
        return flax_nnx.multiply(node, layer if isinstance(layer.factor, float) else replace(layer, factor=1.0))

    layers = LAYERS | {lowering.ConstantMultiply: multiply}


class PaddingNotCounted(FlaxNNX):
    layers = LAYERS | {
        spec.AvgPool: lambda node, layer: partial(nnx.avg_pool, **windows(layer), count_include_pad=False)
    }


class AverageForMaximum(FlaxNNX):
    layers = LAYERS | {spec.MaxPool: lambda node, layer: partial(nnx.avg_pool, **windows(layer))}


class StrideOfOne(FlaxNNX):
    """The default of Flax's pooling."""

    layers = LAYERS | {spec.MaxPool: lambda node, layer: partial(nnx.max_pool, window_shape=pair(layer.kernel))}


class FlattenByPlace(FlaxNNX):
    layers = LAYERS | {spec.Flatten: activation(lambda x: x.reshape(len(x), -1))}


class GroupsInAnotherOrder(FlaxNNX):
    @staticmethod
    def conv(node: Node, layer: spec.Conv) -> nnx.Module:
        module: Any = flax_nnx.conv(node, layer)
        sound = module.conv_general_dilated

        def convolve(x: jax.Array, kernel: jax.Array, *arguments: Any, **options: Any) -> jax.Array:
            kernels = jnp.split(kernel, layer.groups, -1)
            return sound(x, jnp.concatenate(kernels[::-1], -1), *arguments, **options)

        module.conv_general_dilated = convolve
        return module

    layers = LAYERS | {spec.Conv: conv}


class BatchNorm(nnx.BatchNorm):
    """Without a fault: Flax's, written out, so that a subclass can change a part of it."""

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.use_running_average:
            return self.normalized(x, self.mean[...], self.var[...])
        mean, variance = self.statistics(x)
        self.move_running(x, mean, variance)
        return self.normalized(x, mean, variance)

    def statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        axes = tuple(range(x.ndim - 1))
        return x.mean(axes), x.var(axes)

    def move_running(self, x: jax.Array, mean: jax.Array, variance: jax.Array) -> None:
        self.mean[...] = self.momentum * self.mean[...] + (1 - self.momentum) * mean
        self.var[...] = self.momentum * self.var[...] + (1 - self.momentum) * variance

    def normalized(self, x: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
        return (x - mean) / jnp.sqrt(variance + self.epsilon) * self.scale[...] + self.bias[...]

    @classmethod
    def build(cls, node: Node, layer: spec.BatchNorm) -> nnx.Module:
        return cls(node.input[0], momentum=1 - layer.momentum, epsilon=layer.eps, rngs=nnx.Rngs(0))


class NormEpsilon(FlaxNNX):
    layers = LAYERS | {spec.BatchNorm: lambda node, layer: flax_nnx.batch_norm(node, replace(layer, eps=1e-3))}


class NormMomentum(FlaxNNX):
    """Flax's momentum is the fraction of the old value."""

    layers = LAYERS | {
        spec.BatchNorm: lambda node, layer: flax_nnx.batch_norm(node, replace(layer, momentum=1 - layer.momentum))
    }


class EpsilonOutsideTheRoot(FlaxNNX):
    class BatchNorm(BatchNorm):
        def normalized(self, x: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
            return (x - mean) / (jnp.sqrt(variance) + self.epsilon) * self.scale[...] + self.bias[...]

    layers = LAYERS | {spec.BatchNorm: BatchNorm.build}


class BatchStatisticsInEvaluation(FlaxNNX):
    class BatchNorm(BatchNorm):
        def __call__(self, x: jax.Array) -> jax.Array:
            return self.normalized(x, *self.statistics(x)) if self.use_running_average else super().__call__(x)

    layers = LAYERS | {spec.BatchNorm: BatchNorm.build}


class StatisticsHeldConstant(FlaxNNX):
    class BatchNorm(BatchNorm):
        def statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return super().statistics(lax.stop_gradient(x))

    layers = LAYERS | {spec.BatchNorm: BatchNorm.build}


class FastVariance(FlaxNNX):
    """E[x^2] - mean^2, Flax's default, which loses digits."""

    @staticmethod
    def batch_norm(node: Node, layer: spec.BatchNorm) -> nnx.Module:
        module: Any = flax_nnx.batch_norm(node, layer)
        module.use_fast_variance = True
        return module

    layers = LAYERS | {spec.BatchNorm: batch_norm}


class StaleStatistics(FlaxNNX):
    """The running statistics after a slice are those before it."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        with self._buffers_restored():
            return super().train(order, batch_size, lrs, seed)


class DeviationForVariance(FlaxNNX):
    class BatchNorm(BatchNorm):
        def move_running(self, x: jax.Array, mean: jax.Array, variance: jax.Array) -> None:
            super().move_running(x, mean, jnp.sqrt(variance))

    layers = LAYERS | {spec.BatchNorm: BatchNorm.build}


class UnbiasedRunningVariance(FlaxNNX):
    class BatchNorm(BatchNorm):
        def move_running(self, x: jax.Array, mean: jax.Array, variance: jax.Array) -> None:
            count = x.size // x.shape[-1]
            super().move_running(x, mean, variance * count / (count - 1))

    layers = LAYERS | {spec.BatchNorm: BatchNorm.build}


class GammaNotTrained(FlaxNNX):
    @staticmethod
    def batch_norm(node: Node, layer: spec.BatchNorm) -> nnx.Module:
        module: Any = flax_nnx.batch_norm(node, layer)
        module.scale = nnx.BatchStat(module.scale.get_value())
        return module

    layers = LAYERS | {spec.BatchNorm: batch_norm}


class NoBeta(FlaxNNX):
    class Affine(flax_nnx.Affine):
        def __call__(self, x: jax.Array) -> jax.Array:
            return self.scale[...] * x + 0 * self.bias[...]

    layers = LAYERS | {spec.Affine: lambda node, layer: NoBeta.Affine(node.input[0], layer.beta)}


class DividedByVariance(FlaxNNX):
    """(x - mean) / std^2, as gamma x + beta with gamma = 1 / std."""

    @staticmethod
    def affine(node: Node, layer: lowering.ConstantAffine) -> Callable[..., jax.Array]:
        return flax_nnx.constant_affine(node, replace(layer, gamma=layer.gamma**2, beta=layer.beta * layer.gamma))

    layers = LAYERS | {lowering.ConstantAffine: affine}


class AlphaUndivided(FlaxNNX):
    layers = LAYERS | {
        spec.LocalResponseNorm: lambda node, layer: flax_nnx.local_response_norm(
            node, replace(layer, alpha=layer.alpha * layer.size)
        )
    }


class ChannelsReversed(FlaxNNX):
    layers = LAYERS | {spec.Select: lambda node, layer: flax_nnx.select(node, replace(layer, maps=layer.maps[::-1]))}


class BranchesInAnotherOrder(FlaxNNX):
    layers = LAYERS | {spec.Concat: lambda node, layer: lambda x, *ends: jnp.concatenate(ends[::-1], -1)}


class ShortcutDropped(FlaxNNX):
    layers = LAYERS | {spec.Add: lambda node, layer: lambda x, body, shortcut: body}


class HalfAPixelOff(FlaxNNX):
    """Pixels lie at i, not at i + 1/2."""

    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> Callable[..., jax.Array]:
        rows, columns = (shifted(*matrix.shape) for matrix in (layer.rows, layer.columns))
        return flax_nnx.interpolate(node, replace(layer, rows=rows, columns=columns))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class PixelsRounded(FlaxNNX):
    layers = LAYERS | {lowering.ConstantMultiply: lambda node, layer: lambda x: jnp.round(layer.factor * x * 64) / 64}


class ReluDerivativeAtZero(FlaxNNX):
    layers = LAYERS | {spec.ReLU: activation(lambda x: jnp.where(x >= 0, x, 0))}


class ReluAsMaximum(FlaxNNX):
    """Where both arguments of `jnp.maximum` are equal, each has half of the derivative."""

    layers = LAYERS | {spec.ReLU: activation(lambda x: jnp.maximum(x, 0))}


class Relu6AsClip(FlaxNNX):
    """The derivative of `jnp.clip` at 0 is 1/2; that of `jax.nn.relu6` is 0."""

    layers = LAYERS | {spec.ReLU6: activation(lambda x: jnp.clip(x, 0, 6))}


class LeakyReluOfJax(FlaxNNX):
    """Its derivative at 0 is 1."""

    layers = LAYERS | {spec.LeakyReLU: lambda node, layer: partial(jax.nn.leaky_relu, negative_slope=layer.slope)}


class DropoutAtHalfItsRate(FlaxNNX):
    layers = LAYERS | {spec.Dropout: lambda node, layer: nnx.Dropout(layer.rate / 2)}


class DropoutUnscaled(FlaxNNX):
    class Dropout(nnx.Dropout):
        def __call__(self, inputs: jax.Array, **options: Any) -> jax.Array:
            return super().__call__(inputs, **options) * (1.0 if self.deterministic else 1 - self.rate)

    layers = LAYERS | {spec.Dropout: lambda node, layer: DropoutUnscaled.Dropout(layer.rate)}


class AlwaysDropout(nnx.Dropout):
    """In evaluation too, with masks of its own."""

    def __call__(self, inputs: jax.Array, *, rngs: nnx.Rngs | None = None, **options: Any) -> jax.Array:
        return super().__call__(inputs, deterministic=False, rngs=rngs or nnx.Rngs(dropout=0))


class DropoutInEvaluation(FlaxNNX):
    layers = LAYERS | {spec.Dropout: lambda node, layer: AlwaysDropout(layer.rate)}


# --- modern layers ----------------------------------------------------------------------------------------------------


class GeluInTheTanhForm(FlaxNNX):
    """The default of Flax's function."""

    layers = LAYERS | {spec.GELU: activation(nnx.gelu)}


class HardSigmoidSlope(FlaxNNX):
    layers = LAYERS | {spec.HardSigmoid: lambda node, layer: flax_nnx.hard_sigmoid(node, replace(layer, slope=0.2))}


class LeakySlope(FlaxNNX):
    layers = LAYERS | {spec.LeakyReLU: activation(lambda x: jnp.where(x > 0, x, 0.3 * x))}


class SlopeShared(FlaxNNX):
    """As in `nnx.PReLU`."""

    class PReLU(flax_nnx.PReLU):
        def __call__(self, x: jax.Array) -> jax.Array:
            return jnp.where(x > 0, x, self.slope[...][:1] * x)

    layers = LAYERS | {spec.PReLU: lambda node, layer: SlopeShared.PReLU(node.input[0])}


class NoUpperLimit(FlaxNNX):
    layers = LAYERS | {spec.ReLU6: activation(nnx.relu)}


class HardSwishForSilu(FlaxNNX):
    layers = LAYERS | {spec.SiLU: activation(nnx.hard_swish)}


class AlphaOfOne(FlaxNNX):
    layers = LAYERS | {spec.ELU: activation(nnx.elu)}


class LayerNormOverAllValues(FlaxNNX):
    layers = LAYERS | {
        spec.LayerNorm: lambda node, layer: flax_nnx.group_norm(node, spec.GroupNorm(layer.name, 1, layer.eps))
    }


class GroupsInterleaved(FlaxNNX):
    """Channel c is in group c % groups."""

    class GroupNorm(nnx.GroupNorm):
        def __call__(self, x: jax.Array) -> jax.Array:
            apart = x.reshape(*x.shape[:-1], -1, self.num_groups)
            axes = (*range(1, x.ndim),)
            mean, variance = apart.mean(axes, keepdims=True), apart.var(axes, keepdims=True)
            z = ((apart - mean) / jnp.sqrt(variance + self.epsilon)).reshape(x.shape)
            return z * self.scale[...] + self.bias[...]

    layers = LAYERS | {
        spec.GroupNorm: lambda node, layer: GroupsInterleaved.GroupNorm(
            node.input[0], layer.groups, epsilon=layer.eps, rngs=nnx.Rngs(0)
        )
    }


class InstanceNormEpsilon(FlaxNNX):
    @staticmethod
    def norm(node: Node, layer: spec.GroupNorm) -> nnx.Module:
        return flax_nnx.group_norm(node, replace(layer, eps=1e-3) if layer.groups == node.input[0] else layer)

    layers = LAYERS | {spec.GroupNorm: norm}


class DepthByValue(FlaxNNX):
    layers = LAYERS | {spec.StochasticDepth: lambda node, layer: nnx.Dropout(layer.rate)}


class DepthUnscaled(FlaxNNX):
    layers = LAYERS | {
        spec.StochasticDepth: lambda node, layer: DropoutUnscaled.Dropout(
            layer.rate, broadcast_dims=range(1, 1 + len(node.input))
        )
    }


class DepthInEvaluation(FlaxNNX):
    layers = LAYERS | {
        spec.StochasticDepth: lambda node, layer: AlwaysDropout(
            layer.rate, broadcast_dims=range(1, 1 + len(node.input))
        )
    }


class DilationIgnored(FlaxNNX):
    layers = LAYERS | {spec.Conv: lambda node, layer: flax_nnx.conv(node, replace(layer, dilation=1, padding=1))}


class PlacesBeyondCounted(PaddingCounted):
    """The mean of a window is not divided by its own count."""


class EqualWindows(FlaxNNX):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> Callable[..., jax.Array]:
        rows, columns = (np.eye(*matrix.shape) for matrix in (layer.rows, layer.columns))  # windows of 1 x 1
        return flax_nnx.interpolate(node, replace(layer, rows=rows, columns=columns))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class FirstOfEquallyNear(FlaxNNX):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> Callable[..., jax.Array]:
        return flax_nnx.interpolate(node, replace(layer, columns=layer.columns[::-1, ::-1]))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class CornersNotAligned(FlaxNNX):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> Callable[..., jax.Array]:
        rows, columns = (linear(*matrix.shape) for matrix in (layer.rows, layer.columns))
        return flax_nnx.interpolate(node, replace(layer, rows=rows, columns=columns))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class ZerosFilled(FlaxNNX):
    @staticmethod
    def select(node: Node, layer: spec.Select) -> Callable[..., jax.Array]:
        return flax_nnx.select(node, replace(layer, maps=tuple(each or 0 for each in layer.maps)))

    layers = LAYERS | {spec.Select: select}


class ProductAdded(FlaxNNX):
    layers = LAYERS | {spec.Multiply: LAYERS[spec.Add]}


class ThirdTermDropped(FlaxNNX):
    layers = LAYERS | {spec.Add: lambda node, layer: lambda x, one, two, *others: one + two}


class PaddedByZero(FlaxNNX):
    layers = LAYERS | {spec.Pad: lambda node, layer: flax_nnx.pad(node, replace(layer, value=0.0))}


class LayerScaleLeftOut(FlaxNNX):
    class Affine(flax_nnx.Affine):
        def __call__(self, x: jax.Array) -> jax.Array:
            return x + 0 * self.scale[...]

    layers = LAYERS | {spec.Affine: lambda node, layer: LayerScaleLeftOut.Affine(node.input[0], layer.beta)}


# --- weights and images -----------------------------------------------------------------------------------------------


class BiasNotLoaded(FlaxNNX):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights | {"fc.bias": 0 * weights["fc.bias"]})


class WeightsNotLoaded(FlaxNNX):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights | {"groups.weight": 0 * weights["groups.weight"]})


class DenseWeightByPlace(FlaxNNX):
    def set_weights(self, weights: Weights) -> None:
        by_place = np.moveaxis(weights["head.weight"].reshape(5, 6, 16), 1, 2).reshape(5, 96)
        super().set_weights(weights | {"head.weight": by_place})


class TransposedKernel(FlaxNNX):
    """kw,kh,in,out for Flax's kh,kw,in,out."""

    def set_weights(self, weights: Weights) -> None:
        kernels = {name: array.swapaxes(2, 3) for name, array in weights.items() if array.ndim == 4}
        super().set_weights(weights | kernels)


class TransposedWeight(FlaxNNX):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights | {"square.weight": weights["square.weight"].T})


class Float32Throughout(FlaxNNX):
    """By default JAX computes in float32, whatever the type of the arrays."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        jax.config.update("jax_enable_x64", False)


class Float32OnTheWay(FlaxNNX):
    def load(self, split: Split, images: Array, labels: Array) -> None:
        super().load(split, (images.astype(np.float32) / 3).astype(np.float64) * 3, labels)


class PixelsAsSignedBytes(FlaxNNX):
    def load(self, split: Split, images: Array, labels: Array) -> None:
        super().load(split, images.astype(np.int8), labels)


def in_training_mode(self: FlaxNNX, arrays: Arrays, images: jax.Array, start: jax.Array, batch_size: int) -> jax.Array:
    """As `FlaxNNX._evaluate`, but the net is in training mode."""
    batch = lax.dynamic_slice_in_dim(images, start, batch_size).astype(self.dtype)
    return self._forward(arrays, batch, training=True)[0][self.network.nodes[-1].path]


class PredictionsInTrainingMode(FlaxNNX):
    _evaluate = in_training_mode


# --- loss -------------------------------------------------------------------------------------------------------------


class LossSummed(FlaxNNX):
    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        return super()._cross_entropy(logits, labels) * len(labels)


class SoftmaxTwice(FlaxNNX):
    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        return super()._cross_entropy(jax.nn.softmax(logits), labels)


class CrossEntropyOnTheWrongAxis(FlaxNNX):
    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits, axis=0), labels[:, None], axis=1).mean()


class AuxiliaryHeadForgotten(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.heads = {}


class AuxiliaryHeadInFull(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.heads = dict.fromkeys(self.heads, 1.0)


class LabelsNotSmoothed(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, replace(training, label_smoothing=0.0), setting)


class SmoothingOnTheMainHeadAlone(FlaxNNX):
    def _loss(self, *arguments: Any) -> tuple[jax.Array, tuple[jax.Array, Arrays]]:
        self.smoothed = True  # until `_cross_entropy` has had the main logits, which come first
        return super()._loss(*arguments)

    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        if self.smoothed:
            self.smoothed = False
            return super()._cross_entropy(logits, labels)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()


# --- steps ------------------------------------------------------------------------------------------------------------


class Momentum(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        rule = training.optimizer
        wrong = replace(rule, momentum=1 - rule.momentum)  # type: ignore[union-attr]
        super().__init__(network, replace(training, optimizer=wrong), setting)


class MomentumInFloat32(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        rule = training.optimizer
        wrong = replace(rule, momentum=float(np.float32(rule.momentum)))  # type: ignore[union-attr]
        super().__init__(network, replace(training, optimizer=wrong), setting)


class NoNesterov(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, nesterov=False)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class LearningRateInVelocity(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, lr_in_velocity=True)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class AdamEpsilon(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, epsilon=1e-8)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class EpsilonInside(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, epsilon_hat=True)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class NotDecoupled(FlaxNNX):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, decoupled=False)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class DecayOnBiases(FlaxNNX):
    """As in `optax.adamw` without a mask."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, replace(training, decay_all=True), setting)


class GradientDividedAgain(FlaxNNX):
    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        return super()._update(trained, slots, {name: array / 4 for name, array in gradients.items()}, lr, step)


class StepsCountedFromTwo(FlaxNNX):
    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        return super()._update(trained, slots, gradients, lr, step + 1)


class LearningRateOneStepLate(FlaxNNX):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return super().train(order, batch_size, np.concatenate([lrs[:1], lrs[:-1]]), seed)


class InBlocks(FlaxNNX):
    """Without a fault: in mode "scan", whatever the setting says."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, replace(setting, mode="scan"))


class FirstLearningRateOfBlock(InBlocks):
    def _block(self, state: State, images: jax.Array, labels: jax.Array, *steps: jax.Array) -> Any:
        batches, lrs, numbers, seed = steps
        return super()._block(state, images, labels, batches, jnp.broadcast_to(lrs[0], lrs.shape), numbers, seed)


# --- beyond one pass and one step: `tests.faults.CHECK_FAULTS` --------------------------------------------------------


def __getattr__(name: str) -> type:
    """The adapter with a fault of the contract."""
    return contract.planted(FlaxNNX, name)


class DropoutInTrain(FlaxNNX):
    """Without a fault: in `train` alone, a subclass changes the dropouts.

    Every other pass in training mode has its masks.
    """

    in_train = False  # read when a function is traced

    def _step(self, *arguments: Any) -> tuple[State, jax.Array, jax.Array]:
        self.in_train = True
        result = super()._step(*arguments)
        self.in_train = False
        return result

    def _chain(
        self, net: nnx.List, rngs: nnx.Rngs | None, nodes: Sequence[Node], x: jax.Array, outputs: Arrays
    ) -> jax.Array:
        if self.in_train and nodes is self.primitives:  # not a branch
            for dropout in (module for module in net if isinstance(module, nnx.Dropout)):
                self.change(dropout)
        return super()._chain(net, rngs, nodes, x, outputs)

    @staticmethod
    def change(dropout: nnx.Dropout) -> None:
        raise NotImplementedError


class DropoutOffInTrain(DropoutInTrain):
    @staticmethod
    def change(dropout: nnx.Dropout) -> None:
        if not dropout.broadcast_dims:
            dropout.rate = 0.0


class DepthOffInTrain(DropoutInTrain):
    @staticmethod
    def change(dropout: nnx.Dropout) -> None:
        if dropout.broadcast_dims:
            dropout.rate = 0.0


class RateHalvedInTrain(DropoutInTrain):
    @staticmethod
    def change(dropout: nnx.Dropout) -> None:
        dropout.rate /= 2


class OneMaskForAllImages(DropoutInTrain):
    @staticmethod
    def change(dropout: nnx.Dropout) -> None:
        if not dropout.broadcast_dims:
            dropout.broadcast_dims = (0,)


class DepthOfTheBatchInTrain(DropoutInTrain):
    """One draw decides for all images."""

    @staticmethod
    def change(dropout: nnx.Dropout) -> None:
        if dropout.broadcast_dims:
            dropout.broadcast_dims = (0, *dropout.broadcast_dims)


class KeyWithoutStep(FlaxNNX):
    """Every step of a slice has the same masks."""

    def _step(
        self,
        state: State,
        images: jax.Array,
        labels: jax.Array,
        batch: jax.Array,
        lr: jax.Array,
        step: jax.Array,
        seed: jax.Array,
    ) -> tuple[State, jax.Array, jax.Array]:
        self.counted = step
        return super()._step(state, images, labels, batch, lr, jnp.zeros_like(step), seed)

    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        return super()._update(trained, slots, gradients, lr, self.counted)


class SameMaskInEveryLayer(FlaxNNX):
    """Every dropout takes the key itself."""

    def _chain(
        self, net: nnx.List, rngs: nnx.Rngs | None, nodes: Sequence[Node], x: jax.Array, outputs: Arrays
    ) -> jax.Array:
        for node in nodes:
            again = None if rngs is None else nnx.Rngs(dropout=rngs.dropout.key[...])
            x = super()._chain(net, again, [node], x, outputs)
        return x


class FirstKeyOfBlock(InBlocks):
    """Every step of a block has the masks of the first one."""

    def _block(self, state: State, images: jax.Array, labels: jax.Array, *steps: jax.Array) -> Any:
        batches, lrs, numbers, seed = steps
        return super()._block(state, images, labels, batches, lrs, jnp.broadcast_to(numbers[0], numbers.shape), seed)


class FirstBatchOfBlock(InBlocks):
    """Every step of a block has the images of the first one."""

    def _block(self, state: State, images: jax.Array, labels: jax.Array, *steps: jax.Array) -> Any:
        batches, lrs, numbers, seed = steps
        return super()._block(state, images, labels, jnp.broadcast_to(batches[0], batches.shape), lrs, numbers, seed)


class RestOfSliceSkipped(InBlocks):
    """The steps after the last whole block are left out; the loss before them is reported."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        steps = len(lrs) // BLOCK * BLOCK or len(lrs)
        trained = super().train(order[: steps * batch_size], batch_size, lrs[:steps], seed)
        losses = np.pad(trained.losses, (0, len(lrs) - steps), mode="edge")
        return Trained(losses, trained.correct)


class GhostBatchNorm(FlaxNNX):
    """Above 16 images, statistics of 16 images at a time."""

    class BatchNorm(nnx.BatchNorm):
        def __call__(self, x: jax.Array) -> jax.Array:
            if self.use_running_average or len(x) <= 16:
                return super().__call__(x)
            parts = jnp.split(x, list(range(16, len(x), 16)))
            return jnp.concatenate([super(GhostBatchNorm.BatchNorm, self).__call__(part) for part in parts])

    @staticmethod
    def batch_norm(node: Node, layer: spec.BatchNorm) -> nnx.Module:
        options = {"momentum": 1 - layer.momentum, "epsilon": layer.eps, "use_fast_variance": False}
        return GhostBatchNorm.BatchNorm(node.input[0], **options, rngs=nnx.Rngs(0))

    layers = LAYERS | {spec.BatchNorm: batch_norm}


class LossDividedByFour(FlaxNNX):
    """The sum over the batch is divided by 4 at any batch size."""

    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        return super()._cross_entropy(logits, labels) * len(labels) / 4


class EvalLeftOutOnceTrained(FlaxNNX):
    _in_training_mode = in_training_mode

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.evaluate = jax.jit(self._in_training_mode, static_argnames="batch_size")
        return super().train(order, batch_size, lrs, seed)


class SlotsNotKept(FlaxNNX):
    """The optimizer's arrays after a slice are those before it."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        before = {name: jnp.array(slot.get_value()) for name, slot in self.slots.items()}
        trained = super().train(order, batch_size, lrs, seed)
        for name, array in before.items():
            self.slots[name].set_value(array)
        return trained


class StepsCountedBySlice(FlaxNNX):
    """Each slice begins with the bias correction of step 1."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        before, self.steps = self.steps, 0
        trained = super().train(order, batch_size, lrs, seed)
        self.steps += before
        return trained


class SmoothingOverTen(FlaxNNX):
    """Every class has smoothing / 10, whatever the number of classes."""

    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        smoothing, logarithms = self.training.label_smoothing, jax.nn.log_softmax(logits)
        of_label = jnp.take_along_axis(logarithms, labels[:, None], axis=1).mean()
        return -(1 - smoothing) * of_label - smoothing / 10 * logarithms.sum(1).mean()


class DecayOnItsOwn(FlaxNNX):
    """Without a fault: decoupled decay as a function of its own, which a subclass changes."""

    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        training = self.training
        if not training.optimizer.decoupled:
            return super()._update(trained, slots, gradients, lr, step)
        self.training = replace(training, optimizer=replace(training.optimizer, weight_decay=0.0))
        steps, after = super()._update(trained, slots, gradients, lr, step)
        self.training = training
        weights = {
            name: weight - self.decay(name, lr * training.lr_factor(name), lr) * self.decaying(trained[name], weight)
            for name, weight in steps.items()
        }
        return weights, after

    def decay(self, name: str, rate: jax.Array, lr: jax.Array) -> jax.Array:
        """rate: the learning rate with the array's factor."""
        return rate * self.training.decay(name)

    def decaying(self, before: jax.Array, after: jax.Array) -> jax.Array:
        """What decays: the array before the step."""
        return before


class DecayOfSteppedWeights(DecayOnItsOwn):
    def decaying(self, before: jax.Array, after: jax.Array) -> jax.Array:
        return after


class DecayWithoutLearningRate(DecayOnItsOwn):
    """As `optax.add_decayed_weights` after the learning rate."""

    def decay(self, name: str, rate: jax.Array, lr: jax.Array) -> jax.Array:
        return jnp.asarray(self.training.decay(name))


class FactorLeftOutOfDecay(DecayOnItsOwn):
    def decay(self, name: str, rate: jax.Array, lr: jax.Array) -> jax.Array:
        return lr * self.training.decay(name)


class DecayClipped(FlaxNNX):
    """Decay enters before the gradient is clipped, as in `optax.chain` with the clipping last."""

    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        training = self.training
        if training.clip_norm is None:
            return super()._update(trained, slots, gradients, lr, step)
        decayed = {name: array + training.decay(name) * trained[name] for name, array in gradients.items()}
        self.training = replace(training, optimizer=replace(training.optimizer, weight_decay=0.0))
        result = super()._update(trained, slots, decayed, lr, step)
        self.training = training
        return result


class EpsilonOfRMSpropInside(contract.OtherTraining, FlaxNNX):
    """As `optax.rmsprop`, whose `eps_in_sqrt` is true."""

    @staticmethod
    def other(training: Training) -> Training:
        return contract.changed(training, RMSprop, epsilon_inside=True)


class AverageOfWeightsBefore(FlaxNNX):
    """The averages move towards the weights before the step."""

    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        weights, after = super()._update(trained, slots, gradients, lr, step)
        return weights, after | self._averages(trained, slots)


class AverageCorrected(FlaxNNX):
    """Predictions divide the average by 1 - decay^steps, as `optax.ema` does, which begins at zero."""

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        decay = self.training.average
        with super()._averaged():
            for variable in self._trained().values() if decay is not None and self.steps else ():
                variable.set_value(variable.get_value() / (1 - decay**self.steps))
            yield


class LateTraining(FlaxNNX):
    """Without a fault: from a step on, a subclass uses another training."""

    from_step = 0

    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        training = self.training
        sound = super()._update(trained, slots, gradients, lr, step)
        self.training = self.late(training)
        late = super()._update(trained, slots, gradients, lr, step)
        self.training = training
        return jax.tree.map(partial(jnp.where, step < self.from_step), sound, late)

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


class GradientNormClipped(FlaxNNX):
    """At 10."""

    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        return super()._update(trained, slots, clipped(gradients, 10.0), lr, step)


class GradientValuesClipped(FlaxNNX):
    """At 10."""

    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        limited = {name: jnp.clip(gradient, -10.0, 10.0) for name, gradient in gradients.items()}
        return super()._update(trained, slots, limited, lr, step)


class ClippedArrayByArray(FlaxNNX):
    def _clipped(self, gradients: Arrays, limit: float) -> Arrays:
        return {name: clipped({name: gradient}, limit)[name] for name, gradient in gradients.items()}


class ClippedByNormPlusEpsilon(FlaxNNX):
    def _clipped(self, gradients: Arrays, limit: float) -> Arrays:
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients.values()))
        return {name: jnp.minimum(1, limit / (norm + 1e-6)) * gradient for name, gradient in gradients.items()}


class LogarithmOfProbabilities(FlaxNNX):
    added = 0.0

    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        if self.training.label_smoothing:
            return super()._cross_entropy(logits, labels)
        probabilities = jnp.take_along_axis(jax.nn.softmax(logits), labels[:, None], axis=1)
        return -jnp.log(probabilities + self.added).mean()


class LogarithmPlusEpsilon(LogarithmOfProbabilities):
    """log(p + 1e-12)."""

    added = 1e-12


class ImagesInBfloat16(FlaxNNX):
    """With more than one thread."""

    def _forward(
        self, arrays: Arrays, images: jax.Array, training: bool, key: jax.Array | None = None
    ) -> tuple[Arrays, Arrays]:
        rounded = (images / 255).astype(jnp.bfloat16).astype(self.dtype) * 255
        return super()._forward(arrays, rounded if self.setting.threads > 1 else images, training, key)


class OtherCount(FlaxNNX):
    """Without a fault: a subclass changes the logits from which correct images are counted."""

    def _loss(
        self, trained: Arrays, buffers: Arrays, images: jax.Array, labels: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, Arrays]]:
        loss, (logits, buffers) = super()._loss(trained, buffers, images, labels, key)
        return loss, (self.counted(logits, jax.nn.one_hot(labels, logits.shape[1], dtype=bool)), buffers)

    @staticmethod
    def counted(logits: jax.Array, of_label: jax.Array) -> jax.Array:
        return logits


class SmallestLogitCounted(OtherCount):
    """An image is correct if its label has the smallest logit."""

    @staticmethod
    def counted(logits: jax.Array, of_label: jax.Array) -> jax.Array:
        return -logits


class FirstTwoCounted(OtherCount):
    """An image is correct if its label has one of the two largest logits."""

    @staticmethod
    def counted(logits: jax.Array, of_label: jax.Array) -> jax.Array:
        second = jnp.sort(logits)[:, -2:-1]
        return jnp.where(of_label & (logits >= second), jnp.inf, logits)


class TiesCounted(OtherCount):
    """An image is correct if no logit is larger than its label's."""

    @staticmethod
    def counted(logits: jax.Array, of_label: jax.Array) -> jax.Array:
        return jnp.where(of_label & (logits == logits.max(1, keepdims=True)), jnp.inf, logits)
