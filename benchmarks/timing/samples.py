"""Saved runs as samples: the records of training runs and speed runs, read into one structure.

A `SavedRun` has a `TimedSeries` for each workload that was timed. An epoch of a training run is a round, and its seeds
are launches of one series.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.records.events import AnyEvent, End, Epoch, Launch, Start, TimedSlice
from benchmarks.records.store import RunFolder
from benchmarks.runtime.errors import BadInput
from benchmarks.timing.rounds import Rounds

CALIBRATION = "calibration"  # the cell of the control workload, which every launch of a speed run repeats

# Two jobs of a speed run that agree in these are a baseline and its A/A control.
KEY = ("net", "framework", "mode", "what", "batch_size", "threads", "precision", "device", "dataset")


@dataclass
class TimedSeries:
    """All samples of one workload: a network in a framework, training or inference, with all seeds."""

    job: dict[str, Any]  # as in run.json, of the first seed
    status: str = "unfinished"
    reason: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    departures: list[str] | None = None
    certificate: str | None = None  # its verdict
    params: int | None = None
    rounds: Rounds = field(default_factory=dict)
    losses: dict[int, list[float]] = field(default_factory=dict)  # training loss of each epoch, by seed
    accuracies: dict[int, float] = field(default_factory=dict)  # on the test images after the last epoch, by seed

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(self.job.get(name) for name in KEY)

    @property
    def name(self) -> str:
        return f"{self.job['net']}.{self.job['framework']}"

    def add(self, event: AnyEvent, seed: int) -> None:
        """Add an event; events without samples are ignored."""
        match event:
            case Start() | Launch():
                self.versions, self.settings, self.departures = event.versions, event.settings, event.departures
                self.certificate = event.certificate.verdict if event.certificate else self.certificate
                self.params = event.params
            case TimedSlice():
                _add_slice(self.rounds, event)
            case Epoch():
                if event.images:  # the first epoch of a very short run consists of its first step
                    seconds = event.slice_seconds / event.images
                    self.rounds.setdefault(event.launch, {})[event.epoch] = seconds
                losses = self.losses.setdefault(seed, [])
                losses[event.epoch - 1 :] = [event.train_loss]
                self.accuracies[seed] = event.test_accuracy


@dataclass
class SavedRun:
    """A saved run. kind: run, speed, or report (a report.csv without the records that it was made from)."""

    path: Path
    kind: str
    facts: dict[str, Any]  # run.json
    series: list[TimedSeries]
    controls: list[TimedSeries] = field(default_factory=list)  # A/A controls, with the key of their baseline
    control_workload: Rounds = field(default_factory=dict)


def read(path: Path) -> SavedRun:
    """Read a run from its folder or its report.csv. BadInput if it is neither, or incomplete."""
    if path.is_dir():
        return _read_folder(RunFolder.open(path, option="compare"))
    if not path.is_file():
        raise BadInput(f"{path}: no such folder; name the folder of a training run or a speed run")
    if (path.parent / "run.json").exists():
        return _read_folder(RunFolder(path.parent))
    return _read_report(path)


# --- inside -----------------------------------------------------------------------------------------------------------


def _read_folder(folder: RunFolder) -> SavedRun:
    if folder.cells.exists() and not folder.cells.read_bytes().endswith(b"\n"):
        raise BadInput(f"{folder.cells}: the last line is incomplete; continue the run with --resume, or run it again")
    try:
        facts = folder.run
        run = SavedRun(folder.path, facts.get("kind", "run"), facts, [])
        if run.kind not in ("run", "speed"):
            raise BadInput(f"{folder.path}: a record of kind {run.kind}; allowed are run and speed")
        cells = dict(_series_by_cell(run))
        last: dict[str, AnyEvent] = {}
        for event in folder.events():
            if event.cell != CALIBRATION:
                series, seed = cells[event.cell]
                series.add(event, seed)
            elif isinstance(event, TimedSlice):
                _add_slice(run.control_workload, event)
            if isinstance(event, (Start, Launch, End)):
                last[event.cell] = event
        for series in (*run.series, *run.controls):
            statuses = [_status(last.get(cell)) for cell, (of_cell, _) in cells.items() if of_cell is series]
            # Of several seeds, the first that did not end well counts.
            series.status, series.reason = next((each for each in statuses if each[0] != "ok"), statuses[0])
    except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise BadInput(f"{folder.path}: not a complete record: {type(error).__name__} {error}; run it again") from None
    return run


def _add_slice(rounds: Rounds, event: TimedSlice) -> None:
    rounds.setdefault(event.launch, {})[event.round] = event.seconds_per_image


def _series_by_cell(run: SavedRun) -> Iterator[tuple[str, tuple[TimedSeries, int]]]:
    """The series and the seed of each cell. In a speed run the second series with the same key is an A/A control."""
    known: dict[tuple[Any, ...], TimedSeries] = {}
    for job in run.facts["jobs"]:
        if job["cell"] == CALIBRATION:
            continue
        new = TimedSeries({"what": "train", "mode": "", **job}, params=job.get("params"))
        series = known.setdefault(new.key, new)
        if series is new:
            run.series.append(new)
        elif run.kind == "speed":
            run.controls.append(new)
            series = new
        yield job["cell"], (series, job.get("seed", 0))


def _status(event: AnyEvent | None) -> tuple[str, str | None]:
    """The status and the reason of a cell, from its last start or end."""
    return (event.status, event.reason) if isinstance(event, End) else ("unfinished", "stopped")


def _read_report(path: Path) -> SavedRun:
    """A table without its records: no machine, no threads, no samples."""
    by_key: dict[tuple[Any, ...], TimedSeries] = {}
    try:
        table = pd.read_csv(path)
        for row in table.astype(object).where(table.notna(), None).to_dict("records"):
            job = {"what": "train", **{name: row[name] for name in KEY if name in row}}
            params = None if row["params"] is None else int(row["params"])
            new = TimedSeries(job, row["status"], row["reason"], params=params)
            series = by_key.setdefault(new.key, new)
            series.versions = {str(row["framework"]).partition("==")[0]: str(row["version"])}
            if row.get("test_accuracy") is not None:
                series.accuracies[int(row.get("seed") or 0)] = float(row["test_accuracy"])
    except (KeyError, ValueError, OSError) as error:  # the errors of pandas are ValueErrors
        reason = f"{path}: not the report.csv of a run: {type(error).__name__} {error}"
        raise BadInput(reason.splitlines()[0]) from None
    return SavedRun(path, "report", {}, list(by_key.values()))
