"""Do the optimizers take the hyperparameters that they are given, at late steps too, and for batches of every size?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

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
from frameworks.training import SGD, Adam, Training

OPTIMIZERS, BATCH_SIZES, LATE_STEPS = "hyperparameters", "batch sizes", "late steps"

BATCH = 4


def trainings(seed: int) -> dict[str, Training]:
    """Every optimizer with hyperparameters drawn from the seed.

    SGD and momentum without any decay are in the other checks.
    An epsilon below 1e-7 is among them, because recipes use 1e-8 and a framework's minimum may be larger.
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
    }


def lrs_of(training: Training) -> list[float]:
    """Learning rates of four steps that move the weights of the small networks by a few percent per step.

    The last one of SGD alone is as large as any recipe's: no later step amplifies rounding.
    """
    if isinstance(training.optimizer, Adam):
        return [3e-3, 3e-3, 1.5e-3, 1.5e-3]
    return [0.05, 0.05, 0.025, 0.025 if training.optimizer.momentum else 1.0]


def hyperparameters(session: Session, names: Collection[str] = ()) -> Iterator[PlacedTensor]:
    """Four steps of each optimizer, with learning rates that change.

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
