"""How a comparison divides its time among launches, with a fake clock."""

from __future__ import annotations

import pytest

from benchmarks.timing.budget import LAUNCHES, ROUNDS, LaunchBudget, launches_to_come


@pytest.mark.parametrize(
    "left, opening, round_, played, least, launches",
    [
        (50.0, 3.3, 0.12, [], 3, 9),  # the interval of fewer launches would be wider, in spite of more rounds
        (40.0, 12.0, 0.1, [], 3, 3),  # a fourth would leave no time for rounds
        (300.0, 10.0, 0.1, [], 3, 21),
        (300.0, 10.0, 2.0, [], 3, 12),  # long rounds need longer launches
        (20.0, 6.0, 0.1, [5.0] * 3, 0, 2),
        (18.0, 4.4, 0.1, [4.5, 5.0, 4.9, 3.7], 0, 3),
        (5.0, 6.0, 0.1, [5.0] * 3, 0, 0),  # not enough time to become ready
        (6.5, 6.0, 1.0, [5.0] * 3, 0, 0),  # ready, but no time for a whole round
        (5.0, 6.0, 0.1, [15.0], 2, 2),  # late, but fewer launches give no interval
        (-5.0, 6.0, 0.1, [5.0] * 3, 0, 0),
        (-5.0, 6.0, 0.1, [3.0] * 5, -2, 0),
    ],
)
def test_launches_share_the_seconds_that_are_left(
    left: float, opening: float, round_: float, played: list[float], least: int, launches: int
) -> None:
    assert launches_to_come(left, opening, round_, played, least) == launches


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now


def run_launch(budget: LaunchBudget, time: FakeTime, opening: float) -> None:
    """Open for some seconds, then use the rounds up to the limit."""
    time.now += opening
    budget.workers_ready(2.0, 0.1)
    time.now = max(time.now, budget.limit().until)
    budget.rounds_done()


def test_launches_end_with_the_budget() -> None:
    time = FakeTime()
    budget = LaunchBudget(60.0, time.clock)
    launches = 0
    while budget.begin_launch():
        run_launch(budget, time, opening=6.0 if launches == 0 else 2.0)
        launches += 1
    assert launches >= LAUNCHES and len(budget.played) == launches
    assert time.now - 100.0 <= 60.0 + 1e-9


def test_paused_time_does_not_count() -> None:
    time = FakeTime()
    budget = LaunchBudget(10.0, time.clock)
    with budget.paused():
        time.now += 1000.0
    assert budget.begin_launch() and budget.left == pytest.approx(10.0)


def test_the_fewest_launches_and_rounds_are_run_however_late_it_is() -> None:
    time = FakeTime()
    budget = LaunchBudget(1.0, time.clock)
    launches = 0
    while budget.begin_launch():
        run_launch(budget, time, opening=5.0)
        assert budget.limit().least == ROUNDS
        launches += 1
    assert launches == LAUNCHES


def test_the_least_time_counts_openings_and_rounds() -> None:
    time = FakeTime()
    budget = LaunchBudget(60.0, time.clock)
    budget.begin_launch()
    time.now += 7.0
    budget.workers_ready(opening=2.0, round_seconds=0.5)
    assert budget.least_seconds == pytest.approx(7.0 + (LAUNCHES - 1) * 2.0 + LAUNCHES * ROUNDS * 0.5)
