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
    """(round, order) for each round from `first` on, without end for None: A B C, then C B A, and so on.

    A drift that is linear in time cancels over each pair of rounds, for every runner has the same mean position.
    """
    for number in count(first) if rounds is None else range(first, rounds):
        yield number, list(runners) if number % 2 == 0 else list(reversed(runners))


def rotated(runners: Sequence[T], launch: int) -> list[T]:
    """The order for a launch: A B C, then B C A, and so on.

    Forth and back, the first and the last follow themselves in every second round, and find their data in the caches;
    those between never do. So everyone has every place.
    """
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


def launches_to_come(left: float, opening: float, done: int, played: float, least: int) -> int:
    """How many more launches to share the seconds that are left; `least` in any case, 0 where no more would help.

    opening: seconds until one is ready; done, played: the launches so far, and the seconds of turns they had. Chosen is
    what makes the interval over launches narrowest if rounds are all that is noisy, so that its width is Student's t
    over the root of the turns' seconds. Launches that differ ask for more of them (Kalibera and Jones 2013, section 5),
    but between twins, here, they differed by no more than their rounds explain (docs/statistics.md).
    """
    choices = range(max(least, 0), max(least, int(left / opening), 0) + 1)

    def width(more: int) -> float:
        seconds = played + (left - more * opening if more else 0.0)
        if done + more < 2 or seconds <= 0:
            return math.inf
        return float(stats.t.ppf(0.975, done + more - 1)) / math.sqrt(seconds)

    return min(choices, key=width)


def slices(pictures: int, batch_size: int, multiply_adds: int, device: str, first_alone: bool) -> list[tuple[int, int]]:
    """(start, stop) of the slices of one epoch, whole batches but for the epoch's last.

    multiply_adds: of one picture's forward pass; training takes about three times as many. first_alone: the first step
    is a slice of its own, for it compiles and allocates.
    """
    steps = max(1, int(SLICE[device] / (3 * max(multiply_adds, 1) * batch_size)))
    edges = [*range(batch_size if first_alone else 0, pictures, steps * batch_size), pictures]
    if first_alone:
        edges = [0, *edges]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]
