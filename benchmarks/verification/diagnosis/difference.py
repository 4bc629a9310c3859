"""A differing tensor with its context, and the guesses that may explain it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from benchmarks.verification.cases import Case, Evidence, Place
from frameworks.arrays import Array

Guess: TypeAlias = "tuple[str, Array]"  # the cause as text, and the tensor that it would produce


@dataclass(frozen=True)
class Difference:
    """A tensor that differs, the correct one, and all other tensors of the reference."""

    place: Place
    actual: Array  # by the framework
    reference: Array
    around: Evidence  # all tensors of the reference
    case: Case
    eps: float  # machine epsilon of the framework's precision

    def explained_by(self, guess: Array) -> bool:
        """Whether only rounding remains, and at most a thousandth of the difference.

        Rounding: 2^14 units in the last place of the largest value, which ten training steps can accumulate.
        """
        if guess.shape != self.actual.shape or not np.isfinite(self.actual).all():
            return False
        allowed = 2**14 * self.eps * np.abs(self.actual).max(initial=0)
        if self.actual.shape == self.reference.shape:
            allowed = min(allowed, 1e-3 * np.abs(self.actual - self.reference).max(initial=0))
        return bool(np.abs(self.actual - guess).max(initial=0) <= allowed)

    @property
    def agrees(self) -> bool:
        """Whether the tensor agrees with the reference; then it differs from the declared departure."""
        if self.actual.shape != self.reference.shape:
            return False
        gap, scale = (np.abs(values).max(initial=0) for values in (self.actual - self.reference, self.reference))
        return bool(gap <= 64 * self.eps * scale)  # the limit below which verification sees only rounding

    def output(self, path: str) -> Array:
        """The output of a layer of the reference, in the mode of this stage."""
        return self.around[Place("evaluation" if self.place.stage == "evaluation" else "training", "", 0, path)]

    @property
    def images(self) -> Array:
        """The batch for which activations, the loss and gradients are computed."""
        return self.case.images[: self.case.batch_size].astype(np.float64)

    @property
    def labels(self) -> Array:
        return self.case.labels[: self.case.batch_size]

    @property
    def smoothing(self) -> float:
        """Label smoothing of the first training, which the loss and the gradients use."""
        return next(iter(self.case.trainings.values())).label_smoothing
