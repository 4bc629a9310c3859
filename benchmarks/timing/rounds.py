"""Samples of interleaved workers: seconds per image by launch and round, and the rounds that can be paired.

Interleaving does not protect from other programs: two frameworks that lose the same cores for the same time are slowed
by different factors, above all if the threads of one wait for each other. So disturbed slices do not count, and nothing
is computed from a run in which too few are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from benchmarks.records.events import TimedSlice
from benchmarks.runtime.contention import disturbed
from benchmarks.timing.budget import LAUNCHES
from benchmarks.timing.statistics import Estimate, Launches, geometric_mean, launches_ratio, warm_up

Rounds: TypeAlias = dict[int, dict[int, float | None]]  # launch, then round: seconds per image; None: disturbed

# A launch with fewer undisturbed rounds does not count: those between bursts of load follow a disturbed slice, whose
# program has emptied the caches.
LEAST_UNDISTURBED = 0.25


def rounds_of(slices: Mapping[int, Mapping[int, TimedSlice]]) -> Rounds:
    """The samples of a worker from its slices, by launch and round."""
    rounds: Rounds = {}
    for launch, timed in slices.items():
        is_disturbed = disturbed([each.contention for each in timed.values()])
        rounds[launch] = {
            number: None if lost else each.seconds_per_image
            for (number, each), lost in zip(timed.items(), is_disturbed)
        }
    return rounds


def paired(*workers: Rounds) -> tuple[Launches, ...]:
    """The undisturbed samples of each worker in the rounds that all of them have, by launch, after all warm-ups.

    A launch with too few undisturbed rounds is left out. No samples are returned if this leaves fewer than `LAUNCHES`.
    """
    pairs, lost = _by_launch(workers)
    if not pairs or (lost and len(pairs) < LAUNCHES):
        return tuple([] for _ in workers)
    return tuple(list(each) for each in zip(*pairs))


def too_disturbed(*workers: Rounds) -> bool:
    """Whether `paired` returns no samples because of other programs."""
    pairs, lost = _by_launch(workers)
    return lost > 0 and len(pairs) < LAUNCHES


def _by_launch(workers: Sequence[Rounds]) -> tuple[list[list[list[float]]], int]:
    """The samples of each worker in the launches that count, and the number of launches that are too disturbed."""
    pairs: list[list[list[float]]] = []
    lost = 0
    for launch in sorted(set.intersection(*(set(rounds) for rounds in workers))):
        samples = [rounds[launch] for rounds in workers]
        shared = sorted(set.intersection(*map(set, samples)))
        quiet = [number for number in shared if all(rounds[number] is not None for rounds in samples)]
        if len(quiet) < LEAST_UNDISTURBED * len(shared):
            lost += 1
        elif quiet:
            start = max(map(steady, samples))
            if counted := [number for number in quiet if number >= start]:
                pairs.append([_values(rounds, counted) for rounds in samples])
    return pairs, lost


def _values(rounds: Mapping[int, float | None], numbers: Sequence[int]) -> list[float]:
    """The samples of these rounds, which are undisturbed."""
    return [value for number in numbers if (value := rounds[number]) is not None]


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


def steady(rounds: Mapping[int, float | None]) -> int:
    """The first undisturbed round after the warm-up; the middle one if the warm-up has no visible end.

    At least one round must be undisturbed.
    """
    seconds = {number: value for number, value in sorted(rounds.items()) if value is not None}
    numbers = list(seconds)
    end = warm_up(list(seconds.values()))
    return numbers[len(numbers) // 2 if end is None else end]
