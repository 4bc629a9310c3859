"""Steps taken by other rules than the spec's, and running statistics moved otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from benchmarks.verification.cases import LARGE, Case
from benchmarks.verification.diagnosis.difference import Difference, Guess
from frameworks import numpy_reference, spec
from frameworks.adapter import batches
from frameworks.arrays import Weights
from frameworks.numpy_reference import Pass
from frameworks.training import SGD, Adam, Training


def of_steps(one: Difference) -> Iterator[Guess]:
    """The steps of the case with another update rule."""
    place, training = one.place, one.case.trainings[one.place.training]
    if place.step > 1 and one.case.network.params > LARGE:
        return  # ten steps in each of so many ways would take longer than the certificate
    rates = one.case.lrs(place.training, place.step)
    take = partial(replayed, one.case)
    for words, other in otherwise(training):
        yield words, take(other, rates)[place.tensor]
    yield "the rate changes one step late", take(training, [rates[0], *rates[:-1]])[place.tensor]
    cleared = "the gradient is not cleared: each step takes the sum of all so far"
    yield cleared, take(training, rates, kept=1.0)[place.tensor]
    yield "the rate is left out", take(training, [1.0] * len(rates))[place.tensor]
    for share, form in ((1 / one.case.batch_size, "divided by"), (one.case.batch_size, "multiplied by")):
        scaled = take(training, rates, share=share)[place.tensor]
        yield f"the gradient of the mean loss is {form} the batch, {one.case.batch_size}", scaled
    if isinstance(training.optimizer, Adam):
        yield "steps are counted from 2, not from 1", take(training, rates, ahead=1)[place.tensor]
        yield "the bias correction is left out", take(training, rates, ahead=1_000_000)[place.tensor]


def otherwise(training: Training) -> Iterator[tuple[str, Training]]:
    """What is written in other ways by others, and what is easily forgotten."""
    rule = training.optimizer
    if rule.weight_decay:
        yield "decay acts on biases, gamma and beta too", replace(training, decay_all=True)
    if training.label_smoothing:
        yield "labels are not smoothed", replace(training, label_smoothing=0.0)
    for words, changes in (_sgd(rule) if isinstance(rule, SGD) else _adam(rule)).items():
        yield words, replace(training, optimizer=replace(rule, **changes))


def _decay(rule: SGD | Adam) -> dict[str, dict[str, Any]]:
    if not rule.weight_decay:
        return {}
    form = "L2, in the gradient, not decoupled" if rule.decoupled else "decoupled, not L2 in the gradient"
    return {
        "no weight decay": {"weight_decay": 0.0},
        "twice the weight decay": {"weight_decay": 2 * rule.weight_decay},
        f"weight decay is {form}": {"decoupled": not rule.decoupled},
    }


def _sgd(rule: SGD) -> dict[str, dict[str, Any]]:
    if not rule.momentum:
        return _decay(rule)
    ways: dict[str, dict[str, Any]] = {
        f"Nesterov's form is {'left out' if rule.nesterov else 'taken'}": {"nesterov": not rule.nesterov},
        "momentum holds the rate: v = momentum v + rate g": {"lr_in_velocity": True},
        "no momentum": {"momentum": 0.0, "nesterov": False},
    }
    others = sorted({0.1, 0.5, 0.9, 0.99} - {rule.momentum})
    return ways | {f"momentum {other} for {rule.momentum}": {"momentum": other} for other in others} | _decay(rule)


def _adam(rule: Adam) -> dict[str, dict[str, Any]]:
    others = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
    return {
        "epsilon inside the bias correction": {"epsilon_hat": True},
        **{f"epsilon {other:g} for {rule.epsilon:g}": {"epsilon": other} for other in others if other != rule.epsilon},
        "beta2 0.99 for 0.999": {"beta2": 0.99},
        **_decay(rule),
    }


def replayed(
    case: Case, training: Training, rates: Sequence[float], share: float = 1.0, kept: float = 0.0, ahead: int = 0
) -> Weights:
    """The reference's arrays after a step for each rate, from the weights and batches of the case.

    share: what each gradient is multiplied by. kept: the share of the last one that is added to the next. ahead: what
    is added to the count of steps.
    """
    weights = {name: np.array(array, np.float64) for name, array in case.weights.items()}
    sums: Weights = {}
    for step, (taken, rate) in enumerate(zip(batches(case.order, case.batch_size), rates), 1):
        run = Pass(case.network, weights, case.images[taken], np.random.default_rng(0), False)
        run.backward(case.labels[taken], training.label_smoothing)
        weights |= run.running
        for name in [parameter.name for parameter in case.network.parameters if parameter.trainable]:
            sums[name] = share * run.gradients[name] + kept * sums.get(name, 0.0)
            numpy_reference.update(weights, name, sums[name], training, rate, step + ahead)
    return weights


def of_running(one: Difference) -> Iterator[Guess]:
    """A running statistic after its first move, r = (1 - momentum) r + momentum * batch's, moved otherwise."""
    if one.place.step != 1:
        return
    path, _, role = one.place.tensor.rpartition(".")
    node = next(node for _, node in one.case.network.walk() if node.path == path)
    assert isinstance(node.layer, spec.BatchNorm), "nothing else has running statistics"
    momentum, before = node.layer.momentum, one.case.weights[one.place.tensor]
    batch = before + (one.reference - before) / momentum
    yield "it does not move: stale statistics", before
    if role == "running_var":
        count = one.case.batch_size * prod(node.input[1:])
        for words, value in {
            f"ratio {count}/{count - 1}: unbiased for biased variance": batch * count / (count - 1),
            "the deviation for the variance": np.sqrt(batch),
        }.items():
            yield words, (1 - momentum) * before + momentum * value
    other = float(f"{np.median((one.found - before) / (batch - before)):.3g}")
    turned = ": the share of the old value for that of the new" if np.isclose(other, 1 - momentum) else ""
    yield f"momentum {other:g} for {momentum:g}{turned}", before + other * (batch - before)
