"""Faulty adapters of MXNet Gluon: each class plants one fault of `tests.faults.FAULTS`.

Faults run in float64, where `FLOAT64` replaces some of the builders.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from mxnet import autograd
from mxnet.gluon import HybridBlock, nn
from mxnet.ndarray import NDArray

from frameworks import spec
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.mxnet_gluon import MXNetGluon
from frameworks.mxnet_gluon import layers as mxnet_gluon
from frameworks.mxnet_gluon.adapter import Loss, update_by_arithmetic
from frameworks.mxnet_gluon.layers import FLOAT64, LAYERS, Function
from frameworks.spec import Network, Node, lowering, pair
from frameworks.spec.lowering import leading
from frameworks.training import Training

# --- layers -----------------------------------------------------------------------------------------------------------


class SigmoidForTanh(MXNetGluon):
    layers = LAYERS | {spec.Tanh: lambda node, layer: nn.Activation("sigmoid")}


class PaddingOnTheOtherSide(MXNetGluon):
    @staticmethod
    def pad(node: Node, layer: lowering.Pad) -> HybridBlock:
        (top, bottom), sides = layer.padding
        return mxnet_gluon.pad(node, replace(layer, padding=((bottom, top), sides)))

    layers = LAYERS | {lowering.Pad: pad}


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


def shifted(to: int, size: int) -> Array:
    positions = np.arange(to) * size / to
    return np.array([np.interp(positions, np.arange(size), row) for row in np.eye(size)]).T


class BranchesInAnotherOrder(MXNetGluon):
    layers = LAYERS | {spec.Concat: lambda node, layer, *chains: mxnet_gluon.Concat(node, layer, *chains[::-1])}


class ShortcutDropped(MXNetGluon):
    class Residual(mxnet_gluon.Residual):
        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return self.body(x)

    layers = LAYERS | {spec.Residual: Residual}


class DropoutUnscaled(MXNetGluon):
    @staticmethod
    def dropout(node: Node, layer: spec.Dropout) -> HybridBlock:
        def function(F: Any, x: Any) -> Any:
            return x * (F.Dropout(F.ones_like(x), p=layer.rate) > 0) if autograd.is_training() else x

        return Function(function)

    layers_float64 = FLOAT64 | {spec.Dropout: dropout}


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
