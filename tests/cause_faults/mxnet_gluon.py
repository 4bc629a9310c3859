"""The faults of `tests.cause_faults` in MXNet Gluon, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from mxnet.gluon import HybridBlock, nn
from mxnet.ndarray import NDArray

from frameworks import spec
from frameworks.mxnet_gluon import MXNetGluon
from frameworks.mxnet_gluon import layers as mxnet_gluon
from frameworks.mxnet_gluon.layers import FLOAT64, LAYERS, Function
from frameworks.spec import Node
from tests.cause_faults import (
    ComplementOfRate,
    ConvolutionsExchanged,
    GammaBetaExchanged,
    WeightOf04,
    WindowOf3,
    shifted,
)


class RateOfComplement(ComplementOfRate, MXNetGluon):
    pass


class SmallerWindow(WindowOf3, MXNetGluon):
    pass


class WeightOfHead(WeightOf04, MXNetGluon):
    pass


class GammaForBeta(GammaBetaExchanged, MXNetGluon):
    pass


class LayersExchanged(ConvolutionsExchanged, MXNetGluon):
    pass


class SoftmaxOfLogits(MXNetGluon):
    class Dense(nn.Dense):
        def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any = None) -> Any:
            return F.softmax(super().hybrid_forward(F, x, weight, bias))

    layers = LAYERS | {spec.Dense: lambda node, layer: SoftmaxOfLogits.Dense(layer.units, in_units=node.input[0])}


class LeakyReLU(MXNetGluon):
    layers = LAYERS | {spec.ReLU: lambda node, layer: Function(lambda F, x: F.where(x > 0, x, 0.01 * x))}


class ShiftedWindow(MXNetGluon):
    @staticmethod
    def response(node: Node, layer: spec.LocalResponseNorm) -> HybridBlock:
        channels = node.input[0]
        window = np.array(shifted(layer, channels))

        def function(F: Any, x: Any, window: Any) -> Any:
            mean = F.Convolution(F.square(x), window, kernel=(1, 1), num_filter=channels, no_bias=True)
            return x * (layer.k + layer.alpha * mean) ** -layer.beta

        return Function(function, window[:, :, None, None])

    layers_float64 = FLOAT64 | {spec.LocalResponseNorm: response}


class ReLUBeforeSum(MXNetGluon):
    class Add(mxnet_gluon.Elementwise):
        def hybrid_forward(self, F: Any, x: Any) -> Any:
            body, shortcut = self.chains
            return F.relu(body(x)) + shortcut(x)

    layers = LAYERS | {spec.Add: lambda node, layer, *chains: ReLUBeforeSum.Add("elemwise_add", *chains)}


class VarianceDividedAgain(MXNetGluon):
    class BatchNorm(mxnet_gluon.BatchNorm):
        def move_running(self, mean: NDArray, variance: NDArray) -> None:
            super().move_running(mean, variance * 35 / 36)  # 4 images of 3 x 3 pixels

    layers_float64 = FLOAT64 | {spec.BatchNorm: BatchNorm}
