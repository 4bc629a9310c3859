"""The CPU load of other programs, and which they are: computed by hand, and read from the system."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.runtime.cpu_load import (
    CpuTimes,
    Process,
    ProcessTimes,
    Program,
    busy_programs,
    cpu_times,
    hint,
    hint_since,
    load_of_others,
    process_times,
)

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


# --- which programs are busy ------------------------------------------------------------------------------------------


def stat_line(name: str, parent: int, user: int, system: int) -> str:
    """Field 1 to 17 of /proc/PID/stat; the times are in hundredths of a second."""
    return f"9 ({name}) R {parent} 1 1 0 -1 0 5 5 5 5 {user} {system} 7 7"


def test_processes_are_read_with_any_name(tmp_path: Path) -> None:
    for number, name in (("7", "python"), ("8", "a) R 1 (b c")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "stat").write_text(stat_line(name, 7, 250, 50))
    (tmp_path / "self").mkdir()
    assert process_times(tmp_path).processes == {7: Process("python", 7, 3.0), 8: Process("a) R 1 (b c", 7, 3.0)}
    assert process_times(tmp_path / "nowhere").processes == {}


def test_busy_programs_are_those_that_do_not_belong_to_this_process() -> None:
    names = {1: ("init", 0), 2: ("own", 1), 3: ("worker", 2), 4: ("chrome", 1), 5: ("chrome", 4), 6: ("idle", 1)}
    before = ProcessTimes(10.0, {number: Process(*who, 5.0) for number, who in names.items()})
    seconds = {1: 5.0, 2: 9.0, 3: 9.0, 4: 5.1, 5: 5.9, 6: 5.05}
    after = ProcessTimes(12.0, {number: Process(*who, seconds[number]) for number, who in names.items()})
    after.processes[7] = Process("new", 1, 9.0)  # when it started is not known
    (chrome,) = busy_programs(before, after, own=2)
    assert chrome == Program("chrome", 2, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("programs", "cores", "line"),
    [
        ([], 2, None),
        (
            [Program("python", 1, 0.98), Program("chrome", 1, 0.45)],
            2,
            "2 other processes use 1.43 of 2 cores (python 0.98, chrome 0.45); stop them, or expect that speeds are "
            "withheld",
        ),
        (
            [Program("make", 1, 0.98)],
            1,
            "1 other process uses 0.98 of 1 core (make 0.98); stop it, or expect that speeds are withheld",
        ),
        (
            [Program(name, 2, 0.25) for name in "abcde"],
            4,
            "10 other processes use 1.25 of 4 cores (a 0.25, b 0.25, c 0.25, d 0.25, ...); stop them, or expect that "
            "speeds are withheld",
        ),
    ],
)
def test_a_hint_names_the_programs_and_the_remedy(programs: list[Program], cores: int, line: str | None) -> None:
    assert hint(programs, cores) == line


def test_without_visible_processes_there_is_no_hint() -> None:
    assert hint_since(ProcessTimes(0.0, {}), 2) is None
