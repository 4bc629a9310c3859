"""Faults of the worker, each planted in a process of its own, whose adapter is the NumPy reference.

A framework's arithmetic is right there: what differs is what the worker makes of a command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from frameworks.adapter import Setting
from frameworks.arrays import Array
from frameworks.numpy_reference import Reference
from frameworks.spec import Network
from frameworks.training import Training
from frameworks.worker import Answer, Worker


class FaultyWorker(Reference):
    """Replaces methods of the process's worker when it is built; without `faults`, the worker is sound."""

    faults: ClassVar[type] = object

    def __init__(self, network: Network, training: Training, setting: Setting, departures: Sequence[str] = ()) -> None:
        super().__init__(network, training, setting, departures)
        for name, method in vars(self.faults).items():
            if not name.startswith("__"):
                setattr(Worker, name, method)


train, evaluate, load, set_weights = Worker.train, Worker.evaluate, Worker.load, Worker.set_weights
get_weights, gradients, activations, predict = Worker.get_weights, Worker.gradients, Worker.activations, Worker.predict


def evaluation(logits: Array, labels: Array, losses: Array) -> Answer:
    return {"seconds": 0.0, "loss": float(losses.mean()), "accuracy": float((logits.argmax(1) == labels).mean())}


def cross_entropies(logits: Array, labels: Array) -> Array:
    shifted = logits - logits.max(1, keepdims=True)
    losses: Array = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]
    return losses


class StartIgnored(FaultyWorker):
    class faults:
        def train(
            self: Worker, order: str, start: int, stop: int, batch_size: int, lrs: list[float], seed: int
        ) -> Answer:
            return train(self, order, 0, stop - start, batch_size, lrs, seed)


class FirstLearningRateForAllSteps(FaultyWorker):
    class faults:
        def train(
            self: Worker, order: str, start: int, stop: int, batch_size: int, lrs: list[float], seed: int
        ) -> Answer:
            return train(self, order, start, stop, batch_size, [lrs[0]] * len(lrs), seed)


class TrainedInOrder(FaultyWorker):
    """The images of a slice in the order in which they are stored."""

    class faults:
        def train(
            self: Worker, order: str, start: int, stop: int, batch_size: int, lrs: list[float], seed: int
        ) -> Answer:
            np.save(order, np.sort(np.load(order)))
            return train(self, order, start, stop, batch_size, lrs, seed)


class ShortBatchDroppedInEvaluation(FaultyWorker):
    class faults:
        def evaluate(self: Worker, split: str, batch_size: int) -> Answer:
            logits = self.adapter.predict(split, batch_size)  # type: ignore[arg-type]
            whole = max(len(logits) // batch_size * batch_size, 1)
            logits, labels = logits[:whole], self.labels[split][:whole]
            return evaluation(logits, labels, cross_entropies(logits, labels))


class TiesCountedInEvaluation(FaultyWorker):
    class faults:
        def evaluate(self: Worker, split: str, batch_size: int) -> Answer:
            logits, labels = self.adapter.predict(split, batch_size), self.labels[split]  # type: ignore[arg-type]
            right = logits[np.arange(len(labels)), labels] == logits.max(1)
            return evaluate(self, split, batch_size) | {"accuracy": float(right.mean())}


class MeanOfBatchMeans(FaultyWorker):
    class faults:
        def evaluate(self: Worker, split: str, batch_size: int) -> Answer:
            logits, labels = self.adapter.predict(split, batch_size), self.labels[split]  # type: ignore[arg-type]
            losses = cross_entropies(logits, labels)
            means = [losses[start : start + batch_size].mean() for start in range(0, len(losses), batch_size)]
            return evaluation(logits, labels, np.array(means))


class CountIgnored(FaultyWorker):
    """All images of a file are loaded."""

    class faults:
        def load(self: Worker, split: str, images: str, labels: str, count: int) -> Answer:
            return load(self, split, images, labels, len(np.load(images, mmap_mode="r")))


class TrainLabelsEvaluated(FaultyWorker):
    """Evaluation uses the labels of the training images, whatever the split."""

    class faults:
        def load(self: Worker, split: str, images: str, labels: str, count: int) -> Answer:
            answer = load(self, split, images, labels, count)
            self.labels["test"] = self.labels.get("train", self.labels[split])[:count]
            return answer


class SlotsNeverWritten(FaultyWorker):
    class faults:
        def get_weights(self: Worker, path: str, slots: bool = True) -> Answer:
            return get_weights(self, path, False)


class EvaluationOverflows(FaultyWorker):
    """The logits are not shifted before their exponentials are taken."""

    class faults:
        def evaluate(self: Worker, split: str, batch_size: int) -> Answer:
            logits, labels = self.adapter.predict(split, batch_size), self.labels[split]  # type: ignore[arg-type]
            exponentials = np.exp(logits)
            losses = -np.log(exponentials[np.arange(len(labels)), labels] / exponentials.sum(1))
            return evaluation(logits, labels, losses)
