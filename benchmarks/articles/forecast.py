"""An estimate of how long an experiment takes on this machine, from a few steps of each of its jobs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.datasets.registry import Dataset
from benchmarks.records.store import CellRecord, RunFolder
from benchmarks.reporting.number_formats import counted, duration
from benchmarks.runtime.environments import Environment, parse_frameworks
from benchmarks.runtime.errors import WorkerFailed
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.training import epoch_slices
from benchmarks.training.jobs import Job
from benchmarks.training.kept_states import AtAPrice
from benchmarks.training.plan import TrainingRequest, plan, too_large
from benchmarks.training.progress import Progress
from benchmarks.training.runner import environments
from benchmarks.training.trainer import CellTrainer
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS

PROBE = 12  # steps of a trial epoch, which takes no more than about three seconds


class CellCost(NamedTuple):
    """Seconds of one cell: once, and for each epoch."""

    once: float
    epoch: float


def forecast(request: TrainingRequest, progress: Progress, resume: Path | None = None) -> dict[str, float]:
    """Estimated seconds by network and framework, from a few steps of each on this machine. Writes nothing."""
    groups, data = plan(request, progress.message)
    places = environments(request.frameworks, request.pythons, groups[0][0].device, progress)
    records = RunFolder.open(resume).records() if resume else {}
    seconds: dict[str, float] = {}
    for _, of_network in itertools.groupby(groups, key=lambda group: group[0].name):
        by_seed = list(of_network)
        for same in zip(*by_seed):  # one framework's jobs, which differ in the seed
            left = [_epochs_left(job, records.get(job.cell, CellRecord())) for job in same]
            if not any(left) or too_large(by_seed[0]):
                continue
            cost = _cost(same[0], data[same[0].dataset], places[same[0].framework], request.timeout)
            seconds[f"{same[0].name} {same[0].framework}"] = sum(
                cost.once + epochs * cost.epoch for epochs in left if epochs
            )
    return seconds


def _epochs_left(job: Job, record: CellRecord) -> int:
    return 0 if record.finished else job.epochs - record.kept


def _cost(job: Job, data: Dataset, place: Environment | str, timeout: float) -> CellCost:
    """The cost from two short epochs that are discarded; zero where the job cannot run, which the run will record."""
    if isinstance(place, str):
        return CellCost(0, 0)
    steps = int(3 * epoch_slices.SLICE[job.setting.device] / (3 * max(job.network.macs, 1) * job.batch_size))
    size = min(job.train_size, max(1, min(PROBE, steps)) * job.batch_size)
    small = replace(job, epochs=2, train_size=size, test_size=min(job.test_size, size))
    with TemporaryFolder("forecast") as scratch:
        folder = RunFolder(scratch)
        keeping = AtAPrice(small.network, small.training)
        with CellTrainer(small, data, folder, scratch, CellRecord(), keeping=keeping) as cell:
            try:
                began = time.perf_counter()
                cell.open(place.python, FRAMEWORKS[parse_frameworks(job.framework)[0].name], timeout)
                opened = time.perf_counter() - began
                first, second = (cell.train_epoch(0, lambda *_: None) for _ in range(2))
            except (Unavailable, WorkerFailed):
                return CellCost(0, 0)
    by_image = second.slice_seconds + (second.augment_seconds or 0.0) + second.reload_seconds
    epoch = by_image * job.train_size / size + second.evaluation_seconds * job.test_size / small.test_size
    return CellCost(opened + (first.first_step_seconds or 0.0), epoch + second.harness_seconds)


def forecast_text(request: TrainingRequest, seconds: Mapping[str, float]) -> str:
    """The run time by network and framework, and in all."""
    parts = ", ".join(f"{name} {duration(one)}" for name, one in seconds.items() if one)
    seeds = counted(len(request.seeds), "seed")
    return f"{request.experiment}, {seeds}: about {duration(sum(seconds.values()))} on this machine ({parts})"
