"""Verification with layers in 16 bits: a correct framework is ok, and each part of the contract is seen to be missing.

The frameworks are variants of the reference.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.verification.cases import Case
from benchmarks.verification.comparison import ReferenceEvidence, StageVerdict, relative_errors, stage_verdicts
from benchmarks.verification.evidence import reference_evidence, write_case_files
from benchmarks.verification.narrow_numbers import rounded
from benchmarks.verification.reduced import BITS, REDUCED, WIDTH, NarrowPass, NarrowReference
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass, Reference, Result
from frameworks.spec import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    MaxPool,
    Network,
    Node,
    ReLU,
    Residual,
)
from frameworks.training import SCALE

BLOCK = [Conv("a", 12, 3, padding=1, bias=False), BatchNorm("a_bn"), ReLU(), Conv("b", 12, 3, padding=1, bias=False)]
NETWORK = Network(
    "narrow",
    (3, 12, 12),
    [
        *(Conv("stem", 12, 3, padding=1), BatchNorm("stem_bn"), ReLU(), MaxPool("pool", 2, 2)),
        *(Residual("block", [*BLOCK, BatchNorm("b_bn")]), ReLU(), GlobalAvgPool(), Flatten(), Dropout("drop")),
        *(Dense("hidden", 24), ReLU(), Dense("fc", 10)),
    ],
)


def verdicts(kind: type[Reference], precision: str, folder: Path) -> dict[str, StageVerdict]:
    """The verdict of each stage on a framework."""
    case = Case.for_network(NETWORK, 0, 4, 10)
    write_case_files(case, folder)
    reference = ReferenceEvidence.from_evidence(case, reference_evidence(case, folder, folder))
    ours, theirs = (
        relative_errors(iter(reference_evidence(case, folder, folder, kind=each).items()), reference, (), precision)
        for each in (REDUCED[precision], kind)
    )
    found = stage_verdicts({"framework": theirs}, case, precision, narrow=ours.plain)["framework"]
    return {verdict.stage: verdict for verdict in found}


class Framework(NarrowReference):
    """Sums in another order, and float32 where the contract says so."""

    kind = NarrowPass

    def _run(self, images: Array, masks: np.random.Generator | None = None) -> Pass:
        stream = np.random.default_rng(len(images))
        off = {name: 1 + 2.0**-24 * stream.choice((-1, 1), array.shape) for name, array in self.weights.items()}
        weights = {name: array * off[name] for name, array in self.weights.items()}
        run = self.kind(self.narrow, self.scale, self.network, weights, images, masks, self.unbiased)
        run.running = {name: rounded(array, "float32") for name, array in run.running.items()}
        return run

    def _step(self, gradients: Weights, rate: float) -> None:
        super()._step(gradients, rate)
        self.weights = {name: rounded(array, "float32") for name, array in self.weights.items()}


class NarrowArrays(Framework):
    """Arrays in 16 bits."""

    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights)
        self.weights = {name: rounded(array, self.narrow) for name, array in self.weights.items()}

    def _step(self, gradients: Weights, rate: float) -> None:
        super()._step(gradients, rate)
        self.weights = {name: rounded(array, self.narrow) for name, array in self.weights.items()}


class NarrowStatistics(Framework):
    """Means of a batch in 16 bits."""

    class kind(NarrowPass):
        def _statistics(self, node: Node, momentum: float, x: Array) -> Weights:
            exact = super()._statistics(node, momentum, x)
            found = {role: rounded(array, self.precision) for role, array in exact.items()}
            for role, value in found.items():
                name = node.parameter(role).name
                self.running[name] = (1 - momentum) * self.weights[name] + momentum * value
            return found


class NarrowLoss(Framework):
    """The loss of each image in 16 bits."""

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        loss, gradients = super().gradients(images, labels)
        return float(rounded(np.array(loss), self.narrow)), gradients


class Wide(Framework):
    """The setting is ignored: all layers in float32."""

    def _run(self, images: Array, masks: np.random.Generator | None = None) -> Pass:
        return Reference._run(self, images, masks)


class OtherEpsilon(Framework):
    class kind(NarrowPass):
        def _layer(self, node: Node, x: Array) -> Result:
            return super()._layer(node, x * 1.25 if node.path == "block.a_bn" and self.masks is None else x)


class OtherRate(Framework):
    """The learning rate is 10 % off."""

    def _step(self, gradients: Weights, rate: float) -> None:
        super()._step(gradients, 1.1 * rate)


class ForgottenScale(Framework):
    """Gradients stay multiplied by the scale of the loss."""

    def _step(self, gradients: Weights, rate: float) -> None:
        super()._step({name: gradient * self.scale for name, gradient in gradients.items()}, rate)


def variant(kind: type[Framework], precision: str) -> type[Framework]:
    return type(kind.__name__, (kind,), {"narrow": precision})


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("kind", [Framework, None])
def test_a_correct_framework_is_ok(kind: type[Framework] | None, precision: str, tmp_path: Path) -> None:
    found = verdicts(variant(kind, precision) if kind else REDUCED[precision], precision, tmp_path)
    assert {stage: each for stage, each in found.items() if each.verdict not in ("ok", "none")} == {}
    assert found["evaluation"].error > 2.0 ** -BITS[precision] / 8  # and the precision shows


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize(
    ("kind", "stage", "tensor"),
    [
        (NarrowArrays, "optimizers", WIDTH),
        (NarrowStatistics, "running statistics", WIDTH),
        (NarrowLoss, "loss", WIDTH),
        (Wide, "evaluation", WIDTH),
        (OtherEpsilon, "evaluation", ""),
        (OtherRate, "optimizers", "step size"),
    ],
)
def test_what_departs_from_the_contract_differs(
    kind: type[Framework], stage: str, tensor: str, precision: str, tmp_path: Path
) -> None:
    found = verdicts(variant(kind, precision), precision, tmp_path)
    assert found[stage].verdict == "differs" and found[stage].place is not None
    assert not tensor or found[stage].place.tensor == tensor


def test_a_forgotten_scale_of_the_loss_differs(tmp_path: Path) -> None:
    assert verdicts(variant(ForgottenScale, "float16"), "float16", tmp_path)["optimizers"].verdict == "differs"


def test_a_step_is_skipped_as_the_scale_says(tmp_path: Path) -> None:
    case = Case.for_network(NETWORK, 0, 4, 2)
    training = next(iter(case.trainings.values()))
    reference = REDUCED["float16"](case.network, training, Setting())
    reference.set_weights({**case.weights, SCALE: np.array(2.0**40)})
    reference.load("train", case.images, case.labels)
    reference.train(case.order[:4], 4, np.array([0.1]), 0)
    assert reference.scale == 2.0**39 and reference.finite_steps == 0 and reference.steps == 0
    trained = [name for name, (_, is_trained) in reference.arrays.items() if is_trained]
    assert all(np.array_equal(reference.weights[name], case.weights[name]) for name in trained)
    moved = [name for name in reference.arrays if name.endswith("running_mean")]
    assert not any(np.array_equal(reference.weights[name], case.weights[name]) for name in moved)
