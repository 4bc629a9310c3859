"""The statistics of a report. Speeds are compared as ratios, on a logarithmic scale, within rounds.

docs/statistics.md reports how often each interval covers the true value in simulations with realistic noise.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import stats

Launches: TypeAlias = Sequence[Sequence[float]]  # seconds per image, by launch and round
Verdict: TypeAlias = Literal["faster", "slower", "same"]


class Estimate(NamedTuple):
    """A value and its 95 % interval, which is None for a single sample."""

    value: float
    low: float | None = None
    high: float | None = None


def geometric_mean(samples: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """Geometric mean of positive samples with Student's t interval of the mean logarithm; None for no samples.

    Fleming and Wallace 1986 explain why ratios are averaged in this way. The interval is that of
    `scipy.stats.ttest_1samp`.
    """
    if not samples:
        return None
    logs = np.log(samples)
    if len(logs) == 1:
        return Estimate(float(samples[0]))
    if np.ptp(logs) < 1e-12:  # rounding of equal samples
        return Estimate(float(samples[0]), float(samples[0]), float(samples[0]))
    interval = stats.ttest_1samp(logs, 0.0).confidence_interval(confidence)
    return Estimate(float(np.exp(logs.mean())), float(np.exp(interval.low)), float(np.exp(interval.high)))


def paired_ratio(mine: Sequence[float], theirs: Sequence[float]) -> Estimate | None:
    """How many times faster `mine` is than `theirs`; samples are paired by position, so drift cancels within a pair."""
    return geometric_mean([a / b for a, b in zip(mine, theirs, strict=True)])


# --- ratios over launches ---------------------------------------------------------------------------------------------


def location(mine: Sequence[float], *theirs: Sequence[float]) -> float:
    """The logarithm of how many times faster `mine` is in one launch: the median over its rounds.

    mine, theirs: seconds per image, paired by round. Load from other programs comes in bursts. With short slices, a
    burst affects both workers of a round alike and cancels; the median ignores the few rounds in which it begins or
    ends (docs/slices.md). With several `theirs`, which run the same program, the result is the mean of the medians: two
    of them reduce the variance to about two thirds. The median against their mean in each round would be biased,
    because noise is skewed and only the difference of two workers is symmetric (tests/unit/test_statistics.py).
    ValueError for no rounds, or for seconds that are not more than 0.
    """
    seconds = np.array([mine, *theirs])  # workers x rounds
    if not seconds.size or seconds.min() <= 0:
        raise ValueError("a launch has at least one round, and seconds per image are more than 0")
    logs = np.log(seconds)
    return float(np.median(logs[1:] - logs[0], axis=1).mean())


def launches_ratio(mine: Launches, *theirs: Launches, confidence: float = 0.95) -> Estimate | None:
    """How many times faster `mine` is than `theirs`; None for no launches, no interval for a single one.

    mine, theirs: seconds per image, launches x rounds, paired by launch and round; several `theirs` as in `location`.
    There are two levels of variation (Kalibera and Jones 2013): a launch has its memory layout, and a round its noise.
    The interval is Student's t of the locations of the launches, whose variance contains both levels. A bootstrap of
    launches cannot leave the range of a few values: with three, it misses the true value a quarter of the time, and
    resampling the rounds as well helps only if launches hardly differ (docs/statistics.md).
    """
    return geometric_mean([math.exp(location(*launch)) for launch in zip(mine, *theirs, strict=True)], confidence)


def runs_ratio(after: Sequence[Launches], before: Sequence[Launches], confidence: float = 0.95) -> Estimate | None:
    """How many times faster something is in one run than in another, relative to a control workload in each run.

    after, before: of each run, the workload and its control workloads, as in `launches_ratio`. The runs were not
    interleaved, but both contain the control workload, so whatever affects it and the workload alike cancels. The
    interval is that of Welch 1947, over launches. None if a run has no launch; no interval if a run has only one.
    """
    locations = [np.array([location(*launch) for launch in zip(*run, strict=True)]) for run in (after, before)]
    if not all(map(len, locations)):
        return None
    center = float(locations[0].mean() - locations[1].mean())
    if min(map(len, locations)) == 1:
        return Estimate(math.exp(center))
    parts = [(float(logs.var(ddof=1)) / len(logs), len(logs) - 1) for logs in locations]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / free for part, free in parts) if variance else 1.0
    half = math.sqrt(variance) * float(stats.t.ppf((1 + confidence) / 2, freedom))
    return Estimate(math.exp(center), math.exp(center - half), math.exp(center + half))


# --- detectable differences -------------------------------------------------------------------------------------------


class NoiseFloor(NamedTuple):
    """The range of ratios that equal programs show here; `visible` is the smallest detectable difference."""

    low: float = 1.0
    high: float = 1.0
    visible: float | None = None  # 0.013: differences of less than 1.3 % are not detectable


def noise_floor(*controls: Estimate) -> NoiseFloor:
    """The noise floor of A/A controls: on both sides of 1, the largest distance of a control's ratio from 1.

    The whole interval of a ratio must lie beyond the floor, so the smallest detectable difference is the distance of
    the farthest end of a control's interval from 1. Disjoint intervals (Georges, Buytaert and Eeckhout 2007) would
    count the noise twice and miss up to half of the true differences that this rule detects (docs/statistics.md).
    """
    high = math.exp(max((abs(math.log(control.value)) for control in controls), default=0.0))
    ends = [abs(math.log(end)) for control in controls for end in control[1:] if end is not None]
    return NoiseFloor(1 / high, high, math.expm1(max(ends)) if ends else None)


def verdict(ratio: Estimate, floor: NoiseFloor) -> Verdict | None:
    """`faster` or `slower` if the whole interval of the ratio is beyond the floor, else `same`; None if it has none."""
    if ratio.low is None or ratio.high is None:
        return None
    if ratio.low > floor.high:
        return "faster"
    return "slower" if ratio.high < floor.low else "same"


def warm_up(seconds: Sequence[float]) -> int | None:
    """The number of warm-up slices at the start; None if there is no steady state within the first half.

    seconds: per image, slice by slice, of one launch. MSER, White 1997: discard the number of slices that minimizes the
    standard error of the mean of the others. Averaging groups of five first (MSER-5 of White, Cobb and Spratt 2000)
    discards more if the noise of slices is independent, and is late if the warm-up is short. With fewer than eight
    slices the result is 0.
    """
    count = len(seconds)
    if count < 8:
        return 0
    reversed_ = np.subtract(seconds, seconds[-1])[::-1]
    left = np.arange(1, count + 1)
    variances = np.cumsum(reversed_**2) / left - (np.cumsum(reversed_) / left) ** 2
    errors = (variances / left)[::-1][: count // 2 + 1]  # by the number of discarded slices
    best = int(np.argmin(errors))
    return best if best < count // 2 else None


def break_even(mine: tuple[float, float], theirs: tuple[float, float]) -> float | None:
    """The number of epochs after which `mine` has caught up with `theirs`: 0 if it starts ahead, None for never.

    mine, theirs: (seconds before the first epoch, seconds per epoch).
    """
    late, gain = mine[0] - theirs[0], theirs[1] - mine[1]
    if late <= 0:
        return 0.0
    return late / gain if gain > 0 else None


def quantile(samples: Sequence[float], fraction: float, confidence: float = 0.95) -> Estimate | None:
    """A quantile, such as the latency that 99 % of the calls stay below, with a distribution-free interval.

    `numpy.quantile` with the median-unbiased rule (Hyndman and Fan 1996, definition 8). The interval lies between two
    order statistics (Conover 1999; `scipy.stats.quantile_test`) and needs enough samples: at 95 % confidence 6 for the
    median, 72 for the 95 % quantile, 368 for the 99 % quantile.
    """
    if not samples:
        return None
    value = float(np.quantile(samples, fraction, method="median_unbiased"))
    interval = stats.quantile_test(samples, q=value, p=fraction).confidence_interval(confidence)
    if not np.isfinite([interval.low, interval.high]).all():
        return Estimate(value)
    return Estimate(value, float(interval.low), float(interval.high))


# --- equivalence ------------------------------------------------------------------------------------------------------


class Equivalence(NamedTuple):
    """Whether two means agree within a margin: `p` of the test, and the `difference` with its 90 % interval."""

    difference: Estimate
    margin: float
    p: float | None
    spread: float | None  # standard deviation of the differences; None for one pair

    @property
    def equivalent(self) -> bool:
        """At the 5 % level: the 90 % interval lies within the margin."""
        return self.p is not None and self.p < 0.05

    @property
    def pairs(self) -> int | None:
        """Pairs needed for a power of 80 % if there is no difference; None if the spread is unknown."""
        return None if self.spread is None else pairs_needed(self.spread, self.margin)


def equivalence(mine: Sequence[float], theirs: Sequence[float], margin: float) -> Equivalence:
    """Two one-sided t tests (TOST, Schuirmann 1987) of `mine - theirs`, paired by position, such as accuracies by seed.

    margin: the smallest difference that matters, in the unit of the samples. ValueError for no pairs, or for a margin
    that is not more than 0.
    """
    gaps = np.subtract(mine, theirs)
    if not len(gaps) or margin <= 0:
        raise ValueError(
            f"{len(gaps)} pairs and a margin of {margin}: at least one pair is needed, and a margin of more than 0"
        )
    mean = float(gaps.mean())
    if len(gaps) == 1:
        return Equivalence(Estimate(mean), margin, None, None)
    spread = float(gaps.std(ddof=1))
    if spread <= 1e-12 * margin:  # rounding of equal differences; the t statistic would be 0 / 0
        return Equivalence(Estimate(mean, mean, mean), margin, 0.0 if abs(mean) < margin else 1.0, 0.0)
    above = stats.ttest_1samp(gaps, -margin, alternative="greater")
    below = stats.ttest_1samp(gaps, margin, alternative="less")
    interval = stats.ttest_1samp(gaps, 0.0).confidence_interval(0.90)
    return Equivalence(
        Estimate(mean, float(interval.low), float(interval.high)),
        margin,
        float(max(above.pvalue, below.pvalue)),
        spread,
    )


def pairs_needed(spread: float, margin: float, power: float = 0.8) -> int:
    """The number of pairs for which `equivalence` finds equal means equal with this probability.

    spread: standard deviation of the differences. Each one-sided test has a noncentral t distribution; the probability
    that both reject is at least the sum of the two minus 1, which is a close bound (Phillips 1990). docs/statistics.md
    has a simulation.
    """
    if spread == 0:
        return 2

    def sufficient(pairs: int) -> bool:
        freedom = pairs - 1
        one_sided = stats.nct.sf(stats.t.ppf(0.95, freedom), freedom, margin / spread * math.sqrt(pairs))
        return bool(2 * one_sided - 1 >= power)

    most = 2
    while not sufficient(most):
        most *= 2
    return bisect_left(range(most + 1), True, lo=2, key=sufficient)
