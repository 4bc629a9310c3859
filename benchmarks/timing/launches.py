"""One launch: a fresh worker for a cell, made ready, checked, and then asked for slices in its turns.

A launch is the unit of chance: where memory came to lie holds for as long as a process lives. What is recorded of one:

    launch      when the worker is ready: what it took to get there, and the settings as found
    slice       each of its turns: raw pictures and seconds; the rounds of a launch count from 0
    evaluation  once, after the turns of the first launch: raw pictures and seconds of predicting
    roofline    once per framework, after the first launch: see `benchmarks.timing.roofline`

and at the end of all launches one `end`, with the status, the reason and the peak memory of each launch.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets.registry import Dataset
from benchmarks.records.store import Folder
from benchmarks.runtime import affinity
from benchmarks.runtime.errors import Refused, WorkerFailed
from benchmarks.runtime.worker_client import Session
from benchmarks.timing import sanity_checks
from benchmarks.timing.sanity_checks import Check
from benchmarks.training.trainer import Job, counted
from frameworks import arrays
from frameworks.registry import FrameworkInfo
from frameworks.spec import Network, to_json

# Seconds of a slice, or a step's if that is longer: long against the pipes (0.2 ms), short against the load that comes
# and goes. In the same time, many short pairs tell a ratio better than few long ones: docs/slices.md.
SLICE_SECONDS = 0.05

# Seconds of a trial from which the slice's length is told.
TRIAL_SECONDS = 0.05

# Of timed steps: it changes no work, and a small one keeps the numbers ordinary however long a launch is.
RATE = 1e-4

# Multiply-adds of one call of `predict`: about 50 ms here; never less than a batch.
CALL = {"cpu": 2e9, "cuda": 200e9}


@dataclass(frozen=True)
class Timed:
    """A cell of a speed run: a job of which training or inference is timed. A twin is its baseline once more."""

    job: Job
    what: str  # train or infer
    twin: bool = False
    name: str = ""  # of a cell that is no framework's: calibration

    @property
    def cell(self) -> str:
        job = self.job
        parts = (job.name, job.framework, self.what, job.batch_size, job.threads, job.precision)
        return self.name or ".".join(map(str, parts)) + (".twin" if self.twin else "")


class Work:
    """What all workers of a comparison are given: files for weights and orders, and what the reference computes."""

    def __init__(self, timed: Timed, data: Dataset, scratch: Path, checked: bool = True) -> None:
        job, self.data = timed.job, data
        self.weights = scratch / "weights.npz"
        self.order = scratch / "order.npy"
        self.first = scratch / "first.npy"  # the order of the check: the pictures as they come
        scratch.mkdir()
        initial = arrays.initial(job.network, job.seed, job.initial)
        np.savez(self.weights, **initial)  # type: ignore[arg-type]
        shuffled = np.random.default_rng(job.seed).permutation(job.train_size)
        self.pictures = max(len(shuffled), 1 << 17) // job.batch_size * job.batch_size
        np.save(self.order, np.resize(shuffled, self.pictures))
        self.check: Check | None = None
        if checked:
            split = data.train if timed.what == "train" else data.test
            images, labels = (np.load(path, mmap_mode="r") for path in (split.images, split.labels))
            self.check = Check.of(
                job.network, job.training, timed.what, initial, images, labels, job.batch_size, job.rate
            )
            np.save(self.first, self.check.order)


class Runner(ABC):
    """A cell's worker for one launch. Every method may raise `Unavailable`, `WorkerFailed` or `Refused`."""

    split: str

    def __init__(self, timed: Timed, work: Work, launch: int, folder: Folder, timeout: float, steady: bool) -> None:
        self.timed, self.work, self.launch, self.folder, self.timeout = timed, work, launch, folder, timeout
        self.steady = steady
        self.session: Session | None = None
        self.slices: list[dict[str, Any]] = []
        self.slice_seconds = 0.0  # about what one takes
        self.ready_seconds = 0.0  # from its start until its first turn

    def open(self, python: Path, info: FrameworkInfo, units: int | None, alone: bool = True) -> int:
        """Make the worker ready; how many units (steps, calls) its slices have: as given, or found by trial.

        alone: no other worker is being made ready meanwhile, so what it takes can be told.
        """
        job, began = self.timed.job, time.monotonic()
        log = self.folder.path / "logs" / f"{self.timed.cell}.log"
        self.session = Session(
            python,
            info.module,
            info.adapter,
            threads=job.threads,
            log=log,
            timeout=self.timeout,
            steady=self.steady,
        )
        started = self.session.receive()
        check = self.work.check
        apart = check is not None and sanity_checks.has_dropout(job.network)
        if check and apart:  # before the network itself, in the same worker, for none of its masks can be known
            self._build(check.network)
            self._load_all()
            self._check(check)
        built, filled = self._build(job.network)
        loaded = self._load_all()
        first = self._play(1)
        if check and not apart:
            self._check(check)
        units = units or self._units()
        warming = self._play(units)  # what compiles for this length does it here
        self.slice_seconds = self._completed(units)
        kept = affinity.chosen(self.launch, job.threads) if self.steady and job.device == "cpu" else []
        affinity.keep(self.session.process.pid, kept)
        self.folder.append(
            self.timed.cell,
            "launch",
            launch=self.launch,
            alone=alone,
            versions=started["versions"],
            settings=built["settings"],
            departures=built["departures"],
            certificate=job.certificate(started["file"], started["versions"]),
            **counted(built["arrays"]),
            units=units,
            cores=kept,
            import_seconds=started["seconds"],
            import_memory=started["resident"],
            build_seconds=built["seconds"] + filled["seconds"],
            load_seconds=loaded,
            first_step_seconds=first["seconds"],
            trial_seconds=[warming["seconds"], self.slice_seconds],
        )
        self.ready_seconds = time.monotonic() - began
        self.versions, self.settings, self.units = started["versions"], built["settings"], units
        return units

    def slice(self, number: int) -> None:
        """One turn: a slice, timed by the worker, recorded when it has finished."""
        answer = self._play(self.units, number)
        kept = ("pictures", "seconds", "cpu_seconds", "idle_seconds", "idle_cpu_seconds", "calls")
        slice_ = {name: answer[name] for name in kept if name in answer}
        self.slices.append(slice_)
        self.folder.append_quickly(self.timed.cell, "slice", launch=self.launch, round=number, **slice_)

    def evaluate(self) -> None:
        """What an evaluation takes, recorded. After all turns: the memory that it leaves behind is not its twin's."""
        if found := self._evaluation():
            self.folder.append(self.timed.cell, "evaluation", launch=self.launch, **found)

    def finish(self) -> dict[str, int]:
        """The peak memory of this launch; refused where the worker did not keep to its turns."""
        peak: dict[str, int] = self.ask("memory")["peak"]
        if self.timed.job.device == "cpu" and self.slices:
            sanity_checks.keeps_to_its_turn(self.slices, self.timed.job.threads)
        return peak

    def close(self) -> None:
        if self.session:
            self.session.close()
            self.session = None

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self.session is not None, "open() comes first"
        return self.session.request(command, **arguments)

    @property
    def setting(self) -> dict[str, Any]:
        job = self.timed.job
        return {"device": job.device, "precision": job.precision, "threads": job.threads, "mode": job.mode}

    # --- what training and inference do each in their way -----------------------------------------------------------

    @abstractmethod
    def _load_all(self) -> float:
        """Put on the device what the slices need; seconds."""

    @abstractmethod
    def _play(self, units: int, number: int = 0) -> dict[str, Any]:
        """So many steps, or calls; `number` is the round."""

    @abstractmethod
    def _check(self, check: Check) -> None:
        """The short piece of work whose result the reference knows."""

    @property
    @abstractmethod
    def unit(self) -> int:
        """Pictures of a unit: of a step, of a call."""

    @property
    @abstractmethod
    def _most(self) -> int:
        """Units that a slice can have."""

    def _evaluation(self) -> dict[str, Any]:
        return {}

    # --- inside -------------------------------------------------------------------------------------------------------

    def _build(self, network: Network) -> tuple[dict[str, Any], dict[str, Any]]:
        recipe = self.timed.job.training.to_json()
        built = self.ask("build", network=to_json(network), training=recipe, setting=self.setting)
        return built, self.ask("set_weights", path=str(self.work.weights))

    def _load(self, split: str, count: int) -> float:
        files = getattr(self.work.data, split)
        answer = self.ask("load", split=split, images=str(files.images), labels=str(files.labels), count=count)
        return float(answer["seconds"])

    def _units(self) -> int:
        """As many as make a slice, from trials that double until one is long enough to tell."""
        units = 1
        while True:
            self._play(units)  # a length that comes for the first time may be compiled
            seconds = self._completed(units)
            if seconds >= TRIAL_SECONDS or units >= self._most:
                return min(self._most, max(1, round(units * SLICE_SECONDS / seconds)))
            units = min(self._most, max(2 * units, math.ceil(units * TRIAL_SECONDS / seconds)))

    def _completed(self, units: int) -> float:
        """Seconds until so much work, begun when there was no other, had really finished."""
        self.ask("settle")
        returned = self._play(units)["seconds"]
        settled, idle = (self.ask("settle")["seconds"] for _ in range(2))
        return sanity_checks.completion(returned, settled, idle)


class Training(Runner):
    def _load_all(self) -> float:
        return self._load("train", self.timed.job.train_size)

    def _play(self, units: int, number: int = 0) -> dict[str, Any]:
        batch = self.timed.job.batch_size
        start = number * units % (self._most - units + 1) * batch
        answer = self._train(self.work.order, start, units, batch, RATE, number)
        if len(answer["losses"]) != units:
            raise Refused(f"another computation: {len(answer['losses'])} losses of {units} steps")
        if not np.isfinite(answer["losses"]).all():
            raise WorkerFailed(f"diverged: the loss is {answer['losses'][-1]} in a slice at rate {RATE:g}")
        return {**answer, "pictures": units * self.unit}

    def _check(self, check: Check) -> None:
        self.ask("set_weights", path=str(self.work.weights))
        answer = self._train(self.work.first, 0, check.steps, check.batch_size, check.rate, 0)
        check.judge(answer["losses"], self.timed.job.precision)

    def _train(self, order: Path, start: int, steps: int, batch: int, rate: float, seed: int) -> dict[str, Any]:
        slice_ = {"order": str(order), "start": start, "stop": start + steps * batch, "batch_size": batch}
        return self.ask("train", lrs=[rate] * steps, seed=seed, **slice_)

    @property
    def unit(self) -> int:
        return self.timed.job.batch_size

    @property
    def _most(self) -> int:
        return self.work.pictures // self.unit

    def _evaluation(self) -> dict[str, Any]:
        """Seconds of predicting the test pictures, or as many as a few calls take; the second time, compiled."""
        job = self.timed.job
        count = min(job.test_size, 4 * pictures_of_a_call(replace(job, batch_size=256)))
        self._load("test", count)
        _, second = (self.ask("evaluate", split="test", batch_size=min(256, count)) for _ in range(2))
        return {"seconds": second["seconds"], "pictures": count}


class Inference(Runner):
    def _load_all(self) -> float:
        return self._load("test", self.unit)

    def _play(self, units: int, number: int = 0) -> dict[str, Any]:
        job = self.timed.job
        answer = self.ask("infer", split="test", batch_size=job.batch_size, repeats=units)
        if job.batch_size > 1:
            del answer["calls"]  # one picture a call is a latency, many are a sum
        return {**answer, "pictures": units * self.unit}

    def _check(self, check: Check) -> None:
        self._load("test", check.batch_size)
        path = self.work.weights.with_name(f"{self.timed.cell}.npy")  # its twin may be at it at the same time
        self.ask("predict", split="test", batch_size=check.batch_size, path=str(path))
        check.judge(np.load(path), self.timed.job.precision)
        self._load_all()

    @property
    def unit(self) -> int:
        return pictures_of_a_call(self.timed.job)

    @property
    def _most(self) -> int:
        return 100_000


def pictures_of_a_call(job: Job) -> int:
    """How many pictures one call of `predict` takes: whole batches; a single one at batch 1, which is a latency."""
    if job.batch_size == 1:
        return 1
    batches = int(CALL[job.device] / (max(1, job.network.macs) * job.batch_size))
    return job.batch_size * min(max(1, batches), 8, max(1, job.test_size // job.batch_size))


RUNNERS: dict[str, type[Runner]] = {"train": Training, "infer": Inference}


def round_seconds(runners: Sequence[Runner]) -> float:
    """About what a round takes: a slice of each."""
    return sum(runner.slice_seconds for runner in runners)
