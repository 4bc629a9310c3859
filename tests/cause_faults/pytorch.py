"""The faults of `tests.cause_faults` in PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frameworks import spec
from frameworks.pytorch import PyTorch
from frameworks.pytorch import layers as pytorch
from frameworks.pytorch.layers import LAYERS, Function
from frameworks.spec import Node
from tests.cause_faults import (
    ComplementOfRate,
    ConvolutionsExchanged,
    GammaBetaExchanged,
    WeightOf04,
    WindowOf3,
    shifted,
)


class RateOfComplement(ComplementOfRate, PyTorch):
    pass


class ComplementOfAnyRate(PyTorch):
    layers = LAYERS | {spec.Dropout: lambda node, layer: nn.Dropout(1 - layer.rate)}


class SmallerWindow(WindowOf3, PyTorch):
    pass


class WeightOfHead(WeightOf04, PyTorch):
    pass


class GammaForBeta(GammaBetaExchanged, PyTorch):
    pass


class LayersExchanged(ConvolutionsExchanged, PyTorch):
    pass


class SoftmaxOfLogits(PyTorch):
    class Dense(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).softmax(1)

    layers = LAYERS | {spec.Dense: lambda node, layer: SoftmaxOfLogits.Dense(node.input[0], layer.units)}


class LeakyReLU(PyTorch):
    layers = LAYERS | {spec.ReLU: lambda node, layer: nn.LeakyReLU(0.01)}


class ShiftedWindow(PyTorch):
    @staticmethod
    def response(node: Node, layer: spec.LocalResponseNorm) -> nn.Module:
        window = torch.tensor(shifted(layer, node.input[0]), dtype=torch.float64, device="cpu").numpy()

        def function(x: Tensor, window: Tensor) -> Tensor:
            mean = torch.einsum("cj,njhw->nchw", window, x * x)
            return x / (layer.k + layer.alpha * mean) ** layer.beta

        return Function(function, window)

    layers = LAYERS | {spec.LocalResponseNorm: response}


class ReLUBeforeSum(PyTorch):
    layers = LAYERS | {
        spec.Add: lambda node, layer, *chains: pytorch.Elementwise(lambda body, other: body.relu() + other, *chains)
    }


class VarianceDividedAgain(PyTorch):
    departures = ()

    class BatchNorm(pytorch.BatchNorm):
        def forward(self, x: Tensor) -> Tensor:
            if not self.training:
                return super().forward(x)
            momentum = self.options["momentum"]
            y = F.batch_norm(
                x, self.running_mean, self.running_var.clone(), self.weight, self.bias, True, **self.options
            )
            count = x.numel() // x.shape[1]
            variance = x.detach().var((0, 2, 3), correction=0) * (count - 1) / count
            self.running_var.mul_(1 - momentum).add_(momentum * variance)
            return y

    layers = LAYERS | {spec.BatchNorm: BatchNorm}
