"""How much of a verification is done, and an estimate of the time that the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks.certification.verified_networks import BATCH
from benchmarks.verification.cases import default_curve
from frameworks.spec import Network

BUILD, CHECKS = 4.0, 30.0  # seconds to build and compile a network, and of the checks of a framework
MACS, VALUES = 5e9, 5e6  # multiply-adds and trained values per second, in steps


class WorkLeft(NamedTuple):
    """Findings that are made, of how many, and the estimate for the others in seconds."""

    done: int
    total: int
    seconds: float


def cost(network: Network) -> float:
    """The seconds that one finding on a network takes; the error of the scale is corrected as findings are made."""
    steps = default_curve(network)
    return BUILD + steps * (3 * network.macs * BATCH / MACS + network.params / VALUES)


class WorkEstimate:
    """The remaining time, on the assumption that it is proportional to the cost.

    costs: of one finding, by the name of its network. each: findings per network. clock: seconds.
    """

    def __init__(self, costs: Mapping[str, float], each: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.costs, self.clock = costs, clock
        self.total = each * len(costs)
        self.whole = each * sum(costs.values())
        self.done, self.spent = 0, 0.0
        self.began = clock()

    def finished(self, name: str) -> WorkLeft:
        """Count a finding on the network of this name."""
        self.done += 1
        self.spent += self.costs[name]
        elapsed = self.clock() - self.began
        return WorkLeft(self.done, self.total, elapsed * (self.whole - self.spent) / self.spent)
