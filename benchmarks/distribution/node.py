"""What an engine runs on a node: one shard, as a command of onespec in a process of its own.

The folder of all shards, `home`, holds `shards/<number>/`. A node that sees it works in it, and goes on with what an
earlier node has left there. A node with disks of its own works in a temporary folder and returns the files.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import subprocess
import sys
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import benchmarks
from benchmarks.records.atomic import write_text
from benchmarks.records.lock import locked
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.temporary_folders import TemporaryFolder

TOKEN = "token"  # a file of `home`; a node that reads the same text shares the folder
SHARDS = "shards"
LOG = "log.txt"  # what the command prints, in the folder of a shard

BUSY_SECONDS = 60.0  # for an earlier process of the shard, whose node is lost, to end
STOP_SECONDS = 60.0  # for the command to save its work; Slurm gives 90 s before a time limit
POLL_SECONDS = 0.2


class ShardCommand(ABC):
    """The command of onespec that runs a shard. Engines pickle it."""

    name: ClassVar[str]  # such as `run`

    @abstractmethod
    def arguments(self, home: Path, number: int, count: int) -> list[str]:
        """The arguments of the command for a shard: it begins, or goes on with what its folder holds."""

    @abstractmethod
    def started(self, home: Path, number: int) -> Path | None:
        """The folder with the records of a shard; None before its first record."""

    @abstractmethod
    def has_run(self, home: Path, number: int) -> bool:
        """Whether an exit code of 1 of a shard is the result of its work, and not a refusal to begin it."""


@dataclass(frozen=True)
class ShardTask:
    """A shard, as an engine sends it to a node."""

    home: str
    token: str
    number: int  # from 1
    count: int
    command: ShardCommand
    working_directory: str  # to which paths in the plan and the options are relative


@dataclass(frozen=True)
class Outcome:
    """How a shard ended on a node."""

    code: int | None  # of the command, negative: a signal ended it; None: the node did not answer
    reason: str = ""  # why, in one line
    node: str = ""
    files: bytes | None = None  # a zip of the shard's folder, if the node does not share `home`

    @property
    def lost(self) -> bool:
        """Whether something outside of the run ended it, so that another attempt may succeed."""
        return self.code is None or self.code < 0 or self.code == STOPPED


STOPPED = 130  # `ExitCode.STOPPED`; that module belongs to the commands


def folder_of(home: Path, number: int) -> Path:
    """The folder in which a shard's run has its folder."""
    return home / SHARDS / str(number)


def run_shard(task: ShardTask, files: Mapping[str, str] | None = None) -> Outcome:
    """Run a shard on this node.

    files: the texts of the files in `home` that the command reads, by name; None: the node must share `home`.
    """
    home = Path(task.home)
    if _token(home) == task.token:
        return _run(task, home)
    if files is None:
        return Outcome(1, f"{home}: this node does not share the folder", platform.node())
    with TemporaryFolder("node") as scratch:
        for name, text in files.items():
            write_text(scratch / name, text)
        outcome = _run(task, scratch)
        return Outcome(outcome.code, outcome.reason, outcome.node, _packed(folder_of(scratch, task.number)))


def unpack(files: bytes, home: Path, number: int) -> None:
    """Put the files that a node returned into the folder of their shard."""
    with zipfile.ZipFile(io.BytesIO(files)) as archive:
        archive.extractall(folder_of(home, number))


def stop() -> None:
    """Stop the shard that this process runs, as Ctrl-C does, and wait until its work is saved. For signal handlers."""
    process = _running
    if process is None or process.poll() is not None:
        return
    process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    # Not `Popen.wait`: the interrupted code may hold its lock. `poll` gives up in this case.
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


_running: subprocess.Popen[bytes] | None = None


def _run(task: ShardTask, home: Path) -> Outcome:
    global _running
    folder = folder_of(home, task.number)
    folder.mkdir(parents=True, exist_ok=True)
    directory = Path(task.working_directory)
    root = str(Path(benchmarks.__file__).parents[1])  # the same onespec that this process has
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        with _claimed(folder), (folder / LOG).open("ab") as log:
            began = log.tell()
            _running = process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.distribution.shard_process", str(os.getpid())),
                    *(task.command.name, *task.command.arguments(home, task.number, task.count)),
                ],
                stdin=subprocess.PIPE,  # its end tells the process that this one has ended
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory if directory.is_dir() else None,
                env={**os.environ, "PYTHONPATH": path, "ONESPEC_HEARTBEAT": "0"},
                start_new_session=True,
            )
            try:
                while (code := process.poll()) is None:
                    time.sleep(POLL_SECONDS)
            finally:
                stop()
                _running = None
    except BadInput as error:  # an earlier process of this shard is still at work
        return Outcome(None, str(error), platform.node())
    return Outcome(code, _last_line(folder / LOG, began), platform.node())


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold the lock of a shard's folder. Raises BadInput if another process holds it for too long."""
    deadline = time.monotonic() + BUSY_SECONDS
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder))
                break
            except BadInput:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
        yield


def _token(home: Path) -> str:
    try:
        return (home / TOKEN).read_text(encoding="utf-8")
    except OSError:
        return ""


def _last_line(log: Path, began: int) -> str:
    lines = log.read_bytes()[began:].decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _packed(folder: Path) -> bytes:
    """A zip of a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()
