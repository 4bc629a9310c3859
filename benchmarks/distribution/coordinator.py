"""Runs all shards of a plan through an engine, and merges them into one run.

A shard whose node is lost is run again: it goes on after its last finished epoch where the nodes share the folder, and
from its start otherwise. Its folder is merged once, whatever number of nodes wrote in it.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.distribution.engines import Engine
from benchmarks.distribution.node import TOKEN, Outcome, ShardTask, arguments, started, unpack
from benchmarks.distribution.work import Work
from benchmarks.records import json_files, plans
from benchmarks.records.lock import locked
from benchmarks.records.merging import merge
from benchmarks.records.plans import Plan
from benchmarks.records.store import CellRecord, RunFolder
from benchmarks.reporting.number_formats import duration
from benchmarks.runtime import user_files
from benchmarks.runtime.errors import BadInput, WorkerFailed
from benchmarks.training import code_references

RECORD = "distribution.json"
MERGED = "merged"
MOST_SHARDS = 1000  # each shard stores the plan; Slurm's default limit of an array is 1001
ATTEMPTS = 3  # of a shard, without a finished epoch between them
POLL_SECONDS = 1.0


class NodeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `onespec run` that a plan leaves to the nodes."""

    pythons: dict[str, str] = {}
    timeout: float = 600.0
    save: bool = False


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """`distribution.json`."""

    shards: int
    options: NodeOptions


class Display:
    """Receives the progress of all shards. The base class shows nothing."""

    def message(self, line: str) -> None:
        """A line that stays."""

    def update(self, running: Mapping[int, str], waiting: int, done: float, left: float | None) -> None:
        """running: where each shard runs. waiting: shards. done: from 0 to 1. left: seconds."""

    def close(self) -> None:
        """All shards have ended, or the command is stopped."""


@dataclass
class Distribution:
    """A plan in the folder of its run, with the shards that are left."""

    home: Path
    plan: Plan
    count: int  # of shards
    options: NodeOptions
    display: Display = field(default_factory=Display)

    def label(self, number: int) -> str:
        """A shard in words: its group, or how many it has."""
        groups = plans.of_shard(number, self.count, self.plan.group_infos)
        return str(groups[0]) if len(groups) == 1 else f"shard {number}/{self.count} ({len(groups)} groups)"

    def task(self, number: int, token: str = "") -> ShardTask:
        return ShardTask(str(self.home), token, number, self.count, self.arguments, os.getcwd())

    @property
    def arguments(self) -> tuple[str, ...]:
        """The options of `onespec run` on a node. Files of code are named again: a node trusts no plan."""
        request, options = self.plan.request, self.options
        nets = ["--net", ",".join(request.net)] if any(map(user_files.is_file, request.net)) else []
        adapters = [word for text in request.adapters for word in ("--adapter", text)]
        pythons = [word for name, path in options.pythons.items() for word in ("--python", f"{name}={path}")]
        save = ["--save"] if options.save else []
        return *nets, *adapters, *pythons, "--timeout", f"{options.timeout:g}", *save

    def unfinished(self) -> list[int]:
        """The shards with a cell that has not been trained to its end."""
        return [number for number in range(1, self.count + 1) if not self._finished(number)]

    def _finished(self, number: int) -> bool:
        folder = started(self.home, number)
        if folder is None:
            return False
        run = RunFolder(folder)
        records = run.records()
        return all(records.get(job.cell, CellRecord()).finished for job in run.training_run.jobs)

    def command(self, number: int) -> list[str]:
        """What runs on the node of a shard."""
        return ["onespec", "run", *arguments(self.task(number), self.home)]


def of_nodes(plan: Plan) -> Plan:
    """A plan without the interpreters of this machine, which each node may have elsewhere."""
    return msgspec.structs.replace(plan, request=msgspec.structs.replace(plan.request, pythons={}))


def preview(out: Path, plan: Plan, options: NodeOptions) -> Distribution:
    """The shards of a plan in a folder that does not exist."""
    return Distribution(out.absolute() / "NEW", plan, shard_count(plan), options)


def shard_count(plan: Plan) -> int:
    """A shard for each group, or as many as there may be, with several groups each."""
    return math.ceil(len(plan.groups) / math.ceil(len(plan.groups) / MOST_SHARDS))


def create(out: Path, plan: Plan, options: NodeOptions) -> Distribution:
    """A new folder for the shards of a plan."""
    folder = RunFolder.create(out, plan.request.experiment or "-".join(plan.request.net))
    folder.write(plans.NAME, plan.text)
    record = _Record(shards=shard_count(plan), options=options)
    folder.write(RECORD, json.dumps(msgspec.to_builtins(record), indent=1) + "\n")
    return Distribution(folder.path.absolute(), plan, record.shards, options)


def reopen(
    home: Path, pythons: Mapping[str, str], timeout: float | None, nets: Sequence[str], adapters: Sequence[str]
) -> Distribution:
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
    return Distribution(home.absolute(), plan, record.shards, options)


def execute(
    run: Distribution, engine: Engine, command: Sequence[str], *, write_report: Callable[[RunFolder], object]
) -> tuple[RunFolder, list[str]]:
    """Run the shards that are left, and merge all of them into the folder `merged`.

    Returns the merged run, and what is missing in it, in words. command: recorded. Raises WorkerFailed if no shard has
    results, and BadInput as `merge` does.
    """
    with locked(run.home):
        token = secrets.token_hex(16)
        RunFolder(run.home).write(TOKEN, token)
        try:
            missing = _run(run, engine, token)
        finally:
            engine.stop()
            run.display.close()
        folders = [path for number in range(1, run.count + 1) if (path := started(run.home, number))]
        if not folders:
            raise WorkerFailed(f"no shard has run; {next(iter(missing), 'start it again')}")
        shutil.rmtree(run.home / MERGED, ignore_errors=True)
        folder, unfinished = merge(folders, run.home / MERGED, command, write_report=write_report)
    return folder, [*missing, *unfinished]


def _run(run: Distribution, engine: Engine, token: str) -> list[str]:
    """Run the shards until each has ended; returns why some could not run."""
    display, work = run.display, Work(run.plan, run.home, run.count)
    waiting = deque(run.unfinished())
    for number in range(1, run.count + 1):
        work.read(number)
    work.finished = set(range(1, run.count + 1)) - set(waiting)
    work.begin()
    running: dict[int, str] = {}
    attempts = {number: (0, work.epochs(number)) for number in waiting}
    missing: list[str] = []
    while waiting or running:
        if tasks := [run.task(waiting.popleft(), token) for _ in range(min(len(waiting), max(0, engine.places())))]:
            places = engine.start(tasks)
            for task in tasks:
                if task.number in places:
                    display.message(f"{run.label(task.number)}: {places[task.number]}")
                else:  # the node has just been lost
                    waiting.appendleft(task.number)
            running.update(places)
        for task, outcome in engine.ended():
            number = task.number
            del running[number]
            if outcome.files:
                unpack(outcome.files, run.home, number)
            work.read(number)
            tried, epochs = attempts[number]
            tried = tried + 1 if work.epochs(number) <= epochs else 1
            attempts[number] = tried, work.epochs(number)
            if not outcome.lost:
                work.finished.add(number)
            elif tried < ATTEMPTS:
                waiting.append(number)
            if problem := _problem(outcome, tried, started(run.home, number) is not None):
                display.message(f"{run.label(number)}: {problem}")
                if number not in waiting:
                    missing.append(f"{run.label(number)}: {problem}")
            else:
                display.message(f"{run.label(number)}: finished on {outcome.node}{_remaining(work, run.count)}")
        for number in running:
            work.read(number)
        display.update(running, len(waiting), work.fraction, work.seconds_left)
        if waiting or running:
            time.sleep(POLL_SECONDS)
    return missing


def _problem(outcome: Outcome, tried: int, has_folder: bool) -> str:
    """What went wrong with a shard, and what happens to it; empty if it ran, cells that failed included."""
    if outcome.lost:
        reason = outcome.reason or "the node is lost"
        how = f"ended by signal {-outcome.code}" if outcome.code is not None and outcome.code < 0 else reason
        return f"lost ({how}); {'it is run again' if tried < ATTEMPTS else f'given up after {tried} attempts'}"
    if outcome.code == 0 or (outcome.code == 1 and has_folder):
        return ""
    return f"not run on {outcome.node}: {outcome.reason}"


def _remaining(work: Work, count: int) -> str:
    left = work.seconds_left
    text = f"; {len(work.finished)} of {count} done"
    return text if left is None or len(work.finished) == count else f"{text}, about {duration(left)} left"


def rows(run: Distribution, engine: Engine) -> list[tuple[str, ...]]:
    """What `--dry-run` prints of each shard that is left: number, groups, node, memory and multiply-adds."""
    numbers = run.unfinished()
    nodes = engine.nodes(numbers)
    listed: list[tuple[str, ...]] = []
    for number in numbers:
        groups = plans.of_shard(number, run.count, run.plan.groups)
        memory, work = max(group.memory for group in groups), sum(group.multiply_adds for group in groups)
        goes_on = started(run.home, number) is not None
        where = f"{nodes[number]}, goes on" if goes_on else nodes[number]
        listed.append((f"{number}/{run.count}", run.label(number), where, f"{memory / 2**20:,.0f}", f"{work:.2e}"))
    return listed
