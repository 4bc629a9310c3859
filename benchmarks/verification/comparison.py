"""Verdicts: each framework's evidence held against the NumPy reference's, place by place.

float64: a relative error above the stage's limit is a difference. float32: no limit of taste; a framework passes where
its error against the float64 reference is at most `TIMES` that of the median framework, and at most as much as rounding
explains where all are that good. Where a departure is declared, the place is held against what its formula makes of
the reference's value: there it agrees, and it does not agree with the plain value.

An error is relative to the largest value of the layer's arrays together: a bias before batch norm has a gradient of 0,
and only its rounding could be compared with itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal

import numpy as np

from benchmarks.verification.cases import STAGES, Evidence, Piece, Place, Trial
from frameworks.adapter import UNBIASED_RUNNING_VARIANCE
from frameworks.arrays import Array
from frameworks.spec import BatchNorm, Dropout

# Measured elsewhere: 1e-15 for gradients, 1e-14 over 200 steps. What lies between and the limit is head-room for depth.
LIMITS = {"parameters": 0.0, "optimisers": 1e-9, "running statistics": 1e-9, "curve": 1e-9}
LIMIT = 1e-10
TIMES = 4.0
ROUNDING = 64 * 2.0**-24  # of float32: errors below are not compared with one another


@dataclass(frozen=True)
class Verdict:
    """What a framework shows at one stage: the largest relative error, and where, or the first place that differs."""

    stage: str
    verdict: Literal["ok", "explained", "differs", "none"]  # none: the network has nothing of this kind
    error: float = 0.0
    place: Place | None = None
    said: str = ""
    later: int = 0  # further places that differ after the first


# --- errors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """The reference's evidence of a trial, and the largest value of each layer's arrays."""

    trial: Trial
    evidence: Evidence
    scales: Mapping[tuple[str, str, int, str], float]

    @staticmethod
    def of(trial: Trial, evidence: Evidence) -> Truth:
        scales: dict[tuple[str, str, int, str], float] = defaultdict(float)
        for place, tensor in evidence.items():
            scales[_layer(place)] = max(scales[_layer(place)], float(np.abs(tensor).max(initial=0)))
        return Truth(trial, evidence, scales)


def _layer(place: Place) -> tuple[str, str, int, str]:
    grouped = place.stage in ("gradients", "optimisers", "running statistics")
    return (*place[:3], place.tensor.rpartition(".")[0] if grouped and "." in place.tensor else place.tensor)


@dataclass
class Comparison:
    """The relative error at every place; infinite where a tensor is missing, of another shape, or not finite.

    departed: against the truth as the framework's declared departures have it, where that is another.
    masks: dropout's input and output. kept: tensors that differ, as many as `KEPT` bytes hold.
    """

    plain: dict[Place, float] = field(default_factory=dict)
    departed: dict[Place, float] = field(default_factory=dict)
    masks: dict[Place, Array] = field(default_factory=dict)
    kept: dict[Place, Array] = field(default_factory=dict)

    def gap(self, place: Place) -> float:
        return self.departed.get(place, self.plain[place])

    def worst(self, stage: str) -> float:
        return max((self.gap(place) for place in self.plain if place.stage == stage), default=0.0)


KEPT = 64 << 20  # for who looks for the cause, which is in the first that differs


def compare(
    pieces: Iterable[Piece], truth: Truth, departures: Sequence[str], precision: str, own: Truth | None = None
) -> Comparison:
    """Hold the pieces of an examination against the truth as they come; none is needed twice.

    departures: may grow while the pieces come, for a framework declares them when it builds.
    own: the truth of the trial as the framework natively has it, where it is put to it so: a departure as a whole.
    """
    found, room = Comparison(), KEPT
    as_put = own or truth
    for place, tensor in pieces:
        if place.stage == "dropout":
            found.masks[place] = tensor
            continue
        scale = truth.scales.get(_layer(place), 0.0)
        found.plain[place] = _gap(tensor, truth.evidence.get(place), scale)
        expected = as_put.evidence.get(place)
        for name in departures:
            if expected is not None and name in DEPARTED:
                expected = DEPARTED[name](place, expected, as_put.trial)
        if expected is not truth.evidence.get(place):
            found.departed[place] = _gap(tensor, expected, scale)
        if not found.gap(place) <= _rounding(place.stage, precision) and tensor.nbytes <= room:
            found.kept[place] = tensor
            room -= tensor.nbytes
    missing = [place for place in truth.evidence if place not in found.plain and place.stage != "dropout"]
    found.plain.update(dict.fromkeys(missing, float("inf")))
    return found


def _gap(found: Array, truth: Array | None, scale: float) -> float:
    if truth is None or found.shape != truth.shape:
        return float("inf")
    gap = float(np.abs(found - truth).max(initial=0))  # in float64, as the truth is
    if not np.isfinite(gap):
        return float("inf")
    return gap / scale if scale else gap


def _rounding(stage: str, precision: str) -> float:
    limit = LIMITS.get(stage, LIMIT)
    return limit if precision == "float64" or not limit else ROUNDING


def unbiased(place: Place, truth: Array, trial: Trial) -> Array:
    """The running variance if every batch had given n / (n - 1) of its variance, n values a channel; else the truth.

    v_t = (1 - m)^t v_0 + s_t, where s_t is linear in the batches' variances: only s_t is scaled.
    """
    layer_path, _, role = place.tensor.rpartition(".")
    if (place.stage, role) != ("running statistics", "running_var"):
        return truth
    node = next(node for _, node in trial.network.walk() if node.path == layer_path)
    assert isinstance(node.layer, BatchNorm), "running statistics are batch norm's"
    count = trial.batch_size * prod(node.input[1:])
    kept = (1 - node.layer.momentum) ** place.step * trial.weights[place.tensor]
    return kept + count / (count - 1) * (truth - kept)


DEPARTED: dict[str, Callable[[Place, Array, Trial], Array]] = {UNBIASED_RUNNING_VARIANCE.name: unbiased}


# --- verdicts ---------------------------------------------------------------------------------------------------------


def judge(found: Mapping[str, Comparison], trial: Trial, precision: str) -> dict[str, list[Verdict]]:
    """Every framework's verdict at every stage, in the stages' order."""
    rates = {node.path: node.layer.rate for _, node in trial.dropping.walk() if isinstance(node.layer, Dropout)}
    limits = {stage: _limit(stage, precision, [each.worst(stage) for each in found.values()]) for stage in STAGES}
    return {
        name: [
            dropout(each.masks, rates, precision) if stage == "dropout" else _verdict(stage, each, limits[stage])
            for stage in STAGES
        ]
        for name, each in found.items()
    }


def _limit(stage: str, precision: str, worst: Sequence[float]) -> float:
    """In float32 the median framework's error times `TIMES`; of two frameworks the better one's."""
    rounding = _rounding(stage, precision)
    if precision == "float64" or not rounding:
        return rounding
    return max(rounding, TIMES * sorted(worst)[(len(worst) - 1) // 2])


def _verdict(stage: str, found: Comparison, limit: float) -> Verdict:
    here = [place for place in found.plain if place.stage == stage]
    if not here:
        return Verdict(stage, "none")
    beyond = [place for place in here if not found.gap(place) <= limit]
    if beyond:
        return Verdict(stage, "differs", found.gap(beyond[0]), beyond[0], later=len(beyond) - 1)
    worst = max(here, key=found.gap)
    departing = [place for place in here if place in found.departed and not found.plain[place] <= limit]
    if not departing:
        return Verdict(stage, "ok", found.gap(worst), worst)
    away = max(found.plain[place] for place in departing)
    said = f"as declared in {len(departing)} places, up to {away:.1e} from the plain formula"
    return Verdict(stage, "explained", found.gap(worst), worst, said)


SIGMAS = 6.0  # a true coin is called false twice in 1e9 trials
SCALING = {"float64": 1e-12, "float32": 1e-5}


def dropout(places: Evidence, rates: Mapping[str, float], precision: str) -> Verdict:
    """Whether what is kept is scaled by 1 / (1 - rate), kept as often as it should be, and independently.

    Independence: two neighbours, and the same place in two pictures, are both kept with probability (1 - rate)^2.
    """
    if not places:
        return Verdict("dropout", "none")
    worst = 0.0
    for place, (given, taken) in places.items():
        keep = 1 - rates[place.tensor]
        kept, there = taken != 0, given != 0
        off = np.abs(taken * keep - given)[kept].max(initial=0) / np.abs(given).max()
        if off > SCALING[precision]:
            return Verdict("dropout", "differs", float(off), place, "what is kept is not divided by 1 - rate")
        flat_kept, flat_there = (array.reshape(len(array), -1) for array in (kept, there))
        pairs = {
            "the share kept": (flat_kept, flat_there, keep),
            "neighbours": (flat_kept[:, 1:] & flat_kept[:, :-1], flat_there[:, 1:] & flat_there[:, :-1], keep**2),
            "pictures": (flat_kept[1:] & flat_kept[:-1], flat_there[1:] & flat_there[:-1], keep**2),
        }
        for what, (hits, trials, chance) in pairs.items():
            count = int(trials.sum())
            expected, deviation = count * chance, (count * chance * (1 - chance)) ** 0.5
            sigmas = abs(int(hits[trials].sum()) - expected) / deviation if deviation else 0.0
            worst = max(worst, sigmas)
            if sigmas > SIGMAS:
                kept_here = int(hits[trials].sum())
                told = f"{what}: {kept_here} of {count}, expected {expected:.0f}, {sigmas:.0f} deviations off"
                return Verdict("dropout", "differs", sigmas, place, told)
    return Verdict("dropout", "ok", said=f"within {worst:.1f} deviations")
