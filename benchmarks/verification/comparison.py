"""Verdicts: the tensors of each framework compared with those of the NumPy reference.

In float64, a relative error above the limit of the stage is a difference. In float32 there is no fixed limit: the error
of a framework, against the float64 reference, may be `TIMES` that of the median framework, or as large as rounding
explains. A place with a declared departure is compared with the value that the formula of the departure gives.

An error is relative to the largest value of all arrays of the layer: the gradient of a bias before batch normalization
is 0, so relative to itself only its rounding would be compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal

import numpy as np

from benchmarks.verification.cases import STAGES, Case, Evidence, Place
from benchmarks.verification.evidence import PlacedTensor
from frameworks.adapter import UNBIASED_RUNNING_VARIANCE
from frameworks.arrays import Array
from frameworks.spec import BatchNorm, Dropout

# Measured with correct frameworks: 1e-15 for gradients, 1e-14 after 200 steps. The rest is headroom for deep networks.
LIMITS = {"parameters": 0.0, "optimizers": 1e-9, "running statistics": 1e-9, "curve": 1e-9}
LIMIT = 1e-10
TIMES = 4.0
ROUNDING = 64 * 2.0**-24  # float32 errors below this are not compared


@dataclass(frozen=True)
class StageVerdict:
    """The verdict of one stage: the largest relative error and its place, or the first place that differs."""

    stage: str
    verdict: Literal["ok", "explained", "differs", "none"]  # none: the network has no such tensors
    error: float = 0.0
    place: Place | None = None
    note: str = ""
    later: int = 0  # further places that differ after the first


# --- errors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReferenceEvidence:
    """The tensors of the reference in a case, and the largest value of each layer."""

    case: Case
    evidence: Evidence
    scales: Mapping[tuple[str, str, int, str], float]

    @staticmethod
    def from_evidence(case: Case, evidence: Evidence) -> ReferenceEvidence:
        scales: dict[tuple[str, str, int, str], float] = defaultdict(float)
        for place, tensor in evidence.items():
            scales[_layer(place)] = max(scales[_layer(place)], float(np.abs(tensor).max(initial=0)))
        return ReferenceEvidence(case, evidence, scales)


def _layer(place: Place) -> tuple[str, str, int, str]:
    grouped = place.stage in ("gradients", "optimizers", "running statistics")
    return (*place[:3], place.tensor.rpartition(".")[0] if grouped and "." in place.tensor else place.tensor)


@dataclass
class RelativeErrors:
    """The relative error at every place; infinite if a tensor is missing, has another shape, or is not finite.

    plain: against the reference. departed: against the reference with the declared departures, where these differ.
    masks: input and output of dropout. differing: tensors that differ, up to `DIFFERING_BYTES`, for the diagnosis.
    """

    plain: dict[Place, float] = field(default_factory=dict)
    departed: dict[Place, float] = field(default_factory=dict)
    masks: dict[Place, Array] = field(default_factory=dict)
    differing: dict[Place, Array] = field(default_factory=dict)

    def error(self, place: Place) -> float:
        return self.departed.get(place, self.plain[place])

    def worst(self, stage: str) -> float:
        return max((self.error(place) for place in self.plain if place.stage == stage), default=0.0)


DIFFERING_BYTES = 64 << 20


def relative_errors(
    tensors: Iterable[PlacedTensor],
    reference: ReferenceEvidence,
    departures: Sequence[str],
    precision: str,
    target_reference: ReferenceEvidence | None = None,
) -> RelativeErrors:
    """Compare tensors with the reference as they arrive; none is stored unless it differs.

    departures: may grow meanwhile, because a framework declares them when it builds a network.
    target_reference: the reference with the default settings of the framework, if it is verified with these.
    """
    errors, room = RelativeErrors(), DIFFERING_BYTES
    target_reference = target_reference or reference
    for place, tensor in tensors:
        if place.stage == "dropout":
            errors.masks[place] = tensor
            continue
        scale = reference.scales.get(_layer(place), 0.0)
        errors.plain[place] = _relative_error(tensor, reference.evidence.get(place), scale)
        expected = target_reference.evidence.get(place)
        for name in departures:
            if expected is not None and name in DEPARTED:
                expected = DEPARTED[name](place, expected, target_reference.case)
        if expected is not reference.evidence.get(place):
            errors.departed[place] = _relative_error(tensor, expected, scale)
        if not errors.error(place) <= _rounding(place.stage, precision) and tensor.nbytes <= room:
            errors.differing[place] = tensor
            room -= tensor.nbytes
    missing = [place for place in reference.evidence if place not in errors.plain and place.stage != "dropout"]
    errors.plain.update(dict.fromkeys(missing, float("inf")))
    return errors


def _relative_error(tensor: Array, reference: Array | None, scale: float) -> float:
    if reference is None or tensor.shape != reference.shape:
        return float("inf")
    error = float(np.abs(tensor - reference).max(initial=0))  # the reference is float64, so the difference is
    if not np.isfinite(error):
        return float("inf")
    return error / scale if scale else error


def _rounding(stage: str, precision: str) -> float:
    limit = LIMITS.get(stage, LIMIT)
    return limit if precision == "float64" or not limit else ROUNDING


def unbiased(place: Place, reference: Array, case: Case) -> Array:
    """The running variance if every batch contributes n / (n - 1) of its variance; n: values per channel.

    v_t = (1 - m)^t v_0 + s_t, where s_t is linear in the variances of the batches: only s_t is scaled. Other tensors
    are returned unchanged.
    """
    layer_path, _, role = place.tensor.rpartition(".")
    if (place.stage, role) != ("running statistics", "running_var"):
        return reference
    node = next(node for _, node in case.network.walk() if node.path == layer_path)
    assert isinstance(node.layer, BatchNorm), "only batch normalization has running statistics"
    count = case.batch_size * prod(node.input[1:])
    initial = (1 - node.layer.momentum) ** place.step * case.weights[place.tensor]
    return initial + count / (count - 1) * (reference - initial)


DEPARTED: dict[str, Callable[[Place, Array, Case], Array]] = {UNBIASED_RUNNING_VARIANCE.name: unbiased}


# --- verdicts ---------------------------------------------------------------------------------------------------------


def stage_verdicts(errors: Mapping[str, RelativeErrors], case: Case, precision: str) -> dict[str, list[StageVerdict]]:
    """The verdicts of every framework, in the order of `STAGES`."""
    rates = {
        node.path: node.layer.rate for _, node in case.network_with_dropout.walk() if isinstance(node.layer, Dropout)
    }
    limits = {stage: _limit(stage, precision, [each.worst(stage) for each in errors.values()]) for stage in STAGES}
    return {
        name: [
            dropout(each.masks, rates, precision) if stage == "dropout" else _verdict(stage, each, limits[stage])
            for stage in STAGES
        ]
        for name, each in errors.items()
    }


def _limit(stage: str, precision: str, worst: Sequence[float]) -> float:
    """In float32 `TIMES` the error of the median framework; of two frameworks, of the better one."""
    rounding = _rounding(stage, precision)
    if precision == "float64" or not rounding:
        return rounding
    return max(rounding, TIMES * sorted(worst)[(len(worst) - 1) // 2])


def _verdict(stage: str, errors: RelativeErrors, limit: float) -> StageVerdict:
    places = [place for place in errors.plain if place.stage == stage]
    if not places:
        return StageVerdict(stage, "none")
    beyond = [place for place in places if not errors.error(place) <= limit]
    if beyond:
        return StageVerdict(stage, "differs", errors.error(beyond[0]), beyond[0], later=len(beyond) - 1)
    worst = max(places, key=errors.error)
    departing = [place for place in places if place in errors.departed and not errors.plain[place] <= limit]
    if not departing:
        return StageVerdict(stage, "ok", errors.error(worst), worst)
    largest = max(errors.plain[place] for place in departing)
    note = f"as declared at {len(departing)} places, which differ from the reference by up to {largest:.1e}"
    return StageVerdict(stage, "explained", errors.error(worst), worst, note)


SIGMAS = 6.0  # a fair coin is rejected twice in 1e9 tests
SCALING = {"float64": 1e-12, "float32": 1e-5}


def dropout(places: Evidence, rates: Mapping[str, float], precision: str) -> StageVerdict:
    """Check that dropout scales the remaining values by 1 / (1 - rate) and drops each with this rate, independently.

    Independence: two neighbors, and the same position in two images, both remain with probability (1 - rate)^2.
    rates: dropout rate by the path of the layer.
    """
    if not places:
        return StageVerdict("dropout", "none")
    worst = 0.0
    for place, (before, after) in places.items():
        keep = 1 - rates[place.tensor]
        remains, nonzero = after != 0, before != 0
        error = np.abs(after * keep - before)[remains].max(initial=0) / np.abs(before).max()
        if error > SCALING[precision]:
            return StageVerdict("dropout", "differs", float(error), place, "values are not divided by 1 - rate")
        flat_remains, flat_nonzero = (array.reshape(len(array), -1) for array in (remains, nonzero))
        events = {
            "the fraction of remaining values": (flat_remains, flat_nonzero, keep),
            "neighbors": (
                flat_remains[:, 1:] & flat_remains[:, :-1],
                flat_nonzero[:, 1:] & flat_nonzero[:, :-1],
                keep**2,
            ),
            "images": (flat_remains[1:] & flat_remains[:-1], flat_nonzero[1:] & flat_nonzero[:-1], keep**2),
        }
        for event, (occurs, possible, probability) in events.items():
            count, observed = int(possible.sum()), int(occurs[possible].sum())
            expected, deviation = count * probability, (count * probability * (1 - probability)) ** 0.5
            sigmas = abs(observed - expected) / deviation if deviation else 0.0
            worst = max(worst, sigmas)
            if sigmas > SIGMAS:
                note = (
                    f"{event}: {observed} of {count}, expected {expected:.0f}, off by {sigmas:.0f} standard deviations"
                )
                return StageVerdict("dropout", "differs", sigmas, place, note)
    return StageVerdict("dropout", "ok", note=f"within {worst:.1f} standard deviations")
