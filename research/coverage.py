"""Which statistics are valid on a noisy machine: coverage, width, false alarms and power, simulated with a known truth.

    python -m research.coverage [--write docs/statistics.md]

Noise makes each slice longer by a random amount: little on an idle machine, as much as docs/slices.md shows on a shared
one. On a loaded machine a second process also comes and goes in bursts (half of the time, 20 slices long on average)
and slows slices by up to 60 %. The machine's speed follows a random walk, and every launch of a program has its own
factor.
"""

from __future__ import annotations

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
from research import command

Samples = np.ndarray[Any, np.dtype[np.float64]]
STREAM = np.random.default_rng(20261122)
LOADS = {  # mean of the exponential noise of a slice; the largest fraction by which a burst slows one
    "idle": (0.01, 0.0),
    "shared": (0.07, 0.0),
    "loaded": (0.07, 0.6),
}
BURST_EDGE = 0.05  # probability per slice that a burst begins, or ends
WALK = 0.03  # standard deviation of the change of the machine's log speed over a launch


def simulated(
    count: int, launches: int, rounds: int, load: tuple[float, float], ratios: list[float], tau: float
) -> list[Samples]:
    """Seconds per image of several workers, interleaved A B C, C B A: each count x launches x rounds.

    tau: standard deviation of the log factor of a launch; ratios: the true slowness of each worker.
    """
    slices = rounds * len(ratios)
    shape = (count, launches, slices)
    flips = STREAM.random(shape) < BURST_EDGE
    flips[..., 0] = STREAM.random((count, launches)) < 0.5
    burst = np.cumsum(flips, -1) % 2
    noise, slowed = load
    logs = np.cumsum(STREAM.normal(0, WALK / np.sqrt(slices), shape), -1) + STREAM.exponential(noise, shape)
    logs += np.log1p(slowed * burst * STREAM.random(shape))
    logs = logs.reshape(count, launches, rounds, len(ratios))
    logs[:, :, 1::2] = logs[:, :, 1::2, ::-1].copy()
    factors = STREAM.normal(0, tau, (count, launches, 1, len(ratios)))
    return list(np.moveaxis(np.exp(logs + factors) * ratios, -1, 0))


# --- the location of a launch -----------------------------------------------------------------------------------------


def shorth(logs: Samples) -> float:
    """Mean of the shortest half (Andrews et al. 1972)."""
    ordered, half = np.sort(logs), len(logs) // 2 + 1
    start = int(np.argmin(ordered[half - 1 :] - ordered[: len(ordered) - half + 1]))
    return float(ordered[start : start + half].mean())


def quiet_mean(a: Samples, b: Samples) -> float:
    return float(quieter(a, b).mean())


def quieter(a: Samples, b: Samples) -> Samples:
    """Log ratios of the faster half of the rounds, by the time of both workers together."""
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
    """The error of each location of one launch of 30 rounds, in percent."""
    cases = {load: simulated(2_000, 1, 30, size, [1.0, 1.0], 0.0) for load, size in LOADS.items()}
    rows = []
    for name, locate in LOCATIONS.items():
        spreads = [np.std([locate(a[0], b[0]) for a, b in zip(*case)]) for case in cases.values()]
        rows.append((name, *(f"{100 * spread:.2f}" for spread in spreads)))
    return markdown(("location of a launch", *(f"standard deviation, {load}, %" for load in LOADS)), rows)


# --- intervals over launches ------------------------------------------------------------------------------------------


def all_slices(a: Samples, b: Samples) -> Estimate:
    """Student's t of all rounds, ignoring launches."""
    estimate = statistics.geometric_mean((b / a).ravel().tolist())
    assert estimate is not None
    return estimate


def _percentiles(means: Samples) -> Estimate:
    return Estimate(*np.exp(np.quantile(means, [0.5, 0.025, 0.975])))


def launch_bootstrap(a: Samples, b: Samples) -> Estimate:
    medians = np.array([np.median(logs) for logs in np.log(b / a)])
    return _percentiles(medians[STREAM.integers(len(medians), size=(400, len(medians)))].mean(1))


def nested_bootstrap(a: Samples, b: Samples) -> Estimate:
    """Resamples launches, and rounds within each."""
    logs = np.log(b / a)
    launch = STREAM.integers(len(logs), size=(400, len(logs), 1))
    rounds = STREAM.integers(logs.shape[1], size=(400, len(logs), logs.shape[1]))
    return _percentiles(np.median(logs[launch, rounds], axis=2).mean(1))


def pretested(a: Samples, b: Samples) -> Estimate:
    """All rounds together unless the launches differ significantly (analysis of variance at 5 %), else their means."""
    logs = np.log(b / a)
    return all_slices(a, b) if stats.f_oneway(*logs).pvalue > 0.05 else chosen(a, b)


def chosen(worker: Samples, *baseline: Samples) -> Estimate:
    estimate = launches_ratio(worker.tolist(), *(each.tolist() for each in baseline))
    assert estimate is not None
    return estimate


def guarded(a: Samples, b: Samples) -> Estimate:
    """At least as wide as the noise of the rounds (Knapp and Hartung 2003: few groups may agree by chance)."""
    logs, estimate = np.log(b / a), chosen(a, b)
    spread = stats.median_abs_deviation(logs, axis=1, scale="normal") * np.sqrt(np.pi / 2 / logs.shape[1])
    half = np.sqrt(np.sum(spread**2)) / len(logs) * stats.t.ppf(0.975, logs.size - len(logs))
    value, low, high = np.log(estimate)  # type: ignore[arg-type]
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
    """Coverage of the 95 % interval and its median half-width in percent; 120 rounds in all launches together."""
    for load, size in LOADS.items():
        for tau in (0.0, 0.002, 0.01):
            for launches in (3, 5):
                a, b = simulated(400, launches, 120 // launches, size, [1.0, 1.0], tau)
                cells = []
                for method in INTERVALS.values():
                    bounds = np.log(np.array([method(x, y) for x, y in zip(a, b)], dtype=float))
                    covered = np.mean((bounds[:, 1] <= 0) & (bounds[:, 2] >= 0))
                    cells.append(f"{covered:.0%} ±{100 * np.median(bounds[:, 2] - bounds[:, 1]) / 2:.2f}")
                yield (load, f"{100 * tau:.1f}", str(launches), *cells)


# --- decisions --------------------------------------------------------------------------------------------------------


def disjoint(first: Estimate, second: Estimate) -> bool:
    """Whether two intervals have no point in common."""
    return first.low > second.high or first.high < second.low  # type: ignore[operator]


def decisions() -> Iterator[tuple[str, ...]]:
    """A worker against the baseline, with the A/A control as noise floor: how often each rule finds a difference."""
    for load, size in LOADS.items():
        for tau, rounds, launches in product((0.002, 0.005, 0.01), (60, 240), (3, 5)):
            cells = []
            for slower in (1.0, 1.03):
                base, control, worker = simulated(200, launches, rounds // launches, size, [1.0, 1.0, slower], tau)
                ratios = [chosen(*launches) for launches in zip(worker, base, control)]
                floors = [noise_floor(chosen(x, y)) for x, y in zip(control, base)]
                alone = np.mean([statistics.verdict(ratio, noise_floor()) != "same" for ratio in ratios])
                both = np.mean([statistics.verdict(r, f) != "same" for r, f in zip(ratios, floors)])
                apart = np.mean([disjoint(r, chosen(x, y)) for r, x, y in zip(ratios, control, base)])
                cells += [f"{alone:.0%}", f"{both:.0%}", f"{apart:.0%}"]
            reach = np.median([floor.visible for floor in floors])  # type: ignore[arg-type]
            yield (load, f"{100 * tau:.1f}", str(rounds), str(launches), f"{100 * reach:.1f}", *cells)


def stopped() -> Iterator[tuple[str, ...]]:
    """Coverage if a comparison of at most 12 launches ends as soon as its interval is narrow."""
    for spread in (0.5, 1.0, 2.0):
        cells = []
        for least in (3, ENOUGH):
            launches = STREAM.normal(0, spread / 100, (2_000, 12))
            ends = [_stopped(logs, least) for logs in launches]
            covered = np.mean([low <= 0 <= high for low, high, _ in ends])
            cells.append(f"{covered:.1%} of {np.mean([count for *_, count in ends]):.1f}")
        yield (f"{spread:.1f}", *cells)


def _stopped(logs: Samples, least: int) -> tuple[float, float, int]:
    """The interval after the first launches that make it narrow, and their number."""
    for count in range(least, len(logs) + 1):
        low, high = stats.ttest_1samp(logs[:count], 0.0).confidence_interval()
        if high - low <= 2 * NARROW:
            break
    return low, high, count


def two_runs() -> Iterator[tuple[str, ...]]:
    """Two runs, compared through the control workload: how often they are called different."""
    for load, size in LOADS.items():
        for launches in (3, 5):
            for tau in (0.002, 0.005, 0.01):
                cells = []
                for slower in (1.0, 1.03):
                    before = simulated(400, launches, 120 // launches, size, [1.0, 1.0], tau)
                    after = simulated(400, launches, 120 // launches, size, [slower, 1.0], tau)
                    ratios = [statistics.runs_ratio((m, c), (n, d)) for m, c, n, d in zip(*after, *before)]
                    verdicts = [statistics.verdict(ratio, noise_floor()) for ratio in ratios]  # type: ignore[arg-type]
                    cells.append(f"{np.mean([verdict != 'same' for verdict in verdicts]):.0%}")
                yield (load, f"{100 * tau:.1f}", str(launches), *cells)


def warm_ups() -> Iterator[tuple[str, ...]]:
    """Slices that are left out of 40, of which the first 0 or 6 take 1.5 times as long."""
    for load, size in LOADS.items():
        for true in (0, 6):
            times = simulated(400, 1, 40, size, [1.0], 0.0)[0][:, 0]
            times[:, :true] *= 1.5
            cuts = [warm_up(list(seconds)) for seconds in times]
            steady = [cut for cut in cuts if cut is not None]
            missed = np.mean([cut < true for cut in steady])
            never = 1 - len(steady) / len(cuts)
            yield (load, str(true), f"{np.median(steady):.0f}", f"{missed:.0%}", f"{never:.0%}")


def equivalences() -> Iterator[tuple[str, ...]]:
    """Accuracies by seed, margin 0.5 points: how often TOST finds equivalence at the margin, and at no difference."""
    for spread in (0.2, 0.5, 1.0):
        count = pairs_needed(spread, 0.5)
        equivalent = [
            np.mean([equivalence(list(gaps), [0.0] * count, 0.5).equivalent for gaps in draws])
            for draws in (STREAM.normal(truth, spread, (1_000, count)) for truth in (0.5, 0.0))
        ]
        yield (f"{spread:.1f}", str(count), *(f"{fraction:.1%}" for fraction in equivalent))


def report() -> str:
    """All tables in Markdown."""
    launches = ("machine", "launches' spread, %", "launches")
    rules = [f"{rule}, {truth}" for truth in ("same", "3 % slower") for rule in ("interval", "floor", "disjoint")]
    parts = {
        "One launch": locations(),
        "Coverage and half-width in per cent of 95 % intervals": markdown((*launches, *INTERVALS), list(intervals())),
        "Called different, against the baseline": markdown(
            (*launches[:2], "rounds", "launches", "visible, %", *rules), list(decisions())
        ),
        "Called different, between two runs": markdown((*launches, "same", "3 % slower"), list(two_runs())),
        "Warm-up": markdown(("machine", "true", "detected, median", "too few", "not steady"), list(warm_ups())),
        "Equivalence": markdown(
            ("spread of a pair, points", "pairs for 80 %", "equivalent at the margin", "equivalent at 0"),
            list(equivalences()),
        ),
        "Ended by a narrow interval: coverage, and launches on average": markdown(
            ("launches' spread, %", "of 3 launches at least", f"of {ENOUGH} at least (chosen)"), list(stopped())
        ),
    }
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts.items())


@command.research_command("research.coverage")
@command.write
def main(write: Path | None) -> None:
    """Simulate the coverage of intervals and the power of decisions."""
    command.check_page(write, "coverage")
    command.publish(report(), write, "coverage")


if __name__ == "__main__":
    main(prog_name="python -m research.coverage")
