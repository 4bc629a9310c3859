"""Data sets in the user's cache: two memory-mapped arrays per split, and a record of where they come from."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.datasets.image_records import ImagesInfo
from benchmarks.runtime.environments import cache_folder

PARTS = ("train_images", "train_labels", "test_images", "test_labels")
LAYOUT = "uint8 N,C,H,W; int64 N"  # part of the cache key: another layout gets another folder
RECORD = "dataset.json"


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
    sha256: dict[str, str]  # of the content of each original file; of own images, of their listing and the arrays
    published: bool  # False: the bytes are not published ones
    source: str  # location of the originals, for messages
    images: ImagesInfo | None = None  # of images that were decoded from files of the user


def data_folder() -> Path:
    """The folder of all converted data sets."""
    return cache_folder() / "data"


def key_of(*values: Any) -> str:
    """The part of a folder's name that identifies what its arrays are computed from."""
    return hashlib.sha256(json.dumps([LAYOUT, *values]).encode()).hexdigest()[:16]


def cached(folder: Path) -> dict[str, Any] | None:
    """The record that `publish` wrote into `folder`; None if it is missing or a byte of the arrays has changed."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        return record if record["arrays"] == _checksums(folder) else None
    except (OSError, ValueError):
        return None


def splits(folder: Path, counts: tuple[int, int]) -> tuple[Split, Split]:
    """The training and the test images in a folder of the cache."""
    train, test = (
        Split(folder / f"{split}_images.npy", folder / f"{split}_labels.npy", count)
        for split, count in zip(("train", "test"), counts)
    )
    return train, test


def empty_scratch(scratch: Path) -> Path:
    """An empty folder for the four arrays."""
    converted = scratch / "arrays"
    shutil.rmtree(converted, ignore_errors=True)  # of a run that was stopped
    converted.mkdir(parents=True)
    return converted


def publish(scratch: Path, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Add a record to the four arrays in `scratch`, then rename it: a folder in the cache is always complete."""
    converted = scratch / "arrays"
    record = {**record, "arrays": _checksums(converted)}
    (converted / RECORD).write_text(json.dumps(record, indent=1))
    shutil.rmtree(folder, ignore_errors=True)  # a damaged one
    converted.rename(folder)
    shutil.rmtree(scratch)
    return record


def sha256_of(path: Path) -> str:
    """The digest of a file, which need not fit into memory."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _checksums(folder: Path) -> dict[str, str]:
    return {part: sha256_of(folder / f"{part}.npy") for part in PARTS}
