"""The command `run`: output files, refused options, and faults of workers, with real processes and images."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.reporting.run_report import COLUMNS
from benchmarks.run import command, run
from benchmarks.runtime import affinity
from benchmarks.runtime.checkout import commit, short
from tests.command_line import exit_code_of
from tests.conftest import Bench, heed_interrupts
from tests.records import lines

ROOT = Path(__file__).parents[2]
main = exit_code_of(command)
COMMAND = [sys.executable, "-m", "benchmarks.run"]
SMALL = ["--quick", "--train-size", "500", "--test-size", "200", "--threads", "1"]


def start(out: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    command = [*COMMAND, "--out", str(out), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=os.environ | environment,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def events(out: Path) -> list[dict[str, Any]]:
    return [line for folder in out.glob("*") if (folder / "run.json").exists() for line in lines(folder)]


def wait_for(out: Path, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait for the first event of this kind."""
    for _ in range(2_400):
        for event in events(out):
            if wanted(event):
                return event
        time.sleep(0.05)
    pytest.fail(f"not within two minutes; there are {events(out)}")


# --- the first impression ---


def test_a_quick_run_of_lenet_learns(bench: Bench, tmp_path: Path) -> None:
    """0.57 to 0.62 with the seeds 0 to 2; chance is 0.1."""
    bench.python("torch")
    table = run("lenet", "torch", quick=True, threads=1, out=tmp_path)
    (accuracy,) = table["test_accuracy"]
    assert accuracy > 0.5


# --- output files -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str, str]:
    """One run of two frameworks and two seeds."""
    for framework in ("torch", "mxnet"):
        bench.python(framework)
    out = tmp_path_factory.mktemp("results")
    code, stdout, stderr = finish(start(out, "--net", "lenet", "--fw", "torch,mxnet", "--seed", "0,1", *SMALL))
    return next(out.iterdir()), code, stdout, stderr


def test_exit_status_and_progress(done: tuple[Path, int, str, str]) -> None:
    _, code, stdout, stderr = done
    assert code == 0, stderr
    assert "lenet.mxnet.1  epoch 2/2  loss" in stderr
    assert "torch 2." in stdout


def test_the_report_has_a_row_per_cell(done: tuple[Path, int, str, str]) -> None:
    table = pd.read_csv(done[0] / "report.csv")
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table.framework, table.seed)) == [("torch", 0), ("mxnet", 0), ("torch", 1), ("mxnet", 1)]
    assert (table.status == "ok").all() and (table.params == 61_706).all() and (table.macs == 416_520).all()
    withheld = table.withheld.notna()  # on a busy machine
    assert ((table.examples_per_second > 0) | withheld).all() and (table.peak_memory_mib > 50).all()
    assert ((table.relative_speed == 1) | withheld)[table.framework == "torch"].all()
    assert table.test_accuracy.between(0, 1).all()


def test_curves_have_a_row_per_epoch(done: tuple[Path, int, str, str]) -> None:
    curves = pd.read_csv(done[0] / "curves.csv")
    assert len(curves) == 4 * 2 and set(curves.epoch) == {1, 2}


def test_both_frameworks_learn_the_same(done: tuple[Path, int, str, str]) -> None:
    """Sixteen float32 steps with sigmoid: the bound is a hundred times the observed difference after twenty steps."""
    curves = pd.read_csv(done[0] / "curves.csv")
    torch, mxnet = (curves[curves.framework == name].train_loss.to_numpy() for name in ("torch", "mxnet"))
    assert abs(torch - mxnet).max() < 1e-4


def test_seeds_differ(done: tuple[Path, int, str, str]) -> None:
    curves = pd.read_csv(done[0] / "curves.csv")
    assert curves[(curves.framework == "torch") & (curves.epoch == 1)].train_loss.nunique() == 2


def test_the_record_describes_the_run(done: tuple[Path, int, str, str]) -> None:
    run_ = json.loads((done[0] / "run.json").read_text())
    assert run_["machine"]["cores"] >= 1 and run_["data"]["fashion-mnist-mini"]["sha256"]
    job = run_["jobs"][0]
    assert len(job["spec_sha256"]) == len(job["weights_sha256"]) == 64
    assert 0 <= run_["cpu_load"] <= 1
    assert not (done[0] / "checkpoints").exists()


def test_the_workers_of_a_seed_share_as_many_cores_as_threads(done: tuple[Path, int, str, str]) -> None:
    cores = {line["cell"]: line["cores"] for line in lines(done[0]) if line["event"] == "start"}
    assert cores == {
        f"lenet.{name}.{seed}": affinity.cores_of_launch(seed + 1, 1) for name in ("torch", "mxnet") for seed in (0, 1)
    }


@pytest.mark.parametrize("name", ["report.md", "report.html", "report.csv", "curves.csv"])
def test_the_report_can_be_written_again(done: tuple[Path, int, str, str], name: str) -> None:
    before = (done[0] / name).read_text()
    (done[0] / name).unlink()
    subprocess.run([sys.executable, "-m", "benchmarks.report", str(done[0])], cwd=ROOT, check=True, capture_output=True)
    assert (done[0] / name).read_text() == before


def test_from_python(bench: Bench, tmp_path: Path) -> None:
    bench.python("torch")
    options: dict[str, Any] = {"quick": True, "train_size": 100, "test_size": 50, "epochs": 1, "threads": 1}
    frame = run(net="lenet", frameworks=["torch"], out=tmp_path, **options)
    assert tuple(frame.columns) == COLUMNS and frame.status.tolist() == ["ok"] and frame.params.tolist() == [61_706]
    assert frame.relative_speed_low.tolist() == [None], "one round has no interval"


def test_a_users_own_network(bench: Bench, tmp_path: Path) -> None:
    bench.python("torch")
    own = tmp_path / "my_net.py"
    own.write_text(
        "from frameworks.spec import Dense, Flatten, Network\n"
        "def tiny():\n    return Network('tiny', (1, 28, 28), [Flatten(), Dense('fc', 10)])\n"
    )
    code, _, stderr = finish(start(tmp_path / "out", "--net", f"{own}:tiny", "--fw", "torch", *SMALL))
    assert code == 0, stderr
    assert pd.read_csv(next((tmp_path / "out").glob("*/report.csv"))).params.tolist() == [7_850]


# --- refused options --------------------------------------------------------------------------------------------------

WRONG_NETS = {
    "does_not_import.py": "import nothing_of_this_name\n",
    "no_network.py": "def net():\n    return 3\n",
    "needs_arguments.py": "def net(size):\n    return size\n",
    "wrong_row.py": (
        "from frameworks.spec import Conv, Network\n"
        "def net():\n    return Network('wrong', (1, 28, 28), [Conv('C1', 6, 5, out=(6, 28, 28))])\n"
    ),
    "few_classes.py": (
        "from frameworks.spec import Dense, Flatten, Network\n"
        "def net():\n    return Network('few', (1, 28, 28), [Flatten(), Dense('fc', 3)])\n"
    ),
}


@pytest.mark.parametrize(
    "options, message",
    [
        (["--net", "lennet"], "Did you mean lenet?"),
        (["--fw", "pytorch"], "torch"),
        (["--fw", ""], "--fw"),
        (["--fw", "torch,torch"], "torch"),
        (["--dataset", "mnits"], "fashion-mnist"),
        (["--optimizer", "sdg"], "momentum"),
        (["--epochs", "0"], "--epochs 0"),
        (["--epochs", "many"], "--epochs"),
        (["--batch-size", "-1"], "--batch-size -1"),
        (["--lr", "0"], "--lr 0"),
        (["--lr", "nan"], "--lr nan"),
        (["--clip-norm", "0"], "--clip-norm 0"),
        (["--clip-norm", "inf"], "--clip-norm inf"),
        (["--weight-average", "1"], "--weight-average 1: must be a number that is more than 0 and less than 1"),
        (["--weight-average", "nan"], "--weight-average nan"),
        (["--threads", "0"], "--threads 0"),
        (["--train-size", "0"], "--train-size 0"),
        (["--train-size", "2001"], "2000"),
        (["--seed", "-1"], "--seed -1"),
        (["--seed", "one"], "--seed one"),
        (["--device", "tpu"], "--device"),
        (["--python", "torch"], "--python torch"),
        (["--python", "toch=/usr/bin/python3"], "--fw has no toch"),
        (["--python", "torch=/nowhere/python"], "/nowhere/python"),
        (["--fast"], "--fast"),
        (["--net", "missing.py:net"], "missing.py"),
        (["--resume", "nowhere"], "nowhere"),
        (["--net", "{nets}/does_not_import.py:net"], "nothing_of_this_name"),
        (["--net", "{nets}/no_network.py:net"], "returns int"),
        (["--net", "{nets}/needs_arguments.py:net"], "needs size"),
        (["--net", "{nets}/wrong_row.py:net"], "wrong.C1: 1x28x28 gives 6x24x24, the paper says 6x28x28"),
        (["--net", "{nets}/few_classes.py:net"], "few: 3 outputs for the 10 classes"),
        (["--net", "{nets}/no_network.py:other"], "net"),
        (["--net", "{nets}/no_network.py"], "name one of its functions"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    for name, text in WRONG_NETS.items():
        (tmp_path / name).write_text(text)
    options = [option.format(nets=tmp_path) for option in options]
    assert main(["--quick", "--out", str(tmp_path / "out"), *options]) == 2
    stdout, stderr = capsys.readouterr()
    assert message in stderr and len(stderr.splitlines()) == 1 and not stdout
    assert not (tmp_path / "out").exists(), "a refused run leaves nothing"


@pytest.mark.parametrize("place", ["a file", "/proc"])
def test_results_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" if place == "a file" else Path("/proc/onespec")
    code, _, stderr = finish(start(out, "--fw", "torch", *SMALL))
    assert code == 2 and "--out" in stderr and len(stderr.splitlines()) == 1


def test_a_truncated_data_file(tmp_path: Path) -> None:
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\0" * 100)[:-9])
    code, _, stderr = finish(start(tmp_path / "out", "--fw", "torch", ONESPEC_DATA=str(tmp_path)))
    assert code == 3 and "ubyte" in stderr and "Traceback" not in stderr


# --- faults -----------------------------------------------------------------------------------------------------------

LONG = ["--net", "lenet", "--fw", "torch,mxnet", *SMALL, "--epochs", "12"]


@pytest.fixture
def two(bench: Bench) -> None:
    for framework in ("torch", "mxnet"):
        bench.python(framework)


@pytest.mark.usefixtures("two")
def test_a_killed_worker_is_one_failed_cell(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG)
    worker = wait_for(tmp_path, lambda event: event["event"] == "start" and ".mxnet." in event["cell"])["pid"]
    wait_for(tmp_path, lambda event: event["event"] == "epoch" and ".mxnet." in event["cell"])
    os.kill(worker, signal.SIGKILL)
    code, _, stderr = finish(process)
    assert code == 1, stderr
    table = pd.read_csv(next(tmp_path.glob("*/report.csv")))
    assert table.status.tolist() == ["ok", "failed"]
    assert "SIGKILL" in table.reason[1]


@pytest.mark.usefixtures("two")
def test_a_hanging_worker_is_one_failed_cell(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, "--timeout", "20")
    worker = wait_for(tmp_path, lambda event: event["event"] == "start" and ".mxnet." in event["cell"])["pid"]
    os.kill(worker, signal.SIGSTOP)
    code, _, stderr = finish(process)
    assert code == 1, stderr
    table = pd.read_csv(next(tmp_path.glob("*/report.csv")))
    assert table.status.tolist() == ["ok", "failed"]
    assert "within 20 s (--timeout)" in table.reason[1]


@pytest.mark.usefixtures("two")
def test_a_stopped_and_resumed_run_has_the_same_numbers(tmp_path: Path) -> None:
    """Bit by bit: the seed and the number of threads are the same."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    code, _, stderr = finish(start(whole, *LONG))
    assert code == 0, stderr

    process = start(parts, *LONG)
    wait_for(parts, lambda event: event["event"] == "epoch" and event["epoch"] == 3)
    workers = [event["pid"] for event in events(parts) if event["event"] == "start"]
    os.kill(process.pid, signal.SIGINT)
    code, _, stderr = finish(process)
    assert code == 130 and "--resume" in stderr and "Traceback" not in stderr
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)

    folder = next(parts.iterdir())
    with (folder / "cells.jsonl").open("a") as file:
        file.write('{"cell": "cut off in the wri')
    resumed = subprocess.run([*COMMAND, "--resume", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    columns = ["net", "framework", "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    one, other = (pd.read_csv(next(out.glob("*/curves.csv")))[columns] for out in (whole, parts))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.usefixtures("two")
def test_resuming_a_finished_run_changes_nothing(done: tuple[Path, int, str, str]) -> None:
    before = (done[0] / "cells.jsonl").read_bytes()
    again = subprocess.run([*COMMAND, "--resume", str(done[0])], cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert (done[0] / "cells.jsonl").read_bytes() == before


def test_a_record_marks_code_that_is_not_committed(tmp_path: Path) -> None:
    own = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]

    def git(*command: str) -> str:
        done = subprocess.run(["git", "-C", tmp_path, *own, *command], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert commit(tmp_path) is None
    for folder in ("frameworks", "benchmarks", "results"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file.py").write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    head = git("rev-parse", "HEAD")
    (tmp_path / "results" / "file.py").write_text("2\n")
    assert commit(tmp_path) == head, "what was measured is not code"
    (tmp_path / "frameworks" / "file.py").write_text("2\n")
    assert commit(tmp_path) == f"{head}+"
    assert short(f"{head}+") == head[:12] + "+" and short(head) == head[:12]
    assert commit(tmp_path / "frameworks") is None, "installed within another project's checkout"
