"""Images in files of image formats: class folders, archives of them, WebDataset tars, Parquet tables.

Nothing is unpacked onto the disk, and links are not followed: a name in an archive is only ever a label.
"""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.datasets.image_pool import MOST_BYTES
from benchmarks.datasets.images import SUFFIXES
from benchmarks.datasets.splits import Part, part_of_name, parts_of
from benchmarks.runtime.errors import BadInput, DataError
from benchmarks.runtime.valid_text import valid

NEEDS_PYARROW = "Parquet files need pyarrow: pip install -e '.[parquet]'"
LISTED = 5  # names in a message
Stamp = tuple[int, int]  # bytes and time of modification in nanoseconds, of a file or of its archive


@dataclass(frozen=True)
class Example:
    """An image file of a data set."""

    name: str  # unique in the data set; valid text, as the class is
    class_name: str
    part: Part | None  # None: not divided yet
    stamp: Stamp


@dataclass(frozen=True)
class ImageFiles:
    """Image files with their classes. `contents` yields the bytes of each, in the order of the examples."""

    layout: str
    examples: Sequence[Example]
    contents: Callable[[], Iterator[bytes]]
    class_names: tuple[str, ...] | None = None  # if the files declare them
    notes: list[str] = field(default_factory=list)


def read_limited(path: Path) -> bytes:
    """The bytes of a file; of a file that is too large to be an image, one more than is allowed."""
    with path.open("rb") as stream:
        return stream.read(MOST_BYTES + 1)


def listed(names: Sequence[str]) -> str:
    """The first names and the number of the others."""
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"


# --- class folders ----------------------------------------------------------------------------------------------------


def from_folder(folder: Path) -> ImageFiles:
    """The images in a folder of class folders, or of `train` and `test` folders with class folders."""
    files = {valid(path): (path, stamp) for path, stamp in sorted(_walk(folder, folder))}
    placed, notes = arranged(list(files), str(folder))
    examples = [Example(name, class_name, part, files[name][1]) for name, class_name, part in placed]

    def contents() -> Iterator[bytes]:
        return (read_limited(folder / files[example.name][0]) for example in examples)

    return ImageFiles("folder of class folders", examples, contents, notes=notes)


def _walk(root: Path, folder: Path) -> Iterator[tuple[str, Stamp]]:
    """Every image file below a folder, by its path relative to the root. Names that start with a dot are passed over.

    A link to a file of the data set is a copy of it. DataError for any other link: it could lead to any file.
    """
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and (entry.is_dir() or not path.resolve().is_relative_to(root.resolve())):
                raise DataError(f"{path}: a link to {path.resolve()}; copy the files into {root}")
            if entry.is_dir():
                yield from _walk(root, path)
            elif entry.is_file() and path.suffix.lower() in SUFFIXES:
                status = entry.stat()
                yield path.relative_to(root).as_posix(), (status.st_size, status.st_mtime_ns)


def arranged(names: Sequence[str], where: str) -> tuple[list[tuple[str, str, Part | None]], list[str]]:
    """The class and part of each file by its path: (name, class, part), and notes for the user.

    The first folder is the class, or the part with the class below it. Folders that contain everything are passed
    over. Files of parts that are not used are left out. BadInput, which starts with `where`, for another arrangement.
    """
    if not names:
        raise BadInput(f"{where}: no image files in it ({', '.join(sorted(SUFFIXES))})")
    paths = {name: PurePosixPath(name).parts for name in names}
    while len({parts[0] for parts in paths.values()}) == 1 and min(map(len, paths.values())) > 2:
        paths = {name: parts[1:] for name, parts in paths.items()}
    if flat := [name for name, parts in paths.items() if len(parts) < 2]:
        raise BadInput(
            f"{where}: {listed(flat)} {'is' if len(flat) == 1 else 'are'} in no class folder; "
            "arrange the images as CLASS/image.jpg, or as train/CLASS/image.jpg and test/CLASS/image.jpg"
        )
    tops = {parts[0]: part_of_name(parts[0]) for parts in paths.values()}
    nested = {top for top in tops if all(len(parts) > 2 for parts in paths.values() if parts[0] == top)}
    named = {top for top in nested if tops[top]}
    if named != set(tops) and not any(tops[top] == "train" for top in named):
        return [(name, parts[0], None) for name, parts in paths.items()], []
    others = sorted(top for top, part in tops.items() if part is None or top not in nested)
    used, notes = parts_of([tops[top] for top in tops if top not in others], where)
    notes += [f"the folder {top} is not used" for top in others]
    placed = [
        (name, parts[1], used.get(tops[parts[0]] or "") if len(used) > 1 else None)
        for name, parts in paths.items()
        if parts[0] not in others and tops[parts[0]] in used
    ]
    return placed, notes


# --- archives ---------------------------------------------------------------------------------------------------------


def from_zip(path: Path) -> ImageFiles:
    """The images in a zip archive of class folders."""
    stamp = _stamp(path)
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist() if not info.is_dir() and _is_image(info.filename)}
    _check_sizes(path, {name: info.file_size for name, info in infos.items()})
    if locked := [name for name, info in infos.items() if info.flag_bits & 1]:
        raise DataError(f"{path}: {listed(locked)} need a password; pack them without one")
    placed, notes = arranged(sorted(infos), str(path))
    examples = [Example(name, class_name, part, stamp) for name, class_name, part in placed]

    def contents() -> Iterator[bytes]:
        with zipfile.ZipFile(path) as archive:
            for example in examples:
                try:
                    yield archive.read(infos[example.name])  # refuses more than the declared size
                except NotImplementedError as error:
                    raise DataError(f"{path}: {example.name}: {error}; pack it again") from None

    return ImageFiles("zip of class folders", examples, contents, notes=notes)


def from_tars(paths: Sequence[Path]) -> ImageFiles:
    """The images in a tar of class folders, or in WebDataset tars: `KEY.jpg` beside `KEY.cls`, the class."""
    members = {path: list(_members(path)) for path in paths}
    if any(member.name.endswith(".cls") for of_path in members.values() for member in of_path):
        return _web_dataset(members)
    if len(paths) > 1:
        raise BadInput(f"{paths[0].parent}: several tars without .cls members; give one of them")
    (path,) = paths
    stamp = _stamp(path)
    names = [member.name for member in members[path] if _is_image(member.name)]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two members have the name {Counter(names).most_common(1)[0][0]}")
    placed, notes = arranged(names, str(path))
    examples = [Example(name, class_name, part, stamp) for name, class_name, part in placed]
    used = {example.name for example in examples}

    def contents() -> Iterator[bytes]:
        return (content for name, content in _tar_contents(path) if name in used)

    return ImageFiles("tar of class folders", examples, contents, notes=notes)


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """The files in a tar. DataError for a link, and for a member that is too large to be an image."""
    with tarfile.open(path) as archive:
        for member in archive:
            member.name = valid(member.name)
            if member.issym() or member.islnk():
                raise DataError(f"{path}: {member.name} is a link; pack the files themselves")
            if member.isfile() and not PurePosixPath(member.name).name.startswith("."):
                _check_sizes(path, {member.name: member.size} if _is_image(member.name) else {})
                yield member


def _tar_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and bytes of each file in a tar that is an image or a class."""
    with tarfile.open(path) as archive:
        for member in archive:
            member.name = valid(member.name)
            hidden = PurePosixPath(member.name).name.startswith(".")
            if member.isfile() and not hidden and (_is_image(member.name) or member.name.endswith(".cls")):
                stream = archive.extractfile(member)
                assert stream, "a regular file has a stream"
                yield member.name, stream.read()


def _web_dataset(members: Mapping[Path, Sequence[tarfile.TarInfo]]) -> ImageFiles:
    first = next(iter(members))
    used, notes = parts_of([part_of_name(path.name) for path in members], str(first.parent))
    paths = [path for path in members if not used or part_of_name(path.name) in used]
    examples, shown = [], len(paths) > 1
    for path in paths:
        classes = {name: content for name, content in _tar_contents(path) if name.endswith(".cls")}
        images = [member.name for member in members[path] if _is_image(member.name)]
        if missing := [name for name in images if _key(name) + ".cls" not in classes]:
            raise DataError(f"{path}: no class (KEY.cls) for {listed(missing)}")
        part = used.get(part_of_name(path.name) or "") if len(used) > 1 else None
        for name in images:
            class_name = classes[_key(name) + ".cls"].decode(errors="replace").strip()
            examples.append(Example(f"{valid(path.name)}/{name}" if shown else name, class_name, part, _stamp(path)))

    def contents() -> Iterator[bytes]:
        return (content for path in paths for name, content in _tar_contents(path) if _is_image(name))

    return ImageFiles("WebDataset", examples, contents, notes=notes)


def _key(name: str) -> str:
    """A member's name without its extensions: all members of an example share it."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = [part for part in path.parts if part.startswith((".", "__MACOSX")) and part != ".."]
    return path.suffix.lower() in SUFFIXES and not hidden


def _check_sizes(path: Path, sizes: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        if size > MOST_BYTES:
            raise DataError(f"{path}: {name} has {size >> 20:,} MiB; at most {MOST_BYTES >> 20} MiB are read")


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


# --- Parquet ----------------------------------------------------------------------------------------------------------


def from_parquet(paths: Sequence[Path]) -> ImageFiles:
    """The images in Parquet tables as Hugging Face writes them: a column of image bytes, and a column `label`."""
    used, notes = parts_of([part_of_name(path.name) for path in paths], str(paths[0].parent))
    chosen = [path for path in paths if not used or part_of_name(path.name) in used]
    tables = [_Table.open(path) for path in chosen]
    names = tables[0].class_names
    examples = []
    for table in tables:
        if (table.image, table.label, table.class_names) != (tables[0].image, tables[0].label, names):
            raise DataError(f"{table.path}: other columns or classes than {tables[0].path}")
        part = used.get(part_of_name(table.path.name) or "") if len(used) > 1 else None
        for row, label in enumerate(table.labels()):
            if label is None:
                raise DataError(f"{table.path}: no label in row {row}")
            if names and not (isinstance(label, int) and 0 <= label < len(names)):
                raise DataError(f"{table.path}: label {label} in row {row}, but {len(names)} class names")
            class_name = names[label] if names else str(label)
            examples.append(Example(f"{valid(table.path.name)}[{row}]", class_name, part, _stamp(table.path)))

    def contents() -> Iterator[bytes]:
        return (content for table in tables for content in table.contents())

    return ImageFiles("Parquet", examples, contents, names or None, notes)


@dataclass(frozen=True)
class _Table:
    """A Parquet file: the column of images, the column of labels, and the class names that its metadata declares."""

    path: Path
    image: str
    label: str
    class_names: tuple[str, ...]

    @staticmethod
    def open(path: Path) -> _Table:
        arrow, parquet = _pyarrow()
        try:
            schema = parquet.ParquetFile(path).schema_arrow
        except (OSError, arrow.ArrowException) as error:
            raise DataError(f"{path}: not a Parquet file ({' '.join(str(error).split())})") from None
        images = [field.name for field in schema if _holds_bytes(arrow, field.type)]
        labels = [name for name in ("label", "labels", "fine_label", "class", "target") if name in schema.names]
        if len(images) != 1 or not labels:
            raise DataError(
                f"{path}: columns {', '.join(schema.names)}; one column of image bytes and a column `label` are needed"
            )
        declared = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = declared.get("info", {}).get("features", {}).get(labels[0], {})
        return _Table(path, images[0], labels[0], tuple(valid(str(name)) for name in feature.get("names", ())))

    def labels(self) -> list[Any]:
        return list(self._values(self.label))

    def _values(self, column: str) -> Iterator[Any]:
        """The values of a column, of which a few are in memory."""
        arrow, parquet = _pyarrow()
        try:
            for batch in parquet.ParquetFile(self.path).iter_batches(64, columns=[column]):
                yield from batch.column(0).to_pylist()
        except arrow.ArrowException as error:
            raise DataError(f"{self.path}: damaged ({' '.join(str(error).split())})") from None

    def contents(self) -> Iterator[bytes]:
        return (
            (value.get("bytes") if isinstance(value, dict) else value)
            or b""  # no bytes: an empty file, which is broken
            for value in self._values(self.image)
        )


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise BadInput(NEEDS_PYARROW) from None
    return pyarrow, pyarrow.parquet


def _holds_bytes(arrow: Any, kind: Any) -> bool:
    if arrow.types.is_struct(kind):
        return any(item.name == "bytes" and _holds_bytes(arrow, item.type) for item in kind)
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def tar_suffix(name: str) -> bool:
    """Whether a file name is that of a tar."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz"))
