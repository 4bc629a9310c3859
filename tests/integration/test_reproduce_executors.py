"""The groups of an experiment on nodes, one killed, against the same experiment in one go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.articles.experiment_requests import experiment_request
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.distribution.training_shards import NodeOptions, create
from benchmarks.records.plans import Plan
from benchmarks.records.store import RunFolder
from benchmarks.reproduce import command as reproduce_command
from benchmarks.run import command as run_command
from benchmarks.training.plan import TrainingRequest
from benchmarks.training.shards import planned
from tests.command_line import exit_code_of
from tests.conftest import Bench
from tests.processes import linux, processes, require

ROOT = Path(__file__).parents[2]
reproduce, run = map(exit_code_of, (reproduce_command, run_command))

SMALL = "--dataset fashion-mnist-mini --threads 1 --epochs 2 --train-size 300 --test-size 200".split()
WHAT = ["--recipe", "fc-vs-cnn-permuted", "--fw", "torch", "--save", *SMALL]
CURVES = ["net", "framework", "seed", "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]


def only(out: Path) -> Path:
    (folder,) = out.iterdir()
    return folder


@linux
def test_a_killed_job_goes_on_and_the_figures_are_those_in_one_go(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("submitit")
    bench.python("torch")
    assert reproduce([*WHAT, "--out", str(tmp_path / "whole"), "-q"]) == 0
    whole = only(tmp_path / "whole")
    figures = capsys.readouterr().out.splitlines()[1:-1]  # without the forecast and the folder
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.reproduce", *WHAT, "--executor", "submitit:local", "--out", str(out)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 180
    while not list(out.glob("*/shards/1/*/run.json")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.02)
    (job,) = processes("submitit.core._submit", str(out))
    os.kill(job, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    assert stderr.count("; it is run again") == 1 and "2 of 2 done" in stderr
    merged = only(out) / "merged"
    assert stdout.splitlines() == [*figures, str(merged)]
    pd.testing.assert_frame_equal(
        pd.read_csv(merged / "curves.csv")[CURVES], pd.read_csv(whole / "curves.csv")[CURVES], check_exact=True
    )
    assert RunFolder(merged).training_run.request.experiment == "fc-vs-cnn-permuted"
    assert {job.permutation for job in RunFolder(merged).training_run.jobs} == {0}
    weights = sorted(path.name for path in (whole / "weights").iterdir())
    assert len(weights) == 2 and weights == sorted(path.name for path in (merged / "weights").iterdir())
    for name in weights:
        with np.load(whole / "weights" / name) as a, np.load(merged / "weights" / name) as b:
            assert set(a) == set(b) and all(a[key].tobytes() == b[key].tobytes() for key in a)
    again = ["--resume", str(only(out)), "--executor", "submitit:local", "-q"]
    assert reproduce([*again, "--margin", "2"]) == 0, "nothing is left"
    assert reproduce([*again, "--seed", "0-2"]) == ExitCode.BAD_INPUT
    assert f"--resume {only(out)} decides it; leave the option out" in capsys.readouterr().err


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--executor", "ray"], "--executor ray: --recipe is missing; `onespec reproduce` lists the experiments\n"),
        (["--executor", "ray", "--write", "."], "--write .: it runs nothing; leave --executor ray out\n"),
        (
            ["--recipe", "d2l-lenet", "--executor", "ray", "--forecast"],
            "--forecast: it measures this machine; leave it or --executor ray out, or use --dry-run\n",
        ),
        (
            ["--recipe", "d2l-lenet", "--dry-run"],
            "--dry-run: --executor is missing; write submitit, submitit:local or ray\n",
        ),
        (["--recipe", "d2l-lenet", "--ray-address", "auto"], "--ray-address auto: only --executor ray takes it\n"),
        (
            ["--recipe", "d2l-lenet", "--executor", "ray", "--executor-option", "partition=cpu"],
            "--executor-option partition=cpu: only --executor submitit takes it\n",
        ),
        (
            ["--executor", "ray", "--resume", "."],
            "--resume .: no distribution.json in it; --executor goes on with a folder that --executor made\n",
        ),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reproduce([*arguments, "-q"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == line
    assert not list(tmp_path.iterdir())


def test_a_run_of_no_experiment_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(TrainingRequest(("lenet",), "torch", quick=True, threads=1, device="cpu"), print)
    home = create(tmp_path, plan, NodeOptions()).home
    assert reproduce(["--resume", str(home), "--executor", "submitit:local", "-q"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == (
        f"--resume {home}: not the run of an experiment; continue it with `onespec run --executor submitit:local "
        "--resume`\n"
    )


def plan_of_experiment() -> Plan:
    given = {"variant": "as-written", "frameworks": "torch", "dataset": "fashion-mnist-mini", "threads": 1}
    return planned(experiment_request("fc-vs-cnn-permuted", given), print)


def test_a_plan_of_an_experiment_has_its_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A node finds the recipe by the name of the experiment, and refuses another one than that of the plan."""
    record = json.loads(plan_of_experiment().text)
    assert record["networks"]["mlp"]["permutation"] == 0
    record["networks"]["mlp"]["permutation"] = 1
    shard = ["--plan", str(tmp_path / "plan.json"), "--shard", "1/2", "--out", str(tmp_path / "out"), "-q"]
    (tmp_path / "plan.json").write_text(json.dumps(record))
    assert run(shard) == ExitCode.BAD_INPUT
    assert "not the same here as in the plan: networks.mlp.permutation" in capsys.readouterr().err
    record["request"]["experiment"] = "another"
    (tmp_path / "plan.json").write_text(json.dumps(record))
    assert run(shard) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == (
        f"--plan {tmp_path}/plan.json: this version has no experiment another in the variant as-written\n"
    )


@pytest.mark.parametrize("executor", ["submitit", "submitit:local", "ray"])
def test_a_dry_run_prints_what_would_run_where(
    executor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require(executor.partition(":")[0])
    given = [*WHAT, "--executor", executor, "--dry-run", "--out", str(tmp_path / "out"), "-q"]
    assert reproduce(given) == 0
    assert f"--shard 1/2 --out {tmp_path}/out/NEW/shards/1 --timeout 600 --save" in capsys.readouterr().out
    assert reproduce([*given, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["shard"], row["group"]) for row in rows] == [("1/2", "mlp, seed 0"), ("2/2", "cnn, seed 0")]
    assert not list(tmp_path.iterdir())
