"""The form in which a network is verified: ten classes and a small input."""

from __future__ import annotations

from math import prod

from benchmarks.runtime.networks import network
from frameworks.spec import BatchNorm, Network, SpecError

CLASSES = 10  # of the verified networks
BATCH = 4  # images per step
LEAST = 16  # values over which batch normalization computes a statistic


def case_sha256(name: str) -> str:
    """The identity of the network that is verified under this name. Raises BadInput."""
    return small(network(name, classes=CLASSES)).sha256


def small(network: Network) -> Network:
    """The network with the smallest square input of 32, 64, 96, ... that all layers accept, if that is smaller.

    Every batch normalization keeps at least `LEAST` values per channel, because fewer values amplify rounding.
    """
    channels, *size = network.input
    for side in range(32, min(size, default=0), 32):
        try:
            smaller = network.with_input((channels, side, side))
        except SpecError:
            continue
        if _enough_values(smaller):
            return smaller
    return network


def _enough_values(network: Network) -> bool:
    nodes = [node for _, node in network.walk() if isinstance(node.layer, BatchNorm)]
    return all(BATCH * prod(node.input[1:]) >= LEAST for node in nodes)
