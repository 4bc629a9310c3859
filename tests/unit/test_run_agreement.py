"""A run reports a framework that leaves the others by more than rounding explains, and no other framework."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.events import Epoch
from benchmarks.records.runs import JobInfo
from benchmarks.records.store import CellRecord, RunFolder
from benchmarks.reporting import run_report
from benchmarks.reporting.run_agreement import disagreements
from benchmarks.reporting.run_report import jobs_with_records
from tests import records

RUNS = sorted(path.parent for path in (Path(__file__).parents[2] / "results").glob("*/run.json"))
LOSSES = [2.3, 2.2, 2.1, 1.9, 1.8, 1.7]


def cell(
    framework: str,
    losses: Sequence[float] = (),
    accuracies: Sequence[float] = (0.5,),
    seed: int = 0,
    **job: Any,
) -> tuple[JobInfo, CellRecord]:
    """A cell with the losses of its first steps and the test accuracy of each epoch."""
    info = records.training_job(framework, seed, **{"test_size": 500, "train_size": 2000, "optimizer": "SGD"} | job)
    record = CellRecord(start=records.start(info.cell))
    for number, accuracy in enumerate(accuracies, 1):
        first = list(losses) if number == 1 else []
        record.add(records.epoch(info.cell, number, test_accuracy=accuracy, first_losses=first))
    return info, record


def moved(*changes: float) -> list[float]:
    """The losses with relative changes."""
    return [loss * (1 + change) for loss, change in zip(LOSSES, changes)]


ROUNDING = (3e-7, -1e-6, 2e-6, -2e-6, 5e-6, 4e-6)
FAULTS = {
    "another first loss": ([2e-3] * 6, {}, 1),
    "another first loss in float64": ([1e-6] * 6, {"precision": "float64"}, 1),
    "learning rate too large from the first step": ([0, 4e-3, 8e-3, 1e-2, 2e-2, 3e-2], {}, 2),
    "learning rate too large in float64": ([0, 1e-7, 2e-7, 3e-7, 4e-7, 5e-7], {"precision": "float64"}, 2),
    "momentum changed at the fourth step": ([1e-7, 1e-7, 1e-7, 1e-7, 5e-3, 1e-2], {}, 5),
    "loss that is not finite": ([0, 0, float("nan"), 0, 0, 0], {}, 3),
    "another first loss in bfloat16": ([2e-2] * 6, {"precision": "bfloat16"}, 1),
    "another first loss in float16": ([3e-3] * 6, {"precision": "float16"}, 1),
    "another first loss with TF32": ([3e-3] * 6, {"tf32": True}, 1),
    "wrong step of Adam": ([0, 0.3, 0.4, 0.5, 0.5, 0.5], {"optimizer": "Adam"}, 2),
}
NO_FAULTS = {
    "rounding": (ROUNDING, {}),
    "rounding that grows by 100 in a step": ([1e-6, 1e-4, 1e-2, 0.5, 0.9, 0.3], {}),
    "deep network with batch normalization": ([5e-4, 1e-2, 0.1, 0.5, 0.5, 0.5], {}),
    "signs of small gradients with Adam": ([1e-7, 2e-2, 1e-2, 8e-2, 3e-2, 3e-2], {"optimizer": "Adam"}),
    "rounding of bfloat16": ([1e-2] * 6, {"precision": "bfloat16"}),
    "rounding of float16": ([1.5e-3] * 6, {"precision": "float16"}),
    "rounding of TF32": ([1.5e-3] * 6, {"tf32": True}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_framework_whose_loss_leaves_the_others_is_reported(fault: str) -> None:
    changes, job, step = FAULTS[fault]
    run = [
        cell("torch", LOSSES, **job),
        cell("mxnet", moved(*changes), **job),
        cell("keras", moved(*[1e-12] * 6), **job),
    ]
    found = disagreements(run)
    assert list(found) == ["lenet.mxnet.0"] and f"the loss of step {step} is" in found["lenet.mxnet.0"]
    assert set(disagreements(run[:2])) == {"lenet.torch.0", "lenet.mxnet.0"}, "of two, either may be wrong"


@pytest.mark.parametrize("name", NO_FAULTS)
def test_rounding_is_not_reported(name: str) -> None:
    changes, job = NO_FAULTS[name]
    assert disagreements([cell("torch", LOSSES, **job), cell("mxnet", moved(*changes), **job)]) == {}


STAYS, LEARNS = [0.1820] * 6, [0.21, 0.30, 0.36, 0.40, 0.43, 0.4480]


def test_a_framework_that_does_not_learn_is_reported() -> None:
    found = disagreements([cell("torch", (), LEARNS), cell("mxnet", (), STAYS), cell("keras", (), LEARNS)])
    assert found == {
        "lenet.mxnet.0": "the best test accuracy in 6 epochs is 0.1820, in torch 0.4480: more than chance explains"
    }
    assert set(disagreements([cell("torch", (), LEARNS), cell("mxnet", (), STAYS)])) == {
        "lenet.torch.0",
        "lenet.mxnet.0",
    }


def test_the_training_accuracy_counts_too() -> None:
    right, wrong = cell("torch"), cell("mxnet")
    wrong[1].epochs[0] = _with(wrong[1].epochs[0], train_accuracy=0.2)
    assert "best training accuracy in 1 epoch is 0.2000" in disagreements([right, wrong])["lenet.mxnet.0"]


def _with(epoch: Epoch, **values: Any) -> Epoch:
    return records.epoch(epoch.cell, epoch.epoch, **values)


@pytest.mark.parametrize(
    ("own", "images"),
    [
        (0.4480, 500),
        (0.40, 500),  # 48 of 500 images
        (0.30, 50),
        (0.9, 10_000),
    ],
)
def test_chance_is_not_reported(own: float, images: int) -> None:
    other = 0.9729 if own == 0.9 else 0.4480
    run = [cell("torch", (), [other], test_size=images), cell("mxnet", (), [own], test_size=images)]
    assert disagreements(run) == {}


def test_a_network_that_fails_at_some_seeds_in_every_framework_is_not_reported() -> None:
    accuracies = {"torch": [0.1, 0.8, 0.8], "mxnet": [0.8, 0.1, 0.8], "keras": [0.8, 0.8, 0.1]}
    run = [
        cell(name, (), [accuracy], seed, test_size=10_000)
        for seed in range(3)
        for name, values in accuracies.items()
        for accuracy in [values[seed]]
    ]
    assert disagreements(run) == {}


def test_modes_count_as_one_framework() -> None:
    run = [cell("torch", (), LEARNS), cell("torch:compile", (), LEARNS), cell("mxnet", (), STAYS)]
    assert "lenet.mxnet.0" in disagreements(run)
    run = [cell("torch", (), STAYS), cell("torch:compile", (), STAYS), cell("mxnet", (), LEARNS)]
    run.append(cell("mxnet:imperative", (), LEARNS))
    assert len(disagreements(run)) == 4
    assert disagreements([cell("torch", (), STAYS), cell("torch:compile", (), LEARNS)]) == {}


def test_cells_without_epochs_and_other_groups_do_not_count() -> None:
    nothing = records.training_job("keras"), CellRecord()
    run = [
        cell("torch", LOSSES, LEARNS),
        nothing,
        cell("mxnet", (), STAYS, seed=1),
        cell("mxnet", (), STAYS, net="mlp"),
    ]
    assert disagreements(run) == {}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_the_committed_runs_have_no_warning(path: Path) -> None:
    folder = RunFolder(path)
    if folder.info.kind == "speed":
        pytest.skip("nothing is trained to an accuracy")
    assert disagreements(jobs_with_records(folder)) == {}


def test_a_warning_stands_in_the_tables_and_on_the_page(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    run = [cell("torch", (), LEARNS), cell("mxnet", (), STAYS), cell("keras", (), LEARNS)]
    folder.write_info(records.training_run([job for job, _ in run]))
    for _, record in run:
        assert record.start
        for event in (record.start, *record.epochs, records.end(record.start.cell)):
            folder.record(event)
    cells = run_report.write(folder)
    text = "the best test accuracy in 6 epochs is 0.1820, in torch 0.4480"
    assert [bool(warning) for warning in cells["warning"]] == [False, True, False]
    for name in ("report.csv", "report.md", "report.html"):
        assert text in (tmp_path / name).read_text(encoding="utf-8"), name
    assert text in " ".join(run_report.text(folder, cells, 100).split())
    agreeing = run_report.frame(folder).assign(warning=None)
    assert "warning" not in run_report.formatted(agreeing).columns
