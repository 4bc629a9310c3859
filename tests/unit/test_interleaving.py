"""The measuring loop: the order of slices, limits and hooks, with fake workers and a fake clock."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from benchmarks.runtime.interleaving import Limit, Measurement, interleaved, measure, play_rounds, rotated


def test_rounds_alternate_direction_and_shift_the_order() -> None:
    assert ["".join(order) for _, order in interleaved("ABC", 7)] == ["ABC", "CBA", "BCA", "ACB", "CAB", "BAC", "ABC"]


@pytest.mark.parametrize("names", ["A", "AB", "ABC", "ABCD", "ABCDE", "ABCDEF"])
def test_positions_and_predecessors_are_balanced(names: str) -> None:
    rounds = [order for _, order in interleaved(names, 2 * len(names))]
    assert all(set(order) == set(names) for order in rounds)
    for first, second in zip(rounds[::2], rounds[1::2]):
        assert first == second[::-1], "a linear drift cancels in each pair of rounds"
    assert set(Counter((order.index(name), name) for order in rounds for name in names).values()) == {2}
    within = Counter(pair for order in rounds for pair in pairwise(order))
    assert len(within) == len(names) * (len(names) - 1) and set(within.values()) <= {2}  # a single worker has no pair
    sequence = [name for order in [*rounds, rounds[0]] for name in order]
    repeated = Counter(name for name, following in pairwise(sequence) if name == following)
    assert len({repeated[name] for name in names}) == 1, "every worker follows itself equally often"


def test_every_launch_begins_with_another_worker() -> None:
    assert [rotated("ABC", launch) for launch in range(4)] == [list("ABC"), list("BCA"), list("CAB"), list("ABC")]


def test_rounds_can_begin_later() -> None:
    assert list(interleaved("AB", 3, first=1)) == [(1, ["B", "A"]), (2, ["B", "A"])]


# --- rounds of one launch ---------------------------------------------------------------------------------------------


class FakeWorkers:
    """A clock that only slices advance, and a log of what happened."""

    def __init__(self, seconds: dict[str, float], fails: tuple[str, int] | None = None) -> None:
        self.seconds, self.fails = seconds, fails
        self.now, self.log, self.in_slice = 0.0, [], False

    def clock(self) -> float:
        assert not self.in_slice, "the clock was read during a slice"
        self.log.append("clock")
        return self.now

    def play(self, worker: str, number: int) -> bool:
        self.in_slice = True
        self.now += self.seconds[worker]
        self.in_slice = False
        self.log.append(f"{worker}{number}")
        return (worker, number) != self.fails

    def run(self, limit: Limit) -> int:
        return play_rounds(list(self.seconds), self.play, limit, self.clock)

    @property
    def slices(self) -> list[str]:
        return [entry for entry in self.log if entry != "clock"]


def test_rounds_run_until_the_time_is_up() -> None:
    workers = FakeWorkers({"A": 1.0, "B": 2.0, "C": 1.0})
    assert workers.run(Limit(until=12.0)) == 3
    assert workers.slices == ["A0", "B0", "C0", "C1", "B1", "A1", "B2", "C2", "A2"]


def test_a_round_that_would_end_too_late_is_not_begun() -> None:
    workers = FakeWorkers({"A": 1.0, "B": 2.0})
    assert workers.run(Limit(until=8.9)) == 2 and workers.now == 6.0


def test_the_minimum_of_rounds_ignores_the_clock() -> None:
    assert FakeWorkers({"A": 5.0}).run(Limit(until=0.0, least=2)) == 2


def test_a_number_of_rounds_is_a_limit_too() -> None:
    workers = FakeWorkers({"A": 1.0, "B": 1.0})
    assert workers.run(Limit(rounds=3)) == 3 and len(workers.slices) == 6


def test_the_clock_is_read_only_between_rounds() -> None:
    workers = FakeWorkers({"A": 1.0, "B": 1.0})
    workers.run(Limit(until=4.0))
    assert workers.log == ["clock", "A0", "B0", "clock", "B1", "A1", "clock"]


def test_a_worker_that_fails_leaves_the_rounds_and_the_others_continue() -> None:
    workers = FakeWorkers({"A": 1.0, "B": 1.0, "C": 1.0}, fails=("B", 1))
    assert workers.run(Limit(until=9.0)) == 3
    assert workers.slices == ["A0", "B0", "C0", "C1", "B1", "A1", "C2", "A2"]


def test_the_rounds_end_when_all_workers_have_failed() -> None:
    assert FakeWorkers({"A": 1.0}, fails=("A", 0)).run(Limit(until=100.0, least=5)) == 1


# --- launches ---------------------------------------------------------------------------------------------------------


class Logged(Measurement[str]):
    """Two workers, of which B cannot be opened in launch `broken`, and none in launch `dead`."""

    def __init__(self, launches: int, broken: int = -1, dead: int = -1) -> None:
        self.launches, self.broken, self.dead = launches, broken, dead
        self.log: list[str] = []

    def wants_launch(self, launch: int) -> bool:
        return launch < self.launches

    def open(self, launch: int, stack: contextlib.ExitStack) -> Sequence[str]:
        self.log.append(f"open {launch}")
        stack.callback(self.log.append, f"close {launch}")
        return [] if launch == self.dead else ["A"] if launch == self.broken else ["A", "B"]

    def limit(self) -> Limit:
        return Limit(rounds=2)

    def play(self, worker: str, number: int) -> bool:
        self.log.append(f"{worker}{number}")
        return True

    def finish(self, launch: int, workers: Sequence[str]) -> None:
        self.log.append(f"finish {launch} {''.join(workers)}")


def test_the_hooks_of_a_launch_are_called_in_order() -> None:
    measurement = Logged(launches=2, broken=1)
    measure(measurement)
    first = ["open 0", "A0", "B0", "B1", "A1", "finish 0 AB", "close 0"]
    assert measurement.log == [*first, "open 1", "A0", "A1", "finish 1 A", "close 1"]


def test_a_launch_without_workers_ends_the_measurement() -> None:
    measurement = Logged(launches=3, dead=1)
    measure(measurement)
    assert measurement.log[-2:] == ["open 1", "close 1"] and "open 2" not in measurement.log
