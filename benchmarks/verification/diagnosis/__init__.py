"""The likely cause of the first difference: a wrong computation that reproduces the differing tensor.

The layer, the loss or the step is computed again with each known mistake, and a mistake is reported only if it gives
the differing tensor up to rounding. If none does, patterns are tried: a constant ratio, another order of the same
values, differences only at the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.verification.cases import Case, Evidence, Place
from benchmarks.verification.diagnosis.difference import Difference, Guess
from benchmarks.verification.diagnosis.layers import of_layer
from benchmarks.verification.diagnosis.loss_and_gradients import of_gradients, of_loss
from benchmarks.verification.diagnosis.patterns import PATTERNS
from benchmarks.verification.diagnosis.steps import of_running, of_steps
from frameworks import spec
from frameworks.arrays import Array

GUESSES: dict[str, Callable[[Difference], Iterator[Guess]]] = {
    "evaluation": of_layer,
    "training": of_layer,
    "loss": of_loss,
    "gradients": of_gradients,
    "optimizers": of_steps,
    "running statistics": of_running,
}


def likely(place: Place, actual: Evidence, reference: Evidence, case: Case) -> str | None:
    """The likely cause of the first difference, which is at `place`, and its evidence; None if it is unknown."""
    if place not in actual or place not in reference:
        return "the reference has no such tensor" if place in actual else None
    kinds = {array.dtype for array in actual.values() if array.dtype.kind == "f"}  # a loss is always float64
    eps = max((float(np.finfo(kind).eps) for kind in kinds), default=0.0)
    difference = Difference(place, np.asarray(actual[place]), reference[place], reference, case, eps)
    if place.stage == "parameters":
        return described(difference.actual, difference.reference)
    if difference.agrees:
        return "the plain formula: a declared departure does not show"
    guesses = GUESSES.get(place.stage, nothing)
    with np.errstate(all="ignore"):  # a wrong guess may divide by zero
        for words, guess in guesses(difference):
            if difference.explained_by(guess):
                return words
        if difference.actual.shape != difference.reference.shape:
            return f"the shape is {spec.times(difference.actual.shape)}, not {spec.times(difference.reference.shape)}"
        return next(filter(None, (pattern(difference) for pattern in PATTERNS)), None)


def nothing(difference: Difference) -> Iterator[Guess]:
    yield from ()


def described(actual: Array, reference: Array) -> str:
    """How an array of a framework differs from that of the spec; both are (*shape, whether it is trained)."""
    shape, right = tuple(actual[:-1].astype(int)), tuple(reference[:-1].astype(int))
    if shape == right:
        return "it is trained and should not be" if actual[-1] else "it is not trained and should be"
    order = "its axes are in another order: " if sorted(shape) == sorted(right) else ""
    return f"{order}the shape is {spec.times(shape)}, not {spec.times(right)}"
