"""Complete records with default values, for tests that write the folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from benchmarks.records import events
from benchmarks.records.events import End, Epoch, Launch, Start, TimedSlice
from benchmarks.records.runs import (
    ControlWorkload,
    DataInfo,
    JobInfo,
    SpeedJobInfo,
    SpeedRequestInfo,
    SpeedRun,
    TrainingRequestInfo,
    TrainingRun,
)
from benchmarks.records.store import RunFolder
from benchmarks.runtime.machine import Machine
from benchmarks.training.jobs import describe_recipe
from benchmarks.training.recipes import D2L

MACHINE = Machine(processor="One", cores=2, memory_gib=8.0, system="Linux 6", python="3.11", gpu=None)
BEGAN = "2026-11-21T00:00:00+00:00"


def training_job(framework: str = "torch", seed: int = 0, net: str = "lenet", **other: Any) -> JobInfo:
    """A job of the book's LeNet recipe in full size."""
    job = JobInfo(
        cell=f"{net}.{framework}.{seed}",
        net=net,
        framework=framework,
        device="cpu",
        precision="float32",
        seed=seed,
        epochs=10,
        train_size=60_000,
        test_size=10_000,
        threads=1,
        macs=416_520,
        spec_sha256="a" * 64,
        **msgspec.structs.asdict(describe_recipe(D2L)),
    )
    return msgspec.structs.replace(job, **other)


def training_run(jobs: list[JobInfo], **other: Any) -> TrainingRun:
    """A training run of these jobs on Fashion-MNIST."""
    request = TrainingRequestInfo(
        net=["lenet"], frameworks="all", seeds=[0], threads=1, device="cpu", precision="float32"
    )
    run = TrainingRun(
        began=BEGAN,
        command=["onespec", "run"],
        request=request,
        machine=MACHINE,
        data={"fashion-mnist": DataInfo({"images": "1"}, True, "here")},
        jobs=jobs,
    )
    return msgspec.structs.replace(run, **other)


def speed_job(framework: str = "torch", what: str = "train", **other: Any) -> SpeedJobInfo:
    """LeNet at batch size 256 on two threads."""
    job = SpeedJobInfo(
        cell=f"lenet.{framework}",
        net="lenet",
        what=what,
        framework=framework,
        batch_size=256,
        threads=2,
        precision="float32",
        device="cpu",
        dataset="fashion-mnist",
        train_size=60_000,
        test_size=10_000,
        spec_sha256="a" * 64,
        macs=416_520,
        params=61_706,
    )
    return msgspec.structs.replace(job, **other)


def speed_run(jobs: list[SpeedJobInfo], **other: Any) -> SpeedRun:
    """A speed run of these jobs."""
    request = SpeedRequestInfo(
        net=["lenet"], frameworks="all", what=["train"], threads=[2], precision=["float32"], budget=60.0
    )
    workload = ControlWorkload(
        cell="control-workload",
        net="lenet",
        what="train",
        framework="numpy",
        version="2.0",
        batch_size=32,
        precision="float64",
        spec_sha256="b" * 64,
    )
    run = SpeedRun(
        began=BEGAN,
        command=["onespec", "speed"],
        request=request,
        machine=MACHINE,
        commit="c" * 40,
        data={"fashion-mnist": DataInfo({"images": "1"}, True)},
        control_workload=workload,
        jobs=jobs,
    )
    return msgspec.structs.replace(run, **other)


def start(cell: str, **other: Any) -> Start:
    """A cell that has started."""
    return msgspec.structs.replace(Start(cell=cell, pid=1, **_ready(cell)), **other)


def launch(cell: str, number: int, **other: Any) -> Launch:
    """A launch that is ready."""
    event = Launch(cell=cell, launch=number, units=1, first_step_seconds=0.1, **_ready(cell))
    return msgspec.structs.replace(event, **other)


def _ready(cell: str) -> dict[str, Any]:
    name = cell.split(".")[1] if "." in cell else "numpy"
    return {
        "versions": {name: "1.0"},
        "settings": {"layout": "NCHW"},
        "params": 61_706,
        "buffers": 0,
        "import_seconds": 1.0,
        "import_memory": 1 << 20,
        "build_seconds": 0.1,
        "load_seconds": 0.1,
    }


def epoch(cell: str, number: int, **other: Any) -> Epoch:
    """An epoch of two seconds for 100 images, after a first step of half a second in the first epoch."""
    event = Epoch(
        cell=cell,
        epoch=number,
        launch=0,
        first_step_seconds=0.5 if number == 1 else None,
        slices=[(100, 2.0)],
        train_loss=1 / number,
        train_accuracy=0.5,
        test_loss=1.0,
        test_accuracy=0.5,
        evaluation_seconds=1.0,
        harness_seconds=0.1,
    )
    return msgspec.structs.replace(event, **other)


def timed_slice(cell: str, launch: int, number: int, seconds: float, images: int = 1, **other: Any) -> TimedSlice:
    """A slice on one busy thread."""
    event = TimedSlice(
        cell=cell,
        launch=launch,
        round=number,
        images=images,
        seconds=seconds,
        cpu_seconds=seconds,
        idle_seconds=1.0,
        idle_cpu_seconds=0.0,
    )
    return msgspec.structs.replace(event, **other)


def end(cell: str, status: str = "ok", reason: str | None = None, **other: Any) -> End:
    """The end of a cell."""
    return msgspec.structs.replace(End(cell=cell, status=status, reason=reason), **other)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The events of a run as JSON objects."""
    return [events.to_json(event) for event in RunFolder(folder).events()]
