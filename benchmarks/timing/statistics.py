"""The statistics of a report. Speeds are compared as ratios, on a logarithmic scale, and within rounds.

Which method covers the truth how often, on a machine with noise like ours, is measured in docs/statistics.md.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import stats

Launches: TypeAlias = Sequence[Sequence[float]]  # seconds a picture: launch, then round
Verdict: TypeAlias = Literal["faster", "slower", "same"]


class Estimate(NamedTuple):
    """A figure and its 95 % interval; no interval, None, where one sample is all there is."""

    value: float
    low: float | None = None
    high: float | None = None


def geometric_mean(samples: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """Geometric mean of positive samples with Student's t interval of the mean logarithm; None for no samples.

    Fleming and Wallace 1986 on why ratios are averaged so; the interval is `scipy.stats.ttest_1samp`'s.
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
    """How many times faster `mine` is than `theirs`, samples paired by position: what drifts cancels within a pair."""
    return geometric_mean([a / b for a, b in zip(mine, theirs, strict=True)])


# --- ratios over launches ---------------------------------------------------------------------------------------------


def location(mine: Sequence[float], *theirs: Sequence[float]) -> float:
    """The log of how many times faster `mine` is in one launch: the median over its rounds.

    mine, theirs: seconds a picture, paired by round. What loads a machine comes in bursts: where slices are short, one
    hits both of a round alike and cancels, and the few rounds in which it begins or ends are the median's to ignore
    (docs/slices.md). ValueError for no rounds, or seconds that are not above 0.
    Of several `theirs`, workers of one program, the mean of the medians: where noise is alike on all, two leave
    about two thirds of the variance. The median against their mean in each round would be biased, for noise is
    skewed: only the difference of two workers is symmetric (tests/test_statistics.py).
    """
    seconds = np.array([mine, *theirs])  # workers x rounds
    if not seconds.size or seconds.min() <= 0:
        raise ValueError("a launch has at least one round, and seconds a picture are above 0")
    logs = np.log(seconds)
    return float(np.median(logs[1:] - logs[0], axis=1).mean())


def launches_ratio(mine: Launches, *theirs: Launches, confidence: float = 0.95) -> Estimate | None:
    """How many times faster `mine` is than `theirs`; None for no launches, no interval for a single one.

    mine, theirs: seconds a picture, launches x rounds, paired by launch and by round; several as in `location`. Two
    levels of chance, as in Kalibera and Jones 2013: a launch has its own memory layout, and a round its own noise. The
    interval is Student's t of the launches' locations, whose variance contains both levels, whatever their shares are.
    Resampling launches cannot leave the range of a few: of three, it misses the truth a quarter of the time, and
    resampling their rounds too mends that only where launches hardly differ (docs/statistics.md).
    """
    return geometric_mean([math.exp(location(*launch)) for launch in zip(mine, *theirs, strict=True)], confidence)


def runs_ratio(after: Sequence[Launches], before: Sequence[Launches], confidence: float = 0.95) -> Estimate | None:
    """How many times faster something is in one run than in another, each run measured against its own yardstick.

    after, before: mine and the yardsticks of each run, as in `launches_ratio`. The runs were not interleaved; what they
    have in common is the yardstick, and what moves it and `mine` alike cancels. The interval is Welch's 1947, over
    launches. None where a run has no launch; no interval where one of them has a single one.
    """
    found = [np.array([location(*launch) for launch in zip(*run, strict=True)]) for run in (after, before)]
    if not all(map(len, found)):
        return None
    centre = float(found[0].mean() - found[1].mean())
    if min(map(len, found)) == 1:
        return Estimate(math.exp(centre))
    parts = [(float(logs.var(ddof=1)) / len(logs), len(logs) - 1) for logs in found]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / free for part, free in parts) if variance else 1.0
    half = math.sqrt(variance) * float(stats.t.ppf((1 + confidence) / 2, freedom))
    return Estimate(math.exp(centre), math.exp(centre - half), math.exp(centre + half))


# --- what can be seen -------------------------------------------------------------------------------------------------


class NoiseFloor(NamedTuple):
    """What a ratio of 1 looks like here, from low to high; `visible` is the smallest difference that can be seen."""

    low: float = 1.0
    high: float = 1.0
    visible: float | None = None  # 0.013: differences under 1.3 % are not


def noise_floor(*twins: Estimate) -> NoiseFloor:
    """The floor that A/A measurements give: as far from 1 as any twin's ratio was, on either side.

    A ratio must clear it with its whole interval, so what can be seen is what the farthest end of a twin's interval is
    from 1. Asking that the two intervals be disjoint (Georges, Buytaert and Eeckhout 2007) would count the noise twice,
    and miss up to half of the true differences that this rule calls (docs/statistics.md).
    """
    high = math.exp(max((abs(math.log(twin.value)) for twin in twins), default=0.0))
    ends = [abs(math.log(end)) for twin in twins for end in twin[1:] if end is not None]
    return NoiseFloor(1 / high, high, math.expm1(max(ends)) if ends else None)


def verdict(ratio: Estimate, floor: NoiseFloor) -> Verdict | None:
    """`faster` or `slower` where the ratio's whole interval is beyond the floor, else `same`; None without interval."""
    if ratio.low is None or ratio.high is None:
        return None
    if ratio.low > floor.high:
        return "faster"
    return "slower" if ratio.high < floor.low else "same"


def warm_up(seconds: Sequence[float]) -> int | None:
    """How many slices at the start are warm-up; None where nothing settles within the first half.

    seconds: a picture, slice by slice, of one launch. MSER, White 1997: leave out as many as make the standard error of
    the mean of the others smallest; at the end of the first half the rule has found no steady state. Averaging five
    first (MSER-5 of White, Cobb and Spratt 2000) leaves out more where the noise of slices is independent, and is late
    where warm-up is short. Below eight slices there is too little to tell: 0.
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


def break_even(mine: tuple[float, float], theirs: tuple[float, float]) -> float | None:
    """After how many epochs `mine` has caught up with `theirs`: 0 where it is ahead from the start, None for never.

    mine, theirs: (seconds before the first epoch, seconds an epoch), both of costs that grow as a straight line.
    """
    late, gain = mine[0] - theirs[0], theirs[1] - mine[1]
    if late <= 0:
        return 0.0
    return late / gain if gain > 0 else None


def quantile(samples: Sequence[float], share: float, confidence: float = 0.95) -> Estimate | None:
    """A quantile, such as the latency that 99 % stay below, with an interval that assumes no distribution.

    `numpy.quantile` with its median-unbiased rule (Hyndman and Fan 1996, definition 8); the interval is between two
    order statistics (Conover 1999), `scipy.stats.quantile_test`'s, and absent where no sample lies far enough out:
    at 95 % confidence the median needs 6 samples, the 95 % quantile 72, the 99 % quantile 368.
    """
    if not samples:
        return None
    value = float(np.quantile(samples, share, method="median_unbiased"))
    interval = stats.quantile_test(samples, q=value, p=share).confidence_interval(confidence)
    if not np.isfinite([interval.low, interval.high]).all():
        return Estimate(value)
    return Estimate(value, float(interval.low), float(interval.high))


# --- equivalence ------------------------------------------------------------------------------------------------------


class Equivalence(NamedTuple):
    """Do two means agree within a margin? `p` is the test's, `difference` has the 90 % interval that decides it."""

    difference: Estimate
    margin: float
    p: float | None
    spread: float | None  # standard deviation of the pairs' differences; one pair has none

    @property
    def equivalent(self) -> bool:
        """At the level of 5 %: the 90 % interval lies within the margin."""
        return self.p is not None and self.p < 0.05

    @property
    def pairs(self) -> int | None:
        """How many it would take for a power of 80 %, were there no difference; None where the spread is not known."""
        return None if self.spread is None else pairs_needed(self.spread, self.margin)


def equivalence(mine: Sequence[float], theirs: Sequence[float], margin: float) -> Equivalence:
    """Two one-sided t tests (TOST, Schuirmann 1987) of `mine - theirs`, paired by position, such as accuracies by seed.

    margin: what difference would matter, in the samples' unit. ValueError for no pairs or a margin that is not above 0.
    """
    gaps = np.subtract(mine, theirs)
    if not len(gaps) or margin <= 0:
        raise ValueError(f"{len(gaps)} pairs and a margin of {margin}: at least one pair, and a margin above 0")
    mean = float(gaps.mean())
    if len(gaps) == 1:
        return Equivalence(Estimate(mean), margin, None, None)
    spread = float(gaps.std(ddof=1))
    if spread <= 1e-12 * margin:  # rounding of equal differences; a t statistic would be one zero over another
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
    """How many pairs `equivalence` takes to find means equal that are, with this probability.

    spread: standard deviation of the pairs' differences. Each one-sided test has a noncentral t distribution; the
    chance that both reject is at least the sum of theirs less 1, and that is close (Phillips 1990). Simulated in
    docs/statistics.md.
    """

    if spread == 0:
        return 2

    def reached(pairs: int) -> bool:
        freedom = pairs - 1
        one = stats.nct.sf(stats.t.ppf(0.95, freedom), freedom, margin / spread * math.sqrt(pairs))
        return bool(2 * one - 1 >= power)

    most = 2
    while not reached(most):
        most *= 2
    return bisect_left(range(most + 1), True, lo=2, key=reached)
