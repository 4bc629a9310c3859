"""What `--resume` refuses: options that it would ignore, and folders without their checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.datasets.registry import dataset
from benchmarks.records.events import Epoch
from benchmarks.records.store import RunFolder
from benchmarks.run import command
from benchmarks.runtime.errors import WorkerFailed
from benchmarks.training import runner
from benchmarks.training.checkpoints import load
from benchmarks.training.kept_states import Keeping
from benchmarks.training.trainer import CellTrainer
from frameworks.adapter import Setting
from frameworks.numpy_reference import Reference, cross_entropy
from frameworks.training import Training
from tests import fake_adapter
from tests.command_line import exit_code_of

FAKE = f"{Path(fake_adapter.__file__).absolute()}:Fake"
TRAINING = ["--net", "lenet", "--adapter", FAKE, "--fw", "fake", "--quick", "--threads", "1", "--epochs", "3"]
main = exit_code_of(command)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with the fake adapter."""
    out = tmp_path_factory.mktemp("results")
    assert main([*TRAINING, "--out", str(out), "-q"]) == 0
    return next(out.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        ["--epochs", "5"],
        ["--lr", "0.5"],
        ["--batch-size", "8"],
        ["--optimizer", "adam"],
        ["--clip-norm", "1"],
        ["--weight-average", "0.9"],
        ["--seed", "0,1"],
        ["--fw", "torch"],
        ["--dataset", "mnist"],
        ["--train-size", "100"],
        ["--test-size", "100"],
        ["--device", "cpu"],
        ["--precision", "bfloat16"],
        ["--tf32"],
        ["--threads", "2"],
        ["--out", "elsewhere"],
        ["--save"],
        ["--net", "cnn"],
    ],
    ids=" ".join,
)
def test_an_option_that_would_be_ignored_is_refused(
    options: list[str], finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--resume", str(finished), *options]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith(options[0]) and f"the run in {finished} has" in error and error.count("\n") == 1


def test_the_saved_weights_are_the_averages_that_were_tested(tmp_path: Path) -> None:
    options = ["--net", "lenet_cifar", "--adapter", FAKE.replace(":Fake", ":Correct"), "--fw", "correct", "--quick"]
    options += ["--train-size", "40", "--test-size", "20", "--batch-size", "8", "--threads", "1", "--save", "-q"]
    options += ["--optimizer", "momentum", "--lr", "0.05", "--clip-norm", "1", "--weight-average", "0.7"]
    assert main([*options, "--out", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    saved = load(next((folder / "weights").iterdir()))
    test = dataset("fashion-mnist-mini", print).test
    reference = Reference(saved.network, Training(), Setting())
    reference.set_weights(saved.weights)
    labels = np.load(test.labels)[:20]
    reference.load("test", np.load(test.images)[:20], labels)
    loss, _ = cross_entropy(reference.predict("test", 20), labels)
    (record,) = RunFolder.open(folder).records().values()
    assert loss == pytest.approx(record.epochs[-1].test_loss, rel=1e-9)
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "2 epochs, gradients clipped at norm 1, tested with an average of the weights of decay 0.7." in report


def test_options_with_the_values_of_the_run_are_accepted(finished: Path) -> None:
    assert main(["--resume", str(finished), *TRAINING, "--out", str(finished.parent), "--timeout", "60", "-q"]) == 0


def test_a_missing_checkpoint_is_refused_with_the_remedy(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    cells = folder / "cells.jsonl"
    start, first, second = cells.read_text().splitlines(keepends=True)[:3]
    cells.write_text("".join([start, first, second.replace('"state_kept": false', '"state_kept": true')]))
    assert main(["--resume", str(folder)]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == (
        f"--resume {folder}: checkpoints/lenet.fake.0.2.npz is missing, without which lenet.fake.0 cannot continue; "
        "put it back, or start a new run\n"
    )


class SecondEpoch(Keeping):
    """The state after the second epoch alone."""

    def __init__(self, *_: object) -> None:
        self.epochs = 0

    def is_due(self, seconds: float, is_last: bool) -> bool:
        self.epochs += 1
        return self.epochs == 2

    def kept(self, seconds: float) -> None:
        pass


def results(folder: Path) -> list[tuple[int, float, float, float]]:
    (record,) = RunFolder.open(folder).records().values()
    return [(each.epoch, each.train_loss, each.test_loss, each.test_accuracy) for each in record.epochs]


@pytest.mark.parametrize("stopped", range(1, 6), ids=lambda number: f"in epoch {number}")
def test_epochs_after_the_kept_state_are_trained_again(
    stopped: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same results; each is counted once, and a state that no event names is removed."""
    options = ["--net", "mlp", "--adapter", FAKE.replace(":Fake", ":Correct"), "--fw", "correct", "--quick"]
    options += ["--train-size", "40", "--test-size", "20", "--threads", "1", "--epochs", "5", "-q"]
    assert main([*options, "--out", str(tmp_path / "whole")]) == 0
    (whole,) = (tmp_path / "whole").iterdir()
    train_epoch, trained = CellTrainer.train_epoch, []

    def until(self: CellTrainer, *arguments: Any) -> Epoch:
        if self.epoch + 1 == stopped:
            raise WorkerFailed("stopped here")
        return train_epoch(self, *arguments)

    def noted(self: CellTrainer, *arguments: Any) -> Epoch:
        trained.append(self.epoch + 1)
        return train_epoch(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "AtAPrice", SecondEpoch)
        patch.setattr(CellTrainer, "train_epoch", until)
        assert main([*options, "--out", str(tmp_path / "parts")]) == ExitCode.FAILED
    (folder,) = (tmp_path / "parts").iterdir()
    kept = 2 if stopped > 2 else 0
    assert [path.name for path in folder.glob("checkpoints/*")] == ["mlp.correct.0.2.npz"] * (kept == 2)
    (folder / "checkpoints").mkdir(exist_ok=True)
    for name in ("mlp.correct.0.4.npz", "mlp.correct.0.0.2.npz"):  # the second is another cell's
        (folder / "checkpoints" / name).write_bytes(b"")
    monkeypatch.setattr(CellTrainer, "train_epoch", noted)
    assert main(["--resume", str(folder), "-q"]) == 0
    assert trained == list(range(kept + 1, 6))
    assert results(folder) == results(whole)
    assert [path.name for path in folder.glob("checkpoints/*")] == ["mlp.correct.0.0.2.npz"]


def test_short_epochs_keep_no_state(finished: Path) -> None:
    """And none is left: the last epoch needs none."""
    (record,) = RunFolder.open(finished).records().values()
    assert len(record.epochs) == 3 and record.kept == 0
    assert not (finished / "checkpoints").exists()
