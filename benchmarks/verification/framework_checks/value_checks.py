"""Values that a short verification does not reach: several threads, all digits, large logits, NaN, ties."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.verification.cases import Place
from benchmarks.verification.framework_checks.session import (
    BRIEF,
    LATE,
    PROBE,
    PlacedTensor,
    Session,
    losses,
    state,
)
from frameworks.arrays import Weights
from frameworks.training import SGD, Training

THREADS, DIGITS, LARGE, NOT_FINITE, COUNTS = (
    "threads",
    "weights in full precision",
    "large values",
    "values not finite",
    "counts",
)


def threads(session: Session) -> Iterator[PlacedTensor]:
    """Outputs of all layers, loss and gradients; the worker of the checks has two threads."""
    session.build(PROBE, Training())
    images, labels = session.images(PROBE, 20)
    for what, in_training in (("evaluation", False), ("training", True)):
        outputs = session.client.activations(images, in_training)
        for node in PROBE.nodes:
            yield Place(THREADS, what, 0, node.path), outputs[node.path]
    loss, gradients = session.client.gradients(images, labels)
    yield Place(THREADS, "loss", 0, "loss"), np.array(loss)
    for name in sorted(gradients):
        yield Place(THREADS, "gradients", 0, name), gradients[name]


def full_precision(session: Session) -> Iterator[PlacedTensor]:
    """Weights with all digits of the precision come back bit by bit, and decide the logits."""
    exact = session.setting.precision == "float64"
    stream = np.random.default_rng([session.seed, 40])
    weights = {name: array * stream.uniform(0.9, 1.1, array.shape) for name, array in session.weights_of(PROBE).items()}
    if not exact:
        weights = {name: array.astype(np.float32).astype(np.float64) for name, array in weights.items()}
    session.build(PROBE, Training(), weights)
    session.load(PROBE)
    returned = session.client.get_weights(slots=False)
    for name, array in weights.items():
        # The unit in the last place of float64 is far below every limit: compare bits, as 0 or 1.
        same = np.array_equal(np.asarray(returned[name], np.float64), array)
        yield Place(DIGITS, "weights returned", 0, name), np.array(float(not same))
    yield Place(DIGITS, "predicted", 0, "head"), session.client.predict("test", 16)


def large_values(session: Session) -> Iterator[PlacedTensor]:
    """Confident logits, between about -2000 and 2000, and gradients with a norm above 100."""
    session.build(LATE, Training(SGD()))
    session.load(LATE)
    images, labels = session.images(LATE, 16)
    for what, factors in {
        "logits around 50": {"head.weight": 30.0},
        "logits around 2000": {"head.weight": 1000.0},  # exp overflows at 709
        "large gradient": {"head.weight": 100.0, "fc.weight": 0.2},
    }.items():
        session.client.set_weights(scaled(session.weights_of(LATE), factors))
        loss, gradients = session.client.gradients(images, labels)
        yield Place(LARGE, what, 0, "loss"), np.array(loss)
        for name in sorted(gradients):
            yield Place(LARGE, f"{what}, gradients", 0, name), gradients[name]
        trained = session.client.train(session.order(16), 8, [1e-3, 1e-3], stop=16, seed=session.seed)
        yield from losses(trained.losses, LARGE, f"{what}, steps")
        yield from state(session, LARGE, f"{what}, steps", 2)
        evaluation = session.client.evaluate("test", 16)
        yield Place(LARGE, f"{what}, evaluated", 2, "loss"), np.array(evaluation.loss)


def scaled(weights: Weights, factors: dict[str, float]) -> Weights:
    """The weights, some multiplied by a factor."""
    return {name: array * factors.get(name, 1.0) for name, array in weights.items()}


def not_finite(session: Session) -> Iterator[PlacedTensor]:
    """A step with a loss that is not a number is taken: afterwards no trained array is finite, as in the reference."""
    weights = session.weights_of(LATE)
    weights["head.bias"] = np.full_like(weights["head.bias"], np.nan)
    session.build(LATE, Training(SGD(momentum=0.9)), weights)
    session.load(LATE)
    trained = session.client.train(session.order(8), 4, [0.1, 0.1], stop=8, seed=session.seed)
    for step, loss in enumerate(trained.losses, 1):
        yield Place(NOT_FINITE, "NaN in a bias", step, "loss"), np.array(float(np.isfinite(loss)))
    after = session.client.get_weights(slots=False)
    for name in sorted(after):
        yield Place(NOT_FINITE, "NaN in a bias", 2, name), np.array(float(np.isfinite(after[name]).all()))


def counts(session: Session) -> Iterator[PlacedTensor]:
    """Correct images in training: the label is the first of the largest logits."""
    session.build(BRIEF, Training())
    session.load(BRIEF)
    order = session.order(40)
    trained = session.client.train(order, 9, [0.0] * 5, stop=40, seed=session.seed)
    yield Place(COUNTS, "random logits", 5, "correct"), np.array(trained.correct)
    for step in range(8):  # one count of 40 images may be right by chance
        trained = session.client.train(order, 5, [0.0], start=5 * step, stop=5 * (step + 1), seed=session.seed)
        yield Place(COUNTS, "random logits, five images", step + 1, "correct"), np.array(trained.correct)
    weights = session.weights_of(LATE)
    session.build(LATE, Training())
    session.load(LATE)
    for what, largest in (("all logits equal", range(7)), ("two largest logits", (2, 5))):
        bias = np.zeros_like(weights["head.bias"])
        bias[list(largest)] = 1.0
        tied = scaled(weights, {"head.weight": 0.0}) | {"head.bias": bias}
        session.client.set_weights(tied)
        trained = session.client.train(session.order(40), 8, [0.0] * 5, stop=40, seed=session.seed)
        yield Place(COUNTS, what, 5, "correct"), np.array(trained.correct)
        evaluation = session.client.evaluate("test", 16)
        yield Place(COUNTS, f"{what}, evaluated", 0, "accuracy"), np.array(evaluation.accuracy)
