"""The published data sets: their contents, where they are looked for, and how they are fetched.

`find` looks in ``$ONESPEC_DATA`` and in the folder of a system package; `fetch` downloads from the published mirrors or
as a Debian package. From every source, the SHA-256 of the unpacked content decides or, where none is published, the MD5
of the packed file. Nothing is unpickled, and no archive is unpacked onto the disk except by ``dpkg-deb``.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import pooch

from benchmarks.runtime.environments import cache_folder
from benchmarks.runtime.errors import DataError

Note = Callable[[str], None]
UNREADABLE = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile)
TIMEOUT = (10, 60)  # seconds to connect, and between two parts of a response


@dataclass(frozen=True)
class Published:
    """A data set as its authors published it."""

    input: tuple[int, int, int]  # C, H, W
    class_names: tuple[str, ...]
    counts: tuple[int, int]  # training images, test images
    format: str  # of the files, see `published_formats`; "images": an archive of image files
    # Of the unpacked content of each file, training files first, images before labels. Empty: not published, so that
    # the file is verified by the MD5 of the file that contains it.
    sha256: dict[str, str]
    license: str
    citation: str
    archive: str = ""  # the file that contains all others, if they are published as one
    md5: dict[str, str] = field(default_factory=dict)  # of each file on the mirrors
    mirrors: tuple[str, ...] = ()  # tried in this order; each has every file in `md5`
    megabytes: int = 0  # to download
    folders: tuple[str, ...] = ()  # below $ONESPEC_DATA, besides the data set's name and $ONESPEC_DATA itself
    debian: str = ""  # the Debian package that contains it
    installed: Path | None = None  # folder of that package, or of this one
    copies: bool = False  # a local copy with other bytes is used, and marked as not published
    class_folders: tuple[str, ...] = ()  # in an archive of image files, in the order of `class_names`

    @property
    def identity(self) -> dict[str, str]:
        """The digests that identify the published bytes."""
        return self.sha256 if all(self.sha256.values()) and self.sha256 else self.md5


@dataclass(frozen=True)
class SourceFiles:
    """The unpacked and verified files of a data set."""

    contents: dict[str, bytes]  # file name to unpacked content, in the order of `Published.sha256`
    sha256: dict[str, str]
    source: str  # location, for messages


_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR100 = tuple(  # fine_label_names.txt of the archive
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can "
    "castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin "
    "elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard "
    "lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
    "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark "
    "shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone "
    "television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm ".split()
)
_MNIST_FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
_XIAO = "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, arXiv:1708.07747 (2017)"
_ZALANDO = "MIT, copyright 2017 Zalando SE, https://github.com/zalandoresearch/fashion-mnist"

DATASETS: dict[str, Published] = {
    # The MD5s are those of the authors' README. Debian's package holds the same four streams under other gzip headers:
    # with the original name and time (2017-08-31, 10:50 UTC) each has the published MD5, so the SHA-256s of that
    # package's unpacked content are those of the published content.
    "fashion-mnist": Published(
        input=(1, 28, 28),
        class_names=_FASHION,
        counts=(60_000, 10_000),
        format="idx",
        sha256={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        license=_ZALANDO,
        citation=_XIAO,
        md5={
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        megabytes=31,
        folders=("FashionMNIST/raw",),
        debian="dataset-fashion-mnist",
        installed=Path("/usr/share/datasets/fashion-mnist"),
    ),
    # The MD5s are those that torchvision checks. The SHA-256s were computed from a repacked copy, and agree with those
    # that other projects publish for the unpacked content of the files with these MD5s.
    "mnist": Published(
        input=(1, 28, 28),
        class_names=tuple("0123456789"),
        counts=(60_000, 10_000),
        format="idx",
        sha256={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        license="CC BY-SA 3.0, copyright Y. LeCun and C. Cortes",
        citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning, Proc. IEEE 86 (1998)",
        md5={
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        megabytes=12,
        folders=("MNIST/raw",),
    ),
    # The MD5 of the archive is that of the authors' page. Its members' SHA-256s were not computed from it:
    # they are those that the Ruby library torchvision checks whenever it loads CIFAR-10.
    "cifar10": Published(
        input=(3, 32, 32),
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        counts=(50_000, 10_000),
        format="cifar",
        sha256={
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
        license="none stated by the authors",
        citation="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images (2009)",
        archive="cifar-10-binary.tar.gz",
        md5={"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        megabytes=170,
        folders=("cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"),
        copies=True,
    ),
    # The MD5s are those that torchvision 0.28 checks. No digests of the unpacked content are published.
    "kmnist": Published(
        input=(1, 28, 28),
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        counts=(60_000, 10_000),
        format="idx",
        sha256=dict.fromkeys(_MNIST_FILES, ""),
        license="CC BY-SA 4.0, CODH",
        citation="T. Clanuwat et al.: Deep Learning for Classical Japanese Literature, arXiv:1812.01718 (2018)",
        md5={
            "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
            "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
            "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
            "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
        },
        mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        megabytes=21,
        folders=("KMNIST/raw",),
    ),
    # The MD5 of the archive is the one that torchvision 0.28 checks. The 47 classes are its classes, too: 15 capital
    # letters stand for both forms. The archive holds all six divisions of EMNIST; the balanced one is read.
    "emnist": Published(
        input=(1, 28, 28),
        class_names=tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"),
        counts=(112_800, 18_800),
        format="emnist",
        sha256=dict.fromkeys(
            [
                f"emnist-balanced-{part}-{kind}-ubyte"
                for part in ("train", "test")
                for kind in ("images-idx3", "labels-idx1")
            ],
            "",
        ),
        license="none stated by the authors; derived from NIST Special Database 19",
        citation="G. Cohen, S. Afshar, J. Tapson, A. van Schaik: EMNIST, arXiv:1702.05373 (2017)",
        archive="gzip.zip",
        md5={"gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"},
        mirrors=("https://biometrics.nist.gov/cs_links/EMNIST/",),
        megabytes=562,
        folders=("EMNIST/raw",),
    ),
    # The MD5s are those that torchvision 0.28 checks.
    "qmnist": Published(
        input=(1, 28, 28),
        class_names=tuple("0123456789"),
        counts=(60_000, 60_000),
        format="qmnist",
        sha256=dict.fromkeys(
            [
                f"qmnist-{part}-{kind}"
                for part in ("train", "test")
                for kind in ("images-idx3-ubyte", "labels-idx2-int")
            ],
            "",
        ),
        license="BSD 3-clause, copyright Facebook",
        citation="C. Yadav, L. Bottou: Cold Case: The Lost MNIST Digits, NeurIPS 2019",
        md5={
            "qmnist-train-images-idx3-ubyte.gz": "ed72d4157d28c017586c42bc6afe6370",
            "qmnist-train-labels-idx2-int.gz": "0058f8dd561b90ffdd0f734c6a30e5e4",
            "qmnist-test-images-idx3-ubyte.gz": "1394631089c404de565df7b7aeaf9412",
            "qmnist-test-labels-idx2-int.gz": "5b5b05890a5e13444e108efe57b788aa",
        },
        mirrors=("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
        megabytes=20,
        folders=("QMNIST/raw",),
    ),
    # The MD5 of the archive is that of the authors' page.
    "cifar100": Published(
        input=(3, 32, 32),
        class_names=_CIFAR100,
        counts=(50_000, 10_000),
        format="cifar100",
        sha256={"train.bin": "", "test.bin": ""},
        license="none stated by the authors",
        citation="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images (2009)",
        archive="cifar-100-binary.tar.gz",
        md5={"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"},
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        megabytes=161,
    ),
    # The MD5s are those that torchvision 0.28 checks. The additional training images are not read.
    "svhn": Published(
        input=(3, 32, 32),
        class_names=tuple("0123456789"),
        counts=(73_257, 26_032),
        format="svhn",
        sha256={"train_32x32.mat": "", "test_32x32.mat": ""},
        license="for non-commercial use only",
        citation="Y. Netzer et al.: Reading Digits in Natural Images, NIPS Workshop on Deep Learning (2011)",
        md5={
            "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
            "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        },
        mirrors=("http://ufldl.stanford.edu/housenumbers/",),
        megabytes=246,
    ),
    # The MD5 and the names of the classes are those of torchvision 0.28. The shorter side of the images has 160 pixels.
    "imagenette": Published(
        input=(3, 160, 160),
        class_names=(
            "tench",
            "English springer",
            "cassette player",
            "chain saw",
            "church",
            "French horn",
            "garbage truck",
            "gas pump",
            "golf ball",
            "parachute",
        ),
        counts=(9_469, 3_925),
        format="images",
        sha256={},
        license="Apache-2.0; the images are of ImageNet, for non-commercial research",
        citation="J. Howard: Imagenette, https://github.com/fastai/imagenette (2019)",
        archive="imagenette2-160.tgz",
        md5={"imagenette2-160.tgz": "e793b78cc4c9e9a4ccc0c1155377a412"},
        mirrors=("https://s3.amazonaws.com/fast-ai-imageclas/",),
        megabytes=99,
        class_folders=(
            "n01440764",
            "n02102040",
            "n02979186",
            "n03000684",
            "n03028079",
            "n03394916",
            "n03417042",
            "n03425413",
            "n03445777",
            "n03888257",
        ),
    ),
    # The first 200 training and 50 test images of each class of Fashion-MNIST: `onespec data mini`.
    "fashion-mnist-mini": Published(
        input=(1, 28, 28),
        class_names=_FASHION,
        counts=(2_000, 500),
        format="npy",
        sha256={
            "train_images.npy": "5b1ca7d866b209d4be4010b9871bfd33df00f42383a5c98a105c0d40dabee904",
            "train_labels.npy": "355ca6dab7211c3d66a231f2b34fd7d8fc03d3f7947ef96d4590f09d96591aa2",
            "test_images.npy": "cb5719d9ffc923809fd38f66441cf50abd9570f82681246dfa4ecf4c19c21cdc",
            "test_labels.npy": "ac23f384185b5591ca616babf81d829add86cadc0011d55cafed1ec2d98e08e8",
        },
        license=_ZALANDO,
        citation=_XIAO,
        archive="fashion_mnist_mini.npz",
        installed=Path(__file__).parent,
    ),
}


def is_published(name: str, sha256: dict[str, str]) -> bool:
    """Whether digests of unpacked files are the published ones, as far as these are known."""
    return all(sha256.get(file) == known for file, known in DATASETS[name].sha256.items() if known)


def find_archive(name: str) -> Path | None:
    """The verified archive of image files of a data set, in ``$ONESPEC_DATA`` or in the cache; None if there is none.

    Raises DataError if its MD5 is not the published one.
    """
    about = DATASETS[name]
    cache = cache_folder() / "data" / "archives" / name
    for folder in (*(place for place, _ in _places(name)), cache):
        if (archive := folder / about.archive).is_file():
            _check_md5(name, archive)
            return archive
    return None


def find(name: str) -> SourceFiles | None:
    """The verified files of a data set in ``$ONESPEC_DATA`` or in a system package; None if there are none.

    Raises DataError for the first folder whose files are incomplete, damaged or (unless `copies`) have other bytes.
    """
    return next(filter(None, (_read(name, folder, source) for folder, source in _places(name))), None)


def fetch(name: str, folder: Path, progress: Note) -> SourceFiles:
    """Download a data set into `folder` from its mirrors or as a Debian package; the first source that works is used.

    A downloaded file stays in `folder` only if it has its published MD5, so an interrupted download continues with the
    next file. Raises DataError, with every source and the reason why it failed.
    """
    failures = []
    for source, get in _attempts(name):
        progress(f"{name}: trying {source} ({DATASETS[name].megabytes} MB)")
        try:
            files = _read(name, get(folder), source)
        except (OSError, ValueError, DataError) as error:  # a requests error is an OSError, a wrong MD5 a ValueError
            failures.append(f"{source}: {_brief(error)}")
        else:
            if files:
                return files
            failures.append(f"{source}: has other files")
        progress(f"{name}: {failures[-1]}")
    raise DataError(f"{name}: not on this machine, and no source works ({'; '.join(failures)}): {remedy(name)}")


def remedy(name: str) -> str:
    """The ways to get a data set, as the end of an error message."""
    about = DATASETS[name]
    if not about.mirrors:
        return "install onespec again"
    package = f", or run `apt-get install {about.debian}`" if about.debian else ""
    return (
        f"run `onespec data fetch {name}` with a network connection, or put {', '.join(about.md5)} "
        f"from {about.mirrors[-1]} into $ONESPEC_DATA/{name}{package}"
    )


def _places(name: str) -> Iterator[tuple[Path, str]]:
    about, given = DATASETS[name], os.environ.get("ONESPEC_DATA")
    if given:
        if not Path(given).is_dir():
            raise DataError(f"ONESPEC_DATA={given}: no such folder; unset it, or set it to the folder of the data")
        yield from ((Path(given) / below, "$ONESPEC_DATA") for below in (name, *about.folders, "."))
    if about.installed:
        yield about.installed, f"Debian's package {about.debian}" if about.debian else "the package onespec"


def _read(name: str, folder: Path, source: str) -> SourceFiles | None:
    """Unpack and verify a data set's files in `folder`; None if it has none of them, or those of another data set."""
    about = DATASETS[name]
    archive = folder / about.archive
    packed = bool(about.archive) and archive.is_file()
    if about.format == "images":
        return SourceFiles({}, {}, source) if packed and _check_md5(name, archive) else None
    if not packed and _of_another(name, folder):
        return None
    if packed and not all(about.sha256.values()):
        _check_md5(name, archive)
    contents = _members(name, archive) if packed else _loose(name, folder)
    if not contents:
        return None
    if missing := [file for file in about.sha256 if file not in contents]:
        raise DataError(f"{folder}: has {', '.join(contents)} but not {', '.join(missing)}: {remedy(name)}")
    contents = {file: contents[file] for file in about.sha256}
    sha256 = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    if not is_published(name, sha256) and not about.copies:
        if sha256 in [other.sha256 for other in DATASETS.values()]:  # MNIST and Fashion-MNIST have the same file names
            return None
        file = next(file for file, known in about.sha256.items() if known and sha256[file] != known)
        raise DataError(
            f"{_path(folder, file) or archive}: expected SHA-256 {about.sha256[file]} of the unpacked {file}, "
            f"found {sha256[file]} ({len(contents[file]):,} bytes); remove it, then {remedy(name)}"
        )
    return SourceFiles(contents, sha256, source if is_published(name, sha256) else f"{source}, not the published bytes")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_md5(name: str, path: Path) -> bool:
    """True; DataError unless a packed file has its published MD5."""
    expected, found = DATASETS[name].md5[path.name], _md5(path)
    if found != expected:
        raise DataError(f"{path}: expected MD5 {expected}, found {found}; remove it, then {remedy(name)}")
    return True


def _of_another(name: str, folder: Path) -> bool:
    """Whether the first file has the published MD5 of another data set: KMNIST's files have the names of MNIST's."""
    about = DATASETS[name]
    path = _path(folder, next(iter(about.sha256)))
    others = {md5 for other, item in DATASETS.items() if other != name for md5 in item.md5.values()}
    return path is not None and path.name in about.md5 and _md5(path) in others - set(about.md5.values())


def _loose(name: str, folder: Path) -> dict[str, bytes]:
    contents = {}
    for file, expected in DATASETS[name].sha256.items():
        if path := _path(folder, file):
            if not expected and path.name not in DATASETS[name].md5:
                raise DataError(f"{path}: no digest of it is published; remove it, then {remedy(name)}")
            if not expected:
                _check_md5(name, path)
            try:
                contents[file] = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            except UNREADABLE as error:
                raise DataError(
                    f"{path}: expected SHA-256 {expected} of the unpacked {file}, but it cannot be unpacked "
                    f"({error}); remove it, then {remedy(name)}"
                ) from error
    return contents


def _path(folder: Path, file: str) -> Path | None:
    return next((path for path in (folder / file, folder / f"{file}.gz") if path.is_file()), None)


def _members(name: str, archive: Path) -> dict[str, bytes]:
    """The members of an .npz, which is a zip, or of a .tar.gz that have the names of the data set's files."""
    wanted = DATASETS[name].sha256
    try:
        if archive.suffix in (".npz", ".zip"):
            with zipfile.ZipFile(archive) as box:
                members = {PurePosixPath(member).name: member for member in box.namelist()}
                contents = {file: box.read(members[file]) for file in wanted if file in members}
                packed = {file: box.read(members[f"{file}.gz"]) for file in wanted if f"{file}.gz" in members}
                return {**contents, **{file: gzip.decompress(content) for file, content in packed.items()}}
        contents = {}
        with tarfile.open(archive, "r:gz") as tape:
            for member in tape:
                if (file := PurePosixPath(member.name).name) in wanted and (stream := tape.extractfile(member)):
                    contents[file] = stream.read()
        return contents
    except UNREADABLE as error:
        expected = DATASETS[name].md5.get(archive.name, "of the installed file")
        raise DataError(
            f"{archive}: expected MD5 {expected}, but it cannot be unpacked ({error}); remove it, then {remedy(name)}"
        ) from error


def _attempts(name: str) -> Iterator[tuple[str, Callable[[Path], Path]]]:
    """The name of each source, with a function that downloads the files into a folder and returns their folder."""
    about = DATASETS[name]
    for mirror in about.mirrors:
        yield mirror, partial(_download, mirror, about.md5)
    if about.debian and about.installed and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        yield f"apt-get download {about.debian}", partial(_debian_package, about.debian, about.installed)


def _download(mirror: str, md5: dict[str, str], folder: Path) -> Path:
    pooch.get_logger().setLevel(logging.WARNING)  # `fetch` reports progress
    # Some servers declare a .gz as a transfer encoding, which clients undo; the MD5 is that of the .gz itself.
    http = pooch.HTTPDownloader(timeout=TIMEOUT, chunk_size=1 << 20, headers={"Accept-Encoding": "identity"})
    for file, checksum in md5.items():
        pooch.retrieve(mirror + file, f"md5:{checksum}", fname=file, path=folder, downloader=http)
    return folder


def _debian_package(package: str, installed: Path, folder: Path) -> Path:
    """Unpack a Debian package below `folder`, as any user, with separate package lists; nothing is installed."""
    root = folder / "debian"
    shutil.rmtree(root, ignore_errors=True)  # of a run that was stopped
    (root / "lists" / "partial").mkdir(parents=True)
    apt = ["apt-get", "-qq", "-o", f"Dir::State::Lists={root / 'lists'}", "-o", f"Dir::Cache={root / 'cache'}"]
    # As root, apt would download as another user, who may not write here; the content is verified anyway.
    apt += ["-o", "APT::Sandbox::User=root", "-o", f"Acquire::http::Timeout={TIMEOUT[0]}", "-o", "Acquire::Retries=1"]
    _run([*apt, "update"], root, check=False)  # the list of another repository may be unreachable
    _run([*apt, "download", package], root)
    _run(["dpkg-deb", "-x", str(next(root.glob("*.deb"))), "."], root)
    return root / installed.relative_to("/")


def _run(command: list[str], folder: Path, check: bool = True) -> None:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if check and done.returncode:
        raise OSError((done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1])


def _brief(error: Exception) -> str:
    """The cause without the prefix of urllib3 (the connection) and the suffix of pooch (advice)."""
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return str(cause.args[-1] if cause.args else type(cause).__name__).split("): ")[-1].split(". ")[0]
