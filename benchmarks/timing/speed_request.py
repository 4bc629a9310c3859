"""The request of a speed run, and the cells that it describes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product

import msgspec

from benchmarks.datasets.image_options import ImageOptions
from benchmarks.datasets.registry import Dataset
from benchmarks.records.runs import SpeedRequestInfo
from benchmarks.runtime import devices, precisions
from benchmarks.runtime.environments import parse_frameworks
from benchmarks.runtime.errors import BadInput, refuse_repeated
from benchmarks.runtime.plugins import register
from benchmarks.timing.launches import RUNNERS, TimedJob
from benchmarks.training.plan import TrainingRequest, plan, too_large
from benchmarks.training.progress import Progress
from frameworks.registry import FRAMEWORKS

WORKLOADS: tuple[str, ...] = tuple(RUNNERS)


@dataclass(frozen=True)
class SpeedRequest:
    """The options of a speed run. BadInput for a value that is not allowed."""

    net: Sequence[str] = ("lenet",)
    frameworks: str = "all"
    what: Sequence[str] = WORKLOADS
    batch_sizes: Sequence[int] = ()  # batch sizes; none: the recipe's
    threads: Sequence[int] = (TrainingRequest().threads,)
    precision: Sequence[str] = ("float32",)
    tf32: bool = False
    budget: float = 60.0  # seconds of each comparison
    baseline: str | None = None  # a label; None: the first framework
    modes: str = ""  # all: every mode of every framework
    layers: bool = False
    dataset: str | None = None
    images: ImageOptions = field(default_factory=ImageOptions)
    device: str = "auto"
    steady: bool = True  # control the allocator, the waiting threads and the cores of the workers
    timeout: float = 600.0
    pythons: Mapping[str, str] = field(default_factory=dict)
    adapters: Sequence[str] = ()  # the user's own frameworks: file.py:Class

    def __post_init__(self) -> None:
        register(self.adapters)
        for option, values in (
            ("what", self.what),
            ("batch-size", self.batch_sizes),
            ("threads", self.threads),
            ("precision", self.precision),
        ):
            refuse_repeated(option, values)
        for value in self.what:
            if value not in WORKLOADS:
                raise BadInput(f"--what {value}: allowed are {', '.join(WORKLOADS)}")
        devices.check(self.device)
        precisions.check(self.precision, self.tf32)
        for option, numbers in (("batch-size", self.batch_sizes), ("threads", self.threads)):
            if wrong := [number for number in numbers if number < 1]:
                raise BadInput(f"--{option} {wrong[0]}: must be at least 1")
        if not 0 < self.budget < math.inf:
            raise BadInput(f"--budget {self.budget:g}: must be more than 0 and finite; write 60s, 5m or 1h")
        if self.modes not in ("", "all"):
            raise BadInput(
                f"--modes {self.modes}: only `all`; select a single mode with its framework: --fw torch:NAME"
            )
        _check_modes(self)
        labels = self.labels.split(",")
        if self.baseline is not None and self.baseline not in labels:
            raise BadInput(
                f"--baseline {self.baseline or repr('')}: not among the frameworks of --fw: {', '.join(labels)}"
            )

    @property
    def info(self) -> SpeedRequestInfo:
        """The request as `run.json` records it."""
        options = {item.name: getattr(self, item.name) for item in fields(self)}
        return msgspec.convert(options, SpeedRequestInfo)

    @property
    def labels(self) -> str:
        """The frameworks as in `--fw`, with every mode if all are requested."""
        labels = []
        for asked in parse_frameworks(self.frameworks):
            modes = ("", *FRAMEWORKS[asked.name].modes_on(self.device)) if self.modes == "all" else (asked.mode,)
            labels += [replace(asked, mode=mode).label for mode in modes]
        return ",".join(labels)


def _check_modes(request: SpeedRequest) -> None:
    """BadInput for an unknown mode, or for a mode that is named although all are requested."""
    for asked in parse_frameworks(request.frameworks):
        known = FRAMEWORKS[asked.name].modes
        if asked.mode and request.modes == "all":
            raise BadInput(f"--modes all contradicts --fw {asked.label}; write --fw {asked.name}, or leave out --modes")
        if asked.mode and asked.mode not in known:
            allowed = f"allowed are {', '.join(known)}" if known else "it has no modes; leave out the suffix"
            raise BadInput(f"--fw {asked.label}: {asked.name} has no mode {asked.mode}; {allowed}")


@dataclass(frozen=True)
class ComparedCells:
    """The cells of one comparison, whose slices are interleaved: one per framework, one of them the baseline."""

    frameworks: tuple[TimedJob, ...]
    baseline: TimedJob

    @property
    def control(self) -> TimedJob:
        """The A/A control: the baseline again, in a worker of its own."""
        return replace(self.baseline, control=True)

    @property
    def all(self) -> tuple[TimedJob, ...]:
        """The frameworks and the A/A control."""
        return (*self.frameworks, self.control)


def comparisons(request: SpeedRequest, progress: Progress) -> tuple[list[ComparedCells], dict[str, Dataset]]:
    """The comparisons of a run and the data sets that they need, by name. BadInput for what cannot be timed."""
    training_request = TrainingRequest(
        net=request.net,
        frameworks=request.labels,
        dataset=request.dataset,
        images=request.images,
        device=request.device,
        tf32=request.tf32,
        timeout=request.timeout,
        pythons=request.pythons,
    )
    groups, data = plan(training_request, progress.message)
    compared = []
    for jobs, precision, threads in product(groups, request.precision, request.threads):
        for batch_size, what in product(request.batch_sizes or (jobs[0].batch_size,), request.what):
            images = jobs[0].train_size if what == "train" else jobs[0].test_size
            if batch_size > images:
                raise BadInput(f"--batch-size {batch_size}: {jobs[0].dataset} has {images} images to {what} with")
            own = [replace(job, precision=precision, threads=threads, batch_size=batch_size) for job in jobs]
            frameworks = tuple(TimedJob(job, what) for job in own)  # type: ignore[arg-type]
            baseline = next(timed for timed in frameworks if request.baseline in (None, timed.job.framework))
            cells = ComparedCells(frameworks, baseline)
            if reason := too_large([timed.job for timed in cells.all]):
                raise BadInput(f"--net {own[0].name} --batch-size {batch_size}: {reason}")
            compared.append(cells)
    return compared, data
