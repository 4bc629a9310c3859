"""Weights of a verification case: no value that could hide a fault, and no value that lets the outputs grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from frameworks.arrays import Array, Weights, initial
from frameworks.numpy_reference import Pass
from frameworks.reference_layers.base import Result, channel_axes
from frameworks.spec import BatchNorm, Network, Node


def revealing_weights(network: Network, seed: int) -> Weights:
    """Initial weights without a 0 or 1 that could hide a fault; every value is exact in float32."""
    weights = initial(network, seed, "he_normal")
    stream = np.random.default_rng([seed, 1])
    for parameter in network.parameters:
        shape = parameter.shape
        if parameter.role in ("bias", "beta", "running_mean"):
            weights[parameter.name] = stream.normal(0, 0.1, shape)
        elif parameter.role in ("gamma", "running_var"):
            weights[parameter.name] = stream.uniform(0.5, 1.5, shape)
        elif parameter.role == "slope":
            weights[parameter.name] = stream.uniform(0.1, 0.4, shape)
    return {name: _exact(array) for name, array in weights.items()}


def settled_weights(network: Network, weights: Weights, images: Array, seed: int) -> Weights:
    """The weights with running statistics near those of the images, N x C x H x W.

    With statistics that are drawn for themselves, values grow from layer to layer in evaluation: the gates of deep
    networks saturate, and the rounding of their input decides. Here the mean is off by about a tenth of the deviation,
    and the variance by a factor from 0.5 to 1.5, at random and by channel, so that a framework that uses the statistics
    of the batch differs. Auxiliary classifiers, which evaluation does not compute, keep theirs.
    """
    settled = dict(weights)
    if any(isinstance(node.layer, BatchNorm) for _, node in network.walk()):
        _SettlingPass(network, settled, images, np.random.default_rng([seed, 2]))
    return settled


class _SettlingPass(Pass):
    """A pass in evaluation that sets the running statistics of each layer before the layer computes."""

    def __init__(self, network: Network, weights: Weights, images: Array, stream: np.random.Generator) -> None:
        self.stream = stream
        super().__init__(network, weights, images, masks=None, unbiased=False)

    def _chain(self, nodes: Sequence[Node], x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """The output alone: nothing that a backward pass needs stays in memory."""
        for node in nodes:
            x, _ = self._layer(node, x)
        return x, lambda dy: dy

    def _layer(self, node: Node, x: Array) -> Result:
        if isinstance(node.layer, BatchNorm):
            axes = channel_axes(x)
            mean, variance = x.mean(axes), x.var(axes)
            near = {
                "running_mean": mean + 0.1 * np.sqrt(variance) * self.stream.normal(size=mean.shape),
                "running_var": np.where(variance > 0, variance, 1) * self.stream.uniform(0.5, 1.5, mean.shape),
            }
            for role, values in near.items():
                self.weights[node.parameter(role).name] = _exact(values)
        return super()._layer(node, x)


def _exact(array: Array) -> Array:
    return array.astype(np.float32).astype(np.float64)
