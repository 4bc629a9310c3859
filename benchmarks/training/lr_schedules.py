"""Learning-rate schedules as arrays: the factor of every step, by which the recipe's learning rate is multiplied.

No framework's scheduler is used. In the formulas, t counts steps from 0, n is the number of steps of an epoch, T that
of the run; `//` rounds down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from frameworks.arrays import Array


@dataclass(frozen=True)
class Constant:
    """The factor is 1."""

    def factors(self, epochs: int, steps: int) -> Array:
        """The factor of each step: float64, (epochs * steps,). steps: of an epoch. The same in every schedule."""
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
    """factor ^ (number of elements of `at` up to t // n): He et al. 2015, section 4.2; torch's MultiStepLR."""

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
class Polynomial:
    """last + (1 - last) (1 - t / T)^power; with power 1 a line: Caffe's "poly" policy, torch's PolynomialLR.

    Both end at 0, which is `last` here.
    """

    power: float = 1.0
    last: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.power < np.inf and 0 <= self.last <= 1):
            raise ValueError(f"{self}: power > 0, 0 <= last <= 1")

    def factors(self, epochs: int, steps: int) -> Array:
        total = epochs * steps
        return self.last + (1 - self.last) * (1 - np.arange(total) / total) ** self.power


@dataclass(frozen=True)
class Exponential:
    """factor ^ (t // (n every)): with `every` 1, torch's ExponentialLR, stepped after each epoch.

    every: epochs, which may be a fraction. EfficientNet is trained with factor 0.97 every 2.4 epochs (Tan and Le 2019,
    section 5.1), MobileNetV2 with 0.98 every epoch (Sandler et al. 2018, section 6.1).
    smooth: factor ^ (t / (n every)), which changes in every step.
    """

    factor: float
    every: float = 1.0
    smooth: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.factor <= 1 and 0 < self.every < np.inf):
            raise ValueError(f"{self}: 0 < factor <= 1, every > 0")

    def factors(self, epochs: int, steps: int) -> Array:
        periods = np.arange(epochs * steps) / (steps * self.every)
        # Where a period ends at a step, the quotient is off the whole number by rounding.
        return self.factor ** (periods if self.smooth else np.floor(periods + 1e-9))


@dataclass(frozen=True)
class OneCycle:
    """Linear from `first` to 1, reached at t = peak T, then linear to `last`: Smith and Topin 2018."""

    peak: float = 0.2  # a fraction of the run
    first: float = 0.0
    last: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.peak < 1 and 0 <= self.first <= 1 and 0 <= self.last <= 1):
            raise ValueError(f"{self}: 0 < peak < 1, 0 <= first, last <= 1")

    def factors(self, epochs: int, steps: int) -> Array:
        # At the middle of each step; otherwise the learning rate of the first step would be 0.
        place = (np.arange(epochs * steps) + 0.5) / (epochs * steps)
        return np.interp(place, (0, self.peak, 1), (self.first, 1, self.last))


Plain: TypeAlias = "Constant | Step | MultiStep | Polynomial | Exponential | Cosine | OneCycle"


@dataclass(frozen=True)
class WarmUp:
    """Another schedule times min(1, first + (1 - first) (t + 1) / (n epochs)): Goyal et al. 2017, section 2.2.

    The epochs of the other schedule count from the start of the run, as in the paper: see also `WarmUpBefore`.
    """

    epochs: int
    then: Plain = Constant()
    first: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or not 0 <= self.first <= 1:
            raise ValueError(f"{self}: at least 1 epoch, 0 <= first <= 1")

    def factors(self, epochs: int, steps: int) -> Array:
        progress = np.minimum((np.arange(epochs * steps) + 1) / (self.epochs * steps), 1)
        return (self.first + (1 - self.first) * progress) * self.then.factors(epochs, steps)


@dataclass(frozen=True)
class WarmUpBefore:
    """first + (1 - first) (t + 1) / (n epochs) in the first epochs; then another schedule, from its start.

    The other schedule is as long as the epochs that remain. With `Cosine` this is the usual warm-up of recent recipes,
    such as torch's SequentialLR of LinearLR and CosineAnnealingLR. LinearLR has t where this has t + 1, so its first
    step has the factor `first`.
    """

    epochs: int
    then: Plain = Cosine()
    first: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or not 0 <= self.first <= 1:
            raise ValueError(f"{self}: at least 1 epoch, 0 <= first <= 1")

    def factors(self, epochs: int, steps: int) -> Array:
        rise = self.first + (1 - self.first) * (np.arange(self.epochs * steps) + 1) / (self.epochs * steps)
        return np.concatenate([rise, self.then.factors(max(0, epochs - self.epochs), steps)])[: epochs * steps]


Schedule: TypeAlias = "Plain | WarmUp | WarmUpBefore"
CONSTANT = Constant()
