"""How one comparison spends its time: the number of launches, and when the rounds of each of them end."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from statistics import fmean

from scipy import stats

from benchmarks.runtime.interleaving import Clock, Limit

LAUNCHES = 3  # at least: fewer say nothing about the spread of launches
ROUNDS = 2  # of each launch at least: one in each direction

# Launches are as far apart as this many rounds are noisy: about 20 in A/A runs (the last columns of docs/aa.md), more
# between frameworks. It only decides how long a launch lasts; no reported figure depends on it.
AS_NOISY = 25


class LaunchBudget:
    """The seconds of one comparison, divided among its launches.

    A launch costs the time until its workers are ready; the rest goes to rounds. `LAUNCHES` launches of `ROUNDS` rounds
    are run in any case.
    """

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self.started = clock()
        self.played: list[float] = []  # seconds of the rounds of each launch
        self.openings: list[float] = []  # seconds until ready of each launch whose workers were started side by side
        self.opening = 0.0  # estimated seconds until the workers of another launch are ready
        self.round_seconds = 0.0  # estimated
        self.to_come = LAUNCHES  # launches, with the present one

    def begin_launch(self) -> bool:
        """Begin another launch if it is worth its time."""
        self.began = self.clock()
        self.left = self.seconds - (self.began - self.started)
        if self.played:
            self.to_come = self._launches_to_come()
        return self.to_come > 0

    def workers_ready(self, opening: float, round_seconds: float) -> None:
        """The workers of the launch are ready. opening: estimated for another launch, used until one is measured."""
        self.ready = self.clock()
        self.round_seconds = round_seconds
        if self.played:
            self.openings.append(self.ready - self.began)
            self.opening = fmean(self.openings)
        else:  # the first launch starts its workers one by one, so it takes longer to open than the others
            self.opening = opening
            self.left = self.seconds - (self.ready - opening - self.started)
            self.to_come = self._launches_to_come()

    @property
    def least_seconds(self) -> float:
        """Estimated for the fewest launches and rounds, as soon as the workers of the first launch are ready."""
        return self.ready - self.started + (LAUNCHES - 1) * self.opening + LAUNCHES * ROUNDS * self.round_seconds

    def limit(self) -> Limit:
        """When the rounds of this launch end; a slow opening takes time from all launches, not from this one alone."""
        if self.to_come > 1:
            return Limit(until=self.ready + self.left / self.to_come - self.opening, least=ROUNDS)
        return Limit(until=self.started + self.seconds, least=ROUNDS)

    def rounds_done(self) -> None:
        """The rounds of this launch are over."""
        self.played.append(self.clock() - self.ready)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count."""
        began = self.clock()
        yield
        self.started += self.clock() - began

    def _launches_to_come(self) -> int:
        least = LAUNCHES - len(self.played)
        return launches_to_come(self.left, self.opening, self.round_seconds, self.played, least)


def launches_to_come(left: float, opening: float, round_: float, played: Sequence[float], least: int) -> int:
    """Into how many more launches to divide the seconds that are left; at least `least`, 0 if more would not help.

    opening: seconds until a launch is ready; round_: of a round; played: seconds of the rounds of each launch so far.
    The result minimizes the width of the interval under two levels of variance (Kalibera and Jones 2013, section 5):
    one of the launches, and one that falls with the number of rounds of a launch.
    """
    choices = range(max(least, 0), max(least, int(left / (opening + round_)), 0) + 1)

    def width(more: int) -> float:
        seconds = [*played, *[left / more - opening if more else 0.0] * more]
        if len(seconds) < 2 or min(seconds) <= 0:
            return math.inf
        variance = sum(1 / AS_NOISY + round_ / each for each in seconds) / len(seconds) ** 2
        return float(stats.t.ppf(0.975, len(seconds) - 1)) * math.sqrt(variance)

    return min(choices, key=width)
