"""How much of the work of all shards is done, and the time that is left."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping


class Work(ABC):
    """The work of all shards, in any unit.

    sizes: the work of each shard by its number. clock: seconds.
    """

    def __init__(self, sizes: Mapping[int, float], clock: Callable[[], float] = time.monotonic) -> None:
        self.sizes, self.clock = sizes, clock
        self.total = sum(sizes.values())
        self.finished: set[int] = set()
        self.began, self.before = clock(), 0.0

    @abstractmethod
    def read(self, number: int) -> None:
        """Read what a shard has recorded since the last call, where the folder is shared."""

    @abstractmethod
    def steps(self, number: int) -> int:
        """How many steps, such as epochs, a shard has finished and saved."""

    @abstractmethod
    def done(self, number: int) -> float:
        """How much of its work a shard has done, in the unit of its size, before it has ended."""

    def begin(self) -> None:
        """Count the time from now on; what is done already took none of it."""
        self.began, self.before = self.clock(), self.fraction

    @property
    def fraction(self) -> float:
        """What is done, from 0 to 1."""
        done = (size if number in self.finished else self.done(number) for number, size in self.sizes.items())
        return sum(done) / self.total

    @property
    def seconds_left(self) -> float | None:
        """An estimate, on the assumption that the rate stays; None before anything is done."""
        fraction = self.fraction
        if fraction <= self.before:
            return None
        return (self.clock() - self.began) * (1 - fraction) / (fraction - self.before)
