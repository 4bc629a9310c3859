"""The faults of `tests.cause_faults` in JAX with Flax NNX."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from frameworks import spec
from frameworks.flax_nnx import FlaxNNX
from frameworks.flax_nnx.layers import LAYERS, activation, constant
from frameworks.spec import Node
from tests.cause_faults import (
    ComplementOfRate,
    ConvolutionsExchanged,
    GammaBetaExchanged,
    WeightOf04,
    WindowOf3,
    shifted,
)


class RateOfComplement(ComplementOfRate, FlaxNNX):
    pass


class ComplementOfAnyRate(FlaxNNX):
    layers = LAYERS | {spec.Dropout: lambda node, layer: nnx.Dropout(1 - layer.rate)}


class SmallerWindow(WindowOf3, FlaxNNX):
    pass


class WeightOfHead(WeightOf04, FlaxNNX):
    pass


class GammaForBeta(GammaBetaExchanged, FlaxNNX):
    pass


class LayersExchanged(ConvolutionsExchanged, FlaxNNX):
    pass


class SoftmaxOfLogits(FlaxNNX):
    class Linear(nnx.Linear):
        def __call__(self, inputs: jax.Array) -> jax.Array:
            return jax.nn.softmax(super().__call__(inputs))

    layers = LAYERS | {
        spec.Dense: lambda node, layer: SoftmaxOfLogits.Linear(node.input[0], layer.units, rngs=nnx.Rngs(0))
    }


class LeakyReLU(FlaxNNX):
    layers = LAYERS | {spec.ReLU: activation(nnx.leaky_relu)}


class ShiftedWindow(FlaxNNX):
    @staticmethod
    def response(node: Node, layer: spec.LocalResponseNorm) -> Callable[..., jax.Array]:
        window = np.array(shifted(layer, node.input[0])).T
        return lambda x: x / (layer.k + layer.alpha * (jnp.square(x) @ constant(window, x))) ** layer.beta

    layers = LAYERS | {spec.LocalResponseNorm: response}


class ReLUBeforeSum(FlaxNNX):
    layers = LAYERS | {spec.Add: lambda node, layer: lambda x, body, shortcut: nnx.relu(body) + shortcut}


class VarianceDividedAgain(FlaxNNX):
    class BatchNorm(nnx.BatchNorm):
        def __call__(self, x: jax.Array) -> jax.Array:
            before = self.var[...]
            y = super().__call__(x)
            if not self.use_running_average:
                batch = self.var[...] - self.momentum * before  # (1 - momentum) times the variance
                self.var[...] = self.momentum * before + batch * 35 / 36  # 4 images of 3 x 3 pixels
            return y

    @staticmethod
    def batch_norm(node: Node, layer: spec.BatchNorm) -> nnx.Module:
        options = {"momentum": 1 - layer.momentum, "epsilon": layer.eps, "use_fast_variance": False}
        return VarianceDividedAgain.BatchNorm(node.input[0], **options, rngs=nnx.Rngs(0))

    layers = LAYERS | {spec.BatchNorm: batch_norm}
