"""The NumPy reference behind the commands of a worker, without the worker's code.

A framework answers through `frameworks.worker.Worker`. The reference does not: a mistake of the worker would otherwise
be in both answers. What the worker computes itself, it computes here in another way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtime.worker_client import Commands
from frameworks.adapter import Setting
from frameworks.arrays import Array
from frameworks.numpy_reference import Reference
from frameworks.spec import from_json
from frameworks.training import Training

NO_TIMES = dict.fromkeys(("seconds", "cpu_seconds", "idle_seconds", "idle_cpu_seconds"), 0.0)


class ReferenceClient(Commands):
    """The NumPy reference in this process, always in float64.

    scratch: a folder for arrays. departures: names of declared departures that the reference imitates. kind: the
    reference, or a variant with a mistake.
    """

    adapter: Reference

    def __init__(self, scratch: Path, departures: Sequence[str] = (), kind: type[Reference] = Reference) -> None:
        self.scratch = scratch
        self.departures = departures
        self.kind = kind

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self, f"_answer_{command}")(**arguments)
        return answer

    def _answer_build(self, network: Any, training: Any, setting: dict[str, Any]) -> dict[str, Any]:
        where = Setting(precision="float64", threads=setting["threads"])
        self.adapter = self.kind(from_json(network), Training.from_json(training), where, self.departures)
        arrays = {name: [list(shape), trained] for name, (shape, trained) in self.adapter.arrays.items()}
        return {"seconds": 0.0, "arrays": arrays, "settings": self.adapter.settings(), "departures": []}

    def _answer_set_weights(self, path: str) -> dict[str, Any]:
        with np.load(path, allow_pickle=False) as arrays:
            self.adapter.set_weights(dict(arrays))
        return {"seconds": 0.0}

    def _answer_get_weights(self, path: str, slots: bool) -> dict[str, Any]:
        weights = self.adapter.get_weights()
        if not slots:
            weights = {parameter.name: weights[parameter.name] for parameter in self.adapter.network.parameters}
        np.savez(path, **weights)  # type: ignore[arg-type]
        return {}

    def _answer_load(self, split: str, images: str, labels: str, count: int) -> dict[str, Any]:
        self.adapter.load(split, _read(images)[:count], _read(labels)[:count])  # type: ignore[arg-type]
        return {"seconds": 0.0}

    def _answer_train(
        self, order: str, start: int, stop: int, batch_size: int, lrs: list[float], seed: int
    ) -> dict[str, Any]:
        trained = self.adapter.train(_read(order)[start:stop], batch_size, np.array(lrs), seed)
        return {**NO_TIMES, "losses": trained.losses.tolist(), "correct": trained.correct}

    def _answer_evaluate(self, split: str, batch_size: int) -> dict[str, Any]:
        logits = self.adapter.predict(split, batch_size)  # type: ignore[arg-type]
        labels = self.adapter.data[split][1].tolist()
        losses = [_cross_entropy(row, label) for row, label in zip(logits.tolist(), labels)]
        correct = [row.index(max(row)) == label for row, label in zip(logits.tolist(), labels)]
        loss, accuracy = math.fsum(losses) / len(losses), sum(correct) / len(correct)
        return {"seconds": 0.0, "loss": loss, "accuracy": accuracy}

    def _answer_predict(self, split: str, batch_size: int, path: str) -> dict[str, Any]:
        np.save(path, self.adapter.predict(split, batch_size))  # type: ignore[arg-type]
        return {}

    def _answer_gradients(self, images: str, labels: str, path: str) -> dict[str, Any]:
        loss, gradients = self.adapter.gradients(_read(images), _read(labels))
        np.savez(path, **gradients)  # type: ignore[arg-type]
        return {"loss": loss}

    def _answer_activations(self, images: str, training: bool, path: str) -> dict[str, Any]:
        np.savez(path, **self.adapter.activations(_read(images), training))  # type: ignore[arg-type]
        return {}


def _cross_entropy(logits: list[float], label: int) -> float:
    """log(sum of exp(logit)) - the logit of the label, for one image."""
    largest = max(logits)
    return largest + math.log(math.fsum(math.exp(logit - largest) for logit in logits)) - logits[label]


def _read(path: str) -> Array:
    array: Array = np.load(path, allow_pickle=False)  # not mapped: the next command may overwrite the file
    return array
