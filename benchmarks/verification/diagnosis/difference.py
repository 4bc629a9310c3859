"""A differing tensor with its context, and the hypotheses that may explain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from benchmarks.verification.cases import Case, Evidence, Place
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass

TOLERANCE = 1e-3  # fraction of a difference that a hypothesis may leave unexplained


class Hypothesis(NamedTuple):
    """A possible cause, and what the framework computes if it is the cause.

    cause: the text, with a field for each of `values`: "epsilon {:g} for {:g}". predicted: the tensor at the place of
    the difference. further: other tensors, which are computed and compared only if `predicted` agrees.
    """

    cause: str
    predicted: Array
    values: tuple[object, ...] = ()
    further: Callable[[], Evidence] | None = None

    @property
    def text(self) -> str:
        return self.cause.format(*self.values)


@dataclass(frozen=True)
class Difference:
    """A tensor that differs, the correct tensor, and the other tensors of the framework and of the reference."""

    place: Place
    actual: Array  # by the framework
    reference: Array
    observed: Evidence  # tensors of the framework that differ
    around: Evidence  # all tensors of the reference
    case: Case
    eps: float  # machine epsilon of the framework's precision

    def confirms(self, hypothesis: Hypothesis) -> bool:
        """Whether the predicted tensor, and every further one that was observed, agrees with the framework's."""
        if not self.explained_by(hypothesis.predicted):
            return False
        further = hypothesis.further() if hypothesis.further else {}
        return all(self.agrees_at(place, tensor) for place, tensor in further.items() if place in self.observed)

    def explained_by(self, predicted: Array) -> bool:
        """Whether only rounding remains, and at most `TOLERANCE` of the difference."""
        if predicted.shape != self.actual.shape or not np.isfinite(self.actual).all():
            return False
        allowed = self._rounding(self.actual)
        if self.actual.shape == self.reference.shape:
            allowed = min(allowed, TOLERANCE * np.abs(self.actual - self.reference).max(initial=0))
        return bool(np.abs(self.actual - predicted).max(initial=0) <= allowed)

    def agrees_at(self, place: Place, predicted: Array) -> bool:
        """Whether an observed tensor is the predicted one, up to rounding or `TOLERANCE` of its difference."""
        observed, reference = np.asarray(self.observed[place]), self.around.get(place)
        if observed.shape != predicted.shape:
            return False
        allowed = self._rounding(observed)
        if reference is not None and reference.shape == observed.shape:
            allowed = max(allowed, TOLERANCE * np.abs(observed - reference).max(initial=0))
        return bool(np.abs(observed - predicted).max(initial=0) <= allowed)

    def _rounding(self, tensor: Array) -> float:
        """2^14 units in the last place of the largest value, which ten training steps can accumulate."""
        return float(2**14 * self.eps * np.abs(tensor).max(initial=0))

    @property
    def agrees(self) -> bool:
        """Whether the tensor agrees with the reference; then it differs from the declared departure."""
        if self.actual.shape != self.reference.shape:
            return False
        gap, scale = (np.abs(values).max(initial=0) for values in (self.actual - self.reference, self.reference))
        return bool(gap <= 64 * self.eps * scale)  # the limit below which verification sees only rounding

    def recomputes(self, tensor: Array) -> bool:
        """Whether a tensor that the diagnosis computes without a fault is that of the reference."""
        return tensor.shape == self.reference.shape and bool(np.allclose(tensor, self.reference, rtol=1e-9, atol=1e-12))

    @cached_property
    def outputs(self) -> Weights:
        """The outputs of the reference's layers by path, in the mode and for the images of this place."""
        stage = "evaluation" if self.place.stage == "evaluation" else "training"
        if self.predicted:
            return Pass(self.case.network, self.case.weights, self.images, None, False).outputs
        return {p.tensor: tensor for p, tensor in self.around.items() if p[:3] == (stage, "", 0)}

    @property
    def predicted(self) -> bool:
        """Whether the tensor holds the logits that `predict` gives for all images."""
        return self.place[:2] == ("evaluation", "predicted")

    @property
    def images(self) -> Array:
        """The images of this place: those of the first batch, or all images for predicted logits."""
        count = len(self.case.images) if self.predicted else self.case.batch_size
        return self.case.images[:count].astype(np.float64)

    @property
    def labels(self) -> Array:
        return self.case.labels[: self.case.batch_size]

    @property
    def smoothings(self) -> list[float]:
        """The label smoothings of the case, that of the place's training first."""
        trainings = self.case.trainings
        first = trainings.get(self.place.training, next(iter(trainings.values())))
        return list(dict.fromkeys(training.label_smoothing for training in (first, *trainings.values())))
