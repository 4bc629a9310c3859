"""Data sets as two memory-mapped arrays per split, the same bytes for every framework.

`benchmarks.datasets.sources` finds or fetches the published files. This module decodes them once into ``.npy`` files in
the user's cache, in a folder named after the checksums of the originals, and verifies the files' own checksums at each
use.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from benchmarks.datasets.sources import DATASETS, Note, Published, SourceFiles, fetch, find, remedy
from benchmarks.runtime.environments import cache_folder
from benchmarks.runtime.errors import BadInput, DataError

__all__ = ["DATASETS", "DataError", "Dataset", "Split", "dataset"]

Arrays = dict[str, np.ndarray]  # by part, see PARTS
PARTS = ("train_images", "train_labels", "test_images", "test_labels")
MINI = Path(__file__).with_name(DATASETS["fashion-mnist-mini"].archive)
LAYOUT = "uint8 N,C,H,W; int64 N"  # part of the cache key: another layout gets another folder


@dataclass(frozen=True)
class Split:
    """Two ``.npy`` files to map with ``np.load(path, mmap_mode="r")``: images uint8 N,C,H,W and labels int64 N."""

    images: Path
    labels: Path
    count: int  # N


@dataclass(frozen=True)
class Dataset:
    """A verified data set that every worker can map; none of it is in memory."""

    name: str
    input: tuple[int, int, int]  # C, H, W
    classes: int
    class_names: tuple[str, ...]
    train: Split
    test: Split
    sha256: dict[str, str]  # of the unpacked content of each published file
    published: bool  # False: a copy whose bytes differ from the published ones
    source: str  # location of the originals, for messages


def dataset(name: str, progress: Note = print, offline: bool = False) -> Dataset:
    """Find, verify and convert a data set; fetch it if it is missing, unless `offline`.

    progress: called with lines to show. Raises BadInput for a name that is not in DATASETS, and DataError if the data
    are missing, damaged or not the published ones, or if the cache cannot be written.
    """
    about = _published(name)
    files = find(name)
    folder = _folder(name, files.sha256 if files else about.sha256)
    if not (cached := _cached(folder)):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f"{name}.lock"):
                if not (cached := _cached(folder)):  # another run may have converted it meanwhile
                    scratch = folder.parent / f"{name}.partial"
                    files = files or _fetch(name, scratch, progress, offline)
                    folder = _folder(name, files.sha256)
                    cached = _store(files, decode(name, files), folder, scratch)
        except OSError as error:
            raise DataError(
                f"{folder.parent}: {name} cannot be written there ({error.strerror or error}); "
                "set ONESPEC_CACHE to a folder that can be written"
            ) from error
    sha256, classes = cached["sha256"], about.class_names
    train, test = (
        Split(folder / f"{split}_images.npy", folder / f"{split}_labels.npy", count)
        for split, count in zip(("train", "test"), about.counts)
    )
    source = files.source if files else cached["source"]
    return Dataset(name, about.input, len(classes), classes, train, test, sha256, sha256 == about.sha256, source)


def location(name: str) -> str:
    """The location of a data set on this machine, for messages; empty if it is absent. Fetches and converts nothing."""
    about = _published(name)
    if files := find(name):
        return files.source
    cached = _cached(_folder(name, about.sha256))
    return f"the cache, from {cached['source']}" if cached else ""


def decode(name: str, files: SourceFiles) -> Arrays:
    """The four arrays that a data set's files hold: images uint8 N,C,H,W and labels int64 N.

    Raises DataError if the files contradict their format, their headers or the published counts.
    """
    about = DATASETS[name]
    try:
        arrays = dict(zip(PARTS, _DECODERS[about.format](files.contents)))
        for part, count in zip(PARTS, (n for n in about.counts for _ in ("images", "labels"))):
            shape = (count, *about.input) if part.endswith("images") else (count,)
            arrays[part] = _checked(arrays[part], part, shape, len(about.class_names))
    except ValueError as error:
        raise DataError(f"{name} ({files.source}): {error}; {remedy(name)}") from error
    return arrays


def _checked(array: np.ndarray, part: str, shape: tuple[int, ...], classes: int) -> np.ndarray:
    if len(array) != shape[0] or array.size != prod(shape) or array.dtype != np.uint8:
        raise ValueError(f"{part} are {array.dtype} {array.shape}, but uint8 {shape} were published")
    if len(shape) > 1:
        return array.reshape(shape)
    if array.max() >= classes:
        raise ValueError(f"{part} go up to {array.max()}, but there are {classes} classes")
    return array.astype(np.int64)


def _idx(contents: dict[str, bytes]) -> list[np.ndarray]:
    """The idx format: two zero bytes, 8 for uint8, the number of axes, each axis as a big-endian uint32, the values.

    http://yann.lecun.com/exdb/mnist/, "The IDX file format".
    """
    arrays = []
    for file, content in contents.items():
        axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
        start = 4 + 4 * axes
        if not axes or len(content) < start:
            raise ValueError(f"{file} starts with {content[:4].hex()}, not with the header of an idx file of bytes")
        shape = tuple(map(int, np.frombuffer(content, ">u4", axes, 4)))
        if len(content) != start + prod(shape):
            raise ValueError(
                f"{file} has {len(content):,} bytes, but its header {shape} requires {start + prod(shape):,}"
            )
        arrays.append(np.frombuffer(content, np.uint8, offset=start).reshape(shape))
    return arrays


def _cifar(contents: dict[str, bytes]) -> list[np.ndarray]:
    """Rows of a label, then 1,024 red, green and blue values: https://www.cs.toronto.edu/~kriz/cifar.html."""
    row = 1 + 3 * 32 * 32
    for file, content in contents.items():
        if len(content) % row or not content:
            raise ValueError(f"{file} has {len(content):,} bytes, not a multiple of {row:,}")
    *train, test = (np.frombuffer(content, np.uint8).reshape(-1, row) for content in contents.values())
    return [part for rows in (np.concatenate(train), test) for part in (rows[:, 1:], rows[:, 0])]


def _npy(contents: dict[str, bytes]) -> list[np.ndarray]:
    return [np.load(io.BytesIO(content), allow_pickle=False) for content in contents.values()]


_DECODERS = {"idx": _idx, "cifar": _cifar, "npy": _npy}


def make_mini(full: Dataset, path: Path, per_class: tuple[int, int] = (200, 50)) -> None:
    """Write the first `per_class` training and test images of each class, in the order of the files, as one .npz."""
    images, labels = zip(*(_first(split, n, full.classes) for split, n in zip((full.train, full.test), per_class)))
    np.savez_compressed(
        path, train_images=images[0], train_labels=labels[0], test_images=images[1], test_labels=labels[1]
    )


def _first(split: Split, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.load(split.labels)
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(classes)]))
    return np.load(split.images, mmap_mode="r")[chosen], labels[chosen].astype(np.uint8)


def _published(name: str) -> Published:
    if name not in DATASETS:
        raise BadInput(f"data set {name!r}: no such data set; there are {', '.join(sorted(DATASETS))}")
    return DATASETS[name]


def _folder(name: str, sha256: dict[str, str]) -> Path:
    key = hashlib.sha256(json.dumps([LAYOUT, sha256]).encode()).hexdigest()
    return cache_folder() / "data" / f"{name}-{key[:16]}"


def _cached(folder: Path) -> dict[str, Any] | None:
    """The record that `_store` wrote into `folder`; None if it is missing or a byte of the arrays has changed."""
    try:
        cached: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
        return cached if cached["arrays"] == _checksums(folder) else None
    except (OSError, ValueError):
        return None


def _fetch(name: str, folder: Path, progress: Note, offline: bool) -> SourceFiles:
    if offline:
        raise DataError(f"{name}: not on this machine; {remedy(name)}")
    folder.mkdir(parents=True, exist_ok=True)
    return fetch(name, folder, progress)


def _store(files: SourceFiles, arrays: Arrays, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write the arrays and their origin into `scratch`, then rename it: a folder in the cache is always complete."""
    converted = scratch / "arrays"
    shutil.rmtree(converted, ignore_errors=True)  # of a run that was stopped
    converted.mkdir(parents=True)
    for part, array in arrays.items():
        np.save(converted / f"{part}.npy", array)
    record = {"source": files.source, "sha256": files.sha256, "arrays": _checksums(converted)}
    (converted / "dataset.json").write_text(json.dumps(record, indent=1))
    shutil.rmtree(folder, ignore_errors=True)  # a damaged one
    converted.rename(folder)
    shutil.rmtree(scratch)
    return record


def _checksums(folder: Path) -> dict[str, str]:
    return {part: hashlib.sha256((folder / f"{part}.npy").read_bytes()).hexdigest() for part in PARTS}
