"""Who runs when: launches, the order of turns, and the slices into which a turn is cut. No worker in sight."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from typing import TypeVar

from scipy import stats

T = TypeVar("T")

# Multiply-adds of one slice of training: about a second here, so a bar moves and a hang is noticed. The slices depend
# on the job alone, never on a clock: dropout is seeded by the slice.
SLICE = {"cpu": 10e9, "cuda": 10e12}


def turns(runners: Sequence[T], rounds: int | None, first: int = 0) -> Iterator[tuple[int, list[T]]]:
    """(round, order) for each round from `first` on, without end for None: A B C, C B A, then B C A, A C B, and so on.

    A drift that is linear in time cancels over each pair of rounds, for every runner has the same mean position. What
    ran just before matters too: a runner that follows itself finds its data in the caches (docs/statistics.md). So the
    pairs of rounds go through the shifts of one order, after Williams 1949: over all of them everyone has every place
    equally often, within a round follows everyone else equally often, and between two itself.
    """
    for number in count(first) if rounds is None else range(first, rounds):
        order = _shifted(runners, number // 2)
        yield number, order if number % 2 == 0 else order[::-1]


def _shifted(runners: Sequence[T], shift: int) -> list[T]:
    """First, second, last, third, last but one, ...: all distances between neighbours, each once; everyone moved on."""
    number = len(runners)
    places = [(place + 1) // 2 * (1 if place % 2 else -1) for place in range(number)]
    return [runners[(place + shift) % number] for place in places]


def rotated(runners: Sequence[T], launch: int) -> list[T]:
    """The order with which a launch begins: A B C, then B C A, and so on; a short one does not come through all."""
    start = launch % len(runners)
    return [*runners[start:], *runners[:start]]


def take_turns(
    runners: Sequence[T],
    play: Callable[[T, int], bool],
    *,
    until: float,
    least: int,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Rounds, `play(runner, round)` for each runner's slice, until the clock says so and at least `least`; how many.

    Where `play` says False its runner has no more turns, and the others go on. A round that would end too late, if it
    took as long as the longest so far, is not begun.
    """
    living = list(runners)
    began, longest = clock(), 0.0
    for number, order in turns(living, None):
        if not living or (number >= least and began + longest > until):
            break
        for runner in order:
            if not play(runner, number):
                living.remove(runner)
        ended = clock()
        began, longest = ended, max(longest, ended - began)
    return number


# Rounds that are as noisy as launches are apart: some 20 between twins here (the last columns of docs/aa.md), more
# between others. It says how long a launch is to last, and goes into no figure.
AS_NOISY = 25


def launches_to_come(left: float, opening: float, round_: float, played: Sequence[float], least: int) -> int:
    """How many more launches to share the seconds that are left; `least` in any case, 0 where no more would help.

    opening: seconds until one is ready; round_: that a round takes; played: the seconds of turns that each of the
    launches so far had. Chosen is what makes the interval narrowest, of two levels of chance (Kalibera and Jones 2013,
    section 5): a launch's variance has a part of its own, and one that goes with one over its rounds.
    """
    choices = range(max(least, 0), max(least, int(left / (opening + round_)), 0) + 1)

    def width(more: int) -> float:
        seconds = [*played, *[left / more - opening if more else 0.0] * more]
        if len(seconds) < 2 or min(seconds) <= 0:
            return math.inf
        variance = sum(1 / AS_NOISY + round_ / each for each in seconds) / len(seconds) ** 2
        return float(stats.t.ppf(0.975, len(seconds) - 1)) * math.sqrt(variance)

    return min(choices, key=width)


def slices(pictures: int, batch_size: int, macs: int, device: str, first_alone: bool) -> list[tuple[int, int]]:
    """(start, stop) of the slices of one epoch, whole batches but for the epoch's last.

    macs: of one picture's forward pass; training takes about three times as many. first_alone: the first step
    is a slice of its own, for it compiles and allocates.
    """
    steps = max(1, int(SLICE[device] / (3 * max(macs, 1) * batch_size)))
    edges = [*range(batch_size if first_alone else 0, pictures, steps * batch_size), pictures]
    if first_alone:
        edges = [0, *edges]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]
