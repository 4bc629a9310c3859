"""Trained in one framework, predicting in the others; what is said of it, and what is refused."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.datasets.registry import dataset
from benchmarks.predict import command
from benchmarks.training import checkpoints
from benchmarks.training.prediction import Pictures, agreement, confusion, grid, predictions, told
from benchmarks.training.runner import run
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Scale
from tests.command_line import exit_code_of
from tests.conftest import Bench

main = exit_code_of(command)

OPTIONS: dict[str, Any] = {"quick": True, "dataset": "fashion-mnist-mini", "threads": 1, "save": True, "epochs": 2}


@pytest.fixture(scope="module")
def trained(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeNet that PyTorch has trained so far that it tells most classes apart."""
    bench.python("torch")
    out = tmp_path_factory.mktemp("results")
    run("lenet_cifar", ["torch"], out=out, train_size=1000, test_size=500, batch_size=32, **OPTIONS)
    return next(out.glob("*/weights/*.npz"))


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of LeNet as they are at the beginning, as a checkpoint: nothing is trained."""
    path = tmp_path_factory.mktemp("weights") / "lenet.npz"
    network = NETWORKS["lenet"]().after(Scale("pixels", factor=1 / 255), input=(1, 28, 28))
    checkpoints.save(path, network, initial(network, 0), {"framework": "none", "dataset": "fashion-mnist-mini"})
    return path


def test_a_run_saves_its_weights(trained: Path) -> None:
    made = checkpoints.load(trained)
    assert trained.name == "lenet_cifar.torch.0.npz"
    assert (made.network.name, made.about["framework"], made.about["epochs"]) == ("lenet_cifar", "torch", 2)
    assert not any("/" in name for name in made.weights), "nothing of the optimiser's"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_same_accuracy_in_every_framework(
    bench: Bench, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], framework: str
) -> None:
    """What the run itself has found in PyTorch: the same labels, so the same accuracy to the last digit."""
    bench.python(framework)
    assert main(["--weights", str(trained), "--fw", framework, "--out", str(tmp_path)]) == 0
    measured = pd.read_csv(trained.parents[1] / "report.csv").test_accuracy[0]
    assert measured > 0.3, "it has learnt something"
    assert f"accuracy {measured:.4f}: {round(500 * measured)} of 500 pictures" in capsys.readouterr().out


def test_all_frameworks_give_the_same_labels(
    bench: Bench, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for framework in FRAMEWORKS:
        bench.python(framework)
    assert main(["--weights", str(trained), "--fw", "all", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("the same labels on all 500 pictures") == len(FRAMEWORKS) - 1
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert len(table) == 500 and (table.torch == table.mxnet).all() and (table.torch == table.keras).all()
    counts = pd.read_csv(tmp_path / "confusion.csv", index_col="class")
    assert counts.to_numpy().sum() == 500 and (counts.sum(axis=1) == 50).all()
    assert np.diag(counts).sum() == (table.torch == table.label).sum()


def test_committed_weights_predict_in_every_framework(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that PyTorch has trained in d2l-lenet, ten epochs of all pictures."""
    for framework in FRAMEWORKS:
        bench.python(framework)
    weights = max((Path(__file__).parents[2] / "results").glob("*-d2l-lenet/weights/lenet.torch.0.npz"))
    options = ["--weights", str(weights), "--dataset", "fashion-mnist-mini", "--fw", "all", "--out", str(tmp_path)]
    assert main(options) == 0
    said = capsys.readouterr().out
    assert said.count("the same labels on all 500 pictures") == len(FRAMEWORKS) - 1
    assert float(said.partition("accuracy ")[2][:6]) > 0.75


def test_the_grid_shows_pictures(bench: Bench, sure: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    bench.python("torch")
    given = ["--weights", str(sure), "--fw", "torch", "--out", str(tmp_path), "--test-size", "30", "--grid", "24"]
    assert main(given) == 0
    with image.open(tmp_path / "grid.png") as sheet:
        assert sheet.width > 12 * 84 and sheet.height > 2 * 84
        red = (np.asarray(sheet) == (0xC0, 0x39, 0x2B)).all(2).sum()
    labels = pd.read_csv(tmp_path / "predictions.csv")[:24]
    wrong = int((labels.torch != labels.label).sum())
    assert wrong > 0 and red > wrong * 800, "a frame of three pixels around each wrong picture"


@pytest.mark.parametrize(("wrong", "framed"), [([], 0), ([1], 1), ([0, 2], 2)])
def test_wrong_pictures_alone_are_framed(tmp_path: Path, wrong: list[int], framed: int) -> None:
    """Counted by the left edge of the frames: three columns of pixels, some ninety high."""
    image = pytest.importorskip("PIL.Image")
    labels = np.zeros(3, np.int64)
    seen = labels.copy()
    seen[wrong] = 1
    grid(
        Pictures(np.full((3, 3, 8, 8), 128, np.uint8), ("a", "b", "c"), labels, ("x", "y")),
        seen,
        tmp_path / "g.png",
        [0, 1, 2],
    )
    with image.open(tmp_path / "g.png") as sheet:
        row = np.asarray(sheet)[4 + 42]
    assert ((row == (0xC0, 0x39, 0x2B)).all(1)).sum() == framed * 6


def test_only_the_wrong_ones(bench: Bench, sure: Path, tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    bench.python("torch")
    options = ["--fw", "torch", "--out", str(tmp_path), "--test-size", "40", "--wrong-only", "--quiet"]
    assert main(["--weights", str(sure), *options]) == 0
    assert (tmp_path / "grid.png").exists()


def test_a_folder_of_pictures(bench: Bench, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data set's own pictures as files, in grey and colour, get the labels that they get as a data set."""
    image = pytest.importorskip("PIL.Image")
    bench.python("torch")
    pixels = np.load(dataset("fashion-mnist-mini").test.images)[:8, 0]
    mine = tmp_path / "mine"
    mine.mkdir()
    for number, picture in enumerate(pixels):
        drawn = image.fromarray(picture)
        (drawn if number % 2 else drawn.convert("RGB")).save(mine / f"{number}.png")
    (mine / "notes.txt").write_text("no picture")
    both = [["--images", str(mine), "--out", str(tmp_path / "a")], ["--test-size", "8", "--out", str(tmp_path / "b")]]
    for options in both:
        assert main(["--weights", str(trained), "--fw", "torch", *options]) == 0
    files, data = (pd.read_csv(tmp_path / name / "predictions.csv") for name in "ab")
    assert list(files.picture) == [f"{number}.png" for number in range(8)] and "label" not in files
    assert list(files.torch) == list(data.torch)


def test_sixteen_bits_a_pixel_are_the_same_picture(bench: Bench, sure: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    bench.python("torch")
    pixels = np.load(dataset("fashion-mnist-mini").test.images)[:4, 0]
    for folder, picture in (("8", pixels), ("16", pixels.astype(np.uint16) * 257)):
        (tmp_path / folder).mkdir()
        for number in range(4):
            image.fromarray(picture[number]).save(tmp_path / folder / f"{number}.png")
        given = ["--weights", str(sure), "--fw", "torch", "--images", str(tmp_path / folder)]
        assert main([*given, "--out", str(tmp_path / f"{folder}-out")]) == 0
    one, other = (pd.read_csv(tmp_path / f"{folder}-out" / "predictions.csv") for folder in ("8", "16"))
    pd.testing.assert_frame_equal(one, other)


def test_dark_on_light_is_inverted(bench: Bench, sure: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    bench.python("torch")
    pixels = np.load(dataset("fashion-mnist-mini").test.images)[:4, 0]
    for folder, picture in (("light", pixels), ("dark", 255 - pixels)):
        (tmp_path / folder).mkdir()
        for number in range(4):
            image.fromarray(picture[number]).save(tmp_path / folder / f"{number}.png")
    for folder, options in (("light", []), ("dark", ["--invert"])):
        given = ["--weights", str(sure), "--fw", "torch", "--images", str(tmp_path / folder), *options]
        assert main([*given, "--out", str(tmp_path / f"{folder}-out")]) == 0
    one, other = (pd.read_csv(tmp_path / f"{folder}-out" / "predictions.csv") for folder in ("light", "dark"))
    pd.testing.assert_frame_equal(one, other)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "missing.npz"], "no such file"),
        (["--fw", "pytorch"], "torch"),
        (["--dataset", "cifar"], "cifar10"),
        (["--images", "{tmp}"], "no pictures in it"),
        (["--images", "{tmp}/nowhere"], "no pictures in it"),
        (["--images", "{tmp}/broken"], "cannot be read as a picture"),
        (["--test-size", "501"], "500 test pictures"),
        (["--test-size", "0"], "--test-size 0"),
        (["--grid", "0"], "--grid"),
        (["--threads", "0"], "--threads"),
        (["--out", "{tmp}/file"], "--out"),
        (["--python", "torch"], "--python torch"),
        (["--images", "a", "--dataset", "mnist"], "give one of the two"),
        ([], "--weights"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(
    sure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    if "broken" in " ".join(options):
        pytest.importorskip("PIL")
    (tmp_path / "file").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    given = [option.format(tmp=tmp_path) for option in options]
    weights = [] if not options or "--weights" in options else ["--weights", str(sure)]
    assert main([*weights, *given]) == 2
    stderr = capsys.readouterr().err
    assert said in stderr and len(stderr.splitlines()) == 1


def test_pictures_of_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = NETWORKS["lenet_cifar"]()
    checkpoints.save(tmp_path / "a.npz", network, initial(network, 0), {})
    assert main(["--weights", str(tmp_path / "a.npz"), "--dataset", "fashion-mnist-mini"]) == 2
    assert "pictures of 1x28x28, and lenet_cifar was trained on 3x32x32" in capsys.readouterr().err


def test_classes_that_are_not_the_data_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = NETWORKS["lenet"](classes=5)
    checkpoints.save(tmp_path / "a.npz", network, initial(network, 0), {})
    assert main(["--weights", str(tmp_path / "a.npz"), "--dataset", "fashion-mnist-mini"]) == 2
    assert "fashion-mnist-mini: 10 classes, and lenet tells 5 apart" in capsys.readouterr().err


def test_trained_on_nothing_that_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = NETWORKS["lenet"]()
    checkpoints.save(tmp_path / "a.npz", network, initial(network, 0), {"dataset": "mine"})
    assert main(["--weights", str(tmp_path / "a.npz")]) == 2
    assert "give --dataset or --images" in capsys.readouterr().err


def test_without_pillow_the_grid_is_missed_and_the_rest_is_there(
    bench: Bench, sure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.python("torch")
    real = builtins.__import__

    def no_pillow(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_pillow)
    given = ["--weights", str(sure), "--fw", "torch", "--out", str(tmp_path), "--test-size", "10"]
    assert main(given) == 0
    assert "pip install pillow" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.csv", "confusion.csv"}
    assert main([*given[:4], "--images", str(Path(__file__).parent)]) == 2, "no pictures there"


# --- the arithmetic ---------------------------------------------------------------------------------------------------


def test_confusion_by_hand() -> None:
    counts = confusion(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]


def test_told_by_hand() -> None:
    pictures = Pictures(np.zeros((4, 1, 1, 1), np.uint8), tuple("abcd"), np.array([0, 0, 1, 1]), ("cat", "dog"))
    text = told(pictures, np.array([[2.0, 1], [1, 2], [1, 2], [0, 3]]))
    assert "accuracy 0.7500: 3 of 4 pictures" in text
    assert "cat      0.5000" in text and "dog      1.0000" in text


def test_probabilities_are_softmax() -> None:
    pictures = Pictures(np.zeros((1, 1, 1, 1), np.uint8), ("a",), None, ())
    frame = predictions(pictures, {"torch": np.array([[np.log(3.0), 0.0]])})
    assert frame.torch[0] == "0" and frame.torch_probability[0] == pytest.approx(0.75)


@pytest.mark.parametrize(("moved", "same"), [(0.0, True), (0.4, True), (2.0, False)])
def test_agreement(moved: float, same: bool) -> None:
    expected = np.array([[1.0, 0.0], [0.0, 1.0]])
    lines, agreed = agreement({"torch": expected, "mxnet": np.add(expected, [[0, 0], [moved, 0]])})
    assert agreed is same and ("the same labels" in lines[0]) is same
    assert same or "other labels on 1 of 2 pictures, first on number 1" in lines[0]
