"""Shards on the nodes of submitit and Ray, one node killed, against the same run in one go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.distribution.coordinator import Display, shard_count
from benchmarks.distribution.engines import Engine
from benchmarks.distribution.node import Outcome, ShardTask, run_shard
from benchmarks.distribution.training_shards import NodeOptions, TrainingDistribution, create, execute
from benchmarks.plan import command as plan_command
from benchmarks.records import plans
from benchmarks.records.events import Epoch, Start
from benchmarks.records.lock import locked
from benchmarks.records.store import RunFolder
from benchmarks.reporting import run_report
from benchmarks.run import command as run_command
from benchmarks.runtime.errors import BadInput, WorkerFailed
from tests.command_line import exit_code_of
from tests.processes import linux, processes, require

ROOT = Path(__file__).parents[2]
run, plan = map(exit_code_of, (run_command, plan_command))

FILES = f"""
import sys
import time

sys.path.insert(0, {str(ROOT)!r})

from frameworks.spec import Dense, Flatten, Network, ReLU
from tests.fake_adapter import Correct

def deep():
    return Network("deep", (1, 28, 28), [Flatten(), Dense("hidden", 8), ReLU(), Dense("output", 10)])

class Slow(Correct):
    "An epoch takes long enough to be killed in it."

    def train(self, order, batch_size, lrs, seed):
        time.sleep(0.2)
        return super().train(order, batch_size, lrs, seed)
"""
EPOCHS = 6
SIZES = ["--quick", "--train-size", "60", "--test-size", "20", "--batch-size", "16", "--epochs", str(EPOCHS)]


@pytest.fixture(scope="module")
def what(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options of three groups of one network: three seeds."""
    file = tmp_path_factory.mktemp("files") / "files.py"
    file.write_text(FILES)
    adapter = ["--adapter", f"{file}:Slow", "--fw", "slow"]
    return ["--net", f"{file}:deep", *adapter, "--seed", "0-2", "--threads", "1", *SIZES]


@pytest.fixture(scope="module")
def whole(what: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one go."""
    out = tmp_path_factory.mktemp("whole")
    assert run([*what, "--save", "--out", str(out), "-q"]) == 0
    (folder,) = out.iterdir()
    return folder


def losses(folder: Path) -> dict[str, list[tuple[float, ...]]]:
    """By cell and epoch, everything that is computed and not timed; an epoch that was trained twice counts once."""
    found = {}
    for cell, record in RunFolder(folder).records().items():
        found[cell] = [
            (epoch.epoch, epoch.train_loss, epoch.test_loss, epoch.test_accuracy, *epoch.first_losses)
            for epoch in record.epochs
        ]
    return found


def assert_same(merged: Path, whole: Path) -> None:
    """The losses and weights are those of the run in one go, bit for bit."""
    assert losses(merged) == losses(whole)
    assert [len(epochs) for epochs in losses(merged).values()] == [EPOCHS] * 3
    names = sorted(path.name for path in (whole / "weights").iterdir())
    assert names == sorted(path.name for path in (merged / "weights").iterdir()) and len(names) == 3
    for name in names:
        with np.load(whole / "weights" / name) as a, np.load(merged / "weights" / name) as b:
            assert set(a) == set(b) and all(a[key].tobytes() == b[key].tobytes() for key in a)


def epochs_of(home: Path, number: int) -> list[int]:
    """The recorded epochs of a shard, in the order of their lines."""
    folders = [path.parent for path in (home / "shards" / str(number)).glob("*/run.json")]
    return [event.epoch for path in folders for event in RunFolder(path).events() if isinstance(event, Epoch)]


def starts_of(home: Path, number: int) -> int:
    """How often a shard's cell started."""
    (folder,) = [path.parent for path in (home / "shards" / str(number)).glob("*/run.json")]
    return sum(isinstance(event, Start) for event in RunFolder(folder).events())


class Background:
    """`onespec run` in a process of its own, whose output is kept."""

    def __init__(self, out: Path, *arguments: str, **environment: str) -> None:
        self.out = out
        command = [sys.executable, "-m", "benchmarks.run", *arguments, "--save", "--out", str(out)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    @property
    def home(self) -> Path:
        (folder,) = self.out.iterdir()
        return folder

    def wait_for_epoch(self, number: int = 0) -> int:
        """Wait until a shard, or this one, has finished an epoch and not all of them; returns its number."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            for path in self.out.glob("*/shards/*"):
                this = int(path.name)
                if number in (0, this) and 1 <= len(epochs_of(path.parents[1], this)) < EPOCHS - 1:
                    return this
            time.sleep(0.05)
        self.process.kill()
        pytest.fail(f"no shard was caught at work: {self.process.communicate()[0]}")

    def finish(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=240)
        return self.process.returncode, output


# --- submitit ---------------------------------------------------------------------------------------------------------


@linux
def test_a_killed_job_of_submitit_goes_on_and_so_does_one_at_its_time_limit(
    what: list[str], whole: Path, tmp_path: Path
) -> None:
    """Of three jobs, one is killed. submitit announces a time limit to another one and starts it again itself."""
    require("submitit")
    job = Background(tmp_path / "out", *what, "--executor", "submitit:local")
    for number, stop in ((1, signal.SIGKILL), (2, signal.SIGUSR2)):
        job.wait_for_epoch(number)
        (process,) = processes("submitit.core._submit", str(job.home))
        os.kill(process, stop)
    code, output = job.finish()
    assert code == 0, output
    assert output.count("; it is run again") == 1 and "3 of 3 done" in output and " left" in output
    assert_same(job.home / "merged", whole)
    assert [starts_of(job.home, number) for number in (1, 2, 3)] == [2, 2, 1], "they go on after their last epochs"
    assert all(epochs_of(job.home, number) == list(range(1, EPOCHS + 1)) for number in (1, 2, 3))
    assert output.rstrip().endswith(str(job.home / "merged"))
    assert not processes("benchmarks.distribution.shard_process", str(job.home))


@linux
def test_a_stopped_coordinator_of_a_plan_is_resumed(what: list[str], whole: Path, tmp_path: Path) -> None:
    require("submitit")
    file = tmp_path / "plan.json"
    assert plan([*what, "-o", str(file), "-q"]) == 0
    job = Background(tmp_path / "out", "--plan", str(file), "--executor", "submitit:local")
    job.wait_for_epoch()
    assert (job.home / "plan.json").read_bytes() == file.read_bytes()
    home = job.home
    job.process.send_signal(signal.SIGTERM)
    code, output = job.finish()
    assert code == ExitCode.STOPPED and f"--executor submitit:local --resume {home}" in output
    deadline = time.monotonic() + 20
    while processes("benchmarks.distribution.shard_process", str(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes("benchmarks.distribution.shard_process", str(home)), "the jobs are cancelled"
    assert not (home / "merged").exists()
    again = ["--resume", str(home), "--executor", "submitit:local", "-q"]
    assert run(again) == 0
    assert_same(home / "merged", whole)
    assert all(epochs_of(home, number) == list(range(1, EPOCHS + 1)) for number in (1, 2, 3))
    assert run(again) == 0, "nothing is left"


def test_options_of_sbatch_reach_slurm(what: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three groups become an array. The programs of Slurm are replaced: sbatch keeps its file, sacct says failed."""
    require("submitit")
    programs = tmp_path / "programs"
    programs.mkdir()
    scripts = {
        "srun": "exit 1",
        "sbatch": f'cp "$1" {tmp_path}/sbatch.sh; echo Submitted batch job 12',
        "sacct": 'echo "JobID|State|NodeList"; for i in 0 1 2; do echo "12_$i|FAILED|node"; done',
        "scancel": "exit 0",
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0)
    monkeypatch.setattr("benchmarks.distribution.coordinator.ATTEMPTS", 1)
    options = ["--executor-option", "partition=cpu", "--executor-option", "exclusive"]
    options += ["--executor-option", "timeout_min=30", "--executor-option", "array_parallelism=2"]
    assert run([*what, "--executor", "submitit", *options, "--out", str(tmp_path / "out"), "-q"]) == ExitCode.FAILED
    lines = (tmp_path / "sbatch.sh").read_text().splitlines()
    expected = ["--partition=cpu", "--exclusive", "--time=30", "--array=0-2%2", "--cpus-per-task=1", "--mem=2GB"]
    assert set(expected) <= {line.removeprefix("#SBATCH ") for line in lines}


# --- Ray --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A Ray cluster on this machine: a head without CPUs, and two nodes with one each."""
    require("ray")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 << 20, "include_dashboard": False}
    config = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": config, **small})
    try:
        made.nodes_with_cpus = [made.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)]
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def raylet_of(home: Path, number: int) -> int:
    """The process of the Ray node that runs a shard, as Ray tells its workers."""
    (process,) = processes("benchmarks.distribution.shard_process", f"{home}/shards/{number}")
    words = (Path("/proc") / str(process) / "environ").read_bytes().decode().split("\0")
    return int(next(word.partition("=")[2] for word in words if word.startswith("RAY_RAYLET_PID=")))


@linux
def test_a_killed_node_of_ray_is_replaced(what: list[str], whole: Path, tmp_path: Path, cluster: Any) -> None:
    job = Background(tmp_path / "out", *what, "--executor", "ray", "--ray-address", cluster.address)
    number = job.wait_for_epoch()
    raylet = raylet_of(job.home, number)
    (node,) = [
        node
        for node in cluster.nodes_with_cpus
        if raylet in [info.process.pid for info in node.all_processes["raylet"]]
    ]
    cluster.remove_node(node, allow_graceful=False)  # SIGKILL
    code, output = job.finish()
    assert code == 0, output
    assert output.count("; it is run again") == 1 and "3 of 3 done" in output, output
    assert_same(job.home / "merged", whole)
    assert starts_of(job.home, number) == 2, "it goes on after its last epoch, on the other node"
    assert sorted(starts_of(job.home, each) for each in (1, 2, 3)) == [1, 1, 2]
    assert all(epochs_of(job.home, each) == list(range(1, EPOCHS + 1)) for each in (1, 2, 3))


# --- nodes that do not share the folder -------------------------------------------------------------------------------


class Apart(Engine):
    """Runs shards in this process, as nodes that do not see the folder. The first attempt of each one is lost."""

    where = "here"

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files, self.tasks, self.lost = files, list[ShardTask](), set[int]()

    def nodes(self, numbers: Sequence[int]) -> Mapping[int, str]:
        return dict.fromkeys(numbers, "here")

    def places(self) -> int:
        return 1 - len(self.tasks)

    def start(self, tasks: Sequence[ShardTask]) -> Mapping[int, str]:
        self.tasks += tasks
        return {task.number: "here" for task in tasks}

    def ended(self) -> Sequence[tuple[ShardTask, Outcome]]:
        tasks, self.tasks = self.tasks, []
        return [(task, self.outcome(task)) for task in tasks]

    def outcome(self, task: ShardTask) -> Outcome:
        if task.number not in self.lost:
            self.lost.add(task.number)
            return Outcome(None)
        return run_shard(replace(task, token="of another folder"), self.files)

    def stop(self) -> None:
        pass


class Lines(Display):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, line: str) -> None:
        self.lines.append(line)


def distribution(what: list[str], tmp_path: Path) -> TrainingDistribution:
    assert plan([*what, "-o", str(tmp_path / "plan.json"), "-q"]) == 0
    made = create(tmp_path / "out", plans.read(tmp_path / "plan.json"), NodeOptions(save=True))
    made.display = Lines()
    return made


def test_a_node_without_the_folder_returns_its_files(what: list[str], whole: Path, tmp_path: Path) -> None:
    made = distribution(what, tmp_path)
    folder, missing = execute(made, Apart(made.needs.files), ["test"], write_report=run_report.write)
    assert missing == [] and folder.path == made.home / "merged"
    assert_same(folder.path, whole)
    assert isinstance(made.display, Lines)
    assert [line for line in made.display.lines if "run again" in line] == [
        f"deep, seed {seed}: lost (the node is lost); it is run again" for seed in range(3)
    ]


def test_a_shard_that_is_lost_again_and_again_is_given_up(what: list[str], tmp_path: Path) -> None:
    class Lost(Apart):
        def outcome(self, task: ShardTask) -> Outcome:
            return Outcome(None) if task.number == 2 else run_shard(task)

    made = distribution([*what, "--seed", "0-1"], tmp_path)
    folder, missing = execute(made, Lost({}), ["test"], write_report=run_report.write)
    assert missing == [
        "deep, seed 1: lost (the node is lost); given up after 3 attempts",
        "deep, seed 1: in none of the folders",
    ]
    assert list(losses(folder.path)) == ["deep.slow.0"]


def test_a_node_with_other_code_says_so(what: list[str], tmp_path: Path) -> None:
    """`onespec run` refuses the plan there; nothing is merged."""
    made = distribution([*what, "--seed", "0"], tmp_path)
    record = json.loads((made.home / "plan.json").read_text())
    record["networks"]["deep"]["lr"] = 0.5
    (made.home / "plan.json").write_text(json.dumps(record))
    with pytest.raises(WorkerFailed, match=r"no shard has run; deep, seed 0: not run on .*networks\.deep\.lr"):
        execute(made, Here({}), ["test"], write_report=run_report.write)


class Here(Apart):
    """Nodes that share the folder."""

    def outcome(self, task: ShardTask) -> Outcome:
        return run_shard(task)


def test_two_coordinators_do_not_share_a_folder(what: list[str], tmp_path: Path) -> None:
    made = distribution(what, tmp_path)
    with locked(made.home), pytest.raises(BadInput, match="is writing in this folder"):
        execute(made, Here({}), ["test"], write_report=run_report.write)


def test_more_groups_than_shards_are_divided_evenly() -> None:
    assert [shard_count(each) for each in (1, 3, 1000, 1001, 20_000)] == [1, 3, 1000, 501, 1000]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--dry-run"], "--dry-run: --executor is missing; write submitit, submitit:local or ray\n"),
        (["--ray-address", "auto"], "--ray-address auto: only --executor ray takes it\n"),
        (
            ["--executor", "ray", "--executor-option", "partition=cpu"],
            "--executor-option partition=cpu: only --executor submitit takes it\n",
        ),
        (
            ["--executor", "ray", "--plan", "plan.json", "--shard", "1/2"],
            "--shard 1/2: --executor ray runs all shards; leave one option out\n",
        ),
        (["--executor-option", "=cpu"], "--executor-option =cpu: write KEY=VALUE, such as partition=cpu\n"),
        (
            ["--executor", "submitit:local", "--executor-option", "partition=cpu"],
            "--executor-option partition=cpu: submitit:local has cpus_per_task, gpus_per_node, mem_gb, name, "
            "timeout_min\n",
        ),
        (
            ["--executor", "submitit:local", "--executor-option", "mem_gb=much"],
            "--executor-option mem_gb=much: must be a whole number\n",
        ),
        (
            ["--executor", "submitit:local", "--executor-option", "nodes=2"],
            "--executor-option nodes=2: a shard is one process on one node; leave the option out\n",
        ),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: list[str],
    line: str,
    what: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "submitit:local" in arguments:
        require("submitit")
    monkeypatch.chdir(tmp_path)
    given = arguments if "--plan" in arguments else [*what, *arguments]
    assert run([*given, "-q"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ray", "submitit"])
def test_a_missing_package_is_named_with_its_command(
    name: str, what: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert run([*what, "--executor", name, "--out", str(tmp_path / "out"), "-q"]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith(f"--executor {name}: the package {name} is missing; pip install '{name}")
    assert error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_without_slurm_the_executor_is_refused(
    what: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run([*what, "--executor", "submitit", "--out", str(tmp_path / "out"), "-q"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == (
        "--executor submitit: no Slurm here, srun is missing; run it on a login node, or submitit:local\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["localhost:1", "ray://localhost:1"])
def test_a_ray_that_does_not_answer_is_refused(
    address: str, what: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("ray")
    ray = ["--executor", "ray", "--ray-address", address, "--out", str(tmp_path / "out"), "-q"]
    assert run([*what, *ray]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == f"--ray-address {address}: Ray cannot be reached: Connection refused\n"
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_kind_is_not_resumed(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--resume", str(whole), "--executor", "ray", "-q"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == (
        f"--resume {whole}: no distribution.json in it; --executor goes on with a folder that --executor made\n"
    )
    assert run(["--resume", str(whole), "--executor", "ray", "--epochs", "3", "-q"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == f"--epochs 3: --resume {whole} decides it; leave the option out\n"


# --- dry run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["submitit", "submitit:local", "ray"])
def test_a_dry_run_prints_what_would_run_where(
    executor: str, what: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require(executor.partition(":")[0])
    given = [*what, "--executor", executor, "--dry-run", "--out", str(tmp_path / "out"), "-q"]
    assert run(given) == 0
    shown = capsys.readouterr().out
    assert all(f"{number}/3" in shown and f"deep, seed {number - 1}" in shown for number in (1, 2, 3))
    assert f"--shard 1/3 --out {tmp_path}/out/NEW/shards/1" in shown
    assert run([*given, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["shard"] for row in rows] == ["1/3", "2/3", "3/3"] and all(row["where"] for row in rows)
    assert not list(tmp_path.iterdir())
