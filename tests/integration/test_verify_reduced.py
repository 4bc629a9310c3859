"""`verify` in 16 bits and on devices: its certificate covers runs in that precision, and what it cannot do it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.api import run
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.records.certificates import FRAMEWORK_CHECKS, read
from benchmarks.runtime import devices
from benchmarks.verify import command
from tests.command_line import exit_code_of

main = exit_code_of(command)
SMALL: dict[str, Any] = {"quick": True, "train_size": 64, "test_size": 32, "epochs": 1, "threads": 1, "device": "cpu"}
# Of this test alone: certificates of another one may be in the cache and in the checkout.
OWN = "own.py"
NETWORK = """
from frameworks.spec import BatchNorm, Conv, Dense, Flatten, GlobalAvgPool, Network, ReLU

def own():
    layers = [Conv("c", 7, 3, padding=1), BatchNorm("b"), ReLU(), GlobalAvgPool(), Flatten(), Dense("d", 10)]
    return Network("own", (1, 28, 28), layers)
"""


def asked(out: Path) -> list[str]:
    """A verification of PyTorch in bfloat16, in which MXNet is asked for, too."""
    net = f"{out / OWN}:own"
    return ["--net", net, "--fw", "torch,mxnet", "--precision", "bfloat16", "--out", str(out)]


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the certificate."""
    out = tmp_path_factory.mktemp("certificate")
    (out / OWN).write_text(NETWORK)
    assert main(asked(out)) == ExitCode.FAILED  # what is named and unavailable
    return out


def test_its_findings_are_in_both_precisions(certified: Path) -> None:
    findings = read(certified).findings
    assert [(each.name, each.framework, each.precision) for each in findings[1:]] == [
        ("own", "torch", "float64"),
        ("own", "torch", "bfloat16"),
    ]
    assert (findings[0].net, findings[0].precision) == (FRAMEWORK_CHECKS, "float64")
    assert all(each.certified for each in findings)
    errors = {stage.stage: stage.error for stage in findings[-1].stages}
    assert errors["parameters"] == 0 and 2.0**-12 < errors["evaluation"] < 2.0**-4


def test_its_page_says_what_is_unavailable(certified: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*asked(certified), "--resume"]) == ExitCode.FAILED
    shown = capsys.readouterr()
    assert "mxnet: unavailable: MXNet Gluon has no precision 'bfloat16'; there are 'float64', 'float32'" in shown.out
    assert "already certified: 2 of 2" in shown.err


@pytest.mark.parametrize(
    ("precision", "text"), [("bfloat16", "certified"), ("float16", "not certified: never verified in float16")]
)
def test_it_covers_runs_in_its_precision(certified: Path, tmp_path: Path, precision: str, text: str) -> None:
    table = run(f"{certified / OWN}:own", "torch", precision=precision, out=tmp_path, **SMALL)
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
