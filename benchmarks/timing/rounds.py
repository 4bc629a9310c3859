"""Samples of interleaved workers: seconds per image by launch and round, and the rounds that can be paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from benchmarks.runtime.worker_client import Calls, Slice
from benchmarks.timing.statistics import Estimate, Launches, geometric_mean, launches_ratio, warm_up

Rounds: TypeAlias = dict[int, dict[int, float]]  # launch, then round: seconds per image


@dataclass(frozen=True)
class TimedSlice:
    """A slice as it is recorded. Seconds: of the slice, and of the idle time since the worker's previous answer."""

    images: int
    seconds: float
    cpu_seconds: float  # of all threads
    idle_seconds: float
    idle_cpu_seconds: float
    calls: Sequence[float] | None = None  # seconds of each call, if a call takes a single image

    @staticmethod
    def from_answer(answer: Slice | Calls, images: int, calls: Sequence[float] | None = None) -> TimedSlice:
        """From a worker's answer."""
        times = (answer.seconds, answer.cpu_seconds, answer.idle_seconds, answer.idle_cpu_seconds)
        return TimedSlice(images, *times, calls)

    @staticmethod
    def from_record(line: Mapping[str, Any]) -> TimedSlice:
        """From a line of `cells.jsonl`."""
        return TimedSlice(
            line["pictures"],
            line["seconds"],
            line["cpu_seconds"],
            line["idle_seconds"],
            line["idle_cpu_seconds"],
            line.get("calls"),
        )

    def record(self) -> dict[str, Any]:
        """As in a line of `cells.jsonl`."""
        calls = {} if self.calls is None else {"calls": list(self.calls)}
        return {
            "pictures": self.images,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "idle_seconds": self.idle_seconds,
            "idle_cpu_seconds": self.idle_cpu_seconds,
            **calls,
        }


def paired(*workers: Rounds) -> tuple[Launches, ...]:
    """The samples of each worker in the rounds that all of them have, by launch, after the warm-up of all of them."""
    launches = []
    for launch in sorted(set.intersection(*(set(rounds) for rounds in workers))):
        samples = [rounds[launch] for rounds in workers]
        start = max(map(steady, samples))
        shared = [number for number in sorted(set.intersection(*map(set, samples))) if number >= start]
        if shared:
            launches.append([[rounds[number] for number in shared] for rounds in samples])
    return tuple(list(each) for each in zip(*launches)) if launches else tuple([] for _ in workers)


def baseline_workers(baseline: Rounds, control: Rounds) -> list[Rounds]:
    """The workers that the others are compared with: the baseline, and its A/A control if it ran in every launch."""
    return [baseline, control] if control.keys() == baseline.keys() else [baseline]


def relative_speed(worker: Rounds, baseline: Rounds, control: Rounds) -> Estimate | None:
    """How many times faster a worker is than the baseline; None if they share no steady round."""
    return launches_ratio(*paired(worker, *baseline_workers(baseline, control)))


def speed(rounds: Rounds) -> Estimate | None:
    """Images per second: the median of each launch, and the geometric mean of these over launches."""
    launches, _ = paired(rounds, rounds)
    return geometric_mean([1 / float(np.median(launch)) for launch in launches])


def steady(rounds: Mapping[int, float]) -> int:
    """The first round after the warm-up; the middle one if the warm-up has no visible end."""
    numbers = sorted(rounds)
    end = warm_up([rounds[number] for number in numbers])
    return numbers[len(numbers) // 2 if end is None else end]
