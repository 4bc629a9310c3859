"""How much of the machine others took: by hand, and as the system tells it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.runtime.cpu_load import Moment, now, share

HERE = Path("/proc/stat")


@pytest.mark.parametrize(
    ("before", "after", "cores", "expected"),
    [
        (Moment(0, 100, 10), Moment(10, 115, 20), 2, 0.25),  # of 20 seconds 15 were at work, 10 of them ours
        (Moment(0, 100, 10), Moment(10, 110, 20), 2, 0.0),
        (Moment(0, 100, 10), Moment(10, 109, 20), 2, 0.0),  # the two clocks tick apart
        (Moment(0, 100, 10), Moment(10, 120, 10), 2, 1.0),
        (Moment(0, 100, 10), Moment(0, 100, 10), 2, None),
        (None, Moment(10, 109, 20), 2, None),
    ],
)
def test_share(before: Moment | None, after: Moment | None, cores: int, expected: float | None) -> None:
    assert share(before, after, cores) == expected


def test_idle_and_waiting_for_a_disk_are_no_work(tmp_path: Path) -> None:
    """user nice system idle iowait irq softirq steal, in hundredths of a second."""
    (tmp_path / "stat").write_text("cpu  100 200 300 4000 5000 1 2 3 7 7\ncpu0 1 2 3\n")
    found = now(tmp_path / "stat")
    assert found and found.busy == pytest.approx(6.06)
    assert now(tmp_path / "nowhere") is None


@pytest.mark.skipif(not HERE.exists(), reason="no /proc/stat: the system does not tell")
def test_own_work_is_seen() -> None:
    before = now()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    after = now()
    assert before and after and after.own - before.own >= 0.19
    assert after.busy > before.busy
