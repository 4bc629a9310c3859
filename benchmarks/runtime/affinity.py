"""Which cores the workers of a launch have: all of them the same, as many as threads; those of the next launch others.

In `benchmarks.run` a seed counts as a launch.

The cores of a shared machine are not alike: for a whole launch the same program took a third longer on one of them.
Left to the system, twins can live on different cores, and differ.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")  # sysfs; Documentation/admin-guide/cputopology.rst of the Linux kernel


def chosen(launch: int, threads: int, topology: Path = TOPOLOGY) -> list[int]:
    """The cores of a launch; empty where the choice is the system's: it has no more cores, or lets nobody choose.

    launch: counts from 1. Of cores that share their arithmetic units (hyper-threads), one is given before any other.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if threads >= len(cores):
        return []
    firsts = list(dict.fromkeys(min(_sharing(core, topology) & set(cores)) for core in cores))
    cores = firsts if threads <= len(firsts) else cores
    start = (launch - 1) * threads
    return sorted(cores[(start + place) % len(cores)] for place in range(threads))


def keep(process: int, cores: Sequence[int]) -> None:
    """From now on the process's threads, and those that they start, run on these cores alone; none: as they are.

    Nothing is raised for a process that has ended: the next thing asked of it tells how.
    """
    with contextlib.suppress(FileNotFoundError):
        for thread in os.listdir(f"/proc/{process}/task") if cores else ():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(int(thread), cores)


def _sharing(core: int, topology: Path) -> set[int]:
    """The cores that are one core's hyper-threads, itself among them."""
    told = topology / f"cpu{core}" / "topology" / "thread_siblings_list"
    if not told.exists():
        return {core}
    ranges = [part.partition("-") for part in told.read_text().strip().split(",")]
    return {core, *(each for low, _, high in ranges for each in range(int(low), int(high or low) + 1))}
