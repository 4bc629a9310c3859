"""A network of another program in every command that takes --net: the same as the spec that `port` writes of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import plan, run, summary, verify
from benchmarks.port import command as port
from benchmarks.porting.port_files import write_all
from frameworks.networks import NETWORKS
from tests.command_line import exit_code_of
from tests.conftest import Bench
from tests.contract.test_gluon_import import MODELS

MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=4, classes=10):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.features(x)), 1))
"""
FUNCTIONAL = """
import keras
from keras import layers


def make():
    image = keras.Input((12, 12, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image)
    return keras.Model(image, layers.Dense(10, name="fc")(layers.GlobalAveragePooling2D()(x)))
"""


def of_torch(bench: Bench, folder: Path) -> tuple[str, str]:
    (folder / "module.py").write_text(MODULE)
    return f"{folder}/module.py:Net(width=3, classes=10)@1x12x12", f"torch={bench.python('torch')}"


def of_keras(bench: Bench, folder: Path) -> tuple[str, str]:
    (folder / "functional.py").write_text(FUNCTIONAL)
    return f"{folder}/functional.py:make", f"keras={bench.python('keras')}"


def of_onnx(bench: Bench, folder: Path) -> tuple[str, str]:
    (path,) = write_all(NETWORKS["lenet"](), ["onnx"], folder, None, "")
    return str(path), f"torch={bench.python('torch')}"


def of_gluon(bench: Bench, folder: Path) -> tuple[str, str]:
    subprocess.run([bench.python("mxnet"), MODELS, folder], check=True, capture_output=True)
    return f"{folder}/mixed-symbol.json@3x10x9", f"mxnet={bench.python('mxnet')}"


PROGRAMS = {"torch": of_torch, "keras": of_keras, "onnx": of_onnx, "mxnet": of_gluon}


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_the_network_that_port_writes(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    text, python = PROGRAMS[program](bench, tmp_path)
    name, _, shape = text.partition("@")
    given = ["--input", shape.replace("x", ",")] if shape else []
    arguments = [name, *given, "--to", "spec", "-o", str(tmp_path / "out"), "--python", python, "--json"]
    assert exit_code_of(port)(arguments) == 0
    written = json.loads(capsys.readouterr().out)
    source = next(path for path in written["files"] if path.endswith(".py"))
    spec = json.loads(shown([f"{source}:{written['net']}"], capsys))
    assert json.loads(shown([text], capsys)) == spec


def shown(nets: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The output of `summary --json`."""
    assert exit_code_of(summary.command)(["--net", ",".join(nets), "--json"]) == 0
    return capsys.readouterr().out


def test_run_trains_it_on_the_images_of_the_data(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, python = of_torch(bench, tmp_path)
    net, options = text.partition("@")[0], ["--quick", "--train-size", "64", "--threads", "1"]
    code = exit_code_of(run.command)(
        ["--net", net, "--fw", "torch", "--python", python, "--out", str(tmp_path), *options]
    )
    assert code == 0, capsys.readouterr().err
    (report,) = tmp_path.glob("*/report.csv")
    assert pd.read_csv(report)["status"].tolist() == ["ok"]


def test_a_plan_has_the_shape_of_the_data(bench: Bench, tmp_path: Path) -> None:
    text, _ = of_torch(bench, tmp_path)
    net, path = text.partition("@")[0], tmp_path / "plan.json"
    assert exit_code_of(plan.command)(["--net", net, "--fw", "torch", "--quick", "-o", str(path)]) == 0
    networks = json.loads(path.read_text())["networks"]
    assert [each["requested"] for each in networks.values()] == [f"{net}@1x28x28"]


def test_verify_certifies_it(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, python = of_torch(bench, tmp_path)
    options = ["--fw", "torch", "--python", python, "--precision", "float64", "--out", str(tmp_path)]
    assert exit_code_of(verify.command)(["--net", text, *options]) == 0, capsys.readouterr().err
    findings = json.loads((tmp_path / "certificate.json").read_text())["findings"]
    assert text in [each["net"] for each in findings]
