"""The CPU load of other programs: during a whole run, and which programs they are before a run begins."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; 3 and 4 are idle: proc(5), /proc/stat

NOTICEABLE = 0.1  # of a core: a program that uses less disturbs few slices
SAMPLE = 0.3  # seconds: long against the resolution of the times, 0.01 s
MOST_NAMED = 4


@dataclass(frozen=True)
class CpuTimes:
    """Clock and CPU times at one moment, in seconds."""

    clock: float  # monotonic
    busy: float  # all cores at work, since the system started
    own: float  # this process and its finished children


def cpu_times(stat: Path = Path("/proc/stat")) -> CpuTimes | None:
    """The times now; None where the system has no /proc/stat, which is everywhere but on Linux."""
    if not stat.exists():
        return None
    ticks = stat.read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    busy = sum(int(ticks[field]) for field in BUSY) / os.sysconf("SC_CLK_TCK")
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return CpuTimes(time.monotonic(), busy, sum(usage.ru_utime + usage.ru_stime for usage in usages))


def load_of_others(before: CpuTimes | None, after: CpuTimes | None, cores: int) -> float | None:
    """The fraction of the cores' time that other programs used, 0 to 1. No worker may be alive at either moment."""
    if before is None or after is None or after.clock <= before.clock:
        return None
    used = (after.busy - before.busy) - (after.own - before.own)
    return min(1.0, max(0.0, used / (cores * (after.clock - before.clock))))


# --- which programs --------------------------------------------------------------------------------------------------


class Program(NamedTuple):
    """The processes of one name, and the cores that they kept busy on average."""

    name: str
    processes: int
    cores: float


class Process(NamedTuple):
    name: str
    parent: int  # process id
    seconds: float  # of CPU time


@dataclass(frozen=True)
class ProcessTimes:
    """All visible processes at one moment."""

    clock: float  # monotonic, in seconds
    processes: dict[int, Process]  # by process id


def process_times(proc: Path = Path("/proc")) -> ProcessTimes:
    """The processes now; none where the system has no /proc."""
    processes = {}
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            # proc(5): `pid (name) state ppid ...`; fields 14 and 15 are user and system time. A name may have brackets.
            start, _, rest = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")
            fields = rest.split()
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            processes[int(stat.parent.name)] = Process(start.partition("(")[2], int(fields[1]), seconds)
    return ProcessTimes(time.monotonic(), processes)


def busy_programs(before: ProcessTimes, after: ProcessTimes, own: int) -> list[Program]:
    """The other programs that kept at least `NOTICEABLE` of a core busy, the busiest first.

    own: a process id; this process and its descendants are left out.
    """
    cores: defaultdict[str, list[float]] = defaultdict(list)
    elapsed = max(after.clock - before.clock, 1e-9)
    for number, process in after.processes.items():
        earlier = before.processes.get(number)
        if earlier and process.seconds > earlier.seconds and not _descends(number, own, after.processes):
            cores[process.name].append((process.seconds - earlier.seconds) / elapsed)
    programs = [Program(name, len(each), sum(each)) for name, each in cores.items() if sum(each) >= NOTICEABLE]
    return sorted(programs, key=lambda program: -program.cores)


def _descends(number: int, ancestor: int, processes: Mapping[int, Process]) -> bool:
    while number in processes and number != ancestor:
        number = processes[number].parent
    return number == ancestor


def hint(programs: Sequence[Program], cores: int) -> str | None:
    """A line that names the programs beside a measurement and says what to do about them; None without programs."""
    if not programs:
        return None
    count = sum(program.processes for program in programs)
    named = ", ".join(f"{program.name} {program.cores:.2f}" for program in programs[:MOST_NAMED])
    rest = ", ..." if len(programs) > MOST_NAMED else ""
    subject, object_ = ("other processes use", "them") if count > 1 else ("other process uses", "it")
    used = f"{sum(program.cores for program in programs):.2f} of {cores} {'cores' if cores > 1 else 'core'}"
    return f"{count} {subject} {used} ({named}{rest}); stop {object_}, or expect that speeds are withheld"


def hint_since(before: ProcessTimes, cores: int) -> str | None:
    """The hint for this process, from what has run since `before`, or for `SAMPLE` seconds if that is longer."""
    if not before.processes:
        return None
    time.sleep(max(0.0, SAMPLE - (time.monotonic() - before.clock)))
    return hint(busy_programs(before, process_times(), os.getpid()), cores)
