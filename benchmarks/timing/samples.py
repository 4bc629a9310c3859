"""Saved runs as samples: training runs, speed runs and bare report.csv files, read into one structure.

A `SavedRun` has a `TimedSeries` for each workload that was timed: its seconds per image, by launch and round. An epoch
of a training run is a round, and its seeds are launches of the same workload.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.records.csv_cells import original
from benchmarks.records.events import AnyEvent, End, Epoch, Launch, Start, TimedSlice
from benchmarks.records.json_files import one_line
from benchmarks.records.runs import AnyRun, JobInfo, SpeedJobInfo, SpeedRun
from benchmarks.records.store import RunFolder
from benchmarks.runtime.contention import Contention
from benchmarks.runtime.errors import BadInput
from benchmarks.timing.rounds import Rounds, rounds_of

TEXT_COLUMNS = (
    "net", "framework", "version", "mode", "device", "precision", "dataset", "what", "status", "reason",
)  # fmt: skip
REQUIRED_COLUMNS = {"net", "framework", "version", "status", "reason", "params"}
CONTROL_WORKLOAD = "control-workload"  # the cell of the control workload, which every launch of a speed run repeats


class SeriesKey(NamedTuple):
    """What makes two workloads of two runs the same. A bare report.csv lacks some of it."""

    net: str
    framework: str  # its label
    mode: str | None
    what: str  # train or infer
    batch_size: int | None
    threads: int | None
    precision: str | None
    device: str | None
    dataset: str | None
    tf32: bool = False

    @property
    def interleaved(self) -> tuple[object, ...]:
        """Equal for workloads that were interleaved: everything but the framework."""
        return self.net, self.what, self.batch_size, self.threads, self.precision, self.tf32, self.device, self.dataset


@dataclass
class TimedSeries:
    """A workload: a network in a framework, training or inference, all seeds together."""

    key: SeriesKey
    job: JobInfo | SpeedJobInfo | None = None  # of the first seed; None in a bare report.csv
    status: str = "unfinished"
    reason: str | None = "stopped"
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    departures: list[str] | None = None
    certificate: str | None = None  # its verdict
    params: int | None = None
    rounds: Rounds = field(default_factory=dict)
    slices: dict[int, dict[int, TimedSlice]] = field(default_factory=dict)  # of a speed run, by launch and round
    contention: list[list[Contention | None]] = field(default_factory=list)  # of the slices of a launch or an epoch
    losses: dict[int, list[float]] = field(default_factory=dict)  # by seed: the training loss of each epoch
    accuracies: dict[int, float] = field(default_factory=dict)  # by seed: on the test images, after the last epoch
    ends: dict[str, End | None] = field(default_factory=dict)  # by cell; None: not ended

    @property
    def name(self) -> str:
        """Network and framework."""
        return f"{self.key.net}.{self.key.framework}"

    def add(self, event: AnyEvent, seed: int) -> None:
        """Take the next event of one of the workload's cells."""
        match event:
            case Start() | Launch():
                self.versions, self.settings, self.departures = event.versions, event.settings, event.departures
                self.certificate = event.certificate.verdict if event.certificate else self.certificate
                self.params = event.params
                self.ends[event.cell] = None
            case TimedSlice():
                self.slices.setdefault(event.launch, {})[event.round] = event
            case Epoch():
                if event.images:  # a very short epoch can be a single step, which no slice has
                    speed = event.examples_per_second
                    self.rounds.setdefault(event.launch, {})[event.epoch] = 1 / speed if speed else None
                self.contention.append(event.contention)
                self.losses.setdefault(seed, [])[event.epoch - 1 :] = [event.train_loss]
                self.accuracies[seed] = event.test_accuracy
            case End():
                self.ends[event.cell] = event

    def settle(self) -> None:
        """Set the samples of a speed run, and the status: that of the first cell that did not end well, or else ok."""
        if self.slices:
            self.rounds = rounds_of(self.slices)
            self.contention = [[each.contention for each in launch.values()] for launch in self.slices.values()]
        for end in self.ends.values():
            self.status, self.reason = (end.status, end.reason) if end else ("unfinished", "stopped")
            if self.status != "ok":
                break


@dataclass
class SavedRun:
    """A saved run. info: its run.json; None for a report.csv without the records that it was made from."""

    path: Path
    info: AnyRun | None
    series: list[TimedSeries] = field(default_factory=list)
    controls: list[TimedSeries] = field(default_factory=list)  # the A/A controls, with the keys of their baselines
    control_workload: Rounds = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """run, speed or report."""
        return self.info.kind if self.info else "report"


def read(path: Path) -> SavedRun:
    """A run from its folder or from its report.csv. Raises BadInput."""
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise BadInput(f"{path}: no such folder; name the folder of a run")
    return _folder(path.parent) if (path.parent / "run.json").exists() else _report(path)


# --- inside -----------------------------------------------------------------------------------------------------------


def _folder(path: Path) -> SavedRun:
    folder = RunFolder.open(path, option="compare")
    info = folder.info
    run = SavedRun(path, info)
    cells = dict(_cells(run, info))
    workload_slices: dict[int, dict[int, TimedSlice]] = {}
    workload = info.control_workload.cell if isinstance(info, SpeedRun) else None
    if folder.cells.exists() and not folder.cells.read_bytes().endswith(b"\n"):
        raise BadInput(f"{folder.cells}: the last line is incomplete; continue the run with --resume, or run it again")
    for event in folder.events():
        if event.cell in cells:
            series, seed = cells[event.cell]
            series.add(event, seed)
        elif event.cell != workload:
            raise BadInput(f"{folder.cells}: cell {event.cell} is not a job of run.json")
        elif isinstance(event, TimedSlice):
            workload_slices.setdefault(event.launch, {})[event.round] = event
    for series in (*run.series, *run.controls):
        series.settle()
    run.control_workload = rounds_of(workload_slices)
    return run


def _cells(run: SavedRun, info: AnyRun) -> Iterator[tuple[str, tuple[TimedSeries, int]]]:
    """The series and the seed of each cell; the seeds of a workload share a series."""
    known: dict[SeriesKey, TimedSeries] = {}
    for job in info.jobs:
        series = TimedSeries(_key(job), job, params=getattr(job, "params", None))
        if isinstance(job, SpeedJobInfo) and job.control:
            run.controls.append(series)
        elif series.key in known:
            series = known[series.key]
        else:
            known[series.key] = series
            run.series.append(series)
        series.ends[job.cell] = None
        yield job.cell, (series, job.seed if isinstance(job, JobInfo) else 0)


def _key(job: JobInfo | SpeedJobInfo) -> SeriesKey:
    what = job.what if isinstance(job, SpeedJobInfo) else "train"
    setting = (job.batch_size, job.threads, job.precision, job.device, job.dataset)
    return SeriesKey(job.net, job.framework, job.mode, what, *setting, tf32=job.tf32)


def _report(path: Path) -> SavedRun:
    """A table without its records: no machine, no threads, no samples."""
    run = SavedRun(path, None)
    known: dict[SeriesKey, TimedSeries] = {}
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=[""])
        if missing := REQUIRED_COLUMNS - set(table.columns):
            raise ValueError(f"no column {', '.join(sorted(missing))}")
        table = table.astype(object).where(table.notna(), None)
        for cells in table.to_dict("records"):
            row: dict[str, Any] = {str(name): original(value) for name, value in cells.items()}
            names = ("mode", "what", "batch_size", "threads", "precision", "device", "dataset")
            mode, what, *setting = (row.get(name) for name in names)
            if not row["net"] or not row["framework"]:
                raise ValueError("a row without network or framework")
            tf32 = bool(row.get("tf32"))  # older tables have no such column
            key = SeriesKey._make((row["net"], row["framework"], mode, what or "train", *setting, tf32))
            params = None if row["params"] is None else int(row["params"])
            series = known.setdefault(key, TimedSeries(key, None, row["status"], row["reason"], params=params))
            series.versions = {str(row["framework"]).partition("==")[0]: str(row["version"])}
            if row.get("test_accuracy") is not None:
                series.accuracies[int(row.get("seed") or 0)] = float(row["test_accuracy"])
    except (KeyError, ValueError, OSError, OverflowError) as error:  # pandas' own errors are ValueErrors
        raise BadInput(
            f"{path}: not a run of onespec ({type(error).__name__}: {one_line(error)}); "
            "name the folder of a run, or its report.csv"
        ) from None
    run.series = list(known.values())
    return run
