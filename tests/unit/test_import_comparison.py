"""What is rounding between an original and its spec, and what is a difference, where a network amplifies rounding."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.porting.network_import import Imported, Original, compared
from benchmarks.porting.weight_import import not_finite
from benchmarks.verification.case_weights import revealing_weights
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass
from frameworks.spec import Dense, Flatten, HardSigmoid, Layer, Network, ReLU6, Scale, Sigmoid, Tanh


def chaotic(depth: int) -> Network:
    """Each pair of layers makes a difference several times as large, until all digits are lost."""
    pairs = [each for number in range(depth) for each in (Dense(f"dense{number}", 32), Tanh(slope=6.0))]
    return Network("chaotic", (1, 4, 4), [Scale(factor=1 / 255), Flatten(), *pairs, Dense("fc", 5)])


def imported(
    network: Network, change: float, name: str | None = None, factor: float = 1.0, fixed: Weights | None = None
) -> Imported:
    """An import whose original has every array changed relatively at random, and one multiplied by a factor.

    fixed: factors of arrays, in the original and in the spec.
    """
    weights, stream = revealing_weights(network, 0), np.random.default_rng(1)
    for key, each in (fixed or {}).items():
        weights[key] = weights[key] * each
    theirs = {key: array * (1 + change * stream.choice((-1.0, 1.0), array.shape)) for key, array in weights.items()}
    if name:
        theirs[name] = theirs[name] * factor
    nodes = {node.path: node.path for _, node in network.walk()}

    def values(images: Array, names: Sequence[str] | None) -> Weights:
        with np.errstate(all="ignore"):  # as another program, which does not warn
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


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("error")
def test_values_that_are_not_finite_are_no_difference(value: float) -> None:
    """The layers before are compared, and NumPy prints no warning."""
    fixed = {"dense1.weight": np.array(value)}
    comparison = compared(imported(chaotic(3), 2.0**-52, fixed=fixed))
    assert comparison.agrees and comparison.unbounded == "dense1"
    assert comparison.text == "from dense1 on, the values of both are not finite: there a difference would not be seen"
    assert json.loads(json.dumps(comparison.to_json(), allow_nan=False))["parted"] == ""
    comparison = compared(imported(chaotic(3), 2.0**-52, "dense0.weight", 1 + 1e-4, fixed))
    assert not comparison.agrees and comparison.parted.startswith("dense0,")


@pytest.mark.filterwarnings("error")
def test_values_that_overflow_are_no_difference() -> None:
    network = Network("large", (1, 4, 4), [Flatten(), Dense("first", 8), Dense("fc", 5)])
    fixed = {name: np.array(1e160) for name in ("first.weight", "fc.weight")}
    comparison = compared(imported(network, 2.0**-52, fixed=fixed))
    assert comparison.agrees and comparison.unbounded == "fc"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["dense1", "fc"])
def test_values_that_are_not_finite_on_one_side_are_a_difference(value: float, place: str) -> None:
    comparison = compared(imported(chaotic(3), 2.0**-52, f"{place}.weight", value))
    assert not comparison.agrees and comparison.parted.startswith(place)


@pytest.mark.parametrize("last", [Sigmoid(), Tanh(), HardSigmoid(), ReLU6()])
@pytest.mark.parametrize("factor", [1.0, 1 + 1e-7])
def test_a_last_layer_that_saturates_hides_no_difference(last: Layer, factor: float) -> None:
    network = Network("saturated", (1, 4, 4), [Flatten(), Dense("fc", 5), last])
    result = imported(network, 2.0**-52, "fc.weight", factor, {"fc.weight": np.array(1e3)})
    comparison = compared(result)
    assert comparison.scale > 100
    assert f"the values before {network.nodes[-1].path} differ by at most" in comparison.text
    assert comparison.agrees == (factor == 1.0)
    assert factor == 1.0 or comparison.parted.startswith("fc,")


def test_arrays_that_are_not_finite_are_named() -> None:
    arrays = {"conv.weight": np.array([1.0, np.nan]), "fc.weight": np.ones(2), "fc.bias": np.array([np.inf])}
    (line,) = not_finite(arrays, "net.pth")
    assert line == "net.pth: values that are not finite (NaN, infinity) in conv.weight, fc.bias"
    assert not_finite({"fc.weight": np.ones(2)}, "net.pth") == []
    (line,) = not_finite({f"conv{number}": np.array(np.nan) for number in range(9)}, "net.pth")
    assert line.endswith("conv5 and 3 more")
