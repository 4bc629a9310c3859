"""Data sets as two memory-mapped arrays a split, the same bytes for every framework.

    python -m benchmarks.data                      what there is, and where it was found
    python -m benchmarks.data fetch fashion-mnist  get it now
    python -m benchmarks.data mini                 make fashion_mnist_mini.npz again from the full Fashion-MNIST

`benchmarks.datasets.sources` finds or fetches the published files. Here they are decoded once into ``.npy`` files in
the user's cache, in a folder named by the checksums of the originals. Their own checksums are verified at each use.
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

from benchmarks.datasets.sources import DATASETS, Found, Progress, Published, fetch, find, remedy
from benchmarks.runtime.environments import cache_folder
from benchmarks.runtime.errors import BadInput, DataError

__all__ = ["DATASETS", "DataError", "Dataset", "Split", "dataset"]

Arrays = dict[str, np.ndarray]  # by part
PARTS = ("train_images", "train_labels", "test_images", "test_labels")
MINI = Path(__file__).with_name(DATASETS["fashion-mnist-mini"].archive)
LAYOUT = "uint8 N,C,H,W; int64 N"  # part of the cache's key: another layout is another folder


@dataclass(frozen=True)
class Split:
    """Two ``.npy`` files to map with ``np.load(path, mmap_mode="r")``: images uint8 N,C,H,W and labels int64 N."""

    images: Path
    labels: Path
    count: int  # N


@dataclass(frozen=True)
class Dataset:
    """A verified data set, ready to be mapped by every worker; none of it is in memory."""

    name: str
    input: tuple[int, int, int]  # C, H, W
    classes: int
    class_names: tuple[str, ...]
    train: Split
    test: Split
    sha256: dict[str, str]  # of the unpacked content of each published file
    published: bool  # False: not the published bytes
    source: str  # where it was found, in words


def dataset(name: str, progress: Progress = print, offline: bool = False) -> Dataset:
    """Find, verify and convert a data set, or fetch it unless ``offline``; ``progress`` is given a line now and then.

    Raises BadInput for a name not in DATASETS, and DataError where the data are missing, broken or not the
    published ones, or the cache cannot be written.
    """
    about = _published(name)
    found = find(name)
    folder = _folder(name, found.sha256 if found else about.sha256)
    if not (kept := _kept(folder)):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f"{name}.lock"):
                if not (kept := _kept(folder)):  # another run may have made it meanwhile
                    aside = folder.parent / f"{name}.partial"
                    found = found or _fetch(name, aside, progress, offline)
                    folder = _folder(name, found.sha256)
                    kept = _keep(found, decode(name, found), folder, aside)
        except OSError as error:
            raise DataError(
                f"{folder.parent}: {name} cannot be written there ({error.strerror or error}); "
                "set ONESPEC_CACHE to a folder that can be"
            ) from error
    sha256, classes = kept["sha256"], about.class_names
    train, test = (
        Split(folder / f"{split}_images.npy", folder / f"{split}_labels.npy", count)
        for split, count in zip(("train", "test"), about.counts)
    )
    source = found.source if found else kept["source"]
    return Dataset(name, about.input, len(classes), classes, train, test, sha256, sha256 == about.sha256, source)


def location(name: str) -> str:
    """In words, where a data set is on this machine; empty where it is not. Nothing is fetched or converted."""
    about = _published(name)
    if found := find(name):
        return found.source
    kept = _kept(_folder(name, about.sha256))
    return f"the cache, from {kept['source']}" if kept else ""


def decode(name: str, found: Found) -> Arrays:
    """The four arrays that a data set's files hold: images uint8 N,C,H,W and labels int64 N.

    Raises DataError where the files do not hold what their format, their headers and the published counts say.
    """
    about = DATASETS[name]
    try:
        arrays = dict(zip(PARTS, _DECODERS[about.format](found.contents)))
        for part, count in zip(PARTS, (n for n in about.counts for _ in ("images", "labels"))):
            shape = (count, *about.input) if part.endswith("images") else (count,)
            arrays[part] = _checked(arrays[part], part, shape, len(about.class_names))
    except ValueError as error:
        raise DataError(f"{name} ({found.source}): {error}; {remedy(name)}") from error
    return arrays


def _checked(array: np.ndarray, part: str, shape: tuple[int, ...], classes: int) -> np.ndarray:
    if len(array) != shape[0] or array.size != prod(shape) or array.dtype != np.uint8:
        raise ValueError(f"{part} are {array.dtype} {array.shape}, where uint8 {shape} were published")
    if len(shape) > 1:
        return array.reshape(shape)
    if array.max() >= classes:
        raise ValueError(f"{part} go up to {array.max()}, where there are {classes} classes")
    return array.astype(np.int64)


def _idx(contents: dict[str, bytes]) -> list[np.ndarray]:
    """Two zero bytes, 8 for uint8, the number of axes, each axis as a big-endian uint32, then the values.

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
            raise ValueError(f"{file} has {len(content):,} bytes, its header {shape} says {start + prod(shape):,}")
        arrays.append(np.frombuffer(content, np.uint8, offset=start).reshape(shape))
    return arrays


def _cifar(contents: dict[str, bytes]) -> list[np.ndarray]:
    """Rows of a label and 1,024 red, green and blue values each; https://www.cs.toronto.edu/~kriz/cifar.html."""
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
    """Write the first ``per_class`` training and test pictures of each class, in the files' order, as one ``.npz``."""
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
        raise BadInput(f"dataset {name!r}: no such data set; there are {', '.join(sorted(DATASETS))}")
    return DATASETS[name]


def _folder(name: str, sha256: dict[str, str]) -> Path:
    key = hashlib.sha256(json.dumps([LAYOUT, sha256]).encode()).hexdigest()
    return cache_folder() / "data" / f"{name}-{key[:16]}"


def _kept(folder: Path) -> dict[str, Any] | None:
    """What was kept in ``folder`` (see `_keep`); None where it is not there or any byte of its arrays has changed."""
    try:
        kept: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
        return kept if kept["arrays"] == _checksums(folder) else None
    except (OSError, ValueError):
        return None


def _fetch(name: str, folder: Path, progress: Progress, offline: bool) -> Found:
    if offline:
        raise DataError(f"{name}: not on this machine; {remedy(name)}")
    folder.mkdir(parents=True, exist_ok=True)
    return fetch(name, folder, progress)


def _keep(found: Found, arrays: Arrays, folder: Path, aside: Path) -> dict[str, Any]:
    """Write the arrays and what they were made from, aside and then renamed: what is in the cache is complete."""
    made = aside / "arrays"
    shutil.rmtree(made, ignore_errors=True)  # of a run that was stopped
    made.mkdir(parents=True)
    for part, array in arrays.items():
        np.save(made / f"{part}.npy", array)
    kept = {"source": found.source, "sha256": found.sha256, "arrays": _checksums(made)}
    (made / "dataset.json").write_text(json.dumps(kept, indent=1))
    shutil.rmtree(folder, ignore_errors=True)  # a damaged one
    made.rename(folder)
    shutil.rmtree(aside)
    return kept


def _checksums(folder: Path) -> dict[str, str]:
    return {part: hashlib.sha256((folder / f"{part}.npy").read_bytes()).hexdigest() for part in PARTS}
