"""The CPU load of other programs: computed by hand, and read from the system."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.runtime.cpu_load import CpuTimes, cpu_times, load_of_others

HERE = Path("/proc/stat")


@pytest.mark.parametrize(
    ("before", "after", "cores", "expected"),
    [
        (
            CpuTimes(0, 100, 10),
            CpuTimes(10, 115, 20),
            2,
            0.25,
        ),  # 15 of 20 s busy, 10 s of them this process
        (CpuTimes(0, 100, 10), CpuTimes(10, 110, 20), 2, 0.0),
        (CpuTimes(0, 100, 10), CpuTimes(10, 109, 20), 2, 0.0),  # the two clocks have different ticks
        (CpuTimes(0, 100, 10), CpuTimes(10, 120, 10), 2, 1.0),
        (CpuTimes(0, 100, 10), CpuTimes(0, 100, 10), 2, None),
        (None, CpuTimes(10, 109, 20), 2, None),
    ],
)
def test_load_of_other_programs(
    before: CpuTimes | None, after: CpuTimes | None, cores: int, expected: float | None
) -> None:
    assert load_of_others(before, after, cores) == expected


def test_idle_and_waiting_for_a_disk_are_not_work(tmp_path: Path) -> None:
    """user nice system idle iowait irq softirq steal, in hundredths of a second."""
    (tmp_path / "stat").write_text("cpu  100 200 300 4000 5000 1 2 3 7 7\ncpu0 1 2 3\n")
    found = cpu_times(tmp_path / "stat")
    assert found and found.busy == pytest.approx(6.06)
    assert cpu_times(tmp_path / "nowhere") is None


@pytest.mark.skipif(not HERE.exists(), reason="no /proc/stat")
def test_work_of_this_process_is_counted() -> None:
    before = cpu_times()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    after = cpu_times()
    assert before and after and after.own - before.own >= 0.19
    assert after.busy > before.busy
