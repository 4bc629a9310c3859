"""The measuring loop: workers run their slices in interleaved rounds, launch after launch.

A round is one slice of every worker. The slices of a round run close together, so load from other programs affects
them alike, and their ratio is more reliable than their times. A launch is a set of fresh workers: a process keeps its
memory layout for life, so the difference between launches does not average out over the rounds of one.

A `Measurement` defines what a worker and a slice are. The clock is never read during a slice.
"""

from __future__ import annotations

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")
Clock = Callable[[], float]  # seconds


@dataclass(frozen=True)
class Limit:
    """When the rounds of a launch end: after `rounds`, or when another round would pass `until`."""

    rounds: int | None = None  # None: no limit
    until: float = math.inf  # a reading of the clock, in seconds
    least: int = 0  # rounds that are run even if they pass `until`


class Measurement(ABC, Generic[T]):
    """What is measured; `measure` calls the hooks in the order in which they stand here."""

    @abstractmethod
    def wants_launch(self, launch: int) -> bool:
        """Whether another launch is to begin; launches count from 0."""

    @abstractmethod
    def open(self, launch: int, stack: contextlib.ExitStack) -> Sequence[T]:
        """Start the workers of a launch and have `stack` close them; no worker ends the measurement."""

    @abstractmethod
    def limit(self) -> Limit:
        """When the rounds of this launch end."""

    @abstractmethod
    def play(self, worker: T, number: int) -> bool:
        """Run a worker's slice of a round; False excludes the worker from later rounds."""

    def finish(self, launch: int, workers: Sequence[T]) -> None:
        """Read what is needed from the workers of a launch before they are closed."""


def measure(measurement: Measurement[T], clock: Clock = time.monotonic) -> None:
    """The measuring loop."""
    for launch in count():
        if not measurement.wants_launch(launch):
            break
        with contextlib.ExitStack() as stack:
            workers = measurement.open(launch, stack)
            if not workers:
                break
            play_rounds(rotated(workers, launch), measurement.play, measurement.limit(), clock)
            measurement.finish(launch, workers)


def play_rounds(
    workers: Sequence[T], play: Callable[[T, int], bool], limit: Limit, clock: Clock = time.monotonic
) -> int:
    """Run `play(worker, round)` for every worker in every round; returns the number of rounds.

    A worker for which `play` returns False is left out of what follows. The longest round so far predicts whether the
    next one would pass the limit.
    """
    active = list(workers)
    began, longest, played = clock(), 0.0, 0
    for number, order in interleaved(active, limit.rounds):
        if not active or (number >= limit.least and began + longest > limit.until):
            break
        for worker in order:
            if not play(worker, number):
                active.remove(worker)
        played += 1
        ended = clock()
        began, longest = ended, max(longest, ended - began)
    return played


def interleaved(workers: Sequence[T], rounds: int | None, first: int = 0) -> Iterator[tuple[int, list[T]]]:
    """(round, order) for each round from `first` on, endless for None: A B C, C B A, then B C A, A C B, and so on.

    A linear drift cancels over each pair of rounds, because every worker has the same mean position. The predecessor
    of a slice matters too: a worker that follows itself finds its data in the caches (docs/statistics.md). So the
    pairs of rounds go through the shifts of one order, after Williams 1949: over all of them every worker has every
    position equally often, follows every other worker equally often within a round, and itself between rounds.
    """
    for number in count(first) if rounds is None else range(first, rounds):
        order = _shifted(workers, number // 2)
        yield number, order if number % 2 == 0 else order[::-1]


def _shifted(workers: Sequence[T], shift: int) -> list[T]:
    """Positions 0, 1, -1, 2, -2, ..., in which each difference of neighbors occurs once, all increased by `shift`."""
    number = len(workers)
    places = [(place + 1) // 2 * (1 if place % 2 else -1) for place in range(number)]
    return [workers[(place + shift) % number] for place in places]


def rotated(workers: Sequence[T], launch: int) -> list[T]:
    """The order in which a launch begins: A B C, then B C A, and so on; a short launch does not reach every shift."""
    start = launch % len(workers)
    return [*workers[start:], *workers[:start]]
