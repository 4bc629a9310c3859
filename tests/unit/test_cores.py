"""Which cores the workers of a launch have, on machines of several makes, and that a real process keeps to them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.runtime import affinity

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system lets nobody choose a core")


def machine(place: Path, monkeypatch: pytest.MonkeyPatch, siblings: dict[int, str]) -> Path:
    """A machine's topology as sysfs shows it: each core's hyper-threads."""
    for core, listed in siblings.items():
        folder = place / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(listed + "\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(siblings))
    return place


@pytest.mark.parametrize(
    "siblings, threads, launches",
    [
        (["0", "1"], 1, [[0], [1], [0]]),
        (["0", "1"], 2, [[], []]),
        (["0", "1", "2", "3"], 2, [[0, 1], [2, 3], [0, 1]]),
        (["0", "1", "2"], 2, [[0, 1], [0, 2], [1, 2]]),
        (["0-1", "0-1", "2-3", "2-3"], 1, [[0], [2], [0]]),
        (["0,2", "1,3", "0,2", "1,3"], 2, [[0, 1], [0, 1]]),
        (["0,2", "1,3", "0,2", "1,3"], 3, [[0, 1, 2], [0, 1, 3]]),
    ],
)
def test_launches_have_as_many_cores_as_threads_in_turns(
    siblings: list[str], threads: int, launches: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = machine(tmp_path, monkeypatch, dict(enumerate(siblings)))
    assert [affinity.chosen(number, threads, place) for number in range(1, len(launches) + 1)] == launches


def test_a_machine_that_does_not_tell_its_topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 5})
    assert [affinity.chosen(number, 1, tmp_path) for number in (1, 2)] == [[2], [5]]


def test_a_process_keeps_to_its_cores_with_all_threads_even_new_ones() -> None:
    core = max(os.sched_getaffinity(0))
    code = """
import os, threading
wait = threading.Event()
old = threading.Thread(target=wait.wait, daemon=True)  # else an error here would leave a process that never ends
old.start()
print(flush=True)
input()
found = []
new = threading.Thread(target=lambda: found.append(os.sched_getaffinity(0)))
new.start(); new.join()
# By name: /proc/self/task has a thread that has ended for a moment yet.
found += [os.sched_getaffinity(task) for task in (0, old.native_id)]
print(found)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        affinity.keep(process.pid, [core])
        affinity.keep(process.pid, [])  # changes nothing
        told, _ = process.communicate("\n")
    found = ast.literal_eval(told)
    assert len(found) == 3 and all(each == {core} for each in found)


def test_a_process_that_has_ended_is_passed_over() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    affinity.keep(process.pid, [0])
