"""What other programs did to a slice, from the counters that a worker reads around it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]

TICK = 0.01  # seconds: the resolution of /proc/stat, whose USER_HZ is 100 on all common architectures (time(7))

DISTURBED = 0.05  # fraction of its time that a slice may lose
IDLE = 0.02  # fraction of the cores that other programs may use without disturbing any slice


class Contention(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
        """The time that the slice lost by waiting for cores, as a fraction of its time, at most 1; None: not known.

        It is no longer than the threads waited, and no longer than the cores did not work for this worker: a worker
        with more threads than cores has threads that wait for each other while the cores are at work. What the
        hypervisor took is no waiting for the guest, so it is added.
        """
        waited = self.stalled_seconds if self.waited_seconds is None else self.waited_seconds
        if waited is None:
            return None
        free = max(0.0, self.cores * self.seconds - self.cpu_seconds) if self.cores else waited
        return min(1.0, (min(waited, free) + (self.stolen_seconds or 0.0)) / max(self.seconds, 1e-9))


def disturbed(slices: Sequence[Contention | None]) -> list[bool]:
    """Which of these slices say little about their program; slices: of one worker, and close in time.

    Threads of one worker can wait for each other although its cores are idle at other times. So no slice is disturbed
    if other programs hardly used the cores during all of them together: the counters are too coarse for one slice.
    """
    lost = [each is not None and (each.lost or 0.0) > DISTURBED for each in slices]
    if not any(lost):
        return lost
    known = [each for each in slices if each]
    rounding = TICK * math.sqrt(sum(each.cores for each in known))
    others, available = _others(known), sum(each.cores * each.seconds for each in known)
    if others is not None and others <= IDLE * available + rounding:
        return [False] * len(slices)
    return lost


class Disturbance(NamedTuple):
    """What other programs did to some slices."""

    slices: int  # whose contention is known
    disturbed: int
    load: float | None  # fraction of the workers' cores that other programs had, 0 to 1; None: not known


def disturbance(workers: Iterable[Sequence[Contention | None]]) -> Disturbance:
    """Of the slices of several workers or launches, each as in `disturbed`."""
    groups = [list(slices) for slices in workers]
    known = [each for slices in groups for each in slices if each]
    others, available = _others(known), sum(each.cores * each.seconds for each in known)
    return Disturbance(
        slices=len(known),
        disturbed=sum(sum(disturbed(slices)) for slices in groups),
        load=None if others is None else min(1.0, max(0.0, others / available)),
    )


def _others(slices: Sequence[Contention]) -> float | None:
    """CPU seconds of other programs and other machines on the cores of the workers; None: not known.

    A container may hide the work of the cores: then they seem to have worked less than the workers alone.
    """
    busy = [each.busy_seconds for each in slices if each.busy_seconds is not None and each.cores]
    own = sum(each.cpu_seconds for each in slices)
    if not busy or len(busy) < len(slices) or sum(busy) < own / 2 - TICK * len(busy):
        return None
    return sum(busy) + sum(each.stolen_seconds or 0.0 for each in slices) - own
