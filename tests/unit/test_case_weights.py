"""The weights of a case let no values grow in evaluation, and still reveal faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.verification.case_weights import revealing_weights
from benchmarks.verification.cases import Case
from benchmarks.verification.conditioning import CALM
from benchmarks.verification.inference import expected
from frameworks.numpy_reference import Pass
from frameworks.spec import (
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    Multiply,
    Network,
    ReLU,
    Residual,
    Sigmoid,
)


def gated(blocks: int) -> Network:
    """Blocks whose sum grows, each with a gate, as in an EfficientNet."""
    layers: list[Layer] = [Conv("stem", 6, 3, padding=1), BatchNorm("stem_bn"), ReLU()]
    for number in range(blocks):
        gate = [GlobalAvgPool(), Conv("gate", 6, 1), Sigmoid()]
        body = [Conv("a", 6, 3, padding=1), BatchNorm("a_bn"), ReLU(), Multiply("se", [[], gate])]
        layers.append(Residual(f"block{number}", [*body, Conv("b", 6, 3, padding=1), BatchNorm("b_bn")]))
    return Network("gated", (3, 8, 8), [*layers, GlobalAvgPool(), Flatten(), Dense("fc", 5)])


def test_values_of_a_deep_network_do_not_grow(tmp_path: Path) -> None:
    case = Case.for_network(gated(60), 0, 4)
    drawn = replace(case, weights=revealing_weights(case.network, 0))
    before, after = (max(expected(each, tmp_path).amplification.values()) for each in (drawn, case))
    assert before > CALM and after < CALM / 10
    with np.load(tmp_path / "weights.npz") as written:  # what the framework gets
        assert all(np.array_equal(written[name], array) for name, array in case.weights.items())


@pytest.mark.parametrize("blocks", [1, 60])
def test_running_statistics_are_not_those_of_the_batch(blocks: int) -> None:
    """A framework that normalizes by its batch in evaluation is far off."""
    case = Case.for_network(gated(blocks), 0, 4)
    assert all(np.array_equal(array, array.astype(np.float32)) for array in case.weights.values())
    evaluation, training = (
        Pass(case.network, case.weights, case.images, masks, False).logits for masks in (None, np.random.default_rng(0))
    )
    assert np.abs(evaluation - training).max() > 1e-2 * np.abs(evaluation).max()


def test_only_running_statistics_change() -> None:
    case = Case.for_network(gated(2), 0, 4)
    drawn = revealing_weights(case.network, 0)
    assert {name for name in drawn if not np.array_equal(drawn[name], case.weights[name])} == {
        each.name for each in case.network.parameters if each.role.startswith("running")
    }
    assert all((case.weights[name] > 0).all() for name in drawn if name.endswith("running_var"))
