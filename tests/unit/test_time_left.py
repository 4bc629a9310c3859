"""The estimate of the time that a verification still takes."""

from __future__ import annotations

import pytest

from benchmarks.verification.time_left import WorkEstimate, cost
from benchmarks.verify import _left
from frameworks.networks import NETWORKS


def test_the_time_left_is_proportional_to_the_cost() -> None:
    now = 0.0
    estimate = WorkEstimate({"small": 1.0, "large": 9.0}, 2, clock=lambda: now)
    now = 10.0
    assert estimate.finished("small") == (1, 4, pytest.approx(10.0 * 19))
    now = 20.0
    assert estimate.finished("small") == (2, 4, pytest.approx(20.0 / 2 * 18))
    now = 200.0
    assert estimate.finished("large") == (3, 4, pytest.approx(200.0 / 11 * 9))
    assert estimate.finished("large") == (4, 4, 0.0)


@pytest.mark.parametrize("seconds, text", [
    (840.0, "2 of 3; about 14 min left"),
    (20.0, "2 of 3; about 20 s left"),
])  # fmt: skip
def test_the_time_left_in_words(seconds: float, text: str) -> None:
    now = 0.0
    estimate = WorkEstimate({"a": 1.0, "b": 1.0, "c": 1.0}, 1, clock=lambda: now)
    now = seconds
    estimate.finished("a")
    now = 2 * seconds
    assert _left(estimate.finished("b")) == text
    assert _left(estimate.finished("c")) == "3 of 3"


def test_a_larger_network_costs_more() -> None:
    costs = [cost(NETWORKS[name]()) for name in ("mlp", "lenet", "vgg16")]
    assert costs == sorted(costs)
