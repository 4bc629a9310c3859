"""Predicts with trained weights in any framework, whichever framework trained them."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.certification.lookup import Coverage, covering_trained
from benchmarks.datasets import augmentation
from benchmarks.datasets.image_layouts import read_limited
from benchmarks.datasets.image_options import ImageOptions
from benchmarks.datasets.image_pool import Broken, ImagePool
from benchmarks.datasets.images import SUFFIXES
from benchmarks.datasets.registry import DATASETS, dataset
from benchmarks.runtime import devices
from benchmarks.runtime.environments import Environment, FrameworkRequest, environment, parse_frameworks
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
NEEDS_PILLOW = "needs Pillow: pip install -e '.[images]'"


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
    if dataset_name is None and (checkpoint.images or trained_on not in DATASETS):
        named = f" ({trained_on})" if checkpoint.images else ""
        raise BadInput(
            f"--weights {weights}: the checkpoint names no published data set{named}; give --dataset or --images"
        )
    return from_dataset(str(trained_on) if dataset_name is None else dataset_name, test_size, checkpoint, progress)


def from_dataset(name: str, count: int | None, checkpoint: Checkpoint, progress: Progress) -> ImageSet:
    """The first test images of a data set, with pixels permuted as in training. Raises BadInput."""
    network = checkpoint.network
    data = dataset(name, progress.message, images=ImageOptions() if _fixed(name) else _options(checkpoint))
    if count is not None and not 0 < count <= data.test.count:
        raise BadInput(f"--test-size {count}: {name} has {data.test.count} test images")
    if network.input != data.input:
        raise BadInput(
            f"--dataset {name}: its images are {times(data.input)}, and {network.name} was trained on "
            f"{times(network.input)}"
        )
    if network.output != (data.classes,):
        raise BadInput(f"--dataset {name}: {data.classes} classes, and {network.name} has {network.output[0]} outputs")
    if data.images and checkpoint.class_names and checkpoint.class_names != data.class_names:
        raise BadInput(
            f"--dataset {name}: other classes than those of the training, {', '.join(checkpoint.class_names)}"
        )
    images = _permuted(np.load(data.test.images, mmap_mode="r")[:count], checkpoint)
    labels = np.load(data.test.labels)[:count]
    return ImageSet(images, tuple(map(str, range(len(images)))), labels, data.class_names)


def from_folder(folder: Path, checkpoint: Checkpoint, invert: bool) -> ImageSet:
    """The image files of a folder, converted to the channels and size of the network's input. Raises BadInput."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    shape = checkpoint.network.input
    if not files:
        raise BadInput(f"--images {folder}: no image files in it ({', '.join(sorted(SUFFIXES))})")
    if shape[0] not in (1, 3):
        raise BadInput(f"--images {folder}: the network takes {shape[0]} channels, an image file has 1 or 3")
    if not importlib.util.find_spec("PIL"):
        raise BadInput(f"--images {folder}: {NEEDS_PILLOW}")
    # Without the options of a training, the aspect ratio is that of the network's input.
    options = _options(checkpoint) if checkpoint.images else replace(_options(checkpoint), image_fit="stretch")
    pixels = []
    with ImagePool(len(files)) as pool:
        for path, image in zip(files, pool.decode(map(read_limited, files), shape[0], options)):
            if isinstance(image, Broken):
                raise BadInput(f"--images {path}: cannot be read as an image ({image})")
            pixels.append(image)
    images = _permuted(np.stack(pixels), checkpoint)
    trained_on = checkpoint.about.get("dataset")
    class_names = checkpoint.class_names or (DATASETS[trained_on].class_names if trained_on in DATASETS else ())
    return ImageSet(255 - images if invert else images, tuple(path.name for path in files), None, class_names)


def _fixed(name: str) -> bool:
    """Whether a data set is published as arrays of one size."""
    return name in DATASETS and DATASETS[name].format != "images"


def _options(checkpoint: Checkpoint) -> ImageOptions:
    """How images are read for a checkpoint: as in its training, at the size of its input."""
    channels, height, width = checkpoint.network.input
    options = checkpoint.images or ImageOptions()
    return replace(options, image_size=(height, width), channels=1 if channels == 1 else 3)


def _permuted(images: Array, checkpoint: Checkpoint) -> Array:
    seed = checkpoint.about.get("permutation")
    return images if seed is None else augmentation.permuted(images, seed)


# --- predictions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predictions:
    """The logits of each framework, N x classes by label, what covers them, and the reasons of those without logits."""

    logits: dict[str, Array] = field(default_factory=dict)
    verification: dict[str, str] = field(default_factory=dict)  # certified, ..., or not certified with the reason
    unavailable: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def predict(
    checkpoint: Checkpoint,
    images: Array,
    frameworks: str,
    pythons: Mapping[str, str],
    progress: Progress,
    *,
    threads: int,
    device: str,
    timeout: float,
) -> Predictions:
    """Predict in each framework of `--fw`. device: as `devices.resolved` gives it. Raises BadInput."""
    predictions = Predictions()
    for requested in parse_frameworks(frameworks):
        progress.preparation(f"{requested.label}: predicting")
        try:
            place = environment(requested, pythons, device=devices.kind(device), progress=progress.message)
            values, coverage = _predicted(checkpoint, images, place, requested, device, threads, timeout)
            predictions.logits[requested.label] = values
            predictions.verification[requested.label] = coverage.text
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
    device: str = "cpu",
    timeout: float = 600.0,
) -> Array:
    """The logits of one framework, N x classes, for images uint8, N x C x H x W. Unavailable, WorkerFailed."""
    return _predicted(checkpoint, images, place, requested, device, threads, timeout)[0]


def _predicted(
    checkpoint: Checkpoint,
    images: Array,
    place: Environment,
    requested: FrameworkRequest,
    device: str,
    threads: int,
    timeout: float,
) -> tuple[Array, Coverage]:
    """The logits of one framework, and the certificate that covers them."""
    info = FRAMEWORKS[requested.name]
    setting = Setting(device=devices.kind(device), threads=threads, mode=requested.mode)
    with TemporaryFolder("predict") as folder, contextlib.ExitStack() as stack:
        client = WorkerClient(
            place.python,
            info.module,
            info.adapter,
            threads=threads,
            log=folder / "log",
            timeout=timeout,
            environment=devices.environment(device),
        )
        started = stack.enter_context(client).started
        coverage = covering_trained(checkpoint.network, requested.label, setting, started.file, started.versions)
        client.build(checkpoint.network, Training(), setting)
        client.set_weights(checkpoint.weights)
        client.load("test", images, labels=np.zeros(len(images), np.int64))  # predictions do not use labels
        return client.predict("test", BATCH_SIZE), coverage
