"""The JAX adapter without one of its choices at a time."""

from __future__ import annotations

import jax
from flax import nnx

from frameworks import spec
from frameworks.adapter import Setting
from frameworks.flax_nnx import FlaxNNX
from frameworks.flax_nnx.layers import LAYERS, unused
from frameworks.spec import Network, Node, pair, sides
from frameworks.training import Training


class Undonated(FlaxNNX):
    """A step that keeps its old state beside the new one, as `jax.jit` does by default."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.step = jax.jit(self._step)


class PaddedBefore(FlaxNNX):
    """Padding as a separate operation, which convolutions and pools could do."""

    @classmethod
    def pads(cls, node: Node) -> bool:
        return False


def conv(node: Node, layer: spec.Conv) -> nnx.Conv:
    """A convolution as JAX has it."""
    window = {"strides": pair(layer.stride), "padding": sides(layer.padding), "kernel_dilation": pair(layer.dilation)}
    options = {"feature_group_count": layer.groups, "use_bias": layer.bias, **unused()}
    return nnx.Conv(node.input[0], layer.channels, pair(layer.kernel), **window, **options)


class WithoutBlocks(FlaxNNX):
    """Images of one channel convolved as they are, not by blocks of columns."""

    layers = LAYERS | {spec.Conv: lambda node, layer: (conv if node.input[0] == 1 else LAYERS[spec.Conv])(node, layer)}


class WithoutGroups(FlaxNNX):
    """Convolutions in groups as XLA computes them."""

    layers = LAYERS | {spec.Conv: lambda node, layer: (conv if layer.groups > 1 else LAYERS[spec.Conv])(node, layer)}
