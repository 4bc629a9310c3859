"""Every command refuses a damaged or foreign file in one line that names it, with exit code 2."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import pytest

from benchmarks.checkpoint import command as import_weights
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.compare import command as compare
from benchmarks.predict import command as predict
from benchmarks.records import events
from benchmarks.records.certificates import Certificate, Finding, StageRecord, write
from benchmarks.records.store import RunFolder
from benchmarks.report import command as report
from benchmarks.reproduce import command as reproduce
from benchmarks.run import command as run
from benchmarks.training import checkpoints
from benchmarks.verify import command as verify
from frameworks import arrays
from frameworks.networks import NETWORKS
from tests import records
from tests.command_line import exit_code_of

PYTEST_BENCHMARK = {"machine_info": {}, "commit_info": {}, "benchmarks": [{"name": "a", "stats": {}}], "version": "4"}
HYPERFINE = {"results": [{"command": "sleep 1", "mean": 1.0, "times": [1.0]}]}
DAMAGES = {
    "empty": b"",
    "binary": bytes(range(256)),
    "zeros": bytes(100),
    "incomplete": b'{"schema": 2, "jobs": [',
    "list": b"[]",
    "null": b"null",
    "number": b"3",
    "text": b'"text"',
    "no keys": b"{}",
    "future": b'{"schema": 99}',
    "schema of a wrong type": b'{"schema": [2]}',
    "kind of a wrong type": b'{"schema": 2, "kind": [], "event": [], "jobs": {}}',
    "UTF-16": '{"schema": 2}'.encode("utf-16"),
    "Latin-1": '{"schema": 2, "kind": "é"}'.encode("latin-1"),
    "deep nesting": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"schema": 2, "jobs": ' + b"[" * 900 + b"]" * 900 + b"}",
    "long number": b'{"schema": ' + b"9" * 5_000 + b"}",
    "pytest-benchmark": json.dumps(PYTEST_BENCHMARK).encode(),
    "hyperfine": json.dumps(HYPERFINE, indent=1).encode(),
    "CSV": b"command,mean\nsleep 1,1.0\n",
}
FINDING = Finding(
    net="mlp", input=[1, 28, 28], images=(4, 8), case_sha256="a", framework="torch", version="torch 1",
    versions={"torch": "1"}, mode="", code_sha256="b", precision="float64", seeds=1, device="cpu", settings={},
    verdict="ok", stages=[StageRecord("loss", "ok", 1e-12)],
)  # fmt: skip
CERTIFICATE = Certificate(
    command=["verify"], began=records.BEGAN, semantics="aligned", seed=0, batch_size=4, steps=2,
    machine=records.MACHINE, commit=None, findings=[FINDING],
)  # fmt: skip


class Case:
    """A command on a folder whose file `name` is damaged; {path} stands for the folder."""

    def __init__(self, command: click.Command, arguments: str, name: str) -> None:
        self.command, self.arguments, self.name = command, arguments.split(), name

    def __str__(self) -> str:
        return f"{self.command.name} {' '.join(self.arguments)}, {self.name}"


CASES = [
    Case(report, "{path}", "run.json"),
    Case(report, "{path}", "cells.jsonl"),
    Case(report, "{path}", "certificate.json"),
    Case(compare, "{path} {path}", "run.json"),
    Case(compare, "{path} {path}", "cells.jsonl"),
    Case(compare, "{path}/tables/a.csv {path}/tables/a.csv", "tables/a.csv"),
    Case(compare, "{path}/tables/a.json {path}/tables/a.json", "tables/a.json"),
    Case(run, "--resume {path}", "run.json"),
    Case(run, "--resume {path}", "cells.jsonl"),
    Case(reproduce, "--resume {path}", "run.json"),
    Case(verify, "--read {path}", "certificate.json"),
    Case(verify, "--net mlp --fw torch --out {path} --resume", "certificate.json"),
    Case(predict, "--weights {path}/weights.npz", "weights.npz"),
    Case(import_weights, "{path}/weights.npz --net mlp --pixels unit --out {path}/out.npz", "weights.npz"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The folder of a valid training run."""
    folder = RunFolder(tmp_path / "run")
    (folder.path / "tables").mkdir(parents=True)
    write_run(folder)
    return folder.path


def write_run(folder: RunFolder) -> None:
    folder.write_info(records.training_run([records.training_job()]))
    for event in (records.start("lenet.torch.0"), records.epoch("lenet.torch.0", 1), records.end("lenet.torch.0")):
        folder.record(event, durable=False)


def refused(command: click.Command, arguments: list[str], path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The line with which a command refuses a file in a folder."""
    capsys.readouterr()
    assert exit_code_of(command)(arguments) == ExitCode.BAD_INPUT
    stdout, error = capsys.readouterr()
    assert error.count("\n") == 1 and str(path) in error and not stdout
    assert error[:-1].isprintable() and len(error) < 500 + len(str(path))
    return error


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_damaged_file_is_refused_in_one_line(
    case: Case, damage: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if case.name == "cells.jsonl" and damage in ("empty", "incomplete", "zeros", "binary"):
        pytest.skip("nothing has been recorded, or the last line is incomplete")
    end = b"\n" if case.name == "cells.jsonl" else b""
    (path / case.name).write_bytes(DAMAGES[damage] + end)
    refused(case.command, [text.format(path=path) for text in case.arguments], path, capsys)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_skipped_in_a_reproduction(
    damage: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path / "run.json").write_bytes(DAMAGES[damage])
    assert exit_code_of(reproduce)(["--write", str(path.parent)]) == 0
    assert f"skipped: {path}" in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize("name", ["run.json", "cells.jsonl", "certificate.json"])
def test_a_folder_in_place_of_a_file_is_refused(name: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path / name).unlink(missing_ok=True)
    (path / name).mkdir()
    command, arguments = (verify, ["--read", str(path)]) if name == "certificate.json" else (report, [str(path)])
    refused(command, arguments, path, capsys)


# --- right types, wrong values ----------------------------------------------------------------------------------------


def changed(record: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """A JSON value with another value at a place in it."""
    if not place:
        return value
    copied = record.copy()
    copied[place[0]] = changed(record[place[0]], place[1:], value)
    return copied


@pytest.mark.parametrize(
    "place, value",
    [
        (("jobs",), []),
        (("data",), {}),
        (("jobs", 0, "dataset"), "nothing"),
        (("jobs", 0, "batch_size"), 0),
        (("jobs", 0, "train_size"), -1),
        (("jobs", 0, "lr"), "0.1"),
        (("machine",), []),
        (("request", "pythons"), ["torch"]),
    ],
    ids=str,
)
def test_a_run_with_impossible_values_is_refused(
    place: tuple[str | int, ...], value: Any, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(changed(record, place, value)))
    for command, arguments in ((report, [str(path)]), (compare, [str(path)] * 2), (run, ["--resume", str(path)])):
        refused(command, arguments, path, capsys)


def test_two_jobs_of_one_cell_are_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunFolder(path).write_info(records.training_run([records.training_job()] * 2))
    assert "two jobs have the same cell" in refused(report, [str(path)], path, capsys)


def test_a_speed_run_without_a_baseline_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(tmp_path)
    folder.write_info(records.speed_run([records.speed_job()]))
    assert "without a baseline" in refused(report, [str(tmp_path)], tmp_path, capsys)


@pytest.mark.parametrize(
    "event, name, value",
    [
        (records.start("lenet.torch.0"), "versions", {}),
        (records.start("lenet.torch.0"), "import_memory", -1),
        (records.epoch("lenet.torch.0", 1), "epoch", 0),
        (records.epoch("lenet.torch.0", 1), "slices", [[100, -2.0]]),
        (records.epoch("lenet.torch.0", 1), "slices", [[100, float("nan")]]),
        (records.epoch("lenet.torch.0", 1), "evaluation_seconds", float("inf")),
        (records.epoch("lenet.torch.0", 1), "test_accuracy", 3),
    ],
    ids=lambda value: "" if isinstance(value, events.Event) else str(value),
)
def test_an_event_with_impossible_values_is_refused(
    event: events.AnyEvent, name: str, value: Any, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (path / "cells.jsonl").open("a") as file:
        file.write(json.dumps(events.to_json(event) | {name: value}) + "\n")
    for command, arguments in ((report, [str(path)]), (compare, [str(path)] * 2), (run, ["--resume", str(path)])):
        assert "line 4" in refused(command, arguments, path, capsys)


# --- valid folders of another kind ------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, path: Path) -> dict[str, Path]:
    """A valid folder of each kind."""
    speed, certificate, nothing = (tmp_path / name for name in ("speed", "certificate", "nothing"))
    for folder in (speed, certificate, nothing):
        folder.mkdir()
    job = msgspec.structs.replace(records.speed_job(), baseline=True)
    RunFolder(speed).write_info(records.speed_run([job]))
    write(CERTIFICATE, certificate)
    return {"run": path, "speed": speed, "certificate": certificate, "nothing": nothing}


@pytest.mark.parametrize(
    "command, arguments, kind, named",
    [
        (report, "{}", "nothing", "neither run.json nor certificate.json"),
        (compare, "{} {}", "certificate", "no run.json in it"),
        (compare, "{} {}", "nothing", "no run.json in it"),
        (run, "--resume {}", "speed", "a speed run, not a training run"),
        (run, "--resume {}", "certificate", "no run.json in it"),
        (reproduce, "--resume {}", "speed", "a speed run, not a training run"),
        (reproduce, "--resume {}", "run", "continue it with `onespec run --resume`"),
        (verify, "--read {}", "run", "the folder of a run: use `onespec report`"),
        (verify, "--read {}", "nothing", "no certificate.json in it"),
        (predict, "--weights {}", "run", "no such file"),
    ],
    ids=str,
)
def test_a_folder_of_another_kind_is_named(
    command: click.Command, arguments: str, kind: str, named: str, folders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = folders[kind]
    assert named in refused(command, arguments.replace("{}", str(path)).split(), path, capsys)


@pytest.mark.parametrize("kind", ["run", "speed", "certificate"])
def test_a_valid_folder_of_each_kind_is_reported(kind: str, folders: dict[str, Path]) -> None:
    assert exit_code_of(report)([str(folders[kind])]) == 0


def test_a_certificate_without_findings_is_reported(tmp_path: Path) -> None:
    write(msgspec.structs.replace(CERTIFICATE, findings=[]), tmp_path)
    assert exit_code_of(verify)(["--read", str(tmp_path)]) == 0


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A valid checkpoint."""
    net, path = NETWORKS["mlp"](), tmp_path / "weights.npz"
    checkpoints.save(path, net, arrays.initial(net, 0), {"dataset": "fashion-mnist"})
    return path


def npy(shape: str, descr: str = "<f8", data: bytes = b"") -> bytes:
    """An `.npy` file with any header."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "member",
    [
        npy("(50_000_000_000,)"),  # 373 GiB
        npy("(1 << 40, 1 << 40)"),
        npy("(-1,)"),
        npy("(3,)", data=bytes(8)),
        npy("(2,)", "|O", bytes(16)),
        npy("(2,", data=bytes(16)),
        npy("(" * 500),
        b"\x93NUMPY\x09\x00",
        b"",
        b"no array",
    ],
    ids=lambda member: repr(member[10:40]),
)
def test_an_impossible_array_is_refused_before_it_is_allocated(
    member: bytes, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(weights, "a") as archive:
        archive.writestr("more.npy", member)
    assert "damaged" in refused(predict, ["--weights", str(weights)], weights, capsys)


def test_more_arrays_than_the_machine_can_hold_are_refused(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.runtime.machine.available_memory", lambda: 1000)
    assert "GiB available" in refused(predict, ["--weights", str(weights)], weights, capsys)


def about(weights: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a checkpoint says about itself."""
    with np.load(weights) as file:
        content = dict(file)
    record = json.loads(content["about"].tobytes())
    text = change(record)
    text = text if isinstance(text, bytes) else json.dumps(record).encode()
    content["about"] = np.frombuffer(text, np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **content)  # type: ignore[arg-type]
    weights.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(dataset=["fashion-mnist"]),
        lambda record: record.update(permutation="seed"),
        lambda record: record.update(permutation=-1),
        lambda record: record.update(network=[]),
        lambda record: record.update(network={"kind": ["Network"]}),
        lambda record: record["network"].update(name="../evil"),
        lambda record: record["network"].update(input=0),
        lambda record: record["network"].update(input=[1, "28", 28]),
        lambda record: record["network"].update(layers=None),
        lambda record: record.update(format=[1]),
        lambda record: b"[]",
        lambda record: b"[" * 100_000,
        lambda record: b'{"format": 1, "network": ' + b"[" * 950 + b"]" * 950 + b"}",
        lambda record: b'{"format": ' + b"9" * 5000 + b"}",
        lambda record: '{"format": 1}'.encode("utf-16"),
    ],
)
def test_a_checkpoint_with_impossible_values_is_refused(
    change: Callable[[dict[str, Any]], Any], weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about(weights, change)
    refused(predict, ["--weights", str(weights)], weights, capsys)
