"""Experiments: the verdicts, what is read from a run, the page, and the command with real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace as replace_fields

from benchmarks.articles.experiments import EXPERIMENTS, Figure
from benchmarks.articles.reproduction import fullest, measured, next_run, obstacle, reached, verdict
from benchmarks.articles.reproduction_text import (
    accuracies,
    effect_of,
    effect_table,
    equivalences,
    page,
    summary,
)
from benchmarks.datasets.augmentation import Crop, Flip
from benchmarks.records.events import Epoch
from benchmarks.records.runs import DataInfo, JobInfo, TrainingRun
from benchmarks.records.store import CellRecord, RunFolder
from benchmarks.reporting.run_report import augmentation_notes, notes
from benchmarks.reporting.tables import table
from benchmarks.reproduce import command
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.training.jobs import Job, order
from benchmarks.training.lr_schedules import Step
from benchmarks.training.plan import TrainingRequest, plan
from benchmarks.training.progress import Progress
from benchmarks.training.runner import side_by_side
from benchmarks.training.trainer import CellTrainer
from tests import records
from tests.command_line import exit_code_of
from tests.conftest import Bench, heed_interrupts

ROOT = Path(__file__).parents[2]
main = exit_code_of(command)
SMALL = ["--dataset", "fashion-mnist-mini", "--threads", "1"]

# --- verdicts ---------------------------------------------------------------------------------------------------------

SPREAD = Figure("lenet", "test_accuracy", None, "d2l", 0.75, 0.83)
CUT_OFF = Figure("lenet_cifar", "test_accuracy", 0.64, "a notebook", decimals=2, truncated=True)
SINGLE = Figure("lenet", "test_accuracy", 0.81, "an article")
SECONDS = Figure("resnet9", "seconds", 9.4, "8 V100")
EPOCH = Figure("lenet_relu", "epoch_seconds", 3.0, "article 004", epoch=1)


@pytest.mark.parametrize(
    ("figure", "values", "why_not", "expected"),
    [
        (SPREAD, [0.80], None, ("within", "0.750 to 0.830")),
        (SPREAD, [0.70, 0.80], None, ("within", "0.750 to 0.830")),
        (SPREAD, [0.7497], None, ("within", "0.750 to 0.830")),  # 0.75 was rounded
        (SPREAD, [0.7490], None, ("outside", "0.750 to 0.830")),
        (SPREAD, [0.90, 0.91], None, ("outside", "0.750 to 0.830")),
        (SPREAD, [0.80, 0.10, 0.80], None, ("within", "0.750 to 0.830, 1 of 3 collapsed")),
        (SPREAD, [0.10, 0.10], None, ("outside", "all collapsed")),
        (SINGLE, [0.80, 0.82], None, ("within", "0.5899 to 1.0301")),
        (SINGLE, [0.800, 0.801, 0.802], None, ("outside", "0.7960 to 0.8060")),
        (CUT_OFF, [0.648, 0.649, 0.6495], None, ("within", "0.6450 to 0.6526")),  # 0.64 may have been 0.6499
        (SINGLE, [0.81], None, ("not comparable", "one run of each has no spread")),
        (SINGLE, [], None, ("not comparable", "no run finished")),
        (SINGLE, [0.80, 0.82], "not the published bytes", ("not comparable", "not the published bytes")),
        (SECONDS, [9.0, 9.1], None, ("not comparable", "different machine")),
        (EPOCH, [3.0, 3.1], None, ("not comparable", "different machine")),
    ],
)
def test_verdict(figure: Figure, values: list[float], why_not: str | None, expected: tuple[str, str]) -> None:
    assert verdict(figure, values, why_not) == expected


def test_the_prediction_interval_covers_the_next_run() -> None:
    """95 % of 4,000 draws, whose standard deviation is 0.35 %: four of them are allowed."""
    stream = np.random.default_rng(0)
    inside = 0
    for _ in range(4000):
        *seen, another = stream.normal(0.8, 0.01, 6).tolist()
        low, high = next_run(seen)
        inside += low <= another <= high
    assert abs(inside / 4000 - 0.95) < 4 * 0.0035


# --- what is read from a run ------------------------------------------------------------------------------------------


def run_folder(path: Path, jobs: list[JobInfo], accuracies: list[float | None], published: bool = True) -> RunFolder:
    """The folder of a run: ten epochs that rise to an accuracy; a cell whose accuracy is None has failed."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    run = records.training_run(jobs, data={"fashion-mnist": DataInfo({}, published, "here")})
    folder.write_info(with_request(run, experiment="d2l-lenet"))
    for cell, accuracy in zip(jobs, accuracies):
        for number in range(1, 11 if accuracy else 3):
            folder.record(records.epoch(cell.cell, number, test_accuracy=(accuracy or 0.5) * number / 10))
        folder.record(records.end(cell.cell, *(("ok", None) if accuracy else ("failed", "a reason"))))
    return folder


def with_request(run: TrainingRun, **changes: Any) -> TrainingRun:
    """The record of a run with some options of the request changed."""
    return replace_fields(run, request=replace_fields(run.request, **changes))


job = records.training_job
JOBS = [job(framework, seed) for seed in range(3) for framework in ("torch", "mxnet")]


def test_measured_values_are_of_finished_cells_and_the_epoch_of_the_figure(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", JOBS, [0.80, 0.81, 0.82, None, 0.84, 0.85])
    last = Figure("lenet", "test_accuracy", 0.8, "")
    found = measured(folder, last)
    assert found["torch"] == pytest.approx({0: 0.80, 1: 0.82, 2: 0.84}) and list(found) == ["torch", "mxnet"]
    assert found["mxnet"] == pytest.approx({0: 0.81, 2: 0.85}), "seed 1 has failed there"
    fifth = measured(folder, replace(last, epoch=5))["torch"]
    assert list(fifth.values()) == pytest.approx([0.40, 0.41, 0.42])
    assert measured(folder, replace(last, net="vgg")) == {}
    seconds = [measured(folder, replace(EPOCH, net="lenet", epoch=epoch))["torch"][0] for epoch in (1, 2)]
    assert seconds == [3.5, 3.0], "2 s of training, 1 s of testing, half a second for the very first step"


@pytest.mark.parametrize(("target", "seconds"), [(0.07, 2.5), (0.4, 10.5), (0.8, 20.5), (0.81, None)])
def test_time_to_a_target_is_training_time(tmp_path: Path, target: float, seconds: float | None) -> None:
    """Epochs take 2 s, the first step 0.5 s more; evaluation does not count. Accuracy rises by 0.08 per epoch."""
    folder = run_folder(tmp_path / "a", JOBS[:1], [0.80])
    assert reached(folder.records()["lenet.torch.0"].epochs, target) == seconds


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({}, None),
        ({"lr": 0.5}, "different recipe: lr"),
        ({"optimizer": "Adam", "batch_size": 8}, "different recipe: batch_size, optimizer"),
        ({"epochs": 3}, "smaller scale: 3 of 10 epochs, 60,000 + 10,000 images"),
        ({"train_size": 600}, "smaller scale: 10 of 10 epochs, 600 + 10,000 images"),
        ({"test_size": 100}, "smaller scale: 10 of 10 epochs, 60,000 + 100 images"),
    ],
)
@pytest.mark.parametrize("published", [True, False])
def test_obstacles(tmp_path: Path, other: dict[str, Any], message: str | None, published: bool) -> None:
    folder = run_folder(tmp_path / "a", [job("torch", 0, **other)], [0.8], published)
    expected = (
        "; ".join(filter(None, [message, None if published else "data files differ from the published ones"])) or None
    )
    assert obstacle(folder.training_run, EXPERIMENTS["d2l-lenet"], "lenet") == expected


@pytest.mark.parametrize(
    ("accuracies", "message"),
    [
        ([0.800, 0.801, 0.812, 0.811, 0.790, 0.790], "equivalent within 0.5 points"),
        ([0.800, 0.830, 0.812, 0.780, 0.790, 0.800], "not shown to be equivalent within 0.5 points"),
        ([0.800, 0.801, 0.812, None, 0.790, None], "one seed has no spread"),
        ([0.800, 0.820, 0.812, 0.831, 0.790, 0.811], "different by more than 0.5 points"),
        ([0.800, 0.800, 0.812, 0.812, 0.790, 0.790], "+0.00 points, for each of 3 seeds"),
    ],
)
def test_equivalence_is_paired_by_seed(tmp_path: Path, accuracies: list[float | None], message: str) -> None:
    (line,) = equivalences(run_folder(tmp_path / "a", JOBS, accuracies), 0.5)
    assert line.startswith("lenet, torch minus mxnet: ") and message in line
    assert ("seeds would show it" in line) == message.startswith("not shown")


def of(experiment: str, jobs: list[JobInfo]) -> list[JobInfo]:
    """These jobs for the networks of an experiment."""
    nets = EXPERIMENTS[experiment].nets
    return [replace_fields(one, net=net, cell=f"{net}.{one.cell}") for net in nets for one in jobs]


def permuted_and_plain(path: Path) -> tuple[RunFolder, RunFolder]:
    """The dense and the convolutional network, with permuted and with plain pixels, in torch and mxnet."""
    accuracies = {
        "fc-vs-cnn-permuted": [0.87, 0.85, 0.88, 0.86, 0.89, 0.84, 0.80, 0.80, 0.81, 0.80, 0.82, 0.80],
        "fc-vs-cnn": [0.87, 0.87, 0.87, 0.87, 0.87, 0.87, 0.95, 0.96, 0.95, 0.96, 0.95, None],
    }
    folders = []
    for name, values in accuracies.items():
        folder = run_folder(path / name, of(name, JOBS), values)
        folder.write_info(with_request(folder.training_run, experiment=name))
        folders.append(RunFolder.open(path / name))
    return folders[0], folders[1]


def test_the_effect_is_paired_by_seed(tmp_path: Path) -> None:
    """In points; the interval is mean -+ 4.303 s / sqrt(3). One seed of the last row has no partner."""
    head, rows = effect_table(*permuted_and_plain(tmp_path))
    assert head[:4] == ("network", "framework", "published", "measured")
    assert rows == [
        ("mlp", "torch", "-3.87", "+1.00", "-1.48 to +3.48", "3"),
        ("mlp", "mxnet", "-3.87", "-2.00", "-4.48 to +0.48", "3"),
        ("cnn", "torch", "-16.12", "-14.00", "-16.48 to -11.52", "3"),
        ("cnn", "mxnet", "-16.12", "-16.00", "", "2"),
    ]


def test_the_page_has_the_effect_if_both_experiments_were_run(tmp_path: Path) -> None:
    permuted_and_plain(tmp_path)
    section = page(tmp_path).partition("## fc-vs-cnn-permuted\n")[2].partition("\n## ")[0]
    assert "Compared with fc-vs-cnn, in points of test accuracy:" in section and "-16.48 to -11.52" in section


def test_the_page_names_every_experiment_and_figure(tmp_path: Path) -> None:
    """Also experiments without a run; the fuller one of two runs is shown."""
    run_folder(tmp_path / "1-part", [job("torch", 0, epochs=3)], [0.7111])
    run_folder(tmp_path / "2-whole", JOBS, [0.80, 0.81, 0.82, 0.80, 0.81, 0.80])
    run_folder(tmp_path / "3-part", [job("torch", seed, epochs=2) for seed in range(9)], [0.7222] * 9)
    text = page(tmp_path)
    variants = [(name, variant) for name, of_name in EXPERIMENTS.items() for variant in of_name.variants]
    assert text.count("\n## ") == len(variants) and text.count("**Not run.**") == len(variants) - 1
    section = text.partition("## d2l-lenet\n")[2].partition("\n## ")[0]
    assert "`2-whole`" in section and "0.8100 ± 0.0100 (3)" in section and "within 0.752 to 0.828" in section
    assert "0.7111" not in text and "0.7222" not in text
    assert text.count("article 004, MXNet") == 40


def test_a_run_with_a_different_recipe_is_not_the_fullest(tmp_path: Path) -> None:
    run_folder(tmp_path / "1-right", JOBS[:1], [0.8])
    run_folder(tmp_path / "2-otherwise", [job("torch", seed, lr=0.1) for seed in range(3)], [0.7] * 3)
    assert fullest(tmp_path)["d2l-lenet", "as-written"].path.name == "1-right"


def test_unreadable_folders_are_skipped(tmp_path: Path) -> None:
    run_folder(tmp_path / "right", JOBS[:1], [0.8])
    for name, text in (("schema", '{"schema": 0}'), ("empty", ""), ("old", None)):
        (tmp_path / name).mkdir()
        content = (tmp_path / "right" / "run.json").read_text().replace("d2l-lenet", "d2l-lenet-of-old")
        (tmp_path / name / "run.json").write_text(content if text is None else text)
    notes: list[str] = []
    assert "`right`" in page(tmp_path, note=notes.append)
    assert len(notes) == 2 and all(line.startswith("skipped: ") for line in notes)


def test_time_to_a_target_states_how_many_runs_reached_it(tmp_path: Path) -> None:
    """Each epoch takes 2 s and adds a tenth of the final accuracy: 0.9 reaches 0.45 after 5 epochs, 0.5 after 9."""
    folder = run_folder(tmp_path / "a", [job("torch", seed) for seed in range(3)], [0.9, 0.5, 0.3])
    times = [accuracies(folder, target)[1][0][-1] for target in (0.45, 0.2, 0.95)]
    assert times == ["14.5 (2 of 3 reached it)", "9.8", "not reached"]


def test_a_published_target_is_not_replaced(tmp_path: Path) -> None:
    """`--target` is an additional figure: 0.5 is reached after 12.5 s, the published 0.94 after 20.5 s."""
    folder = run_folder(tmp_path / "a", of("speedrun", [job("torch", 0)]), [0.95])
    folder.write_info(with_request(folder.training_run, experiment="speedrun"))
    published, ours, *_ = summary(RunFolder.open(folder.path), 0.5, 0.5).split("\n\n")
    assert "seconds to 0.94" in published and "20.5" in published and "12.5" not in published
    assert "seconds to 0.5" in ours and "12.5" in ours


def test_the_effect_needs_two_runs_that_differ_in_nothing_else(tmp_path: Path) -> None:
    permuted, plain = permuted_and_plain(tmp_path)
    assert effect_of(permuted, plain, "fc-vs-cnn", table)[0] == "Compared with fc-vs-cnn, in points of test accuracy:"
    run = plain.training_run
    plain.write_info(replace_fields(run, jobs=[replace_fields(one, epochs=3) for one in run.jobs]))
    assert effect_of(permuted, RunFolder.open(plain.path), "fc-vs-cnn", table) == [
        "Not compared with fc-vs-cnn: the two runs differ in epochs."
    ]


def test_a_partial_run_is_marked(tmp_path: Path) -> None:
    run_folder(tmp_path / "part", [job("torch", 0, epochs=3)], [0.8], published=False)
    section = page(tmp_path).partition("## d2l-lenet\n")[2].partition("\n## ")[0]
    assert (
        "**smaller scale: 3 of 10 epochs, 60,000 + 10,000 images; data files differ from the published ones**"
        in section
    )
    assert "within the" not in section and "outside" not in section


def test_a_run_of_no_experiment_is_skipped(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", JOBS[:1], [0.8])
    folder.write_info(with_request(folder.training_run, experiment=""))
    assert "`a`" not in page(tmp_path)


# --- the command ------------------------------------------------------------------------------------------------------


def test_without_a_recipe_the_experiments_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in EXPERIMENTS) and "as-meant" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "d2l"], "there are d2l-lenet"),
        (["--recipe", "d2l-lenet", "--variant", "as-meant"], "d2l-lenet has as-written"),
        (["--recipe", "d2l-lenet", "--seed", "-1"], "--seed -1"),
        (["--recipe", "d2l-lenet", "--scale", "0"], "--scale 0"),
        (["--recipe", "d2l-lenet", "--scale", "2"], "--scale 2"),
        (["--recipe", "d2l-lenet", "--epochs", "0"], "--epochs 0"),
        (["--recipe", "d2l-lenet", "--margin", "0"], "--margin 0"),
        (["--recipe", "d2l-lenet", "--target", "80"], "--target 80"),
        (["--recipe", "d2l-lenet", "--fw", "pytorch"], "torch"),
        (["--recipe", "d2l-lenet", "--train-size", "2001", *SMALL], "2000"),
        (["--recipe", "vgg-cifar", *SMALL], "the recipe of vgg_cifar does not fit fashion-mnist-mini"),
        (["--resume", "nowhere"], "nowhere"),
        (["--write", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(options) == 2
    stdout, stderr = capsys.readouterr()
    assert message in stderr and len(stderr.splitlines()) == 1 and not stdout


def start(out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.reproduce", *SMALL, "--out", str(out), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=heed_interrupts
    )


LESS = "--epochs 2 --train-size 300 --test-size 200".split()
PERMUTED = ["--recipe", "fc-vs-cnn-permuted", "--fw", "torch,mxnet", "--seed", "0,1", "--save", *LESS]
CURVES = ["net", "framework", "seed", "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]


def curves(out: Path) -> pd.DataFrame:
    return pd.read_csv(next(out.glob("*/curves.csv")))[CURVES]


@pytest.fixture(scope="module")
def done(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two networks, two frameworks, two seeds, with permuted pixels."""
    for framework in ("torch", "mxnet"):
        bench.python(framework)
    out = tmp_path_factory.mktemp("results")
    process = start(out, *PERMUTED, "--target", "0.01")
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    return out, stdout


def test_the_run_time_is_estimated_first(done: tuple[Path, str]) -> None:
    first = done[1].splitlines()[0]
    assert first.startswith("fc-vs-cnn-permuted, 2 seeds: about ") and "cnn mxnet" in first


def test_published_and_measured_figures_are_compared(done: tuple[Path, str]) -> None:
    assert "0.8348" in done[1] and "not comparable: different recipe: dataset; smaller scale: " in done[1]
    assert "mlp, torch minus mxnet: " in done[1] and "seconds to 0.01" in done[1]


def test_every_cell_is_recorded_with_its_experiment(done: tuple[Path, str]) -> None:
    (folder,) = done[0].iterdir()
    run = json.loads((folder / "run.json").read_text())
    assert run["request"]["experiment"] == "fc-vs-cnn-permuted" and folder.name.endswith("fc-vs-cnn-permuted")
    assert {entry["permutation"] for entry in run["jobs"]} == {0} and len(run["jobs"]) == 8
    assert len(list((folder / "weights").glob("*.npz"))) == 8


def test_the_page_of_the_run_can_be_written(done: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--write", str(done[0])]) == 0
    text = (done[0] / "REPRODUCTION.md").read_text()
    assert "different recipe: dataset" in text and text.count("**Not run.**") == text.count("\n## ") - 1


def test_an_interrupted_and_resumed_run_has_the_same_numbers(done: tuple[Path, str], tmp_path: Path) -> None:
    """Bit for bit, as two runs with the same seed and threads are."""
    process = start(tmp_path, *PERMUTED)
    for _ in range(2_400):
        events = [event for folder in tmp_path.glob("*/run.json") for event in RunFolder(folder.parent).events()]
        found = [event for event in events if isinstance(event, Epoch)]
        if len(found) >= 3:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)  # at an arbitrary moment, without cleaning up
    process.communicate()
    folder = next(tmp_path.iterdir())
    again = start(tmp_path, "--resume", str(folder))
    stdout, stderr = again.communicate(timeout=600)
    assert again.returncode == 0, stderr
    assert stdout.startswith("fc-vs-cnn-permuted, 2 seeds: about ")
    pd.testing.assert_frame_equal(curves(tmp_path), curves(done[0]), check_exact=True)


def test_a_forecast_writes_nothing(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench.python("torch")
    assert main(["--recipe", "d2l-lenet", "--fw", "torch", *SMALL, "--out", str(tmp_path / "out"), "--forecast"]) == 0
    assert "d2l-lenet, 1 seed: about " in capsys.readouterr().out and not (tmp_path / "out").exists()


# --- cells: schedules, augmentation, dropout in testing ---------------------------------------------------------------


@pytest.fixture
def cells(bench: Bench, tmp_path: Path) -> Callable[..., dict[str, CellRecord]]:
    """Trains a network on small images in two frameworks; returns the records."""

    def train(net: str = "lenet_cifar", optimizer: str = "adam", **other: Any) -> dict[str, CellRecord]:
        request = TrainingRequest(
            net=(net,), frameworks="torch,mxnet", dataset="fashion-mnist-mini", epochs=3, batch_size=50, lr=0.001,
            optimizer=optimizer, train_size=120, test_size=70, threads=1,
        )  # fmt: skip
        groups, data = plan(request, print)
        jobs: list[Job] = [replace(one, **other) for one in groups[0]]
        found: dict[str, Any] = {}
        for one in jobs:
            bench.python(one.framework)
            found[one.framework] = environment(FrameworkRequest(one.framework), {}, device="cpu", progress=print)
        folder = RunFolder.create(tmp_path, "cells")
        scratch = folder.path / "scratch"
        scratch.mkdir()
        trainers = [CellTrainer(one, data[one.dataset], folder, scratch, CellRecord()) for one in jobs]
        side_by_side(trainers, found, 600, Progress())
        histories = folder.records()
        assert all(history.finished for history in histories.values()), histories
        return histories

    return train


def losses(histories: dict[str, CellRecord]) -> np.ndarray:
    """Frameworks x epochs."""
    return np.array([[epoch.train_loss for epoch in history.epochs] for history in histories.values()])


def test_augmented_images_are_the_same_for_both_frameworks(cells: Callable[..., dict[str, CellRecord]]) -> None:
    """Within a hundred times the rounding of nine float32 steps; images without augmentation give other losses."""
    changed, plain = cells(augmentations=(Crop(3), Flip())), cells()
    torch, mxnet = losses(changed)
    assert abs(torch - mxnet).max() < 1e-4 < 1e-3 < abs(losses(plain)[0] - torch).max()


def test_the_time_of_augmentation_is_recorded_separately(cells: Callable[..., dict[str, CellRecord]]) -> None:
    """Images are augmented once per epoch, for the first cell that needs them; both cells load them."""
    torch, mxnet = cells(augmentations=(Crop(3),)).values()
    for one, other in zip(torch.epochs, mxnet.epochs):
        assert (one.augment_seconds is None) != (other.augment_seconds is None)
        assert one.reload_seconds > 0 and other.reload_seconds > 0


def test_a_report_states_the_speed_of_augmentation(tmp_path: Path) -> None:
    """100 images in each of two epochs, 0.5 and 1.5 s; the other framework uses the same images."""
    jobs = [job(framework, 0, augmentations=["Crop(padding=4)"], train_size=100) for framework in ("torch", "mxnet")]
    folder = run_folder(tmp_path / "a", jobs, [None, None])
    for cell, drawn in zip(jobs, ((0.5, 1.5), (None, None))):
        for number, seconds in enumerate(drawn, 3):
            folder.record(records.epoch(cell.cell, number, augment_seconds=seconds))
    (line,) = augmentation_notes(folder)
    assert line.startswith("lenet: Crop(padding=4), drawn anew for each epoch") and line.endswith("at 100 images/s.")
    assert augmentation_notes(run_folder(tmp_path / "b", JOBS[:1], [0.8])) == []


@pytest.mark.parametrize(("load", "message"), [(0.43, "Other programs used 43 % of"), (0.01, ""), (None, "")])
def test_a_report_states_the_cpu_load_of_other_programs(tmp_path: Path, load: float | None, message: str) -> None:
    folder = run_folder(tmp_path / "a", JOBS[:1], [0.8])
    folder.write_info(replace_fields(folder.training_run, cpu_load=load))
    lines = [line for line in notes(folder) if "Other programs" in line]
    assert len(lines) == bool(message) and all(message in line for line in lines)


def test_without_augmentation_no_such_time_is_recorded(cells: Callable[..., dict[str, CellRecord]]) -> None:
    epochs = [epoch for record in cells().values() for epoch in record.epochs]
    assert all(epoch.augment_seconds is None and not epoch.reload_seconds for epoch in epochs)


def test_a_schedule_changes_the_learning_rate(cells: Callable[..., dict[str, CellRecord]]) -> None:
    """The learning rate nearly vanishes after the first epoch, so the loss stays the same afterwards."""
    for history in cells(lr_schedule=Step(1, 1e-9)).values():
        _, second, third = (epoch.test_loss for epoch in history.epochs)
        assert abs(second - third) < 1e-5
        assert abs(history.epochs[0].test_loss - second) < 1e-5


def test_fixed_batches_have_the_same_images_in_every_epoch() -> None:
    """Their order changes, and the short one is last. Without fixed batches, single images are shuffled."""
    groups, _ = plan(
        TrainingRequest(net=("lenet",), dataset="fashion-mnist-mini", batch_size=100, train_size=1050),
        Progress(),
    )
    job = groups[0][0]
    for stay in (True, False):
        orders = [order(replace(job, fixed_batches=stay), epoch) for epoch in (1, 2)]
        assert all(sorted(each) == list(range(1050)) for each in orders)
        first, second = ([frozenset(each[start : start + 100]) for start in range(0, 1050, 100)] for each in orders)
        assert (set(first) == set(second)) == stay and first != second
        assert (first[-1] == second[-1] == frozenset(range(1000, 1050))) == stay


def test_dropout_is_active_in_testing_if_the_recipe_says_so(cells: Callable[..., dict[str, CellRecord]]) -> None:
    """It changes the test loss and not the training loss."""
    plain, slip = (cells("rosetta", test_in_training_mode=wrong) for wrong in (False, True))
    for framework in plain:
        one, other = plain[framework].epochs, slip[framework].epochs
        assert [epoch.train_loss for epoch in one] == [epoch.train_loss for epoch in other]
        assert all(a.test_loss != b.test_loss for a, b in zip(one, other))


@pytest.mark.parametrize("permutation", [0, 1])
def test_a_dense_network_learns_as_well_with_permuted_pixels(
    cells: Callable[..., dict[str, CellRecord]], permutation: int
) -> None:
    """Both splits have the same permutation."""
    plain, other = (cells("mlp", permutation=seed) for seed in (None, permutation))
    assert (losses(plain) != losses(other)).all()
    assert abs(losses(plain)[:, -1] - losses(other)[:, -1]).max() < 0.25
