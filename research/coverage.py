"""Which statistics hold on a noisy machine: coverage, width, false alarms and power, simulated with a known truth.

    python -m research.coverage [--write docs/statistics.md]

Each slice takes longer by a random amount, never shorter: little on a machine of one's own ("idle"), as much as
docs/slices.md shows on one that is shared; on a loaded one a second process comes and goes in bursts too (half of the
time, 20 slices long on average) and slows what it hits by up to 60 %. The machine's speed walks; every launch of a
program is faster or slower than the last by a factor of its own.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.reporting.tables import markdown
from benchmarks.timing import statistics
from benchmarks.timing.speed_run import ENOUGH, NARROW
from benchmarks.timing.statistics import (
    Estimate,
    equivalence,
    launches_ratio,
    location,
    noise_floor,
    pairs_needed,
    warm_up,
)

Samples = np.ndarray[Any, np.dtype[np.float64]]
STREAM = np.random.default_rng(20261122)
LOADS = {  # mean of the exponential noise of a slice; the largest share by which a burst slows one
    "idle": (0.01, 0.0),
    "shared": (0.07, 0.0),
    "loaded": (0.07, 0.6),
}
CHANGES = 0.05  # chance per slice that a burst begins, or is over
WALK = 0.03  # how far the machine's speed has moved at a launch's end, standard deviation


def measured(
    count: int, launches: int, rounds: int, load: tuple[float, float], ratios: list[float], tau: float
) -> list[Samples]:
    """Seconds a picture of several workers that take turns A B C, C B A: each count x launches x rounds.

    tau: standard deviation of a launch's own factor, for every worker; ratios: how much slower each worker truly is.
    """
    turns = rounds * len(ratios)
    shape = (count, launches, turns)
    flips = STREAM.random(shape) < CHANGES
    flips[..., 0] = STREAM.random((count, launches)) < 0.5
    burst = np.cumsum(flips, -1) % 2
    noise, slowed = load
    logs = np.cumsum(STREAM.normal(0, WALK / np.sqrt(turns), shape), -1) + STREAM.exponential(noise, shape)
    logs += np.log1p(slowed * burst * STREAM.random(shape))
    logs = logs.reshape(count, launches, rounds, len(ratios))
    logs[:, :, 1::2] = logs[:, :, 1::2, ::-1].copy()
    own = STREAM.normal(0, tau, (count, launches, 1, len(ratios)))
    return list(np.moveaxis(np.exp(logs + own) * ratios, -1, 0))


# --- where a launch lies ----------------------------------------------------------------------------------------------


def shorth(logs: Samples) -> float:
    """Mean of the shortest half (Andrews et al. 1972)."""
    ordered, half = np.sort(logs), len(logs) // 2 + 1
    start = int(np.argmin(ordered[half - 1 :] - ordered[: len(ordered) - half + 1]))
    return float(ordered[start : start + half].mean())


def quiet_mean(a: Samples, b: Samples) -> float:
    return float(quieter(a, b).mean())


def quieter(a: Samples, b: Samples) -> Samples:
    """Log ratios of the half of the rounds in which both together took least."""
    return np.log(b / a)[np.argsort(a * b)[: -(-len(a) // 2)]]


LOCATIONS: dict[str, Callable[[Samples, Samples], float]] = {
    "mean": lambda a, b: float(np.log(b / a).mean()),
    "mean without the outer fifths": lambda a, b: float(stats.trim_mean(np.log(b / a), 0.2)),
    "shortest half, mean": lambda a, b: shorth(np.log(b / a)),
    "lower quartiles, unpaired": lambda a, b: float(np.log(np.quantile(b, 0.25) / np.quantile(a, 0.25))),
    "quieter half, mean": quiet_mean,
    "quieter half, median": lambda a, b: float(np.median(quieter(a, b))),
    "median (chosen)": lambda a, b: location(list(a), list(b)),
}


def locations() -> str:
    """How far each location of one launch of 30 rounds is from the truth, in per cent."""
    cases = {load: measured(2_000, 1, 30, size, [1.0, 1.0], 0.0) for load, size in LOADS.items()}
    rows = []
    for name, locate in LOCATIONS.items():
        spreads = [np.std([locate(a[0], b[0]) for a, b in zip(*case)]) for case in cases.values()]
        rows.append((name, *(f"{100 * spread:.2f}" for spread in spreads)))
    return markdown(("location of a launch", *(f"standard deviation, {load}, %" for load in LOADS)), rows)


# --- intervals over launches ------------------------------------------------------------------------------------------


def all_slices(a: Samples, b: Samples) -> Estimate:
    """Student's t of all rounds, as though launches were none."""
    found = statistics.geometric_mean((b / a).ravel().tolist())
    assert found is not None
    return found


def _percentiles(means: Samples) -> Estimate:
    return Estimate(*np.exp(np.quantile(means, [0.5, 0.025, 0.975])))


def launch_bootstrap(a: Samples, b: Samples) -> Estimate:
    found = np.array([np.median(logs) for logs in np.log(b / a)])
    return _percentiles(found[STREAM.integers(len(found), size=(400, len(found)))].mean(1))


def nested_bootstrap(a: Samples, b: Samples) -> Estimate:
    """Launches drawn again, and rounds within each."""
    logs = np.log(b / a)
    launch = STREAM.integers(len(logs), size=(400, len(logs), 1))
    rounds = STREAM.integers(logs.shape[1], size=(400, len(logs), logs.shape[1]))
    return _percentiles(np.median(logs[launch, rounds], axis=2).mean(1))


def pretested(a: Samples, b: Samples) -> Estimate:
    """All rounds together unless the launches differ significantly (analysis of variance at 5 %), else their means."""
    logs = np.log(b / a)
    return all_slices(a, b) if stats.f_oneway(*logs).pvalue > 0.05 else chosen(a, b)


def chosen(mine: Samples, *theirs: Samples) -> Estimate:
    found = launches_ratio(mine.tolist(), *(each.tolist() for each in theirs))
    assert found is not None
    return found


def guarded(a: Samples, b: Samples) -> Estimate:
    """No narrower than the rounds within the launches allow (Knapp and Hartung 2003: few groups may agree by luck)."""
    logs, found = np.log(b / a), chosen(a, b)
    spread = stats.median_abs_deviation(logs, axis=1, scale="normal") * np.sqrt(np.pi / 2 / logs.shape[1])
    half = np.sqrt(np.sum(spread**2)) / len(logs) * stats.t.ppf(0.975, logs.size - len(logs))
    value, low, high = np.log(found)  # type: ignore[arg-type]
    half = max(half, (high - low) / 2)
    return Estimate(*np.exp([value, value - half, value + half]))


INTERVALS: dict[str, Callable[[Samples, Samples], Estimate]] = {
    "t of all rounds": all_slices,
    "bootstrap of launches": launch_bootstrap,
    "nested bootstrap": nested_bootstrap,
    "t of launches if they differ, else of all rounds": pretested,
    "t of launches, at least the rounds'": guarded,
    "t of launches (chosen)": chosen,
}


def intervals() -> Iterator[tuple[str, ...]]:
    """Coverage of the 95 % interval and its median half-width in per cent, by launches of 120 rounds together."""
    for load, size in LOADS.items():
        for tau in (0.0, 0.002, 0.01):
            for launches in (3, 5):
                a, b = measured(400, launches, 120 // launches, size, [1.0, 1.0], tau)
                cells = []
                for method in INTERVALS.values():
                    found = np.log(np.array([method(x, y) for x, y in zip(a, b)], dtype=float))
                    covered = np.mean((found[:, 1] <= 0) & (found[:, 2] >= 0))
                    cells.append(f"{covered:.0%} ±{100 * np.median(found[:, 2] - found[:, 1]) / 2:.2f}")
                yield (load, f"{100 * tau:.1f}", str(launches), *cells)


# --- decisions --------------------------------------------------------------------------------------------------------


def disjoint(one: Estimate, other: Estimate) -> bool:
    """Do two intervals have no point in common?"""
    return one.low > other.high or one.high < other.low  # type: ignore[operator]


def decisions() -> Iterator[tuple[str, ...]]:
    """A worker against the baseline, with the baseline's twin as the floor: how often each rule speaks."""
    for load, size in LOADS.items():
        for tau, rounds, launches in product((0.002, 0.005, 0.01), (60, 240), (3, 5)):
            cells = []
            for slower in (1.0, 1.03):
                base, twin, other = measured(200, launches, rounds // launches, size, [1.0, 1.0, slower], tau)
                ratios = [chosen(*launches) for launches in zip(other, base, twin)]
                floors = [noise_floor(chosen(x, y)) for x, y in zip(twin, base)]
                alone = np.mean([statistics.verdict(ratio, noise_floor()) != "same" for ratio in ratios])
                both = np.mean([statistics.verdict(r, f) != "same" for r, f in zip(ratios, floors)])
                apart = np.mean([disjoint(r, chosen(x, y)) for r, x, y in zip(ratios, twin, base)])
                cells += [f"{alone:.0%}", f"{both:.0%}", f"{apart:.0%}"]
            reach = np.median([floor.visible for floor in floors])  # type: ignore[arg-type]
            yield (load, f"{100 * tau:.1f}", str(rounds), str(launches), f"{100 * reach:.1f}", *cells)


def stopped() -> Iterator[tuple[str, ...]]:
    """Coverage where a comparison of 12 launches at most ends as soon as its interval is narrow."""
    for spread in (0.5, 1.0, 2.0):
        cells = []
        for least in (3, ENOUGH):
            launches = STREAM.normal(0, spread / 100, (2_000, 12))
            found = [_stopped(one, least) for one in launches]
            covered = np.mean([low <= 0 <= high for low, high, _ in found])
            cells.append(f"{covered:.1%} of {np.mean([count for *_, count in found]):.1f}")
        yield (f"{spread:.1f}", *cells)


def _stopped(logs: Samples, least: int) -> tuple[float, float, int]:
    """The interval after the first launches that make it narrow, and how many these were."""
    for count in range(least, len(logs) + 1):
        low, high = stats.ttest_1samp(logs[:count], 0.0).confidence_interval()
        if high - low <= 2 * NARROW:
            break
    return low, high, count


def two_runs() -> Iterator[tuple[str, ...]]:
    """Two runs through a calibration worker, and how often they are called different."""
    for load, size in LOADS.items():
        for launches in (3, 5):
            for tau in (0.002, 0.005, 0.01):
                cells = []
                for slower in (1.0, 1.03):
                    before = measured(400, launches, 120 // launches, size, [1.0, 1.0], tau)
                    after = measured(400, launches, 120 // launches, size, [slower, 1.0], tau)
                    found = [statistics.runs_ratio((m, c), (n, d)) for m, c, n, d in zip(*after, *before)]
                    told = np.mean([statistics.verdict(one, noise_floor()) != "same" for one in found])  # type: ignore
                    cells.append(f"{told:.0%}")
                yield (load, f"{100 * tau:.1f}", str(launches), *cells)


def warm_ups() -> Iterator[tuple[str, ...]]:
    """Slices left out of 40, where the first 0 or 6 take half as long again."""
    for load, size in LOADS.items():
        for true in (0, 6):
            times = measured(400, 1, 40, size, [1.0], 0.0)[0][:, 0]
            times[:, :true] *= 1.5
            found = [warm_up(list(one)) for one in times]
            left = [one for one in found if one is not None]
            missed = np.mean([one < true for one in left])
            never = 1 - len(left) / len(found)
            yield (load, str(true), f"{np.median(left):.0f}", f"{missed:.0%}", f"{never:.0%}")


def equivalences() -> Iterator[tuple[str, ...]]:
    """Accuracies by seed, margin 0.5 points: how often TOST says equivalent at the margin, and at no difference."""
    for spread in (0.2, 0.5, 1.0):
        count = pairs_needed(spread, 0.5)
        said = [
            np.mean([equivalence(list(gaps), [0.0] * count, 0.5).equivalent for gaps in draws])
            for draws in (STREAM.normal(truth, spread, (1_000, count)) for truth in (0.5, 0.0))
        ]
        yield (f"{spread:.1f}", str(count), *(f"{share:.1%}" for share in said))


def report() -> str:
    """All tables."""
    launches = ("machine", "launches' spread, %", "launches")
    rules = [f"{rule}, {truth}" for truth in ("same", "3 % slower") for rule in ("interval", "floor", "disjoint")]
    parts = {
        "One launch": locations(),
        "Coverage and half-width in per cent of 95 % intervals": markdown((*launches, *INTERVALS), list(intervals())),
        "Called different, against the baseline": markdown(
            (*launches[:2], "rounds", "launches", "visible, %", *rules), list(decisions())
        ),
        "Called different, between two runs": markdown((*launches, "same", "3 % slower"), list(two_runs())),
        "Warm-up": markdown(("machine", "true", "found, median", "too few", "not steady"), list(warm_ups())),
        "Equivalence": markdown(
            ("spread of a pair, points", "pairs for 80 %", "equivalent at the margin", "equivalent at 0"),
            list(equivalences()),
        ),
        "Ended by a narrow interval: coverage, and launches on average": markdown(
            ("launches' spread, %", "of 3 launches at least", f"of {ENOUGH} at least (chosen)"), list(stopped())
        ),
    }
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts.items())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.coverage", description="Simulate the statistics.")
    parser.add_argument("--write", metavar="FILE", type=Path, help="put the tables between the marks of this page")
    options = parser.parse_args()
    text = report()
    print(text)
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        marks = r"(<!-- coverage: .*?-->\n).*(<!-- end of coverage -->)"
        options.write.write_text(
            re.sub(marks, lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page, flags=re.DOTALL), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
