"""The rounding experiment counts only steps beyond the constant limit, in units of the reference's own draws."""

from __future__ import annotations

import numpy as np

from benchmarks.timing.sanity_checks import LIMITS, ReferenceCheck
from research import rounding


def check() -> ReferenceCheck:
    rounding_ = np.array([1e-6, 1e-3, 2e-2])
    return ReferenceCheck(rounding.NETWORK, 2, 3, 0.1, np.arange(6), np.array([2.0, 2.0, 2.0]), rounding_)


def test_an_error_within_the_constant_limit_counts_as_0() -> None:
    assert rounding.error_in_draws(2.0 + np.array([1.9, 0.0, -1.9]) * LIMITS["float32"], check()) == 0.0


def test_the_error_of_the_worst_step_is_in_draws() -> None:
    results = 2.0 + np.array([1e-4, 3e-3, -2e-2])  # the first error is a hundred draws, but within the limit
    assert np.isclose(rounding.error_in_draws(results, check()), 3.0)


def test_nan_is_not_within_the_limit() -> None:
    assert not rounding.error_in_draws(np.array([2.0, np.nan, 2.0]), check()) <= 4.0
