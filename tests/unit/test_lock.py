"""A folder of results has one writer at a time, and every file in it is complete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.records.atomic import write_text
from benchmarks.records.lock import locked
from benchmarks.runtime.errors import BadInput

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from benchmarks.records.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "locked\n"
        refusal = f"process {holder.pid} is writing in this folder"
        with pytest.raises(BadInput, match=refusal) as error, locked(tmp_path):
            pass
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
        holder.send_signal(signal.SIGKILL)
    with locked(tmp_path):  # the lock of a killed process is free
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_released_after_an_error_and_with_a_discarded_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        (tmp_path / ".lock").unlink()
        tmp_path.rmdir()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"), locked(tmp_path / "nowhere"):
        pass


def test_writers_of_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    texts = [str(number) * 100_000 for number in range(10)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(tmp_path / "file", text), texts * 5))
    assert (tmp_path / "file").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
