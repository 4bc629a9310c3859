"""The cores of a launch on several topologies, and a real process pinned to them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.runtime import affinity

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin a process")


def machine(place: Path, monkeypatch: pytest.MonkeyPatch, siblings: dict[int, str]) -> Path:
    """A topology as sysfs shows it: the hyper-threads of each core."""
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
def test_launches_rotate_over_the_cores(
    siblings: list[str], threads: int, launches: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = machine(tmp_path, monkeypatch, dict(enumerate(siblings)))
    assert [affinity.cores_of_launch(number, threads, place) for number in range(1, len(launches) + 1)] == launches


def test_a_machine_without_a_topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 5})
    assert [affinity.cores_of_launch(number, 1, tmp_path) for number in (1, 2)] == [[2], [5]]


def test_all_threads_of_a_process_are_pinned_including_new_threads() -> None:
    core = max(os.sched_getaffinity(0))
    code = """
import os, threading
wait = threading.Event()
old = threading.Thread(target=wait.wait, daemon=True)  # otherwise an error here would leave a process that never ends
old.start()
print(flush=True)
input()
masks = []
new = threading.Thread(target=lambda: masks.append(os.sched_getaffinity(0)))
new.start(); new.join()
# By name: /proc/self/task lists a thread for a moment after it has ended.
masks += [os.sched_getaffinity(task) for task in (0, old.native_id)]
print(masks)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        affinity.pin(process.pid, [core])
        affinity.pin(process.pid, [])  # changes nothing
        output, _ = process.communicate("\n")
    masks = ast.literal_eval(output)
    assert len(masks) == 3 and all(each == {core} for each in masks)


def test_a_process_that_has_ended_is_ignored() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    affinity.pin(process.pid, [0])
