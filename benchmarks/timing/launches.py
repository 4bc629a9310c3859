"""One launch of one cell: a fresh worker that is started, checked against the reference, and timed slice by slice.

Launches are the unit of randomness: a process keeps its memory layout for life. The record of a launch consists of

    launch      when the worker is ready: the time to get there, and the settings as the framework reports them
    slice       each slice: raw images and seconds; rounds count from 0 in every launch
    evaluation  once, after the rounds of the first launch: raw images and seconds of predicting
    roofline    once per framework, after the first launch: see `benchmarks.timing.roofline`

and after all launches one `end`, with the status, the reason and the peak memory of each launch.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from benchmarks.certification import lookup
from benchmarks.datasets.registry import Dataset
from benchmarks.records.events import EvaluationTime, Launch, TimedSlice
from benchmarks.records.store import RunFolder
from benchmarks.runtime import affinity, devices, gpu_state, precisions
from benchmarks.runtime.devices import Kind
from benchmarks.runtime.errors import Refused, WorkerFailed
from benchmarks.runtime.worker_client import Built, Calls, Slice, WorkerClient
from benchmarks.timing import sanity_checks
from benchmarks.timing.sanity_checks import ReferenceCheck
from benchmarks.training.jobs import Job
from frameworks import arrays
from frameworks.adapter import Split
from frameworks.registry import FrameworkInfo
from frameworks.spec import Network

Workload: TypeAlias = Literal["train", "infer"]

# Seconds of a slice, or of a step if that is longer: long against the pipes (0.2 ms), short against bursts of load from
# other programs. In the same time, many short pairs give a more precise ratio than few long ones: docs/slices.md.
SLICE_SECONDS = 0.05

# Seconds of a trial that is long enough to derive the length of a slice from it.
TRIAL_SECONDS = 0.05

# Learning rate of timed steps. It does not change the amount of work; a small one keeps the weights finite however long
# a launch is.
LR = 1e-4

# Multiply-adds of one call of `predict`: about 50 ms here; never less than a batch.
CALL: dict[Kind, float] = {"cpu": 2e9, "cuda": 200e9, "mps": 20e9}

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class TimedJob:
    """A cell of a speed run: a job whose training or inference is timed. The A/A control repeats its baseline."""

    job: Job
    what: Workload
    control: bool = False
    name: str = ""  # of a cell without a framework of its own: the control workload

    @property
    def cell(self) -> str:
        job = self.job
        parts = (job.name, job.framework, self.what, job.batch_size, job.threads, job.precision)
        return self.name or ".".join(map(str, parts)) + (".control" if self.control else "")


class WorkloadFiles:
    """The files that all workers of a comparison share: initial weights, orders, and the reference's results."""

    def __init__(self, timed: TimedJob, data: Dataset, scratch: Path, checked: bool = True) -> None:
        job, self.data = timed.job, data
        self.weights = scratch / "weights.npz"
        self.order = scratch / "order.npy"
        self.check_order = scratch / "check_order.npy"
        scratch.mkdir()
        initial = arrays.initial(job.network, job.seed, job.initial)
        np.savez(self.weights, **initial)  # type: ignore[arg-type]
        shuffled = np.random.default_rng(job.seed).permutation(job.train_size)
        self.images = max(len(shuffled), 1 << 17) // job.batch_size * job.batch_size
        np.save(self.order, np.resize(shuffled, self.images))
        self.check: ReferenceCheck | None = None
        if checked:
            split = data.train if timed.what == "train" else data.test
            images, labels = (np.load(path, mmap_mode="r") for path in (split.images, split.labels))
            given = (job.network, job.training, timed.what, initial, images, labels, job.batch_size, job.lr)
            unit = max(sanity_checks.FLOAT32, precisions.rounding(job.precision, job.tf32))
            self.check = ReferenceCheck.compute(*given, unit=unit)
            np.save(self.check_order, self.check.order)


class WorkloadRunner(ABC):
    """The worker of a cell in one launch. Every method may raise `Unavailable`, `WorkerFailed` or `Refused`.

    steady: use the steady allocator and thread settings, and keep the worker to the cores of its launch.
    """

    def __init__(
        self, timed: TimedJob, files: WorkloadFiles, launch: int, folder: RunFolder, timeout: float, steady: bool
    ) -> None:
        self.timed, self.files, self.launch, self.folder, self.timeout = timed, files, launch, folder, timeout
        self.steady = steady
        self.client: WorkerClient | None = None
        self.slices: list[TimedSlice] = []
        self.slice_seconds = 0.0  # estimated
        self.ready_seconds = 0.0  # from the start of the worker until it is ready for its first slice

    def open(self, python: Path, info: FrameworkInfo, units: int | None, alone: bool = True) -> int:
        """Make the worker ready and return the units (steps, calls) of its slices; None: determined by trial.

        alone: no other worker is being made ready at the same time, so the recorded start-up times are meaningful.
        """
        job, began = self.timed.job, time.monotonic()
        self.client = WorkerClient(
            python,
            info.module,
            info.adapter,
            threads=job.threads,
            log=self.folder.log(self.timed.cell),
            timeout=self.timeout,
            steady=self.steady,
            environment=devices.environment(job.device),
        )
        started = self.client.started
        check = self.files.check
        separate = check is not None and sanity_checks.has_dropout(job.network)
        if check and separate:  # the reference cannot reproduce a framework's dropout masks: check a network without
            self._build(check.network)
            self._load_all()
            self._check(check)
        built, build_seconds = self._build(job.network)
        load_seconds = self._load_all()
        first = self._play(1)
        if check and not separate:
            self._check(check)
        units = units or self._units_of_a_slice()
        warm_up = self._play(units)  # compiles for this length, if the framework does
        self.slice_seconds = self._completed(units)
        coverage = lookup.covering(job.row(started.file, started.versions))
        cores = affinity.cores_of_launch(self.launch, job.threads) if self.steady and job.device == "cpu" else []
        affinity.pin(self.client.process.pid, cores)
        self.folder.record(
            Launch(
                cell=self.timed.cell,
                launch=self.launch,
                alone=alone,
                versions=started.versions,
                settings=built.settings,
                departures=built.departures,
                certificate=coverage.certificate,
                verification=coverage.text,
                params=built.params,
                buffers=built.buffers,
                units=units,
                cores=cores,
                import_seconds=started.seconds,
                import_memory=started.resident,
                build_seconds=build_seconds,
                load_seconds=load_seconds,
                first_step_seconds=first.seconds,
                trial_seconds=[warm_up.seconds, self.slice_seconds],
            )
        )
        self.ready_seconds = time.monotonic() - began
        self.versions, self.settings, self.units = started.versions, built.settings, units
        return units

    def slice(self, number: int) -> None:
        """Run the slice of a round, timed by the worker, and record it."""
        gpu = gpu_state.Meter(self.timed.job.device)
        timed = self._play(self.units, number)
        gpu.read()
        timed = msgspec.structs.replace(timed, gpu=gpu.use)
        self.slices.append(timed)
        self.folder.record(timed, durable=False)

    def evaluate(self) -> None:
        """Time an evaluation and record it. It belongs after all rounds, because it raises the peak memory."""
        if evaluation := self._evaluation():
            self.folder.record(evaluation)

    def finish(self) -> dict[str, int]:
        """Peak bytes of this launch. `Refused` if the worker used too many threads, or worked between its slices."""
        peak = self.running.peak_memory()
        if self.timed.job.device == "cpu" and self.slices:
            sanity_checks.check_cpu_use(self.slices, self.timed.job.threads)
        return peak

    def close(self) -> None:
        if self.client:
            self.client.close()
            self.client = None

    @property
    def running(self) -> WorkerClient:
        """The client of the worker, which `open` has started."""
        assert self.client is not None, "open() comes first"
        return self.client

    # --- how training and inference differ ----------------------------------------------------------------------------

    @abstractmethod
    def _load_all(self) -> float:
        """Put the data of the slices on the device; returns seconds."""

    @abstractmethod
    def _play(self, units: int, number: int = 0) -> TimedSlice:
        """Run a slice of this many steps or calls; `number` is the round."""

    @abstractmethod
    def _check(self, check: ReferenceCheck) -> None:
        """Run the work of the check and compare its results."""

    @property
    @abstractmethod
    def images_of_a_unit(self) -> int:
        """Images of a step or of a call."""

    @property
    @abstractmethod
    def _most_units(self) -> int:
        """The largest number of units of a slice."""

    def _evaluation(self) -> EvaluationTime | None:
        """An evaluation, if the workload has one."""
        return None

    # --- shared -------------------------------------------------------------------------------------------------------

    def _timed(self, answer: Slice | Calls, units: int, number: int, calls: list[float] | None = None) -> TimedSlice:
        """The event of a slice. calls: seconds of each call, if a call takes a single image."""
        return TimedSlice(
            cell=self.timed.cell,
            launch=self.launch,
            round=number,
            images=units * self.images_of_a_unit,
            seconds=answer.seconds,
            cpu_seconds=answer.cpu_seconds,
            idle_seconds=answer.idle_seconds,
            idle_cpu_seconds=answer.idle_cpu_seconds,
            calls=calls,
            contention=answer.contention,
        )

    def _build(self, network: Network) -> tuple[Built, float]:
        """Build a network with the initial weights; also returns seconds."""
        built = self.running.build(network, self.timed.job.training, self.timed.job.setting)
        return built, built.seconds + self.running.set_weights(self.files.weights)

    def _load(self, split: Split, count: int) -> float:
        files = self.files.data.train if split == "train" else self.files.data.test
        return self.running.load(split, Path(files.images), Path(files.labels), count)

    def _units_of_a_slice(self) -> int:
        """As many units as take `SLICE_SECONDS`, from trials of growing length."""
        units = 1
        while True:
            self._play(units)  # a new length may be compiled
            seconds = self._completed(units)
            if seconds >= TRIAL_SECONDS or units >= self._most_units:
                return min(self._most_units, max(1, round(units * SLICE_SECONDS / seconds)))
            units = min(self._most_units, max(2 * units, math.ceil(units * TRIAL_SECONDS / seconds)))

    def _completed(self, units: int) -> float:
        """Seconds until a slice that was started on an idle device had really finished."""
        self.running.settle()
        returned = self._play(units).seconds
        settled, idle = (self.running.settle() for _ in range(2))
        return sanity_checks.completion(returned, settled, idle)


class TrainingRunner(WorkloadRunner):
    def _load_all(self) -> float:
        return self._load("train", self.timed.job.train_size)

    def _play(self, units: int, number: int = 0) -> TimedSlice:
        start = number * units % (self._most_units - units + 1) * self.images_of_a_unit
        trained = self._train(self.files.order, start, units, self.images_of_a_unit, LR, number)
        if len(trained.losses) != units:
            raise Refused(f"results differ from the reference: {len(trained.losses)} losses of {units} steps")
        if not np.isfinite(trained.losses).all():
            raise WorkerFailed(f"diverged: the loss is {trained.losses[-1]} in a slice with a learning rate of {LR:g}")
        return self._timed(trained, units, number)

    def _check(self, check: ReferenceCheck) -> None:
        self.running.set_weights(self.files.weights)
        trained = self._train(self.files.check_order, 0, check.steps, check.batch_size, check.lr, 0)
        check.compare(trained.losses, self.timed.job.precision, self.timed.job.tf32)

    def _train(self, order: Path, start: int, steps: int, batch_size: int, lr: float, seed: int) -> Slice:
        stop = start + steps * batch_size
        return self.running.train(order, batch_size, [lr] * steps, start=start, stop=stop, seed=seed)

    @property
    def images_of_a_unit(self) -> int:
        return self.timed.job.batch_size

    @property
    def _most_units(self) -> int:
        return self.files.images // self.images_of_a_unit

    def _evaluation(self) -> EvaluationTime:
        """Seconds of predicting the test images, or of a few calls if that is less; timed at the second time."""
        job = self.timed.job
        count = min(job.test_size, 4 * images_of_a_call(replace(job, batch_size=EVALUATION_BATCH)))
        self._load("test", count)
        batch_size = min(EVALUATION_BATCH, count)
        self.running.evaluate("test", batch_size)  # compiles, if the framework does
        evaluation = self.running.evaluate("test", batch_size)
        return EvaluationTime(cell=self.timed.cell, launch=self.launch, images=count, seconds=evaluation.seconds)


class InferenceRunner(WorkloadRunner):
    def _load_all(self) -> float:
        return self._load("test", self.images_of_a_unit)

    def _play(self, units: int, number: int = 0) -> TimedSlice:
        batch_size = self.timed.job.batch_size
        calls: Calls = self.running.infer("test", batch_size, units)
        # The time of a call is a latency only if the call takes a single image.
        latencies = calls.calls if batch_size == 1 else None
        return self._timed(calls, units, number, latencies)

    def _check(self, check: ReferenceCheck) -> None:
        self._load("test", check.batch_size)
        logits = self.running.predict("test", check.batch_size)
        check.compare(logits, self.timed.job.precision, self.timed.job.tf32)
        self._load_all()

    @property
    def images_of_a_unit(self) -> int:
        return images_of_a_call(self.timed.job)

    @property
    def _most_units(self) -> int:
        return 100_000


def images_of_a_call(job: Job) -> int:
    """Images of one call of `predict`: whole batches; a single image at batch 1, whose time is a latency."""
    if job.batch_size == 1:
        return 1
    batches = int(CALL[job.setting.device] / (max(1, job.network.macs) * job.batch_size))
    return job.batch_size * min(max(1, batches), 8, max(1, job.test_size // job.batch_size))


RUNNERS: dict[Workload, type[WorkloadRunner]] = {"train": TrainingRunner, "infer": InferenceRunner}


def round_seconds(runners: Sequence[WorkloadRunner]) -> float:
    """Estimated seconds of a round."""
    return sum(runner.slice_seconds for runner in runners)
