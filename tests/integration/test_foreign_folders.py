"""The folder of a run is data: no command executes or imports what it names, unless the user allows it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.compare import command as compare
from benchmarks.predict import command as predict
from benchmarks.records.lock import locked
from benchmarks.records.runs import to_json
from benchmarks.report import command as report
from benchmarks.reproduce import command as reproduce
from benchmarks.run import command as run
from benchmarks.verify import command as verify
from frameworks.registry import FRAMEWORKS
from tests import fake_adapter, records
from tests.command_line import exit_code_of

NETWORK = """
from pathlib import Path
Path({marker!r}).touch()
from frameworks.spec import Conv, Dense, Flatten, MaxPool, Network, ReLU
def tiny():
    return Network("tiny", (1, 28, 28), [Conv("C1", 2, 5), ReLU(), MaxPool("P1", 4, 4), Flatten(), Dense("F1", 10)])
"""
ADAPTER = """
from pathlib import Path
Path({marker!r}).touch()
from frameworks.numpy_reference import Reference
class Foreign(Reference):
    pass
"""
PYTHON = """#!/bin/sh
touch {marker}
exec {python} "$@"
"""
SMALL = ["--quick", "--train-size", "64", "--test-size", "32", "--epochs", "1", "--threads", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a registry that a test may extend."""
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))
    for name in ("foreign", "correct"):
        monkeypatch.setitem(FRAMEWORKS, name, FRAMEWORKS["torch"])
        monkeypatch.delitem(FRAMEWORKS, name)
    return tmp_path / "cache"


class ForeignFolder:
    """A folder whose run.json names a network, an adapter and an interpreter that leave markers when they run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.net, self.adapter, self.python = (path / name for name in ("net.py", "adapter.py", "python"))
        path.mkdir()
        for file, text in ((self.net, NETWORK), (self.adapter, ADAPTER), (self.python, PYTHON)):
            file.write_text(text.format(marker=str(self.marker(file)), python=sys.executable))
            file.chmod(0o755)
        self.write_request()

    def marker(self, file: Path) -> Path:
        return self.path / f"{file.stem}.executed"

    def write_request(self, **request: Any) -> None:
        """Write run.json with these values of the request, by default all three kinds of code."""
        recorded = to_json(records.training_run([records.training_job()]))
        code = {
            "net": [f"{self.net}:tiny"],
            "adapters": [f"{self.adapter}:Foreign"],
            "pythons": {"torch": str(self.python)},
        }
        recorded["request"] |= request or code
        (self.path / "run.json").write_text(json.dumps({"schema": 2, **recorded}))

    @property
    def executed(self) -> list[str]:
        return sorted(path.stem for path in self.path.glob("*.executed"))


@pytest.fixture
def foreign(tmp_path: Path) -> ForeignFolder:
    return ForeignFolder(tmp_path / "foreign")


@pytest.mark.parametrize("kind", ["net", "adapter", "python"])
def test_resume_refuses_each_kind_of_unknown_code(
    foreign: ForeignFolder, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    request, option = {
        "net": ({"net": [f"{foreign.net}:tiny"]}, f"--net {foreign.net}:tiny"),
        "adapter": ({"adapters": [f"{foreign.adapter}:Foreign"]}, f"--adapter {foreign.adapter}:Foreign"),
        "python": ({"pythons": {"torch": str(foreign.python)}}, f"--python torch={foreign.python}"),
    }[kind]
    foreign.write_request(**request)
    assert exit_code_of(run)(["--resume", str(foreign.path)]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert f"if you trust it, repeat {option}" in error and error.count("\n") == 1
    assert not foreign.executed


@pytest.mark.parametrize(
    "command, arguments",
    [
        (run, ["--resume", "{folder}"]),
        (reproduce, ["--resume", "{folder}"]),
        (reproduce, ["--write", "{parent}"]),
        (report, ["{folder}"]),
        (compare, ["{folder}", "{folder}"]),
        (predict, ["--weights", "{folder}/run.json"]),
        (verify, ["--read", "{folder}"]),
        (verify, ["--out", "{folder}", "--resume", "--net", "mlp", "--fw", "foreign"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value.name,
)
@pytest.mark.parametrize("experiment", ["", "d2l-lenet"])
def test_no_command_executes_what_a_folder_names(
    foreign: ForeignFolder, command: Any, arguments: list[str], experiment: str
) -> None:
    recorded = json.loads((foreign.path / "run.json").read_text())
    foreign.write_request(**recorded["request"] | {"experiment": experiment})
    names = {"folder": foreign.path, "parent": foreign.path.parent}
    exit_code_of(command)([text.format(**names) for text in arguments])
    assert not foreign.executed


def test_a_run_registers_its_code_for_resume(foreign: ForeignFolder, tmp_path: Path, cache: Path) -> None:
    code = ["--net", f"{foreign.net}:tiny", "--adapter", f"{foreign.adapter}:Foreign", "--fw", "foreign"]
    python = ["--python", f"foreign={foreign.python}"]
    assert exit_code_of(run)([*code, *python, *SMALL, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert foreign.executed == ["adapter", "net", "python"]
    folder = str(next((tmp_path / "out").iterdir()))
    assert exit_code_of(run)(["--resume", folder, "--quiet"]) == 0
    for digest in (cache / "code").iterdir():
        digest.unlink()
    assert exit_code_of(run)(["--resume", folder, "--quiet"]) == ExitCode.BAD_INPUT, "another user's folder"
    assert exit_code_of(run)(["--resume", folder, *code[:4], *python, "--quiet"]) == 0, "allowed by repeating it"
    assert exit_code_of(run)(["--resume", folder, "--quiet"]) == 0, "registered again"


def test_the_same_words_in_another_directory_are_other_code(
    foreign: ForeignFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = ForeignFolder(tmp_path / "mine")
    adapter = f"{fake_adapter.__file__}:Correct"
    monkeypatch.chdir(mine.path)
    code = ["--net", "net.py:tiny", "--adapter", adapter, "--fw", "correct"]
    assert exit_code_of(run)([*code, *SMALL, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    foreign.write_request(net=["net.py:tiny"])
    monkeypatch.chdir(foreign.path)
    assert exit_code_of(run)(["--resume", ".", "--quiet"]) == ExitCode.BAD_INPUT
    assert not foreign.executed


@pytest.mark.parametrize("options", [["--net", "mlp"], ["--adapter", "{folder}/adapter.py:Other"]])
def test_resume_refuses_another_network_or_adapter(
    foreign: ForeignFolder, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [option.format(folder=foreign.path) for option in options]
    assert exit_code_of(run)(["--resume", str(foreign.path), *options]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith(f"{options[0]} {options[1]}: the run in {foreign.path} has ") and error.count("\n") == 1


def test_a_folder_that_is_in_use_is_refused(
    foreign: ForeignFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither `run` nor `verify` touches it; `report` only reads records, so it works."""
    options = ["--net", f"{foreign.net}:tiny", "--adapter", f"{fake_adapter.__file__}:Correct", "--fw", "correct"]
    assert exit_code_of(run)([*options, *SMALL, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    folder = next((tmp_path / "out").iterdir())
    before = (folder / "cells.jsonl").read_bytes()
    capsys.readouterr()
    with locked(folder):
        assert exit_code_of(run)(["--resume", str(folder), "--quiet"]) == ExitCode.BAD_INPUT
        error = capsys.readouterr().err
        assert f"{folder}: process {os.getpid()} is writing in this folder" in error and error.count("\n") == 1
        assert exit_code_of(verify)([*options, "--out", str(folder), "--quiet"]) == ExitCode.BAD_INPUT
        assert "is writing in this folder" in capsys.readouterr().err
        assert exit_code_of(report)([str(folder)]) == 0
    assert (folder / "cells.jsonl").read_bytes() == before
    assert exit_code_of(run)(["--resume", str(folder), "--quiet"]) == 0
    assert not (folder / ".lock").exists()


def test_a_refusal_is_one_printable_line(foreign: ForeignFolder, capsys: pytest.CaptureFixture[str]) -> None:
    foreign.write_request(net=["a\nb\x1b[2J\u202e.py:net"])
    assert exit_code_of(run)(["--resume", str(foreign.path)]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error[:-1].isprintable() and "a\\nb\\x1b[2J" in error


def test_an_unknown_experiment_is_refused(foreign: ForeignFolder, capsys: pytest.CaptureFixture[str]) -> None:
    foreign.write_request(net=["lenet"], experiment="nothing")
    for command in (run, reproduce):
        assert exit_code_of(command)(["--resume", str(foreign.path)]) == ExitCode.BAD_INPUT
        assert "has no experiment nothing" in capsys.readouterr().err
