"""Runs shards through an engine until each has ended, whatever a shard is, and merges them.

A shard whose node is lost is run again: it goes on with what it has saved where the nodes share the folder, and from
its start otherwise. Its folder is merged once, whatever number of nodes wrote in it.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

from benchmarks.distribution.engines import Engine, Needs
from benchmarks.distribution.node import TOKEN, Outcome, ShardCommand, ShardTask, unpack
from benchmarks.distribution.work import Work
from benchmarks.records.atomic import write_text
from benchmarks.records.lock import locked
from benchmarks.reporting.number_formats import duration
from benchmarks.runtime.errors import WorkerFailed

RECORD = "distribution.json"
MOST_SHARDS = 1000  # each has a folder; Slurm's default limit of an array is 1001
ATTEMPTS = 3  # of a shard, without a finished step between them
POLL_SECONDS = 1.0

T = TypeVar("T")


class Display:
    """Receives the progress of all shards. The base class shows nothing."""

    def message(self, line: str) -> None:
        """A line that stays."""

    def update(self, running: Mapping[int, str], waiting: int, done: float, left: float | None) -> None:
        """running: where each shard runs. waiting: shards. done: from 0 to 1. left: seconds."""

    def close(self) -> None:
        """All shards have ended, or the command is stopped."""


@dataclass
class Distribution(ABC):
    """Work in a folder, divided into shards that are numbered from 1."""

    home: Path  # absolute
    count: int  # of shards
    display: Display = field(default_factory=Display, kw_only=True)

    head: ClassVar[tuple[str, ...]]  # of the table of `--dry-run`

    @property
    @abstractmethod
    def command(self) -> ShardCommand:
        """What runs on a node."""

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What shards need of their nodes."""

    @abstractmethod
    def label(self, number: int) -> str:
        """A shard in words."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what the shards need in their folder, which is locked. Raises BadInput."""

    @abstractmethod
    def unfinished(self) -> list[int]:
        """The shards that have not been run to their ends."""

    @abstractmethod
    def work(self) -> Work:
        """How much of the work is done."""

    @abstractmethod
    def estimates(self, number: int) -> tuple[str, ...]:
        """The last columns of the table of `--dry-run`."""

    def task(self, number: int, token: str = "") -> ShardTask:
        """A shard as a node gets it."""
        return ShardTask(str(self.home), token, number, self.count, self.command, os.getcwd())

    def command_line(self, number: int) -> list[str]:
        """What runs on the node of a shard."""
        return ["onespec", self.command.name, *self.command.arguments(self.home, number, self.count)]

    def folders(self) -> list[Path]:
        """The folders of the shards that have records, in their order."""
        numbers = range(1, self.count + 1)
        return [path for number in numbers if (path := self.command.started(self.home, number))]


def shard_count(parts: int) -> int:
    """A shard for each part of the work, or as many as there may be, with several parts each."""
    return math.ceil(parts / math.ceil(parts / MOST_SHARDS))


def execute(run: Distribution, engine: Engine, merge: Callable[[list[Path]], T]) -> tuple[T, list[str]]:
    """Run the shards that are left, and merge all of them.

    Returns the result of `merge`, which gets their folders, and why some could not run, in words. Raises WorkerFailed
    if no shard has records, and BadInput if another process works in the folder, or as `prepare` does.
    """
    with locked(run.home):
        run.prepare()
        token = secrets.token_hex(16)
        write_text(run.home / TOKEN, token)
        try:
            missing = _run(run, engine, token)
        finally:
            engine.stop()
            run.display.close()
        folders = run.folders()
        if not folders:
            raise WorkerFailed(f"no shard has run; {next(iter(missing), 'start it again')}")
        return merge(folders), missing


def _run(run: Distribution, engine: Engine, token: str) -> list[str]:
    """Run the shards until each has ended; returns why some could not run."""
    display, work = run.display, run.work()
    waiting = deque(run.unfinished())
    for number in range(1, run.count + 1):
        work.read(number)
    work.finished = set(range(1, run.count + 1)) - set(waiting)
    work.begin()
    running: dict[int, str] = {}
    attempts = {number: (0, work.steps(number)) for number in waiting}
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
            tried, steps = attempts[number]
            tried = tried + 1 if work.steps(number) <= steps else 1
            attempts[number] = tried, work.steps(number)
            if not outcome.lost:
                work.finished.add(number)
            elif tried < ATTEMPTS:
                waiting.append(number)
            if problem := _problem(outcome, tried, run.command.has_run(run.home, number)):
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


def _problem(outcome: Outcome, tried: int, has_run: bool) -> str:
    """What went wrong with a shard, and what happens to it; empty if it ran, whatever its result."""
    if outcome.lost:
        reason = outcome.reason or "the node is lost"
        how = f"ended by signal {-outcome.code}" if outcome.code is not None and outcome.code < 0 else reason
        return f"lost ({how}); {'it is run again' if tried < ATTEMPTS else f'given up after {tried} attempts'}"
    if outcome.code == 0 or (outcome.code == 1 and has_run):
        return ""
    return f"not run on {outcome.node}: {outcome.reason}"


def _remaining(work: Work, count: int) -> str:
    left = work.seconds_left
    text = f"; {len(work.finished)} of {count} done"
    return text if left is None or len(work.finished) == count else f"{text}, about {duration(left)} left"


def rows(run: Distribution, engine: Engine) -> list[tuple[str, ...]]:
    """What `--dry-run` prints of each shard that is left: number, contents, node and estimates."""
    numbers = run.unfinished()
    nodes = engine.nodes(numbers)
    listed: list[tuple[str, ...]] = []
    for number in numbers:
        goes_on = run.command.started(run.home, number) is not None
        where = f"{nodes[number]}, goes on" if goes_on else nodes[number]
        listed.append((f"{number}/{run.count}", run.label(number), where, *run.estimates(number)))
    return listed
