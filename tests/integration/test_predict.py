"""Weights trained in one framework predict the same in the others; reports and errors of `predict`."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.api import run
from benchmarks.datasets.registry import dataset
from benchmarks.porting.port_files import write_all
from benchmarks.predict import command
from benchmarks.reporting.prediction_report import agreement, confusion, draw_grid, predictions_frame, text
from benchmarks.training import checkpoints
from benchmarks.training.prediction import ImageSet
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.registry import in_all
from frameworks.spec import Scale
from tests.command_line import exit_code_of
from tests.conftest import Bench

main = exit_code_of(command)

OPTIONS: dict[str, Any] = {"quick": True, "dataset": "fashion-mnist-mini", "threads": 1, "save": True, "epochs": 2}


@pytest.fixture(scope="module")
def trained(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet, trained in PyTorch until it recognizes most classes."""
    bench.python("torch")
    out = tmp_path_factory.mktemp("results")
    run("lenet_cifar", ["torch"], out=out, train_size=1000, test_size=500, batch_size=32, **OPTIONS)
    return next(out.glob("*/weights/*.npz"))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the initial weights of LeNet."""
    path = tmp_path_factory.mktemp("weights") / "lenet.npz"
    network = NETWORKS["lenet"]().after(Scale("pixels", factor=1 / 255), input=(1, 28, 28))
    checkpoints.save(path, network, initial(network, 0), {"framework": "none", "dataset": "fashion-mnist-mini"})
    return path


def test_a_run_saves_its_weights(trained: Path) -> None:
    checkpoint = checkpoints.load(trained)
    assert trained.name == "lenet_cifar.torch.0.npz"
    assert (checkpoint.network.name, checkpoint.about["framework"], checkpoint.about["epochs"]) == (
        "lenet_cifar",
        "torch",
        2,
    )
    assert not any("/" in name for name in checkpoint.weights), "arrays of the optimizer"


@pytest.fixture(scope="module")
def model(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network as an ONNX model."""
    checkpoint, folder = checkpoints.load(trained), tmp_path_factory.mktemp("onnx")
    return write_all(checkpoint.network, ["onnx"], folder, checkpoint.weights, "trained")[0]


def test_a_model_of_another_program_predicts_as_its_checkpoint(
    bench: Bench, trained: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.python("torch")
    options = ["--fw", "torch", "--dataset", "fashion-mnist-mini"]
    for name, more in ((trained, []), (model, ["--pixels", "raw"])):
        assert main(["--weights", str(name), *more, *options, "--out", str(tmp_path / name.suffix)]) == 0
    printed = capsys.readouterr()
    assert "lenet_cifar, trained by torch; torch predicts:" in printed.out
    assert f"lenet_cifar, weights of {model.name}; torch predicts:" in printed.out
    assert "it and its spec: the logits differ by at most" in printed.err
    tables = [pd.read_csv(tmp_path / suffix / "predictions.csv") for suffix in (".npz", ".onnx")]
    pd.testing.assert_frame_equal(*tables)


def test_pixels_are_for_models_alone_and_never_assumed(
    trained: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset", "fashion-mnist-mini", "--out", str(tmp_path)]
    assert main(["--weights", str(model), *options]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"--pixels is missing: {model} does not say which")
    assert main(["--weights", str(trained), "--pixels", "unit", *options]) == 2
    assert "has its preprocessing in it" in capsys.readouterr().err


@pytest.mark.parametrize("framework", in_all())
def test_the_same_accuracy_in_every_framework(
    bench: Bench, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], framework: str
) -> None:
    """The same labels as in the training run, so the same accuracy to the last digit."""
    bench.python(framework)
    assert main(["--weights", str(trained), "--fw", framework, "--out", str(tmp_path)]) == 0
    measured = pd.read_csv(trained.parents[1] / "report.csv").test_accuracy[0]
    assert measured > 0.3, "above chance"
    assert f"accuracy {measured:.4f}: {round(500 * measured)} of 500 images" in capsys.readouterr().out


def test_all_frameworks_give_the_same_labels(
    bench: Bench, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for framework in in_all():
        bench.python(framework)
    assert main(["--weights", str(trained), "--fw", "all", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("the same labels on all 500 images") == len(in_all()) - 1
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert len(table) == 500 and (table.torch == table.mxnet).all() and (table.torch == table.keras).all()
    counts = pd.read_csv(tmp_path / "confusion.csv", index_col="class")
    assert counts.to_numpy().sum() == 500 and (counts.sum(axis=1) == 50).all()
    assert np.diag(counts).sum() == (table.torch == table.label).sum()


def test_committed_weights_predict_in_every_framework(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights of the committed d2l-lenet run: PyTorch, ten epochs on all images."""
    for framework in in_all():
        bench.python(framework)
    weights = max((Path(__file__).parents[2] / "results").glob("*-d2l-lenet/weights/lenet.torch.0.npz"))
    options = ["--weights", str(weights), "--dataset", "fashion-mnist-mini", "--fw", "all", "--out", str(tmp_path)]
    assert main(options) == 0
    output = capsys.readouterr().out
    assert output.count("the same labels on all 500 images") == len(in_all()) - 1
    assert float(output.partition("accuracy ")[2][:6]) > 0.75


def test_the_grid_frames_wrong_predictions(bench: Bench, untrained: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    bench.python("torch")
    given = ["--weights", str(untrained), "--fw", "torch", "--out", str(tmp_path), "--test-size", "30", "--grid", "24"]
    assert main(given) == 0
    with image.open(tmp_path / "grid.png") as sheet:
        assert sheet.width > 12 * 84 and sheet.height > 2 * 84
        red = (np.asarray(sheet) == (0xC0, 0x39, 0x2B)).all(2).sum()
    labels = pd.read_csv(tmp_path / "predictions.csv")[:24]
    wrong = int((labels.torch != labels.label).sum())
    assert wrong > 0 and red > wrong * 800, "a frame of three pixels around each wrong prediction"


@pytest.mark.parametrize(("wrong", "framed"), [([], 0), ([1], 1), ([0, 2], 2)])
def test_only_wrong_predictions_are_framed(tmp_path: Path, wrong: list[int], framed: int) -> None:
    """Frames are counted by their vertical edges, three pixels wide."""
    image = pytest.importorskip("PIL.Image")
    labels = np.zeros(3, np.int64)
    predicted = labels.copy()
    predicted[wrong] = 1
    draw_grid(
        ImageSet(np.full((3, 3, 8, 8), 128, np.uint8), ("a", "b", "c"), labels, ("x", "y")),
        predicted,
        tmp_path / "g.png",
        [0, 1, 2],
    )
    with image.open(tmp_path / "g.png") as sheet:
        row = np.asarray(sheet)[4 + 42]
    assert ((row == (0xC0, 0x39, 0x2B)).all(1)).sum() == framed * 6


def test_the_grid_of_wrong_predictions(bench: Bench, untrained: Path, tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    bench.python("torch")
    options = ["--fw", "torch", "--out", str(tmp_path), "--test-size", "40", "--wrong-only", "--quiet"]
    assert main(["--weights", str(untrained), *options]) == 0
    assert (tmp_path / "grid.png").exists()


def test_a_folder_of_image_files(
    bench: Bench, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Test images written to gray and color files get the same labels as from the data set."""
    image = pytest.importorskip("PIL.Image")
    bench.python("torch")
    pixels = np.load(dataset("fashion-mnist-mini").test.images)[:8, 0]
    folder = tmp_path / "images"
    folder.mkdir()
    for number, array in enumerate(pixels):
        gray = image.fromarray(array)
        (gray if number % 2 else gray.convert("RGB")).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("not an image")
    both = [["--images", str(folder), "--out", str(tmp_path / "a")], ["--test-size", "8", "--out", str(tmp_path / "b")]]
    for options in both:
        assert main(["--weights", str(trained), "--fw", "torch", *options]) == 0
    files, data = (pd.read_csv(tmp_path / name / "predictions.csv") for name in "ab")
    assert list(files.image) == [f"{number}.png" for number in range(8)] and "label" not in files
    assert list(files.torch) == list(data.torch)


def test_images_with_16_bits_per_pixel(bench: Bench, untrained: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    bench.python("torch")
    pixels = np.load(dataset("fashion-mnist-mini").test.images)[:4, 0]
    for folder, arrays in (("8", pixels), ("16", pixels.astype(np.uint16) * 257)):
        (tmp_path / folder).mkdir()
        for number in range(4):
            image.fromarray(arrays[number]).save(tmp_path / folder / f"{number}.png")
        given = ["--weights", str(untrained), "--fw", "torch", "--images", str(tmp_path / folder)]
        assert main([*given, "--out", str(tmp_path / f"{folder}-out")]) == 0
    first, second = (pd.read_csv(tmp_path / f"{folder}-out" / "predictions.csv") for folder in ("8", "16"))
    pd.testing.assert_frame_equal(first, second)


def test_dark_on_light_is_inverted(bench: Bench, untrained: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    bench.python("torch")
    pixels = np.load(dataset("fashion-mnist-mini").test.images)[:4, 0]
    for folder, arrays in (("light", pixels), ("dark", 255 - pixels)):
        (tmp_path / folder).mkdir()
        for number in range(4):
            image.fromarray(arrays[number]).save(tmp_path / folder / f"{number}.png")
    for folder, options in (("light", []), ("dark", ["--invert"])):
        given = ["--weights", str(untrained), "--fw", "torch", "--images", str(tmp_path / folder), *options]
        assert main([*given, "--out", str(tmp_path / f"{folder}-out")]) == 0
    first, second = (pd.read_csv(tmp_path / f"{folder}-out" / "predictions.csv") for folder in ("light", "dark"))
    pd.testing.assert_frame_equal(first, second)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "missing.npz"], "no such file"),
        (["--fw", "pytorch"], "torch"),
        (["--dataset", "cifar"], "cifar10"),
        (["--images", "{tmp}"], "no image files in it"),
        (["--images", "{tmp}/nowhere"], "no image files in it"),
        (["--images", "{tmp}/broken"], "cannot be read as an image"),
        (["--test-size", "501"], "500 test images"),
        (["--test-size", "0"], "--test-size 0"),
        (["--grid", "0"], "--grid"),
        (["--threads", "0"], "--threads"),
        (["--out", "{tmp}/file"], "--out"),
        (["--python", "torch"], "--python torch"),
        (["--images", "a", "--dataset", "mnist"], "give only one"),
        ([], "--weights"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_bad_input_gives_one_line_and_exit_code_2(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    if "broken" in " ".join(options):
        pytest.importorskip("PIL")
    (tmp_path / "file").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    given = [option.format(tmp=tmp_path) for option in options]
    weights = [] if not options or "--weights" in options else ["--weights", str(untrained)]
    assert main([*weights, *given]) == 2
    stderr = capsys.readouterr().err
    assert message in stderr and len(stderr.splitlines()) == 1


def test_images_of_another_size_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = NETWORKS["lenet_cifar"]()
    checkpoints.save(tmp_path / "a.npz", network, initial(network, 0), {})
    assert main(["--weights", str(tmp_path / "a.npz"), "--dataset", "fashion-mnist-mini"]) == 2
    assert "its images are 1x28x28, and lenet_cifar was trained on 3x32x32" in capsys.readouterr().err


def test_a_data_set_with_another_number_of_classes_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = NETWORKS["lenet"](classes=5)
    checkpoints.save(tmp_path / "a.npz", network, initial(network, 0), {})
    assert main(["--weights", str(tmp_path / "a.npz"), "--dataset", "fashion-mnist-mini"]) == 2
    assert "fashion-mnist-mini: 10 classes, and lenet has 5 outputs" in capsys.readouterr().err


def test_an_unknown_training_data_set_needs_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = NETWORKS["lenet"]()
    checkpoints.save(tmp_path / "a.npz", network, initial(network, 0), {"dataset": "mine"})
    assert main(["--weights", str(tmp_path / "a.npz")]) == 2
    assert "give --dataset or --images" in capsys.readouterr().err


def test_without_pillow_everything_but_the_grid_is_written(
    bench: Bench, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.python("torch")
    real = builtins.__import__

    def no_pillow(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_pillow)
    given = ["--weights", str(untrained), "--fw", "torch", "--out", str(tmp_path), "--test-size", "10"]
    assert main(given) == 0
    assert "pip install -e '.[images]'" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.csv", "confusion.csv"}
    assert main([*given[:4], "--images", str(Path(__file__).parent)]) == 2, "no image files there"


# --- the arithmetic ---------------------------------------------------------------------------------------------------


def test_confusion_by_hand() -> None:
    counts = confusion(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]


def test_text_by_hand() -> None:
    images = ImageSet(np.zeros((4, 1, 1, 1), np.uint8), tuple("abcd"), np.array([0, 0, 1, 1]), ("cat", "dog"))
    printed = text(images, np.array([[2.0, 1], [1, 2], [1, 2], [0, 3]]))
    assert "accuracy 0.7500: 3 of 4 images" in printed
    assert "cat      0.5000" in printed and "dog      1.0000" in printed


def test_probabilities_are_softmax() -> None:
    images = ImageSet(np.zeros((1, 1, 1, 1), np.uint8), ("a",), None, ())
    frame = predictions_frame(images, {"torch": np.array([[np.log(3.0), 0.0]])})
    assert frame.torch[0] == "0" and frame.torch_probability[0] == pytest.approx(0.75)


@pytest.mark.parametrize(("change", "same"), [(0.0, True), (0.4, True), (2.0, False)])
def test_agreement(change: float, same: bool) -> None:
    expected = np.array([[1.0, 0.0], [0.0, 1.0]])
    lines, agreed = agreement({"torch": expected, "mxnet": np.add(expected, [[0, 0], [change, 0]])})
    assert agreed is same and ("the same labels" in lines[0]) is same
    assert same or "different labels on 1 of 2 images, first on image 1" in lines[0]
