"""How much of a plan is done, from the records that its shards write, and the time that is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.distribution.node import started
from benchmarks.records import plans
from benchmarks.records.plans import Plan


@dataclass
class _Shard:
    """What is known of a shard: its cells with their work by epoch, and what is done of it."""

    work: dict[str, float]  # of all epochs of a cell
    epochs: dict[str, int]  # of a cell
    done: dict[str, int] = field(default_factory=dict)  # the last epoch that a cell finished
    folder: Path | None = None
    read: int = 0  # bytes of cells.jsonl


class Work:
    """The work of a plan in multiply-adds.

    home: of the run. count: of its shards. clock: seconds. Raises nothing for a line that is not complete yet.
    """

    def __init__(self, plan: Plan, home: Path, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.home, self.clock = home, clock
        self.shards: dict[int, _Shard] = {}
        for number in range(1, count + 1):
            shard = self.shards[number] = _Shard({}, {})
            for group in plans.of_shard(number, count, plan.groups):
                for cell in plan.cells(group):
                    shard.work[cell] = max(1, group.multiply_adds) / len(plan.frameworks)
                    shard.epochs[cell] = plan.networks[group.net].epochs
        self.total = sum(sum(shard.work.values()) for shard in self.shards.values())
        self.finished: set[int] = set()
        self.began, self.before = clock(), 0.0

    def begin(self) -> None:
        """Count the time from now on; what is done already took none of it."""
        self.began, self.before = self.clock(), self.fraction

    def read(self, number: int) -> None:
        """Read what a shard has recorded since the last call, where the folder is shared."""
        shard = self.shards[number]
        folder = started(self.home, number)
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
            if event.get("event") == "epoch" and event.get("cell") in shard.work:
                shard.done[event["cell"]] = event["epoch"]

    def epochs(self, number: int) -> int:
        """The epochs that a shard has finished."""
        return sum(self.shards[number].done.values())

    @property
    def fraction(self) -> float:
        """What is done, from 0 to 1."""
        done = 0.0
        for number, shard in self.shards.items():
            for cell, work in shard.work.items():
                part = 1.0 if number in self.finished else shard.done.get(cell, 0) / shard.epochs[cell]
                done += work * part
        return done / self.total

    @property
    def seconds_left(self) -> float | None:
        """An estimate, on the assumption that the rate stays; None before anything is done."""
        fraction = self.fraction
        if fraction <= self.before:
            return None
        return (self.clock() - self.began) * (1 - fraction) / (fraction - self.before)
