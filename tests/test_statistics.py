"""Means and intervals of speeds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.statistics import geometric_mean, paired_ratio


def test_no_samples_give_no_estimate() -> None:
    assert geometric_mean([]) is None


def test_one_sample_has_no_spread() -> None:
    assert geometric_mean([3.0]) == (3.0, None, None)


def test_equal_samples_have_an_interval_of_no_width() -> None:
    assert geometric_mean([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_two_samples_by_hand() -> None:
    """Logs 0 and 2 ln 2: mean ln 2, standard error ln 2; t of one degree of freedom at 97.5 % is 12.706."""
    value, low, high = geometric_mean([1.0, 4.0])  # type: ignore[misc]
    assert value == pytest.approx(2.0)
    assert low == pytest.approx(2 ** (1 - 12.7062), rel=1e-3)
    assert high == pytest.approx(2 ** (1 + 12.7062), rel=1e-3)


def test_drift_cancels_within_pairs() -> None:
    drift = np.linspace(1, 3, 10)
    estimate = paired_ratio(list(2 * drift), list(drift))
    assert estimate == pytest.approx((2.0, 2.0, 2.0))


def test_unpaired_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        paired_ratio([1.0], [1.0, 2.0])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """95 % of 2,000 intervals, give or take three standard errors of that count (1.5 points)."""
    stream = np.random.default_rng(0)
    found = [geometric_mean(list(np.exp(stream.normal(0, 0.1, 10)))) for _ in range(2_000)]
    covered = np.mean([low <= 1 <= high for _, low, high in found])  # type: ignore[misc]
    assert abs(covered - 0.95) < 0.015
