"""Images of one's own: layouts, the split, what is refused and recorded, and that nothing is read twice."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.data import command
from benchmarks.datasets import image_layouts, images, user_images
from benchmarks.datasets.image_layouts import arranged
from benchmarks.datasets.image_options import ImageOptions
from benchmarks.datasets.image_pool import Broken, ImagePool
from benchmarks.datasets.registry import DATASETS, Dataset, check_name, dataset, own_name, survey
from benchmarks.datasets.splits import divided, part_of_name, parts_of
from benchmarks.runtime.errors import BadInput, DataError
from tests.command_line import exit_code_of
from tests.unit.image_files import CLASSES, encoded, files_of_classes, pixels, write_files, write_tar, write_zip

main = exit_code_of(command)

COUNT = 10  # images of each class
FILES = files_of_classes(COUNT)
SPLIT = {f"train/{name}": content for name, content in FILES.items()} | {
    f"test/{name}": encoded(pixels(seed=1000 + number)) for number, name in enumerate(list(FILES)[::5])
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ONESPEC_DATA", raising=False)
    return tmp_path / "cache"


def read(path: Path, lines: list[str] | None = None, **options: Any) -> Dataset:
    shown = [] if lines is None else lines
    return dataset(str(path), shown.append, images=ImageOptions(**options))


def stored(data: Dataset) -> dict[str, list[tuple[bytes, str]]]:
    """The pixels and the class of every image, by part."""
    return {
        part: [
            (image.tobytes(), data.class_names[label])
            for image, label in zip(np.load(split.images), np.load(split.labels).tolist(), strict=True)
        ]
        for part, split in (("train", data.train), ("test", data.test))
    }


def expected(files: dict[str, bytes], place: int = 0) -> set[tuple[bytes, str]]:
    """The pixels and the class of files, whose class is a part of their path."""
    return {
        (images.decode(content, 3, None, "crop").tobytes(), name.split("/")[place]) for name, content in files.items()
    }


# Layouts of image files -----------------------------------------------------------------------------------------------


def parquet(path: Path, files: dict[str, bytes], place: int) -> Path:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    names = sorted({name.split("/")[place] for name in files})
    table = arrow.table(
        {
            "image": [{"bytes": content, "path": name} for name, content in files.items()],
            "label": [names.index(name.split("/")[place]) for name in files],
        }
    )
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path, row_group_size=7)
    return path


def web_dataset(path: Path, files: dict[str, bytes], place: int = 0) -> Path:
    members = {}
    for number, (name, content) in enumerate(files.items()):
        members |= {f"{number:04}.png": content, f"{number:04}.cls": name.split("/")[place].encode()}
    return write_tar(path, members)


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda tmp: write_files(tmp / "own", FILES),
    "folder in a folder": lambda tmp: write_files(tmp / "own", {f"a/b/{name}": file for name, file in FILES.items()}),
    "folder with only train": lambda tmp: write_files(tmp / "own", {f"train/{name}": FILES[name] for name in FILES}),
    "zip": lambda tmp: write_zip(tmp / "own.zip", FILES),
    "tar": lambda tmp: write_tar(tmp / "own.tar", FILES),
    "tar.gz": lambda tmp: write_tar(tmp / "own.tar.gz", {f"own/{name}": each for name, each in FILES.items()}),
    "WebDataset": lambda tmp: web_dataset(tmp / "own.tar", FILES),
    "Parquet": lambda tmp: parquet(tmp / "own.parquet", FILES, 0),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_images_of_the_files(layout: str, tmp_path: Path) -> None:
    data = read(LAYOUTS[layout](tmp_path))
    parts = stored(data)
    assert set(parts["train"] + parts["test"]) == expected(FILES)
    assert (data.input, data.class_names, data.classes) == ((3, 12, 12), CLASSES, 3)
    assert (data.train.count, data.test.count) == (8 * 3, 2 * 3)
    assert Counter(name for _, name in parts["test"]) == dict.fromkeys(CLASSES, 2)
    assert data.name == "own" and not data.published


# PEP 383: a byte of a name that is not UTF-8.
NOT_UTF8 = "caf\udce9"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such file names")
@pytest.mark.parametrize("layout", ["folder", "tar", "WebDataset", "npz"])
def test_names_that_are_not_utf8(layout: str, tmp_path: Path) -> None:
    files = {name.replace(CLASSES[0], NOT_UTF8): content for name, content in FILES.items()}
    path = tmp_path / f"{NOT_UTF8}.{layout}"
    if layout == "folder":
        write_files(path, files)
    elif layout == "tar":
        write_tar(path, files)
    elif layout == "WebDataset":
        path = web_dataset(path.with_suffix(".tar"), FILES)
    else:
        labels = np.repeat([NOT_UTF8, *CLASSES[1:]], COUNT)
        np.savez(path, x=np.zeros((len(labels), 12, 12), np.uint8), y=labels)
    first = CLASSES[0] if layout == "WebDataset" else r"caf\udce9"
    for _ in range(2):  # examined, then from the index
        assert set(read(path).class_names) == {first, *CLASSES[1:]}
        assert set(survey(path, ImageOptions(), [].append).class_names) == {first, *CLASSES[1:]}
    if layout != "npz":
        assert {each for part in stored(read(path)).values() for each in part} == {
            (pixels, name.replace(CLASSES[0], first)) for pixels, name in expected(FILES)
        }


def folder_of(write: Callable[[Path, dict[str, bytes]], object], suffix: str) -> Callable[[Path], Path]:
    """A folder with a file for each part."""

    def make(tmp: Path) -> Path:
        (tmp / "own").mkdir()
        for part in ("train", "test"):
            files = {name: each for name, each in SPLIT.items() if name.startswith(part)}
            write(tmp / "own" / f"{part}-00000{suffix}", files)
        return tmp / "own"

    return make


SPLIT_LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda tmp: write_files(tmp / "own", SPLIT),
    "zip": lambda tmp: write_zip(tmp / "own.zip", SPLIT),
    "tar": lambda tmp: write_tar(tmp / "own.tgz", SPLIT),
    "WebDataset": folder_of(lambda path, files: web_dataset(path, files, 1), ".tar"),
    "Parquet": folder_of(lambda path, files: parquet(path, files, 1), ".parquet"),
}


@pytest.mark.parametrize("layout", SPLIT_LAYOUTS)
def test_a_split_of_the_files_is_used(layout: str, tmp_path: Path) -> None:
    data = read(SPLIT_LAYOUTS[layout](tmp_path))
    parts = stored(data)
    for part in ("train", "test"):
        files = {name: each for name, each in SPLIT.items() if name.startswith(part)}
        assert set(parts[part]) == expected(files, 1) and len(parts[part]) == len(files)
    assert data.images and data.images.split == "as in the files"


@pytest.mark.parametrize(
    ("tops", "used", "noted"),
    [
        (("train", "val"), {"train": "train", "val": "test"}, ""),
        (("training", "validation"), {"training": "train", "validation": "test"}, ""),
        (("Train", "Test", "val"), {"Train": "train", "Test": "test"}, "validation images are not used"),
        (("train", "test", "extra"), {"train": "train", "test": "test"}, "folder extra is not used"),
    ],
)
def test_the_folders_of_a_split(tops: Sequence[str], used: dict[str, str], noted: str) -> None:
    placed, notes = arranged([f"{top}/{name}/1.jpg" for top in tops for name in CLASSES], "own")
    assert {name.split("/")[0]: part for name, _, part in placed} == used
    assert {class_name for _, class_name, _ in placed} == set(CLASSES)
    assert bool(notes) == bool(noted) and noted in " ".join(notes)


def test_train_can_be_the_name_of_a_class() -> None:
    placed, _ = arranged(["train/1.jpg", "bus/1.jpg", "tram/1.jpg"], "own")
    assert placed == [("train/1.jpg", "train", None), ("bus/1.jpg", "bus", None), ("tram/1.jpg", "tram", None)]


@pytest.mark.parametrize("name", ["cat/deep/er/1.png", "cat/UPPER.PNG"])
def test_a_class_holds_the_images_of_its_folders(tmp_path: Path, name: str) -> None:
    extra = {name: encoded(pixels(seed=77))}
    data = read(write_files(tmp_path / "own", {**FILES, **extra}))
    assert expected(extra) <= set(stored(data)["train"] + stored(data)["test"])


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    others = {"README.md": b"", "cat/.hidden.png": b"", ".ipynb_checkpoints/a.png": b"", "cat/._1.png": b""}
    data = read(write_files(tmp_path / "own", {**FILES, **others}))
    assert data.train.count + data.test.count == len(FILES)


def test_classes_that_are_numbers_are_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    files = {
        f"{label}/{number}.png": encoded(pixels(seed=label * 9 + number)) for label in (10, 9, 2) for number in (0, 1)
    }
    assert read(write_files(tmp_path / "own", files)).class_names == ("2", "9", "10")


# Names and links ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["outside/secret.png", "outside"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, target: str) -> None:
    write_files(tmp_path, {"outside/secret.png": encoded(pixels())})
    own = write_files(tmp_path / "own", FILES)
    (own / "cat" / "link.png").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=r"link\.png: a link to"):
        read(own)


def test_a_link_to_a_file_of_the_folder_is_a_copy(tmp_path: Path) -> None:
    own = write_files(tmp_path / "own", FILES)
    (own / "cat" / "again.png").symlink_to(own / "cat" / "0.png")
    data = read(own)
    assert data.train.count + data.test.count == len(FILES) + 1


@pytest.mark.parametrize("write", [write_tar, write_zip], ids=["tar", "zip"])
def test_names_in_an_archive_lead_nowhere(tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path]) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    suffix = "tar" if write is write_tar else "zip"
    before = sorted(tmp_path.rglob("*"))
    path = write(inside / f"own.{suffix}", {f"../../{name}": content for name, content in FILES.items()})
    assert read(path).class_names == CLASSES
    ignored = [path, *(tmp_path / "cache").rglob("*"), tmp_path / "cache"]
    assert sorted(set(tmp_path.rglob("*")) - set(ignored)) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
def test_a_link_in_a_tar_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = write_tar(tmp_path / "own.tar", FILES)
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("cat/link.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match=r"cat/link\.png is a link"):
        read(path)


def test_a_member_that_expands_too_far_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/bomb.png", bytes(257 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DataError, match=r"bomb\.png has 257 MiB"):
        read(path)


@pytest.mark.parametrize("name", ["own.zip", "own.tar", "own.tar.gz", "own.npz"])
@pytest.mark.parametrize("content", [b"", b"no archive at all"], ids=["empty", "text"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, BadInput), match=name):
        read(tmp_path / name)


def test_a_truncated_tar_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "own.tar.gz", FILES)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"own\.tar\.gz"):
        read(path)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no image files"),
        ({"1.png": b""}, "1.png is in no class folder"),
        ({"cat/1.png": encoded(pixels()), "cat/2.png": encoded(pixels(seed=1))}, "1 class"),
        ({**FILES, "flat.png": b""}, "flat.png is in no class folder"),
        ({f"train/{name}": each for name, each in FILES.items()} | {"test/fox/1.png": FILES["cat/0.png"]}, "fox"),
        (
            {f"test/{name}": each for name, each in FILES.items()} | {"val/cat/1.png": FILES["cat/0.png"]},
            "no training images",
        ),
    ],
    ids=["empty", "flat", "one class", "one flat", "a class without training images", "no training images"],
)
def test_a_folder_that_cannot_be_used(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(BadInput, match=message) as error:
        read(write_files(tmp_path / "own", files))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", " ", "mnits", "no/such/folder", "²", "a\0b", "n" * 5000])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="--dataset"):
        check_name(name)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_folder_with_the_name_of_a_published_data_set(tmp_path: Path, name: str) -> None:
    own = write_files(tmp_path / name, FILES)
    assert read(own).name == f"own-{name}"


def test_a_name_is_printable_and_short(tmp_path: Path) -> None:
    own = tmp_path / ("a\n\x1b[31m" + "b" * 200)
    own.mkdir()
    assert own_name(str(own)).isprintable() and len(own_name(str(own))) == 64


def test_options_for_files_do_not_apply_to_published_arrays() -> None:
    with pytest.raises(BadInput, match="--image-size"):
        dataset("fashion-mnist-mini", lambda line: None, images=ImageOptions(image_size=(8, 8)))


# Sizes and channels ---------------------------------------------------------------------------------------------------


def test_images_of_several_sizes_need_an_image_size(tmp_path: Path) -> None:
    own = write_files(tmp_path / "own", {**FILES, "cat/large.png": encoded(pixels(30, 40))})
    with pytest.raises(BadInput, match=r"2 sizes, from 12 x 12 to 30 x 40.*--image-size 64"):
        read(own)
    assert read(own, image_size=(8, 10)).input == (3, 8, 10)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_the_arrays_are_those_of_pillow(tmp_path: Path, fit: str) -> None:
    files = files_of_classes(4, "jpg", height=20, width=30)
    parts = stored(read(write_files(tmp_path / "own", files), image_size=(9, 9), image_fit=fit))
    decoded = {images.decode(content, 3, (9, 9), fit).tobytes() for content in files.values()}
    assert {pixels for pixels, _ in parts["train"] + parts["test"]} == decoded


def test_gray_files_have_one_channel_unless_three_are_requested(tmp_path: Path) -> None:
    files = {f"{name}/{number}.png": encoded(pixels(channels=1, seed=number)) for name in CLASSES for number in (0, 1)}
    own = write_files(tmp_path / "own", files)
    assert read(own).input == (1, 12, 12)
    assert read(own, channels=3).input == (3, 12, 12)
    write_files(own, {"cat/color.png": encoded(pixels(seed=9))})
    assert read(own).input == (3, 12, 12), "one file has colors"
    assert read(own, channels=1).input == (1, 12, 12)


# Broken files ---------------------------------------------------------------------------------------------------------


BROKEN = {"cat/bad.png": b"not a PNG", "owl/cut.jpg": encoded(pixels(40, 40), "jpg")[:700]}


def test_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 of 32 files.*cat/bad\.png \(not an image.*owl/cut\.jpg \(.*--skip-broken"):
        read(write_files(tmp_path / "own", {**FILES, **BROKEN}), image_size=(12, 12))


def test_skipped_files_are_recorded(tmp_path: Path) -> None:
    lines: list[str] = []
    own = write_files(tmp_path / "own", {**FILES, **BROKEN})
    data = read(own, lines, skip_broken=True)
    assert data.images and set(data.images.broken) == set(BROKEN)
    assert set(stored(data)["train"] + stored(data)["test"]) == expected(FILES)
    assert [line for line in lines if "2 files" in line and "cat/bad.png" in line]


def test_a_class_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    own = write_files(tmp_path / "own", {**FILES, "fox/1.png": b""})
    with pytest.raises(DataError, match="no image of fox"):
        read(own, skip_broken=True)


# The split ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "count"), [(0.2, 20), (0.25, 25), (0.5, 50), (0.001, 1), (0.999, 99)])
def test_the_fraction_of_each_class(fraction: float, count: int) -> None:
    chosen = divided(np.repeat([0, 1], 100), list(range(200)), fraction, seed=0)
    assert chosen[:100].sum() == chosen[100:].sum() == count


def test_the_split_is_seeded_and_does_not_depend_on_other_classes() -> None:
    first = divided(np.repeat([0, 1], 50), list(range(100)), 0.2, seed=3)
    assert np.array_equal(first, divided(np.repeat([0, 1], 50), list(range(100)), 0.2, seed=3))
    assert not np.array_equal(first, divided(np.repeat([0, 1], 50), list(range(100)), 0.2, seed=4))
    assert np.array_equal(first[:50], divided(np.repeat([0], 50), list(range(50)), 0.2, seed=3))


@pytest.mark.parametrize("seed", range(5))
def test_equal_files_are_on_the_same_side(seed: int) -> None:
    contents = [f"{number // 3}" for number in range(60)]
    chosen = divided(np.zeros(60, int), contents, 0.3, seed)
    sides: dict[str, set[bool]] = {}
    for content, side in zip(contents, chosen.tolist()):
        sides.setdefault(content, set()).add(side)
    assert all(len(each) == 1 for each in sides.values()) and chosen.sum() == 18


def test_a_class_of_one_image_is_for_training() -> None:
    assert divided(np.array([0, 1, 1, 1]), list(range(4)), 0.5, 0).tolist()[0] is False


def test_the_first_stored_images_are_a_random_sample(tmp_path: Path) -> None:
    labels = np.load(read(write_files(tmp_path / "own", FILES)).train.labels)
    assert len(set(labels[:8].tolist())) == 3, "in the order of the files, the first 8 would be of one class"


def test_the_seed_and_fraction_change_the_data_set(tmp_path: Path) -> None:
    own = write_files(tmp_path / "own", FILES)
    first, same, other = read(own), read(own), read(own, split_seed=1)
    assert first == same
    assert stored(first)["test"] != stored(other)["test"]
    assert read(own, test_fraction=0.5).test.count == 15
    assert first.images and first.images.split == "0.2 of each class for testing, seed 0"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"), ("Training", "train"), ("train-00000-of-00001.parquet", "train"), ("t10k-images", "test"),
        ("fashion-mnist_test.csv", "test"), ("val", "validation"), ("trains", None), ("contest", None), ("cat", None),
    ],
)  # fmt: skip
def test_part_of_name(name: str, part: str | None) -> None:
    assert part_of_name(name) == part


def test_names_that_say_only_in_part_what_they_are_for() -> None:
    with pytest.raises(BadInput, match="own: some of its parts"):
        parts_of(["train", None], "own")


# Duplicates -----------------------------------------------------------------------------------------------------------


def test_duplicates_between_training_and_test_are_reported(tmp_path: Path) -> None:
    own = write_files(tmp_path / "own", {**SPLIT, "test/cat/copy.png": FILES["cat/3.png"]})
    lines: list[str] = []
    data = read(own, lines)
    assert data.images and (data.images.duplicates, data.images.ambiguous) == (1, 0)
    assert any("1 test images are also training images" in line for line in lines)
    assert survey(own, ImageOptions(), lines.append).duplicates == ["test/cat/copy.png"]


def test_an_image_in_two_classes_is_reported(tmp_path: Path) -> None:
    own = write_files(tmp_path / "own", {**FILES, "dog/copy.png": FILES["cat/3.png"]})
    data = read(own)
    assert data.images and data.images.ambiguous == 2
    assert survey(own, ImageOptions(), print).ambiguous == ["cat/3.png", "dog/copy.png"]


# Statistics and the record --------------------------------------------------------------------------------------------


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path: Path) -> None:
    data = read(write_files(tmp_path / "own", FILES))
    train = np.load(data.train.images) / 255
    assert data.images
    assert data.images.mean == pytest.approx(train.mean((0, 2, 3)), abs=5e-5)
    assert data.images.std == pytest.approx(train.std((0, 2, 3)), abs=5e-5)


def test_a_constant_channel_has_the_deviation_1(tmp_path: Path) -> None:
    shades = {f"{name}/{number}.png": encoded(np.full((4, 4), 9, np.uint8)) for name in CLASSES for number in (0, 1)}
    own = write_files(tmp_path / "own", {name: each for name, each in shades.items() if name.endswith("0.png")})
    write_files(own, {"cat/1.png": encoded(np.full((4, 4), 9, np.uint8), optimize=True, compress_level=0)})
    data = read(own)
    assert data.images and (data.images.mean, data.images.std) == ([round(9 / 255, 4)], [1.0])


def test_the_record_says_how_the_images_were_read(tmp_path: Path) -> None:
    data = read(write_files(tmp_path / "own", FILES), image_size=(8, 8), image_fit="pad", split_seed=5)
    info = data.images
    assert info and (info.layout, info.input) == ("folder of class folders", (3, 8, 8))
    assert info.options == ImageOptions(image_size=(8, 8), image_fit="pad", split_seed=5)
    assert (info.train_counts, info.test_counts) == ([8, 8, 8], [2, 2, 2])
    assert info.decoder.startswith("Pillow ")
    assert set(data.sha256) == {"listing", "train_images", "train_labels", "test_images", "test_labels"}


# Nothing is read twice ------------------------------------------------------------------------------------------------


@pytest.fixture
def aged(tmp_path: Path) -> Path:
    """A folder whose files are older than the resolution of the clock."""
    own = write_files(tmp_path / "own", FILES)
    age(own)
    return own


def age(folder: Path, seconds: int = 60) -> None:
    import os

    for path in folder.rglob("*.png"):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 10**9))


def test_unchanged_files_are_not_read_again(aged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(aged)
    monkeypatch.setattr(image_layouts, "read_limited", None)
    monkeypatch.setattr(ImagePool, "_ask", None)
    assert read(aged) == first


def test_a_file_is_examined_again_after_a_decoder_ended(aged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lack of memory of one moment is no property of the file."""

    def fail(pool: ImagePool, request: object, content: bytes) -> None:
        raise Broken("the decoder ended by SIGKILL")

    with monkeypatch.context() as failing:
        failing.setattr(ImagePool, "_ask", fail)
        with pytest.raises(DataError, match="SIGKILL"):
            read(aged)
    assert set(stored(read(aged))["train"]) <= expected(FILES)


def test_of_a_file_that_is_too_large_only_a_part_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_layouts, "MOST_BYTES", 1000)
    (tmp_path / "large.png").write_bytes(bytes(5000))
    assert len(image_layouts.read_limited(tmp_path / "large.png")) == 1001


def test_only_changed_files_are_examined_again(aged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(aged)
    examined: list[bytes] = []
    real = ImagePool.examine

    def examine(pool: ImagePool, contents: Any) -> Any:
        def counted() -> Any:
            for content in contents:
                examined.append(content)
                yield content

        return real(pool, counted())

    monkeypatch.setattr(ImagePool, "examine", examine)
    new = encoded(pixels(seed=555))
    write_files(aged, {"cat/0.png": new})
    second = read(aged)
    assert examined == [new]
    assert first.sha256["listing"] != second.sha256["listing"]


def test_a_file_that_changed_within_the_resolution_of_the_clock_is_read_again(tmp_path: Path) -> None:
    import os

    own = write_files(tmp_path / "own", FILES)
    first = read(own)
    path = own / "cat" / "0.png"
    status, other = path.stat(), bytearray(path.read_bytes())
    values = pixels(seed=100 * 0)
    values[0, 0, 0] ^= 1
    other = bytearray(encoded(values).ljust(status.st_size, b"\0"))
    path.write_bytes(other[: status.st_size])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert read(own, skip_broken=True).sha256["listing"] != first.sha256["listing"]


def test_a_damaged_cache_is_decoded_again(tmp_path: Path) -> None:
    own = write_files(tmp_path / "own", FILES)
    first = read(own)
    before = stored(first)
    damaged = first.train.images
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff")
    assert stored(read(own)) == before


def test_the_same_images_in_another_folder_have_the_same_digest(tmp_path: Path) -> None:
    first = read(write_files(tmp_path / "a" / "own", FILES))
    second = read(write_files(tmp_path / "b" / "own", FILES))
    assert first.sha256 == second.sha256 and first.train == second.train


@pytest.mark.parametrize("index", ["", "{}", "[1, 2]", '{"decoder": 3, "files": {}}'])
def test_a_damaged_index_is_written_again(aged: Path, cache: Path, index: str) -> None:
    first = read(aged)
    (file,) = (cache / "data" / "index").glob("*.json")
    file.write_text(index)
    assert read(aged) == first
    assert json.loads(file.read_text())["files"]


def test_a_full_disk_is_reported_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_files(tmp_path / "own", FILES)
    monkeypatch.setattr(user_images.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(DataError, match=r"GiB of decoded images.*ONESPEC_CACHE"):
        read(own)


# Files of pixels ------------------------------------------------------------------------------------------------------

RANDOM = np.random.default_rng(7)
ARRAYS = {
    "x_train": RANDOM.integers(256, size=(20, 5, 5), dtype=np.uint8),
    "y_train": np.arange(20, dtype=np.uint8) % 3,
    "x_test": RANDOM.integers(256, size=(6, 5, 5), dtype=np.uint8),
    "y_test": np.arange(6, dtype=np.uint8) % 3,
}
ALL = {
    "x": np.concatenate([ARRAYS["x_train"], ARRAYS["x_test"]]),
    "y": np.concatenate([ARRAYS["y_train"], ARRAYS["y_test"]]),
}


def idx(array: np.ndarray, order: str = ">u4") -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, order).tobytes() + array.tobytes()


def csv(x: np.ndarray, y: np.ndarray, header: bool = True) -> bytes:
    rows = [[label, *image.ravel().tolist()] for label, image in zip(y.tolist(), x)]
    if header:
        rows.insert(0, ["label", *(f"pixel{number}" for number in range(x[0].size))])
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


IDX_FILES = {
    "train-images.idx": idx(ARRAYS["x_train"]), "train-labels.idx": idx(ARRAYS["y_train"]),
    "t10k-images.gz": gzip.compress(idx(ARRAYS["x_test"])), "t10k-labels.gz": gzip.compress(idx(ARRAYS["y_test"])),
}  # fmt: skip
PIXEL_LAYOUTS: dict[str, tuple[str, dict[str, bytes]]] = {
    "npz as Keras": ("own.npz", {"own.npz": npz(**ARRAYS)}),
    "npz of images": ("own.npz", {"own.npz": npz(
        train_images=ARRAYS["x_train"], train_labels=ARRAYS["y_train"][:, None],
        test_images=ARRAYS["x_test"], test_labels=ARRAYS["y_test"][:, None],
    )}),
    "IDX": ("own", {f"own/{name}": content for name, content in IDX_FILES.items()}),
    "CSV": ("own", {"own/mnist_train.csv": csv(ARRAYS["x_train"], ARRAYS["y_train"]),
                    "own/mnist_test.csv": csv(ARRAYS["x_test"], ARRAYS["y_test"], header=False)}),
}  # fmt: skip


def of_parts(data: Dataset) -> dict[str, set[tuple[bytes, str]]]:
    return {part: set(rows) for part, rows in stored(data).items()}


@pytest.mark.parametrize("layout", PIXEL_LAYOUTS)
def test_files_of_pixels_with_a_split(layout: str, tmp_path: Path) -> None:
    name, files = PIXEL_LAYOUTS[layout]
    write_files(tmp_path, files)
    data = read(tmp_path / name)
    assert (data.input, data.class_names) == ((1, 5, 5), ("0", "1", "2"))
    assert of_parts(data) == {
        part: {(image.tobytes(), str(label)) for image, label in zip(ARRAYS[f"x_{part}"], ARRAYS[f"y_{part}"])}
        for part in ("train", "test")
    }
    assert data.images and data.images.split == "as in the files"


WHOLE: dict[str, tuple[str, dict[str, bytes]]] = {
    "npz": ("own.npz", {"own.npz": npz(**ALL)}),
    "IDX": ("own", {"own/a": idx(ALL["x"]), "own/b": idx(ALL["y"])}),
    "CSV": ("own.csv", {"own.csv": csv(**ALL)}),
    "CSV without a header": ("own.csv", {"own.csv": csv(**ALL, header=False)}),
}


@pytest.mark.parametrize("layout", WHOLE)
def test_files_of_pixels_without_a_split(layout: str, tmp_path: Path) -> None:
    name, files = WHOLE[layout]
    write_files(tmp_path, files)
    data = read(tmp_path / name)
    parts = of_parts(data)
    assert parts["train"] | parts["test"] == {(image.tobytes(), str(label)) for image, label in zip(ALL["x"], ALL["y"])}
    assert (data.train.count, data.test.count) == (20, 6), "a fifth of nine, nine and eight"
    assert read(tmp_path / name) == data


def test_every_format_of_pixels_gives_the_same_arrays(tmp_path: Path) -> None:
    digests = set()
    for name, files in PIXEL_LAYOUTS.values():
        write_files(tmp_path, files)
        digests.add(read(tmp_path / name).sha256["train_images"])
        shutil.rmtree(tmp_path / "own", ignore_errors=True)
    assert len(digests) == 1


@pytest.mark.parametrize("shape", [(26, 5, 5, 3), (26, 3, 5, 5)], ids=["channels last", "channels first"])
def test_colors_in_an_npz(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = RANDOM.integers(256, size=shape, dtype=np.uint8)
    write_files(tmp_path, {"own.npz": npz(x=x, y=ALL["y"])})
    parts = of_parts(read(tmp_path / "own.npz"))
    first = x.transpose(0, 3, 1, 2) if shape[-1] == 3 else x
    assert {pixels for pixels, _ in parts["train"] | parts["test"]} == {image.tobytes() for image in first}


def test_arrays_are_resized(tmp_path: Path) -> None:
    write_files(tmp_path, {"own.npz": npz(**ALL)})
    data = read(tmp_path / "own.npz", image_size=(8, 8), channels=3)
    assert data.input == (3, 8, 8)
    assert np.ptp(np.load(data.train.images), axis=1).max() == 0, "gray in three channels"


def test_labels_of_numbers_with_gaps(tmp_path: Path) -> None:
    write_files(tmp_path, {"own.npz": npz(x=ALL["x"], y=ALL["y"].astype(np.int64) * 5)})
    data = read(tmp_path / "own.npz")
    assert data.class_names == ("0", "5", "10") and set(np.load(data.train.labels).tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("own.npz", {"own.npz": npz(a=ALL["x"])}, "has a; the arrays x_train"),
        ("own.npz", {"own.npz": npz(x=ALL["x"] / 255, y=ALL["y"])}, "x is float64"),
        ("own.npz", {"own.npz": npz(x=ALL["x"], y=np.eye(3)[ALL["y"]])}, "y is float64"),
        ("own.npz", {"own.npz": npz(x=ALL["x"], y=ALL["y"][:-1])}, "x has the shape"),
        ("own.npz", {"own.npz": npz(x=np.zeros((26, 3, 5, 3), np.uint8), y=ALL["y"])}, "has the shape"),
        ("own.npz", {"own.npz": npz(x=np.asfortranarray(ALL["x"]), y=ALL["y"])}, "ascontiguousarray"),
        ("own.npz", {"own.npz": npz(x=np.array([{}] * 26), y=ALL["y"])}, "pickled"),
        ("own", {"own/a": idx(ALL["x"]) + b"\0", "own/b": idx(ALL["y"])}, "1 bytes too many"),
        ("own", {"own/a": idx(ALL["x"])[:-3], "own/b": idx(ALL["y"])}, "3 bytes missing"),
        ("own", {"own/a": idx(ALL["x"], "<u4"), "own/b": idx(ALL["y"])}, "little-endian"),
        ("own", {"own/a": b"\0\0\x0d" + idx(ALL["x"])[3:], "own/b": idx(ALL["y"])}, "IDX file of float32"),
        ("own", {"own/a": idx(ALL["x"]), "own/b": idx(ALL["y"][:-1])}, "26 images, but 25 labels"),
        ("own", {"own/a": idx(ALL["x"])}, "one IDX file of images and one of labels"),
        ("own/a", {"own/a": idx(ALL["x"])}, "give the folder"),
        ("own.csv", {"own.csv": csv(ALL["x"][:, :4], ALL["y"])}, "20 columns of pixels"),
        ("own.csv", {"own.csv": csv(ALL["x"].astype(int) + 1000, ALL["y"])}, "not all 0 to 255"),
        ("own.csv", {"own.csv": csv(ALL["x"] / 255, ALL["y"])}, "not all 0 to 255"),
        ("own.csv", {"own.csv": csv(**ALL) + b"1,2,3\n"}, "another length or no value"),
        ("own.csv", {"own.csv": csv(**ALL).replace(b"label", b"pixel")}, "no column `label`"),
        ("own.csv", {"own.csv": b"\xff\xfe\0\0"}, "not a CSV file"),
        ("own.txt", {"own.txt": b"hello"}, "a folder, .npz"),
    ],
)
def test_files_of_pixels_that_are_refused(tmp_path: Path, name: str, files: dict[str, bytes], message: str) -> None:
    write_files(tmp_path, files)
    with pytest.raises((BadInput, DataError), match=message) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("table", ["no images", "no labels", "a wrong label", "another schema", "no table"])
def test_parquet_files_that_are_refused(tmp_path: Path, table: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    columns: dict[str, Any] = {"image": [b"x"] * 3, "label": [0, 1, 2]}
    if table == "no table":
        (tmp_path / "own.parquet").write_bytes(b"PAR1")
    else:
        columns.pop({"no images": "image", "no labels": "label"}.get(table, ""), None)
        if table == "another schema":
            columns = {"image": [1, 2, 3], "label": [0, 1, 2]}
        built = arrow.table(columns)
        if table == "a wrong label":
            features = {"label": {"names": ["a", "b"]}}
            built = built.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pyarrow.parquet.write_table(built, tmp_path / "own.parquet")
    with pytest.raises(DataError, match=r"own\.parquet"):
        read(tmp_path / "own.parquet")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "own.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match=r"pip install -e '\.\[parquet\]'"):
        read(tmp_path / "own.parquet")


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_describes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write_files(tmp_path / "own", {**FILES, "cat/large.png": encoded(pixels(30, 40))})
    assert main([str(own), "-q"]) == ExitCode.OK
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "all 25 6" in lines and "dog 8 2" in lines
    assert "height x width: 2 sizes from 12 x 12 to 30 x 40; RGB" in lines
    assert "to train on them, give them one size, such as --image-size 64" in lines


@pytest.mark.parametrize(("options", "code"), [([], ExitCode.BAD_DATA), (["--skip-broken"], ExitCode.OK)])
def test_the_command_lists_every_broken_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: ExitCode
) -> None:
    broken = {f"cat/bad{number}.png": b"" for number in range(9)}
    assert main([str(write_files(tmp_path / "own", {**FILES, **broken})), "--json", "-q", *options]) == code
    printed = json.loads(capsys.readouterr().out)
    assert printed["broken"] == dict.fromkeys(broken, "empty file")
    assert sum(printed["train_counts"] + printed["test_counts"]) == len(FILES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "fashion-mnist-mini", "--json", "-q"],
        ["fashion-mnist-mini", "-q", "--json"],
        ["--json", "-q", "fashion-mnist-mini"],
    ],
    ids=" ".join,
)
def test_the_command_describes_a_published_data_set(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.OK
    printed = json.loads(capsys.readouterr().out)
    assert printed["train_counts"] == [200] * 10
    assert printed["class_names"] == list(DATASETS["fashion-mnist-mini"].class_names)


def test_the_flags_of_the_group_hold_for_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "-q", "fetch", "fashion-mnist-mini"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)[0]["dataset"] == "fashion-mnist-mini"
