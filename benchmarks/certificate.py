"""Verdicts: each framework's evidence held against the NumPy reference's, place by place.

float64: a relative error above the stage's limit is a difference. float32: no limit of taste; a framework passes where
its error against the float64 reference is at most `TIMES` that of the median framework, and at most as much as rounding
explains where all are that good. A declared departure is what the reference computes too, on request: then the place
agrees with the departed reference, and does not agree with the plain one.

An error is relative to the largest value of the layer's arrays together: a bias before batch norm has a gradient of 0,
and only its rounding could be compared with itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.evidence import STAGES, Evidence, Place

# Measured elsewhere: 1e-15 for gradients, 1e-14 over 200 steps. What lies between and the limit is head-room for depth.
LIMITS = {"optimisers": 1e-9, "running statistics": 1e-9, "curve": 1e-9}
LIMIT = 1e-10
TIMES = 4.0
ROUNDING = {"float64": 0.0, "float32": 64 * 2.0**-24}  # below this, errors are not compared with one another


@dataclass(frozen=True)
class Verdict:
    """What a framework shows at one stage: ok, explained or differs; the largest relative error and where it is."""

    stage: str
    verdict: str
    error: float
    place: Place | None
    said: str = ""
    later: int = 0  # further places that differ after the first


def errors(found: Evidence, truth: Evidence) -> dict[Place, float]:
    """The relative error at every place; infinite where a tensor is missing, of another shape, or not finite."""
    scales: dict[tuple[str, str, int, str], float] = defaultdict(float)
    for place, tensor in truth.items():
        scales[_layer(place)] = max(scales[_layer(place)], float(np.abs(tensor).max(initial=0)))
    compared = {place: tensor for place, tensor in truth.items() if place.stage != "dropout"}
    gaps = {place: _gap(found.get(place), tensor, scales[_layer(place)]) for place, tensor in compared.items()}
    return gaps | {place: float("inf") for place in found if place not in truth}


def _layer(place: Place) -> tuple[str, str, int, str]:
    grouped = place.stage in ("gradients", "optimisers", "running statistics")
    return (*place[:3], place.tensor.rpartition(".")[0] if grouped and "." in place.tensor else place.tensor)


def _gap(found: Any, truth: Any, scale: float) -> float:
    if found is None or found.shape != truth.shape or not np.isfinite(found).all():
        return float("inf")
    gap = float(np.abs(found.astype(np.float64) - truth).max(initial=0))
    return gap / scale if scale else gap


def judge(
    found: Mapping[str, Evidence],
    truth: Evidence,
    departed: Mapping[str, Evidence],
    rates: Mapping[str, float],
    precision: str,
) -> dict[str, list[Verdict]]:
    """Every framework's verdict at every stage, in the stages' order.

    departed: for the frameworks that declare departures, the evidence of a reference that departs as they do.
    rates: of each dropout, by path.
    """
    gaps = {name: errors(evidence, departed.get(name, truth)) for name, evidence in found.items()}
    worst = {name: _worst(gaps[name]) for name in found}
    verdicts: dict[str, list[Verdict]] = {}
    for name in found:
        plain = errors(found[name], truth) if name in departed else gaps[name]
        verdicts[name] = [
            _verdict(stage, gaps[name], plain, _limit(stage, precision, [worst[other][stage] for other in found]))
            if stage != "dropout"
            else dropout({place: both for place, both in found[name].items() if place.stage == stage}, rates, precision)
            for stage in STAGES
        ]
    return verdicts


def _worst(gaps: Mapping[Place, float]) -> dict[str, float]:
    worst = dict.fromkeys(STAGES, 0.0)
    for place, gap in gaps.items():
        worst[place.stage] = max(worst[place.stage], gap)
    return worst


def _limit(stage: str, precision: str, worst: Sequence[float]) -> float:
    if stage == "parameters":
        return 0.0
    if precision == "float64":
        return LIMITS.get(stage, LIMIT)
    return max(ROUNDING[precision], TIMES * float(np.median(worst)))


def _verdict(stage: str, gaps: Mapping[Place, float], plain: Mapping[Place, float], limit: float) -> Verdict:
    here = {place: gap for place, gap in gaps.items() if place.stage == stage}
    if not here:
        return Verdict(stage, "ok", 0.0, None, "nothing of this kind in the network")
    beyond = [place for place, gap in here.items() if not gap <= limit]
    if beyond:
        first = beyond[0]
        return Verdict(stage, "differs", here[first], first, later=len(beyond) - 1)
    place = max(here, key=lambda one: here[one])
    departing = [one for one in here if not plain[one] <= limit]
    if not departing:
        return Verdict(stage, "ok", here[place], place)
    said = f"as declared in {len(departing)} places, up to {max(plain[one] for one in departing):.1e} from the plain"
    return Verdict(stage, "explained", here[place], place, said)


SIGMAS = 6.0  # a true coin is called false twice in 1e9 trials
SCALING = {"float64": 1e-12, "float32": 1e-5}


def dropout(places: Mapping[Place, Any], rates: Mapping[str, float], precision: str) -> Verdict:
    """Whether what is kept is scaled by 1 / (1 - rate), kept as often as it should be, and independently.

    Independence: two neighbours, and the same place in two pictures, are both kept with probability (1 - rate)^2.
    """
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
    return Verdict("dropout", "ok", 0.0, None, f"within {worst:.1f} deviations" if places else "none in the network")
