"""Turns a request into jobs: networks with the layers that prepare their images, by framework and seed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import msgspec
import numpy as np

from benchmarks.certification.verified_networks import case_sha256
from benchmarks.datasets.image_options import ImageOptions
from benchmarks.datasets.registry import Dataset, check_name, dataset, described
from benchmarks.records.runs import TrainingRequestInfo
from benchmarks.runtime import devices, machine, precisions
from benchmarks.runtime.environments import parse_frameworks
from benchmarks.runtime.errors import BadInput, refuse_repeated
from benchmarks.runtime.networks import network, networks, with_shape
from benchmarks.training.jobs import Job
from benchmarks.training.recipes import DEFAULT, OPTIMIZERS, RECIPES, Recipe, normalized
from frameworks.spec import Network, Resize, SpecError, times

MINI = "fashion-mnist-mini"

# `--quick`: QUICK_MACS is a budget of multiply-adds for the forward passes of an epoch. LeNet then trains on all 2,000
# images, VGG-16 at 224 x 224 on 8, the minimum. Fewer than QUICK_FEW images get twice as many epochs. A batch has at
# least 8 images: with 2, batch norm and dropout, the mean loss increased.
QUICK_MACS, QUICK_LEAST, QUICK_FEW = 30e9, 8, 100

FRAMEWORK_BYTES = 400 << 20  # memory of an imported framework


@dataclass(frozen=True)
class TrainingRequest:
    """The options of `onespec run` and `onespec reproduce`. None leaves a value to the network's recipe.

    Raises BadInput for a value that is not allowed.
    """

    net: Sequence[str] = ("lenet",)
    frameworks: str = "all"
    dataset: str | None = None  # a name, or a path to images of the user's own
    images: ImageOptions = field(default_factory=ImageOptions)  # how the latter are read
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: str | None = None
    clip_norm: float | None = None
    weight_average: float | None = None  # decay of the average of the weights
    seeds: Sequence[int] = (0,)
    threads: int = field(
        default_factory=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    )
    device: str = "auto"
    precision: str = "float32"
    tf32: bool = False
    train_size: int | None = None
    test_size: int | None = None
    timeout: float = 600.0
    quick: bool = False
    experiment: str = ""  # of an article
    variant: str = "as-written"  # of the experiment
    experiment_recipe: Recipe | None = None  # serves all networks of the experiment
    scale: float = 1.0  # fraction of the experiment's epochs and images
    save: bool = False  # keep the trained weights
    pythons: Mapping[str, str] = field(default_factory=dict)  # interpreters by framework or label
    adapters: Sequence[str] = ()  # the user's own frameworks, FILE.py:CLASS

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "lr", "clip_norm", "threads", "train_size", "test_size", "timeout", "scale")
        for name in positive:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise BadInput(f"--{name.replace('_', '-')} {value}: must be more than 0 and finite")
        if self.weight_average is not None and not 0 < self.weight_average < 1:
            raise BadInput(f"--weight-average {self.weight_average}: must be more than 0 and less than 1")
        if self.optimizer is not None and self.optimizer not in OPTIMIZERS:
            raise BadInput(f"--optimizer {self.optimizer}: unknown optimizer; choose from {', '.join(OPTIMIZERS)}")
        devices.check(self.device)
        precisions.check([self.precision], self.tf32)
        if self.dataset is not None:
            check_name(self.dataset)
        if self.scale > 1:
            raise BadInput(f"--scale {self.scale:g}: at most 1, the whole experiment; --epochs makes it longer")
        if not self.net or not self.seeds:
            raise BadInput("--net and --seed: name at least one network and one seed")
        refuse_repeated("seed", self.seeds)
        if min(self.seeds) < 0:
            raise BadInput(f"--seed {min(self.seeds)}: must be 0 or more")

    @property
    def info(self) -> TrainingRequestInfo:
        """The request as `run.json` records it."""
        options = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "experiment_recipe"}
        return msgspec.convert(options, TrainingRequestInfo)

    @staticmethod
    def from_info(info: TrainingRequestInfo, experiment_recipe: Recipe | None = None) -> TrainingRequest:
        """The inverse of `info`."""
        return TrainingRequest(**msgspec.structs.asdict(info), experiment_recipe=experiment_recipe)

    def recipe(self, name: str) -> Recipe:
        """The network's recipe, with the options applied."""
        recipe = self.experiment_recipe or RECIPES.get(name, DEFAULT)
        recipe = replace(recipe, epochs=max(1, round(recipe.epochs * self.scale)))
        if self.quick:
            recipe = replace(recipe, dataset=MINI, epochs=2, batch_size=min(recipe.batch_size, 64), shuffle=True)
            if quick := recipe.quick:
                recipe = replace(recipe, training=quick.training, lr=quick.lr, batch_size=quick.batch_size)
        if self.optimizer:
            recipe = replace(recipe, training=replace(recipe.training, optimizer=OPTIMIZERS[self.optimizer]))
        training = {"clip_norm": self.clip_norm, "average": self.weight_average}
        changed = {key: value for key, value in training.items() if value is not None}
        recipe = replace(recipe, training=replace(recipe.training, **changed))  # type: ignore[arg-type]
        if recipe.test_in_training_mode and recipe.training.average is not None:
            raise BadInput(
                f"--weight-average {recipe.training.average}: the recipe of {name} tests in training mode, "
                "which does not use the average; leave the option out"
            )
        given = {"dataset": self.dataset, "epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}
        return replace(recipe, **{key: value for key, value in given.items() if value is not None})  # type: ignore


def fit(network: Network, recipe: Recipe, data: Dataset) -> Network:
    """The network with the layers that prepare a data set's images in front: pixel arithmetic, and a resize if needed.

    Raises BadInput if the network does not take the images or does not have an output for each class.
    """
    channels, *size = data.input
    if len(network.output) != 1:
        raise BadInput(f"{network.name}: its last layer outputs {times(network.output)}; add Flatten() after it")
    if network.classes < data.classes:
        raise BadInput(f"{network.name}: {network.classes} outputs for the {data.classes} classes of {data.name}")
    net = network.with_input((channels, *((recipe.side, recipe.side) if recipe.side else network.input[1:])))
    front = [*recipe.pixels]
    _, height, width = net.input
    if (height, width) != tuple(size):
        front.append(Resize("resize", height, width))
    try:
        return net.after(*front, input=data.input)
    except SpecError as error:
        raise BadInput(f"{error}: the recipe of {network.name} does not fit {data.name}") from None


def plan(
    request: TrainingRequest, note: Callable[[str], None], *, elsewhere: bool = False
) -> tuple[list[list[Job]], dict[str, Dataset]]:
    """The jobs of a request, in groups that run side by side, and their data sets by name. Imports no framework.

    note: called with messages about the data. elsewhere: the jobs run on other machines, so a published data set is
    only described, and this machine's memory does not count. Raises BadInput and DataError.
    """
    labels = parse_frameworks(request.frameworks)
    for key in request.pythons:
        if not any(key in (framework.name, framework.label) for framework in labels):
            raise BadInput(f"--python {key}=...: --fw has no {key}; it has {', '.join(each.label for each in labels)}")
    # A network that cannot be trained is refused before any data set is looked for.
    names = list(networks([_with_shape(text, request, note) for text in request.net]))
    device = request.device if elsewhere and request.device != "auto" else devices.resolved(request.device)
    precisions.check_device(device, request.tf32)
    recipes = {name: request.recipe(name) for name in names}
    named = dict.fromkeys(recipe.dataset for recipe in recipes.values())
    read = described if elsewhere else dataset
    data = {text: read(text, note, images=request.images) for text in named}
    groups: list[list[Job]] = []
    for name, recipe in recipes.items():
        job = _job(name, recipe, data[recipe.dataset], device, request)
        if not elsewhere and list(request.net) != ["all"]:  # of all networks, those that fit are trained
            check_memory(job)
        for seed in request.seeds:
            groups.append([replace(job, framework=each.label, mode=each.mode, seed=seed) for each in labels])
    return groups, {each.name: each for each in data.values()}


def _with_shape(text: str, request: TrainingRequest, note: Callable[[str], None]) -> str:
    """The text of a network, with the shape of the images that it trains on where it needs one."""
    return with_shape(text, lambda: described(request.recipe(text).dataset, note, images=request.images).input)


def _job(name: str, recipe: Recipe, data: Dataset, device: str, request: TrainingRequest) -> Job:
    """The job of a network, without a framework and a seed."""
    net = network(name, classes=data.classes)
    if data.images:  # the constants of a recipe are those of its own data set
        recipe = replace(recipe, pixels=normalized(data.images.mean, data.images.std))
    built = fit(net, recipe, data)
    train_size, test_size = (max(1, round(split.count * request.scale)) for split in (data.train, data.test))
    batch_size, epochs = recipe.batch_size, recipe.epochs
    if request.quick:
        train_size = min(train_size, max(QUICK_LEAST, int(QUICK_MACS / max(built.macs, 1))))
        batch_size = request.batch_size or min(batch_size, max(QUICK_LEAST, train_size // 4))
        if train_size <= QUICK_FEW:
            epochs = request.epochs or 2 * epochs
    test_size = min(test_size, train_size)
    return Job(
        name=net.name,
        network=built,
        framework="",
        seed=0,
        epochs=epochs,
        batch_size=batch_size,
        lr=recipe.lr,
        training=recipe.training,
        initial=recipe.initial,
        shuffle=recipe.shuffle,
        train_size=_at_most(request.train_size, data.train.count, "--train-size", data.name) or train_size,
        test_size=_at_most(request.test_size, data.test.count, "--test-size", data.name) or test_size,
        device=device,
        precision=request.precision,
        tf32=request.tf32,
        threads=request.threads,
        dataset=data.name,
        requested=name,
        case_sha256=case_sha256(name),
        lr_schedule=recipe.lr_schedule,
        augmentations=recipe.augmentations,
        permutation=recipe.permutation,
        test_in_training_mode=recipe.test_in_training_mode,
        fixed_batches=recipe.fixed_batches,
    )


def _at_most(requested: int | None, count: int, option: str, name: str) -> int | None:
    if requested is not None and requested > count:
        raise BadInput(f"{option} {requested}: {name} has {count} images in this split")
    return requested


def check_memory(job: Job) -> None:
    """Raise BadInput if training alone would take more memory than the machine has, before any weight is drawn.

    Apple's GPU has the memory of the machine.
    """
    if job.setting.device != "cuda":
        needed = job.network.training_bytes(min(job.batch_size, job.train_size), len(job.training.slots))
    else:
        needed = job.network.params * np.dtype(np.float64).itemsize  # drawn here, trained on the device
    if needed > (total := machine.total_memory()):
        raise BadInput(
            f"--net {job.name}: training needs about {needed / 2**30:,.1f} GiB, and this machine has "
            f"{total / 2**30:,.1f} GiB; choose a smaller network or --batch-size"
        )


def cell_bytes(job: Job) -> int:
    """About how many bytes of memory a job takes: its training, its framework and its images."""
    images = (job.train_size + job.test_size) * math.prod(job.network.input)  # a byte for each value
    return job.network.training_bytes(job.batch_size, len(job.training.slots)) + FRAMEWORK_BYTES + images


def too_large(group: Sequence[Job]) -> str | None:
    """Why these jobs do not fit side by side into the memory that is available now, or None."""
    if not group:
        return None
    job, each = group[0], cell_bytes(group[0])
    free = machine.available_memory()
    if job.setting.device == "cuda" or each * len(group) <= free:
        return None
    return (
        f"training needs about {each / 2**30:.1f} GiB in each of {len(group)} frameworks side by side, and "
        f"{free / 2**30:.1f} GiB are available; choose a smaller --batch-size or --train-size, or "
        "fewer frameworks (--fw)"
    )
