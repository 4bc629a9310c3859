"""What is rounding between an original and its spec, and what is a difference, where a network amplifies rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.porting.network_import import Imported, Original, compared
from benchmarks.verification.case_weights import revealing_weights
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass
from frameworks.spec import Dense, Flatten, Network, Scale, Tanh


def chaotic(depth: int) -> Network:
    """Each pair of layers makes a difference several times as large, until all digits are lost."""
    pairs = [each for number in range(depth) for each in (Dense(f"dense{number}", 32), Tanh(slope=6.0))]
    return Network("chaotic", (1, 4, 4), [Scale(factor=1 / 255), Flatten(), *pairs, Dense("fc", 5)])


def imported(network: Network, change: float, name: str | None = None, factor: float = 1.0) -> Imported:
    """An import whose original has every array changed relatively at random, and one multiplied by a factor."""
    weights, stream = revealing_weights(network, 0), np.random.default_rng(1)
    theirs = {key: array * (1 + change * stream.choice((-1.0, 1.0), array.shape)) for key, array in weights.items()}
    if name:
        theirs[name] = theirs[name] * factor
    nodes = {node.path: node.path for _, node in network.walk()}

    def values(images: Array, names: Sequence[str] | None) -> Weights:
        outputs = Pass(network, theirs, images, None, False).outputs
        return outputs if names is None else {each: outputs[each] for each in names}

    original = Original(values, theirs, network.nodes[-1].path, network, nodes)
    return Imported(network, weights, (), original)


def test_the_rounding_of_a_deep_network_is_no_difference() -> None:
    comparison = compared(imported(chaotic(24), 2.0**-52))
    assert comparison.difference > 1e-10 * comparison.scale, "the network amplifies too little for this test"
    assert comparison.agrees and not comparison.hidden


@pytest.mark.parametrize("place", [0, 12, 23])
def test_a_difference_in_a_deep_network_is_seen(place: int) -> None:
    comparison = compared(imported(chaotic(24), 2.0**-52, f"dense{place}.weight", 1 + 1e-4))
    assert not comparison.agrees and comparison.parted.startswith(f"dense{place},")


def test_what_cannot_be_seen_is_said() -> None:
    comparison = compared(imported(chaotic(60), 2.0**-52))
    assert comparison.agrees and comparison.hidden
    assert f"from {comparison.hidden} on a difference would not be seen" in comparison.text


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-7])
def test_a_calm_network(factor: float) -> None:
    comparison = compared(imported(chaotic(1), 2.0**-52, "dense0.weight", factor))
    assert comparison.agrees == (factor == 1.0) and not comparison.hidden
    assert factor == 1.0 or comparison.parted.startswith("dense0,")


def test_a_difference_before_the_digits_are_lost_is_seen() -> None:
    comparison = compared(imported(chaotic(60), 2.0**-52, "dense3.weight", 1 + 1e-4))
    assert not comparison.agrees and comparison.parted.startswith("dense3,")
