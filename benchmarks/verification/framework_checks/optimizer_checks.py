"""Do the optimizers take the hyperparameters that they are given, at late steps too, and for batches of every size?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.verification.cases import Place
from benchmarks.verification.framework_checks.session import (
    LATE,
    PROBE,
    ROLES,
    PlacedTensor,
    Session,
    losses,
    state,
)
from frameworks.training import SGD, Adadelta, Adam, RMSprop, Training

OPTIMIZERS, BATCH_SIZES, LATE_STEPS = "hyperparameters", "batch sizes", "late steps"

BATCH = 4


def trainings(seed: int) -> dict[str, Training]:
    """Every optimizer with hyperparameters drawn from the seed.

    SGD and momentum without any decay are in the other checks.
    An epsilon below 1e-7 is among them, because recipes use 1e-8 and a framework's minimum may be larger.
    One limit of the norm is below the norms of all gradients, the other one above: these are from 0.8 to 6.
    Of three patterns for factors of the learning rate, two match the weight of the dense layer.
    """
    stream = np.random.default_rng([seed, 20])

    def drawn(least: float, most: float) -> float:
        return round(float(stream.uniform(least, most)), 4)

    def momentum() -> float:
        return drawn(0.5, 0.88)

    def decay() -> float:
        return drawn(0.02, 0.2)

    def smoothing() -> float:
        return drawn(0.1, 0.4)

    def adam(least: float, most: float) -> Adam:
        epsilon = float(10 ** stream.uniform(np.log10(least), np.log10(most)))
        return Adam(beta1=drawn(0.6, 0.88), beta2=drawn(0.9, 0.99), epsilon=epsilon)

    def rmsprop(least: float, most: float, **others: Any) -> RMSprop:
        epsilon = float(10 ** stream.uniform(np.log10(least), np.log10(most)))
        return RMSprop(rho=drawn(0.6, 0.88), epsilon=epsilon, **others)

    def adadelta(**others: Any) -> Adadelta:
        epsilon = float(10 ** stream.uniform(-5, -4))
        return Adadelta(rho=drawn(0.6, 0.88), epsilon=epsilon, **others)

    def factors() -> tuple[tuple[str, float], ...]:
        return ("head.w*", drawn(0.2, 0.4)), ("head.*", drawn(1.2, 1.6)), ("*.gamma", drawn(0.5, 0.8))

    return {
        "sgd, smoothed labels": Training(SGD(), label_smoothing=smoothing()),
        "sgd, decay": Training(SGD(weight_decay=decay())),
        "sgd, decoupled decay": Training(SGD(weight_decay=decay(), decoupled=True), decay_all=True),
        "momentum, decay": Training(SGD(momentum=momentum(), weight_decay=decay())),
        "momentum, decay of all": Training(SGD(momentum=momentum(), weight_decay=decay()), smoothing(), True),
        "momentum, lr in velocity": Training(SGD(momentum=momentum(), weight_decay=decay(), lr_in_velocity=True)),
        "nesterov, decay": Training(SGD(momentum=momentum(), nesterov=True, weight_decay=decay())),
        "adam": Training(adam(1e-9, 3e-8)),
        "adam, epsilon hat": Training(replace(adam(1e-4, 1e-3), epsilon_hat=True)),
        "adamw": Training(replace(adam(1e-6, 1e-4), weight_decay=decay(), decoupled=True)),
        "adam, decay": Training(replace(adam(1e-4, 1e-3), weight_decay=decay()), smoothing()),
        "adam, decay of all": Training(replace(adam(1e-4, 1e-3), weight_decay=decay()), decay_all=True),
        "rmsprop": Training(rmsprop(1e-4, 1e-3)),
        "rmsprop, epsilon inside": Training(rmsprop(1e-5, 1e-4, epsilon_inside=True, weight_decay=decay())),
        "rmsprop, momentum": Training(rmsprop(1e-9, 3e-8, momentum=momentum())),
        "rmsprop, momentum, decoupled decay": Training(
            rmsprop(1e-5, 1e-4, momentum=momentum(), epsilon_inside=True, weight_decay=decay(), decoupled=True)
        ),
        "rmsprop, momentum, lr in velocity": Training(
            rmsprop(1e-4, 1e-3, momentum=momentum(), lr_in_velocity=True, weight_decay=decay())
        ),
        "adadelta": Training(adadelta()),
        "adadelta, decay": Training(adadelta(weight_decay=decay())),
        "momentum, decay, clipped": Training(SGD(momentum=momentum(), weight_decay=decay()), clip_norm=drawn(0.1, 0.3)),
        "sgd, clipped": Training(SGD(), clip_norm=drawn(0.1, 0.3)),
        "sgd, below the limit": Training(SGD(), clip_norm=drawn(8, 16)),
        "adam, average": Training(adam(1e-4, 1e-3), average=drawn(0.3, 0.7)),
        "momentum, lr in velocity, average": Training(
            SGD(momentum=momentum(), lr_in_velocity=True), average=drawn(0.3, 0.7)
        ),
        "momentum, lr factors": Training(SGD(momentum=momentum(), weight_decay=decay()), lr_factors=factors()),
        "adamw, lr factors": Training(
            replace(adam(1e-6, 1e-4), weight_decay=decay(), decoupled=True), decay_all=True, lr_factors=factors()
        ),
    }


def lrs_of(training: Training) -> list[float]:
    """Learning rates of four steps that move the weights of the small networks by a few percent per step.

    The last one of SGD alone is as large as any recipe's: no later step amplifies rounding.
    """
    match training.optimizer:
        case Adam() | RMSprop():
            return [3e-3, 3e-3, 1.5e-3, 1.5e-3]
        case Adadelta():
            return [1.0, 1.0, 0.5, 0.5]
        case SGD(momentum=momentum):
            return [0.05, 0.05, 0.025, 0.025 if momentum else 1.0]


def hyperparameters(session: Session, names: Collection[str] = ()) -> Iterator[PlacedTensor]:
    """Four steps of each optimizer, with learning rates that change; predictions where the weights are averaged.

    names: of `trainings`; all if empty.
    """
    order = session.order(16)
    for name, training in trainings(session.seed).items():
        if names and name not in names:
            continue
        session.build(ROLES, training)
        session.load(ROLES)
        lrs = lrs_of(training)
        for start, stop in ((0, 1), (1, 4)):
            trained = session.client.train(
                order, BATCH, lrs[start:stop], start=start * BATCH, stop=stop * BATCH, seed=session.seed
            )
            yield from losses(trained.losses, OPTIMIZERS, name, start + 1)
            yield from state(session, OPTIMIZERS, name, stop)
        if training.average is not None:
            yield Place(OPTIMIZERS, name, stop, "head"), session.client.predict("test", 20)


SIZES = ((4, 18), (18, 18), (32, 40), (128, 300))  # images per step, and in total: the last batch is shorter in most


def batch_sizes(session: Session) -> Iterator[PlacedTensor]:
    """Losses, running statistics, weights and predictions with batches of several sizes, most with a shorter last."""
    session.build(PROBE, Training(SGD(momentum=0.8), label_smoothing=0.2))
    session.load(PROBE, max(count for _, count in SIZES))
    start = session.weights_of(PROBE)
    for size, count in SIZES:
        what = f"{count} images in batches of {size}"
        session.client.set_weights(start)
        order, steps = session.order(count), -(-count // size)
        trained = session.client.train(order, size, [0.05] * steps, stop=count, seed=session.seed)
        yield from losses(trained.losses, BATCH_SIZES, what)
        yield from state(session, BATCH_SIZES, what, steps)
        yield Place(BATCH_SIZES, f"{what}, predicted", 0, "head"), session.client.predict("test", size)


STEPS, SHOWN = 120, (1, 10, 11, 12, 50, 52, 99, 101, 120)
LATE_TRAININGS = {
    "momentum": (Training(SGD(momentum=0.9)), 0.1),
    "adam": (Training(Adam(beta1=0.8, beta2=0.99, epsilon=1e-6)), 0.02),
}


def late_steps(session: Session) -> Iterator[PlacedTensor]:
    """120 steps on twelve images, which the network learns by heart: all losses, and the weights at several steps."""
    order = session.order(12, STEPS * BATCH // 12)
    for name, (training, lr) in LATE_TRAININGS.items():
        session.build(LATE, training)
        session.load(LATE)
        done = 0
        for stop in SHOWN:
            lrs = [lr] * (stop - done)
            trained = session.client.train(
                order, BATCH, lrs, start=done * BATCH, stop=stop * BATCH, seed=session.seed + stop
            )
            yield from losses(trained.losses, LATE_STEPS, name, done + 1)
            yield from state(session, LATE_STEPS, name, stop)
            done = stop
