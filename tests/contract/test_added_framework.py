"""A framework is added by its adapter, an entry in the registry and an extra of pyproject.toml; nothing else changes.

The framework added here is NumPy, and every command runs on it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.compare import command as compare
from benchmarks.predict import command as predict
from benchmarks.report import command as report
from benchmarks.run import command as run
from benchmarks.speed import command as speed
from benchmarks.summary import command as summary
from benchmarks.timing import budget, launches, roofline, speed_run
from benchmarks.verify import command as verify
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from tests import fake_adapter
from tests.command_line import exit_code_of

NETWORK = """
from frameworks.spec import Conv, Dense, Flatten, MaxPool, Network, ReLU
def tiny():
    layers = [Conv("C1", 2, 5), ReLU(), MaxPool("P1", 4, 4), Flatten(), Dense("F1", 10)]
    return Network("tiny", (1, 28, 28), layers)
"""


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    info = FrameworkInfo(
        name="fake",
        title="NumPy as a framework",
        module=str(Path(fake_adapter.__file__)),
        adapter="Correct",
        package="numpy",
        python=">=3.10",
    )
    monkeypatch.setitem(FRAMEWORKS, info.name, info)


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Options that all commands with workers share."""
    (tmp_path / "tiny.py").write_text(NETWORK)
    return ["--net", f"{tmp_path / 'tiny.py'}:tiny", "--fw", "fake", "--python", f"fake={sys.executable}"]


def newest(folder: Path) -> Path:
    return max(path for path in folder.iterdir() if path.is_dir())


def test_run_report_predict_and_compare(options: list[str], tmp_path: Path) -> None:
    small = ["--quick", "--train-size", "200", "--test-size", "100", "--threads", "1", "--device", "cpu", "--save"]
    runs = []
    for name in ("first", "second"):
        assert exit_code_of(run)([*options, *small, "--out", str(tmp_path / name), "--quiet"]) == 0
        runs.append(newest(tmp_path / name))
    table = pd.read_csv(runs[0] / "report.csv")
    assert list(table["framework"]) == ["fake"] and list(table["status"]) == ["ok"]
    assert exit_code_of(report)([str(runs[0])]) == 0
    # Two short runs do not suffice for a comparison of speeds, which the exit code says.
    assert exit_code_of(compare)([*map(str, runs), "--quiet"]) == ExitCode.NOT_MEASURED
    weights = next((runs[0] / "weights").iterdir())
    where = ["--fw", "fake", "--python", f"fake={sys.executable}", "--out", str(tmp_path / "predictions"), "--quiet"]
    assert exit_code_of(predict)(["--weights", str(weights), "--test-size", "50", *where]) == 0


def test_verify(options: list[str], tmp_path: Path) -> None:
    size = ["--precision", "float64", "--size", "small", "--steps", "10"]
    assert exit_code_of(verify)([*options, *size, "--out", str(tmp_path / "certificate"), "--quiet"]) == 0


def test_speed(options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "SLICE_SECONDS", 0.02)
    monkeypatch.setattr(launches, "TRIAL_SECONDS", 0.005)
    monkeypatch.setattr(speed_run, "NARROW", float("inf"))
    monkeypatch.setattr(speed_run, "ENOUGH", budget.LAUNCHES)
    monkeypatch.setitem(roofline.SIDES, "cpu", (4, 8, 16))
    monkeypatch.setitem(roofline.MEBI_VALUES, "cpu", (1,))
    where = ["--dataset", "fashion-mnist-mini", "--batch-size", "64", "--threads", "1", "--device", "cpu"]
    more = ["--what", "train", "--budget", "600s", "--out", str(tmp_path / "out"), "--quiet"]
    assert exit_code_of(speed)([*options, *where, *more]) == 0
    folder = newest(tmp_path / "out")
    assert list(pd.read_csv(folder / "report.csv")["status"]) == ["ok"]
    assert exit_code_of(report)([str(folder)]) == 0


def test_summary(options: list[str]) -> None:
    assert exit_code_of(summary)([*options[:2], "--quiet"]) == 0
