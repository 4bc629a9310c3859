"""Faulty adapters of PyTorch: each class plants one fault of `tests.faults.FAULTS`."""

from __future__ import annotations

from collections.abc import Sequence
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
from tests.faults import contract
from tests.faults.matrices import linear

# --- layers -----------------------------------------------------------------------------------------------------------


class TanhForSigmoid(PyTorch):
    layers = LAYERS | {spec.Sigmoid: lambda node, layer: nn.Tanh()}


class PaddingOnTheOtherSide(PyTorch):
    @staticmethod
    def pad(node: Node, layer: spec.Pad) -> nn.Module:
        (top, bottom), (left, right) = layer.padding
        return pytorch.pad(node, replace(layer, padding=((bottom, top), (right, left))))

    layers = LAYERS | {spec.Pad: pad}


class ZeroForMinusInfinity(PyTorch):
    layers = LAYERS | {spec.Pad: lambda node, layer: pytorch.pad(node, replace(layer, value=0.0))}


class PaddingCounted(PyTorch):
    """The mean of a window is not divided by its own count."""

    layers = LAYERS | {
        lowering.ConstantMultiply: lambda node, layer: (
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
    layers = LAYERS | {
        lowering.ConstantMultiply: lambda node, layer: Function(lambda x: (layer.factor * x * 64).round() / 64)
    }


class ReluDerivativeAtZero(PyTorch):
    layers = LAYERS | {spec.ReLU: lambda node, layer: Function(lambda x: x.clamp(min=0))}


class DropoutAtHalfItsRate(PyTorch):
    layers = LAYERS | {spec.Dropout: lambda node, layer: nn.Dropout(layer.rate / 2)}


class DropoutInEvaluation(PyTorch):
    layers = LAYERS | {spec.Dropout: lambda node, layer: Function(lambda x: F.dropout(x, layer.rate))}


# --- modern layers ----------------------------------------------------------------------------------------------------


class GeluInTheTanhForm(PyTorch):
    layers = LAYERS | {spec.GELU: lambda node, layer: nn.GELU("tanh")}


class HardSigmoidSlope(PyTorch):
    layers = LAYERS | {spec.HardSigmoid: lambda node, layer: pytorch.hard_sigmoid(node, replace(layer, slope=0.2))}


class LeakySlope(PyTorch):
    layers = LAYERS | {spec.LeakyReLU: lambda node, layer: nn.LeakyReLU(0.3)}


class SlopeShared(PyTorch):
    class PReLU(pytorch.PReLU):
        def forward(self, x: Tensor) -> Tensor:
            return F.prelu(x, self.slope[:1])

    layers = LAYERS | {spec.PReLU: PReLU}


class NoUpperLimit(PyTorch):
    layers = LAYERS | {spec.ReLU6: lambda node, layer: nn.ReLU()}


class HardSwishForSilu(PyTorch):
    layers = LAYERS | {spec.SiLU: lambda node, layer: nn.Hardswish()}


class AlphaOfOne(PyTorch):
    layers = LAYERS | {spec.ELU: lambda node, layer: nn.ELU()}


class LayerNormOverAllValues(PyTorch):
    layers = LAYERS | {
        spec.LayerNorm: lambda node, layer: pytorch.GroupNorm(node, spec.GroupNorm(layer.name, 1, layer.eps))
    }


class GroupsInterleaved(PyTorch):
    """Channel c is in group c % groups."""

    class GroupNorm(pytorch.GroupNorm):
        def __init__(self, node: Node, layer: spec.GroupNorm) -> None:
            super().__init__(node, layer)
            self.order = np.arange(node.input[0]).reshape(-1, layer.groups).T.ravel()

        def forward(self, x: Tensor) -> Tensor:
            z = F.group_norm(x[:, self.order.tolist()], self.groups, eps=self.eps)[:, self.order.argsort().tolist()]
            return z * self.weight.view(self.shape) + self.bias.view(self.shape)

    layers = LAYERS | {spec.GroupNorm: GroupNorm}


class InstanceNormEpsilon(PyTorch):
    @staticmethod
    def norm(node: Node, layer: spec.GroupNorm) -> nn.Module:
        return pytorch.GroupNorm(node, replace(layer, eps=1e-3) if layer.groups == node.input[0] else layer)

    layers = LAYERS | {spec.GroupNorm: norm}


class DepthByValue(PyTorch):
    layers = LAYERS | {spec.StochasticDepth: lambda node, layer: nn.Dropout(layer.rate)}


class DepthUnscaled(PyTorch):
    class StochasticDepth(pytorch.StochasticDepth):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.remain if self.training else x

    layers = LAYERS | {spec.StochasticDepth: StochasticDepth}


class DepthInEvaluation(PyTorch):
    class StochasticDepth(pytorch.StochasticDepth):
        def forward(self, x: Tensor) -> Tensor:
            mask = torch.empty((len(x), 1, 1, 1), dtype=x.dtype).bernoulli_(self.remain)
            return x * (mask / self.remain)

    layers = LAYERS | {spec.StochasticDepth: StochasticDepth}


class DilationIgnored(PyTorch):
    layers = LAYERS | {spec.Conv: lambda node, layer: pytorch.conv(node, replace(layer, dilation=1, padding=1))}


class PlacesBeyondCounted(PaddingCounted):
    """The mean of a window is not divided by its own count."""


class EqualWindows(PyTorch):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> nn.Module:
        rows, columns = (np.eye(*matrix.shape) for matrix in (layer.rows, layer.columns))  # windows of 1 x 1
        return LAYERS[lowering.Interpolate](node, replace(layer, rows=rows, columns=columns))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class FirstOfEquallyNear(PyTorch):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> nn.Module:
        return LAYERS[lowering.Interpolate](node, replace(layer, columns=layer.columns[::-1, ::-1].copy()))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class CornersNotAligned(PyTorch):
    @staticmethod
    def interpolate(node: Node, layer: lowering.Interpolate) -> nn.Module:
        rows, columns = (linear(*matrix.shape) for matrix in (layer.rows, layer.columns))
        return LAYERS[lowering.Interpolate](node, replace(layer, rows=rows, columns=columns))

    layers = LAYERS | {lowering.Interpolate: interpolate}


class ZerosFilled(PyTorch):
    @staticmethod
    def select(node: Node, layer: spec.Select) -> nn.Module:
        return pytorch.select(node, replace(layer, maps=tuple(each or 0 for each in layer.maps)))

    layers = LAYERS | {spec.Select: select}


class ProductAdded(PyTorch):
    layers = LAYERS | {spec.Multiply: lambda node, layer, *chains: pytorch.Elementwise(torch.add, *chains)}


class ThirdTermDropped(PyTorch):
    class Add(pytorch.Elementwise):
        def forward(self, x: Tensor) -> Tensor:
            first, second, *others = (chain(x) for chain in self.chains)
            return first + second + 0 * sum(others)

    layers = LAYERS | {spec.Add: lambda node, layer, *chains: ThirdTermDropped.Add(torch.add, *chains)}


class PaddedByZero(ZeroForMinusInfinity):
    """Pads by 0, whatever the value."""


class LayerScaleLeftOut(PyTorch):
    class Affine(pytorch.Affine):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0 * self.weight.view(self.shape)

    layers = LAYERS | {spec.Affine: Affine}


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


class SmoothingOnTheMainHeadAlone(PyTorch):
    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.net(self._input(images))
        loss = self._cross_entropy(logits, labels)
        for head in self.heads:
            loss = loss + head.weight * F.cross_entropy(head.logits, labels)
        return loss, logits.detach()


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


# --- beyond one pass and one step: `tests.faults.CHECK_FAULTS` --------------------------------------------------------


def __getattr__(name: str) -> type:
    """The adapter with a fault of the contract."""
    return contract.planted(PyTorch, name)


class DropoutOffInTrain(PyTorch):
    """In `train` alone: every other pass in training mode has its masks."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        dropouts = [module for module in self.net.modules() if isinstance(module, nn.Dropout)]
        rates = [module.p for module in dropouts]
        for module in dropouts:
            module.p = self.rate(module.p)
        trained = super().train(order, batch_size, lrs, seed)
        for module, rate in zip(dropouts, rates):
            module.p = rate
        return trained

    @staticmethod
    def rate(rate: float) -> float:
        return 0.0


class DepthOffInTrain(PyTorch):
    """In `train` alone: every other pass in training mode has its masks."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        depths = [module for module in self.net.modules() if isinstance(module, pytorch.StochasticDepth)]
        fractions = [module.remain for module in depths]
        for module in depths:
            module.remain = 1.0
        trained = super().train(order, batch_size, lrs, seed)
        for module, fraction in zip(depths, fractions):
            module.remain = fraction
        return trained


class DepthOfTheBatchInTrain(PyTorch):
    """In `train` alone, one draw decides for all images."""

    class StochasticDepth(pytorch.StochasticDepth):
        shared = False

        def forward(self, x: Tensor) -> Tensor:
            return x * super().forward(torch.ones_like(x[:1])) if self.shared else super().forward(x)

    layers = LAYERS | {spec.StochasticDepth: StochasticDepth}

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.StochasticDepth.shared = True
        trained = super().train(order, batch_size, lrs, seed)
        self.StochasticDepth.shared = False
        return trained


class RateHalvedInTrain(DropoutOffInTrain):
    @staticmethod
    def rate(rate: float) -> float:
        return rate / 2


class OneMaskForAllImages(PyTorch):
    """In `train` alone."""

    class Dropout(nn.Dropout):
        shared = False

        def forward(self, x: Tensor) -> Tensor:
            return x * super().forward(torch.ones_like(x[:1])) if self.shared else super().forward(x)

    layers = LAYERS | {spec.Dropout: lambda node, layer: OneMaskForAllImages.Dropout(layer.rate)}

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.Dropout.shared = True
        trained = super().train(order, batch_size, lrs, seed)
        self.Dropout.shared = False
        return trained


class GhostBatchNorm(PyTorch):
    """Above 16 images, statistics of 16 images at a time."""

    class BatchNorm(pytorch.BatchNorm):
        def forward(self, x: Tensor) -> Tensor:
            if not self.training or len(x) <= 16:
                return super().forward(x)
            return torch.cat([super(GhostBatchNorm.BatchNorm, self).forward(part) for part in x.split(16)])

    layers = LAYERS | {spec.BatchNorm: BatchNorm}


class LossDividedByFour(PyTorch):
    """The sum over the batch is divided by 4 at any batch size."""

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super()._cross_entropy(logits, labels) * len(labels) / 4


class EvalLeftOutOnceTrained(PyTorch):
    def predict(self, split: Split, batch_size: int) -> Array:
        if self.steps:
            self.net.eval = self.net.train
        return super().predict(split, batch_size)


class SmoothingOverTen(PyTorch):
    """Every class has smoothing / 10, whatever the number of classes."""

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing, logarithms = self.training.label_smoothing, F.log_softmax(logits, 1)
        return (1 - smoothing) * F.nll_loss(logarithms, labels) - smoothing / 10 * logarithms.sum(1).mean()


class MomentumChangedLate(PyTorch):
    """From step 11 on."""

    def _update(self, lr: float) -> None:
        for group in self.optimizer.param_groups if self.steps >= 10 else ():
            if "momentum" in group:
                group["momentum"] = 0.9 * self.training.optimizer.momentum
        super()._update(lr)


class FirstBetaChangedLate(PyTorch):
    """From step 51 on."""

    def _update(self, lr: float) -> None:
        for group in self.optimizer.param_groups if self.steps >= 50 else ():
            if "betas" in group:
                group["betas"] = 0.9 * self.training.optimizer.beta1, self.training.optimizer.beta2
        super()._update(lr)


class GradientNormClipped(PyTorch):
    """At 10."""

    def _update(self, lr: float) -> None:
        torch.nn.utils.clip_grad_norm_(list(self._trained().values()), 10.0)
        super()._update(lr)


class GradientValuesClipped(PyTorch):
    """At 10."""

    def _update(self, lr: float) -> None:
        torch.nn.utils.clip_grad_value_(list(self._trained().values()), 10.0)
        super()._update(lr)


class ClippedArrayByArray(PyTorch):
    def _clip(self, gradients: Sequence[Tensor], limit: float) -> None:
        for gradient in gradients:
            super()._clip([gradient], limit)


class ClippedByNormPlusEpsilon(PyTorch):
    def _clip(self, gradients: Sequence[Tensor], limit: float) -> None:
        torch.nn.utils.clip_grad_norm_(list(self._trained().values()), limit)


class LogarithmOfProbabilities(PyTorch):
    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.training.label_smoothing:
            return super()._cross_entropy(logits, labels)
        return F.nll_loss(F.softmax(logits, 1).log(), labels)


class LogarithmPlusEpsilon(PyTorch):
    """log(p + 1e-12)."""

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.training.label_smoothing:
            return super()._cross_entropy(logits, labels)
        return F.nll_loss((F.softmax(logits, 1) + 1e-12).log(), labels)


class ImagesInBfloat16(PyTorch):
    """With more than one thread."""

    def _input(self, images: Tensor) -> Tensor:
        x = super()._input(images)
        return (x / 255).bfloat16().to(x.dtype) * 255 if torch.get_num_threads() > 1 else x


class SmallestLogitCounted(PyTorch):
    """An image is correct if its label has the smallest logit."""

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = super()._forward(images, labels)
        return loss, -logits


class FirstTwoCounted(PyTorch):
    """An image is correct if its label has one of the two largest logits."""

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = super()._forward(images, labels)
        correct = (
            F.one_hot(labels, logits.shape[1]).bool() & (logits.topk(2).indices == labels[:, None]).any(1)[:, None]
        )
        return loss, logits.masked_fill(correct, torch.inf)


class TiesCounted(PyTorch):
    """An image is correct if no logit is larger than its label's."""

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = super()._forward(images, labels)
        largest = F.one_hot(labels, logits.shape[1]).bool() & (logits == logits.amax(1, keepdim=True))
        return loss, logits.masked_fill(largest, torch.inf)
