"""The form in which a network is verified: ten classes and a small input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import NamedTuple

from benchmarks.runtime.networks import network
from frameworks.networks import NETWORKS
from frameworks.spec import BatchNorm, Network, SpecError

CLASSES = 10  # of the verified networks
BATCH = 4  # images per step
MOST_IN_FRONT = 4  # layers that prepare the images of a data set: resize and arithmetic on pixels
LEAST = 16  # values over which batch normalization computes a statistic


def case_sha256(name: str) -> str:
    """The identity of the network that is verified under this name. Raises BadInput."""
    return small(network(name, classes=CLASSES)).sha256


class VerifiedForm(NamedTuple):
    """The name under which `verify` knows a network, and the identity of the form that it verifies."""

    requested: str
    case_sha256: str


def verified_forms(trained: Network) -> Iterator[VerifiedForm]:
    """The forms in which a trained network, with the layers that prepare its images in front, may have been verified.

    A network of `NETWORKS` has one form. Of any other network, the layers in front are not known, so each number of
    them gives a form. The name decides nothing: the layers must be the same.
    """
    if trained.name in NETWORKS:
        known = network(trained.name, classes=trained.classes)
        if trained.layers[-len(known.layers) :] == known.layers:
            yield VerifiedForm(trained.name, case_sha256(trained.name))
            return
    for front in range(min(MOST_IN_FRONT, len(trained.layers) - 1) + 1):
        shape = trained.nodes[front].input
        for as_printed in (True, False):
            with contextlib.suppress(SpecError):  # shapes that the paper does not print
                inner = replace(trained, input=shape, layers=trained.layers[front:], as_printed=as_printed)
                yield VerifiedForm("FILE.py:FUNCTION", small(inner).sha256)


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
