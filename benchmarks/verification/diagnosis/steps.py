"""Hypotheses for optimizer steps and running statistics: their values with known mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from benchmarks.verification.cases import LARGE, Case, Evidence
from benchmarks.verification.diagnosis.difference import Difference, Hypothesis
from benchmarks.verification.narrow_numbers import RoundedPass
from frameworks import numpy_reference, spec
from frameworks.adapter import batches
from frameworks.arrays import Weights
from frameworks.numpy_reference import Pass
from frameworks.training import SGD, Adadelta, Adam, Optimizer, RMSprop, Training

SLOW = 20_000_000  # multiply-adds per image, above which ten steps with every mistake take minutes


def of_steps(difference: Difference) -> Iterator[Hypothesis]:
    """The steps of the case with another update rule."""
    place, case = difference.place, difference.case
    training = case.trainings.get(place.training)
    if training is None or (place.step > 1 and _slow(case)):
        return
    right = replayed(case, training, case.lrs(place.training, place.step))
    if not difference.recomputes(right[place.step][place.tensor]):
        return
    take = partial(_hypothesis, difference)
    for cause, values, other in mistaken(training):
        yield take(cause, values, other)
    yield take("the learning rate changes one step late", (), training, late=True)
    accumulated = "the gradient is not cleared: each step uses the sum of all gradients so far"
    yield take(accumulated, (), training, accumulation=1.0)
    yield take("the learning rate is left out", (), training, lr_power=0)
    cause = "the gradient of the mean loss is {} the batch size, {}"
    for factor, form in ((1 / case.batch_size, "divided by"), (case.batch_size, "multiplied by")):
        yield take(cause, (form, case.batch_size), training, factor=factor)
    yield take("the gradient is added, not subtracted", (), training, factor=-1.0)
    if isinstance(training.optimizer, Adam):
        yield take("steps are counted from 2, not from 1", (), training, ahead=1)
        yield take("the bias correction is left out", (), training, ahead=1_000_000)
    yield from _rate(difference, training, right)


def _slow(case: Case) -> bool:
    """Whether ten steps with every mistake would take longer than the verification."""
    return case.network.params > LARGE or case.network.macs > SLOW


def _hypothesis(
    difference: Difference, cause: str, values: tuple[object, ...], training: Training, **changes: Any
) -> Hypothesis:
    """Steps with a mistake; if the tensor at the place agrees, all arrays at the end of the training must, too."""
    place, case = difference.place, difference.case
    steps = sorted({other.step for other in difference.observed if other[:2] == place[:2]} | {place.step})
    last = place.step if _slow(case) else steps[-1]

    def further() -> Evidence:
        weights = replayed(case, training, case.lrs(place.training, last), **changes)
        return {
            other: weights[other.step][other.tensor]
            for other in difference.observed
            if other[:2] == place[:2] and other.step in weights and other.tensor in weights[other.step]
        }

    first = replayed(case, training, case.lrs(place.training, place.step), **changes)
    return Hypothesis(cause, first[place.step][place.tensor], values, further)


def _rate(difference: Difference, training: Training, right: Mapping[int, Weights]) -> Iterator[Hypothesis]:
    """Another learning rate, solved from the first step and rounded to three digits."""
    place, case = difference.place, difference.case
    if place.step != 1 or difference.actual.shape != difference.reference.shape:
        return
    before = case.weights[place.tensor]
    change = difference.reference - before
    factor = float(f"{(change * (difference.actual - before)).sum() / (change * change).sum():.3g}")
    named = (1 / case.batch_size, case.batch_size, -1.0, 1 / case.lrs(place.training, 1)[0])
    if factor not in (0.0, 1.0) and not any(np.isclose(factor, other, rtol=1e-2) for other in named):
        yield _hypothesis(
            difference, "the learning rate is {:g} times the given one", (factor,), training, lr_factor=factor
        )


# --- update rules -----------------------------------------------------------------------------------------------------


def mistaken(training: Training) -> Iterator[tuple[str, tuple[object, ...], Training]]:
    """(cause, its values, training): variants of the optimizer that other programs use, and common omissions."""
    rule = training.optimizer
    if rule.weight_decay:
        yield "decay acts on biases, gamma and beta too", (), replace(training, decay_all=not training.decay_all)
    if training.label_smoothing:
        yield "labels are not smoothed", (), replace(training, label_smoothing=0.0)
    if training.clip_norm is not None:
        yield "the gradient is not clipped", (), replace(training, clip_norm=None)
    if training.lr_factors:
        yield "the learning rate has no factors", (), replace(training, lr_factors=())
        yield "the last pattern that matches counts", (), replace(training, lr_factors=training.lr_factors[::-1])
    for cause, values, changes in _rule(rule):
        yield cause, values, replace(training, optimizer=replace(rule, **changes))
    for name in ("momentum", "beta1", "beta2", "rho", "epsilon", "weight_decay"):
        exact = getattr(rule, name, 0.0)
        narrow = float(np.float32(exact))
        if narrow != exact:
            changed = replace(training, optimizer=replace(rule, **{name: narrow}))  # type: ignore[arg-type]
            yield "{} is rounded to float32", (name.replace("_", " "),), changed


Change = tuple[str, tuple[object, ...], dict[str, Any]]  # cause, its values, options of the rule


def _rule(rule: Optimizer) -> Iterator[Change]:
    match rule:
        case SGD():
            yield from _sgd(rule)
        case Adam():
            yield from _adam(rule)
        case RMSprop():
            yield from _rmsprop(rule)
        case Adadelta():
            yield from _adadelta(rule)


def _decay(rule: Optimizer) -> Iterator[Change]:
    decay = rule.weight_decay
    if not decay:
        return
    form = "L2, in the gradient, not decoupled" if rule.decoupled else "decoupled, not L2 in the gradient"
    yield "no weight decay", (), {"weight_decay": 0.0}
    yield "twice the weight decay", (), {"weight_decay": 2 * decay}
    yield "half the weight decay", (), {"weight_decay": decay / 2}
    yield "weight decay is {}", (form,), {"decoupled": not rule.decoupled}


def _sgd(rule: SGD) -> Iterator[Change]:
    yield from _decay(rule)
    if not rule.momentum:
        return
    form = "not used" if rule.nesterov else "used"
    yield "Nesterov's form is {}", (form,), {"nesterov": not rule.nesterov}
    in_velocity = "the velocity contains the learning rate: v = momentum v + lr g"
    if not rule.lr_in_velocity:
        yield in_velocity, (), {"lr_in_velocity": True}
    yield "no momentum", (), {"momentum": 0.0, "nesterov": False}
    for other in sorted({0.1, 0.5, 0.9, 0.95, 0.99} - {rule.momentum}):
        yield "momentum {} for {}", (other, rule.momentum), {"momentum": other}


def _adam(rule: Adam) -> Iterator[Change]:
    yield from _decay(rule)
    if not rule.epsilon_hat:
        yield "epsilon inside the bias correction", (), {"epsilon_hat": True}
    yield from _epsilon(rule)
    yield "beta1 and beta2 are exchanged", (), {"beta1": rule.beta2, "beta2": rule.beta1}
    for name, others in (("beta1", (0.5, 0.9, 0.95)), ("beta2", (0.9, 0.95, 0.98, 0.99, 0.999))):
        for other in others:
            if other != getattr(rule, name):
                yield "{} {:g} for {:g}", (name, other, getattr(rule, name)), {name: other}


def _rmsprop(rule: RMSprop) -> Iterator[Change]:
    yield from _decay(rule)
    form = "outside the root, not inside" if rule.epsilon_inside else "inside the root, not outside"
    yield "epsilon is {}", (form,), {"epsilon_inside": not rule.epsilon_inside}
    yield from _epsilon(rule)
    yield from _rho(rule)
    if not rule.momentum:
        return
    inside = "does not contain" if rule.lr_in_velocity else "contains"
    yield "the velocity {} the learning rate", (inside,), {"lr_in_velocity": not rule.lr_in_velocity}
    yield "no momentum", (), {"momentum": 0.0}


def _adadelta(rule: Adadelta) -> Iterator[Change]:
    yield from _decay(rule)
    yield from _epsilon(rule)
    yield from _rho(rule)


def _epsilon(rule: Adam | RMSprop | Adadelta) -> Iterator[Change]:
    for other in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
        if other != rule.epsilon:
            yield "epsilon {:g} for {:g}", (other, rule.epsilon), {"epsilon": other}


def _rho(rule: RMSprop | Adadelta) -> Iterator[Change]:
    for other in (0.9, 0.95, 0.99):
        if other != rule.rho:
            yield "rho {:g} for {:g}", (other, rule.rho), {"rho": other}


def replayed(
    case: Case,
    training: Training,
    lrs: Sequence[float],
    *,
    factor: float = 1.0,
    accumulation: float = 0.0,
    ahead: int = 0,
    lr_factor: float = 1.0,
    lr_power: int = 1,
    late: bool = False,
    unit: float = 0.0,
) -> dict[int, Weights]:
    """The trained arrays of the reference after each step, by number from 1, and `loss`.

    The steps start from the weights of the case and use its batches, with a learning rate for each step. The rest are
    mistakes. factor: multiplies each gradient. accumulation: fraction of the previous gradient that is added to the
    next. ahead: added to the number of the step. lr_factor: multiplies the learning rate. lr_power: 0 leaves the
    learning rate out. late: each learning rate is used one step late. unit: relative rounding error of each output.
    """
    weights = {name: np.array(array, np.float64) for name, array in case.weights.items()}
    trained = [parameter.name for parameter in case.network.parameters if parameter.trainable]
    sums: Weights = {}
    after: dict[int, Weights] = {}
    rates = [lrs[0], *lrs[:-1]] if late else list(lrs)
    for step, (taken, lr) in enumerate(zip(batches(case.order, case.batch_size), rates), 1):
        arguments = (case.network, weights, case.images[taken], np.random.default_rng(0), False)
        run = RoundedPass(unit, *arguments) if unit else Pass(*arguments)
        loss = run.backward(case.labels[taken], training.label_smoothing)
        weights |= run.running
        for name in trained:
            sums[name] = factor * run.gradients[name] + accumulation * sums.get(name, 0.0)
        for name, gradient in numpy_reference.clipped(sums, training.clip_norm).items():
            numpy_reference.update(weights, name, gradient, training, lr_factor * lr**lr_power, step + ahead)
        after[step] = {name: weights[name].copy() for name in case.weights} | {"loss": np.array(loss)}
    return after


# --- running statistics -----------------------------------------------------------------------------------------------


def of_running(difference: Difference) -> Iterator[Hypothesis]:
    """A running statistic after its first update, r = (1 - momentum) r + momentum * batch statistic."""
    path, _, role = difference.place.tensor.rpartition(".")
    node = next((node for _, node in difference.case.network.walk() if node.path == path), None)
    if difference.place.step != 1 or node is None or difference.actual.shape != difference.reference.shape:
        return
    assert isinstance(node.layer, spec.BatchNorm), "only batch normalization has running statistics"
    momentum, before = node.layer.momentum, difference.case.weights[difference.place.tensor]
    batch = before + (difference.reference - before) / momentum
    yield Hypothesis("it is not updated", before)
    yield Hypothesis("it is the statistic of the last batch", batch)
    if role == "running_var":
        count = difference.case.batch_size * prod(node.input[1:])
        for cause, value, values in (
            ("ratio {}/{}: unbiased for biased variance", batch * count / (count - 1), (count, count - 1)),
            (
                "ratio {1}/{0}: times (n - 1) / n, as if the variance were unbiased",
                batch * (count - 1) / count,
                (count, count - 1),
            ),
            ("the standard deviation for the variance", np.sqrt(batch), ()),
            ("the reciprocal standard deviation for the variance", 1 / np.sqrt(batch + node.layer.eps), ()),
            ("epsilon is added to the variance", batch + node.layer.eps, ()),
        ):
            yield Hypothesis(cause, (1 - momentum) * before + momentum * value, values)
    other = float(f"{np.median((difference.actual - before) / (batch - before)):.3g}")
    if other not in (0.0, 1.0, momentum):
        swapped = ": the weights of the old and the new value are swapped" if np.isclose(other, 1 - momentum) else ""
        predicted = before + other * (batch - before)
        yield Hypothesis(f"momentum {{:g}} for {{:g}}{swapped}", predicted, (other, momentum))
