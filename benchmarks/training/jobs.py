"""A job: everything that decides the numbers of a cell, except the framework's version and the machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields

import msgspec
import numpy as np

from benchmarks.certification.lookup import RowIdentity
from benchmarks.datasets.augmentation import Augmentation
from benchmarks.records.runs import JobInfo, RecipeInfo
from benchmarks.runtime import devices
from benchmarks.training.lr_schedules import CONSTANT, Schedule
from benchmarks.training.recipes import Recipe
from frameworks import arrays
from frameworks.adapter import Setting
from frameworks.arrays import Array
from frameworks.spec import Network
from frameworks.training import Optimizer, Training


@dataclass(frozen=True)
class Job:
    """One network in one framework with one seed, and how it is trained."""

    name: str  # of the network
    network: Network  # as built: the layers that prepare the pixels are in front
    framework: str  # its label, such as torch or torch==2.12.1
    seed: int
    epochs: int
    batch_size: int
    lr: float  # of every step, times the schedule's factor
    training: Training
    initial: str  # scheme of the initial weights, see `frameworks.arrays`
    shuffle: bool
    train_size: int  # images
    test_size: int
    device: str  # as `--device` names it; cuda:1 has a number
    precision: str
    threads: int  # of the worker
    dataset: str
    requested: str = ""  # the network, as on the command line
    case_sha256: str = ""  # identity of the network that a certificate verifies
    mode: str = ""
    tf32: bool = False
    lr_schedule: Schedule = CONSTANT
    augmentations: tuple[Augmentation, ...] = ()
    permutation: int | None = None  # seed of a permutation of the pixels, the same for all images
    test_in_training_mode: bool = False
    fixed_batches: bool = False  # only the order of the batches is shuffled

    @property
    def cell(self) -> str:
        """The name of the cell in records."""
        return f"{self.name}.{self.framework}.{self.seed}"

    def row(self, adapter: str, versions: Mapping[str, str]) -> RowIdentity:
        """What a certificate of this job has to cover, as the worker reports its adapter and its package versions."""
        return RowIdentity(self.requested, self.name, self.case_sha256, self.framework, adapter, versions, self.setting)

    @property
    def setting(self) -> Setting:
        """Where and how the worker runs it."""
        device = devices.kind(self.device)
        return Setting(device, self.precision, self.threads, self.mode, self.tf32)  # type: ignore[arg-type]


def order(job: Job, epoch: int) -> Array:
    """The order of the training images in an epoch, int64: shuffled, as stored, or in shuffled batches.

    A shorter batch stays last, because an order is cut into batches from its start.
    """
    stream, stored = np.random.default_rng([job.seed, epoch]), np.arange(job.train_size)
    if not job.shuffle:
        return stored
    if not job.fixed_batches:
        return stream.permutation(job.train_size)
    whole = job.train_size // job.batch_size * job.batch_size
    batches = stream.permutation(stored[:whole].reshape(-1, job.batch_size))
    return np.concatenate([batches.ravel(), stored[whole:]])


def dropout_seed(*numbers: int) -> int:
    """A seed that differs for every run, epoch and slice: 31 bits, the most that MXNet accepts.

    A trailing zero changes nothing, because `SeedSequence` pads with zeros: slices count from 0, and evaluation has a
    number of its own.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) >> 1


def weights_sha256(job: Job) -> str:
    """The digest of the initial weights in the spec's order: each array's name and its float64 values."""
    digest = hashlib.sha256()
    for parameter in job.network.parameters:
        digest.update(parameter.name.encode())
        digest.update(np.ascontiguousarray(arrays.drawn(parameter, job.seed, job.initial)).data)
    return digest.hexdigest()


def describe(job: Job) -> JobInfo:
    """A job as `run.json` records it."""
    return JobInfo(
        cell=job.cell,
        net=job.name,
        framework=job.framework,
        mode=job.mode,
        device=job.device,
        precision=job.precision,
        tf32=job.tf32,
        seed=job.seed,
        epochs=job.epochs,
        train_size=job.train_size,
        test_size=job.test_size,
        threads=job.threads,
        macs=job.network.macs,
        spec_sha256=job.network.sha256,
        **msgspec.structs.asdict(describe_recipe(job)),
    )


def describe_recipe(recipe: Job | Recipe) -> RecipeInfo:
    """How a job or a recipe trains, as `run.json` records it."""
    return RecipeInfo(
        dataset=recipe.dataset,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        initial=recipe.initial,
        shuffle=recipe.shuffle,
        permutation=recipe.permutation,
        optimizer=describe_optimizer(recipe.training.optimizer),
        label_smoothing=recipe.training.label_smoothing or None,
        decay_all=recipe.training.decay_all or None,
        clip_norm=recipe.training.clip_norm,
        weight_average=recipe.training.average,
        lr_factors=list(recipe.training.lr_factors) or None,
        lr_schedule=None if recipe.lr_schedule == CONSTANT else repr(recipe.lr_schedule),
        augmentations=[repr(each) for each in recipe.augmentations] or None,
        test_in_training_mode=recipe.test_in_training_mode or None,
        fixed_batches=recipe.fixed_batches or None,
    )


def describe_optimizer(optimizer: Optimizer) -> str:
    """An optimizer as text: its name, and every value that is not its default."""
    default = type(optimizer)()
    words = [type(optimizer).__name__]
    for item in fields(optimizer):
        value = getattr(optimizer, item.name)
        if value != getattr(default, item.name):
            name = item.name.replace("_", " ")
            words.append(name if value is True else f"{name} {value:g}")
    return ", ".join(words)
