"""What the worker itself computes or cuts: parts of an order, evaluation of a split, the first images of a file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.verification.cases import Place
from benchmarks.verification.framework_checks.session import PROBE, PlacedTensor, Session, losses, state
from frameworks.training import SGD, Training

WORKER = "worker"


def worker(session: Session) -> Iterator[PlacedTensor]:
    """A part of an order, evaluation with a shorter last batch, and a split with fewer images than its file."""
    session.build(PROBE, Training(SGD(momentum=0.5)))
    images, labels = session.images(PROBE)
    session.client.load("train", images, labels, 30)
    session.client.load("test", images, labels, 21)
    order = session.order(30)
    trained = session.client.train(order, 5, [0.05] * 3, start=7, stop=20, seed=session.seed)  # 5, 5 and 3 images
    yield from losses(trained.losses, WORKER, "images 7 to 20 of an order")
    yield Place(WORKER, "images 7 to 20 of an order", 3, "correct"), np.array(trained.correct)
    yield from state(session, WORKER, "images 7 to 20 of an order", 3)
    for size in (8, 20, 64):  # the last batches have 5, 1 and 21 images
        evaluation = session.client.evaluate("test", size)
        yield Place(WORKER, f"evaluation in batches of {size}", 0, "loss"), np.array(evaluation.loss)
        yield Place(WORKER, f"evaluation in batches of {size}", 0, "accuracy"), np.array(evaluation.accuracy)
    logits = session.client.predict("test", 8)
    yield Place(WORKER, "predicted", 0, "images"), np.array(len(logits))
