"""The likely cause of the first difference: a wrong computation that reproduces the differing tensor.

The layer, the loss or the step is computed again with each known mistake. A mistake is reported only if it gives the
differing tensor up to rounding, and all that give it are reported. If there is none, patterns are tried, which describe
the difference: a constant ratio, another order of the same values, differences only at the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.verification.cases import Case, Evidence, Place
from benchmarks.verification.diagnosis.difference import Difference, Hypothesis
from benchmarks.verification.diagnosis.dropout import of_dropout
from benchmarks.verification.diagnosis.layers import of_layer
from benchmarks.verification.diagnosis.loss_and_gradients import of_gradients, of_loss
from benchmarks.verification.diagnosis.patterns import PATTERNS
from benchmarks.verification.diagnosis.steps import of_running, of_steps
from frameworks import spec
from frameworks.arrays import Array

HYPOTHESES: dict[str, Callable[[Difference], Iterator[Hypothesis]]] = {
    "evaluation": of_layer,
    "training": of_layer,
    "loss": of_loss,
    "gradients": of_gradients,
    "optimizers": of_steps,
    "running statistics": of_running,
    "dropout": of_dropout,
}

MOST = 3  # causes that are listed if all of them reproduce the difference


def likely(place: Place, actual: Evidence, reference: Evidence, case: Case) -> str | None:
    """The likely cause of the first difference, which is at `place`, and its evidence; None if it is unknown.

    actual: the tensors of the framework that differ. reference: all tensors of the reference.
    """
    if place not in actual or place not in reference:
        return "the reference has no such tensor" if place in actual else None
    difference = difference_at(place, actual, reference, case)
    if place.stage == "parameters":
        return described(difference.actual, difference.reference)
    if difference.agrees:
        return "the plain formula: a declared departure does not show"
    with np.errstate(all="ignore"):  # a wrong hypothesis may divide by zero
        if causes := confirmed(difference):
            texts = list(dict.fromkeys(cause.text for cause in causes))
            return ", or ".join(texts[:MOST]) + (f", or {len(texts) - MOST} others" if len(texts) > MOST else "")
        if difference.actual.shape != difference.reference.shape:
            return f"the shape is {spec.times(difference.actual.shape)}, not {spec.times(difference.reference.shape)}"
        return next(filter(None, (pattern(difference) for pattern in PATTERNS)), None)


def difference_at(place: Place, actual: Evidence, reference: Evidence, case: Case) -> Difference:
    """The difference at a place of both; arguments as in `likely`."""
    kinds = {array.dtype for array in actual.values() if array.dtype.kind == "f"}  # a loss is always float64
    eps = max((float(np.finfo(kind).eps) for kind in kinds), default=0.0)
    return Difference(place, np.asarray(actual[place]), reference[place], actual, reference, case, eps)


def hypotheses(difference: Difference) -> Iterator[Hypothesis]:
    """Every mistake that is known at this stage, with what the framework would compute."""
    if difference.place.stage in HYPOTHESES:
        yield from HYPOTHESES[difference.place.stage](difference)


def confirmed(difference: Difference) -> list[Hypothesis]:
    """The mistakes that reproduce the difference."""
    return [hypothesis for hypothesis in hypotheses(difference) if difference.confirms(hypothesis)]


def described(actual: Array, reference: Array) -> str:
    """How an array of a framework differs from that of the spec; both are (*shape, whether it is trained)."""
    shape, right = tuple(actual[:-1].astype(int)), tuple(reference[:-1].astype(int))
    if shape == right:
        return "it is trained and should not be" if actual[-1] else "it is not trained and should be"
    order = "its axes are in another order: " if sorted(shape) == sorted(right) else ""
    return f"{order}the shape is {spec.times(shape)}, not {spec.times(right)}"
