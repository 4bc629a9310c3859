"""The case in which a framework that only predicts is verified amplifies rounding little, and still reveals faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.verification.cases import Case
from benchmarks.verification.conditioning import CALM
from benchmarks.verification.evidence import write_case_files
from benchmarks.verification.inference import calm, expected, settled
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


def largest(case: Case, folder: Path) -> float:
    write_case_files(case, folder)
    return max(expected(case, folder).amplification.values())


def test_a_network_whose_values_grow_is_settled(tmp_path: Path) -> None:
    case = Case.for_network(gated(60), 0, 4)
    assert largest(case, tmp_path) > CALM
    reference = calm(case, tmp_path)
    assert max(reference.amplification.values()) < CALM / 10
    with np.load(tmp_path / "weights.npz") as written:  # what the framework gets
        assert all(np.array_equal(written[name], array) for name, array in reference.case.weights.items())


def test_a_calm_network_keeps_its_case(tmp_path: Path) -> None:
    case = Case.for_network(gated(1), 0, 4)
    assert largest(case, tmp_path) <= CALM
    assert calm(case, tmp_path).case is case


@pytest.mark.parametrize("blocks", [1, 60])
def test_settled_statistics_are_no_statistics_of_the_batch(blocks: int) -> None:
    """A framework that normalizes by its batch in evaluation is far off, also in the settled case."""
    case = settled(Case.for_network(gated(blocks), 0, 4))
    assert all(np.array_equal(array, array.astype(np.float32)) for array in case.weights.values())
    evaluation, training = (
        Pass(case.network, case.weights, case.images, masks, False).logits for masks in (None, np.random.default_rng(0))
    )
    assert np.abs(evaluation - training).max() > 1e-2 * np.abs(evaluation).max()


def test_only_running_statistics_change() -> None:
    case = Case.for_network(gated(2), 0, 4)
    changed = settled(case)
    assert {name for name in case.weights if case.weights[name] is not changed.weights[name]} == {
        each.name for each in case.network.parameters if each.role.startswith("running")
    }
    assert all((changed.weights[name] > 0).all() for name in changed.weights if name.endswith("running_var"))
