"""The memory budget of a verification lets computations begin while their estimates fit together."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from benchmarks.verification.cases import Case
from benchmarks.verification.memory_budget import MemoryBudget, memory_of
from frameworks.spec import Conv, Dense, Flatten, Network

SMALL = Network("small", (3, 8, 8), [Conv("conv", 4, 3), Flatten("flat"), Dense("head", 10)])


class Held:
    """A computation in a thread of its own, which goes on until `end` is called."""

    def __init__(self, budget: MemoryBudget, size: int) -> None:
        self.began, self._end = Event(), Event()
        self._thread = Thread(target=self._run, args=(budget, size))
        self._thread.start()

    def _run(self, budget: MemoryBudget, size: int) -> None:
        with budget.hold(size):
            self.began.set()
            self._end.wait()

    def end(self) -> None:
        self._end.set()
        self._thread.join()


def test_computations_that_fit_together_run_together() -> None:
    budget = MemoryBudget(10)
    both = [Held(budget, 4), Held(budget, 6)]
    assert all(each.began.wait(60) for each in both)
    for each in both:
        each.end()


@pytest.mark.parametrize("size", [7, 100])
def test_another_computation_waits_until_there_is_room(size: int) -> None:
    budget = MemoryBudget(10)
    first = Held(budget, 4)
    assert first.began.wait(60)
    second = Held(budget, size)
    assert not second.began.wait(0.1)
    first.end()
    assert second.began.wait(60), "a computation that is larger than the budget runs alone"
    second.end()


def test_a_failed_computation_gives_its_memory_back() -> None:
    budget = MemoryBudget(10)
    with pytest.raises(ZeroDivisionError), budget.hold(10):
        raise ZeroDivisionError
    after = Held(budget, 10)
    assert after.began.wait(60)
    after.end()


def test_the_estimate_grows_with_precision_batch_and_network() -> None:
    case = Case.for_network(SMALL, 0, 4)
    assert memory_of(case, "float64") == 2 * memory_of(case, "float32")
    assert memory_of(case.with_batch_size(8), "float32") > memory_of(case, "float32")
    wider = Network("wider", (3, 8, 8), [Conv("conv", 4, 3), Flatten("flat"), Dense("fc", 100), Dense("head", 10)])
    assert memory_of(Case.for_network(wider, 0, 4), "float32") > memory_of(case, "float32")
