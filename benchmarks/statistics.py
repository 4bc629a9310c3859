"""The statistics of a report. Speeds are compared as ratios, on a logarithmic scale, and within rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


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
    if np.ptp(logs) == 0:
        return Estimate(float(samples[0]), float(samples[0]), float(samples[0]))
    interval = stats.ttest_1samp(logs, 0.0).confidence_interval(confidence)
    return Estimate(float(np.exp(logs.mean())), float(np.exp(interval.low)), float(np.exp(interval.high)))


def paired_ratio(mine: Sequence[float], theirs: Sequence[float]) -> Estimate | None:
    """How many times faster `mine` is than `theirs`, samples paired by position: what drifts cancels within a pair."""
    return geometric_mean([a / b for a, b in zip(mine, theirs, strict=True)])
