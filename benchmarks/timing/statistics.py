"""The statistics of a report. Speeds are compared as ratios, on a logarithmic scale, within rounds.

docs/statistics.md shows how often each method covers the true value on a noisy machine.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import special, stats

Launches: TypeAlias = Sequence[Sequence[float]]  # seconds per image, by launch and round
SpeedVerdict: TypeAlias = Literal["faster", "slower", "same"]


class Estimate(NamedTuple):
    """A figure and its 95 % interval, which is None if there is a single sample."""

    value: float
    low: float | None = None
    high: float | None = None


def geometric_mean(samples: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """Geometric mean of positive samples, with Student's t interval of the mean logarithm; None for no samples.

    Fleming and Wallace 1986 explain why ratios are averaged in this way; the interval is that of
    `scipy.stats.ttest_1samp`.
    """
    if not samples:
        return None
    count, logs = len(samples), np.log(samples)
    if count == 1:
        return Estimate(float(samples[0]))
    if logs.max() - logs.min() < 1e-12:  # equal up to rounding
        return Estimate(float(samples[0]), float(samples[0]), float(samples[0]))
    # `ttest_1samp` gives the same bits and takes half a millisecond, of which a report has two for each cell.
    mean = np.add.reduce(logs) / count
    variance = np.add.reduce((logs - mean) ** 2) / count * (count / (count - 1))
    error = math.sqrt(variance / count)
    low, high = (float(np.exp(quantile * error + mean)) for quantile in _t_quantiles(count - 1, confidence))
    return Estimate(float(np.exp(mean)), low, high)


@cache
def _t_quantiles(freedom: int, confidence: float) -> tuple[float, float]:
    """The quantiles of Student's t distribution between which its middle part lies."""
    tail = (1 - confidence) / 2
    return float(special.stdtrit(freedom, tail)), float(special.stdtrit(freedom, 1 - tail))


def paired_ratio(speeds: Sequence[float], other: Sequence[float]) -> Estimate | None:
    """The ratio of two series of speeds, paired by position: drift cancels within a pair."""
    return geometric_mean([a / b for a, b in zip(speeds, other, strict=True)])


# --- ratios over launches ---------------------------------------------------------------------------------------------


def location(worker: Sequence[float], *baseline: Sequence[float]) -> float:
    """The log of how many times faster a worker is than the baseline in one launch: the median over the rounds.

    worker, baseline: seconds per image, paired by round. Load from other programs comes in bursts: a burst slows both
    short slices of a round alike and cancels, and the median ignores the few rounds in which it begins or ends
    (docs/slices.md). ValueError for no rounds, or seconds that are not above 0.
    With several baseline workers of the same program, the result is the mean of the medians: with equal noise, two
    baseline workers leave about two thirds of the variance. The median against their mean in each round would be
    biased, because noise is skewed: only the difference of two workers is symmetric (tests/unit/test_statistics.py).
    """
    seconds = np.array([worker, *baseline])  # workers x rounds
    if not seconds.size or seconds.min() <= 0:
        raise ValueError("a launch needs at least one round, and seconds per image of more than 0")
    logs = np.log(seconds)
    return float(np.median(logs[1:] - logs[0], axis=1).mean())


def launches_ratio(worker: Launches, *baseline: Launches, confidence: float = 0.95) -> Estimate | None:
    """How many times faster a worker is than the baseline; None for no launches, no interval for a single one.

    worker, baseline: seconds per image, launches x rounds, paired by launch and round; several baseline workers as in
    `location`. There are two levels of randomness (Kalibera and Jones 2013): a launch has its memory layout, and a
    round its noise. The interval is Student's t of the launches' locations, whose variance contains both levels in any
    proportion. Resampling launches cannot leave the range of a few: with three it misses the true value a quarter of
    the time, and resampling rounds as well helps only if launches hardly differ (docs/statistics.md).
    """
    return geometric_mean([math.exp(location(*launch)) for launch in zip(worker, *baseline, strict=True)], confidence)


def runs_ratio(after: Sequence[Launches], before: Sequence[Launches], confidence: float = 0.95) -> Estimate | None:
    """How many times faster a worker is in one run than in another, relative to a control in each run.

    after, before: the worker and its controls in each run, as in `launches_ratio`. The runs were not interleaved, but
    both contain the control, and changes that affect it and the worker alike cancel. The interval is that of Welch
    1947, over launches. None if a run has no launch; no interval if one of them has a single launch.
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
    """The range of ratios of a program to itself; `visible` is the smallest difference that can be detected."""

    low: float = 1.0
    high: float = 1.0
    visible: float | None = None  # 0.013: differences under 1.3 % cannot


def noise_floor(*controls: Estimate) -> NoiseFloor:
    """The noise floor from A/A ratios: as far from 1, on either side, as the ratio of any A/A control.

    A ratio must exceed it with its whole interval, so the detectable difference is the distance from 1 of the farthest
    end of an A/A interval. Requiring disjoint intervals (Georges, Buytaert and Eeckhout 2007) would count the noise
    twice, and miss up to half of the true differences that this rule detects (docs/statistics.md).
    """
    high = math.exp(max((abs(math.log(control.value)) for control in controls), default=0.0))
    ends = [abs(math.log(end)) for control in controls for end in control[1:] if end is not None]
    return NoiseFloor(1 / high, high, math.expm1(max(ends)) if ends else None)


def verdict(ratio: Estimate, floor: NoiseFloor) -> SpeedVerdict | None:
    """`faster` or `slower` if the whole interval is beyond the noise floor, else `same`; None without an interval."""
    if ratio.low is None or ratio.high is None:
        return None
    if ratio.low > floor.high:
        return "faster"
    return "slower" if ratio.high < floor.low else "same"


def warm_up(seconds: Sequence[float]) -> int | None:
    """The number of slices at the start that are warm-up; None if no steady state begins within the first half.

    seconds: per image, slice by slice, of one launch. MSER, White 1997: leave out as many slices as minimize the
    standard error of the mean of the rest; a minimum at the end of the first half is no steady state. Averaging groups
    of five first (MSER-5 of White, Cobb and Spratt 2000) leaves out more if the noise of slices is independent, and
    detects a short warm-up late. Fewer than eight slices are too few to decide: 0.
    """
    count = len(seconds)
    if count < 8:
        return 0
    reversed_ = np.subtract(seconds, seconds[-1])[::-1]
    left = np.arange(1, count + 1)
    variances = np.cumsum(reversed_**2) / left - (np.cumsum(reversed_) / left) ** 2
    errors = (variances / left)[::-1][: count // 2 + 1]  # by how many are left out
    best = int(np.argmin(errors))
    return best if best < count // 2 else None


def break_even(costs: tuple[float, float], other: tuple[float, float]) -> float | None:
    """Epochs after which one program has caught up with another: 0 if it is ahead from the start, None for never.

    costs, other: (seconds before the first epoch, seconds per epoch), of costs that grow linearly.
    """
    late, gain = costs[0] - other[0], other[1] - costs[1]
    if late <= 0:
        return 0.0
    return late / gain if gain > 0 else None


def quantile(samples: Sequence[float], fraction: float, confidence: float = 0.95) -> Estimate | None:
    """A quantile, such as the latency that 99 % of the calls stay below, with a distribution-free interval.

    `numpy.quantile` with its median-unbiased rule (Hyndman and Fan 1996, definition 8). The interval lies between two
    order statistics (Conover 1999, `scipy.stats.quantile_test`) and is absent if no sample lies far enough out: at 95 %
    confidence the median needs 6 samples, the 95 % quantile 72, the 99 % quantile 368.
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
    """Whether two means agree within a margin. p: of the test; difference: with the 90 % interval that decides it."""

    difference: Estimate
    margin: float
    p: float | None
    spread: float | None  # standard deviation of the pairs' differences; None for a single pair

    @property
    def equivalent(self) -> bool:
        """At the level of 5 %: the 90 % interval lies within the margin."""
        return self.p is not None and self.p < 0.05

    @property
    def pairs(self) -> int | None:
        """Pairs needed for a power of 80 % if there is no difference; None if the spread is unknown."""
        return None if self.spread is None else pairs_needed(self.spread, self.margin)


def equivalence(values: Sequence[float], other: Sequence[float], margin: float) -> Equivalence:
    """Two one-sided t tests (TOST, Schuirmann 1987) of `values - other`, paired by position: accuracies by seed, say.

    margin: the smallest relevant difference, in the unit of the samples. ValueError for no pairs, or a margin that is
    not above 0.
    """
    gaps = np.subtract(values, other)
    if not len(gaps) or margin <= 0:
        raise ValueError(
            f"{len(gaps)} pairs and a margin of {margin}: need at least one pair and a margin of more than 0"
        )
    mean = float(gaps.mean())
    if len(gaps) == 1:
        return Equivalence(Estimate(mean), margin, None, None)
    spread = float(gaps.std(ddof=1))
    if spread <= 1e-12 * margin:  # equal up to rounding; the t statistic would be 0 / 0
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
    """The number of pairs with which `equivalence` recognizes equal means with this probability.

    spread: standard deviation of the pairs' differences. Each one-sided test has a noncentral t distribution; the
    probability that both reject is at least the sum of the two less 1, a close bound (Phillips 1990).
    docs/statistics.md simulates it.
    """
    if spread == 0:
        return 2

    def reached(pairs: int) -> bool:
        freedom = pairs - 1
        single = stats.nct.sf(stats.t.ppf(0.95, freedom), freedom, margin / spread * math.sqrt(pairs))
        return bool(2 * single - 1 >= power)

    most = 2
    while not reached(most):
        most *= 2
    return bisect_left(range(most + 1), True, lo=2, key=reached)
