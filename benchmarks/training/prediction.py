"""Predicts with trained weights in any framework, whichever framework trained them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.datasets import augmentation
from benchmarks.datasets.registry import DATASETS, dataset
from benchmarks.runtime.environments import Device, Environment, FrameworkRequest, environment, parse_frameworks
from benchmarks.runtime.errors import BadInput, WorkerFailed
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.training.checkpoints import Checkpoint
from benchmarks.training.progress import Progress
from frameworks.adapter import Setting
from frameworks.arrays import Array
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS
from frameworks.spec import times
from frameworks.training import Training

BATCH_SIZE = 256
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif"}
NEEDS_PILLOW = "needs Pillow: pip install pillow, or onespec[images]"


# --- images -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageSet:
    """Images to predict: uint8, N x C x H x W, with a name each and, if known, a label each."""

    images: Array
    names: tuple[str, ...]
    labels: Array | None  # int64, N
    class_names: tuple[str, ...]

    def class_name(self, number: int) -> str:
        return self.class_names[number] if number < len(self.class_names) else str(number)


def choose(
    checkpoint: Checkpoint,
    weights: Path,
    dataset_name: str | None,
    folder: Path | None,
    *,
    test_size: int | None,
    invert: bool,
    progress: Progress,
) -> ImageSet:
    """The images of `--images`, or the test images of `--dataset` or of the training data set. Raises BadInput."""
    if folder:
        return from_folder(folder, checkpoint, invert)
    trained_on = checkpoint.about.get("dataset")
    if dataset_name is None and trained_on not in DATASETS:
        raise BadInput(f"--weights {weights}: the checkpoint names no known data set; give --dataset or --images")
    return from_dataset(str(trained_on) if dataset_name is None else dataset_name, test_size, checkpoint, progress)


def from_dataset(name: str, count: int | None, checkpoint: Checkpoint, progress: Progress) -> ImageSet:
    """The first test images of a data set, with pixels permuted as in training. Raises BadInput."""
    data = dataset(name, progress.message)
    network = checkpoint.network
    if count is not None and not 0 < count <= data.test.count:
        raise BadInput(f"--test-size {count}: {name} has {data.test.count} test images")
    if network.input != data.input:
        raise BadInput(
            f"--dataset {name}: its images are {times(data.input)}, and {network.name} was trained on "
            f"{times(network.input)}"
        )
    if network.output != (data.classes,):
        raise BadInput(f"--dataset {name}: {data.classes} classes, and {network.name} has {network.output[0]} outputs")
    images = _permuted(np.load(data.test.images, mmap_mode="r")[:count], checkpoint)
    labels = np.load(data.test.labels)[:count]
    return ImageSet(images, tuple(map(str, range(len(images)))), labels, data.class_names)


def from_folder(folder: Path, checkpoint: Checkpoint, invert: bool) -> ImageSet:
    """The image files of a folder, converted to the channels and size of the network's input. Raises BadInput."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        raise BadInput(f"--images {folder}: no image files in it ({', '.join(sorted(SUFFIXES))})")
    images = _permuted(np.stack([_read(path, checkpoint.network.input) for path in files]), checkpoint)
    trained_on = checkpoint.about.get("dataset")
    class_names = DATASETS[trained_on].class_names if trained_on in DATASETS else ()
    return ImageSet(255 - images if invert else images, tuple(path.name for path in files), None, class_names)


def _permuted(images: Array, checkpoint: Checkpoint) -> Array:
    seed = checkpoint.about.get("permutation")
    return images if seed is None else augmentation.permuted(images, seed)


def _read(path: Path, shape: tuple[int, ...]) -> Array:
    """One file as uint8, C x H x W. Transparent parts become white."""
    try:
        from PIL import Image
    except ImportError:
        raise BadInput(f"--images {path.parent}: {NEEDS_PILLOW}") from None
    channels, height, width = shape
    if channels not in (1, 3):
        raise BadInput(f"--images {path.parent}: the network takes {channels} channels, an image file has 1 or 3")
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits per pixel, which `convert` would clip at 255
                image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
            colored = image.convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
        raise BadInput(f"--images {path}: cannot be read as an image ({error})") from None
    white = Image.new("RGBA", colored.size, "white")
    opaque = Image.alpha_composite(white, colored).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(opaque.resize((width, height), Image.Resampling.BILINEAR))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


# --- predictions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predictions:
    """The logits of each framework, N x classes by label, and the reasons of those that have none."""

    logits: dict[str, Array]
    unavailable: dict[str, str]
    failed: dict[str, str]


def predict(
    checkpoint: Checkpoint,
    images: Array,
    frameworks: str,
    pythons: Mapping[str, str],
    progress: Progress,
    *,
    threads: int,
    device: Device,
    timeout: float,
) -> Predictions:
    """Predict in each framework of `--fw`. Raises BadInput."""
    predictions = Predictions({}, {}, {})
    for requested in parse_frameworks(frameworks):
        progress.preparation(f"{requested.label}: predicting")
        try:
            place = environment(requested, pythons, device=device, progress=progress.message)
            predictions.logits[requested.label] = logits(
                checkpoint, images, place, requested, threads=threads, device=device, timeout=timeout
            )
        except Unavailable as error:
            predictions.unavailable[requested.label] = str(error)
        except WorkerFailed as error:
            predictions.failed[requested.label] = str(error)
    return predictions


def logits(
    checkpoint: Checkpoint,
    images: Array,
    place: Environment,
    requested: FrameworkRequest,
    *,
    threads: int = 1,
    device: Device = "cpu",
    timeout: float = 600.0,
) -> Array:
    """The logits of one framework, N x classes, for images uint8, N x C x H x W. Unavailable, WorkerFailed."""
    info = FRAMEWORKS[requested.name]
    setting = Setting(device=device, threads=threads, mode=requested.mode)
    with TemporaryFolder("predict") as folder:
        log = folder / "log"
        with WorkerClient(place.python, info.module, info.adapter, threads=threads, log=log, timeout=timeout) as client:
            client.build(checkpoint.network, Training(), setting)
            client.set_weights(checkpoint.weights)
            client.load("test", images, labels=np.zeros(len(images), np.int64))  # predictions do not use labels
            return client.predict("test", BATCH_SIZE)
