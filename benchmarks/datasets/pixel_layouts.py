"""Images stored as arrays of pixels: `.npz` archives, IDX files and CSV tables. They are read in parts."""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isqrt, prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.datasets.dataset_cache import sha256_of
from benchmarks.datasets.splits import Part, part_of_name, parts_of
from benchmarks.runtime.errors import BadInput, DataError
from benchmarks.runtime.valid_text import valid

CHUNK = 8 << 20  # bytes of pixels in memory at a time
MAGIC = b"\0\0"  # of IDX files
IDX_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)
LABEL_NAMES = ("label", "labels", "class", "target", "y")

# Names of the arrays in an `.npz`: images and labels, for training, testing and validation, or not divided.
NPZ_NAMES: tuple[tuple[str | None, str, str], ...] = (
    ("train", "x_train", "y_train"), ("test", "x_test", "y_test"), ("validation", "x_val", "y_val"),
    ("train", "train_images", "train_labels"), ("test", "test_images", "test_labels"),
    ("validation", "val_images", "val_labels"),
    (None, "x", "y"), (None, "X", "y"), (None, "images", "labels"),
)  # fmt: skip


@dataclass(frozen=True)
class PixelPart:
    """Images of one part, in the order of the file: `chunks` yields them as uint8, n x C x H x W."""

    part: Part | None  # None: not divided yet
    shape: tuple[int, int, int]  # of an image: C, H, W
    labels: np.ndarray  # N, as in the file
    chunks: Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class PixelFiles:
    """Arrays of pixels with their labels."""

    layout: str
    parts: Sequence[PixelPart]
    sha256: dict[str, str]  # of each file
    notes: list[str] = field(default_factory=list)


def channels_first(shape: Sequence[int], what: str) -> tuple[tuple[int, int, int], bool]:
    """C, H, W of images N x H x W, N x H x W x C or N x C x H x W; and whether the channels are last.

    DataError, which starts with `what`, for other shapes and for those that can be read in two ways.
    """
    if len(shape) == 3:
        return (1, shape[1], shape[2]), False
    if len(shape) == 4:
        last, first = shape[3] in (1, 3), shape[1] in (1, 3)
        if last and not first:
            return (shape[3], shape[1], shape[2]), True
        if first and not last:
            return (shape[1], shape[2], shape[3]), False
    raise DataError(
        f"{what} has the shape {tuple(shape)}; N x H x W, N x H x W x C or N x C x H x W with 1 or 3 channels is needed"
    )


# --- .npz -------------------------------------------------------------------------------------------------------------


def from_npz(path: Path) -> PixelFiles:
    """The arrays of an `.npz`: `x_train`, `y_train`, `x_test`, `y_test` as Keras' mnist.npz, or plain `x` and `y`."""
    try:
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy") for name in archive.namelist()}
    except UNREADABLE as error:
        raise DataError(f"{path}: not an .npz file, or damaged ({error})") from None
    found = [(part, x, y) for part, x, y in NPZ_NAMES if x in present and y in present]
    used, notes = parts_of([part for part, _, _ in found], str(path))
    chosen = [(part, x, y) for part, x, y in found if not used or part in used]
    if not chosen or (not used and len(chosen) > 1):
        raise BadInput(
            f"{path}: has {', '.join(sorted(present)) or 'no arrays'}; the arrays x_train, y_train, x_test, y_test or "
            "x, y are needed"
        )
    parts = [_npz_part(path, used.get(part or "") if len(used) > 1 else None, x, y) for part, x, y in chosen]
    return PixelFiles(".npz", parts, {valid(path.name): sha256_of(path)}, notes)


def _npz_part(path: Path, part: Part | None, images: str, labels: str) -> PixelPart:
    with _member(path, labels) as (stream, shape, dtype):
        content = np.frombuffer(stream.read(prod(shape) * dtype.itemsize), dtype)
    with _member(path, images) as (_, of_images, pixels):
        pass
    if pixels != np.uint8:
        raise DataError(f"{path}: {images} is {pixels}; uint8 pixels from 0 to 255 are needed")
    if len(shape) not in (1, 2) or prod(shape[1:]) != 1 or dtype.kind not in "uiU":
        raise DataError(f"{path}: {labels} is {dtype} {shape}; one integer or text for each image is needed")
    if not of_images or of_images[0] != shape[0]:
        raise DataError(f"{path}: {images} has the shape {of_images}, and {labels} {shape}")
    size, last = channels_first(of_images, f"{path}: {images}")
    rows = max(1, CHUNK // prod(size))

    def chunks() -> Iterator[np.ndarray]:
        with _member(path, images) as (stream, _, _):
            for start in range(0, of_images[0], rows):
                count = min(rows, of_images[0] - start)
                values = np.frombuffer(stream.read(count * prod(size)), np.uint8).reshape(count, *of_images[1:])
                yield values.transpose(0, 3, 1, 2) if last else values.reshape(count, *size)

    return PixelPart(part, size, content.reshape(-1), chunks)


class _member:
    """An array of an `.npz`, open behind its header: its stream, shape and type. Nothing is unpickled."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    def __enter__(self) -> tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]:
        self.archive = zipfile.ZipFile(self.path)
        try:
            self.stream = self.archive.open(f"{self.name}.npy")
            version = np.lib.format.read_magic(self.stream)
            shape, fortran, dtype = HEADERS[version](self.stream)
            if dtype.hasobject:
                raise ValueError("holds pickled Python objects, which are never loaded")
            if fortran and len(shape) > 1:
                raise ValueError("is stored by columns; save numpy.ascontiguousarray(...) of it")
            declared = self.archive.getinfo(f"{self.name}.npy").file_size
            if self.stream.tell() + prod(shape) * dtype.itemsize != declared:
                raise ValueError(f"has a header that does not fit its {declared} bytes")
        except UNREADABLE as error:
            self.archive.close()
            raise DataError(f"{self.path}: {self.name} {' '.join(str(error).split())}") from None
        return self.stream, shape, dtype

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.archive.close()


# --- IDX --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Idx:
    """The header of an IDX file of bytes."""

    path: Path
    shape: tuple[int, ...]

    @property
    def start(self) -> int:
        return 4 + 4 * len(self.shape)

    def open(self) -> IO[bytes]:
        stream = _unpacked(self.path)
        stream.read(self.start)
        return stream


def is_idx(path: Path) -> bool:
    """Whether a file, which may be packed with gzip, starts as an IDX file does."""
    try:
        with _unpacked(path) as stream:
            head = stream.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(head) == 4 and head[:2] == MAGIC and head[2] in IDX_TYPES and 1 <= head[3] <= 4


def from_idx(paths: Sequence[Path]) -> PixelFiles:
    """IDX files of any names: one of images and one of labels, or two of each whose names say train and test."""
    headers = [_idx_header(path) for path in paths]
    used, notes = parts_of([part_of_name(path.name) for path in paths], str(paths[0].parent))
    parts = []
    for name in used or [None]:
        of_part = [header for header in headers if name is None or part_of_name(header.path.name) == name]
        images = [header for header in of_part if len(header.shape) in (3, 4)]
        labels = [header for header in of_part if len(header.shape) == 1]
        if len(images) != 1 or len(labels) != 1:
            names = ", ".join(header.path.name for header in of_part)
            raise BadInput(
                f"{paths[0].parent}: {names}: one IDX file of images and one of labels are needed, or two of each "
                "whose names contain train and test"
            )
        parts.append(_idx_part(images[0], labels[0], used[name] if name and len(used) > 1 else None))
    return PixelFiles("IDX", parts, {valid(path.name): sha256_of(path) for path in paths}, notes)


def _idx_header(path: Path) -> _Idx:
    """DataError for a file that is not of bytes, is little-endian, or has another length than its header says."""
    with _unpacked(path) as stream:
        head = stream.read(4)
        sizes = stream.read(4 * head[3])
    if head[2] != 0x08:
        raise DataError(f"{path}: an IDX file of {IDX_TYPES[head[2]]}; only files of bytes are read")
    shape, little = (tuple(map(int, np.frombuffer(sizes, order))) for order in (">u4", "<u4"))
    start, length = 4 + len(sizes), _length(path)
    if length != start + prod(shape):
        if length == start + prod(little):
            raise DataError(f"{path}: its header is little-endian; IDX is big-endian: write it again")
        excess = length - start - prod(shape)
        how = f"{excess:,} bytes too many" if excess > 0 else f"{-excess:,} bytes missing"
        raise DataError(f"{path}: {how} for its header {shape}")
    return _Idx(path, shape)


def _idx_part(images: _Idx, labels: _Idx, part: Part | None) -> PixelPart:
    if images.shape[0] != labels.shape[0]:
        raise DataError(f"{images.path}: {images.shape[0]:,} images, but {labels.shape[0]:,} labels in {labels.path}")
    size, last = channels_first(images.shape, str(images.path))
    with labels.open() as stream:
        values = np.frombuffer(stream.read(), np.uint8)
    rows = max(1, CHUNK // prod(size))

    def chunks() -> Iterator[np.ndarray]:
        with images.open() as stream:
            for start in range(0, images.shape[0], rows):
                count = min(rows, images.shape[0] - start)
                pixels = np.frombuffer(stream.read(count * prod(size)), np.uint8).reshape(count, *images.shape[1:])
                yield pixels.transpose(0, 3, 1, 2) if last else pixels.reshape(count, *size)

    return PixelPart(part, size, values, chunks)


def _unpacked(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _length(path: Path) -> int:
    """The unpacked length in bytes."""
    if path.suffix != ".gz":
        return path.stat().st_size
    length = 0
    try:
        with _unpacked(path) as stream:
            while block := stream.read(1 << 20):
                length += len(block)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked ({error})") from None
    return length


# --- CSV --------------------------------------------------------------------------------------------------------------


def from_csv(paths: Sequence[Path]) -> PixelFiles:
    """Tables with a label and a square number of gray pixels in each row, by rows: Kaggle's digit layout.

    The label is the column `label`, or the first one of a table without a header.
    """
    names = [part_of_name(path.name) if len(paths) > 1 else None for path in paths]
    used, notes = parts_of(names, str(paths[0].parent))
    if not used and len(paths) > 1:
        raise BadInput(f"{paths[0].parent}: {', '.join(path.name for path in paths)}: give one of them")
    parts = [
        _csv_part(path, used[name] if name and len(used) > 1 else None)
        for path, name in zip(paths, names)
        if not used or name in used
    ]
    return PixelFiles("CSV", parts, {valid(path.name): sha256_of(path) for path in paths}, notes)


def _csv_part(path: Path, part: Part | None) -> PixelPart:
    header, label, columns = _csv_columns(path)
    side = isqrt(columns - 1)
    if side * side != columns - 1 or not side:
        raise DataError(f"{path}: {columns - 1} columns of pixels; gray images need a square number, such as 784")
    labels = np.concatenate([frame.iloc[:, label].to_numpy() for frame in _frames(path, header, columns)])

    def chunks() -> Iterator[np.ndarray]:
        first = 1
        for frame in _frames(path, header, columns):
            values = frame.drop(columns=frame.columns[label]).to_numpy()
            if values.dtype.kind not in "ui" or values.min() < 0 or values.max() > 255:
                raise DataError(f"{path}: pixels in rows {first:,} to {first + len(values) - 1:,} are not all 0 to 255")
            first += len(values)
            yield values.astype(np.uint8).reshape(-1, 1, side, side)

    return PixelPart(part, (1, side, side), labels, chunks)


def _csv_columns(path: Path) -> tuple[bool, int, int]:
    """Whether the table has a header, the number of its label column, and the number of columns."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            row = next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file ({error})") from None
    header = not all(cell.strip().lstrip("-").isdigit() for cell in row[1:]) if len(row) > 1 else False
    if not header:
        return False, 0, len(row)
    named = [number for number, name in enumerate(row) if name.strip().lower() in LABEL_NAMES]
    if len(named) != 1:
        raise DataError(f"{path}: no column `label` among {', '.join(row[:3])}, ...; test images need labels, too")
    return True, named[0], len(row)


def _frames(path: Path, header: bool, columns: int) -> Iterator[Any]:
    """The table in parts. DataError for missing values and rows of another length."""
    import pandas as pd

    rows = max(1, CHUNK // (8 * columns))
    try:
        with pd.read_csv(
            path, header=0 if header else None, chunksize=rows, index_col=False, encoding="utf-8-sig"
        ) as reader:
            for frame in reader:
                if frame.shape[1] != columns or frame.isna().any(axis=None):
                    raise DataError(f"{path}: a row up to row {frame.index[-1] + 1:,} has another length or no value")
                yield frame
    except (ValueError, OSError) as error:  # pandas' ParserError is a ValueError
        raise DataError(f"{path}: {' '.join(str(error).split())}") from None


# --- classes ----------------------------------------------------------------------------------------------------------


def as_text(labels: Sequence[Any]) -> list[str]:
    """Labels as class names: whole numbers without a fraction, texts as valid texts."""
    return [str(int(label)) if isinstance(label, (int, np.integer)) else valid(str(label)) for label in labels]
