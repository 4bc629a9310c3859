"""The JAX adapter without one of its choices at a time."""

from __future__ import annotations

import jax

from frameworks.adapter import Setting
from frameworks.flax_nnx import FlaxNNX
from frameworks.spec import Network, Node
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
