"""One command trains on a folder of JPEG files in every framework; `--resume` and `predict` use the same images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import predict
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.datasets.registry import ImageOptions, dataset
from benchmarks.run import command
from benchmarks.training import checkpoints
from frameworks.registry import in_all
from frameworks.spec import Normalize
from tests import fake_adapter
from tests.command_line import exit_code_of
from tests.conftest import Bench
from tests.unit.image_files import encoded, files_of_classes, write_files

main = exit_code_of(command)
FAKE = f"{Path(fake_adapter.__file__).absolute()}:Fake"
CLASSES = ("daisy", "rose", "tulip")
EACH = 20  # images of a class
NAMES = tuple(in_all())  # before other tests register theirs


def flowers(folder: Path) -> Path:
    """JPEG files of several sizes: a class is a color, with noise."""
    stream = np.random.default_rng(0)
    files = {}
    for label, name in enumerate(CLASSES):
        for number in range(EACH):
            height, width = stream.integers(24, 60, 2)
            values = stream.integers(0, 120, (height, width, 3))
            values[..., label] += 130
            files[f"{name}/{number}.jpg"] = encoded(values.astype(np.uint8), "jpg")
    return write_files(folder / "flowers", files)


@pytest.fixture(scope="module")
def trained(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in every framework; the images are beside the folder of results."""
    for framework in NAMES:
        bench.python(framework)
    place = tmp_path_factory.mktemp("own")
    options = ["--dataset", str(flowers(place)), "--image-size", "24", "--epochs", "3", "--batch-size", "8"]
    given = ["--net", "lenet_cifar", "--fw", ",".join(NAMES), "--threads", "1", "--save"]
    assert main([*given, *options, "--out", str(place / "results"), "-q"]) == ExitCode.OK
    return next((place / "results").iterdir())


def test_every_framework_trains_on_the_same_images(trained: Path) -> None:
    table = pd.read_csv(trained / "report.csv")
    assert list(table.framework) == list(NAMES) and set(table.status) == {"ok"}
    assert set(table.dataset) == {"flowers"}
    assert (table.test_accuracy > 0.6).all(), "chance is a third"
    assert np.ptp(table.train_loss) < 1e-4 * table.train_loss.max()


def test_the_run_records_the_images(trained: Path) -> None:
    run = json.loads((trained / "run.json").read_text())
    images = run["data"]["flowers"]["images"]
    assert (images["class_names"], images["input"]) == (list(CLASSES), [3, 24, 24])
    assert (images["train_counts"], images["test_counts"]) == ([16] * 3, [4] * 3)
    assert run["request"]["images"]["image_size"] == [24, 24]
    path = trained.parents[1] / "flowers"
    again = dataset(str(path), lambda line: None, images=ImageOptions(image_size=(24, 24)))
    assert run["data"]["flowers"]["sha256"] == again.sha256
    report = (trained / "report.md").read_text()
    assert "differ from the published ones" not in report
    assert "folder of class folders, 3x24x24, 3 classes; split: 0.2 of each class for testing, seed 0" in report
    assert f"SHA-256 of the listing: {again.sha256['listing'][:8]}" in report


def test_pixels_are_normalized_by_the_training_images(trained: Path) -> None:
    network = checkpoints.load(next(trained.glob("weights/*.npz"))).network
    images = json.loads((trained / "run.json").read_text())["data"]["flowers"]["images"]
    (normalize,) = (layer for layer in network.layers if isinstance(layer, Normalize))
    assert [list(normalize.mean), list(normalize.std)] == [images["mean"], images["std"]]


def test_predictions_show_the_class_names(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The test images are those of the training run, so the accuracy is the same to the last digit."""
    weights, path = trained / "weights" / "lenet_cifar.torch.0.npz", trained.parents[1] / "flowers"
    given = ["--weights", str(weights), "--fw", "torch", "--out", str(tmp_path), "-q"]
    call = exit_code_of(predict.command)
    assert call([*given, "--dataset", str(path)]) == 0
    accuracy = pd.read_csv(trained / "report.csv").test_accuracy[0]
    assert f"accuracy {accuracy:.4f}: {round(12 * accuracy)} of 12 images" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert set(table.label) == set(CLASSES) and set(table.torch) <= set(CLASSES)
    assert (tmp_path / "grid.png").is_file()
    assert call([*given, "--images", str(path / "rose")]) == 0
    assert set(pd.read_csv(tmp_path / "predictions.csv").torch) <= set(CLASSES)


@pytest.mark.parametrize("options", [[], ["--dataset", "{other}"]], ids=["no data set", "other classes"])
def test_predictions_need_the_data_set(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    other = write_files(tmp_path / "other", files_of_classes(4))
    weights = ["--weights", str(trained / "weights" / "lenet_cifar.torch.0.npz"), "--out", str(tmp_path / "out")]
    call = exit_code_of(predict.command)
    assert call([*weights, "-q", *(word.format(other=other) for word in options)]) == ExitCode.BAD_INPUT
    message = capsys.readouterr().err
    assert "give --dataset or --images" in message if not options else "other classes" in message


# --- resume -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with the fake adapter."""
    place = tmp_path_factory.mktemp("fake")
    options = ["--dataset", str(flowers(place)), "--image-size", "8", "--epochs", "3", "--quick"]
    given = ["--net", "lenet_cifar", "--adapter", FAKE, "--fw", "fake", "--threads", "1"]
    assert main([*given, *options, "--out", str(place / "results"), "-q"]) == 0
    return next((place / "results").iterdir())


def test_a_run_on_the_same_images_is_resumed(finished: Path) -> None:
    assert main(["--resume", str(finished), "--image-size", "8", "-q"]) == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--image-size", "9"],
        ["--image-fit", "pad"],
        ["--channels", "1"],
        ["--test-fraction", "30%"],
        ["--split-seed", "1"],
        ["--skip-broken"],
    ],
    ids=" ".join,
)
def test_another_option_is_refused(options: list[str], finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--resume", str(finished), *options]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.startswith(options[0])


def test_changed_images_are_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pixel of one file changes, and nothing else."""
    path = finished.parents[1] / "flowers" / "rose" / "3.jpg"
    kept = path.with_suffix(".kept")
    shutil.copy(path, kept)
    try:
        path.write_bytes(encoded(np.full((30, 30, 3), 99, np.uint8), "jpg"))
        assert main(["--resume", str(finished), "-q"]) == ExitCode.BAD_INPUT
    finally:
        kept.replace(path)
    message = capsys.readouterr().err
    assert "flowers changed since the run began" in message and "listing" in message and message.count("\n") == 1
