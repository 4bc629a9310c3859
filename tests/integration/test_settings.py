"""Devices, precisions and TF32 of a run: what reaches the adapter, the records and the reports."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.api import run, speed
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.plan import command as plan_command
from benchmarks.records.events import Launch
from benchmarks.records.store import RunFolder
from benchmarks.run import command
from benchmarks.runtime import devices, gpu_state
from benchmarks.timing import launches, roofline
from tests import fake_adapter
from tests.command_line import exit_code_of
from tests.fake_nvml import FakeNvml

ANYWHERE = f"{Path(fake_adapter.__file__).absolute()}:Anywhere"
SMALL: dict[str, Any] = {"quick": True, "train_size": 32, "test_size": 16, "epochs": 2, "threads": 1}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without nvidia-smi, on which every number is tried."""
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: None)


def trained(out: Path, **options: Any) -> tuple[dict[str, Any], RunFolder, str]:
    """The row of a run of the adapter, its folder and its report."""
    table = run("lenet", "anywhere", adapters=[ANYWHERE], out=out, **{**SMALL, **options})
    (row,) = table.to_dict("records")
    folder = RunFolder(Path(table.attrs["folder"]))
    return row, folder, (folder.path / "report.md").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "cuda:1", "precision": "bfloat16"}, "Precision: bfloat16, arrays and loss in float32. "),
        ({"device": "cuda:1", "tf32": True}, "Precision: factors of float32 products rounded to TF32. "),
        ({"device": "mps", "precision": "float16"}, "Precision: float16, arrays and loss in float32. "),
        ({"device": "cpu"}, "float32 on cpu"),
    ],
    ids=str,
)
def test_a_setting_reaches_the_adapter_and_the_records(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    row, folder, report = trained(tmp_path, **options)
    expected = {"precision": "float32", "tf32": False} | options
    assert row["status"] == "ok" and {name: row[name] for name in expected} == expected
    start = folder.records()["lenet.anywhere.0"].start
    numbered = options["device"] == "cuda:1"
    assert start and start.settings == {
        "device": devices.kind(options["device"]),
        "precision": expected["precision"],
        "tf32": str(expected["tf32"]),
        "CUDA_VISIBLE_DEVICES": "1" if numbered else "",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID" if numbered else "",
    }
    assert words in report and ("Precision: " in report) == ("Precision: " in words)
    assert (row["peak_memory_mib"] == 3) == (options["device"] != "cpu")
    assert f"on {options['device']}" in report and options["device"] in (folder.path / "report.html").read_text()
    if expected["tf32"]:
        assert row["certified"] == "not certified: never verified with TF32"


def test_a_framework_without_the_precision_is_unavailable(tmp_path: Path) -> None:
    fake = ANYWHERE.replace("Anywhere", "Fake")
    table = run("lenet", "fake", adapters=[fake], precision="bfloat16", device="cpu", out=tmp_path, **SMALL)
    assert list(table["status"]) == ["unavailable"]
    assert list(table["reason"]) == ["Fake has no precision 'bfloat16'; there are 'float64', 'float32'"]


def test_an_epoch_has_the_readings_of_its_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake counts 250 J from one reading to the next. The first epoch also has a reading after its first step."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    gpu_state.opened.cache_clear()
    row, folder, report = trained(tmp_path, device="cuda:0")
    gpu_state.opened.cache_clear()
    epochs = folder.records()["lenet.anywhere.0"].epochs
    assert [len(epoch.slices) for epoch in epochs] == [1, 1]
    assert [epoch.gpu.joules for epoch in epochs if epoch.gpu] == [500, 250] and row["energy_joules"] == 750
    assert "Warning: the GPU lowered its clocks during timing: power limit (anywhere)" in report
    assert (folder.training_run.machine.cuda, folder.training_run.machine.power_limit_watts) == ("12.8", 700)


def test_a_plan_has_the_setting_and_its_shards_run_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.json"
    small = ["--quick", "--train-size", "32", "--test-size", "16", "--epochs", "1", "--threads", "1"]
    setting = ["--device", "cuda:1", "--precision", "bfloat16"]
    adapter = ["--adapter", ANYWHERE]
    assert exit_code_of(plan_command)(["--fw", "anywhere", *adapter, *small, *setting, "-o", str(plan)]) == 0
    assert exit_code_of(command)(["--plan", str(plan), *adapter, "--out", str(tmp_path / "out"), "-q"]) == 0
    (job,) = RunFolder(next((tmp_path / "out").iterdir())).training_run.jobs
    assert (job.device, job.precision, job.tf32) == ("cuda:1", "bfloat16", False)
    capsys.readouterr()
    shutil.rmtree(tmp_path / "out")
    executor = ["--executor", "submitit:local", "--out", str(tmp_path / "out")]
    assert exit_code_of(command)(["--plan", str(plan), *adapter, *executor]) == ExitCode.BAD_INPUT
    assert "--device cuda:1: a shard has one GPU with --executor; write --device cuda" in capsys.readouterr().err


def test_the_report_of_a_speed_run_has_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SIDES", {"cuda": (4, 8)})
    monkeypatch.setattr(roofline, "MEBI_VALUES", {"cuda": (1,)})
    monkeypatch.setattr(launches, "CALL", {"cuda": 1e6})
    options: dict[str, Any] = {"what": "infer", "threads": 1, "batch_size": 8, "budget": 30.0, "quiet": True}
    options |= {"device": "cuda:1", "precision": "bfloat16", "dataset": "fashion-mnist-mini"}
    table = speed("mlp", "anywhere", adapters=[ANYWHERE], out=tmp_path, **options)
    assert list(zip(table["precision"], table["tf32"], table["device"])) == [("bfloat16", False, "cuda:1")]
    folder = Path(table.attrs["folder"])
    launch = next(event for event in RunFolder(folder).events() if event.event == "launch")
    assert isinstance(launch, Launch) and launch.settings["CUDA_VISIBLE_DEVICES"] == "1"
    report = (folder / "report.md").read_text()
    assert "bfloat16, cuda:1" in report and "differ from those of the reference by at most 6.2 % " in report
