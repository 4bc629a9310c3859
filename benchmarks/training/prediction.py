"""Predict with trained weights, in any framework, whichever trained them.

    python -m benchmarks.run --net lenet --fw torch --save
    python -m benchmarks.predict --weights results/<run>/weights/lenet.torch.0.npz --fw mxnet --dataset fashion-mnist
    python -m benchmarks.predict --weights lenet.npz --fw all --images my_digits

Prints accuracy, accuracy by class and the confusion matrix, and writes into `--out`: `predictions.csv`, a row per
picture, `confusion.csv`, and `grid.png`, pictures with what is seen in them, the wrong ones framed (needs Pillow). With
several frameworks it says whether they give the same labels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.cli.progress import ProgressDisplay
from benchmarks.datasets import augmentation
from benchmarks.datasets.registry import DATASETS, dataset
from benchmarks.reporting.tables import table
from benchmarks.runtime.environments import Device, Environment, FrameworkRequest, environment, parse_frameworks
from benchmarks.runtime.errors import BadInput, WorkerFailed
from benchmarks.runtime.worker_client import Session
from benchmarks.training.checkpoints import Checkpoint
from frameworks.arrays import Array
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS
from frameworks.spec import times, to_json
from frameworks.training import Training

BATCH = 256
WIDEST = 20  # classes of a confusion matrix that is printed
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif"}
NEEDS_PILLOW = "needs Pillow: pip install pillow, or onespec[images]"


@dataclass(frozen=True)
class Pictures:
    """What to look at: uint8 N x C x H x W, what each is called, and, where it is known, its class."""

    images: Array
    names: tuple[str, ...]
    labels: Array | None  # int64, N
    classes: tuple[str, ...]


def of_dataset(name: str, count: int | None, made: Checkpoint, progress: ProgressDisplay) -> Pictures:
    """The first test pictures of a data set; the pixels in the order on which the weights were trained."""
    data = dataset(name, progress.message)
    if count is not None and not 0 < count <= data.test.count:
        raise BadInput(f"--test-size {count}: {name} has {data.test.count} test pictures")
    images = np.load(data.test.images, mmap_mode="r")[:count]
    _fits(made, data.input, f"--dataset {name}")
    if made.network.output != (data.classes,):
        raise BadInput(
            f"--dataset {name}: {data.classes} classes, and {made.network.name} tells {made.network.output[0]} apart"
        )
    if (seed := made.about.get("permutation")) is not None:
        images = augmentation.permuted(images, seed)
    return Pictures(images, tuple(map(str, range(len(images)))), np.load(data.test.labels)[:count], data.class_names)


def of_folder(folder: Path, made: Checkpoint, invert: bool) -> Pictures:
    """A user's own pictures, brought to the network's input: grey or RGB, its height and width."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        raise BadInput(f"--images {folder}: no pictures in it ({', '.join(sorted(SUFFIXES))})")
    images = np.stack([_picture(path, made.network.input) for path in files])
    classes = DATASETS[made.about["dataset"]].class_names if made.about.get("dataset") in DATASETS else ()
    if (seed := made.about.get("permutation")) is not None:
        images = augmentation.permuted(images, seed)
    return Pictures(255 - images if invert else images, tuple(path.name for path in files), None, classes)


def _picture(path: Path, shape: tuple[int, ...]) -> Array:
    """One file as uint8 C x H x W. Transparent parts are white, as they look on paper."""
    try:
        from PIL import Image
    except ImportError:
        raise BadInput(f"--images {path.parent}: {NEEDS_PILLOW}") from None
    channels, height, width = shape
    if channels not in (1, 3):
        raise BadInput(f"--images {path.parent}: the network takes {channels} channels, a picture has 1 or 3")
    try:
        with Image.open(path) as opened:
            if opened.mode.startswith("I"):  # 16 bits a pixel, which `convert` would cut off at 255
                opened = Image.fromarray((np.asarray(opened) // 257).astype(np.uint8))
            drawn = opened.convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for files that are not whole
        raise BadInput(f"--images {path}: cannot be read as a picture ({error})") from None
    white = Image.new("RGBA", drawn.size, "white")
    flat = Image.alpha_composite(white, drawn).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(flat.resize((width, height), Image.Resampling.BILINEAR))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _fits(made: Checkpoint, shape: tuple[int, ...], option: str) -> None:
    if made.network.input != shape:
        raise BadInput(
            f"{option}: pictures of {times(shape)}, and {made.network.name} was trained on {times(made.network.input)}"
        )


def logits(
    made: Checkpoint, pictures: Pictures, place: Environment, requested: FrameworkRequest, *, threads: int = 1,
    device: str = "cpu", timeout: float = 600.0,
) -> Array:  # fmt: skip
    """One framework's answer: N x classes. Unavailable, WorkerFailed."""
    info = FRAMEWORKS[requested.name]
    with tempfile.TemporaryDirectory(prefix="onespec-") as folder:
        scratch = Path(folder)
        weights, images, labels, answer = (scratch / name for name in ("w.npz", "images.npy", "labels.npy", "a.npy"))
        np.savez(weights, **made.weights)  # type: ignore[arg-type]
        np.save(images, pictures.images)
        np.save(labels, np.zeros(len(pictures.images), np.int64) if pictures.labels is None else pictures.labels)
        adapter = info.module, info.adapter
        with Session(place.python, *adapter, threads=threads, log=scratch / "log", timeout=timeout) as session:
            session.receive()
            where = {"device": device, "precision": "float32", "threads": threads, "mode": requested.mode}
            session.request(
                "build", network=to_json(made.network), training=Training().to_json(), setting=where
            )  # fmt: skip
            session.request("set_weights", path=str(weights))
            session.request("load", split="test", images=str(images), labels=str(labels), count=len(pictures.images))
            session.request("predict", split="test", batch_size=BATCH, path=str(answer))
        return np.load(answer)


# --- what is said of it -----------------------------------------------------------------------------------------------


def confusion(labels: Array, predicted: Array, classes: int) -> Array:
    """How many pictures of each class (row) were taken for each (column): int64, classes x classes."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def predictions(pictures: Pictures, answers: dict[str, Array]) -> pd.DataFrame:
    """A row per picture: its name, its class where that is known, and each framework's class and its probability."""
    rows: dict[str, Any] = {"picture": pictures.names}
    if pictures.labels is not None:
        rows["label"] = [_class(pictures, int(label)) for label in pictures.labels]
    for framework, answer in answers.items():
        rows[framework] = [_class(pictures, int(best)) for best in answer.argmax(1)]
        rows[f"{framework}_probability"] = _probability(answer)
    return pd.DataFrame(rows)


def _probability(answer: Array) -> Array:
    """Of the likeliest class: softmax."""
    shifted = answer.astype(np.float64) - answer.max(1, keepdims=True)
    return 1 / np.exp(shifted).sum(1)


def _class(pictures: Pictures, number: int) -> str:
    return pictures.classes[number] if number < len(pictures.classes) else str(number)


def told(pictures: Pictures, answer: Array) -> str:
    """Accuracy, accuracy by class and confusion; without labels, how often each class was seen."""
    predicted, classes = answer.argmax(1), answer.shape[1]
    names = [_class(pictures, number) for number in range(classes)]
    if pictures.labels is None:
        seen = np.bincount(predicted, minlength=classes)
        return table(("class", "pictures"), [(names[i], str(seen[i])) for i in np.flatnonzero(seen)])
    counts = confusion(pictures.labels, predicted, classes)
    right, of = counts.diagonal(), counts.sum(1)
    lines = [f"accuracy {right.sum() / of.sum():.4f}: {right.sum():,} of {of.sum():,} pictures", ""]
    shown = np.flatnonzero(of)
    columns = tuple(names) if classes <= WIDEST else ()
    body = [
        (names[i], f"{right[i] / of[i]:.4f}", str(of[i]), *(str(count) for count in counts[i] if columns))
        for i in shown
    ]
    return "\n".join([*lines, table(("class", "accuracy", "pictures", *columns), body)])


def agreement(answers: dict[str, Array]) -> tuple[list[str], bool]:
    """In words, framework by framework, whether its labels are the first one's; and whether all are."""
    (first, expected), *others = answers.items()
    lines, same = [], True
    for framework, answer in others:
        differ = np.flatnonzero(answer.argmax(1) != expected.argmax(1))
        same &= not len(differ)
        gap = float(np.abs(answer - expected).max())
        said = f"the same labels on all {len(answer):,} pictures" if not len(differ) else (
            f"other labels on {len(differ):,} of {len(answer):,} pictures, first on number {differ[0]}"
        )  # fmt: skip
        lines.append(f"{framework} and {first}: {said}; logits differ by {gap:.2g} at most")
    return lines, same


# --- the grid ---------------------------------------------------------------------------------------------------------

TILE, TEXT, COLUMNS = 84, 14, 12  # pixels of a picture's side and of a line under it; pictures in a row
FRAME = 3  # pixels round a wrong one
RIGHT, WRONG = "black", "#c0392b"


def grid(pictures: Pictures, predicted: Array, path: Path, chosen: Sequence[int]) -> None:
    """The chosen pictures as a PNG: under each what is seen in it; a wrong one framed, and what it is as well."""
    from PIL import Image, ImageDraw

    rows = -(-len(chosen) // COLUMNS)
    wide, high = TILE + 8, TILE + 2 * TEXT + FRAME + 9
    sheet = Image.new("RGB", (wide * min(COLUMNS, len(chosen)), high * rows), "white")
    pen = ImageDraw.Draw(sheet)
    for place, number in enumerate(chosen):
        left, top = wide * (place % COLUMNS) + 4, high * (place // COLUMNS) + 4
        pixels = pictures.images[number].transpose(1, 2, 0)
        drawn = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
        sheet.paste(drawn.resize((TILE, TILE), Image.Resampling.NEAREST), (left, top))
        label = None if pictures.labels is None else int(pictures.labels[number])
        wrong = label is not None and label != predicted[number]
        colour = WRONG if wrong else RIGHT
        below = top + TILE + FRAME + 1
        pen.text((left, below), _class(pictures, int(predicted[number])), fill=colour)
        if wrong and label is not None:
            edges = (left - FRAME, top - FRAME, left + TILE + FRAME - 1, top + TILE + FRAME - 1)
            pen.rectangle(edges, outline=WRONG, width=FRAME)
            pen.text((left, below + TEXT), f"is {_class(pictures, label)}", fill=colour)
        elif label is None:
            pen.text((left, below + TEXT), pictures.names[number][:14], fill="gray")
    sheet.save(path)


def _draw(
    pictures: Pictures, predicted: Array, path: Path, count: int, wrong_only: bool, progress: ProgressDisplay
) -> None:
    """The grid, or a line that says what it takes."""
    wrong = np.ones(len(predicted), bool) if pictures.labels is None else predicted != pictures.labels
    chosen = (np.flatnonzero(wrong) if wrong_only else np.arange(len(predicted)))[:count]
    if not len(chosen):
        return progress.message("no picture is wrong: no grid")
    try:
        grid(pictures, predicted, path, chosen.tolist())
    except ImportError:
        progress.message(f"{path.name}: {NEEDS_PILLOW}")


# --- all frameworks ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """The logits of each framework, N x classes by label, and why the others have none."""

    logits: dict[str, Array]
    unavailable: dict[str, str]
    failed: dict[str, str]


def ask(
    made: Checkpoint, pictures: Pictures, frameworks: str, pythons: Mapping[str, str], progress: ProgressDisplay,
    *, threads: int, device: Device, timeout: float,
) -> Answers:  # fmt: skip
    """Predict in each framework of `--fw`. Raises BadInput."""
    answers = Answers({}, {}, {})
    for requested in parse_frameworks(frameworks):
        progress.preparation(f"{requested.label}: predicting")
        try:
            place = environment(requested, pythons, device=device, progress=progress.message)
            answers.logits[requested.label] = logits(
                made, pictures, place, requested, threads=threads, device=device, timeout=timeout
            )
        except Unavailable as error:
            answers.unavailable[requested.label] = str(error)
        except WorkerFailed as error:
            answers.failed[requested.label] = str(error)
    return answers


def choose(
    made: Checkpoint, weights: Path, name: str | None, folder: Path | None, *, test_size: int | None, invert: bool,
    progress: ProgressDisplay,
) -> Pictures:  # fmt: skip
    """The images of `--images`, or the test images of `--dataset` or of the training data set. Raises BadInput."""
    if folder:
        return of_folder(folder, made, invert)
    trained_on = made.about.get("dataset")
    if name is None and trained_on not in DATASETS:
        raise BadInput(f"--weights {weights}: trained on no data set of onespec; give --dataset or --images")
    return of_dataset(name or str(trained_on), test_size, made, progress)


def write(
    pictures: Pictures, answers: Mapping[str, Array], out: Path, *, grid_size: int, wrong_only: bool,
    progress: ProgressDisplay,
) -> None:  # fmt: skip
    """Write predictions.csv, confusion.csv (of the first framework, with labels) and grid.png."""
    answer = next(iter(answers.values()))
    predictions(pictures, dict(answers)).to_csv(out / "predictions.csv", index=False)
    if pictures.labels is not None:
        names = [_class(pictures, number) for number in range(answer.shape[1])]
        counts = confusion(pictures.labels, answer.argmax(1), answer.shape[1])
        pd.DataFrame(counts, names, names).to_csv(out / "confusion.csv", index_label="class")
    _draw(pictures, answer.argmax(1), out / "grid.png", grid_size, wrong_only, progress)


def accuracies(pictures: Pictures, answers: Mapping[str, Array]) -> list[dict[str, Any]]:
    """A row for each framework: images, accuracy (None without labels), and agreement with the first framework."""
    first = next(iter(answers.values()))
    return [
        {
            "framework": framework,
            "images": len(answer),
            "accuracy": None if pictures.labels is None else float((answer.argmax(1) == pictures.labels).mean()),
            "different_labels": int((answer.argmax(1) != first.argmax(1)).sum()),
            "largest_logit_difference": float(np.abs(answer - first).max()),
        }
        for framework, answer in answers.items()
    ]
