"""Training runs that are killed at random moments, resumed, and compared with a run that nobody kills.

    python -m research.crashes --kills 60 --write docs/reliability.md

Each run trains `mlp` with the NumPy reference, which needs no framework, in a process of its own with its own folder
for temporary files. It is stopped by one of `STOPS` at a random moment, also before its first record exists, and
resumed; a run without a record starts again. Linux only: processes are looked up in /proc.
"""

from __future__ import annotations

import contextlib
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import frameworks
from benchmarks.cli import options
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.heartbeat import CURRENT
from benchmarks.records.events import Epoch
from benchmarks.records.store import RunFolder
from benchmarks.reporting.tables import markdown
from benchmarks.runtime.errors import BadInput
from research import command

ROOT = Path(frameworks.__file__).parents[1]
TRAINING = (
    *("--net", "mlp", "--fw", "reference", "--adapter", f"{ROOT}/frameworks/numpy_reference.py:Reference"),
    *("--quick", "--threads", "1", "--train-size", "256", "--test-size", "32", "--batch-size", "16", "--epochs", "120"),
)
FULL_DISK = "full disk"
STOPS = ("SIGKILL", "SIGKILL to the worker", "SIGTERM", "SIGHUP", "SIGINT", FULL_DISK)
ORPHAN_SECONDS = 2.0  # after which no process of a stopped run may be alive
ALLOWED = {
    "SIGKILL": {-signal.SIGKILL},
    "SIGKILL to the worker": {ExitCode.FAILED, -signal.SIGKILL},  # without a worker, the parent is killed
    FULL_DISK: {ExitCode.FAILED, ExitCode.STORAGE_FAILED},
}
OUTSIDE = {-signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT}
LARGEST_FILE = 120_000  # bytes; the checkpoint of `mlp` has 54,000 and a run's records fewer
PATIENCE = 300.0  # seconds for a whole run on a busy machine

Epochs = list[tuple[int, float, float, float]]  # number, training loss, test loss, test accuracy


class Uninterrupted(NamedTuple):
    """The run that nobody kills."""

    epochs: Epochs
    start: float  # seconds until the first record exists
    training: float  # seconds from then on


@dataclass(frozen=True)
class Crash:
    """A run that was stopped and resumed."""

    stop: str  # in STOPS
    finished: bool  # the run ended before it could be stopped
    recorded: bool  # it had written run.json
    exit_code: int
    traceback: bool  # it printed one
    orphans: int  # processes of the run after ORPHAN_SECONDS
    identical: bool  # the resumed run has the epochs of the uninterrupted one
    left: int  # folders for temporary files after the resumed run
    from_state: bool  # it went on from a state on disk, not from the initial weights

    @property
    def passed(self) -> bool:
        """Whether the run ended as documented, left nothing, and was resumed exactly."""
        expected = {ExitCode.OK} if self.finished else ALLOWED.get(self.stop, {ExitCode.STOPPED, ExitCode.OK})
        # Python had not imported the command, or the command had ended and Python shut down.
        outside = (self.finished or not self.recorded) and self.exit_code in OUTSIDE
        ended = outside or self.exit_code in expected
        return ended and self.identical and not (self.traceback or self.orphans or self.left)


def uninterrupted(folder: Path) -> Uninterrupted:
    """Train once without a stop. folder: a new folder for the results and temporary files."""
    began = time.monotonic()
    process = _start(_temporary(folder), *TRAINING, "--out", str(folder / "out"))
    _wait_until(lambda: _recorded(folder), process)
    recorded = time.monotonic()
    _, errors = process.communicate(timeout=PATIENCE)
    ended = time.monotonic()
    if process.returncode:
        raise BadInput(f"the uninterrupted run ends with exit code {process.returncode}: {errors.strip()}")
    return Uninterrupted(_epochs(_recorded(folder)[0]), recorded - began, ended - recorded)


def crash(number: int, whole: Uninterrupted, folder: Path) -> Crash:
    """Stop a run and resume it. folder: a new folder.

    number: chooses the stop, and seeds its moment: by turns after a state was kept, during the start, and after the
    first record.
    """
    stream, stop = random.Random(number), STOPS[number % len(STOPS)]
    temporary = _temporary(folder)
    largest = stream.randrange(200, LARGEST_FILE) if stop == FULL_DISK else None
    process = _start(temporary, *TRAINING, "--out", str(folder / "out"), largest_file=largest)
    finished = False
    if stop != FULL_DISK:
        turn = number // len(STOPS) % 3
        if turn == 0:
            _wait_until(lambda: any(map(_kept, _recorded(folder))), process)
            moment = stream.uniform(0.0, 0.5)
        elif turn == 1:
            moment = stream.uniform(0.02, 1.0) * whole.start
        else:
            _wait_until(lambda: _recorded(folder), process)
            moment = stream.uniform(0.0, 0.9) * whole.training
        try:
            process.wait(moment)
            finished = True
        except subprocess.TimeoutExpired:
            _send(stop, process, temporary)
    output, errors = process.communicate(timeout=PATIENCE)
    if process.returncode in OUTSIDE:  # nothing is left to do once the report's last line names the folder
        finished = output.startswith(str(folder / "out"), _last_line(output))
    finished = finished or process.returncode == ExitCode.OK
    orphans = _remaining(temporary)
    recorded = _recorded(folder)
    from_state = not finished and any(_kept(folder) for folder in recorded)
    for abandoned in temporary.iterdir():  # a folder younger than a minute may belong to a process that starts
        os.utime(abandoned, (0, 0))
    again = ["--resume", str(recorded[0])] if recorded else [*TRAINING, "--out", str(folder / "out")]
    resumed = _start(temporary, *again)
    resumed.communicate(timeout=PATIENCE)
    (final,) = _recorded(folder) or (None,)
    return Crash(
        stop=stop,
        finished=finished,
        recorded=bool(recorded),
        exit_code=process.returncode,
        traceback="Traceback" in errors and not _while_importing(errors),
        orphans=orphans,
        identical=final is not None and resumed.returncode == ExitCode.OK and _epochs(final) == whole.epochs,
        left=len(list(temporary.iterdir())),
        from_state=from_state,
    )


def _last_line(text: str) -> int:
    """Where the last line of a text begins, if it is complete; else its end."""
    return text.rfind("\n", 0, -1) + 1 if text.endswith("\n") else len(text)


def _while_importing(errors: str) -> bool:
    """Whether Ctrl-C came while Python imported the command, before anything could handle it."""
    return "_find_and_load" in errors and errors.rstrip().endswith("KeyboardInterrupt")


def _wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.01)


def _temporary(folder: Path) -> Path:
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    return temporary


def _start(temporary: Path, *arguments: str, largest_file: int | None = None) -> subprocess.Popen[str]:
    """`onespec run` in a session of its own. largest_file: bytes, beyond which writing fails as on a full disk."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and a process inherits this
        if largest_file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.run", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        start_new_session=True,
        preexec_fn=prepare,
    )


def _send(stop: str, process: subprocess.Popen[str], temporary: Path) -> None:
    """Send the signal of a stop to the parent, or to its worker if there is one already."""
    name, _, to_worker = stop.partition(" ")
    workers = [pid for pid in _processes(temporary) if pid != process.pid]
    target = max(workers) if to_worker and workers else process.pid
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(target, signal.Signals[name])


def _processes(temporary: Path) -> Iterator[int]:
    """The living processes whose folder for temporary files is this one, or inside it."""
    marker = f"TMPDIR={temporary}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if marker in (entry / "environ").read_bytes() and ") Z" not in (entry / "stat").read_text():
                    yield int(entry.name)
            except OSError:
                continue  # of another user, or ended meanwhile


def _remaining(temporary: Path) -> int:
    """The number of processes that are still alive after ORPHAN_SECONDS."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (alive := len(list(_processes(temporary)))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _recorded(folder: Path) -> list[Path]:
    """The folders of runs that can be resumed."""
    return [path.parent for path in folder.glob("out/*/run.json")]


def _epochs(folder: Path) -> Epochs:
    (record,) = RunFolder.open(folder).records().values()
    return [_results(epoch) for epoch in record.epochs]


def _kept(folder: Path) -> int:
    """The epoch after which the last state of an unfinished run was kept; 0 if there is none."""
    return max((record.kept for record in RunFolder.open(folder).records().values()), default=0)


def _results(epoch: Epoch) -> tuple[int, float, float, float]:
    return epoch.epoch, epoch.train_loss, epoch.test_loss, epoch.test_accuracy


HEAD = (
    "stop",
    "runs",
    "before run.json",
    "finished before",
    "from a state",
    "identical",
    "tracebacks",
    "orphans",
    "folders left",
)


def table(crashes: Sequence[Crash]) -> str:
    """The outcomes by kind of stop."""
    rows = [
        _row(stop, [one for one in crashes if one.stop == stop])
        for stop in STOPS
        if any(one.stop == stop for one in crashes)
    ]
    return markdown(HEAD, [*rows, _row("all", crashes)])


def _row(name: str, crashes: Sequence[Crash]) -> tuple[str, ...]:
    counts: Mapping[str, int] = Counter(
        {
            "recorded": sum(not one.recorded for one in crashes),
            "finished": sum(one.finished for one in crashes),
            "from_state": sum(one.from_state for one in crashes),
            "identical": sum(one.identical for one in crashes),
            "traceback": sum(one.traceback for one in crashes),
            "orphans": sum(one.orphans for one in crashes),
            "left": sum(one.left for one in crashes),
        }
    )
    return (name, str(len(crashes)), *map(str, counts.values()))


@command.research_command("research.crashes")
@options.option(
    "--kills", type=command.AT_LEAST_1, default=60, metavar="N", heading=command.HOW, help="Runs that are stopped."
)
@options.option("--first", type=int, default=0, metavar="SEED", heading=command.HOW, help="The first seed.")
@command.write
def main(kills: int, first: int, write: Path | None) -> ExitCode:
    """Stop training runs at random moments and compare the resumed runs with one that nobody stops."""
    if sys.platform != "linux":
        raise BadInput("this command looks processes up in /proc, which Linux has")
    command.check_page(write, "crashes")
    crashes = []
    with tempfile.TemporaryDirectory(prefix="onespec-crashes-") as scratch:
        whole = uninterrupted(Path(scratch) / "whole")
        command.progress(f"uninterrupted: {len(whole.epochs)} epochs in {whole.start + whole.training:.1f} s")
        for number in range(first, first + kills):
            CURRENT.doing(f"{number}: stopping and resuming a run")
            crashes.append(crash(number, whole, Path(scratch) / str(number)))
            command.progress(f"{number}: {crashes[-1]}")
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    conditions = f"`python -m research.crashes --kills {kills} --first {first}`; {versions}; {command.machine()}."
    command.publish(f"{table(crashes)}\n\n{conditions}", write, "crashes")
    return ExitCode.OK if all(one.passed for one in crashes) else ExitCode.FAILED


if __name__ == "__main__":
    main(prog_name="python -m research.crashes")
