"""Locating, downloading, verifying and converting small data sets that the tests write and serve."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.datasets import registry
from benchmarks.datasets.image_options import ImageOptions
from benchmarks.datasets.registry import DATASETS, PARTS, BadInput, Dataset, Split, dataset, decode, make_mini
from benchmarks.datasets.sources import Published, SourceFiles, find
from benchmarks.runtime.errors import DataError
from tests.unit.image_files import encoded

ROOT = Path(registry.__file__).parents[2]
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
BINS = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
TAR = "cifar-10-binary.tar.gz"
OWN = {variable: os.environ.get(variable, "") for variable in ("ONESPEC_CACHE", "ONESPEC_DATA")}  # the user's
RANDOM = np.random.default_rng(0)
IMAGES = {count: RANDOM.integers(256, size=(count, 2, 3), dtype=np.uint8) for count in (6, 3)}
LABELS = {6: np.array([0, 1, 2, 2, 1, 0], np.uint8), 3: np.array([2, 0, 1], np.uint8)}

quiet = functools.partial(dataset, progress=lambda line: None)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def cifar(rows: int, seed: int = 1) -> bytes:
    content = np.random.default_rng(seed).integers(256, size=(rows, 3073), dtype=np.uint8)
    content[:, 0] %= 10
    return content.tobytes()


def digests(contents: dict[str, bytes], algorithm: str = "sha256") -> dict[str, str]:
    return {file: hashlib.new(algorithm, content).hexdigest() for file, content in contents.items()}


@functools.cache
def _tar(contents: tuple[tuple[str, bytes], ...]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tape:
        for file, content in contents:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{file}")
            member.size = len(content)
            tape.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def tar(contents: dict[str, bytes]) -> bytes:
    return _tar(tuple(contents.items()))  # created once: a gzip header holds the time


TINY = dict(zip(FILES, map(idx, (IMAGES[6], LABELS[6], IMAGES[3], LABELS[3]))))  # as MNIST: 6 + 3 images of 1x2x3
PACKED = {f"{file}.gz": gzip.compress(content) for file, content in TINY.items()}
BATCHES = {file: cifar(2, seed) for seed, file in enumerate(BINS)}  # as CIFAR-10: 10 + 2 images


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ONESPEC_DATA", raising=False)
    # The package of Debian may be installed on this machine.
    about = replace(DATASETS["fashion-mnist"], installed=tmp_path / "not installed")
    monkeypatch.setitem(DATASETS, "fashion-mnist", about)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Published:
    """`tiny` is published: six training and three test images, on no mirror."""
    about = Published(
        input=(1, 2, 3),
        class_names=("a", "b", "c"),
        counts=(6, 3),
        format="idx",
        sha256=digests(TINY),
        license="none",
        citation="none",
        md5=digests(PACKED, "md5"),
        mirrors=("http://tiny.invalid/",),
        folders=("Tiny/raw",),
    )
    monkeypatch.setitem(DATASETS, "tiny", about)
    return about


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> Published:
    """`cifar10` with two images per file."""
    md5 = digests({TAR: tar(BATCHES)}, "md5")
    about = replace(DATASETS["cifar10"], counts=(10, 2), sha256=digests(BATCHES), md5=md5)
    monkeypatch.setitem(DATASETS, "cifar10", about)
    return about


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    return folder


def assert_holds_tiny(data_set: Dataset) -> None:
    for split, count in (data_set.train, 6), (data_set.test, 3):
        images, labels = np.load(split.images, mmap_mode="r"), np.load(split.labels, mmap_mode="r")
        assert isinstance(images, np.memmap) and split.count == count
        assert images.dtype == np.uint8 and np.array_equal(images, IMAGES[count][:, None])
        assert labels.dtype == np.int64 and np.array_equal(labels, LABELS[count])


def assert_one_line(error: pytest.ExceptionInfo[Exception], *facts: object) -> None:
    message = str(error.value)
    assert "\n" not in message
    for fact in facts:
        assert str(fact) in message


# What is published ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATASETS)
def test_registry_is_whole(name: str) -> None:
    about = DATASETS[name]
    assert all(len(checksum) == 64 for checksum in about.sha256.values() if checksum)
    assert about.md5 or all(about.sha256.values()), "nothing verifies it"
    assert all(len(checksum) == 32 for checksum in about.md5.values())
    assert set(about.md5) in ({f"{file}.gz" for file in about.sha256}, set(about.sha256), {about.archive}, set())
    assert all(mirror.endswith("/") for mirror in about.mirrors)
    classes = {"cifar100": 100, "emnist": 47}.get(name, 10)
    assert len(set(about.class_names)) == len(about.class_names) == classes and about.license and about.citation
    assert about.mirrors or about.installed, "there is no way to get it"


def test_unknown_name() -> None:
    with pytest.raises(BadInput) as error:
        quiet("minst")
    assert_one_line(error, "data set minst", "did you mean mnist", *DATASETS)
    assert isinstance(error.value, ValueError)


# On this machine ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contents", [TINY, PACKED], ids=["unpacked", "gz"])
@pytest.mark.parametrize("below", [".", "tiny", "Tiny/raw"])
def test_data_set_in_onespec_data(
    tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, contents: dict[str, bytes]
) -> None:
    given = write(tmp_path / "given" / below, contents)
    given.chmod(0o555)
    monkeypatch.setenv("ONESPEC_DATA", str(tmp_path / "given"))
    data_set = quiet("tiny")
    assert_holds_tiny(data_set)
    assert (data_set.input, data_set.classes, data_set.class_names) == ((1, 2, 3), 3, ("a", "b", "c"))
    assert (data_set.sha256, data_set.published, data_set.source) == (tiny.sha256, True, "$ONESPEC_DATA")
    assert sorted(path.name for path in given.iterdir()) == sorted(contents), "the given folder was written to"


def test_data_set_of_an_installed_package(tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = write(tmp_path / "installed", PACKED)
    monkeypatch.setitem(DATASETS, "tiny", replace(tiny, debian="dataset-tiny", installed=installed))
    assert quiet("tiny").source == "Debian's package dataset-tiny"
    write(tmp_path / "given", TINY)
    monkeypatch.setenv("ONESPEC_DATA", str(tmp_path / "given"))
    assert quiet("tiny").source == "$ONESPEC_DATA", "$ONESPEC_DATA comes first"


def test_data_set_in_the_cache(tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", TINY)))
    first = quiet("tiny")
    monkeypatch.delenv("ONESPEC_DATA")
    assert quiet("tiny", offline=True) == first
    assert_holds_tiny(first)


def test_files_of_another_data_set_with_the_same_names_are_passed_over(
    tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "other", replace(tiny, sha256=dict.fromkeys(FILES, "0" * 64)))
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", TINY)))
    assert find("other") is None
    assert find("tiny")


@pytest.mark.parametrize(
    ("file", "content", "facts"),
    [
        (FILES[0], TINY[FILES[0]][:-7], ("expected SHA-256", digests({"": TINY[FILES[0]][:-7]})[""])),
        (f"{FILES[0]}.gz", gzip.compress(b"other"), ("expected SHA-256", digests({"": b"other"})[""], "5 bytes")),
        (f"{FILES[0]}.gz", PACKED[f"{FILES[0]}.gz"][:-9], ("cannot be unpacked", "end-of-stream")),
        (f"{FILES[0]}.gz", b"no gzip", ("cannot be unpacked",)),
        (f"{FILES[0]}.gz", b"", ("expected SHA-256",)),
    ],
    ids=["truncated", "other content", "truncated gz", "no gz", "empty gz"],
)
def test_corrupt_file_is_refused(
    tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes, facts: tuple[str, ...]
) -> None:
    given = write(tmp_path / "given", PACKED)
    (given / f"{FILES[0]}.gz").unlink()
    write(given, {file: content})
    monkeypatch.setenv("ONESPEC_DATA", str(given))
    with pytest.raises(DataError) as error:
        quiet("tiny")
    assert_one_line(error, given / file, tiny.sha256[FILES[0]], "remove it", "onespec data fetch tiny", *facts)


def test_incomplete_folder_is_refused(tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "tiny", {FILES[0]: TINY[FILES[0]]})))
    with pytest.raises(DataError) as error:
        quiet("tiny")
    assert_one_line(error, tmp_path / "tiny", *FILES)


def test_onespec_data_that_is_no_folder_is_refused(
    tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONESPEC_DATA", str(tmp_path / "typo"))
    with pytest.raises(DataError) as error:
        quiet("tiny")
    assert_one_line(error, f"ONESPEC_DATA={tmp_path / 'typo'}", "no such folder")


# The cache ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_damaged_cache_is_written_again(
    tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", TINY)))
    split = quiet("tiny").train
    damaged = split.images.with_name(f"{part}.npy")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff")
    assert_holds_tiny(quiet("tiny"))


def test_rest_of_a_stopped_conversion_is_not_used(
    tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "cache" / "data" / "tiny.partial" / "arrays", {"train_images.npy": b"half", "stray.npy": b""})
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", TINY)))
    data_set = quiet("tiny")
    assert_holds_tiny(data_set)
    assert not list(data_set.train.images.parent.glob("stray*"))
    assert not list((tmp_path / "cache" / "data").glob("*.partial"))


def test_cache_that_cannot_be_written(tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")  # a file in the place of a folder, which also stops root
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", TINY)))
    with pytest.raises(DataError) as error:
        quiet("tiny")
    assert_one_line(error, tmp_path / "file", "ONESPEC_CACHE")


# Downloaded -----------------------------------------------------------------------------------------------------------


class Mirror(http.server.SimpleHTTPRequestHandler):
    """Serves a folder. A file whose name is in `cut` is announced in full length and sent by half."""

    def __init__(self, asked: list[str], cut: tuple[str, ...], *arguments: Any, **options: Any) -> None:
        self.asked, self.cut = asked, cut
        super().__init__(*arguments, **options)  # which answers the request

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = Path(self.translate_path(self.path))
        if path.name not in self.cut:
            return super().do_GET()
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """A function that serves files at a new address and returns it, and the list of requested paths."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(contents: dict[str, bytes], cut: tuple[str, ...] = ()) -> tuple[str, list[str]]:
        folder, asked = write(tmp_path / f"mirror{len(servers)}", contents), list[str]()
        handler = functools.partial(Mirror, asked, cut, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


DEAD = "http://127.0.0.1:9/"  # the discard port: refused at once


def test_downloaded(tiny: Published, serve: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mirror, asked = serve(PACKED)
    monkeypatch.setitem(DATASETS, "tiny", replace(tiny, mirrors=(mirror,)))
    data_set = quiet("tiny")
    assert_holds_tiny(data_set)
    assert data_set.source == mirror
    assert quiet("tiny") == data_set
    assert sorted(asked) == sorted(f"/{file}" for file in PACKED), "each file is downloaded once"
    assert not list((tmp_path / "cache" / "data").glob("*.partial")), "what was downloaded is left behind"


@pytest.mark.parametrize(
    ("contents", "cut", "reason"),
    [
        (PACKED, (f"{FILES[2]}.gz",), "IncompleteRead"),
        ({**PACKED, f"{FILES[2]}.gz": b"wrong"}, (), digests({"": b"wrong"}, "md5")[""]),
        ({file: PACKED[file] for file in list(PACKED)[:2]}, (), "404"),
        (None, (), "Connection refused"),
    ],
    ids=["truncated", "wrong bytes", "not there", "dead"],
)
def test_mirror_that_fails(
    tiny: Published,
    serve: Callable,
    monkeypatch: pytest.MonkeyPatch,
    contents: dict[str, bytes] | None,
    cut: tuple[str, ...],
    reason: str,
) -> None:
    bad, _ = serve(contents, cut) if contents else (DEAD, [])
    monkeypatch.setitem(DATASETS, "tiny", replace(tiny, mirrors=(bad,)))
    with pytest.raises(DataError) as error:
        quiet("tiny")
    assert_one_line(error, "tiny", bad, reason, "$ONESPEC_DATA/tiny", *PACKED)

    good, asked = serve(PACKED)
    monkeypatch.setitem(DATASETS, "tiny", replace(tiny, mirrors=(bad, good)))
    lines: list[str] = []
    data_set = dataset("tiny", progress=lines.append)
    assert_holds_tiny(data_set)
    assert data_set.source == good
    assert [line for line in lines if bad in line] and [line for line in lines if reason in line]
    assert len(asked) == (4 if contents is None else 2), "files that the first mirror served correctly are used"


def test_offline_sends_no_request(tiny: Published, serve: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, asked = serve(PACKED)
    monkeypatch.setitem(DATASETS, "tiny", replace(tiny, mirrors=(mirror,)))
    with pytest.raises(DataError) as error:
        quiet("tiny", offline=True)
    assert_one_line(error, "tiny", mirror)
    assert not asked


def test_rest_of_a_stopped_download_is_not_trusted(
    tiny: Published, serve: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path / "cache" / "data" / "tiny.partial", {f"{FILES[0]}.gz": PACKED[f"{FILES[0]}.gz"][:-5]})
    mirror, asked = serve(PACKED)
    monkeypatch.setitem(DATASETS, "tiny", replace(tiny, mirrors=(mirror,)))
    assert_holds_tiny(quiet("tiny"))
    assert f"/{FILES[0]}.gz" in asked


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork, to pass the data set of this test to other processes")
def test_two_processes_at_once_download_once(tiny: Published, serve: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, asked = serve(PACKED)
    monkeypatch.setitem(DATASETS, "tiny", replace(tiny, mirrors=(mirror,)))
    fork = multiprocessing.get_context("fork")
    runs = [fork.Process(target=quiet, args=("tiny",)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0, 0]
    assert len(asked) == len(PACKED)
    assert_holds_tiny(quiet("tiny", offline=True))


# What is published only with the MD5 of the packed files --------------------------------------------------------------


def images_of(count: int, side: int, channels: int = 1) -> np.ndarray:
    shape = (count, side, side) if channels == 1 else (count, channels, side, side)
    return np.random.default_rng(count).integers(256, size=shape, dtype=np.uint8)


def labels_of(count: int, classes: int) -> np.ndarray:
    return (np.arange(count) % classes).astype(np.uint8)


def qmnist_labels(count: int) -> bytes:
    """Big-endian int32, count x 8: the digit, then the series, the writer and so on."""
    values = np.zeros((count, 8), ">i4")
    values[:, 0], values[:, 1:] = np.arange(count) % 10, 70_000
    return bytes([0, 0, 0x0C, 2]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def zipped(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file, content in contents.items():
            archive.writestr(f"gzip/{file}.gz", gzip.compress(content))
    return stream.getvalue()


def matlab(images: np.ndarray, labels: np.ndarray) -> bytes:
    from scipy.io import savemat

    stream = io.BytesIO()
    savemat(stream, {"X": images.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None]})
    return stream.getvalue()


def cifar100(images: np.ndarray, labels: np.ndarray) -> bytes:
    coarse = np.full(len(images), 19, np.uint8)
    return np.column_stack([coarse, labels, images.reshape(len(images), -1)]).tobytes()


def small(name: str) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """The files on a mirror of a small data set in the format of a published one, and the arrays in them."""
    about = DATASETS[name]
    channels, side, _ = about.input
    arrays = {}
    for part, count in ("train", 6), ("test", 4):
        arrays[f"{part}_images"] = images_of(count, side, channels)
        arrays[f"{part}_labels"] = labels_of(count, len(about.class_names))
    values = list(arrays.values())
    files = list(about.sha256)
    if name == "kmnist":
        return {f"{file}.gz": gzip.compress(idx(array)) for file, array in zip(files, values)}, arrays
    if name == "emnist":
        stored = [array.swapaxes(1, 2) if array.ndim == 3 else array for array in values]
        return {about.archive: zipped({file: idx(array) for file, array in zip(files, stored)})}, arrays
    if name == "qmnist":
        contents = [idx(values[0]), qmnist_labels(6), idx(values[2]), qmnist_labels(4)]
        return {f"{file}.gz": gzip.compress(content) for file, content in zip(files, contents)}, arrays
    if name == "svhn":
        return {files[0]: matlab(*values[:2]), files[1]: matlab(*values[2:])}, arrays
    assert name == "cifar100"
    return {about.archive: tar({files[0]: cifar100(*values[:2]), files[1]: cifar100(*values[2:])})}, arrays


BY_MD5 = ["kmnist", "emnist", "qmnist", "svhn", "cifar100"]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, serve: Callable) -> Callable[[str], tuple[dict, dict, list[str]]]:
    """A function that publishes a small data set under a name, and returns its files, arrays and the requests."""

    def publish(name: str) -> tuple[dict, dict, list[str]]:
        files, arrays = small(name)
        mirror, asked = serve(files)
        about = replace(DATASETS[name], counts=(6, 4), md5=digests(files, "md5"), mirrors=(mirror,))
        monkeypatch.setitem(DATASETS, name, about)
        return files, arrays, asked

    return publish


def assert_holds(data_set: Dataset, arrays: dict[str, np.ndarray]) -> None:
    for part in ("train", "test"):
        split = getattr(data_set, part)
        assert np.array_equal(np.load(split.images).squeeze(), arrays[f"{part}_images"])
        assert np.array_equal(np.load(split.labels), arrays[f"{part}_labels"])


@pytest.mark.parametrize("name", BY_MD5)
def test_downloaded_and_verified_by_the_md5_of_the_packed_files(published: Callable, name: str) -> None:
    files, arrays, asked = published(name)
    data_set = quiet(name)
    assert_holds(data_set, arrays)
    assert data_set.published and set(data_set.sha256) == set(DATASETS[name].sha256)
    assert quiet(name, offline=True) == data_set
    assert sorted(asked) == sorted(f"/{file}" for file in files)


@pytest.mark.parametrize("name", BY_MD5)
def test_packed_files_in_onespec_data(
    published: Callable, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, arrays, asked = published(name)
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given" / name, files).parent))
    assert_holds(quiet(name), arrays)
    assert not asked


@pytest.mark.parametrize("name", BY_MD5)
def test_a_packed_file_with_other_bytes_is_refused(
    published: Callable, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _, _ = published(name)
    first = next(iter(files))
    expected = DATASETS[name].md5[first]
    changed = {first: files[first][:-1] + bytes([files[first][-1] ^ 1])}
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", {**files, **changed})))
    with pytest.raises(DataError) as error:
        quiet(name)
    assert_one_line(error, tmp_path / "given" / first, f"expected MD5 {expected}", digests(changed, "md5")[first])


def test_an_unpacked_file_that_nothing_verifies_is_refused(
    published: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _, _ = published("qmnist")
    unpacked = {file.removesuffix(".gz"): gzip.decompress(content) for file, content in files.items()}
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", unpacked)))
    with pytest.raises(DataError) as error:
        quiet("qmnist")
    assert_one_line(error, next(iter(unpacked)), "no digest of it is published")


def test_files_of_kmnist_are_not_taken_for_those_of_mnist(
    published: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _, _ = published("kmnist")
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", files)))
    assert find("mnist") is None and find("fashion-mnist") is None
    assert find("kmnist")


@pytest.mark.parametrize("name", BY_MD5)
def test_files_that_contradict_their_format(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], counts=(6, 4)))
    contents = dict.fromkeys(DATASETS[name].sha256, b"\0\0\x08\x01\0\0\0\x01")
    with pytest.raises(DataError) as error:
        decode(name, SourceFiles(contents, {}, "here"))
    assert_one_line(error, name, "onespec data fetch")


# Imagenette: an archive of image files --------------------------------------------------------------------------------


@pytest.fixture
def imagenette(monkeypatch: pytest.MonkeyPatch, serve: Callable) -> tuple[dict[str, bytes], list[str]]:
    """`imagenette` with two training images and a test image of each class."""
    members = {}
    for label, folder in enumerate(DATASETS["imagenette"].class_folders):
        for part, number in ("train", 0), ("train", 1), ("val", 0):
            values = np.full((20, 30, 3), 10 * label + number, np.uint8)
            members[f"imagenette2-160/{part}/{folder}/{number}.png"] = encoded(values)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for file, content in members.items():
            member = tarfile.TarInfo(file)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    files = {"imagenette2-160.tgz": stream.getvalue()}
    mirror, asked = serve(files)
    about = replace(DATASETS["imagenette"], md5=digests(files, "md5"), mirrors=(mirror,))
    monkeypatch.setitem(DATASETS, "imagenette", about)
    return files, asked


def test_imagenette_is_downloaded_and_decoded(imagenette: tuple[dict[str, bytes], list[str]]) -> None:
    _, asked = imagenette
    data_set = quiet("imagenette")
    assert (data_set.input, data_set.classes) == ((3, 160, 160), 10)
    assert data_set.class_names == DATASETS["imagenette"].class_names and data_set.published
    for split, count in (data_set.train, 20), (data_set.test, 10):
        images, labels = np.load(split.images), np.load(split.labels)
        assert len(images) == count and set((images[:, 0, 0, 0] // 10).tolist()) == set(range(10))
        assert np.array_equal(images[:, 0, 0, 0] // 10, labels)
    assert quiet("imagenette", offline=True) == data_set
    assert quiet("imagenette", images=ImageOptions(image_size=(64, 64))).input == (3, 64, 64)
    assert asked == ["/imagenette2-160.tgz"], "the archive is downloaded once for all sizes"
    assert registry.location("imagenette").endswith("imagenette2-160.tgz")


def test_imagenette_with_other_bytes_is_refused(
    imagenette: tuple[dict[str, bytes], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", {"imagenette2-160.tgz": b"other"})))
    with pytest.raises(DataError) as error:
        quiet("imagenette")
    assert_one_line(error, "imagenette2-160.tgz", "expected MD5")


def test_imagenette_is_not_fetched_offline(imagenette: tuple[dict[str, bytes], list[str]]) -> None:
    with pytest.raises(DataError) as error:
        quiet("imagenette", offline=True)
    assert_one_line(error, "imagenette", "onespec data fetch imagenette")
    assert not imagenette[1]


def flat_repository(folder: Path, package: str, installed: Path) -> None:
    """A Debian repository with one package, and a configuration of apt for it."""
    write(folder / "tree" / installed.relative_to("/"), PACKED)
    control = f"Package: {package}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n"
    write(folder / "tree" / "DEBIAN", {"control": f"{control}Description: images\n".encode()})
    deb = folder / "tiny_1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", folder / "tree", deb], check=True, capture_output=True)
    sha256 = hashlib.sha256(deb.read_bytes()).hexdigest()
    entry = f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {sha256}\nDescription: images\n"
    (folder / "Packages").write_text(entry)
    lists = (folder, folder / "gone")  # an unreadable one stops `apt-get update`, not the download
    (folder / "sources.list").write_text("".join(f"deb [trusted=yes] file:{each} ./\n" for each in lists))
    (folder / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{folder / "sources.list"}"; Dir::Etc::SourceParts "-"; APT::Architecture "amd64";'
    )


@pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="apt-get or dpkg-deb is not on this machine"
)
@pytest.mark.parametrize("package", ["dataset-tiny", "dataset-gone"])
def test_debian_package_is_downloaded_and_unpacked(
    tiny: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    installed = tmp_path / "nowhere"  # and stays absent: nothing is installed
    flat_repository(write(tmp_path / "repository", {}), "dataset-tiny", installed)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "repository" / "apt.conf"))
    monkeypatch.setitem(DATASETS, "tiny", replace(tiny, mirrors=(DEAD,), debian=package, installed=installed))
    if package == "dataset-gone":
        with pytest.raises(DataError) as error:
            quiet("tiny")
        assert_one_line(error, DEAD, "Unable to locate package dataset-gone", "apt-get install dataset-gone")
    else:
        data_set = quiet("tiny")
        assert_holds_tiny(data_set)
        assert data_set.source == "apt-get download dataset-tiny"
    assert not installed.exists()


# Decoded --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content", "fact"),
    [
        (FILES[0], b"\0\0\x0d" + TINY[FILES[0]][3:], "starts with 00000d03"),
        (FILES[0], gzip.compress(TINY[FILES[0]]), "starts with 1f8b"),
        (FILES[0], b"", "header"),
        (FILES[0], TINY[FILES[0]][:9], "header"),
        (FILES[0], TINY[FILES[0]][:-1], "51 bytes, but its header (6, 2, 3) requires 52"),
        (FILES[0], TINY[FILES[0]] + b"\0", "53 bytes, but its header (6, 2, 3) requires 52"),
        (FILES[0], idx(IMAGES[6].reshape(6, 6, 1)[:, :4]), "(6, 4, 1)"),
        (FILES[0], idx(IMAGES[3]), "train_images are uint8 (3, 2, 3), but uint8 (6, 1, 2, 3) were published"),
        (FILES[1], idx(LABELS[6][:5]), "train_labels are uint8 (5,), but uint8 (6,) were published"),
        (FILES[3], idx(LABELS[3] + 1), "test_labels go up to 3, but there are 3 classes"),
    ],
    ids=[
        "float magic",
        "still packed",
        "empty",
        "in the header",
        "truncated",
        "longer",
        "other size",
        "too few images",
        "fewer labels than images",
        "label that is no class",
    ],
)
def test_broken_idx_is_refused(tiny: Published, file: str, content: bytes, fact: str) -> None:
    contents = {**TINY, file: content}
    with pytest.raises(DataError) as error:
        decode("tiny", SourceFiles(contents, digests(contents), "a test"))
    assert_one_line(error, "tiny", "a test", fact)


def test_cifar_rows_are_decoded(small_cifar: Published) -> None:
    arrays = decode("cifar10", SourceFiles(BATCHES, digests(BATCHES), "a test"))
    third = BATCHES["data_batch_2.bin"][:3073]
    assert arrays["train_images"].shape == (10, 3, 32, 32) and arrays["test_images"].shape == (2, 3, 32, 32)
    assert arrays["train_labels"][2] == third[0]
    assert arrays["train_images"][2, 1, 0, 5] == third[1 + 1024 + 5], "green, first row, sixth column"


@pytest.mark.parametrize("content", [b"", cifar(2)[:-1], cifar(1)], ids=["empty", "half a row", "too few rows"])
def test_broken_cifar_is_refused(small_cifar: Published, content: bytes) -> None:
    contents = {**BATCHES, "test_batch.bin": content}
    with pytest.raises(DataError) as error:
        decode("cifar10", SourceFiles(contents, digests(contents), "a test"))
    assert_one_line(error, "cifar10", "test_")


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("packed", [True, False], ids=["tar", "loose"])
def test_local_cifar_copy_is_used_and_marked(
    small_cifar: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bool, packed: bool
) -> None:
    contents = {**BATCHES, "test_batch.bin": BATCHES["test_batch.bin"] if published else cifar(2, seed=99)}
    write(tmp_path / "given" / "cifar10", {TAR: tar(contents)} if packed else {})
    write(tmp_path / "given" / "cifar-10-batches-bin", {} if packed else contents)
    monkeypatch.setenv("ONESPEC_DATA", str(tmp_path / "given"))
    data_set = quiet("cifar10")
    assert data_set.published is published
    assert ("not the published bytes" in data_set.source) is not published
    assert data_set.sha256 == digests(contents)
    assert np.load(data_set.test.labels).tolist() == list(contents["test_batch.bin"][::3073])


def test_cifar_is_downloaded(small_cifar: Published, serve: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, _ = serve({TAR: tar(BATCHES)})
    monkeypatch.setitem(DATASETS, "cifar10", replace(small_cifar, mirrors=(mirror,)))
    assert quiet("cifar10").published


def test_truncated_tar_is_refused(small_cifar: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONESPEC_DATA", str(write(tmp_path / "given", {TAR: tar(BATCHES)[:-9000]})))
    with pytest.raises(DataError) as error:
        quiet("cifar10")
    assert_one_line(error, tmp_path / "given" / TAR, small_cifar.md5[TAR], "cannot be unpacked")


def test_broken_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "fashion-mnist-mini", replace(DATASETS["fashion-mnist-mini"], installed=tmp_path))
    (tmp_path / registry.MINI.name).write_bytes(registry.MINI.read_bytes()[:-100])
    with pytest.raises(DataError) as error:
        quiet("fashion-mnist-mini")
    assert_one_line(error, tmp_path / registry.MINI.name, "install onespec again")


# Fashion-MNIST, mini --------------------------------------------------------------------------------------------------


def test_mini_is_in_the_package() -> None:
    mini = quiet("fashion-mnist-mini", offline=True)
    assert mini.published and mini.input == (1, 28, 28)
    for split, count in (mini.train, 2000), (mini.test, 500):
        images, labels = np.load(split.images), np.load(split.labels)
        assert images.shape == (count, 1, 28, 28) and images.dtype == np.uint8 and labels.dtype == np.int64
        assert np.bincount(labels).tolist() == [count // 10] * 10
        assert 60 < images.mean() < 85, "the mean of Fashion-MNIST is 73"


def test_mini_is_the_first_of_each_class(tmp_path: Path) -> None:
    labels = np.array([2, 0, 0, 1, 0, 1, 2, 2, 1])
    write(tmp_path, {})
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "images.npy", np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1))
    split = Split(tmp_path / "images.npy", tmp_path / "labels.npy", 9)
    full = Dataset("full", (1, 1, 1), 3, ("a", "b", "c"), split, split, {}, True, "a test")
    for path in tmp_path / "a.npz", tmp_path / "b.npz":
        make_mini(full, path, per_class=(2, 1))
    mini = np.load(tmp_path / "a.npz")
    assert mini["train_images"].ravel().tolist() == [0, 1, 2, 3, 5, 6]
    assert mini["train_labels"].tolist() == [2, 0, 0, 1, 1, 2]
    assert mini["test_images"].ravel().tolist() == [0, 1, 3]
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_mini_is_written_from_the_full_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in OWN.items():
        monkeypatch.setenv(variable, value)
    if not registry.location("fashion-mnist"):
        pytest.skip("the full Fashion-MNIST is not on this machine: onespec data fetch fashion-mnist")
    make_mini(quiet("fashion-mnist"), tmp_path / "mini.npz")
    mini, shipped = np.load(tmp_path / "mini.npz"), np.load(registry.MINI)
    for part in PARTS:  # the arrays rather than the files: another zlib may compress them differently
        assert mini[part].dtype == shipped[part].dtype and np.array_equal(mini[part], shipped[part])


# The command ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "given", "code", "message"),
    [
        ([], None, 0, "the package onespec"),
        (["fetch", "fashion-mnist-mini"], None, 0, "2,000   500  1x28x28"),
        (["fetch", "minst"], None, 2, "'minst'"),
        (["fetch"], None, 2, "NAME"),
        (["fetch", "mnist"], {FILES[0]: b"other"}, 3, "but not train-labels-idx1-ubyte"),
        (["fetch", "mnist"], TINY, 3, "expected SHA-256"),
    ],
    ids=["nothing", "fetch", "unknown", "no name", "incomplete", "wrong"],
)
def test_command(tmp_path: Path, arguments: list[str], given: dict[str, bytes] | None, code: int, message: str) -> None:
    environment = {**os.environ, **({"ONESPEC_DATA": str(write(tmp_path / "given", given))} if given else {})}
    command = [sys.executable, "-m", "benchmarks.data", *arguments, "-q"]  # a line after a second otherwise
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == code
    assert message in (done.stderr if code else done.stdout)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if code else 0)
