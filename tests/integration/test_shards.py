"""Three shards of a plan, merged, against the same run in one go: two networks, three seeds, two adapters in NumPy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.merge import command as merge_command
from benchmarks.plan import command as plan_command
from benchmarks.records.events import Epoch, Start
from benchmarks.records.runs import JobInfo
from benchmarks.records.store import RunFolder
from benchmarks.run import command as run_command
from tests.command_line import exit_code_of

run, plan, merge = map(exit_code_of, (run_command, plan_command, merge_command))
FILES = """
from frameworks.numpy_reference import Reference
from frameworks.spec import Dense, Flatten, Network, ReLU

def thin():
    return Network("thin", (1, 28, 28), [Flatten(), Dense("output", 10)])

def deep():
    return Network("deep", (1, 28, 28), [Flatten(), Dense("hidden", 8), ReLU(), Dense("output", 10)])

class First(Reference):
    pass

class Second(Reference):
    pass
"""
SIZES = ["--quick", "--train-size", "60", "--test-size", "20", "--batch-size", "16", "--threads", "1"]
# Columns whose values depend on the machine and its load.
TIMES = [
    "examples_per_second", "examples_per_second_low", "examples_per_second_high", "relative_speed_low",
    "relative_speed_high", "relative_speed", "withheld", "disturbed_slices", "cpu_load", "build_seconds",
    "compile_seconds", "first_step_seconds", "train_seconds", "evaluation_seconds", "peak_memory_mib",
    "import_seconds", "import_memory_mib", "load_seconds",
]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the run in one go (`whole`), of its shards (`1`, `2`, `3`), and of the merged run."""
    base = tmp_path_factory.mktemp("shards")
    file, plan_file = base / "files.py", base / "plan.json"
    file.write_text(FILES)
    what = ["--net", f"{file}:thin,{file}:deep", "--adapter", f"{file}:First", "--adapter", f"{file}:Second"]
    what += ["--fw", "first,second", "--seed", "0-2", *SIZES]
    assert plan([*what, "-o", str(plan_file), "-q"]) == 0
    assert run([*what, "--save", "--out", str(base / "whole"), "-q"]) == 0
    found = {"plan": plan_file, "whole": next((base / "whole").iterdir()), "merged": base / "merged"}
    for number in "123":
        out = ["--save", "--out", str(base / number), "-q"]
        assert run(["--plan", str(plan_file), "--shard", f"{number}/3", *out]) == 0
        (found[number],) = (base / number).iterdir()
    assert merge([*(str(found[number]) for number in "123"), "-o", str(found["merged"]), "-q"]) == 0
    return found


def job(path: Path, cell: str) -> JobInfo:
    return next(each for each in RunFolder(path).training_run.jobs if each.cell == cell)


def cells(path: Path) -> list[str]:
    return [each.cell for each in RunFolder(path).training_run.jobs]


def losses(path: Path) -> dict[str, list[tuple[float, ...]]]:
    """By cell and epoch, everything that is computed and not timed."""
    results: dict[str, list[tuple[float, ...]]] = {}
    for event in RunFolder(path).events():
        if isinstance(event, Epoch):
            values = (event.train_loss, event.train_accuracy, event.test_loss, event.test_accuracy)
            results.setdefault(event.cell, []).append((*values, *event.first_losses))
    return results


def test_each_shard_has_its_groups(folders: dict[str, Path]) -> None:
    assert cells(folders["1"]) == ["thin.first.0", "thin.second.0", "deep.first.0", "deep.second.0"]
    assert cells(folders["2"]) == ["thin.first.1", "thin.second.1", "deep.first.1", "deep.second.1"]
    info = RunFolder(folders["2"]).training_run
    assert info.shard and (info.shard.number, info.shard.count) == (2, 3)
    assert (folders["2"] / "plan.json").read_bytes() == folders["plan"].read_bytes()
    assert folders["2"].name.partition("-shard-")[2].startswith("2-of-3-")


def test_the_jobs_are_those_of_the_run_in_one_go(folders: dict[str, Path]) -> None:
    whole, merged = (RunFolder(folders[name]).training_run for name in ("whole", "merged"))
    assert merged.jobs == whole.jobs and merged.data == whole.data
    assert merged.request == msgspec.structs.replace(whole.request, device=whole.jobs[0].device)


def test_losses_are_bit_identical(folders: dict[str, Path]) -> None:
    whole = losses(folders["whole"])
    assert losses(folders["merged"]) == whole
    assert list(whole) == cells(folders["whole"]) and len(whole) == 12
    assert len({tuple(values) for values in whole.values()}) == 6, "the groups differ, the two adapters do not"


def test_weights_are_bit_identical(folders: dict[str, Path]) -> None:
    names = sorted(path.name for path in (folders["whole"] / "weights").iterdir())
    assert names == sorted(path.name for path in (folders["merged"] / "weights").iterdir()) and len(names) == 12
    for name in names:
        with np.load(folders["whole"] / "weights" / name) as a, np.load(folders["merged"] / "weights" / name) as b:
            assert set(a) == set(b) and all(a[key].tobytes() == b[key].tobytes() for key in a)


def test_the_report_has_the_same_rows(folders: dict[str, Path]) -> None:
    whole, merged = (pd.read_csv(folders[name] / "report.csv").drop(columns=TIMES) for name in ("whole", "merged"))
    pd.testing.assert_frame_equal(whole, merged, check_exact=True)
    assert list(whole["status"].unique()) == ["ok"] and not whole["warning"].notna().any()


def test_a_ratio_is_that_of_a_launch(folders: dict[str, Path]) -> None:
    """The epochs of a group have one launch, which no other group has: ratios are paired by it."""
    launches: dict[tuple[str, int], set[int]] = {}
    for event in RunFolder(folders["merged"]).events():
        if isinstance(event, Epoch):
            cell = job(folders["merged"], event.cell)
            launches.setdefault((cell.net, cell.seed), set()).add(event.launch)
    assert [len(each) for each in launches.values()] == [1] * 6
    assert len(set().union(*launches.values())) == 6


def test_logs_are_carried_over(folders: dict[str, Path]) -> None:
    logs = {path.name for path in (folders["merged"] / "logs").iterdir()}
    assert logs == {f"{cell}.log" for cell in cells(folders["whole"])}


def test_two_shards_that_claim_a_group_are_refused(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders["1"], tmp_path / "copy")
    assert merge([str(folders["1"]), str(tmp_path / "copy"), "-o", str(tmp_path / "merged")]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == (
        f"{folders['1']} and {tmp_path / 'copy'}: both have results of thin, seed 0; leave one out\n"
    )


def test_an_interrupted_shard_is_resumed(folders: dict[str, Path], tmp_path: Path) -> None:
    """A shard that was stopped after its first group trains its second one, and no group of another shard."""
    path = tmp_path / "run"
    shutil.copytree(folders["2"], path)
    lines = (path / "cells.jsonl").read_text().splitlines(keepends=True)
    (path / "cells.jsonl").write_text("".join(line for line in lines if '"thin.' in line))
    assert run(["--resume", str(path), "-q"]) == 0
    assert losses(path) == losses(folders["2"])
    started = [event.cell for event in RunFolder(path).events() if isinstance(event, Start)]
    assert started == cells(path)
    assert merge([str(path), str(folders["1"]), str(folders["3"]), "-o", str(tmp_path / "merged"), "-q"]) == 0
    assert losses(tmp_path / "merged") == losses(folders["whole"])


def test_a_shard_that_is_resumed_on_another_machine_says_what_ran_where(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "run"
    shutil.copytree(folders["2"], path)
    lines = (path / "cells.jsonl").read_text().splitlines(keepends=True)
    (path / "cells.jsonl").write_text("".join(line for line in lines if '"thin.' in line))
    record = json.loads((path / "run.json").read_text())
    record["machine"]["processor"] = "Another"
    (path / "run.json").write_text(json.dumps(record))
    assert run(["--resume", str(path), "-q"]) == 0
    info = RunFolder(path).training_run
    assert [part.cells for part in info.parts] == [["thin.first.1", "thin.second.1"]]
    assert info.machine_of("thin.first.1").processor == "Another" != info.machine_of("deep.first.1").processor
    report = (path / "report.md").read_text()
    assert "- 2 machines; 1 thread" in report and "- Another, " in report and ": deep (seed 1).\n" in report
    assert merge([str(path), "-o", str(tmp_path / "merged"), "-q"]) == ExitCode.FAILED  # four groups are missing
    merged = RunFolder(tmp_path / "merged").training_run
    assert [part.cells for part in merged.parts] == [cells(path)[:2], cells(path)[2:]]


def test_a_shard_whose_plan_changed_is_not_resumed(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    shutil.copytree(folders["1"], path)
    record = json.loads((path / "plan.json").read_text())
    record["networks"]["thin"]["lr"] = 0.5
    (path / "plan.json").write_text(json.dumps(record))
    assert run(["--resume", str(path)]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == f"{path / 'plan.json'}: not the plan that run.json names\n"
