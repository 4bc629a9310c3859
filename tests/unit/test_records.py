"""Records are read as they were written, also those of schema 1. A damaged record is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records import events, json_files, runs
from benchmarks.records.events import KINDS, AnyEvent
from benchmarks.records.store import RunFolder
from benchmarks.runtime.errors import BadInput
from tests import records

ROOT = Path(__file__).parents[2]
JOBS = [records.training_job()]
EVENTS: list[AnyEvent] = [
    records.start("lenet.torch.0"),
    records.epoch("lenet.torch.0", 1, train_loss=float("inf")),
    records.end("lenet.torch.0", "failed", "a reason"),
    records.launch("lenet.torch", 1),
    records.timed_slice("lenet.torch", 1, 0, 0.25, images=4, calls=[0.1]),
    events.EvaluationTime(cell="lenet.torch", launch=1, images=10, seconds=0.5),
    events.Roofline(
        cell="lenet.torch", launch=1, framework="torch", threads=1, precision="float32",
        products=[(256.0, 1e9, 0.1)], convolutions=[(256.0, 1e9, 0.2)], copies=[(1e6, 0.1)],
    ),
]  # fmt: skip


def folder(path: Path, recorded: list[AnyEvent] = EVENTS) -> RunFolder:
    store = RunFolder(path)
    store.write_info(records.training_run(JOBS))
    for event in recorded:
        store.record(event, durable=False)
    return store


def test_every_kind_of_event_has_an_example() -> None:
    assert {type(event) for event in EVENTS} == set(KINDS.values())


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.event)
def test_an_event_is_read_as_it_was_written(event: AnyEvent, tmp_path: Path) -> None:
    assert list(folder(tmp_path, [event]).events()) == [event]


@pytest.mark.parametrize(
    "run", [records.training_run(JOBS), records.speed_run([records.speed_job()])], ids=lambda run: run.kind
)
def test_a_run_is_read_as_it_was_written(run: runs.AnyRun, tmp_path: Path) -> None:
    store = RunFolder(tmp_path)
    store.write_info(run)
    assert store.info == run


def test_a_cell_has_its_last_start_and_every_epoch_once(tmp_path: Path) -> None:
    cell = "lenet.torch.0"
    again = records.epoch(cell, 2, train_loss=0.25)
    recorded: list[AnyEvent] = [
        records.start(cell),
        *(records.epoch(cell, number) for number in (1, 2, 3)),
        records.end(cell, "failed", "killed"),
        records.start(cell, pid=2),
        again,
    ]
    record = folder(tmp_path, recorded).records()[cell]
    assert record.start and record.start.pid == 2 and record.end is None and not record.finished
    assert record.epochs == [records.epoch(cell, 1), again]


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/run.json")), ids=lambda path: path.parent.name)
def test_every_committed_record_is_read(path: Path) -> None:
    """Every value of a record of either schema is read, under its key in schema 2."""
    store = RunFolder(path.parent)
    info = json.loads(json.dumps(runs.to_json(store.info)))
    assert len(info["jobs"]) == len(json.loads(path.read_text())["jobs"])
    read = [json.loads(json.dumps(events.to_json(event))) for event in store.events()]
    lines = [json.loads(line) for line in (path.parent / "cells.jsonl").read_text().splitlines()]
    assert len(read) == len(lines)
    for line, event in zip(lines, read):
        line = {"images" if key == "pictures" else key: value for key, value in line.items()}
        if "settings" in line:
            line["settings"] = {key.replace("optimiser", "optimizer"): value for key, value in line["settings"].items()}
        assert {key: event[key] for key in line} == line


def test_a_last_line_without_an_end_is_left_out_and_repaired(tmp_path: Path) -> None:
    store = folder(tmp_path)
    with store.cells.open("a") as file:
        file.write('{"cell": "lenet.torch.0", "ev')
    assert list(store.events()) == EVENTS
    store.repair()
    store.record(EVENTS[0])
    assert list(store.events()) == [*EVENTS, EVENTS[0]]


DAMAGED_RUNS: dict[str, Any] = {
    "no JSON": b"{", "binary": bytes(range(256)), "UTF-16": '{"schema": 2}'.encode("utf-16"), "list": b"[]",
    "null": b"null", "number": b"3", "no schema": b"{}", "future": b'{"schema": 99}', "incomplete": b'{"schema": 2}',
    "wrong kind": b'{"schema": 2, "kind": "party"}', "wrong type": b'{"schema": 2, "jobs": 3}',
    "old and wrong": b'{"schema": 1, "jobs": [3], "request": 7}',
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED_RUNS)
def test_a_damaged_run_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(DAMAGED_RUNS[damage])
    with pytest.raises(BadInput) as error:
        print(RunFolder.open(tmp_path).info)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


DAMAGED_EVENTS = {
    "no JSON": "{", "list": "[]", "null": "null", "no event": '{"cell": "a"}', "unknown": '{"cell": "a", "event": "z"}',
    "incomplete": '{"cell": "a", "event": "epoch"}', "wrong type": '{"cell": 3, "event": "end", "status": "ok"}',
    "no images": json.dumps({**events.to_json(EVENTS[4]), "images": 0}),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED_EVENTS)
def test_a_damaged_event_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    store = folder(tmp_path)
    with store.cells.open("a") as file:
        file.write(DAMAGED_EVENTS[damage] + "\n")
    with pytest.raises(BadInput, match=f"line {len(EVENTS) + 1}") as error:
        list(store.events())
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "value",
    [
        {
            "schema": 2,
            "empty": [],
            "none": {},
            "nested": [[1, 2.5], {"a": None, "b": True}],
            "text": 'é \udcff \u2028 \\ "',
        },
        {"loss": float("nan"), "rate": float("inf"), "small": 1e-300, "large": 10**30},
    ],
    ids=["plain", "not finite"],
)
def test_indented_json_is_that_of_python(value: dict[str, Any]) -> None:
    assert json_files.indented(value) == json.dumps(value, indent=1) + "\n"


def test_a_line_is_read_fast_as_it_is_read_slowly() -> None:
    """`from_line` decodes typed JSON; where it cannot, it leaves the line to `from_json`."""
    epoch = events.to_json(records.epoch("lenet.torch.0", 1))
    for changes in ({}, {"train_loss": float("nan")}, {"unknown": 1}, {"first_losses": [1, 2.5]}):
        line = json.dumps(epoch | changes)
        fast = events.from_line(line)
        assert (fast is None) == ("train_loss" in changes)
        assert fast is None or fast == events.from_json(json.loads(line))
    for damaged in ({"epoch": 0}, {"event": "nothing"}, {"slices": [[-1, 2]]}, {"train_accuracy": 2}):
        assert events.from_line(json.dumps(epoch | damaged)) is None
        with pytest.raises(ValueError):
            events.from_json(epoch | damaged)
