"""Guesses for optimizer steps and running statistics: their values with known mistakes."""

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


def of_steps(difference: Difference) -> Iterator[Guess]:
    """The steps of the case with another update rule."""
    place, training = difference.place, difference.case.trainings[difference.place.training]
    if place.step > 1 and difference.case.network.params > LARGE:
        return  # ten steps with every mistake would take longer than the verification
    lrs = difference.case.lrs(place.training, place.step)
    take = partial(replayed, difference.case)
    for words, other in mistaken(training):
        yield words, take(other, lrs)[place.tensor]
    yield "the learning rate changes one step late", take(training, [lrs[0], *lrs[:-1]])[place.tensor]
    accumulated = "the gradient is not cleared: each step uses the sum of all gradients so far"
    yield accumulated, take(training, lrs, accumulation=1.0)[place.tensor]
    yield "the learning rate is left out", take(training, [1.0] * len(lrs))[place.tensor]
    for factor, form in ((1 / difference.case.batch_size, "divided by"), (difference.case.batch_size, "multiplied by")):
        scaled = take(training, lrs, factor=factor)[place.tensor]
        yield f"the gradient of the mean loss is {form} the batch size, {difference.case.batch_size}", scaled
    if isinstance(training.optimizer, Adam):
        yield "steps are counted from 2, not from 1", take(training, lrs, ahead=1)[place.tensor]
        yield "the bias correction is left out", take(training, lrs, ahead=1_000_000)[place.tensor]


def mistaken(training: Training) -> Iterator[tuple[str, Training]]:
    """The training with variants of the optimizer that other programs use, and with common omissions."""
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
    variants: dict[str, dict[str, Any]] = {
        f"Nesterov's form is {'not used' if rule.nesterov else 'used'}": {"nesterov": not rule.nesterov},
        "the velocity contains the learning rate: v = momentum v + lr g": {"lr_in_velocity": True},
        "no momentum": {"momentum": 0.0, "nesterov": False},
    }
    others = sorted({0.1, 0.5, 0.9, 0.99} - {rule.momentum})
    return variants | {f"momentum {other} for {rule.momentum}": {"momentum": other} for other in others} | _decay(rule)


def _adam(rule: Adam) -> dict[str, dict[str, Any]]:
    others = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
    return {
        "epsilon inside the bias correction": {"epsilon_hat": True},
        **{f"epsilon {other:g} for {rule.epsilon:g}": {"epsilon": other} for other in others if other != rule.epsilon},
        "beta2 0.99 for 0.999": {"beta2": 0.99},
        **_decay(rule),
    }


def replayed(
    case: Case, training: Training, lrs: Sequence[float], factor: float = 1.0, accumulation: float = 0.0, ahead: int = 0
) -> Weights:
    """The arrays of the reference after a step for each learning rate, from the weights and batches of the case.

    factor: multiplies each gradient. accumulation: fraction of the previous gradient that is added to the next one.
    ahead: added to the number of the step.
    """
    weights = {name: np.array(array, np.float64) for name, array in case.weights.items()}
    sums: Weights = {}
    for step, (taken, lr) in enumerate(zip(batches(case.order, case.batch_size), lrs), 1):
        run = Pass(case.network, weights, case.images[taken], np.random.default_rng(0), False)
        run.backward(case.labels[taken], training.label_smoothing)
        weights |= run.running
        for name in [parameter.name for parameter in case.network.parameters if parameter.trainable]:
            sums[name] = factor * run.gradients[name] + accumulation * sums.get(name, 0.0)
            numpy_reference.update(weights, name, sums[name], training, lr, step + ahead)
    return weights


def of_running(difference: Difference) -> Iterator[Guess]:
    """A running statistic after its first update, r = (1 - momentum) r + momentum * batch statistic."""
    if difference.place.step != 1:
        return
    path, _, role = difference.place.tensor.rpartition(".")
    node = next(node for _, node in difference.case.network.walk() if node.path == path)
    assert isinstance(node.layer, spec.BatchNorm), "only batch normalization has running statistics"
    momentum, before = node.layer.momentum, difference.case.weights[difference.place.tensor]
    batch = before + (difference.reference - before) / momentum
    yield "it is not updated", before
    if role == "running_var":
        count = difference.case.batch_size * prod(node.input[1:])
        for words, value in {
            f"ratio {count}/{count - 1}: unbiased for biased variance": batch * count / (count - 1),
            "the standard deviation for the variance": np.sqrt(batch),
        }.items():
            yield words, (1 - momentum) * before + momentum * value
    other = float(f"{np.median((difference.actual - before) / (batch - before)):.3g}")
    swapped = ": the weights of the old and the new value are swapped" if np.isclose(other, 1 - momentum) else ""
    yield f"momentum {other:g} for {momentum:g}{swapped}", before + other * (batch - before)
