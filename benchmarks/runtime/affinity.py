"""The CPU cores on which the workers of a launch run: the same for all workers, as many as threads.

The next launch uses other cores. In `onespec run`, a seed counts as a launch. The cores of a shared machine differ: the
same program took a third longer on one core than on another for a whole launch. If the system chooses, the two workers
of an A/A control may run on different cores and differ.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")  # sysfs; Documentation/admin-guide/cputopology.rst of the Linux kernel


def cores_of_launch(launch: int, threads: int, topology: Path = TOPOLOGY) -> list[int]:
    """The cores of a launch; empty if the system chooses, because it has no more cores or cannot pin a process.

    launch: counts from 1. Hyper-threads share arithmetic units, so one of each core is used before any second one.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if threads >= len(cores):
        return []
    firsts = list(dict.fromkeys(min(_siblings(core, topology) & set(cores)) for core in cores))
    cores = firsts if threads <= len(firsts) else cores
    start = (launch - 1) * threads
    return sorted(cores[(start + place) % len(cores)] for place in range(threads))


def pin(process: int, cores: Sequence[int]) -> None:
    """Run a process's threads, and those that they start, on these cores only; an empty list changes nothing.

    Raises nothing for a process that has ended: the next request to it reports that.
    """
    with contextlib.suppress(FileNotFoundError):
        for thread in os.listdir(f"/proc/{process}/task") if cores else ():
            with contextlib.suppress(ProcessLookupError):  # the thread has ended meanwhile
                os.sched_setaffinity(int(thread), cores)


def _siblings(core: int, topology: Path) -> set[int]:
    """The hyper-threads of one physical core, `core` among them."""
    file = topology / f"cpu{core}" / "topology" / "thread_siblings_list"
    if not file.exists():
        return {core}
    ranges = [part.partition("-") for part in file.read_text().strip().split(",")]
    return {core, *(sibling for low, _, high in ranges for sibling in range(int(low), int(high or low) + 1))}
