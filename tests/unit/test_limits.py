"""Networks that no machine can train are refused from the spec, before a weight is drawn or a worker starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest

from benchmarks import run, speed, summary, verify
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.runtime import devices, machine
from benchmarks.verification.verify_run import VerifyRequest
from frameworks.networks import NETWORKS
from tests.command_line import exit_code_of

FILE = """
from frameworks.spec import Conv, Dense, Flatten, GlobalAvgPool, MaxPool, Network

def units():
    return Network("units", (1, 28, 28), [Flatten(), Dense("d", 10**9), Dense("e", 10)])

def billions():
    layers = [Flatten(), Dense("d", 10**6), Dense("e", 2 * 10**6), Dense("f", 10)]
    return Network("billions", (1, 28, 28), layers)

def outputs():
    layers = [Conv("c", 4, 3, padding=10**8), GlobalAvgPool(), Flatten(), Dense("e", 10)]
    return Network("outputs", (1, 28, 28), layers)

def untrained():
    return Network("untrained", (1, 28, 28), [MaxPool("p", 7, 7), Flatten()])

def padding():
    return Network("padding", (1, 28, 28), [Conv("c", 4, 3, padding=-1), Flatten(), Dense("e", 10)])
"""
WORK: dict[str, tuple[click.Command, list[str]]] = {
    "run": (run.command, ["--quick", "--out", "out"]),
    "speed": (speed.command, ["--out", "out"]),
    "verify": (verify.command, ["--out", "out"]),
}
COMMANDS = WORK | {"summary": (summary.command, ["--out", "out"])}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be drawn and no process started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("frameworks.arrays.drawn", None)
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: None)
    Path("nets.py").write_text(FILE)


@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("net", ["units", "billions", "outputs"])
def test_a_network_larger_than_the_machine_is_refused_before_work(
    name: str, net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, options = WORK[name]
    assert exit_code_of(command)(["--net", f"nets.py:{net}", *options]) == ExitCode.BAD_INPUT
    output, error = capsys.readouterr()
    assert not output and error.count("\n") == 1
    assert net in error and "GiB, and this machine has" in error
    assert [path.name for path in Path().iterdir()] == ["nets.py"]


@pytest.mark.parametrize("name", WORK)
def test_a_network_that_cannot_be_trained_is_refused_before_work(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, options = WORK[name]
    assert exit_code_of(command)(["--net", "nets.py:untrained", *options]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error == "--net nets.py:untrained: no layer of untrained has weights, so there is nothing to train\n"
    assert not Path("out").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_an_impossible_layer_is_refused_before_work(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, options = COMMANDS[name]
    assert exit_code_of(command)(["--net", "nets.py:padding", *options]) == ExitCode.BAD_INPUT
    output, error = capsys.readouterr()
    assert not output and error.count("\n") == 1 and "--net nets.py:padding: padding.c: padding is -1; it is" in error
    assert [path.name for path in Path().iterdir()] == ["nets.py"]


def test_the_limit_is_the_memory_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "total_memory", lambda: 1 << 20)
    assert exit_code_of(verify.command)(["--net", "lenet"]) == ExitCode.BAD_INPUT
    assert "this machine has 0.0 GiB" in capsys.readouterr().err


def test_all_networks_are_those_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify --net all` goes on without the others, and names them."""
    monkeypatch.setattr(machine, "total_memory", lambda: 8 << 30)
    request = VerifyRequest(("all",))
    fit, too_large = request.networks(), request.too_large()
    assert "lenet" in fit and "regnet_y_128gf" in too_large
    assert {*fit, *too_large} == set(NETWORKS) and not {*fit} & {*too_large}
    assert "GiB, and this machine has 8.0 GiB" in too_large["regnet_y_128gf"]
