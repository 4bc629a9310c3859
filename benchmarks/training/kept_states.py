"""When the state of a cell is kept on disk, from which a stopped run goes on.

Where epochs are short, writing a state after each takes a large part of the time. Epochs are reproducible: those since
the last kept state are trained again, to the same losses. So a state is worth its price only after long training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from frameworks.spec import Network
from frameworks.training import Training

PRICE = 0.02  # a state costs at most this part of the time of the epochs since the last kept state
# The cost of a state is that of the one before it; of the first one, that of its values at this speed.
ASSUMED_SPEED, ITEMSIZE = 100e6, 4  # bytes per second, bytes per value
# Seconds after which an epoch keeps its state at any price: a time limit could end a run without one for ever.
LONGEST = 1800.0


class Keeping(ABC):
    """Decides after each epoch whether its state is kept."""

    @abstractmethod
    def is_due(self, seconds: float, is_last: bool) -> bool:
        """Whether to keep the state after an epoch that took so long. is_last: nothing is trained after it."""

    @abstractmethod
    def kept(self, seconds: float) -> None:
        """A state has been kept, which took so long."""


class EveryEpoch(Keeping):
    """The state after each epoch."""

    def is_due(self, seconds: float, is_last: bool) -> bool:
        return True

    def kept(self, seconds: float) -> None:
        pass


class AtAPrice(Keeping):
    """A state when the epochs since the last one have taken long enough that keeping it is at most `PRICE` of them.

    A stopped run loses at most one epoch and `1 / PRICE` times the seconds that a state takes, or `LONGEST`. The last
    epoch of a cell needs no state: a run that is stopped between it and the end of the cell trains the epochs since the
    last one again.
    """

    def __init__(self, network: Network, training: Training) -> None:
        arrays = 1 + len(training.slots)
        self.cost = arrays * ITEMSIZE * network.params / ASSUMED_SPEED  # expected seconds
        self.since = 0.0  # seconds of the epochs since the last kept state

    def is_due(self, seconds: float, is_last: bool) -> bool:
        self.since += seconds
        return not is_last and (self.cost <= PRICE * self.since or self.since >= LONGEST)

    def kept(self, seconds: float) -> None:
        self.cost, self.since = seconds, 0.0
