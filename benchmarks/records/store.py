"""The folder of a run: `run.json` (see `runs.py`) and `cells.jsonl` (see `events.py`), written and read here alone.

An event is appended and flushed as soon as its work has finished, because what comes next may fail. Everything else in
the folder is made from these two files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.records import events, runs
from benchmarks.records.atomic import write_text
from benchmarks.records.events import AnyEvent, End, Epoch, Start
from benchmarks.records.runs import AnyRun, SpeedRun, TrainingRun
from benchmarks.runtime.errors import BadInput

SCHEMA = 1

T = TypeVar("T")


class RunFolder:
    """One run's folder. BadInput if it cannot be created, is not the folder of a run, or is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = path / "cells.jsonl"

    @classmethod
    def create(cls, parent: Path, name: str) -> RunFolder:
        """A new folder `<parent>/<date>-<time>-<name>`; characters of the name that do not fit a file are replaced."""
        stem = f"{datetime.now():%Y%m%d-%H%M%S}-{re.sub(r'[^A-Za-z0-9_.=-]+', '_', name)[:60]}"
        for number in range(1, 1000):
            path = parent / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir(parents=True)
                return cls(path)
            except FileExistsError:
                if not parent.is_dir():
                    raise BadInput(f"--out {parent}: it is a file; name a folder") from None
            except OSError as error:
                raise BadInput(f"--out {parent}: {error.strerror}; name a folder that can be written") from None
        raise BadInput(f"--out {parent}: too many runs were started in the same second; name another folder")

    def discard(self) -> None:
        """Remove a run that has not started."""
        shutil.rmtree(self.path)
        with contextlib.suppress(OSError):  # other runs are beside it
            self.path.parent.rmdir()

    @classmethod
    def open(cls, path: Path, option: str = "--resume") -> RunFolder:
        """The folder of an existing run."""
        if not (path / "run.json").is_file():
            raise BadInput(f"{option} {path}: no run.json in it; name the folder of a run")
        return cls(path)

    @property
    def info(self) -> AnyRun:
        """`run.json`, read anew at each access."""
        return self._convert(lambda: runs.from_json(self.run))

    @property
    def training_run(self) -> TrainingRun:
        """`run.json` of a training run; BadInput for another kind."""
        info = self.info
        if not isinstance(info, TrainingRun):
            raise BadInput(f"{self.path}: a {info.kind} run, not a training run")
        return info

    @property
    def speed_run(self) -> SpeedRun:
        """`run.json` of a speed run; BadInput for another kind."""
        info = self.info
        if not isinstance(info, SpeedRun):
            raise BadInput(f"{self.path}: a training run, not a speed run")
        return info

    def write_info(self, info: AnyRun) -> None:
        """Write `run.json`."""
        self.write_run(runs.to_json(info))

    def write(self, name: str, text: str) -> None:
        """Write a file of the run; no reader ever sees half of it."""
        write_text(self.path / name, text)

    def record(self, event: AnyEvent, *, durable: bool = True) -> None:
        """Append an event, which then outlives this process; if `durable`, also a crash of the machine.

        Making a line durable takes milliseconds, so the slices of a speed run are not.
        """
        with self.cells.open("a", encoding="utf-8") as file:
            file.write(json.dumps(events.to_json(event)) + "\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())

    def events(self) -> Iterator[AnyEvent]:
        """The recorded events. A last line without an end is left out: its work had not finished."""
        for number, line in enumerate(self.lines(), 1):
            yield self._convert(lambda line=line: events.from_json(line), f"cells.jsonl, line {number}")  # type: ignore[misc]

    def records(self) -> dict[str, CellRecord]:
        """What is recorded of each cell of a training run, in the order in which they were started."""
        cells: dict[str, CellRecord] = {}
        for event in self.events():
            cells.setdefault(event.cell, CellRecord()).add(event)
        return cells

    def repair(self) -> None:
        """Cut off a last line without an end, so that the next event starts a line of its own."""
        if self.cells.exists():
            length = self.cells.read_bytes().rfind(b"\n") + 1
            if length < self.cells.stat().st_size:
                os.truncate(self.cells, length)  # rewrites nothing: a crash at this moment loses no event

    def _convert(self, read: Callable[[], T], where: str = "run.json") -> T:
        try:
            return read()
        except ValueError as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"{self.path / where}: not a record of onespec: {error}") from None

    # --- untyped access, until the last reader is typed ---

    @property
    def run(self) -> dict[str, Any]:
        try:
            run: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise BadInput(f"{self.path / 'run.json'}: not whole: {error}") from None
        if run.get("schema") != SCHEMA:
            raise BadInput(f"{self.path}: written with schema {run.get('schema')}, this version reads {SCHEMA}")
        return run

    def write_run(self, run: dict[str, Any]) -> None:
        self.write("run.json", json.dumps({"schema": SCHEMA, **run}, indent=1) + "\n")

    def append(self, cell: str, event: str, **facts: Any) -> None:
        """A line more, which outlives a machine that stops."""
        self.append_quickly(cell, event, **facts)
        with self.cells.open("a", encoding="utf-8") as file:
            os.fsync(file.fileno())

    def append_quickly(self, cell: str, event: str, **facts: Any) -> None:
        """A line more, which outlives this process: without the milliseconds in which the disk takes it."""
        line = json.dumps({"cell": cell, "event": event, **facts})
        with self.cells.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def lines(self) -> Iterator[dict[str, Any]]:
        """What has been appended. A last line cut off in the writing is left out: its work was not finished."""
        if not self.cells.exists():
            return
        text = self.cells.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                if line.endswith("\n"):
                    raise BadInput(f"{self.cells}, line {number}: not JSON") from None

    def histories(self) -> dict[str, History]:
        """What is known of each cell, in the order in which they were begun."""
        cells: dict[str, History] = {}
        for line in self.lines():
            cells.setdefault(line["cell"], History()).add(line)
        return cells


@dataclass
class CellRecord:
    """What is recorded of one cell of a training run: the last start and end, and every finished epoch once."""

    start: Start | None = None
    epochs: list[Epoch] = field(default_factory=list)
    end: End | None = None

    def add(self, event: AnyEvent) -> None:
        """Take the next event; an epoch that was run again replaces the first one and what followed it."""
        match event:
            case Epoch():
                self.epochs = [epoch for epoch in self.epochs if epoch.epoch < event.epoch] + [event]
            case Start():
                self.start, self.end = event, None
            case End():
                self.end = event

    @property
    def finished(self) -> bool:
        return self.end is not None and self.end.status == "ok"


Folder = RunFolder


@dataclass
class History:
    """All that was recorded of one cell: the last start and end, and every finished epoch once."""

    start: dict[str, Any] | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None

    def add(self, line: dict[str, Any]) -> None:
        if line["event"] == "epoch":
            self.epochs = [epoch for epoch in self.epochs if epoch["epoch"] < line["epoch"]] + [line]
        elif line["event"] == "start":
            self.start, self.end = line, None
        else:
            self.end = line

    @property
    def finished(self) -> bool:
        return self.end is not None and self.end["status"] == "ok"
