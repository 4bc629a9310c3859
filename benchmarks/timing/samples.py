"""Saved runs as samples: what `benchmarks.run` and `benchmarks.speed` have left, read into one structure.

A `Run` has `Work`s, one for each thing that was timed, with its seconds a picture by launch and round. An epoch of a
run of `benchmarks.run` is a round; its seeds are launches of the same work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.records.store import Folder
from benchmarks.runtime.errors import BadInput
from benchmarks.timing.rounds import Rounds

CALIBRATION = "calibration"  # the cell of the control workload, which every launch of a speed run repeats
KEY = "net framework mode what batch_size threads precision device dataset".split()  # two jobs alike in these are twins


@dataclass
class Work:
    """One thing that was timed: a network in a framework, training or inference, all seeds together."""

    job: dict[str, Any]  # as in run.json, of the first seed
    status: str = "unfinished"
    reason: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    departures: list[str] | None = None
    certificate: str | None = None  # its verdict
    params: int | None = None
    rounds: Rounds = field(default_factory=dict)
    losses: dict[int, list[float]] = field(default_factory=dict)  # by seed: the training loss of each epoch
    accuracies: dict[int, float] = field(default_factory=dict)  # by seed: on the test pictures, after the last epoch

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(self.job.get(name) for name in KEY)

    @property
    def name(self) -> str:
        return ".".join(str(self.job[name]) for name in ("net", "framework"))

    def add(self, line: Mapping[str, Any], seed: int) -> None:
        """What a line of `cells.jsonl` says; events that are not about samples are passed over."""
        event = line["event"]
        if event in ("start", "launch"):
            self.versions, self.settings = line.get("versions", {}), line.get("settings", {})
            self.departures = line.get("departures", self.departures)
            self.certificate = _verdict(line.get("certificate")) or self.certificate
            self.params = line.get("params", self.params)
        elif event == "slice":
            self.rounds.setdefault(line["launch"], {})[line["round"]] = line["seconds"] / line["pictures"]
        elif event == "epoch":
            pictures, seconds = (sum(column) for column in zip(*line["slices"])) if line["slices"] else (0, 0.0)
            if pictures:  # the first epoch of a very short run is its first step alone
                self.rounds.setdefault(line["launch"], {})[line["epoch"]] = seconds / pictures
            losses = self.losses.setdefault(seed, [])
            losses[line["epoch"] - 1 :] = [line["train_loss"]]
            self.accuracies[seed] = line["test_accuracy"]


@dataclass
class Run:
    """A saved run. kind: run, speed, or report, a report.csv without the records that it was made from."""

    path: Path
    kind: str
    facts: dict[str, Any]  # run.json
    works: list[Work]
    twins: list[Work] = field(default_factory=list)  # of the baseline, by the same key
    calibration: Rounds = field(default_factory=dict)


def read(path: Path) -> Run:
    """A run from its folder, or from its report.csv. BadInput where it is none, or is not whole."""
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise BadInput(f"{path}: there is no such folder; name one that benchmarks.run or benchmarks.speed has made")
    return _folder(path.parent) if (path.parent / "run.json").exists() else _report(path)


# --- inside -----------------------------------------------------------------------------------------------------------


def _folder(path: Path) -> Run:
    folder = Folder.open(path, option="compare")
    try:
        facts = folder.run
        kind = facts.get("kind", "run")
        if kind not in ("run", "speed"):
            raise BadInput(f"{path}: a record of kind {kind}; there are run and speed")
        run = Run(path, kind, facts, [])
        cells = dict(_placed(run))
        for line in _whole(folder):
            if line["cell"] == CALIBRATION:
                if line["event"] == "slice":
                    rounds = run.calibration.setdefault(line["launch"], {})
                    rounds[line["round"]] = line["seconds"] / line["pictures"]
                continue
            work, seed = cells[line["cell"]]
            work.add(line, seed)
        _end(folder, cells)
    except (KeyError, TypeError, AttributeError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path}: not a whole record: {type(error).__name__} {error}; run it again") from None
    return run


def _placed(run: Run) -> Iterator[tuple[str, tuple[Work, int]]]:
    """The work and the seed of each cell: seeds of one work together; the second of a kind in a speed run is a twin."""
    known: dict[tuple[Any, ...], Work] = {}
    for job in run.facts["jobs"]:
        if job["cell"] == CALIBRATION:
            continue
        work = Work({"what": "train", "mode": "", **job}, params=job.get("params"))
        work.certificate = _verdict(job.get("certificate"))
        first = known.setdefault(work.key, work)
        if first is work:
            run.works.append(work)
        elif run.kind == "speed":
            run.twins.append(work)
            first = work
        yield job["cell"], (first, job.get("seed", 0))


def _whole(folder: Folder) -> Iterator[dict[str, Any]]:
    """The lines of the record, which a writer that was killed may have left without an end."""
    if folder.cells.exists() and not folder.cells.read_bytes().endswith(b"\n"):
        raise BadInput(f"{folder.cells}: its last line is half-written; --resume goes on with the run, or run it again")
    yield from folder.lines()


def _end(folder: Folder, cells: Mapping[str, tuple[Work, int]]) -> None:
    """How each work ended: as the first of its seeds that did not end well, or well."""
    ends = {line["cell"]: line for line in folder.lines() if line["event"] in ("end", "start", "launch")}
    told: dict[int, list[tuple[str, str | None]]] = {}
    for cell, (work, _) in cells.items():
        last = ends.get(cell, {})
        ended = last.get("event") == "end"
        told.setdefault(id(work), []).append((last["status"], last["reason"]) if ended else ("unfinished", "stopped"))
    for work in {id(work): work for work, _ in cells.values()}.values():
        bad = [one for one in told[id(work)] if one[0] != "ok"]
        work.status, work.reason = (bad or told[id(work)])[0]


def _report(path: Path) -> Run:
    """What a table says that has been parted from its records: no machine, no threads, no samples."""
    try:
        table = pd.read_csv(path)
        table = table.astype(object).where(table.notna(), None)
        run = Run(path, "report", {}, [])
        works: dict[tuple[Any, ...], Work] = {}
        for row in table.to_dict("records"):
            job = {"what": "train", **{name: row[name] for name in KEY if name in row}}
            work = Work(job, row["status"], row["reason"], params=None if row["params"] is None else int(row["params"]))
            work = works.setdefault(work.key, work)
            work.versions = {str(row["framework"]).partition("==")[0]: str(row["version"])}
            if row.get("test_accuracy") is not None:
                work.accuracies[int(row.get("seed") or 0)] = float(row["test_accuracy"])
    except (KeyError, ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise BadInput(f"{path}: no report.csv of a run: {type(error).__name__} {error}".splitlines()[0]) from None
    run.works = list(works.values())
    return run


def _verdict(certificate: Any) -> str | None:
    """Of a certificate as a record keeps it: its verdict, or a mapping that has one."""
    found = certificate.get("verdict") if isinstance(certificate, Mapping) else certificate
    return None if found is None else str(found)
