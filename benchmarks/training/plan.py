"""What a request comes to: the jobs, each a network behind its pictures in a framework. Runs nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from benchmarks.articles.experiments import EXPERIMENTS, Experiment
from benchmarks.cli.progress import ProgressDisplay
from benchmarks.datasets.registry import DATASETS, Dataset, dataset
from benchmarks.records import store
from benchmarks.runtime.environments import parse_frameworks
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import network
from benchmarks.training.lr_schedules import CONSTANT
from benchmarks.training.recipes import DEFAULT, OPTIMIZERS, RECIPES, Recipe
from benchmarks.training.trainer import Job
from benchmarks.verification.certificates import trial_sha256
from frameworks.networks import NETWORKS
from frameworks.spec import Network, Resize, SpecError, times
from frameworks.training import Optimizer

MINI = "fashion-mnist-mini"

# `--quick`: multiply-adds of an epoch's forward passes, and never fewer pictures than the second figure. LeNet has all
# 2,000; VGG-16 at 224 x 224 has 8. So few are seen in more epochs, and a batch has no fewer than 8: over two pictures,
# with batch norm and dropout, the mean of the losses rose.
QUICK_WORK, QUICK_LEAST, QUICK_FEW = 30e9, 8, 100

FRAMEWORK_BYTES = 400 << 20  # what importing one takes


@dataclass(frozen=True)
class Request:
    """What is to be run: the command's options. None leaves a value to the network's recipe."""

    net: Sequence[str] = ("lenet",)
    frameworks: str = "all"
    dataset: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: str | None = None
    seeds: Sequence[int] = (0,)
    threads: int = field(
        default_factory=lambda: len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    )
    device: str = "auto"
    precision: str = "float32"
    train_size: int | None = None
    test_size: int | None = None
    timeout: float = 600.0
    quick: bool = False
    experiment: str = ""  # in EXPERIMENTS; its recipe then serves all its networks
    variant: str = "as-written"  # of the experiment
    scale: float = 1.0  # of the experiment's epochs, and of its pictures
    save: bool = False  # the trained weights
    pythons: Mapping[str, str] = field(default_factory=dict)
    adapters: Sequence[str] = ()  # frameworks from outside, file.py:Class

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr", "threads", "train_size", "test_size", "timeout", "scale"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadInput(f"--{name.replace('_', '-')} {value}: it is more than 0")
        for name, there_is in (("optimizer", OPTIMIZERS), ("dataset", DATASETS)):
            value = getattr(self, name)
            if value is not None and value not in there_is:
                raise BadInput(f"--{name} {value}: no such {name}; there are {', '.join(there_is)}")
        if self.scale > 1:
            raise BadInput(f"--scale {self.scale:g}: 1 is the whole experiment; --epochs makes it longer")
        if not self.net or not self.seeds:
            raise BadInput("--net and --seed name at least one network and one seed")
        if min(self.seeds) < 0:
            raise BadInput(f"--seed {min(self.seeds)}: seeds are 0 or more")

    @property
    def chosen(self) -> Experiment | None:
        """The experiment that is asked for, in its variant."""
        return EXPERIMENTS[self.experiment].variants[self.variant] if self.experiment else None

    def recipe(self, name: str) -> Recipe:
        """The network's recipe with the options in place."""
        recipe = self.chosen.recipe if self.chosen else RECIPES.get(name, DEFAULT)
        recipe = replace(recipe, epochs=max(1, round(recipe.epochs * self.scale)))
        if self.quick:
            recipe = replace(recipe, dataset=MINI, epochs=2, batch_size=min(recipe.batch_size, 64), shuffle=True)
        if self.optimizer:
            recipe = replace(recipe, training=replace(recipe.training, optimizer=OPTIMIZERS[self.optimizer]))
        given = {"dataset": self.dataset, "epochs": self.epochs, "batch_size": self.batch_size, "rate": self.lr}
        return replace(recipe, **{key: value for key, value in given.items() if value is not None})  # type: ignore


def fit(wanted: Network, recipe: Recipe, data: Dataset) -> Network:
    """A network behind what its pictures need: the recipe's arithmetic on pixels, and a resize where sizes differ."""
    channels, *size = data.input
    if len(wanted.output) != 1:
        raise BadInput(f"{wanted.name}: its last layer gives {times(wanted.output)}; put Flatten() after it")
    if wanted.classes < data.classes:
        raise BadInput(f"{wanted.name}: {wanted.classes} outputs for the {data.classes} classes of {data.name}")
    net = wanted.with_input((channels, *((recipe.side, recipe.side) if recipe.side else wanted.input[1:])))
    front = [*recipe.pixels]
    if net.input[1:] != tuple(size):
        front.append(Resize("resize", *net.input[1:]))
    try:
        return net.after(*front, input=data.input)
    except SpecError as error:
        raise BadInput(f"{error}: the recipe of {wanted.name} is not for {data.name}") from None


def plan(request: Request, progress: ProgressDisplay) -> tuple[list[list[Job]], dict[str, Dataset]]:
    """The cells that run side by side, group by group, and the data that they need. Imports and makes nothing."""
    asked = parse_frameworks(request.frameworks)
    for key in request.pythons:
        if not any(key in (one.name, one.label) for one in asked):
            raise BadInput(f"--python {key}=...: --fw has no {key}; it has {', '.join(one.label for one in asked)}")
    names = list(NETWORKS) if list(request.net) == ["all"] else list(request.net)
    device = request.device if request.device != "auto" else ("cuda" if store.gpu() else "cpu")
    for name in names:
        network(name)  # a name that is none is said before any data is looked for
    recipes = {name: request.recipe(name) for name in names}
    data = {
        name: dataset(name, progress.message) for name in dict.fromkeys(recipe.dataset for recipe in recipes.values())
    }
    groups = []
    for name, recipe in recipes.items():
        pictures = data[recipe.dataset]
        wanted = network(name, classes=pictures.classes)
        net = fit(wanted, recipe, pictures)
        train_size, test_size = (max(1, round(n.count * request.scale)) for n in (pictures.train, pictures.test))
        batch_size = recipe.batch_size
        if request.quick:
            train_size = min(train_size, max(QUICK_LEAST, int(QUICK_WORK / max(net.macs, 1))))
            batch_size = request.batch_size or min(batch_size, max(QUICK_LEAST, train_size // 4))
            if train_size <= QUICK_FEW:
                recipe = replace(recipe, epochs=request.epochs or 2 * recipe.epochs)
        job = Job(
            name=wanted.name,
            network=net,
            framework="",
            seed=0,
            epochs=recipe.epochs,
            batch_size=batch_size,
            rate=recipe.rate,
            training=recipe.training,
            initial=recipe.initial,
            shuffle=recipe.shuffle,
            train_size=_within(request.train_size, pictures.train.count, "--train-size", recipe.dataset) or train_size,
            test_size=_within(request.test_size, pictures.test.count, "--test-size", recipe.dataset)
            or min(test_size, train_size),
            device=device,
            precision=request.precision,
            threads=request.threads,
            dataset=recipe.dataset,
            trial_sha256=trial_sha256(name),
            schedule=recipe.schedule,
            changes=recipe.changes,
            permutation=recipe.permutation,
            tested_in_training_mode=recipe.tested_in_training_mode,
            batches_stay=recipe.batches_stay,
        )
        for seed in request.seeds:
            groups.append([replace(job, framework=one.label, mode=one.mode, seed=seed) for one in asked])
    return groups, data


def _within(asked: int | None, there_are: int, option: str, name: str) -> int | None:
    if asked is not None and asked > there_are:
        raise BadInput(f"{option} {asked}: {name} has {there_are} pictures there")
    return asked


def too_large(group: Sequence[Job]) -> str | None:
    """Why these cells cannot live side by side in the memory that is free now, or None."""
    if not group:
        return None
    job = group[0]
    each = job.network.training_bytes(job.batch_size, len(job.training.optimizer.slots)) + FRAMEWORK_BYTES
    free = store.available_memory()
    if job.device != "cpu" or each * len(group) <= free:
        return None
    return (
        f"training takes about {each / 2**30:.1f} GiB in each of {len(group)} frameworks side by side, and "
        f"{free / 2**30:.1f} GiB are free; take a smaller --batch-size or fewer --fw"
    )


def described(job: Job) -> dict[str, Any]:
    """A job as `run.json` keeps it."""
    return {
        "cell": job.cell,
        "net": job.name,
        **{name: getattr(job, name) for name in _KEPT},
        **trained(job),
        "macs": job.network.macs,
        "spec_sha256": job.network.sha256,
    }


def trained(by: Job | Recipe) -> dict[str, Any]:
    """How a job or a recipe trains, less its length, as `run.json` keeps it; None for what most do not have."""
    return {
        **{name: getattr(by, name) for name in ("dataset", "batch_size", "rate", "initial", "shuffle", "permutation")},
        "optimizer": told(by.training.optimizer),
        "label_smoothing": by.training.label_smoothing or None,
        "decay_all": by.training.decay_all or None,
        "schedule": None if by.schedule == CONSTANT else repr(by.schedule),
        "changes": list(map(repr, by.changes)) or None,
        "tested_in_training_mode": by.tested_in_training_mode or None,
        "batches_stay": by.batches_stay or None,
    }


def told(optimizer: Optimizer) -> str:
    """An optimiser in words: its name, and what is not its default."""
    given = {item.name: getattr(optimizer, item.name) for item in fields(optimizer)}
    other = {name: value for name, value in given.items() if value != getattr(type(optimizer)(), name, None)}
    words = [name.replace("_", " ") + ("" if value is True else f" {value:g}") for name, value in other.items()]
    return ", ".join([type(optimizer).__name__, *words])


_KEPT = (
    "framework mode device precision dataset seed batch_size epochs rate initial shuffle train_size test_size threads"
).split()
