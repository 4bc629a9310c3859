"""The folder of a run: `run.json` (see `runs.py`) and `cells.jsonl` (see `events.py`), written and read here alone.

An event is appended and flushed as soon as its work has finished, because what comes next may fail. Everything else in
the folder is generated from these two files.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.records import events, json_files, runs, upgrade
from benchmarks.records.atomic import write_text
from benchmarks.records.events import AnyEvent, End, Epoch, Start
from benchmarks.records.runs import AnyRun, SpeedRun, TrainingRun
from benchmarks.runtime.errors import BadInput

SCHEMA = 2  # 1 is read, too: see `upgrade`

LONGEST_NAME = 100  # characters of a file name that come from a cell's name; at most 4 bytes each

T = TypeVar("T")


def file_name(name: str) -> str:
    """A name without path separators and other characters that do not fit a file; different names stay different."""
    safe = re.sub(r"[^\w.=:+!-]|^\.", "_", name)[:LONGEST_NAME]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Do not look for cyclic garbage: records are trees, and looking through many of them takes half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
        return self._convert(lambda: runs.from_json(self._run()))

    @property
    def training_run(self) -> TrainingRun:
        """`run.json` of a training run; BadInput for another kind."""
        info = self.info
        if not isinstance(info, TrainingRun):
            raise BadInput(
                f"{self.path}: a {info.kind} run, not a training run; `onespec report` and `compare` read it"
            )
        return info

    @property
    def speed_run(self) -> SpeedRun:
        """`run.json` of a speed run; BadInput for another kind."""
        info = self.info
        if not isinstance(info, SpeedRun):
            raise BadInput(f"{self.path}: a training run, not a speed run")
        return info

    def log(self, cell: str) -> Path:
        """The log of a cell's worker."""
        return self.path / "logs" / f"{file_name(cell)}.log"

    def write_info(self, info: AnyRun) -> None:
        """Write `run.json`."""
        self.write("run.json", json_files.indented({"schema": SCHEMA, **runs.to_json(info)}))

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
        return (event for _, event in self.lines())

    def lines(self) -> Iterator[tuple[str, AnyEvent]]:
        """The lines of `cells.jsonl` with their events, as in `events`."""
        if not self.cells.exists():
            return
        old = self._schema() < SCHEMA
        for number, line in enumerate(self._text(), 1):
            event = None if old or not line.endswith("\n") else events.from_line(line)
            if event is None:
                try:
                    record = json_files.parsed(line, f"{self.cells}, line {number}")
                except BadInput:
                    if not line.endswith("\n"):
                        return
                    raise
                event = self._convert(partial(_event, record, old), f"cells.jsonl, line {number}")
            yield line, event

    def _text(self) -> Iterator[str]:
        """The lines of `cells.jsonl` as text."""
        try:
            with self.cells.open(encoding="utf-8", newline="\n") as file:
                yield from file
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{self.cells}: cannot be read: {json_files.one_line(error)}") from None

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

    def _run(self) -> dict[str, Any]:
        """`run.json` with the keys of this schema."""
        path = self.path / "run.json"
        record = json_files.read_object(path)
        if "schema" not in record:
            raise BadInput(f"{path}: not a run of onespec: it has no schema")
        if record["schema"] not in (1, SCHEMA):
            raise BadInput(f"{path}: schema {record['schema']!r:.40}; this version reads 1 and {SCHEMA}")
        return upgrade.run(record) if record["schema"] == 1 else record

    def _schema(self) -> int:
        """The schema of the folder; without run.json, that of this version."""
        return int(self._run()["schema"]) if (self.path / "run.json").exists() else SCHEMA

    def _convert(self, read: Callable[[], T], where: str = "run.json") -> T:
        try:
            return read()
        except BadInput:
            raise
        except (ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
            raise BadInput(f"{self.path / where}: not a record of onespec: {json_files.one_line(error)}") from None


class FrozenRunFolder(RunFolder):
    """The folder of a run that nobody writes: its two files are read once, whatever is asked of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._info: AnyRun | None = None
        self._records: dict[str, CellRecord] | None = None

    @property
    def info(self) -> AnyRun:
        if self._info is None:
            self._info = super().info
        return self._info

    def records(self) -> dict[str, CellRecord]:
        if self._records is None:
            self._records = super().records()
        return self._records


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
                while self.epochs and self.epochs[-1].epoch >= event.epoch:
                    self.epochs.pop()
                self.epochs.append(event)
            case Start():
                self.start, self.end = event, None
            case End():
                self.end = event

    @property
    def kept(self) -> int:
        """The last epoch after which the state was kept, from which training goes on; 0 if none was."""
        return max((each.epoch for each in self.epochs if each.state_kept), default=0)

    @property
    def finished(self) -> bool:
        return self.end is not None and self.end.status == "ok"


def _event(record: object, old: bool) -> AnyEvent:
    """A line of `cells.jsonl`; old: of schema 1. Raises ValueError."""
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    return events.from_json(upgrade.event(record) if old else record)
