"""The smallest refused fault, with the reference in place of the frameworks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.certification.verified_networks import small
from benchmarks.runtime.networks import network
from benchmarks.verification.comparison import LIMIT, LIMITS, ROUNDING, STEP_SIZE, StageVerdict
from benchmarks.verification.reference_client import ReferenceClient
from frameworks.adapter import Setting
from frameworks.numpy_reference import Reference
from frameworks.training import Training
from research.sensitivity import FAULTS, LARGEST, Bracket, Experiment, Fault, ScaledLr, ScaledWeight, bracket

LABELS = ("a", "b", "c")
SEED = 3  # at which the changed weight has an input that is not 0


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    clients = {}
    for label in LABELS:
        (tmp_path / label).mkdir()
        clients[label] = ReferenceClient(tmp_path / label)
    packages = {label: label for label in LABELS}
    return Experiment(small(network("mlp", classes=10)), clients, packages, "a", SEED, tmp_path)


def refused_from(limit: float) -> tuple[Callable[[float], StageVerdict | None], list[float]]:
    """A check that refuses changes of at least `limit`, and counts its calls."""
    calls: list[float] = []

    def refusal(size: float) -> StageVerdict | None:
        calls.append(size)
        return StageVerdict("loss", "differs") if size >= limit else None

    return refusal, calls


@pytest.mark.parametrize("start", [1e-9, 3e-7, 1e-6, 5e-5, 1e-2])
def test_a_bracket_holds_the_smallest_refused_change(start: float) -> None:
    refusal, calls = refused_from(1e-6)
    found = bracket(start, refusal)
    assert found.refused is not None and found.first is not None
    assert found.passes < 1e-6 <= found.refused
    assert found.refused == pytest.approx(4 * found.passes)
    assert len(set(calls)) == len(calls)


def test_a_bracket_without_a_refused_change_says_so() -> None:
    refusal, calls = refused_from(1e9)
    assert bracket(1e-3, refusal) == Bracket(calls[-1], None, None)
    assert LARGEST / 4 <= calls[-1] <= LARGEST


def test_the_smallest_learning_rate_fault_is_the_limit_of_the_step_size(experiment: Experiment) -> None:
    """The median step is off by the change itself."""
    estimate = experiment.estimate(ScaledLr, "float64")
    assert estimate == LIMITS["optimizers"]
    assert experiment.refusal(ScaledLr, "float64", estimate / 2) is None
    refused = experiment.refusal(ScaledLr, "float64", estimate * 2)
    assert refused is not None and refused.place is not None and refused.place.tensor == STEP_SIZE


def test_the_smallest_weight_fault_follows_from_the_outputs(experiment: Experiment) -> None:
    """The change of the outputs of the layer, computed without the experiment, relative to the largest of them."""
    case = experiment.first_case
    fault = ScaledWeight(case, 0.0, Path())
    layer = fault.array.rpartition(".")[0]
    outputs = []
    for factor in (1.0, 1.001):
        weights = {name: array.copy() for name, array in case.weights.items()}
        weights[fault.array].reshape(-1)[fault.index] *= factor
        reference = Reference(case.network, Training(), Setting(precision="float64"))
        reference.set_weights(weights)
        outputs.append(reference.activations(case.images[: case.batch_size], False)[layer])
    relative = np.abs(outputs[1] - outputs[0]).max() / np.abs(outputs[0]).max() / 0.001
    assert experiment.estimate(ScaledWeight, "float64") <= 1.5 * LIMIT / relative  # rounded to one digit
    assert experiment.refusal(ScaledWeight, "float64", 1.1 * LIMIT / relative) is not None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_float32_hides_more_than_float64(experiment: Experiment, fault: Fault) -> None:
    found = {
        precision: bracket(
            experiment.estimate(fault, precision), lambda size, at=precision: experiment.refusal(fault, at, size)
        )
        for precision in ("float64", "float32")
    }
    single, double = found["float32"], found["float64"]
    assert single.refused and double.refused
    assert double.refused < single.passes
    assert single.refused > ROUNDING  # a fault of one value is diluted by the others of its layer


def test_a_float32_fault_is_refused_only_if_a_stage_differs_at_all_seeds(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    differing = {0: {"loss", "curve"}, 1: {"curve", "gradients"}, 2: {"curve"}, 3: {"curve"}, 4: {"curve"}}

    def verdicts(number: int, *rest: object) -> list[StageVerdict]:
        return [StageVerdict(stage, "differs") for stage in sorted(differing[number])]

    monkeypatch.setattr(experiment, "verdicts", verdicts)
    found = experiment.refusal(ScaledLr, "float32", 1.0)
    assert found is not None and found.stage == "curve"
    differing[4] = {"loss"}
    assert experiment.refusal(ScaledLr, "float32", 1.0) is None
