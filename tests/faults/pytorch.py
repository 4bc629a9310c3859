"""Faulty adapters of PyTorch: each class plants one fault of `tests.faults.FAULTS`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frameworks import spec
from frameworks.adapter import Setting, Split, Trained
from frameworks.arrays import Array, Weights
from frameworks.pytorch import PyTorch
from frameworks.pytorch import layers as pytorch
from frameworks.pytorch.layers import LAYERS, Function
from frameworks.spec import Network, Node, lowering, pair
from frameworks.spec.lowering import leading
from frameworks.training import Training

# --- layers -----------------------------------------------------------------------------------------------------------


class TanhForSigmoid(PyTorch):
    layers = LAYERS | {spec.Sigmoid: lambda node, layer: nn.Tanh()}


class PaddingOnTheOtherSide(PyTorch):
    @staticmethod
    def pad(node: Node, layer: lowering.Pad) -> nn.Module:
        (top, bottom), (left, right) = layer.padding
        return pytorch.pad(node, replace(layer, padding=((bottom, top), (right, left))))

    layers = LAYERS | {lowering.Pad: pad}


class ZeroForMinusInfinity(PyTorch):
    layers = LAYERS | {lowering.Pad: lambda node, layer: pytorch.pad(node, replace(layer, value=0.0))}


class PaddingCounted(PyTorch):
    """The mean of a window is not divided by its own count."""

    layers = LAYERS | {
        lowering.Multiply: lambda node, layer: (
            pytorch.multiply(node, layer) if isinstance(layer.factor, float) else nn.Identity()
        )
    }


class AverageForMaximum(PyTorch):
    layers = LAYERS | {
        spec.MaxPool: lambda node, layer: nn.AvgPool2d(pair(layer.kernel), pair(layer.stride), leading(layer))
    }


class StrideOfOne(PyTorch):
    layers = LAYERS | {spec.MaxPool: lambda node, layer: nn.MaxPool2d(pair(layer.kernel), 1, leading(layer))}


class FlattenByPlace(PyTorch):
    layers = LAYERS | {spec.Flatten: lambda node, layer: Function(lambda x: x.movedim(1, -1).flatten(1))}


class NormEpsilon(PyTorch):
    layers = LAYERS | {spec.BatchNorm: lambda node, layer: pytorch.BatchNorm(node, replace(layer, eps=1e-3))}


class NormMomentum(PyTorch):
    layers = LAYERS | {
        spec.BatchNorm: lambda node, layer: pytorch.BatchNorm(node, replace(layer, momentum=1 - layer.momentum))
    }


class BatchStatisticsInEvaluation(PyTorch):
    class BatchNorm(pytorch.BatchNorm):
        def forward(self, x: Tensor) -> Tensor:
            running = self.running_mean, self.running_var
            return F.batch_norm(x, *running, self.weight, self.bias, True, **self.options)

    layers = LAYERS | {spec.BatchNorm: BatchNorm}


class NoBeta(PyTorch):
    class BatchNorm(pytorch.BatchNorm):
        def forward(self, x: Tensor) -> Tensor:
            running = self.running_mean, self.running_var
            return F.batch_norm(x, *running, self.weight, 0 * self.bias, self.training, **self.options)

    layers = LAYERS | {spec.BatchNorm: BatchNorm}


class GammaNotTrained(PyTorch):
    class BatchNorm(pytorch.BatchNorm):
        def __init__(self, node: Node, layer: spec.BatchNorm) -> None:
            super().__init__(node, layer)
            self.weight.requires_grad_(False)

    layers = LAYERS | {spec.BatchNorm: BatchNorm}


class DividedByVariance(PyTorch):
    """(x - mean) / std^2, as gamma x + beta with gamma = 1 / std."""

    @staticmethod
    def affine(node: Node, layer: lowering.ConstantAffine) -> nn.Module:
        return pytorch.constant_affine(node, replace(layer, gamma=layer.gamma**2, beta=layer.beta * layer.gamma))

    layers = LAYERS | {lowering.ConstantAffine: affine}


class AlphaUndivided(PyTorch):
    layers = LAYERS | {
        spec.LocalResponseNorm: lambda node, layer: nn.LocalResponseNorm(
            layer.size, layer.alpha * layer.size, layer.beta, layer.k
        )
    }


class ChannelsReversed(PyTorch):
    layers = LAYERS | {
        spec.Select: lambda node, layer: LAYERS[spec.Select](node, replace(layer, maps=layer.maps[::-1]))
    }


class PixelsRounded(PyTorch):
    layers = LAYERS | {lowering.Multiply: lambda node, layer: Function(lambda x: (layer.factor * x * 64).round() / 64)}


class ReluDerivativeAtZero(PyTorch):
    layers = LAYERS | {spec.ReLU: lambda node, layer: Function(lambda x: x.clamp(min=0))}


class DropoutAtHalfItsRate(PyTorch):
    layers = LAYERS | {spec.Dropout: lambda node, layer: nn.Dropout(layer.rate / 2)}


class DropoutInEvaluation(PyTorch):
    layers = LAYERS | {spec.Dropout: lambda node, layer: Function(lambda x: F.dropout(x, layer.rate))}


# --- weights and images -----------------------------------------------------------------------------------------------


class BiasNotLoaded(PyTorch):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights | {"fc.bias": 0 * weights["fc.bias"]})


class Float32OnTheWay(PyTorch):
    def _input(self, images: Tensor) -> Tensor:
        return super()._input(images.float().div(3).to(self.dtype).mul(3))


class PixelsAsSignedBytes(PyTorch):
    def _input(self, images: Tensor) -> Tensor:
        return super()._input(images - 256.0 * (images > 127))


class PredictionsInTrainingMode(PyTorch):
    def predict(self, split: Split, batch_size: int) -> Array:
        self.net.eval = self.net.train
        return super().predict(split, batch_size)


# --- loss -------------------------------------------------------------------------------------------------------------


class LossSummed(PyTorch):
    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super()._cross_entropy(logits, labels) * len(labels)


class AuxiliaryHeadForgotten(PyTorch):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        for head in self.heads:
            head.weight = 0.0


# --- steps ------------------------------------------------------------------------------------------------------------


class Momentum(PyTorch):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        rule = training.optimizer
        wrong = replace(rule, momentum=1 - rule.momentum)  # type: ignore[union-attr]
        super().__init__(network, replace(training, optimizer=wrong), setting)


class NoNesterov(PyTorch):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, nesterov=False)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class AdamEpsilon(PyTorch):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        wrong = replace(training.optimizer, epsilon=1e-8)
        super().__init__(network, replace(training, optimizer=wrong), setting)


class DecayOnBiases(PyTorch):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, replace(training, decay_all=True), setting)


class GradientNotCleared(PyTorch):
    def _new_optimizer(self) -> torch.optim.Optimizer:
        optimizer: Any = super()._new_optimizer()
        optimizer.zero_grad = lambda: None
        return optimizer


class LearningRateOneStepLate(PyTorch):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return super().train(order, batch_size, np.concatenate([lrs[:1], lrs[:-1]]), seed)


# --- running statistics -----------------------------------------------------------------------------------------------


class UnbiasedUndeclared(PyTorch):
    departures = ()
