"""Faulty adapters of MXNet Gluon: each class plants one fault of `tests.faults.FAULTS`.

Faults run in float64, where `FLOAT64` replaces some of the builders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mxnet import autograd
from mxnet.gluon import HybridBlock, nn
from mxnet.ndarray import NDArray

from frameworks import spec
from frameworks.adapter import Setting, Trained
from frameworks.arrays import Array, Weights
from frameworks.mxnet_gluon import MXNetGluon
from frameworks.mxnet_gluon import layers as mxnet_gluon
from frameworks.mxnet_gluon.adapter import Graph, Logits, Loss, inside
from frameworks.mxnet_gluon.layers import FLOAT64, LAYERS, Function
from frameworks.mxnet_gluon.optimizers import update_by_arithmetic
from frameworks.spec import Network, Node, lowering, pair
from frameworks.spec.lowering import leading
from frameworks.training import SGD, Adam, Optimizer, Training
from tests.faults import contract
from tests.faults.matrices import linear, shifted

# --- layers -----------------------------------------------------------------------------------------------------------


class SigmoidForTanh(MXNetGluon):
    layers = LAYERS | {spec.Tanh: lambda node, layer: nn.Activation("sigmoid")}


class PaddingOnTheOtherSide(MXNetGluon):
    @staticmethod
    def pad(node: Node, layer: spec.Pad) -> HybridBlock:
        (top, bottom), sides = layer.padding
        return mxnet_gluon.pad(node, replace(layer, padding=((bottom, top), sides)))

    layers = LAYERS | {spec.Pad: pad}


class PaddingNotCounted(MXNetGluon):
    layers = LAYERS | {
        spec.AvgPool: lambda node, layer: nn.AvgPool2D(
            pair(layer.kernel), pair(layer.stride), leading(layer), count_include_pad=False
        )
    }


class EpsilonOutsideTheRoot(MXNetGluon):
    class BatchNorm(mxnet_gluon.BatchNorm):
        def normalized(self, F: Any, x: Any, mean: Any, variance: Any) -> Any:
            return F.broadcast_div(F.broadcast_sub(x, mean), F.sqrt(variance) + self.eps)

    layers_float64 = FLOAT64 | {spec.BatchNorm: BatchNorm}


class StatisticsHeldConstant(MXNetGluon):
    class BatchNorm(mxnet_gluon.BatchNorm):
        def statistics(self, F: Any, x: Any) -> tuple[Any, Any]:
            mean, variance = super().statistics(F, x)
            return F.BlockGrad(mean), F.BlockGrad(variance)

    layers_float64 = FLOAT64 | {spec.BatchNorm: BatchNorm}


class StaleStatistics(MXNetGluon):
    class BatchNorm(mxnet_gluon.BatchNorm):
        def move_running(self, mean: NDArray, variance: NDArray) -> None:
            pass

    layers_float64 = FLOAT64 | {spec.BatchNorm: BatchNorm}


class DeviationForVariance(MXNetGluon):
    class BatchNorm(mxnet_gluon.BatchNorm):
        def move_running(self, mean: NDArray, variance: NDArray) -> None:
            super().move_running(mean, variance**0.5)

    layers_float64 = FLOAT64 | {spec.BatchNorm: BatchNorm}


class AlphaUndivided(MXNetGluon):
    layers_float64 = FLOAT64 | {
        spec.LocalResponseNorm: lambda node, layer: mxnet_gluon.local_response_norm(
            node, replace(layer, alpha=layer.alpha * layer.size), operator=False
        )
    }


class HalfAPixelOff(MXNetGluon):
    """Pixels lie at i, not at i + 1/2."""

    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> HybridBlock:
        rows, columns = (shifted(*matrix.shape) for matrix in (layer.rows, layer.columns))
        return mxnet_gluon.interpolate(node, replace(layer, rows=rows, columns=columns))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class BranchesInAnotherOrder(MXNetGluon):
    layers = LAYERS | {spec.Concat: lambda node, layer, *chains: mxnet_gluon.Concat(node, layer, *chains[::-1])}


class ShortcutDropped(MXNetGluon):
    layers = LAYERS | {spec.Add: lambda node, layer, body, shortcut: mxnet_gluon.Elementwise("elemwise_add", body)}


class DropoutUnscaled(MXNetGluon):
    @staticmethod
    def dropout(node: Node, layer: spec.Dropout) -> HybridBlock:
        def function(F: Any, x: Any) -> Any:
            return x * (F.Dropout(F.ones_like(x), p=layer.rate) > 0) if autograd.is_training() else x

        return Function(function)

    layers_float64 = FLOAT64 | {spec.Dropout: dropout}


# --- modern layers ----------------------------------------------------------------------------------------------------


class GeluInTheTanhForm(MXNetGluon):
    layers = LAYERS | {spec.GELU: mxnet_gluon.activation(lambda F, x, layer: mxnet_gluon.gelu(F, x, True))}


class HardSigmoidSlope(MXNetGluon):
    """The default of MXNet's operator."""

    layers = LAYERS | {spec.HardSigmoid: mxnet_gluon.activation(lambda F, x, layer: F.hard_sigmoid(x))}


class LeakySlope(MXNetGluon):
    layers = LAYERS | {spec.LeakyReLU: mxnet_gluon.activation(lambda F, x, layer: F.where(x > 0, x, 0.3 * x))}


class SlopeShared(MXNetGluon):
    class PReLU(mxnet_gluon.PReLU):
        def hybrid_forward(self, F: Any, x: Any, slope: Any) -> Any:
            first = F.broadcast_add(F.zeros_like(slope), F.slice_axis(slope, axis=0, begin=0, end=1))
            return super().hybrid_forward(F, x, first)

    layers = LAYERS | {spec.PReLU: PReLU}


class NoUpperLimit(MXNetGluon):
    layers = LAYERS | {spec.ReLU6: lambda node, layer: nn.Activation("relu")}


class HardSwishForSilu(MXNetGluon):
    layers = LAYERS | {spec.SiLU: mxnet_gluon.activation(lambda F, x, layer: x * mxnet_gluon.hard_sigmoid(F, x, 1 / 6))}


class AlphaOfOne(MXNetGluon):
    layers = LAYERS | {spec.ELU: mxnet_gluon.activation(lambda F, x, layer: mxnet_gluon.exponential(F, x, 1.0))}


class LayerNormOverAllValues(MXNetGluon):
    layers = LAYERS | {
        spec.LayerNorm: lambda node, layer: mxnet_gluon.group_norm(node, spec.GroupNorm(layer.name, 1, layer.eps))
    }


class GroupsInterleaved(MXNetGluon):
    """Channel c is in group c % groups."""

    @staticmethod
    def norm(node: Node, layer: spec.GroupNorm) -> HybridBlock:
        channels, *size = node.input

        def arrange(F: Any, x: Any) -> Any:
            apart = F.reshape(x, (-1, channels // layer.groups, layer.groups, *size))
            return F.reshape(F.swapaxes(apart, 1, 2), (0, layer.groups, -1))

        def restore(F: Any, z: Any) -> Any:
            apart = F.reshape(z, (-1, layer.groups, channels // layer.groups, *size))
            return F.reshape(F.swapaxes(apart, 1, 2), (-1, channels, *size))

        return mxnet_gluon.Standardized(node, layer, arrange, restore)

    layers = LAYERS | {spec.GroupNorm: norm}


class InstanceNormEpsilon(MXNetGluon):
    @staticmethod
    def norm(node: Node, layer: spec.GroupNorm) -> HybridBlock:
        return mxnet_gluon.group_norm(node, replace(layer, eps=1e-3) if layer.groups == node.input[0] else layer)

    layers = LAYERS | {spec.GroupNorm: norm}


class DepthByValue(MXNetGluon):
    layers_float64 = FLOAT64 | {
        spec.StochasticDepth: lambda node, layer: mxnet_gluon.dropout(node, spec.Dropout(rate=layer.rate))
    }


class DepthUnscaled(MXNetGluon):
    @staticmethod
    def depth(node: Node, layer: spec.StochasticDepth) -> HybridBlock:
        sound = mxnet_gluon.dropout(node, layer).function
        return Function(lambda F, x: sound(F, x) * (1 - layer.rate) if autograd.is_training() else x)

    layers_float64 = FLOAT64 | {spec.StochasticDepth: depth}


class DepthInEvaluation(MXNetGluon):
    @staticmethod
    def depth(node: Node, layer: spec.StochasticDepth) -> HybridBlock:
        axes = tuple(range(1, len(node.input) + 1))

        def function(F: Any, x: Any) -> Any:
            return x * (F.Dropout(F.ones_like(x), p=layer.rate, axes=axes, mode="always") > 0) / (1 - layer.rate)

        return Function(function)

    layers_float64 = FLOAT64 | {spec.StochasticDepth: depth}


class DilationIgnored(MXNetGluon):
    layers = LAYERS | {spec.Conv: lambda node, layer: mxnet_gluon.conv(node, replace(layer, dilation=1, padding=1))}


class PlacesBeyondCounted(MXNetGluon):
    """The mean of a window is not divided by its own count."""

    @staticmethod
    def multiply(node: Node, layer: lowering.ConstantMultiply) -> HybridBlock:
        return mxnet_gluon.multiply(node, layer if isinstance(layer.factor, float) else replace(layer, factor=1.0))

    layers = LAYERS | {lowering.ConstantMultiply: multiply}


class EqualWindows(MXNetGluon):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> HybridBlock:
        rows, columns = (np.eye(*matrix.shape) for matrix in (layer.rows, layer.columns))  # windows of 1 x 1
        return mxnet_gluon.interpolate(node, replace(layer, rows=rows, columns=columns))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class FirstOfEquallyNear(MXNetGluon):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> HybridBlock:
        return mxnet_gluon.interpolate(node, replace(layer, columns=layer.columns[::-1, ::-1].copy()))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class CornersNotAligned(MXNetGluon):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> HybridBlock:
        rows, columns = (linear(*matrix.shape) for matrix in (layer.rows, layer.columns))
        return mxnet_gluon.interpolate(node, replace(layer, rows=rows, columns=columns))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class ZerosFilled(MXNetGluon):
    @staticmethod
    def select(node: Node, layer: spec.Select) -> HybridBlock:
        return mxnet_gluon.select(node, replace(layer, maps=tuple(each or 0 for each in layer.maps)))

    layers = LAYERS | {spec.Select: select}


class ProductAdded(MXNetGluon):
    layers = LAYERS | {
        spec.Multiply: lambda node, layer, *chains: mxnet_gluon.Elementwise("broadcast_add", *chains),
    }


class ThirdTermDropped(MXNetGluon):
    class Add(mxnet_gluon.Elementwise):
        def hybrid_forward(self, F: Any, x: Any) -> Any:
            first, second, *others = (chain(x) for chain in self.chains)
            return first + second + 0 * sum(others)

    layers = LAYERS | {spec.Add: lambda node, layer, *chains: ThirdTermDropped.Add("elemwise_add", *chains)}


class PaddedByZero(MXNetGluon):
    layers = LAYERS | {spec.Pad: lambda node, layer: mxnet_gluon.pad(node, replace(layer, value=0.0))}


class LayerScaleLeftOut(MXNetGluon):
    class Affine(mxnet_gluon.Affine):
        def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any = None) -> Any:
            return super().hybrid_forward(F, x, F.ones_like(gamma) + 0 * gamma, beta)

    layers = LAYERS | {spec.Affine: Affine}


# --- weights ----------------------------------------------------------------------------------------------------------


class DenseWeightByPlace(MXNetGluon):
    def set_weights(self, weights: Weights) -> None:
        by_place = np.moveaxis(weights["head.weight"].reshape(5, 6, 16), 1, 2).reshape(5, 96)
        super().set_weights(weights | {"head.weight": by_place})


class TransposedKernel(MXNetGluon):
    def set_weights(self, weights: Weights) -> None:
        kernels = {name: array.swapaxes(2, 3) for name, array in weights.items() if array.ndim == 4}
        super().set_weights(weights | kernels)


class TransposedWeight(MXNetGluon):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights | {"square.weight": weights["square.weight"].T})


# --- loss -------------------------------------------------------------------------------------------------------------


class DoubleSoftmax(Loss):
    def cross_entropy(self, F: Any, logits: Any, labels: Any) -> Any:
        return super().cross_entropy(F, F.softmax(logits), labels)


class SoftmaxTwice(MXNetGluon):
    loss = DoubleSoftmax


class OverTheBatch(Loss):
    def cross_entropy(self, F: Any, logits: Any, labels: Any) -> Any:
        return -F.mean(F.pick(F.log_softmax(logits, axis=0), labels))


class CrossEntropyOnTheWrongAxis(MXNetGluon):
    loss = OverTheBatch


class MainHeadOnly(Loss):
    def hybrid_forward(self, F: Any, images: Any, labels: Any) -> Any:
        logits = self.net(F.cast(images, self.precision))
        return [self.cross_entropy(F, logits, labels), F.sum(F.argmax(logits, axis=1) == labels)]


class AuxiliaryHeadForgotten(MXNetGluon):
    loss = MainHeadOnly


class LabelsNotSmoothed(MXNetGluon):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, replace(training, label_smoothing=0.0), setting)


# --- steps ------------------------------------------------------------------------------------------------------------


class LearningRateInVelocity(MXNetGluon):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, lr_in_velocity=True)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class NotDecoupled(MXNetGluon):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, decoupled=False)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class GradientDividedAgain(MXNetGluon):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.update = lambda rule, step, lr, decay, weight, gradient, *slots: update_by_arithmetic(
            rule, step, lr, decay, weight, gradient / 4, *slots
        )


class StepsCountedFromTwo(MXNetGluon):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.update = lambda rule, step, *rest: update_by_arithmetic(rule, step + 1, *rest)


# --- beyond one pass and one step: `tests.faults.CHECK_FAULTS` --------------------------------------------------------


def __getattr__(name: str) -> type:
    """The adapter with a fault of the contract."""
    return contract.planted(MXNetGluon, name)


class DropoutOffInTrain(MXNetGluon):
    """In `train` alone: every other pass in training mode has its masks."""

    in_train = False  # of the process; read when a graph is traced

    @staticmethod
    def dropout(node: Node, layer: spec.Dropout) -> HybridBlock:
        sound = mxnet_gluon.dropout(node, layer).function
        return Function(lambda F, x: x if DropoutOffInTrain.in_train else sound(F, x))

    layers_float64 = FLOAT64 | {spec.Dropout: dropout}

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        DropoutOffInTrain.in_train = True
        trained = super().train(order, batch_size, lrs, seed)
        DropoutOffInTrain.in_train = False
        return trained


class DepthOffInTrain(MXNetGluon):
    """In `train` alone: every other pass in training mode has its masks."""

    in_train = False  # of the process; read when a graph is traced

    @staticmethod
    def depth(node: Node, layer: spec.StochasticDepth) -> HybridBlock:
        sound = mxnet_gluon.dropout(node, layer).function
        return Function(lambda F, x: x if DepthOffInTrain.in_train else sound(F, x))

    layers_float64 = FLOAT64 | {spec.StochasticDepth: depth}

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        DepthOffInTrain.in_train = True
        trained = super().train(order, batch_size, lrs, seed)
        DepthOffInTrain.in_train = False
        return trained


class OneMaskForAllImages(MXNetGluon):
    """In `train` alone."""

    in_train = False  # of the process; read when a graph is traced

    @staticmethod
    def dropout(node: Node, layer: spec.Dropout) -> HybridBlock:
        sound = mxnet_gluon.dropout(node, layer).function

        def function(F: Any, x: Any) -> Any:
            if not OneMaskForAllImages.in_train:
                return sound(F, x)
            return x * (F.Dropout(F.ones_like(x), p=layer.rate, axes=(0,)) > 0) / (1 - layer.rate)

        return Function(function)

    layers_float64 = FLOAT64 | {spec.Dropout: dropout}

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        OneMaskForAllImages.in_train = True
        trained = super().train(order, batch_size, lrs, seed)
        OneMaskForAllImages.in_train = False
        return trained


class SumOverFour(Loss):
    def cross_entropy(self, F: Any, logits: Any, labels: Any) -> Any:
        return super().cross_entropy(F, logits, labels) * F.sum(F.ones_like(labels)) / 4


class LossDividedByFour(MXNetGluon):
    """The sum over the batch is divided by 4 at any batch size."""

    loss = SumOverFour


class TenthOfSmoothing(Loss):
    def cross_entropy(self, F: Any, logits: Any, labels: Any) -> Any:
        log_p = F.log_softmax(logits)
        loss = -F.mean(F.pick(log_p, labels))
        return (1 - self.smoothing) * loss - self.smoothing / 10 * F.mean(F.sum(log_p, axis=1))


class SmoothingOverTen(MXNetGluon):
    """Every class has smoothing / 10, whatever the number of classes."""

    loss = TenthOfSmoothing


class LateTraining(MXNetGluon):
    """Without a fault: from a step on, a subclass uses another optimizer."""

    from_step = 0

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        sound = self.update
        self.update = lambda rule, step, *rest: sound(self.late(rule) if step >= self.from_step else rule, step, *rest)

    @staticmethod
    def late(rule: Optimizer) -> Optimizer:
        return rule


class MomentumChangedLate(LateTraining):
    from_step = 11

    @staticmethod
    def late(rule: Optimizer) -> Optimizer:
        return replace(rule, momentum=0.9 * rule.momentum) if isinstance(rule, SGD) else rule


class FirstBetaChangedLate(LateTraining):
    from_step = 51

    @staticmethod
    def late(rule: Optimizer) -> Optimizer:
        return replace(rule, beta1=0.9 * rule.beta1) if isinstance(rule, Adam) else rule


class GradientNormClipped(MXNetGluon):
    """At 10."""

    def _update(self, lr: float, statistics: Sequence[NDArray]) -> None:
        gradients = [parameter.grad() for parameter in self.trained.values()]
        norm = sum(float((gradient**2).sum().asscalar()) for gradient in gradients) ** 0.5
        for gradient in gradients if norm > 10 else ():
            gradient *= 10 / norm
        super()._update(lr, statistics)


class ClippedArrayByArray(MXNetGluon):
    def _clip(self, gradients: Sequence[NDArray], limit: float) -> None:
        for gradient in gradients:
            super()._clip([gradient], limit)


class ClippedByNormPlusEpsilon(MXNetGluon):
    def _clip(self, gradients: Sequence[NDArray], limit: float) -> None:
        norm = sum(float((gradient**2).sum().asscalar()) for gradient in gradients) ** 0.5
        for gradient in gradients if norm > limit else ():
            gradient *= limit / (norm + 1e-8)


class LogarithmOfSoftmax(Loss):
    added = 0.0

    def cross_entropy(self, F: Any, logits: Any, labels: Any) -> Any:
        if self.smoothing:
            return super().cross_entropy(F, logits, labels)
        return -F.mean(F.log(F.pick(F.softmax(logits), labels) + self.added))


class LogarithmOfProbabilities(MXNetGluon):
    loss = LogarithmOfSoftmax


class LogarithmOfSum(LogarithmOfSoftmax):
    added = 1e-12


class LogarithmPlusEpsilon(MXNetGluon):
    """log(p + 1e-12)."""

    loss = LogarithmOfSum


def in_float16(F: Any, images: Any, precision: str) -> Any:
    return F.cast(F.cast(F.cast(images, precision) / 255, "float16"), precision) * 255


class LossInFloat16(Loss):
    def hybrid_forward(self, F: Any, images: Any, labels: Any) -> Any:
        return super().hybrid_forward(F, in_float16(F, images, self.precision), labels)


class LogitsInFloat16(Logits):
    def hybrid_forward(self, F: Any, images: Any) -> Any:
        return super().hybrid_forward(F, in_float16(F, images, self.precision))


class ImagesInFloat16(MXNetGluon):
    """With more than one thread."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        if setting.threads > 1:
            self.loss = LossInFloat16
        super().__init__(network, training, setting)
        if setting.threads > 1:
            active = setting.mode == ""
            self.predict_graph = Graph(LogitsInFloat16, self.net, setting.precision, active=active)
            self.net.hybridize(False)


class SmallestCounted(Loss):
    def hybrid_forward(self, F: Any, images: Any, labels: Any) -> Any:
        logits = self.net(F.cast(images, self.precision))
        statistics = [statistic for norm in inside(self.net, mxnet_gluon.BatchNorm) for statistic in norm.batch]
        return [self.cross_entropy(F, logits, labels), F.sum(F.argmin(logits, axis=1) == labels), *statistics]


class SmallestLogitCounted(MXNetGluon):
    """An image is correct if its label has the smallest logit."""

    loss = SmallestCounted
