"""What a run leaves: a folder with `run.json`, what was asked and where, and `cells.jsonl`, a line per finished work.

A line is appended and flushed as its work finishes, because what comes next may fail. Three kinds, by `event`:

    start  a cell has been built: versions, counts, settings; again after a resume
    epoch  one epoch of a cell: raw slices [pictures, seconds], losses, accuracies
    end    status ok, unavailable or failed, with the reason

A cell, one network in one framework with one seed, is named `<net>.<framework>.<seed>`.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.runtime.errors import BadInput

SCHEMA = 1


class Folder:
    """One run's folder. BadInput where it cannot be made, or is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = path / "cells.jsonl"

    @classmethod
    def create(cls, parent: Path, name: str) -> Folder:
        """`<parent>/<when>-<name>`, new; the name is made fit for a file."""
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
        raise BadInput(f"--out {parent}: a thousand runs of one second are enough")

    def discard(self) -> None:
        """Remove a run that has not begun."""
        shutil.rmtree(self.path)
        with contextlib.suppress(OSError):  # other runs are beside it
            self.path.parent.rmdir()

    @classmethod
    def open(cls, path: Path, option: str = "--resume") -> Folder:
        """An existing run."""
        if not (path / "run.json").is_file():
            raise BadInput(f"{option} {path}: no run.json in it; name a folder that benchmarks.run has made")
        return cls(path)

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

    def write(self, name: str, text: str) -> None:
        """A file of the run, never seen half-written."""
        aside = self.path / f".{name}.part"
        aside.write_text(text, encoding="utf-8")
        aside.replace(self.path / name)

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

    def mend(self) -> None:
        """Cut off a last line that was never finished, so that the next one does not run into it."""
        if self.cells.exists():
            length = self.cells.read_bytes().rfind(b"\n") + 1
            if length < self.cells.stat().st_size:
                os.truncate(self.cells, length)  # nothing before it is written again: a kill here costs no record

    def histories(self) -> dict[str, History]:
        """What is known of each cell, in the order in which they were begun."""
        cells: dict[str, History] = {}
        for line in self.lines():
            cells.setdefault(line["cell"], History()).add(line)
        return cells


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


def machine() -> dict[str, Any]:
    """The machine's processor, memory, system and GPU, in words."""
    return {
        "processor": _processor(),
        "governor": _governor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "gpu": gpu(),
    }


def available_memory() -> int:
    """Bytes that programs can still take without swapping: MemAvailable of proc(5), elsewhere half of what there is."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    line = next(line for line in info.read_text().splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def _governor() -> str | None:
    """How the first core's frequency is chosen, where Linux says so: cpufreq/scaling_governor of its sysfs."""
    told = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return told.read_text().strip() if told.exists() else None


def gpu() -> str | None:
    """The first NVIDIA GPU by name, memory and driver, or None."""
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    lines = answer.stdout.splitlines()
    return lines[0] if answer.returncode == 0 and lines else None


CHECKOUT = Path(__file__).resolve().parents[2]


def commit(root: Path = CHECKOUT) -> str | None:
    """The checkout's commit, `+` where its code differs from it; None where `root` is no checkout of its own."""
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--show-toplevel", "HEAD"], capture_output=True, text=True, check=False
        )
        if head.returncode:
            return None
        top, digest = head.stdout.splitlines()
        if Path(top) != root:  # installed somewhere inside another project's
            return None
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "frameworks", "benchmarks"],
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        return None
    return digest + "+" * bool(changed.stdout)


def short(commit: str) -> str:
    """As much of a commit as a table has room for, and its `+`."""
    return commit.rstrip("+")[:12] + "+" * commit.endswith("+")
