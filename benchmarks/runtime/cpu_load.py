"""How much of the machine other programs took while a run went on: what its speeds are worth."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; 3 and 4 are idle: proc(5), /proc/stat


@dataclass(frozen=True)
class Moment:
    """Seconds: of a clock, of all cores at work since the machine began, of this process and what it has waited for."""

    clock: float
    busy: float
    own: float


def now(stat: Path = Path("/proc/stat")) -> Moment | None:
    """None where the system does not tell, which is anywhere but on Linux."""
    if not stat.exists():
        return None
    ticks = stat.read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    busy = sum(int(ticks[field]) for field in BUSY) / os.sysconf("SC_CLK_TCK")
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Moment(time.monotonic(), busy, sum(one.ru_utime + one.ru_stime for one in used))


def share(before: Moment | None, after: Moment | None, cores: int) -> float | None:
    """Of the cores' time between two moments, what others had: 0 to 1. Both with no worker alive."""
    if before is None or after is None or after.clock <= before.clock:
        return None
    others = (after.busy - before.busy) - (after.own - before.own)
    return min(1.0, max(0.0, others / (cores * (after.clock - before.clock))))
