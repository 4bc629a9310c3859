"""The likely cause of a first difference: a wrong computation that gives exactly what was found.

A guess is computed, not felt: a layer, the loss or a step is computed anew as if it had been written in one of the ways
in which programs are known to differ, and it is named only where it gives the found tensor to rounding. Where none
does, the difference itself may tell: a constant ratio, another order of the same values, the edges alone.
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
    "optimisers": of_steps,
    "running statistics": of_running,
}


def likely(place: Place, found: Evidence, reference: Evidence, case: Case) -> str | None:
    """The likely cause of the first difference, which is at `place`, and what speaks for it; None where none is met."""
    if place not in found or place not in reference:
        return "the reference has no such tensor" if place in found else None
    kinds = {array.dtype for array in found.values() if array.dtype.kind == "f"}  # a loss is always a double
    eps = max((float(np.finfo(kind).eps) for kind in kinds), default=0.0)
    one = Difference(place, np.asarray(found[place]), reference[place], reference, case, eps)
    if place.stage == "parameters":
        return described(one.found, one.reference)
    if one.agrees:
        return "the plain formula: a declared departure does not show"
    guesses = GUESSES.get(place.stage, nothing)
    with np.errstate(all="ignore"):  # a wrong guess may well divide by zero
        for words, guess in guesses(one):
            if one.explained_by(guess):
                return words
        if one.found.shape != one.reference.shape:
            return f"the shape is {spec.times(one.found.shape)}, not {spec.times(one.reference.shape)}"
        return next(filter(None, (pattern(one) for pattern in PATTERNS)), None)


def nothing(one: Difference) -> Iterator[Guess]:
    yield from ()


def described(found: Array, reference: Array) -> str:
    """How an array that a framework has built differs from the spec's; both are (*shape, whether it is trained)."""
    shape, right = tuple(found[:-1].astype(int)), tuple(reference[:-1].astype(int))
    if shape == right:
        return "it is trained and should not be" if found[-1] else "it is not trained and should be"
    order = "its axes are in another order: " if sorted(shape) == sorted(right) else ""
    return f"{order}the shape is {spec.times(shape)}, not {spec.times(right)}"
