"""`verify` in 16 bits and on devices: its certificate covers runs in that precision, and what it cannot do it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.api import run
from benchmarks.certification import lookup
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.records.certificates import FRAMEWORK_CHECKS, read
from benchmarks.runtime import devices
from benchmarks.verify import command
from tests.command_line import exit_code_of

main = exit_code_of(command)
SMALL: dict[str, Any] = {"quick": True, "train_size": 64, "test_size": 32, "epochs": 1, "threads": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verification of PyTorch in bfloat16, in which MXNet is asked for, too."""
    out = tmp_path_factory.mktemp("certificate")
    asked = ["--net", "lenet", "--fw", "torch,mxnet", "--precision", "bfloat16", "--steps", "50", "--out", str(out)]
    assert main(asked) == ExitCode.FAILED  # what is named and unavailable
    return out


def test_its_findings_are_in_both_precisions(certified: Path) -> None:
    findings = read(certified).findings
    assert [(each.net, each.framework, each.precision) for each in findings] == [
        (FRAMEWORK_CHECKS, "torch", "float64"),
        ("lenet", "torch", "float64"),
        ("lenet", "torch", "bfloat16"),
    ]
    assert all(each.certified for each in findings)
    errors = {stage.stage: stage.error for stage in findings[-1].stages}
    assert errors["parameters"] == 0 and 2.0**-12 < errors["evaluation"] < 2.0**-4


def test_its_page_says_what_is_unavailable(certified: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resumed = ["--net", "lenet", "--fw", "torch,mxnet", "--precision", "bfloat16", "--steps", "50"]
    assert main([*resumed, "--out", str(certified), "--resume"]) == ExitCode.FAILED
    shown = capsys.readouterr()
    assert "mxnet: unavailable: MXNet Gluon has no precision 'bfloat16'; there are 'float64', 'float32'" in shown.out
    assert "already certified: 2 of 2" in shown.err


@pytest.mark.parametrize(
    ("precision", "text"), [("bfloat16", "certified"), ("float16", "not certified: never verified in float16")]
)
def test_it_covers_runs_in_its_precision(
    certified: Path, tmp_path: Path, precision: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "SHIPPED", tmp_path / "shipped")  # there are certificates of a checkout
    table = run("lenet", "torch", precision=precision, out=tmp_path, **SMALL)
    assert list(table["certified"]) == [text]


def test_a_device_that_is_not_there_is_unavailable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: None)
    asked = ["--net", "lenet", "--fw", "torch,mxnet,jax", "--device", "mps", "--precision", "float64"]
    assert main([*asked, "--out", str(tmp_path)]) == ExitCode.FAILED
    shown = capsys.readouterr().out
    for line in ("torch: unavailable: ", "mxnet: unavailable: MXNet Gluon has no device 'mps'", "jax: unavailable: "):
        assert line in shown
    assert not read(tmp_path).findings
