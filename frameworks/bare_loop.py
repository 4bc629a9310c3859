"""A framework's own training loop, which is only timed: it keeps the half of the contract that timing needs.

`research/baselines/` holds adapters against such loops.
"""

from __future__ import annotations

from frameworks.adapter import Adapter
from frameworks.arrays import Array, Weights


class Loop(Adapter):
    """An adapter that draws its own weights and shows neither them nor what is computed on the way."""

    def get_weights(self) -> Weights:
        raise NotImplementedError(_ONLY_TIMED)

    def set_weights(self, weights: Weights) -> None:
        raise NotImplementedError(_ONLY_TIMED)

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        raise NotImplementedError(_ONLY_TIMED)

    def activations(self, images: Array, training: bool) -> Weights:
        raise NotImplementedError(_ONLY_TIMED)


_ONLY_TIMED = "a bare loop is only timed"
