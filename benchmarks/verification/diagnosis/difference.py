"""What differs, with all that is known around it; and what a guess at the cause is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from benchmarks.verification.cases import Case, Evidence, Place
from frameworks.arrays import Array

Guess: TypeAlias = "tuple[str, Array]"  # the cause in words, and the tensor as it would then be


@dataclass(frozen=True)
class Difference:
    """A tensor that differs, what it should be, and what is known around it."""

    place: Place
    found: Array
    reference: Array
    around: Evidence  # the reference's
    case: Case
    eps: float  # a unit in the last place of 1, in the framework's precision

    def explained_by(self, guess: Array) -> bool:
        """Whether a guess leaves nothing but rounding, and at most a thousandth of the difference.

        Rounding: 2^14 units in the last place of the largest value, as ten steps of training may gather.
        """
        if guess.shape != self.found.shape or not np.isfinite(self.found).all():
            return False
        allowed = 2**14 * self.eps * np.abs(self.found).max(initial=0)
        if self.found.shape == self.reference.shape:
            allowed = min(allowed, 1e-3 * np.abs(self.found - self.reference).max(initial=0))
        return bool(np.abs(self.found - guess).max(initial=0) <= allowed)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs after all: it does so from the departure that is declared."""
        if self.found.shape != self.reference.shape:
            return False
        gap, scale = (np.abs(values).max(initial=0) for values in (self.found - self.reference, self.reference))
        return bool(gap <= 64 * self.eps * scale)  # where the certificate sees rounding alone

    def output(self, path: str) -> Array:
        """What the reference's layer gives, in the mode of this stage."""
        return self.around[Place("evaluation" if self.place.stage == "evaluation" else "training", "", 0, path)]

    @property
    def images(self) -> Array:
        """The batch that activations, the loss and gradients are taken of."""
        return self.case.images[: self.case.batch_size].astype(np.float64)

    @property
    def labels(self) -> Array:
        return self.case.labels[: self.case.batch_size]

    @property
    def smoothing(self) -> float:
        """Of the labels, in the first case, in which the loss and the gradients are taken."""
        return next(iter(self.case.trainings.values())).label_smoothing
