"""Faults of the trainer: each class has the methods that replace those of `CellTrainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtime.worker_client import Evaluation, WorkerClient
from benchmarks.training.trainer import CellTrainer

begun, ordered, evaluated, train_epoch = (
    CellTrainer.begin,
    CellTrainer._order,
    CellTrainer._evaluate,
    CellTrainer.train_epoch,
)


class OneOrderForAllEpochs:
    def _order(self: CellTrainer, epoch: int) -> Path:
        return ordered(self, 1)


class TenthOfTheLearningRate:
    def begin(self: CellTrainer, worker: WorkerClient) -> None:
        self.lrs = self.lrs / 10
        begun(self, worker)


class ScheduleIgnored:
    def begin(self: CellTrainer, worker: WorkerClient) -> None:
        self.lrs = np.full_like(self.lrs, self.job.lr)
        begun(self, worker)


class ScheduleByEpochRestarted:
    """Every epoch has the learning rates of the first."""

    def begin(self: CellTrainer, worker: WorkerClient) -> None:
        self.lrs = np.repeat(self.lrs[:1], len(self.lrs), axis=0)
        begun(self, worker)


class MeanOfBatchLosses:
    def _mean(self: CellTrainer, losses: list[float], images: int) -> float:
        return float(np.mean(losses))


class TrainImagesEvaluated:
    def _evaluate(self: CellTrainer) -> Evaluation:
        return self.worker.evaluate("train", max(self.job.batch_size, 256))


class EvaluatedBeforeTheEpoch:
    """An epoch reports the evaluation of the epoch before."""

    def train_epoch(self: CellTrainer, *arguments: Any) -> Any:
        present = evaluated(self)
        self._evaluate = lambda: present  # type: ignore[method-assign]
        return train_epoch(self, *arguments)


class OptimizerStateLostBetweenEpochs:
    def train_epoch(self: CellTrainer, *arguments: Any) -> Any:
        if self.epoch:
            with np.load(self._weights(), allow_pickle=False) as state:
                arrays = {parameter.name: state[parameter.name] for parameter in self.job.network.parameters}
            self.worker.set_weights(arrays)
        return train_epoch(self, *arguments)


class InitialWeightsAtEveryEpoch:
    def train_epoch(self: CellTrainer, *arguments: Any) -> Any:
        epoch, self.epoch = self.epoch, 0
        self.worker.set_weights(self._weights())
        self.epoch = epoch
        return train_epoch(self, *arguments)
