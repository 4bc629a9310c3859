"""Images of the user's own: a folder, an archive or a file of pixels becomes a data set like the published ones.

Every file is examined once: its digest, size and whether it can be decoded are stored in the cache, and read again only
if the file's size or time of modification changes. The arrays are identified by the digests and the options.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from filelock import FileLock

from benchmarks.datasets import dataset_cache, images, pixel_layouts
from benchmarks.datasets.dataset_cache import Dataset
from benchmarks.datasets.image_layouts import (
    Example,
    ImageFiles,
    Stamp,
    from_folder,
    from_parquet,
    from_tars,
    from_zip,
    listed,
    tar_suffix,
)
from benchmarks.datasets.image_options import ImageOptions
from benchmarks.datasets.image_pool import Broken, ImagePool
from benchmarks.datasets.image_records import ImagesInfo, Survey
from benchmarks.datasets.pixel_layouts import PixelFiles
from benchmarks.datasets.sources import UNREADABLE, Note
from benchmarks.datasets.splits import Part, divided, stored_order
from benchmarks.runtime.errors import BadInput, DataError

NEEDS_PILLOW = "image files need Pillow: pip install -e '.[images]'"
RECENT = 2_000_000_000  # nanoseconds; a file that changed so recently may change again within the clock's resolution
EVERY = 5.0  # seconds between two lines of progress
NUMBERS_MOST = 16  # digits of a class name that is sorted as a number


# --- what a path holds ------------------------------------------------------------------------------------------------


def open_files(path: Path) -> ImageFiles | PixelFiles:
    """The images at a path, by its content and the names in it. Raises BadInput and DataError."""
    try:
        return _of_folder(path) if path.is_dir() else _of_file(path)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def _of_file(path: Path) -> ImageFiles | PixelFiles:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return pixel_layouts.from_npz(path)
    if suffix == ".csv":
        return pixel_layouts.from_csv([path])
    if suffix == ".parquet":
        return from_parquet([path])
    if suffix == ".zip":
        return from_zip(path)
    if tar_suffix(path.name):
        return from_tars([path])
    if pixel_layouts.is_idx(path):
        raise BadInput(f"--dataset {path}: an IDX file; give the folder with the file of images and that of labels")
    raise BadInput(f"--dataset {path}: a folder, .npz, .csv, .parquet, .zip or .tar is needed")


def _of_folder(folder: Path) -> ImageFiles | PixelFiles:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    tables = [path for path in files if path.suffix.lower() == ".parquet"]
    if tables or (tables := sorted((folder / "data").glob("*.parquet"))):
        return from_parquet(tables)
    if tars := [path for path in files if tar_suffix(path.name)]:
        return from_tars(tars)
    if any(entry.is_dir() and not entry.name.startswith(".") for entry in os.scandir(folder)):
        return from_folder(folder)
    if idx := [path for path in files if pixel_layouts.is_idx(path)]:
        return pixel_layouts.from_idx(idx)
    if csvs := [path for path in files if path.suffix.lower() == ".csv"]:
        return pixel_layouts.from_csv(csvs)
    return from_folder(folder)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what reading the files or writing the cache raises into one line."""
    folder = dataset_cache.data_folder()
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise DataError(
            f"{where}: {error.strerror or error}; the images of {path} are decoded to {folder}; "
            "ONESPEC_CACHE names another folder"
        ) from error
    except UNREADABLE as error:
        raise DataError(f"{path}: damaged ({' '.join(str(error).split())})") from None


# --- the data set -----------------------------------------------------------------------------------------------------


def user_dataset(
    path: Path,
    options: ImageOptions,
    progress: Note,
    *,
    name: str,
    class_names: Mapping[str, str] | None = None,
    published: bool = False,
) -> Dataset:
    """Decode the images at a path into the cache, unless they are there.

    name: of the data set, in results. class_names: names to show instead of those of the files. progress: called with
    lines to show. Raises BadInput for options that do not fit, and DataError for files that cannot be read and for a
    cache that cannot be written.
    """
    files = open_files(path)
    folder = dataset_cache.data_folder()
    with _explained(path):
        folder.mkdir(parents=True, exist_ok=True)
        source = _examined(files, path, progress) if isinstance(files, ImageFiles) else _pixels(files)
        plan = _planned(source, path, options)
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
        place = folder / f"{safe}-{dataset_cache.key_of(source.sha256, plan.key)}"
        if not (record := dataset_cache.cached(place)):
            with FileLock(folder / f"{safe}.lock"):
                if not (record := dataset_cache.cached(place)):  # another run may have decoded it meanwhile
                    record = _decoded(source, plan, place, folder / f"{safe}.partial", name, progress)
    info = msgspec.convert(record["images"], ImagesInfo)
    _report(name, info, progress)
    if class_names:
        info = msgspec.structs.replace(info, class_names=[class_names.get(one, one) for one in info.class_names])
    return Dataset(
        name,
        info.input,
        len(info.class_names),
        tuple(info.class_names),
        *dataset_cache.splits(place, (sum(info.train_counts), sum(info.test_counts))),
        {"listing": source.sha256, **record["arrays"]},
        published,
        str(path.resolve()),
        info,
    )


def survey(path: Path, options: ImageOptions, progress: Note) -> Survey:
    """What is at a path. Files that cannot be decoded are listed, not refused. Raises BadInput and DataError."""
    files = open_files(path)
    with _explained(path):
        dataset_cache.data_folder().mkdir(parents=True, exist_ok=True)
        source = _examined(files, path, progress) if isinstance(files, ImageFiles) else _pixels(files)
        size = options.image_size or (max(source.sizes) if len(source.sizes) > 1 else None)
        plan = _planned(source, path, replace(options, image_size=size, skip_broken=True))
        contents = _pixel_digests(files) if isinstance(files, PixelFiles) else source.contents
    names = source.names
    return Survey(
        layout=source.layout,
        split=plan.split,
        class_names=list(plan.class_names),
        train_counts=plan.counts(plan.train),
        test_counts=plan.counts(plan.test),
        channels=plan.input[0],
        sizes=len(source.sizes),
        smallest=min(source.sizes),
        largest=max(source.sizes),
        sha256=source.sha256,
        broken={names[index]: reason for index, reason in source.broken.items()},
        duplicates=sorted(names[index] for index in _duplicates(contents, plan)),
        ambiguous=sorted(names[index] for index in _ambiguous(contents, plan)),
        notes=source.notes,
    )


def _report(name: str, info: ImagesInfo, progress: Note) -> None:
    """Lines about what the user may not expect."""
    for note in info.notes:
        progress(f"{name}: {note}")
    if info.broken:
        progress(f"{name}: {len(info.broken):,} files that cannot be decoded are left out: {listed(list(info.broken))}")
    if info.duplicates:
        progress(f"{name}: {info.duplicates:,} test images are also training images")
    if info.ambiguous:
        progress(f"{name}: {info.ambiguous:,} images occur in more than one class")


@dataclass(frozen=True)
class _Source:
    """Images of one origin: everything that is known about them before their pixels are decoded."""

    files: ImageFiles | PixelFiles
    layout: str
    sha256: str  # of the listing: the name, class, part and content of every image, or the files of pixels
    class_of: Sequence[str]  # by image
    part_of: Sequence[Part | None]
    contents: Sequence[str]  # digest by image; of arrays of pixels, the position
    sizes: Counter[tuple[int, int]]  # number of images by height and width
    gray: bool
    broken: dict[int, str]  # by image
    names: Sequence[str]  # by image
    declared: tuple[str, ...] | None
    notes: list[str]


@dataclass(frozen=True)
class _Plan:
    """Where each image goes."""

    options: ImageOptions
    key: list[Any]  # what the arrays depend on, beside the files
    input: tuple[int, int, int]
    class_names: tuple[str, ...]
    labels: np.ndarray  # by image, int64
    train: np.ndarray  # images in the order in which they are stored
    test: np.ndarray
    split: str

    def counts(self, part: np.ndarray) -> list[int]:
        """Images of a part by class."""
        counts: list[int] = np.bincount(self.labels[part], minlength=len(self.class_names)).tolist()
        return counts


def _planned(source: _Source, path: Path, options: ImageOptions) -> _Plan:
    """Raises BadInput for options that do not fit the images, DataError for broken files and missing images."""
    if source.broken and not options.skip_broken:
        reasons = [f"{source.names[index]} ({reason})" for index, reason in sorted(source.broken.items())]
        raise DataError(
            f"{path}: {len(reasons):,} of {len(source.names):,} files cannot be decoded: {listed(reasons)}; "
            "repair or remove them, or leave them out with --skip-broken"
        )
    good = np.array([index not in source.broken for index in range(len(source.names))])
    used = sorted({source.class_of[index] for index in np.flatnonzero(good).tolist()}, key=_natural)
    class_names = source.declared or tuple(used)
    if empty := sorted(set(source.class_of) - set(used)):
        raise DataError(f"{path}: no image of {listed(empty)} can be decoded")
    if len(class_names) < 2:
        raise BadInput(f"--dataset {path}: {len(class_names)} class ({', '.join(class_names)}); at least 2 are needed")
    if options.image_size is None and len(source.sizes) > 1:
        low, high = min(source.sizes), max(source.sizes)
        raise BadInput(
            f"--dataset {path}: images of {len(source.sizes):,} sizes, from {low[0]} x {low[1]} to {high[0]} x "
            f"{high[1]}; give them one size, such as --image-size 64"
        )
    size = options.image_size or next(iter(source.sizes))
    channels = options.channels or (1 if source.gray else 3)
    number = {name: place for place, name in enumerate(class_names)}
    labels = np.array([number[name] for name in source.class_of], np.int64)
    seed = options.split_seed
    if None in source.part_of:
        chosen = np.zeros(len(labels), bool)
        at = np.flatnonzero(good)
        contents = [source.contents[index] for index in at.tolist()]
        chosen[at] = divided(labels[at], contents, options.test_fraction, seed)
        split = f"{options.test_fraction:g} of each class for testing, seed {seed}"
    else:
        chosen = np.array([part == "test" for part in source.part_of])
        split = "as in the files"
    train, test = np.flatnonzero(good & ~chosen), np.flatnonzero(good & chosen)
    if not len(train) or not len(test):
        raise BadInput(f"--dataset {path}: {len(train):,} training and {len(test):,} test images")
    if missing := sorted(
        {class_names[label] for label in labels[test]} - {class_names[label] for label in labels[train]}
    ):
        raise BadInput(f"--dataset {path}: no training images of the class {listed(missing)}")
    return _Plan(
        options,
        [channels, *size, options.record, list(class_names)],
        (channels, *size),
        class_names,
        labels,
        train[stored_order(len(train), seed, "train")],
        test[stored_order(len(test), seed, "test")],
        split,
    )


def _natural(name: str) -> tuple[int, int, str]:
    """The key that sorts class names: numbers by value, then texts."""
    number = name.isascii() and name.isdigit() and len(name) <= NUMBERS_MOST
    return (0, int(name), name) if number else (1, 0, name)


# --- what is known before decoding ------------------------------------------------------------------------------------


class _Examined(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when it was examined."""

    stamp: Stamp
    sha256: str
    height: int = 0
    width: int = 0
    gray: bool = False
    error: str = ""


class _Index(msgspec.Struct, frozen=True):
    """What is known of the files at a path."""

    decoder: str
    files: dict[str, _Examined]


def _examined(files: ImageFiles, path: Path, progress: Note) -> _Source:
    """Digest and header of every file; those that did not change since the last time are not read again."""
    decoder = _decoder()
    index_file = dataset_cache.data_folder() / "index" / f"{dataset_cache.key_of(str(path.resolve()))}.json"
    known = _known(index_file, decoder)
    fresh = {
        example.name: known[example.name]
        for example in files.examples
        if example.name in known and known[example.name].stamp == example.stamp
    }
    if len(fresh) < len(files.examples):
        began = time.time_ns()
        fresh |= _examine(files, fresh, f"{path.name}: examined", progress)
        # Not the broken files: a decoder may have ended for lack of memory.
        stable = {name: one for name, one in fresh.items() if not one.error and one.stamp[1] < began - RECENT}
        index_file.parent.mkdir(exist_ok=True)
        temporary = index_file.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(msgspec.json.encode(_Index(decoder, stable)))
        temporary.replace(index_file)
    examples, found = files.examples, [fresh[example.name] for example in files.examples]
    listing = [[one.name, one.class_name, one.part, each.sha256] for one, each in zip(examples, found)]
    good = [each for each in found if not each.error]
    return _Source(
        files,
        files.layout,
        hashlib.sha256(msgspec.json.encode(sorted(listing, key=lambda row: str(row[0])))).hexdigest(),
        [one.class_name for one in examples],
        [one.part for one in examples],
        [each.sha256 for each in found],
        Counter((each.height, each.width) for each in good),
        all(each.gray for each in good),
        {place: each.error for place, each in enumerate(found) if each.error},
        [one.name for one in examples],
        files.class_names,
        files.notes,
    )


def _known(index_file: Path, decoder: str) -> Mapping[str, _Examined]:
    try:
        index = msgspec.json.decode(index_file.read_bytes(), type=_Index)
    except (OSError, msgspec.DecodeError):
        return {}
    return index.files if index.decoder == decoder else {}


def _examine(
    files: ImageFiles, fresh: Mapping[str, _Examined], line: str, progress: Note
) -> Iterator[tuple[str, _Examined]]:
    """Examine the files that are not fresh, in parallel."""
    stale: list[tuple[Example, str]] = []

    def contents() -> Iterator[bytes]:
        for example, content in zip(files.examples, files.contents()):
            if example.name not in fresh:
                stale.append((example, hashlib.sha256(content).hexdigest()))
                yield content

    counted = _Counted(line, len(files.examples) - len(fresh), progress)
    with ImagePool(counted.total) as pool:
        for place, header in enumerate(pool.examine(contents())):
            example, digest = stale[place]
            if isinstance(header, Broken):
                yield example.name, _Examined(example.stamp, digest, error=str(header))
            else:
                yield example.name, _Examined(example.stamp, digest, header.height, header.width, header.gray)
            counted.add()


def _pixels(files: PixelFiles) -> _Source:
    """Arrays of pixels, of which nothing can be broken."""
    shapes = {part.shape for part in files.parts}
    if len({shape[0] for shape in shapes}) > 1:
        raise DataError(f"training and test images have {' and '.join(str(shape[0]) for shape in shapes)} channels")
    class_of = [name for part in files.parts for name in pixel_layouts.as_text(part.labels.tolist())]
    sizes: Counter[tuple[int, int]] = Counter()
    for part in files.parts:
        sizes[part.shape[1:]] += len(part.labels)
    positions = [str(place) for place in range(len(class_of))]
    return _Source(
        files,
        files.layout,
        hashlib.sha256(msgspec.json.encode(sorted(files.sha256.items()))).hexdigest(),
        class_of,
        [part.part for part in files.parts for _ in part.labels],
        positions,
        sizes,
        next(iter(shapes))[0] == 1,
        {},
        positions,
        None,
        files.notes,
    )


# --- decoding ---------------------------------------------------------------------------------------------------------


def _decoded(source: _Source, plan: _Plan, place: Path, scratch: Path, name: str, progress: Note) -> dict[str, Any]:
    """Decode the images into arrays and publish them in the cache: the record."""
    converted = dataset_cache.empty_scratch(scratch)
    chosen = {"train": plan.train, "test": plan.test}
    rows = {part: np.full(len(plan.labels), -1) for part in chosen}
    mapped = {}
    _check_space(converted, sum(map(len, chosen.values())) * int(np.prod(plan.input)), name)
    for part, order in chosen.items():
        rows[part][order] = np.arange(len(order))
        np.save(converted / f"{part}_labels.npy", plan.labels[order])
        mapped[part] = _reserved(converted / f"{part}_images.npy", (len(order), *plan.input))
    statistics = _Statistics(plan.input[0])
    digests: list[str] = [""] * len(plan.labels)
    counted = _Counted(f"{name}: decoded", len(plan.train) + len(plan.test), progress)
    for at, chunk in _chunks(source, plan):
        for part, array in mapped.items():
            to = rows[part][at]
            array[to[to >= 0]] = chunk[to >= 0]
        statistics.add(chunk[rows["train"][at] >= 0])
        if isinstance(source.files, PixelFiles):
            for index, image in zip(at, chunk):
                digests[index] = _digest(image)
        counted.add(len(chunk))
    for array in mapped.values():
        array.flush()
    contents = digests if isinstance(source.files, PixelFiles) else source.contents
    mean, std = statistics.result
    info = ImagesInfo(
        layout=source.layout,
        options=plan.options,
        split=plan.split,
        input=plan.input,
        class_names=list(plan.class_names),
        train_counts=plan.counts(plan.train),
        test_counts=plan.counts(plan.test),
        mean=mean,
        std=std,
        broken={source.names[index]: reason for index, reason in source.broken.items()},
        duplicates=len(_duplicates(contents, plan)),
        ambiguous=len(_ambiguous(contents, plan)),
        decoder=_decoder() if isinstance(source.files, ImageFiles) or plan.options.image_size else "NumPy",
        notes=source.notes,
    )
    return dataset_cache.publish(scratch, place, {"images": msgspec.to_builtins(info)})


def _chunks(source: _Source, plan: _Plan) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The numbers of some images, and their pixels: uint8, n x C x H x W, until every image that is used was there."""
    if isinstance(source.files, PixelFiles):
        yield from _chunks_of_pixels(source.files, plan)
        return
    files = source.files
    used = [index for index in range(len(source.names)) if index not in source.broken]

    def contents() -> Iterator[bytes]:
        for index, content in enumerate(files.contents()):
            if index not in source.broken:
                if hashlib.sha256(content).hexdigest() != source.contents[index]:
                    raise DataError(f"{source.names[index]}: changed while it was read; start again")
                yield content

    with ImagePool(len(used)) as pool:
        for index, pixels in zip(used, pool.decode(contents(), plan.input[0], plan.options)):
            if isinstance(pixels, Broken):
                raise DataError(f"{source.names[index]}: {pixels}, although it was decoded before; start again")
            yield np.array([index]), pixels[None]


def _chunks_of_pixels(files: PixelFiles, plan: _Plan) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    start, channels, size = 0, plan.input[0], plan.input[1:]
    for part in files.parts:
        for chunk in part.chunks():
            if len(chunk[0]) != channels:
                chunk = _with_channels(chunk, channels)
            if chunk.shape[2:] != size:
                _decoder()  # refuses a missing Pillow
                chunk = images.resized(chunk, size, plan.options.image_fit)
            yield np.arange(start, start + len(chunk)), chunk
            start += len(chunk)


def _with_channels(chunk: np.ndarray, channels: int) -> np.ndarray:
    """Gray images as RGB, or RGB as gray by Rec. 601 in the integers of Pillow."""
    if channels == 3:
        return np.repeat(chunk, 3, axis=1)
    red, green, blue = (chunk[:, number].astype(np.uint32) for number in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[:, None]


class _Statistics:
    """Mean and standard deviation by channel, from exact counts: the order of the images does not matter."""

    def __init__(self, channels: int) -> None:
        self.histograms = np.zeros((channels, 256), np.int64)

    def add(self, chunk: np.ndarray) -> None:
        for channel, histogram in enumerate(self.histograms):
            histogram += np.bincount(chunk[:, channel].ravel(), minlength=256)

    @property
    def result(self) -> tuple[list[float], list[float]]:
        """Both for pixels from 0 to 1, to four digits; the deviation of a constant channel is 1."""
        values = np.arange(256) / 255
        means = [float(np.average(values, weights=histogram)) for histogram in self.histograms]
        variances = [
            np.average((values - mean) ** 2, weights=histogram) for mean, histogram in zip(means, self.histograms)
        ]
        return [round(mean, 4) for mean in means], [round(float(one) ** 0.5, 4) or 1.0 for one in variances]


class _Counted:
    """Reports every few seconds how many images are done."""

    def __init__(self, line: str, total: int, progress: Note) -> None:
        self.line, self.total, self.progress = line, total, progress
        self.done, self.shown = 0, time.monotonic()

    def add(self, count: int = 1) -> None:
        self.done += count
        if self.done == self.total or time.monotonic() - self.shown > EVERY:
            self.progress(f"{self.line} {self.done:,} of {self.total:,} images")
            self.shown = time.monotonic()


def _pixel_digests(files: PixelFiles) -> list[str]:
    """The digest of each image."""
    return [_digest(image) for part in files.parts for chunk in part.chunks() for image in chunk]


def _digest(image: np.ndarray) -> str:
    return hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()


def _duplicates(contents: Sequence[str], plan: _Plan) -> list[int]:
    """The test images that are also training images."""
    trained = {contents[index] for index in plan.train.tolist()}
    return [index for index in plan.test.tolist() if contents[index] in trained]


def _ambiguous(contents: Sequence[str], plan: _Plan) -> list[int]:
    """The images that are in more than one class."""
    labels: dict[str, set[int]] = defaultdict(set)
    used = [*plan.train.tolist(), *plan.test.tolist()]
    for index in used:
        labels[contents[index]].add(int(plan.labels[index]))
    return [index for index in used if len(labels[contents[index]]) > 1]


def _check_space(folder: Path, needed: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{name}: {needed / 2**30:.1f} GiB of decoded images, and {folder} has {free / 2**30:.1f} GiB free; choose "
            "a smaller --image-size, or set ONESPEC_CACHE to another folder"
        )


def _reserved(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A mapped array whose place on the disk is reserved: a full disk is an error here, not a signal later."""
    array: np.memmap = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _decoder() -> str:
    """The library that decodes, with its version. BadInput if it is missing."""
    try:
        import PIL
    except ImportError:
        raise BadInput(NEEDS_PILLOW) from None
    return f"Pillow {PIL.__version__}"
