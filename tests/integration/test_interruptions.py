"""Signals, closed pipes, full disks and killed parents, with real processes and an adapter without a framework."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.records.events import AnyEvent, Epoch
from benchmarks.records.store import RunFolder
from benchmarks.run import command
from tests import fake_adapter
from tests.command_line import exit_code_of
from tests.conftest import heed_interrupts

ROOT = Path(__file__).parents[2]
FAKE = f"{Path(fake_adapter.__file__).absolute()}:Fake"
TRAINING = ["--net", "lenet", "--adapter", FAKE, "--fw", "fake", "--quick", "--threads", "1", "--lr", "0.1"]
SLEEP = ["--lr", f"{fake_adapter.HANGS:g}"]
main = exit_code_of(command)


def start(
    out: Path,
    temporary: Path,
    options: Sequence[str] = (),
    prepare: Callable[[], None] = heed_interrupts,
    **streams: int,
) -> subprocess.Popen[str]:
    """`onespec run` with the fake adapter, in a session of its own and with its own folder for temporary files."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.run", *TRAINING, "--out", str(out), *options],
        cwd=ROOT,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        start_new_session=True,
        preexec_fn=prepare,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},  # type: ignore[call-overload]
    )


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s")
        time.sleep(0.02)


def workers(out: Path) -> list[int]:
    """The process ids of the workers that a run has started."""
    paths = [path for path in out.glob("*/cells.jsonl")] if out.exists() else []
    records = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [record["pid"] for record in records if record["event"] == "start"]


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_writes_the_report_and_removes_workers_and_temporary_folders(
    stop: signal.Signals, tmp_path: Path, temporary: Path
) -> None:
    out = tmp_path / "out"
    process = start(out, temporary, SLEEP)
    wait_until(lambda: workers(out))
    process.send_signal(stop)
    _, stderr = process.communicate(timeout=60)
    (folder,) = out.iterdir()
    assert process.returncode == ExitCode.STOPPED
    assert stderr.splitlines()[-1] == (
        f"stopped by {stop.name}; what has finished is recorded; "
        f"continue with: python -m benchmarks.run --resume {folder}"
    )
    assert (folder / "report.md").is_file()
    assert not list(temporary.iterdir()) and not any(map(is_alive, workers(out)))


# The first worker of a comparison starts alone; its A/A control, which starts beside others, never does.
NEVER_READY = """
import time
from pathlib import Path
from frameworks.numpy_reference import Reference

class Late(Reference):
    @staticmethod
    def versions():
        marks = Path({marks!r})
        if (marks / "first").exists():
            (marks / "second").touch()
            time.sleep(3600)
        (marks / "first").touch()
        return {{"late": "1"}}
"""


def test_a_signal_ends_a_speed_run_whose_workers_start_side_by_side(tmp_path: Path, temporary: Path) -> None:
    adapter = tmp_path / "late.py"
    adapter.write_text(NEVER_READY.format(marks=str(tmp_path)))
    options = ["--net", "mlp", "--fw", "late", "--adapter", f"{adapter}:Late", "--dataset", "fashion-mnist-mini"]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.speed", *options, "--threads", "1", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        start_new_session=True,
        preexec_fn=heed_interrupts,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until((tmp_path / "second").exists)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.STOPPED, stderr
    assert stderr.splitlines()[-1].startswith("stopped by SIGTERM; finished measurements are saved in ")
    assert not list(temporary.iterdir())
    (folder,) = (tmp_path / "out").iterdir()
    assert "SIGKILL" not in (folder / "report.md").read_text()


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path, temporary: Path) -> None:
    """As with nohup."""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start(tmp_path / "out", temporary, prepare=ignore)
    wait_until(lambda: workers(tmp_path / "out"))
    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_ends_with_a_killed_parent_and_the_next_run_removes_its_folders(
    tmp_path: Path, temporary: Path
) -> None:
    out = tmp_path / "out"
    process = start(out, temporary, SLEEP)
    wait_until(lambda: workers(out))
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not any(map(is_alive, workers(out))), seconds=1.0)
    abandoned = list(temporary.iterdir())
    assert abandoned
    for folder in abandoned:  # a folder younger than a minute may be about to be locked
        os.utime(folder, (0, 0))
    process = start(tmp_path / "second", temporary)
    process.communicate(timeout=60)
    assert process.returncode == 0 and not list(temporary.iterdir())


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_run_ends_although_a_stream_is_full(stream: str, tmp_path: Path, temporary: Path) -> None:
    with open("/dev/full", "w") as full:
        process = start(tmp_path / "out", temporary, **{stream: full.fileno()})
        _, stderr = process.communicate(timeout=60)
    assert len(list(tmp_path.glob("out/*/report.md"))) == 1
    if stream == "stderr":
        assert process.returncode == 0
    else:
        assert process.returncode == ExitCode.STORAGE_FAILED
        assert stderr.splitlines()[-1].startswith("No space left on device; make space, or name another place")


def test_a_closed_pipe_does_not_end_a_run(tmp_path: Path, temporary: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start(tmp_path / "out", temporary, stdout=writer, stderr=writer)
    os.close(writer)
    assert process.wait(timeout=60) == 0
    assert len(list(tmp_path.glob("out/*/report.md"))) == 1


def test_a_closed_pipe_does_not_hide_a_failed_cell(tmp_path: Path, temporary: Path) -> None:
    """As with `| head`, which reads the exit code with `set -o pipefail`."""
    reader, writer = os.pipe()
    os.close(reader)
    process = start(tmp_path / "out", temporary, ["--lr", f"{fake_adapter.RAISES:g}"], stdout=writer)
    os.close(writer)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.FAILED, stderr


@pytest.mark.parametrize("words", [["networks"], ["--help"], ["summary", "--net", "lenet"]])
@pytest.mark.parametrize("full", [False, True])
def test_a_list_into_a_closed_pipe_or_a_full_disk_is_no_traceback(words: list[str], full: bool) -> None:
    if full and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    if full:
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, writer = os.pipe()
        os.close(reader)
    program = [sys.executable, "-c", "from benchmarks.cli.group import onespec; onespec(prog_name='onespec')", *words]
    done = subprocess.run(program, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == (ExitCode.STORAGE_FAILED if full else ExitCode.OK), done.stderr
    assert done.stderr.count("\n") == full and "Traceback" not in done.stderr


# --- disks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_run_on_a_full_disk_resumes_to_the_same_results(
    failure: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second epoch's record is cut off, as a full disk does."""
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))
    assert main([*TRAINING, "--epochs", "3", "--out", str(tmp_path / "whole")]) == 0
    record = RunFolder.record

    def failing(folder: RunFolder, event: AnyEvent, *, durable: bool = True) -> None:
        if isinstance(event, Epoch) and event.epoch == 2:
            with folder.cells.open("a") as file:
                file.write('{"event": "epo')
            raise OSError(failure, os.strerror(failure))
        record(folder, event, durable=durable)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "record", failing)
        assert main([*TRAINING, "--epochs", "3", "--out", str(tmp_path / "parts")]) == ExitCode.STORAGE_FAILED
    (folder,) = (tmp_path / "parts").iterdir()
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"{os.strerror(failure)}; make space, or name another place")
    assert line.endswith(f"what has finished is recorded; continue with: onespec run --resume {folder}")

    assert main(["--resume", str(folder)]) == 0
    (whole,) = (tmp_path / "whole").iterdir()
    assert losses(folder) == losses(whole) and len(losses(folder)) == 3


def losses(folder: Path) -> list[tuple[int, float, float]]:
    (cell,) = RunFolder.open(folder).records().values()
    return [(epoch.epoch, epoch.train_loss, epoch.test_accuracy) for epoch in cell.epochs]


@pytest.mark.parametrize("words", ["No space left on device", "Read-only file system"])
def test_a_run_that_cannot_write_its_first_record_leaves_no_folder(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(folder: RunFolder, info: object) -> None:
        raise OSError(errno.ENOSPC, words, str(folder.path / "run.json"))

    monkeypatch.setattr(RunFolder, "write_info", failing)
    assert main([*TRAINING, "--out", str(tmp_path / "out")]) == ExitCode.STORAGE_FAILED
    error = capsys.readouterr().err
    assert f"run.json: {words}; make space" in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_for_temporary_files_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert main([*TRAINING, "-q", "--out", str(tmp_path / "out")]) == ExitCode.STORAGE_FAILED
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "No such file or directory" in error and "TMPDIR" in error
