"""The framework checks detect mistakes planted in the NumPy reference. No framework is needed.

Mistakes planted in the adapters of frameworks are in tests/faults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.verification.case_runner import Target
from benchmarks.verification.comparison import ReferenceEvidence, relative_errors
from benchmarks.verification.framework_checks import CHECKS as ALL_CHECKS
from benchmarks.verification.framework_checks import NETWORKS, PROBE, STAGES, Session, judged
from benchmarks.verification.framework_checks.optimizer_checks import hyperparameters, trainings
from benchmarks.verification.framework_checks.runner import FrameworkChecks
from benchmarks.verification.framework_checks.session import LATE
from benchmarks.verification.framework_checks.trainer_check import TRAINER
from benchmarks.verification.reference_client import ReferenceClient
from frameworks import numpy_reference
from frameworks.adapter import Setting, Split, Trained
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.numpy_reference import Reference
from frameworks.spec import Network
from frameworks.training import KINDS, SGD, Adadelta, Adam, Optimizer, RMSprop, Training

# The trainer needs a worker process: see tests/integration/test_verify.py.
CHECKS = [check for check in ALL_CHECKS if check.stages != (TRAINER,)]
SETTING = Setting(precision="float64", threads=2)


# Functions of the reference that mistakes replace.
SOUND: dict[str, Callable[..., Any]] = {name: getattr(numpy_reference, name) for name in ("update", "moved", "clipped")}


@contextmanager
def patched(name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Replace a function of the reference."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_reference, name, function)
        yield


# --- mistakes ---------------------------------------------------------------------------------------------------------


class ShortBatchSkipped(Reference):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        whole = len(order) // batch_size * batch_size
        if whole in (0, len(order)):
            return super().train(order, batch_size, lrs, seed)
        trained = super().train(order[:whole], batch_size, lrs[:-1], seed)
        return Trained(np.append(trained.losses, trained.losses[-1]), trained.correct)


class ShortBatchPadded(Reference):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        missing = -len(order) % batch_size
        return super().train(np.concatenate([order, np.zeros(missing, int)]), batch_size, lrs, seed)


class LargeBatchScaled(Reference):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        trained = super().train(order, batch_size, lrs, seed)
        return Trained(trained.losses * (1.1 if batch_size > 16 else 1), trained.correct)


class FirstPredictionsKept(Reference):
    kept: Array | None = None

    def predict(self, split: Split, batch_size: int) -> Array:
        logits = super().predict(split, batch_size)
        if self.kept is None or self.kept.shape != logits.shape:
            self.kept = logits
        return self.kept


class SecondLoadIgnored(Reference):
    def load(self, split: Split, images: Array, labels: Array) -> None:
        if split not in self.data:
            super().load(split, images, labels)


class SecondWeightsIgnored(Reference):
    def set_weights(self, weights: Weights) -> None:
        if not self.weights:
            super().set_weights(weights)


class SlotsLost(Reference):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights({name: np.zeros_like(array) if "/" in name else array for name, array in weights.items()})


class GradientsMoveStatistics(Reference):
    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        run = self._run(images, np.random.default_rng(0))
        self.weights |= run.running
        return super().gradients(images, labels)


class Replaced(Reference):
    """An optimizer with values of its own."""

    def __init__(self, network: Network, training: Training, setting: Setting, departures: Any = ()) -> None:
        rule = replace(training.optimizer, **self.changes(training.optimizer))
        super().__init__(network, replace(training, optimizer=rule), setting, departures)

    def changes(self, rule: Optimizer) -> dict[str, Any]:
        raise NotImplementedError


class MomentumAlways09(Replaced):
    def changes(self, rule: Optimizer) -> dict[str, Any]:
        return {"momentum": 0.9} if isinstance(rule, SGD) and rule.momentum else {}


class BetasNotHandedOver(Replaced):
    def changes(self, rule: Optimizer) -> dict[str, Any]:
        return {"beta1": 0.9, "beta2": 0.999} if isinstance(rule, Adam) else {}


class DecayAlways001(Replaced):
    def changes(self, rule: Optimizer) -> dict[str, Any]:
        return {"weight_decay": 0.01} if rule.weight_decay else {}


class EpsilonAtLeast(Replaced):
    def changes(self, rule: Optimizer) -> dict[str, Any]:
        return {"epsilon": max(1e-7, rule.epsilon)} if isinstance(rule, Adam) else {}


class EpsilonOfRMSpropMoved(Replaced):
    def changes(self, rule: Optimizer) -> dict[str, Any]:
        return {"epsilon_inside": not rule.epsilon_inside} if isinstance(rule, RMSprop) else {}


class RhoAlways09(Replaced):
    def changes(self, rule: Optimizer) -> dict[str, Any]:
        return {"rho": 0.9} if isinstance(rule, (RMSprop, Adadelta)) else {}


class MomentumOfRMSpropIgnored(Replaced):
    def changes(self, rule: Optimizer) -> dict[str, Any]:
        return {"momentum": 0.0} if isinstance(rule, RMSprop) else {}


class SquareChangeLeftOut(Reference):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        def moved(rule: Optimizer, *rest: Any) -> tuple[Array, ...]:
            became = SOUND["moved"](rule, *rest)
            return (*became[:2], 0 * became[2]) if isinstance(rule, Adadelta) else became

        with patched("moved", moved):
            return super().train(order, batch_size, lrs, seed)


class OtherTraining(Reference):
    """A training with values of its own."""

    changed: ClassVar[dict[str, Any]]

    def __init__(self, network: Network, training: Training, setting: Setting, departures: Any = ()) -> None:
        given = {name: value for name, value in self.changed.items() if getattr(training, name)}
        super().__init__(network, replace(training, **given), setting, departures)


class ClippingIgnored(OtherTraining):
    changed: ClassVar = {"clip_norm": None}


class AverageDecayAlways0999(OtherTraining):
    changed: ClassVar = {"average": 0.999}


class FactorsOfLearningRateIgnored(OtherTraining):
    changed: ClassVar = {"lr_factors": ()}


class AllIgnored(OtherTraining):
    """An adapter that was written before there were clipping, averages and factors; it has no slot for the average."""

    changed: ClassVar = {"clip_norm": None, "average": None, "lr_factors": ()}


class ClippedArrayByArray(Reference):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        def clipped(gradients: Weights, limit: float | None) -> Weights:
            return {name: SOUND["clipped"]({name: g}, limit)[name] for name, g in gradients.items()}

        with patched("clipped", clipped):
            return super().train(order, batch_size, lrs, seed)


class DecayClipped(Reference):
    """Decay enters before the gradients are clipped, and is part of their norm."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        def clipped(gradients: Weights, limit: float | None) -> Weights:
            if limit is None or self.training.optimizer.decoupled:
                return SOUND["clipped"](gradients, limit)
            decays = {name: self.training.decay(name) * self.weights[name] for name in gradients}
            both = SOUND["clipped"]({name: g + decays[name] for name, g in gradients.items()}, limit)
            return {name: g - decays[name] for name, g in both.items()}

        with patched("clipped", clipped):
            return super().train(order, batch_size, lrs, seed)


class AverageLeftOutOfPredictions(Reference):
    def _averages(self) -> Weights:
        return {}


class AverageOfTheWeightsBefore(Reference):
    """The average takes the weights before the step."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        def update(weights: Weights, name: str, g: Array, training: Training, *rest: Any) -> None:
            before = weights[name].copy()
            SOUND["update"](weights, name, g, training, *rest)
            if training.average is not None:
                weights[f"{name}/average"] += (1 - training.average) * (before - weights[name])

        with patched("update", update):
            return super().train(order, batch_size, lrs, seed)


class AverageNotReadBack(Reference):
    def set_weights(self, weights: Weights) -> None:
        names = [name for name in weights if name.endswith("/average")]
        super().set_weights({**weights, **{name: weights[name.removesuffix("/average")] for name in names}})


class AverageTrained(Reference):
    """Training goes on with the averages after a prediction."""

    def predict(self, split: Split, batch_size: int) -> Array:
        logits = super().predict(split, batch_size)
        self.weights |= self._averages()
        return logits


class DecoupledDecayWithoutFactor(Reference):
    """w -= lr decay w, without the factor of the array."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        def update(weights: Weights, name: str, g: Array, training: Training, rate: float, step: int) -> None:
            factor = training.lr_factor(name)
            if training.optimizer.decoupled and factor:
                decay = training.optimizer.weight_decay / factor
                training = replace(training, optimizer=replace(training.optimizer, weight_decay=decay))
            SOUND["update"](weights, name, g, training, rate, step)

        with patched("update", update):
            return super().train(order, batch_size, lrs, seed)


class SmoothingByTen(Reference):
    def __init__(self, network: Network, training: Training, setting: Setting, departures: Any = ()) -> None:
        smoothing = training.label_smoothing * network.classes / 10
        super().__init__(network, replace(training, label_smoothing=smoothing), setting, departures)


class DecayOfAllIgnored(Reference):
    def __init__(self, network: Network, training: Training, setting: Setting, departures: Any = ()) -> None:
        super().__init__(network, replace(training, decay_all=False), setting, departures)


class Stepwise(Reference):
    """Takes one step at a time, and may change it."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        losses, correct = [], 0
        for number, lr in enumerate(lrs):
            batch = order[number * batch_size : (number + 1) * batch_size]
            trained = self.step(batch, batch_size, np.array([lr]), seed + 1000 * number)
            losses.append(float(trained.losses[0]))
            correct += trained.correct
        return Trained(np.array(losses), correct)

    def step(self, batch: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return super().train(batch, batch_size, lrs, seed)


class EveryHundredthStepSkipped(Stepwise):
    def step(self, batch: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return super().step(batch, batch_size, lrs * (self.steps % 100 != 99), seed)


class MomentumChangesLate(Stepwise):
    def step(self, batch: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        rule = self.training.optimizer
        if self.steps == 10 and isinstance(rule, SGD) and rule.momentum:
            self.training = replace(self.training, optimizer=replace(rule, momentum=0.5))
        return super().step(batch, batch_size, lrs, seed)


class BetaChangesLate(Stepwise):
    def step(self, batch: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        rule = self.training.optimizer
        if self.steps == 50 and isinstance(rule, Adam):
            self.training = replace(self.training, optimizer=replace(rule, beta1=rule.beta1 + 0.05))
        return super().step(batch, batch_size, lrs, seed)


class StopsBelowALoss(Stepwise):
    lost = 1.0

    def step(self, batch: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        trained = super().step(batch, batch_size, lrs * (self.lost > 0.05), seed)
        self.lost = float(trained.losses[0])
        return trained


class NonFiniteStepSkipped(Stepwise):
    def step(self, batch: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        before, steps = dict(self.weights), self.steps
        before = {name: array.copy() for name, array in before.items()}
        trained = super().step(batch, batch_size, lrs, seed)
        if not np.isfinite(trained.losses).all():
            self.weights, self.steps = before, steps
        return trained


class GradientClipped(Reference):
    """Gradients with a norm above 10 are scaled down to it."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        def update(weights: Weights, name: str, g: Array, *rest: Any) -> None:
            norm = float(np.linalg.norm(g))
            SOUND["update"](weights, name, g * min(1.0, 10.0 / norm) if norm else g, *rest)

        with patched("update", update):
            return super().train(order, batch_size, lrs, seed)


class LogOfProbabilities(Reference):
    """The loss of probabilities: log(p + 1e-12)."""

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        _, gradients = super().gradients(images, labels)
        logits = self._run(images, np.random.default_rng(0)).logits
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        return float(-np.log(p[np.arange(len(labels)), labels] + 1e-12).mean()), gradients


class WeightsThroughFloat32(Reference):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights({name: np.asarray(array).astype(np.float32) for name, array in weights.items()})


class ThreadsRound(Reference):
    def activations(self, images: Array, training: bool) -> Weights:
        outputs = super().activations(images, training)
        return {name: array.astype(np.float16) for name, array in outputs.items()}


class AccuracyByMinimum(Reference):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        trained = super().train(order, batch_size, lrs, seed)
        return Trained(trained.losses, len(order) - trained.correct)


class Masks(Reference):
    """Dropout with masks of its own; `masks` gives the generator of a step."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        losses, correct = [], 0
        for number, lr in enumerate(lrs):
            batch = order[number * batch_size : (number + 1) * batch_size]
            trained = super().train(batch, batch_size, np.array([lr]), self.seed_of(seed, number))
            losses.append(float(trained.losses[0]))
            correct += trained.correct
        return Trained(np.array(losses), correct)

    def seed_of(self, seed: int, step: int) -> int:
        return 100_000 * seed + step


class SameMaskAtEveryStep(Masks):
    def seed_of(self, seed: int, step: int) -> int:
        return seed


class SeedIgnored(Masks):
    def seed_of(self, seed: int, step: int) -> int:
        return step


class SeedNotRepeated(Masks):
    calls = 0

    def seed_of(self, seed: int, step: int) -> int:
        self.calls += 1
        return self.calls


class NoDropoutInTrain(Reference):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        whole, self.network = self.network, numpy_reference.without_dropout(self.network)
        trained = super().train(order, batch_size, lrs, seed)
        self.network = whole
        return trained


class OneMaskForAllImages(Reference):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        sound = numpy_reference.dropout

        def dropout(layer: Any, x: Array, masks: np.random.Generator) -> Any:
            y, _ = sound(layer, np.ones_like(x[:1]), masks)
            return x * y, lambda dy: (dy * y, {})

        numpy_reference.dropout = dropout
        try:
            return super().train(order, batch_size, lrs, seed)
        finally:
            numpy_reference.dropout = sound


class StochasticDepthChanged(Reference):
    """Stochastic depth with another mask, in `train` alone; `sound` is the correct function."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        sound = numpy_reference.stochastic_depth

        def changed(layer: Any, x: Array, masks: np.random.Generator) -> Any:
            factor = self.mask(sound, layer, x, masks)
            return x * factor, lambda dy: (dy * factor, {})

        numpy_reference.stochastic_depth = changed
        try:
            return super().train(order, batch_size, lrs, seed)
        finally:
            numpy_reference.stochastic_depth = sound

    def mask(self, sound: Any, layer: Any, x: Array, masks: np.random.Generator) -> Array:
        raise NotImplementedError


class StochasticDepthByValue(StochasticDepthChanged):
    def mask(self, sound: Any, layer: Any, x: Array, masks: np.random.Generator) -> Array:
        return numpy_reference.dropout(layer, np.ones_like(x), masks)[0]


class StochasticDepthByBatch(StochasticDepthChanged):
    def mask(self, sound: Any, layer: Any, x: Array, masks: np.random.Generator) -> Array:
        return sound(layer, np.ones_like(x[:1]), masks)[0]


class StochasticDepthOff(StochasticDepthChanged):
    def mask(self, sound: Any, layer: Any, x: Array, masks: np.random.Generator) -> Array:
        return np.ones_like(x)


class StochasticDepthUnscaled(StochasticDepthChanged):
    def mask(self, sound: Any, layer: Any, x: Array, masks: np.random.Generator) -> Array:
        return sound(layer, np.ones_like(x), masks)[0] * (1 - layer.rate)


FAULTS: dict[type[Reference], str] = {
    ThreadsRound: "threads",
    WeightsThroughFloat32: "weights in full precision",
    MomentumAlways09: "hyperparameters",
    BetasNotHandedOver: "hyperparameters",
    DecayAlways001: "hyperparameters",
    EpsilonAtLeast: "hyperparameters",
    SmoothingByTen: "hyperparameters",
    DecayOfAllIgnored: "hyperparameters",
    EpsilonOfRMSpropMoved: "hyperparameters",
    RhoAlways09: "hyperparameters",
    MomentumOfRMSpropIgnored: "hyperparameters",
    SquareChangeLeftOut: "hyperparameters",
    ClippingIgnored: "hyperparameters",
    ClippedArrayByArray: "hyperparameters",
    DecayClipped: "hyperparameters",
    AverageLeftOutOfPredictions: "hyperparameters",
    AverageDecayAlways0999: "hyperparameters",
    AverageOfTheWeightsBefore: "hyperparameters",
    AverageTrained: "state",
    AverageNotReadBack: "state",
    FactorsOfLearningRateIgnored: "hyperparameters",
    DecoupledDecayWithoutFactor: "hyperparameters",
    AllIgnored: "hyperparameters",
    ShortBatchSkipped: "batch sizes",
    ShortBatchPadded: "batch sizes",
    LargeBatchScaled: "batch sizes",
    EveryHundredthStepSkipped: "late steps",
    MomentumChangesLate: "late steps",
    BetaChangesLate: "late steps",
    StopsBelowALoss: "late steps",
    FirstPredictionsKept: "state",
    SecondLoadIgnored: "state",
    SecondWeightsIgnored: "state",
    SlotsLost: "state",
    GradientsMoveStatistics: "state",
    GradientClipped: "large values",
    LogOfProbabilities: "large values",
    NonFiniteStepSkipped: "values not finite",
    AccuracyByMinimum: "counts",
    SameMaskAtEveryStep: "dropout",
    SeedIgnored: "dropout",
    SeedNotRepeated: "dropout in training",
    NoDropoutInTrain: "dropout in training",
    OneMaskForAllImages: "dropout",
    StochasticDepthByValue: "dropout",
    StochasticDepthByBatch: "dropout",
    StochasticDepthOff: "dropout in training",
    StochasticDepthUnscaled: "dropout in training",
}


# --- tests ------------------------------------------------------------------------------------------------------------


@cache
def sound_checks() -> FrameworkChecks:
    """The checks with the evidence of the reference, which is computed once for all tests."""
    return FrameworkChecks(CHECKS, seed=0)


def first_difference(kind: type[Reference], checks: FrameworkChecks, seed: int = 0) -> str | None:
    with TemporaryFolder("faulty") as scratch:
        session = Session(ReferenceClient(scratch, kind=kind), SETTING, seed)
        verdicts = judged(checks.errors(session, ()), "float64", checks.stages)
    return next((verdict.stage for verdict in verdicts if verdict.verdict == "differs"), None)


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_mistake_is_detected_at_its_stage(kind: type[Reference]) -> None:
    assert first_difference(kind, sound_checks()) == FAULTS[kind]


class ClippingRefused(Reference):
    def __init__(self, network: Network, training: Training, setting: Setting, departures: Any = ()) -> None:
        if training.clip_norm is not None:
            raise Unavailable("this adapter does not clip gradients")
        super().__init__(network, training, setting, departures)


def test_an_adapter_that_refuses_a_training_has_no_verdict_but_its_reason(tmp_path: Path) -> None:
    client: Any = ReferenceClient(tmp_path, kind=ClippingRefused)
    target = Target("it", "refusing", "", client, {})
    verdict = sound_checks().verdicts(target, client, SETTING)
    assert verdict.failed == "this adapter does not clip gradients" and not verdict.verdicts


def test_the_reference_with_other_masks_passes() -> None:
    """A framework draws masks of its own."""
    assert first_difference(Masks, sound_checks()) is None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_seed_gives_a_false_alarm(seed: int) -> None:
    assert first_difference(Reference, FrameworkChecks(CHECKS, seed), seed) is None


def test_every_stage_is_listed_once() -> None:
    assert len(set(STAGES)) == len(STAGES)


def test_every_check_yields_only_its_stages() -> None:
    for check in CHECKS:
        with TemporaryFolder("places") as scratch:
            places = [place for place, _ in check.expected(Session(ReferenceClient(scratch), SETTING, 0))]
        assert {place.stage for place in places} == set(check.stages)
        assert len(places) == len(set(places))


def test_a_check_that_yields_nothing_differs() -> None:
    """Missing tensors are not agreement."""
    (check,) = [check for check in CHECKS if check.stages == ("counts",)]
    with TemporaryFolder("missing") as scratch:
        evidence = dict(check.expected(Session(ReferenceClient(scratch), SETTING, 0)))
    reference = ReferenceEvidence.from_evidence(sound_checks().case, evidence)
    verdicts = judged(relative_errors([], reference, [], "float64"), "float64", check.stages)
    assert [verdict.stage for verdict in verdicts if verdict.verdict == "differs"] == ["counts"]


def test_hyperparameters_depend_on_the_seed_and_are_no_defaults() -> None:
    first, second = trainings(0), trainings(1)
    assert first.keys() == second.keys()
    rules = [training.optimizer for training in first.values()]
    assert any(isinstance(rule, Adam) and rule.epsilon < 1e-7 for rule in rules)
    for name, training in first.items():
        if training != Training(SGD()):
            assert training != second[name]
        rule = training.optimizer
        assert rule.weight_decay != 0.01 and training.label_smoothing != 0.1
        assert not (isinstance(rule, SGD) and rule.momentum == 0.9)
        assert not (isinstance(rule, Adam) and (rule.beta1 == 0.9 or rule.beta2 == 0.999))
        assert not (isinstance(rule, (RMSprop, Adadelta)) and rule.rho in (0.9, 0.95, 0.99))


def test_every_form_of_every_optimizer_is_asked() -> None:
    rules = [training.optimizer for training in trainings(0).values()]
    forms = {(rule.epsilon_inside, rule.momentum > 0) for rule in rules if isinstance(rule, RMSprop)}
    assert forms == {(inside, momentum) for inside in (False, True) for momentum in (False, True)}
    assert {type(rule) for rule in rules} == set(KINDS.values())


@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_clipped_in_two_of_three_trainings(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[tuple[float, float]] = []

    def clipped(gradients: Weights, limit: float | None) -> Weights:
        if limit is not None:
            norms.append((float(np.sqrt(sum((g * g).sum() for g in gradients.values()))), limit))
        return SOUND["clipped"](gradients, limit)

    monkeypatch.setattr(numpy_reference, "clipped", clipped)
    names = [name for name, training in trainings(seed).items() if training.clip_norm is not None]
    with TemporaryFolder("norms") as scratch:
        list(hyperparameters(Session(ReferenceClient(scratch), SETTING, seed), names))
    assert [norm > limit for norm, limit in norms] == [True] * 8 + [False] * 4


def test_no_network_has_ten_classes() -> None:
    assert all(network.classes != 10 for network in NETWORKS)


# --- the reference behind the commands of a worker --------------------------------------------------------------------


def client_with_logits(scratch: Path, logits: list[float], labels: list[int]) -> ReferenceClient:
    """A client whose network gives every image the same logits."""
    client = ReferenceClient(scratch)
    weights = {name: np.zeros(shape) for name, shape in {p.name: p.shape for p in LATE.parameters}.items()}
    weights["head.bias"] = np.array(logits)
    client.build(LATE, Training(), SETTING)
    client.set_weights(weights)
    client.load("test", np.zeros((len(labels), *LATE.input), np.uint8), np.array(labels))
    return client


def test_an_evaluation_is_the_mean_over_images(tmp_path: Path) -> None:
    logits = [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    total = math.log(5 + 2 * math.e)
    evaluation = client_with_logits(tmp_path, logits, [1, 1, 2, 0, 3]).evaluate("test", 4)
    assert evaluation.loss == pytest.approx((3 * (total - 1) + 2 * total) / 5, rel=1e-15)
    assert evaluation.accuracy == 2 / 5  # of two equal logits, the first is the prediction


def test_a_part_of_an_order_is_trained(tmp_path: Path) -> None:
    client = client_with_logits(tmp_path, [0.0] * 7, [0])
    client.load("train", np.zeros((4, *LATE.input), np.uint8), np.array([0, 1, 2, 3]))
    trained = client.train(np.array([3, 2, 1, 0]), 2, [0.0, 0.0], start=1, stop=4, seed=0)  # images 2, 1 and 0
    assert trained.losses == pytest.approx([math.log(7)] * 2, rel=1e-15)
    assert trained.correct == 1


def test_arrays_of_a_later_command_do_not_change_loaded_images(tmp_path: Path) -> None:
    client = ReferenceClient(tmp_path)
    session = Session(client, SETTING, 0)
    session.build(PROBE, Training())
    session.load(PROBE)
    before = client.predict("test", 40)
    client.activations(*session.images(PROBE, 3, seed=1)[:1], True)
    assert np.array_equal(client.predict("test", 40), before)
