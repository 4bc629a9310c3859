"""The predecessor of a slice follows from the order of the rounds. Nothing is timed."""

from __future__ import annotations

from itertools import chain, pairwise

import pytest

from benchmarks.reporting.speed_cells import CellMeasurements, SpeedComparison
from benchmarks.runtime.contention import Contention
from benchmarks.runtime.interleaving import interleaved, rotated
from benchmarks.timing.samples import CONTROL_WORKLOAD
from research.predecessors import by_predecessor, rows
from tests import records

CELLS = {
    "a": records.speed_job(cell="a"),
    "b": records.speed_job(cell="b", control=True),
}
NAMES = {"torch", "torch (A/A control)", "control workload"}
ROUNDS = 24


@pytest.fixture
def group() -> SpeedComparison:
    """Two launches of a baseline, its A/A control and the control workload; after itself, each takes a tenth less."""
    measured = {name: CellMeasurements() for name in (*CELLS, CONTROL_WORKLOAD)}
    for number, launch in enumerate((3, 7)):
        order = list(
            chain.from_iterable(
                ((n, cell) for cell in order) for n, order in interleaved(rotated([*measured], number), ROUNDS)
            )
        )
        for (_, before), (n, cell) in pairwise([(0, ""), *order]):
            seconds = 0.9 if cell == before else 1.0
            measured[cell].add(records.timed_slice(cell, launch, n, seconds))
    return SpeedComparison([CELLS["a"]], CELLS["a"], CELLS["b"], measured)


def test_slices_are_grouped_by_predecessor(group: SpeedComparison) -> None:
    relative = by_predecessor(group)
    assert set(relative) == {(worker, before) for worker in NAMES for before in NAMES}
    for (worker, before), logs in relative.items():
        assert logs == pytest.approx([-0.105 if worker == before else 0.0] * len(logs), abs=1e-3)


def test_disturbed_slices_are_left_out(group: SpeedComparison, monkeypatch: pytest.MonkeyPatch) -> None:
    """All slices of a worker in one launch, and one slice in the other."""
    monkeypatch.setattr("benchmarks.runtime.contention.DISTURBED", 0.05)
    before = by_predecessor(group)
    contention = Contention(seconds=1.0, cpu_seconds=0.5, cores=1, waited_seconds=0.5)
    slices = group.measured["b"].slices
    for launch, numbers in ((3, range(ROUNDS)), (7, (5,))):
        for number in numbers:
            slices[launch][number] = records.timed_slice("b", launch, number, 9.0, contention=contention)
    group.measured["b"].__dict__.pop("rounds", None)  # cached
    after = by_predecessor(group)
    control = "torch (A/A control)"
    counts = [sum(len(logs) for (worker, _), logs in each.items() if worker == control) for each in (before, after)]
    assert counts[1] < counts[0] / 2
    assert all(max(map(abs, logs)) < 0.2 for logs in after.values())


def test_a_row_has_a_standard_error(group: SpeedComparison) -> None:
    table = {row[:2]: row[2:] for row in rows(by_predecessor(group))}
    assert table["torch", "torch"][1] == "-10.5 ± 0.0" and table["torch", "control workload"][1] == "+0.0 ± 0.0"
    slices = sum(int(count) for count, _ in table.values())
    assert slices < 3 * 2 * ROUNDS, "warm-up and the first slice of a launch are left out"
