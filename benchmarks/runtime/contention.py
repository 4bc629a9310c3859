"""What other programs did to a slice, from the counters that a worker reads around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

import msgspec

Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]

TICK = 0.01  # seconds: the resolution of /proc/stat, whose USER_HZ is 100 on all common architectures (time(7))
TICKS = 2  # by which the counter of a core may be behind or ahead

# The fraction of its time that a slice may lose. TODO
DISTURBED = 0.05


class Contention(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of the kernel over a slice (`frameworks/contention.py`). None: the system does not have the counter.

    The counters are read around the slice, so `seconds` is slightly more than its time.
    """

    seconds: Seconds
    cpu_seconds: Seconds  # of all threads of the worker
    cores: Count  # that the worker may use; 0: not known
    waited_seconds: Seconds | None = None  # threads of the worker were runnable but did not run; sum over threads
    switches: Count | None = None  # involuntary context switches of the worker
    busy_seconds: Seconds | None = None  # these cores worked, for any program; sum over cores
    stolen_seconds: Seconds | None = None  # the hypervisor ran other machines on these cores
    stalled_seconds: Seconds | None = None  # any thread of the machine waited for a core

    @property
    def lost(self) -> float | None:
        """The time that other programs took from the slice, as a fraction of its time, at most 1; None: not known.

        A thread that waits for a core waits for another program, or for a thread of its own worker, which may have
        more threads than cores. So the time that others took is no longer than the waiting, no longer than the time
        that the cores did not work for this worker, and no longer than the work of other programs on these cores. The
        least of these bounds counts. What the hypervisor took is no waiting for the guest, so it is added.
        """
        waited = self.stalled_seconds if self.waited_seconds is None else self.waited_seconds
        if waited is None:
            return None
        bounds = [waited]
        if self.cores:
            bounds.append(max(0.0, self.cores * self.seconds - self.cpu_seconds))
        if self.other_seconds is not None:
            bounds.append(self.other_seconds)
        return min(1.0, (min(bounds) + (self.stolen_seconds or 0.0)) / max(self.seconds, 1e-9))

    @property
    def other_seconds(self) -> float | None:
        """CPU seconds of other programs on the cores of the worker; None: not known.

        A container may hide the work of the cores: then they seem to have done less than the worker alone.
        """
        if self.busy_seconds is None or self.busy_seconds < self.cpu_seconds - self.cores * TICKS * TICK:
            return None
        return max(0.0, self.busy_seconds - self.cpu_seconds)

    @property
    def disturbed(self) -> bool:
        """Whether the time of the slice says little about its program."""
        return (self.lost or 0.0) > DISTURBED


def load_of_others(slices: Iterable[Contention]) -> float | None:
    """The fraction of the workers' cores that other programs had during all these slices, 0 to 1; None: not known.

    Single slices are short against the resolution of the counters, sums over many slices are not.
    """
    known = [each for each in slices if each.other_seconds is not None and each.cores]
    available = sum(each.cores * each.seconds for each in known)
    if not available:
        return None
    others = sum((each.busy_seconds or 0.0) + (each.stolen_seconds or 0.0) - each.cpu_seconds for each in known)
    return min(1.0, max(0.0, others / available))
