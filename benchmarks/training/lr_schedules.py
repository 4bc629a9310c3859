"""Learning-rate schedules as arrays: a factor for every step of a run, by which the recipe's rate is multiplied.

No framework's scheduler is used. In the formulas t counts steps from 0, n is the steps of an epoch, T those of the run;
`//` rounds down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from frameworks.arrays import Array


@dataclass(frozen=True)
class Constant:
    """1."""

    def factors(self, epochs: int, steps: int) -> Array:
        """Float64, (epochs * steps,), `steps` of each epoch; so in every schedule."""
        return np.ones(epochs * steps)


@dataclass(frozen=True)
class Step:
    """factor ^ (t // n // every): torch.optim.lr_scheduler.StepLR, stepped after each epoch."""

    every: int  # epochs
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1 or self.factor <= 0:
            raise ValueError(f"{self}: at least 1 epoch, a factor above 0")

    def factors(self, epochs: int, steps: int) -> Array:
        return np.repeat(self.factor ** (np.arange(epochs) // self.every), steps)


@dataclass(frozen=True)
class MultiStep:
    """factor ^ (how many of `at` are t // n or less): He et al. 2015, section 4.2; torch's MultiStepLR."""

    at: tuple[int, ...]  # epochs, counted from 0
    factor: float = 0.1

    def __post_init__(self) -> None:
        if list(self.at) != sorted(set(self.at)) or self.factor <= 0:
            raise ValueError(f"{self}: epochs in rising order, a factor above 0")

    def factors(self, epochs: int, steps: int) -> Array:
        return np.repeat(self.factor ** np.searchsorted(self.at, np.arange(epochs), side="right"), steps)


@dataclass(frozen=True)
class Cosine:
    """least + (1 - least) (1 + cos(pi t / T)) / 2: Loshchilov and Hutter 2017 (SGDR), equation 5, without restarts."""

    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise ValueError(f"{self}: 0 <= least <= 1")

    def factors(self, epochs: int, steps: int) -> Array:
        total = epochs * steps
        return self.least + (1 - self.least) * (1 + np.cos(np.pi * np.arange(total) / total)) / 2


@dataclass(frozen=True)
class OneCycle:
    """Straight from `first` to 1, at t = peak T, and on to `last`: Smith and Topin 2018, with two lines."""

    peak: float = 0.2  # a share of the run
    first: float = 0.0
    last: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.peak < 1 and 0 <= self.first <= 1 and 0 <= self.last <= 1):
            raise ValueError(f"{self}: 0 < peak < 1, 0 <= first, last <= 1")

    def factors(self, epochs: int, steps: int) -> Array:
        # At the middle of each step: else the first one of all would have no rate at all.
        place = (np.arange(epochs * steps) + 0.5) / (epochs * steps)
        return np.interp(place, (0, self.peak, 1), (self.first, 1, self.last))


@dataclass(frozen=True)
class WarmUp:
    """Another schedule, times first + (1 - first) (t + 1) / (n epochs) until that is 1: Goyal et al. 2017, section 2.2.

    The other schedule's epochs are counted from the run's start, as in that paper.
    """

    epochs: int
    then: Constant | Step | MultiStep | Cosine | OneCycle = Constant()
    first: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or not 0 <= self.first <= 1:
            raise ValueError(f"{self}: at least 1 epoch, 0 <= first <= 1")

    def factors(self, epochs: int, steps: int) -> Array:
        risen = np.minimum((np.arange(epochs * steps) + 1) / (self.epochs * steps), 1)
        return (self.first + (1 - self.first) * risen) * self.then.factors(epochs, steps)


Schedule: TypeAlias = "Constant | Step | MultiStep | Cosine | OneCycle | WarmUp"
CONSTANT = Constant()
