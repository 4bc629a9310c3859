"""What the rounding experiment counts: only steps beyond the flat limit, in the size of the reference's own draws."""

from __future__ import annotations

import numpy as np

from benchmarks.timing.sanity_checks import LIMITS, ReferenceCheck
from research import rounding


def check() -> ReferenceCheck:
    rounding_ = np.array([1e-6, 1e-3, 2e-2])
    return ReferenceCheck(rounding.NETWORK, 2, 3, 0.1, np.arange(6), np.array([2.0, 2.0, 2.0]), rounding_)


def test_within_the_flat_limit_nothing_has_strayed() -> None:
    assert rounding.strayed(2.0 + np.array([1.9, 0.0, -1.9]) * LIMITS["float32"], check()) == 0.0


def test_the_worst_step_counts_in_draws() -> None:
    found = 2.0 + np.array([1e-4, 3e-3, -2e-2])  # the first is a hundred draws, but within the limit
    assert np.isclose(rounding.strayed(found, check()), 3.0)


def test_what_is_not_a_number_is_not_passed_over() -> None:
    assert not rounding.strayed(np.array([2.0, np.nan, 2.0]), check()) <= 4.0
