"""Faults whose cause verification names, planted in every adapter.

The changes that need no framework are here, as classes that come before an adapter in the bases of a fault;
`pytorch.py`, `mxnet_gluon.py`, `keras3_on_tensorflow.py` and `flax_nnx.py` have the classes that a worker loads, with
the same names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from frameworks.adapter import Setting
from frameworks.arrays import Weights
from frameworks.native import mapped
from frameworks.spec import (
    Auxiliary,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    Network,
    ReLU,
    Residual,
    Tanh,
)
from frameworks.training import Training


def _net(name: str, shape: tuple[int, ...], *layers: Layer) -> Network:
    return Network(name, shape, [*layers, Flatten(), Dense("head", 5)])


NETS = {
    net.name: net
    for net in (
        _net("equal", (3, 6, 6), Conv("a", 3, 3, 1, 1), Tanh(), Conv("b", 3, 3, 1, 1)),
        _net("norm", (2, 5, 5), Conv("conv", 4, 3), BatchNorm("norm"), Tanh()),
        _net("response", (2, 4, 4), Conv("conv", 8, 3), LocalResponseNorm("response", 5, 0.5)),
        _net("relu", (2, 5, 5), Conv("conv", 4, 3), ReLU("relu")),
        _net("shortcut", (3, 5, 5), Residual("sum", [Conv("conv", 3, 3, 1, 1)], [Conv("short", 3, 1)]), ReLU("after")),
        _net("auxiliary", (2, 4, 4), Conv("conv", 4, 3), Tanh(), Auxiliary("aside", [Flatten(), Dense("aux", 5)])),
        _net("dropout", (2, 12, 12), Conv("conv", 8, 3), Dropout("drop", rate=0.3)),
    )
}


class CauseFault(NamedTuple):
    """A class of each framework's file, and the first difference and the cause that verification must report."""

    adapter: str
    net: str
    stage: str
    tensor: str
    cause: str
    missing: tuple[str, ...] = ()  # frameworks in which the fault cannot be planted


FAULTS = (
    CauseFault(
        "RateOfComplement",
        "dropout",
        "dropout",
        "drop",
        "the rate is taken for the fraction that remains: 0.7 is dropped, not 0.3",
    ),
    CauseFault(
        "ComplementOfAnyRate",
        "dropout",
        "training",
        "drop",
        "the rate is taken for the fraction that remains: at rate 0 nothing remains",
        missing=("mxnet", "keras"),  # with a probability of 1, values are not finite; there is no gradient
    ),
    CauseFault("SoftmaxOfLogits", "relu", "evaluation", "head", "softmax acts on the logits"),
    CauseFault("GammaForBeta", "norm", "evaluation", "norm", "gamma and beta are exchanged"),
    CauseFault("LayersExchanged", "equal", "evaluation", "a", "the arrays of a and b are exchanged"),
    CauseFault("LeakyReLU", "relu", "evaluation", "relu", "LeakyReLU of slope 0.01 for ReLU"),
    CauseFault("SmallerWindow", "response", "evaluation", "response", "a window of 3 channels, from c-1 to c+1, for 5"),
    CauseFault(
        "ShiftedWindow",
        "response",
        "evaluation",
        "response",
        "the window is shifted: it reaches from c-1 to c+3, not from c-2 to c+2",
    ),
    CauseFault("ReLUBeforeSum", "shortcut", "evaluation", "sum", "ReLU acts on the body before the sum"),
    CauseFault("WeightOfHead", "auxiliary", "loss", "loss", "the weight of auxiliary classifiers is 0.4, not 0.3"),
    CauseFault(
        "VarianceDividedAgain",
        "norm",
        "running statistics",
        "norm.running_var",
        "ratio 35/36: times (n - 1) / n, as if the variance were unbiased",
    ),
)


class OtherSpec:
    """The adapter of another spec, with the same arrays."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(mapped(network, self.changed), training, setting)  # type: ignore[call-arg]

    def changed(self, layer: Layer) -> Layer:
        raise NotImplementedError


class ComplementOfRate(OtherSpec):
    """Dropout with 1 - rate. At rate 0 nothing is dropped, as in a network that leaves dropout out."""

    def changed(self, layer: Layer) -> Layer:
        return replace(layer, rate=1 - layer.rate) if isinstance(layer, Dropout) and layer.rate else layer


class WindowOf3(OtherSpec):
    def changed(self, layer: Layer) -> Layer:
        return replace(layer, size=3) if isinstance(layer, LocalResponseNorm) else layer


class WeightOf04(OtherSpec):
    def changed(self, layer: Layer) -> Layer:
        return replace(layer, weight=0.4) if isinstance(layer, Auxiliary) else layer


class GammaBetaExchanged:
    def set_weights(self, weights: Weights) -> None:
        crossed = {"norm.gamma": weights["norm.beta"], "norm.beta": weights["norm.gamma"]}
        super().set_weights(weights | crossed)  # type: ignore[misc]


class ConvolutionsExchanged:
    def set_weights(self, weights: Weights) -> None:
        pairs = [(f"{one}.{role}", f"{other}.{role}") for one, other in ("ab", "ba") for role in ("weight", "bias")]
        super().set_weights(weights | {name: weights[source] for name, source in pairs})  # type: ignore[misc]


def shifted(layer: Any, channels: int) -> list[list[float]]:
    """Row c has 1 / size in the columns of the channels of c's window, moved up by a channel."""
    reach = range(-(layer.size // 2) + 1, (layer.size - 1) // 2 + 2)
    return [[(other - own in reach) / layer.size for other in range(channels)] for own in range(channels)]
