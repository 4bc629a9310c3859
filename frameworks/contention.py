"""How much a piece of work was disturbed by other programs: what the kernel counted before it and after it.

On Linux, `/proc/self/task/*/schedstat` has the time that each thread waited on a run queue (schedstats of the kernel's
documentation, sched-stats.rst), and `/proc/stat` the time that each core was at work (proc(5)). A source that the
system does not have, or that a container hides, gives None. The module needs the standard library alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
# Columns of /proc/stat. Time of a guest is part of user time, so it is left out; 3 and 4 are idle.
BUSY, STEAL = (0, 1, 2, 5, 6), 7


class Reading(NamedTuple):
    """The counters at one moment, in seconds. A pair of readings gives what happened between them."""

    clock: float
    cpu: float  # of this process, all threads
    waited: dict[str, float] | None  # by thread: runnable, but not running
    switches: int | None  # involuntary context switches of this process
    cores: frozenset[int]  # that this process may use
    busy: float | None  # work of all programs on these cores
    stolen: float | None  # by other virtual machines, of these cores
    stalled: float | None  # any program of the machine waited for a core


def read(proc: Path = PROC) -> Reading:
    """The counters now."""
    cores = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
    busy, stolen = _core_times(proc / "stat", cores)
    return Reading(
        clock=time.perf_counter(),
        cpu=time.process_time(),
        waited=_waited(proc / "self" / "task"),
        switches=_involuntary_switches(),
        cores=cores,
        busy=busy,
        stolen=stolen,
        stalled=_stalled(proc / "pressure" / "cpu"),
    )


def between(before: Reading, after: Reading) -> dict[str, float | int | None] | None:
    """What happened between two readings, as the worker answers it; None where the system counts no waiting.

    Waiting of a thread that ended in between is lost, because its counter went with it.
    """
    waited = None
    if before.waited is not None and after.waited is not None:
        known = before.waited
        # The id of a thread that has ended may be that of a new one, whose counter begins at 0.
        waited = sum(max(0.0, seconds - known.get(thread, 0.0)) for thread, seconds in after.waited.items())
    stalled = _difference(before.stalled, after.stalled)
    if waited is None and stalled is None:
        return None
    return {
        "seconds": after.clock - before.clock,
        "cpu_seconds": after.cpu - before.cpu,
        "cores": len(after.cores),
        "waited_seconds": waited,
        "switches": None if before.switches is None or after.switches is None else after.switches - before.switches,
        "busy_seconds": _difference(before.busy, after.busy),
        "stolen_seconds": _difference(before.stolen, after.stolen),
        "stalled_seconds": stalled,
    }


def _difference(before: float | None, after: float | None) -> float | None:
    """Counters of the kernel can run backwards by a tick: proc(5) says so of /proc/stat."""
    return None if before is None or after is None else max(0.0, after - before)


def _waited(tasks: Path) -> dict[str, float] | None:
    """Seconds on a run queue by thread; None where the kernel does not count them."""
    waited = dict(_waits(tasks))
    return waited or None


def _waits(tasks: Path) -> Iterator[tuple[str, float]]:
    with suppress(FileNotFoundError):
        for thread in os.listdir(tasks):
            with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
                fields = (tasks / thread / "schedstat").read_bytes().split()
                yield thread, int(fields[1]) / 1e9


def _involuntary_switches() -> int | None:
    try:
        import resource
    except ImportError:  # on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _core_times(stat: Path, cores: frozenset[int]) -> tuple[float | None, float | None]:
    """Seconds at work, and seconds stolen, of these cores together; None where the system does not say."""
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
    except OSError:
        return None, None
    names = {f"cpu{core}" for core in cores}
    times = [line.split()[1:] for line in lines if line.startswith("cpu") and line.partition(" ")[0] in names]
    if len(times) < len(names) or not times:
        return None, None
    tick = os.sysconf("SC_CLK_TCK")
    busy = sum(int(core[column]) for core in times for column in BUSY) / tick
    return busy, sum(int(core[STEAL]) for core in times) / tick


def _stalled(pressure: Path) -> float | None:
    """Seconds of pressure stall information, the line `some`; None where the kernel does not count them."""
    try:
        some = pressure.read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return None
    return int(some.rpartition("=")[2]) / 1e6
