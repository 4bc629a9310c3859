"""Shards of a training run: each is the groups of one shard of a plan, and `onespec run` trains them on a node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import msgspec

from benchmarks.distribution import coordinator
from benchmarks.distribution.coordinator import RECORD, Distribution, shard_count
from benchmarks.distribution.engines import Engine, Needs, device_of_nodes
from benchmarks.distribution.node import ShardCommand, folder_of
from benchmarks.distribution.work import Work
from benchmarks.records import json_files, plans
from benchmarks.records.merging import merge
from benchmarks.records.plans import Plan
from benchmarks.records.store import CellRecord, RunFolder
from benchmarks.runtime import user_files
from benchmarks.runtime.errors import BadInput
from benchmarks.training import code_references

MERGED = "merged"


class NodeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `onespec run` that a plan leaves to the nodes."""

    pythons: dict[str, str] = {}
    timeout: float = 600.0
    save: bool = False


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """`distribution.json`."""

    shards: int
    options: NodeOptions


@dataclass(frozen=True)
class RunCommand(ShardCommand):
    """`onespec run` of a shard."""

    name: ClassVar[str] = "run"
    options: tuple[str, ...]  # beside the shard

    def arguments(self, home: Path, number: int, count: int) -> list[str]:
        if folder := self.started(home, number):
            return ["--resume", str(folder), *self.options]
        shard = ["--plan", str(home / plans.NAME), "--shard", f"{number}/{count}"]
        return [*shard, "--out", str(folder_of(home, number)), *self.options]

    def started(self, home: Path, number: int) -> Path | None:
        return max((path.parent for path in folder_of(home, number).glob("*/run.json")), default=None)

    def has_run(self, home: Path, number: int) -> bool:
        return self.started(home, number) is not None  # cells that failed are recorded


@dataclass
class TrainingDistribution(Distribution):
    """A plan in the folder of its run, with the shards that are left."""

    plan: Plan
    options: NodeOptions

    head: ClassVar[tuple[str, ...]] = ("shard", "group", "where", "memory (MiB)", "multiply-adds")

    @property
    def command(self) -> RunCommand:
        """`onespec run` on a node. Files of code are named again: a node trusts no plan."""
        request, options = self.plan.request, self.options
        nets = ["--net", ",".join(request.net)] if any(map(user_files.is_file, request.net)) else []
        adapters = [word for text in request.adapters for word in ("--adapter", text)]
        pythons = [word for name, path in options.pythons.items() for word in ("--python", f"{name}={path}")]
        save = ["--save"] if options.save else []
        return RunCommand((*nets, *adapters, *pythons, "--timeout", f"{options.timeout:g}", *save))

    @property
    def needs(self) -> Needs:
        memory = {
            number: max(group.memory for group in plans.of_shard(number, self.count, self.plan.groups))
            for number in range(1, self.count + 1)
        }
        request = self.plan.request
        return Needs(device_of_nodes(request.device), request.threads, memory, {plans.NAME: self.plan.text})

    def label(self, number: int) -> str:
        """A shard in words: its group, or how many it has."""
        groups = plans.of_shard(number, self.count, self.plan.group_infos)
        return str(groups[0]) if len(groups) == 1 else f"shard {number}/{self.count} ({len(groups)} groups)"

    def prepare(self) -> None:
        """Nothing: the folder has the plan since `create`."""

    def unfinished(self) -> list[int]:
        """The shards with a cell that has not been trained to its end."""
        return [number for number in range(1, self.count + 1) if not self._finished(number)]

    def _finished(self, number: int) -> bool:
        folder = self.command.started(self.home, number)
        if folder is None:
            return False
        run = RunFolder(folder)
        records = run.records()
        return all(records.get(job.cell, CellRecord()).finished for job in run.training_run.jobs)

    def work(self) -> Work:
        return TrainingWork(self)

    def estimates(self, number: int) -> tuple[str, ...]:
        """The memory of the largest group, and the multiply-adds of all."""
        groups = plans.of_shard(number, self.count, self.plan.groups)
        memory, work = max(group.memory for group in groups), sum(group.multiply_adds for group in groups)
        return f"{memory / 2**20:,.0f}", f"{work:.2e}"


def of_nodes(plan: Plan) -> Plan:
    """A plan without the interpreters of this machine, which each node may have elsewhere."""
    return msgspec.structs.replace(plan, request=msgspec.structs.replace(plan.request, pythons={}))


def preview(out: Path, plan: Plan, options: NodeOptions) -> TrainingDistribution:
    """The shards of a plan in a folder that does not exist."""
    return TrainingDistribution(out.absolute() / "NEW", shard_count(len(plan.groups)), plan, options)


def create(out: Path, plan: Plan, options: NodeOptions) -> TrainingDistribution:
    """A new folder for the shards of a plan."""
    folder = RunFolder.create(out, plan.request.experiment or "-".join(plan.request.net))
    folder.write(plans.NAME, plan.text)
    record = _Record(shards=shard_count(len(plan.groups)), options=options)
    folder.write(RECORD, json.dumps(msgspec.to_builtins(record), indent=1) + "\n")
    return TrainingDistribution(folder.path.absolute(), record.shards, plan, options)


def reopen(
    home: Path, pythons: Mapping[str, str], timeout: float | None, nets: Sequence[str], adapters: Sequence[str]
) -> TrainingDistribution:
    """The folder of a run that was stopped. The arguments are those of the command line; None: as recorded.

    Raises BadInput if it is another folder, or names code that this user has neither run nor given.
    """
    option = f"--resume {home}"
    if not (home / RECORD).is_file():
        raise BadInput(f"{option}: no {RECORD} in it; --executor goes on with a folder that --executor made")
    try:
        record = msgspec.convert(json_files.read_object(home / RECORD), _Record)
    except ValueError as error:
        raise BadInput(f"{home / RECORD}: not a record of onespec: {json_files.one_line(error)}") from None
    plan = plans.read(home / plans.NAME)
    given = code_references.references(nets, adapters, pythons)
    code_references.check_repeated("--net", nets, plan.request.net, option)
    code_references.check_repeated("--adapter", adapters, plan.request.adapters, option)
    every = {**record.options.pythons, **pythons}
    recorded = code_references.references(plan.request.net, plan.request.adapters, every)
    code_references.check_known(f"{option}: it", recorded, given)
    options = msgspec.structs.replace(record.options, pythons=every, timeout=timeout or record.options.timeout)
    if not 1 <= record.shards <= len(plan.groups):
        raise BadInput(f"{home / RECORD}: {record.shards} shards of {len(plan.groups)} groups")
    return TrainingDistribution(home.absolute(), record.shards, plan, options)


def execute(
    run: TrainingDistribution, engine: Engine, command: Sequence[str], *, write_report: Callable[[RunFolder], object]
) -> tuple[RunFolder, list[str]]:
    """Run the shards that are left, and merge all of them into the folder `merged`.

    Returns the merged run, and what is missing in it, in words. command: recorded. Raises WorkerFailed if no shard has
    results, and BadInput as `merge` does.
    """

    def merged(folders: Sequence[Path]) -> tuple[RunFolder, list[str]]:
        shutil.rmtree(run.home / MERGED, ignore_errors=True)
        return merge(folders, run.home / MERGED, command, write_report=write_report)

    (folder, unfinished), missing = coordinator.execute(run, engine, merged)
    return folder, [*missing, *unfinished]


# --- progress ---------------------------------------------------------------------------------------------------------


@dataclass
class _Shard:
    """What is known of a shard: its cells with their work by epoch, and what is done of it."""

    work: dict[str, float]  # of all epochs of a cell
    epochs: dict[str, int]  # of a cell
    done: dict[str, int] = field(default_factory=dict)  # the last epoch that a cell finished
    saved: dict[str, int] = field(default_factory=dict)  # the last one that is not trained again
    folder: Path | None = None
    read: int = 0  # bytes of cells.jsonl


class TrainingWork(Work):
    """The work of a plan in multiply-adds; its steps are epochs. Raises nothing for a line that is not complete yet."""

    def __init__(self, run: TrainingDistribution) -> None:
        self.run, plan = run, run.plan
        self.shards: dict[int, _Shard] = {}
        for number in range(1, run.count + 1):
            shard = self.shards[number] = _Shard({}, {})
            for group in plans.of_shard(number, run.count, plan.groups):
                for cell in plan.cells(group):
                    shard.work[cell] = max(1, group.multiply_adds) / len(plan.frameworks)
                    shard.epochs[cell] = plan.networks[group.net].epochs
        super().__init__({number: sum(shard.work.values()) for number, shard in self.shards.items()})

    def read(self, number: int) -> None:
        shard = self.shards[number]
        folder = self.run.command.started(self.run.home, number)
        if folder is None or not (folder / "cells.jsonl").exists():
            return
        if folder != shard.folder:
            shard.folder, shard.read = folder, 0
        with (folder / "cells.jsonl").open("rb") as file:
            file.seek(shard.read)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        shard.read += len(complete)
        for line in complete.splitlines():
            event = json.loads(line)
            cell = event.get("cell")
            if cell in shard.work and event.get("event") == "epoch":
                shard.done[cell] = event["epoch"]
                if event.get("state_kept", True):
                    shard.saved[cell] = event["epoch"]
            elif cell in shard.work and event.get("event") == "end" and event.get("status") == "ok":
                shard.saved[cell] = shard.epochs[cell]

    def steps(self, number: int) -> int:
        return sum(self.shards[number].saved.values())

    def done(self, number: int) -> float:
        shard = self.shards[number]
        return sum(work * shard.done.get(cell, 0) / shard.epochs[cell] for cell, work in shard.work.items())
