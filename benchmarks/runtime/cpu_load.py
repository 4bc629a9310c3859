"""The CPU load of other programs during a run: the more load, the less its speeds are worth."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; 3 and 4 are idle: proc(5), /proc/stat


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
