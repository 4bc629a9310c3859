"""Text, tables and the image grid of predictions: accuracy, confusion matrix, agreement of the frameworks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.records.atomic import write_text
from benchmarks.records.csv_cells import csv_text, neutral
from benchmarks.reporting.tables import table
from benchmarks.runtime.valid_text import valid
from benchmarks.training.prediction import NEEDS_PILLOW, ImageSet
from benchmarks.training.progress import Progress
from frameworks.arrays import Array

PRINTED_CLASSES = 20  # a larger confusion matrix is only written to confusion.csv


def confusion(labels: Array, predicted: Array, classes: int) -> Array:
    """Number of images by class (row) and predicted class (column): int64, classes x classes."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def predictions_frame(images: ImageSet, logits: Mapping[str, Array]) -> pd.DataFrame:
    """One row per image: its name, its label if known, and the predicted class and probability of each framework."""
    columns: dict[str, Any] = {"image": [valid(name) for name in images.names]}
    if images.labels is not None:
        columns["label"] = [valid(images.class_name(int(label))) for label in images.labels]
    for framework, values in logits.items():
        columns[framework] = [valid(images.class_name(int(predicted))) for predicted in values.argmax(1)]
        columns[f"{framework}_probability"] = _probability(values)
    return pd.DataFrame(columns)


def _probability(logits: Array) -> Array:
    """Softmax probability of the predicted class."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return 1 / np.exp(shifted).sum(1)


def text(images: ImageSet, logits: Array) -> str:
    """Accuracy, accuracy by class and confusion matrix; without labels, the number of images by predicted class."""
    predicted, classes = logits.argmax(1), logits.shape[1]
    names = [images.class_name(number) for number in range(classes)]
    if images.labels is None:
        counts = np.bincount(predicted, minlength=classes)
        return table(("class", "images"), [(names[i], str(counts[i])) for i in np.flatnonzero(counts)])
    matrix = confusion(images.labels, predicted, classes)
    correct, totals = matrix.diagonal(), matrix.sum(1)
    accuracy = f"accuracy {correct.sum() / totals.sum():.4f}: {correct.sum():,} of {totals.sum():,} images"
    columns = tuple(names) if classes <= PRINTED_CLASSES else ()
    rows = []
    for i in np.flatnonzero(totals):
        confused = [str(count) for count in matrix[i]] if columns else []
        rows.append((names[i], f"{correct[i] / totals[i]:.4f}", str(totals[i]), *confused))
    return "\n".join([accuracy, "", table(("class", "accuracy", "images", *columns), rows)])


def agreement(logits: Mapping[str, Array]) -> tuple[list[str], bool]:
    """A line for each framework that compares its labels with those of the first one; and whether all agree."""
    (first, expected), *others = logits.items()
    lines, all_agree = [], True
    for framework, values in others:
        differing = np.flatnonzero(values.argmax(1) != expected.argmax(1))
        difference = float(np.abs(values - expected).max())
        if len(differing):
            all_agree = False
            labels = f"different labels on {len(differing):,} of {len(values):,} images, first on image {differing[0]}"
        else:
            labels = f"the same labels on all {len(values):,} images"
        lines.append(f"{framework} and {first}: {labels}; logits differ by at most {difference:.2g}")
    return lines, all_agree


def accuracies(images: ImageSet, logits: Mapping[str, Array], verification: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each framework: images, accuracy (None without labels), agreement with the first, verification."""
    first = next(iter(logits.values()))
    return [
        {
            "framework": framework,
            "images": len(values),
            "accuracy": None if images.labels is None else float((values.argmax(1) == images.labels).mean()),
            "different_labels": int((values.argmax(1) != first.argmax(1)).sum()),
            "largest_logit_difference": float(np.abs(values - first).max()),
            "certified": verification[framework],
        }
        for framework, values in logits.items()
    ]


def write(
    images: ImageSet,
    logits: Mapping[str, Array],
    out: Path,
    *,
    grid_size: int,
    wrong_only: bool,
    progress: Progress,
) -> None:
    """Write predictions.csv, confusion.csv (of the first framework, with labels) and grid.png."""
    values = next(iter(logits.values()))
    predicted = values.argmax(1)
    write_text(out / "predictions.csv", csv_text(predictions_frame(images, logits), index=False))
    if images.labels is not None:
        names = [neutral(valid(images.class_name(number))) for number in range(values.shape[1])]
        matrix = confusion(images.labels, predicted, values.shape[1])
        write_text(out / "confusion.csv", csv_text(pd.DataFrame(matrix, names, names), index_label="class"))
    wrong = np.ones(len(predicted), bool) if images.labels is None else predicted != images.labels
    chosen = (np.flatnonzero(wrong) if wrong_only else np.arange(len(predicted)))[:grid_size]
    if not len(chosen):
        return progress.message("grid.png: not written, because every prediction is correct")
    try:
        draw_grid(images, predicted, out / "grid.png", chosen.tolist())
    except ImportError:
        progress.message(f"grid.png: {NEEDS_PILLOW}")


# --- the grid of images -----------------------------------------------------------------------------------------------

TILE, LINE, COLUMNS = 84, 14, 12  # pixels of an image and of a line of text; images per row
FRAME = 3  # pixels of the frame around a wrong prediction
CORRECT, WRONG = "black", "#c0392b"


def draw_grid(images: ImageSet, predicted: Array, path: Path, chosen: Sequence[int]) -> None:
    """Draw images with the predicted class below; a wrong prediction has a frame and the correct class.

    Raises ImportError without Pillow.
    """
    from PIL import Image, ImageDraw

    rows = -(-len(chosen) // COLUMNS)
    width, height = TILE + 8, TILE + 2 * LINE + FRAME + 9
    sheet = Image.new("RGB", (width * min(COLUMNS, len(chosen)), height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for position, number in enumerate(chosen):
        left, top = width * (position % COLUMNS) + 4, height * (position // COLUMNS) + 4
        pixels = images.images[number].transpose(1, 2, 0)
        tile = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
        sheet.paste(tile.resize((TILE, TILE), Image.Resampling.NEAREST), (left, top))
        label = None if images.labels is None else int(images.labels[number])
        wrong = label is not None and label != predicted[number]
        color = WRONG if wrong else CORRECT
        below = top + TILE + FRAME + 1
        draw.text((left, below), images.class_name(int(predicted[number])), fill=color)
        if wrong and label is not None:
            edges = (left - FRAME, top - FRAME, left + TILE + FRAME - 1, top + TILE + FRAME - 1)
            draw.rectangle(edges, outline=WRONG, width=FRAME)
            draw.text((left, below + LINE), f"is {images.class_name(label)}", fill=color)
        elif label is None:
            draw.text((left, below + LINE), images.names[number][:14], fill="gray")
    sheet.save(path)
