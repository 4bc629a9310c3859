"""Who ran just before a slice is told from the order of turns. Nothing is timed."""

from __future__ import annotations

from itertools import chain, pairwise

import pytest

from benchmarks.reporting.speed_report import Comparison, Measured
from benchmarks.timing.schedule import rotated, turns
from benchmarks.timing.speed_run import CALIBRATION
from research.neighbours import followed, rows

CELLS = {
    "a": {"cell": "a", "framework": "torch", "twin": False},
    "b": {"cell": "b", "framework": "torch", "twin": True},
}
ROUNDS = 24


@pytest.fixture
def group() -> Comparison:
    """Two launches of a baseline, its twin and the calibration: who follows itself takes a tenth less."""
    measured = {name: Measured() for name in (*CELLS, CALIBRATION)}
    for number, launch in enumerate((3, 7)):
        order = list(
            chain.from_iterable(
                ((n, cell) for cell in order) for n, order in turns(rotated([*measured], number), ROUNDS)
            )
        )
        for (_, before), (n, cell) in pairwise([(0, ""), *order]):
            seconds = 0.9 if cell == before else 1.0
            measured[cell].add({"event": "slice", "launch": launch, "round": n, "pictures": 1, "seconds": seconds})
    return Comparison([CELLS["a"]], CELLS["a"], CELLS["b"], measured)


def test_who_follows_itself_is_told(group: Comparison) -> None:
    found = followed(group)
    names = {"torch", "torch (twin)", CALIBRATION}
    assert set(found) == {(mine, before) for mine in names for before in names}
    for (mine, before), logs in found.items():
        assert logs == pytest.approx([-0.105 if mine == before else 0.0] * len(logs), abs=1e-3)


def test_a_row_has_its_error(group: Comparison) -> None:
    told = {row[:2]: row[2:] for row in rows(followed(group))}
    assert told["torch", "torch"][1] == "-10.5 ± 0.0" and told["torch", CALIBRATION][1] == "+0.0 ± 0.0"
    assert sum(int(count) for count, _ in told.values()) < 3 * 2 * ROUNDS  # warm-up and the very first are left out
