"""What `run.json` says of a run: the request, the machine, the data and the jobs. One struct for each kind of run.

Optional fields are those that some versions did not record. Digests are SHA-256 in hexadecimal.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec

from benchmarks.datasets.image_options import ImageOptions
from benchmarks.datasets.image_records import ImagesInfo
from benchmarks.records.events import Amount, Count, Seconds, Size
from benchmarks.runtime.machine import Machine


class DataInfo(msgspec.Struct, frozen=True):
    """A data set: the digests of its files, whether they are the published bytes, and where they came from.

    Of image files, the digests are those of their listing and of the decoded arrays, and `images` says how they were
    read.
    """

    sha256: dict[str, str]
    published: bool
    source: str = ""
    images: ImagesInfo | None = None


class TrainingRequestInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `onespec run`. None leaves a value to the network's recipe."""

    net: list[str]
    frameworks: str
    dataset: str | None = None
    images: ImageOptions = ImageOptions()
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: str | None = None
    clip_norm: float | None = None
    weight_average: float | None = None
    seeds: list[int]
    threads: int
    device: str
    precision: str
    tf32: bool = False
    train_size: int | None = None
    test_size: int | None = None
    timeout: float = 600.0
    quick: bool = False
    experiment: str = ""
    variant: str = "as-written"
    scale: float = 1.0
    save: bool = False
    pythons: dict[str, str] = {}
    adapters: list[str] = []


class RecipeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How a network is trained, except for how long; what most recipes do not have is None."""

    dataset: str
    batch_size: Count
    lr: float
    initial: str  # scheme of the initial weights
    shuffle: bool
    permutation: int | None = None  # seed of the permutation of the pixels
    optimizer: str  # as text
    label_smoothing: float | None = None
    decay_all: bool | None = None
    clip_norm: float | None = None
    weight_average: float | None = None  # decay of the average
    lr_factors: list[tuple[str, float]] | None = None  # pattern and factor
    lr_schedule: str | None = None
    augmentations: list[str] | None = None
    test_in_training_mode: bool | None = None
    fixed_batches: bool | None = None


class JobInfo(RecipeInfo, frozen=True, kw_only=True):
    """One cell of a training run: a network in a framework with a seed, and how it is trained."""

    cell: str
    net: str
    framework: str  # its label, such as torch or torch==2.12.1
    mode: str = ""
    device: str  # as `--device` names it, such as cuda:1
    precision: str
    tf32: bool = False  # products of float32 in TF32
    seed: int
    epochs: Count
    train_size: Count  # images
    test_size: Count
    threads: Count
    macs: Size
    spec_sha256: str
    weights_sha256: str | None = None  # of the initial weights; known when the cell starts
    version: str | None = None


class GroupInfo(msgspec.Struct, frozen=True):
    """A network and a seed, which all frameworks train side by side on one machine."""

    net: str
    seed: int

    def __str__(self) -> str:
        return f"{self.net}, seed {self.seed}"


class ShardInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a plan a run is. The plan is in the same folder."""

    number: Count  # from 1
    count: Count
    code: dict[str, str]  # by framework: the digest of the code that ran


class PartInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The cells of a run that one machine ran, in a run of several machines or in one that was merged."""

    machine: Machine
    began: str
    commit: str | None = None
    cpu_load: float | None = None
    cells: list[str]


class TrainingRun(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json` of `onespec run` and `onespec reproduce`."""

    kind: ClassVar[str] = "run"
    began: str  # ISO 8601, with the time zone
    command: list[str]
    request: TrainingRequestInfo
    machine: Machine
    commit: str | None = None
    data: dict[str, DataInfo]
    jobs: Annotated[list[JobInfo], msgspec.Meta(min_length=1)]
    cpu_load: float | None = None  # fraction of the cores' time, other programs
    wall_seconds: Seconds | None = None
    plan_sha256: str | None = None  # of the plan that the run is, or of which it is a part
    shard: ShardInfo | None = None  # None also in a run that was merged from shards
    parts: list[PartInfo] = []  # the cells that are in no part ran on `machine`

    @property
    def merged(self) -> bool:
        """Whether the run was merged from shards."""
        return self.plan_sha256 is not None and self.shard is None

    @property
    def machine_by_cell(self) -> dict[str, Machine]:
        """The machine that ran a cell; cells that are missing ran on `machine`."""
        return {cell: part.machine for part in reversed(self.parts) for cell in part.cells}

    def machine_of(self, cell: str) -> Machine:
        """The machine that ran a cell."""
        return self.machine_by_cell.get(cell, self.machine)

    @property
    def machines(self) -> dict[Machine, list[JobInfo]]:
        """The jobs by the machine that ran them; without those of a merged run that no shard has run."""
        known = self.machine_by_cell
        machines: dict[Machine, list[JobInfo]] = {}
        for job in self.jobs:
            if not self.merged or job.cell in known:
                machines.setdefault(known.get(job.cell, self.machine), []).append(job)
        return machines or {self.machine: []}


class SpeedRequestInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `onespec speed`."""

    net: list[str]
    frameworks: str
    what: list[str]
    batch_sizes: list[int] = []
    threads: list[int]
    precision: list[str]
    tf32: bool = False
    budget: float  # seconds of each comparison
    baseline: str | None = None
    modes: str = ""
    layers: bool = False
    dataset: str | None = None
    images: ImageOptions = ImageOptions()
    device: str = "auto"
    steady: bool = True
    timeout: float = 600.0
    pythons: dict[str, str] = {}
    adapters: list[str] = []


class SpeedJobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a speed run: training or inference of a network in a framework."""

    cell: str
    net: str
    what: str  # train or infer
    framework: str
    mode: str = ""
    batch_size: Count
    threads: Count
    precision: str
    tf32: bool = False
    device: str
    dataset: str
    train_size: Count
    test_size: Count
    spec_sha256: str
    macs: Size
    params: Size
    version: str | None = None
    baseline: bool = False
    control: bool = False  # the A/A control: a second worker of the baseline
    costs: list[tuple[str, Amount, Amount, Amount]] = []  # layer, operations, bytes, least operations; of one image


class ControlWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """The fixed workload that every launch of a speed run repeats, so that runs on two machines can be compared."""

    cell: str
    net: str
    what: str
    framework: str
    version: str
    batch_size: int
    precision: str
    spec_sha256: str


class SpeedRun(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json` of `onespec speed`."""

    kind: ClassVar[str] = "speed"
    began: str
    command: list[str]
    request: SpeedRequestInfo
    machine: Machine
    load: dict[str, float | None] = {}  # load average of a minute at `start` and `end`
    environment: dict[str, str] = {}  # variables that all workers got
    commit: str | None = None
    data: dict[str, DataInfo]
    control_workload: ControlWorkload
    jobs: Annotated[list[SpeedJobInfo], msgspec.Meta(min_length=1)]


AnyRun: TypeAlias = "TrainingRun | SpeedRun"

KINDS: dict[str, type[AnyRun]] = {kind.kind: kind for kind in (TrainingRun, SpeedRun)}


def to_json(run: AnyRun) -> dict[str, Any]:
    """A run as a JSON object."""
    fields: dict[str, Any] = msgspec.to_builtins(run)
    return {"kind": run.kind, **fields}


def from_json(fields: dict[str, Any]) -> AnyRun:
    """The inverse of `to_json`; a record without a kind is a training run.

    Raises ValueError for another kind and for jobs that do not fit the rest, msgspec.ValidationError for a wrong type.
    """
    name = fields.get("kind", TrainingRun.kind)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"a run of kind {name!r:.40}, not {' or '.join(KINDS)}")
    run = msgspec.convert(fields, kind)
    cells = [job.cell for job in run.jobs]
    if len(set(cells)) < len(cells):
        raise ValueError("two jobs have the same cell")
    if missing := {job.dataset for job in run.jobs} - run.data.keys():
        raise ValueError(f"the data set {min(missing)!r:.40} of a job is not in `data`")
    return run
