"""Before its first timed slice, a cell has computed a batch of every size that it will have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.run import command
from benchmarks.training.trainer import batch_sizes
from tests import fake_adapter
from tests.command_line import exit_code_of

NOTING = f"{Path(fake_adapter.__file__).absolute()}:Noting"


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"),
    [(600, 256, {256, 88}), (512, 256, {256}), (256, 256, {256}), (100, 256, {100}), (257, 256, {256, 1})],
)
def test_sizes_of_batches(images: int, batch_size: int, sizes: set[int]) -> None:
    assert batch_sizes(images, batch_size) == sizes


@pytest.mark.parametrize(
    ("sizes", "trained", "tested"),
    [
        ("--train-size 100 --test-size 400 --batch-size 32", {32, 4}, {256, 144}),
        ("--train-size 64 --test-size 300 --batch-size 300", {64}, {300}),
        ("--train-size 64 --test-size 20 --batch-size 64", {64}, {20}),
    ],
)
def test_every_size_comes_before_the_first_slice(
    sizes: str, trained: set[int], tested: set[int], tmp_path: Path
) -> None:
    options = f"--net lenet --adapter {NOTING} --fw noting --threads 1 --epochs 2 --dataset fashion-mnist-mini {sizes}"
    assert exit_code_of(command)([*options.split(), "--out", str(tmp_path), "-q"]) == 0
    (folder,) = tmp_path.iterdir()
    (log,) = (folder / "logs").iterdir()
    lines = log.read_text().splitlines()
    before = lines[1 : lines.index("weights", 1)]  # between the first weights and the second
    seen = [line.split() for line in before]
    assert [int(size) for kind, size in seen if kind == "train"] == sorted(trained)
    assert {int(size) for kind, size in seen if kind == "test"} == tested
    after = [line.split() for line in lines[lines.index("weights", 1) + 1 :]]
    assert {int(size) for kind, size in after if kind == "train"} == trained
    assert {int(size) for kind, size in after if kind == "test"} == tested
    start = json.loads((folder / "cells.jsonl").read_text().splitlines()[0])
    assert start["event"] == "start" and start["compile_seconds"] > 0
