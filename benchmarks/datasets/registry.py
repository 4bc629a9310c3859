"""Data sets as two memory-mapped arrays per split, the same bytes for every framework.

A data set is a published one, by its name, or a path to images of the user's own. `benchmarks.datasets.sources` finds
or fetches the published files. This module decodes them once into ``.npy`` files in the user's cache, in a folder named
after the checksums of the originals, and verifies the files' own checksums at each use. `user_images` does the same for
images of the user's own.
"""

from __future__ import annotations

import difflib
from math import prod
from pathlib import Path

import numpy as np
from filelock import FileLock

from benchmarks.datasets import dataset_cache
from benchmarks.datasets.dataset_cache import PARTS, Dataset, Split
from benchmarks.datasets.image_options import ImageOptions
from benchmarks.datasets.published_formats import FORMATS
from benchmarks.datasets.sources import (
    DATASETS,
    Note,
    Published,
    SourceFiles,
    fetch,
    find,
    find_archive,
    is_published,
    remedy,
)
from benchmarks.datasets.user_images import survey, user_dataset
from benchmarks.runtime.errors import BadInput, DataError

__all__ = [
    "DATASETS",
    "PARTS",
    "DataError",
    "Dataset",
    "ImageOptions",
    "Split",
    "check_name",
    "check_published",
    "dataset",
    "described",
    "survey",
]

Arrays = dict[str, np.ndarray]  # by part, see PARTS
MINI = Path(__file__).with_name(DATASETS["fashion-mnist-mini"].archive)
LONGEST = 64  # characters of the name of a data set of the user's own
DEFAULT = ImageOptions()


def check_name(text: str, option: str = "--dataset") -> None:
    """Raise BadInput, which starts with `option`, unless the text is a published data set or an existing path."""
    if text in DATASETS or (text.strip() and _exists(text)):
        return
    near = difflib.get_close_matches(text, DATASETS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise BadInput(
        f"{option} {text[:200]}: no such data set, folder or file{hint}; data sets are {', '.join(sorted(DATASETS))}"
    )


def check_published(name: str) -> None:
    """Raise BadInput unless the name is that of a published data set."""
    if name not in DATASETS:
        raise BadInput(f"data set {name!r}: no such data set; there are {', '.join(sorted(DATASETS))}")


def dataset(text: str, progress: Note = print, offline: bool = False, images: ImageOptions = DEFAULT) -> Dataset:
    """Find, verify and convert a data set; fetch a published one if it is missing, unless `offline`.

    text: a key of DATASETS, or a path. progress: called with lines to show. images: how image files are read. Raises
    BadInput for another text and for options that do not fit, and DataError if the data are missing, damaged or not the
    published ones, or if the cache cannot be written.
    """
    check_name(text, "data set")
    about = DATASETS.get(text)
    if about is None:
        return user_dataset(Path(text), images, progress, name=own_name(text))
    if about.format == "images":
        return _of_image_files(text, about, progress, offline, images)
    if images != DEFAULT:
        raise BadInput(
            f"--dataset {text}: its images have one size and a split; leave out --image-size, --image-fit, --channels, "
            "--test-fraction, --split-seed and --skip-broken"
        )
    return _of_arrays(text, about, progress, offline)


def described(text: str, progress: Note = print, images: ImageOptions = DEFAULT) -> Dataset:
    """As `dataset`, but published arrays are neither looked for nor fetched: a plan needs only their sizes.

    The splits of such a data set name no files. Image files are read, because their sizes are not known otherwise.
    """
    about = DATASETS.get(text)
    if about is None or about.format == "images" or images != DEFAULT:
        return dataset(text, progress, images=images)
    train, test = (Split(Path(), Path(), count) for count in about.counts)
    classes = about.class_names
    return Dataset(text, about.input, len(classes), classes, train, test, about.identity, True, "not looked for")


def own_name(path: str) -> str:
    """The name of a data set of the user's own in results: the last part of its path, never a published name."""
    last = Path(path).resolve()
    name = last.name if last.is_dir() else last.name.split(".")[0]
    name = "".join(c if c.isprintable() else "_" for c in name)[:LONGEST] or "images"
    return f"own-{name}" if name in DATASETS else name


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or a null character
        return False


def _of_arrays(name: str, about: Published, progress: Note, offline: bool) -> Dataset:
    files = find(name)
    folder = _folder(name, files)
    if not (record := dataset_cache.cached(folder)):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f"{name}.lock"):
                if not (record := dataset_cache.cached(folder)):  # another run may have converted it meanwhile
                    scratch = folder.parent / f"{name}.partial"
                    files = files or _fetch(name, scratch, progress, offline)
                    folder = _folder(name, files)
                    converted = dataset_cache.empty_scratch(scratch)
                    for part, array in decode(name, files).items():
                        np.save(converted / f"{part}.npy", array)
                    record = {"source": files.source, "sha256": files.sha256}
                    record = dataset_cache.publish(scratch, folder, record)
        except OSError as error:
            raise DataError(
                f"{folder.parent}: {name} cannot be written there ({error.strerror or error}); "
                "set ONESPEC_CACHE to a folder that can be written"
            ) from error
    sha256, classes = record["sha256"], about.class_names
    train, test = dataset_cache.splits(folder, about.counts)
    source = files.source if files else record["source"]
    published = is_published(name, sha256)
    return Dataset(name, about.input, len(classes), classes, train, test, sha256, published, source)


def _of_image_files(name: str, about: Published, progress: Note, offline: bool, images: ImageOptions) -> Dataset:
    """A published archive of image files, read as one of the user's own, by default at its own size."""
    if images.image_size is None:
        images = ImageOptions(**{**images.record, "image_size": about.input[1:], "channels": images.channels or 3})
    archive = find_archive(name)
    if archive is None:
        folder = dataset_cache.data_folder() / "archives" / name
        try:
            _fetch(name, folder, progress, offline)
        except OSError as error:
            raise DataError(f"{folder}: {name} cannot be written there ({error.strerror or error})") from error
        archive = folder / about.archive
    shown = dict(zip(about.class_folders, about.class_names))
    return user_dataset(archive, images, progress, name=name, class_names=shown, published=True)


def location(name: str) -> str:
    """The location of a data set on this machine, for messages; empty if it is absent. Fetches and converts nothing."""
    about = DATASETS[name]
    if about.format == "images":
        return str(find_archive(name) or "")
    if files := find(name):
        return files.source
    cached = dataset_cache.cached(_folder(name, None))
    return f"the cache, from {cached['source']}" if cached else ""


def decode(name: str, files: SourceFiles) -> Arrays:
    """The four arrays that a data set's files hold: images uint8 N,C,H,W and labels int64 N.

    Raises DataError if the files contradict their format, their headers or the published counts.
    """
    about = DATASETS[name]
    try:
        arrays = dict(zip(PARTS, FORMATS[about.format](files.contents)))
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


def _folder(name: str, files: SourceFiles | None) -> Path:
    """The folder of the arrays in the cache; without files, that of the published ones."""
    identity = files.sha256 if files and not is_published(name, files.sha256) else DATASETS[name].identity
    return dataset_cache.data_folder() / f"{name}-{dataset_cache.key_of(identity)}"


def _fetch(name: str, folder: Path, progress: Note, offline: bool) -> SourceFiles:
    if offline:
        raise DataError(f"{name}: not on this machine; {remedy(name)}")
    folder.mkdir(parents=True, exist_ok=True)
    return fetch(name, folder, progress)
