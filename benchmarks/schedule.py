"""Who runs when: the order of turns, and the slices into which a turn is cut. Pure functions; no clock, no worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

# Multiply-adds of one slice of training: about a second here, so a bar moves and a hang is noticed. The slices depend
# on the job alone, never on a clock: dropout is seeded by the slice.
SLICE = {"cpu": 10e9, "cuda": 10e12}


def turns(runners: Sequence[T], rounds: int, first: int = 0) -> Iterator[tuple[int, list[T]]]:
    """(round, order) for each round from `first` on: A B C, then C B A, and so on.

    A drift that is linear in time cancels over each pair of rounds, for every runner has the same mean position.
    """
    for number in range(first, rounds):
        yield number, list(runners) if number % 2 == 0 else list(reversed(runners))


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
