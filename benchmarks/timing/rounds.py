"""Samples of interleaved workers: seconds per image by launch and round, and the rounds that can be paired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from benchmarks.timing.statistics import Estimate, Launches, geometric_mean, launches_ratio, warm_up

Rounds: TypeAlias = dict[int, dict[int, float]]  # launch, then round: seconds per image


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
