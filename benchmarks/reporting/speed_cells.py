"""What a speed run measured: the cells, and the comparisons of cells that were interleaved with a common baseline.

A ratio is taken within rounds, to the baseline and its A/A control, and its interval over launches. The first slices of
a launch, up to the round that `rounds.steady` gives, do not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from benchmarks.records.events import AnyEvent, End, EvaluationTime, Launch, Roofline, TimedSlice
from benchmarks.records.runs import SpeedJobInfo
from benchmarks.records.store import RunFolder
from benchmarks.reporting import contention_text
from benchmarks.reporting.number_formats import counted
from benchmarks.runtime import precisions
from benchmarks.runtime.contention import Contention, disturbance
from benchmarks.runtime.errors import BadInput
from benchmarks.timing import roofline, sanity_checks
from benchmarks.timing.roofline import LayerCost, Roof
from benchmarks.timing.rounds import Rounds, baseline_workers, paired, rounds_of, speed, steady, too_disturbed
from benchmarks.timing.statistics import Estimate, NoiseFloor, break_even, launches_ratio, noise_floor

UNFINISHED = End(cell="", status="unfinished", reason="stopped before its end")
GROUPED_BY = ("net", "what", "batch_size", "threads", "precision", "tf32")  # jobs equal in these were interleaved
WORKLOADS = {"train": "training", "infer": "inference"}


@dataclass
class CellMeasurements:
    """All that was recorded of a cell."""

    launches: list[Launch] = field(default_factory=list)
    slices: dict[int, dict[int, TimedSlice]] = field(default_factory=dict)  # by launch and round
    evaluation: EvaluationTime | None = None
    roofline: Roofline | None = None
    end: End = UNFINISHED

    def add(self, event: AnyEvent) -> None:
        """Take the next event of the cell."""
        match event:
            case Launch():
                self.launches.append(event)
            case TimedSlice():
                self.slices.setdefault(event.launch, {})[event.round] = event
            case EvaluationTime():
                self.evaluation = event
            case Roofline():
                self.roofline = event
            case End():
                self.end = event

    @property
    def timed_slices(self) -> list[TimedSlice]:
        """The slices of all launches."""
        return [slice_ for rounds in self.slices.values() for slice_ in rounds.values()]

    @property
    def contention(self) -> list[list[Contention | None]]:
        """Of the slices of each launch."""
        return [[slice_.contention for slice_ in rounds.values()] for rounds in self.slices.values()]

    @property
    def undisturbed_slices(self) -> list[TimedSlice]:
        """The slices that count."""
        return [
            slice_
            for launch, rounds in self.slices.items()
            for number, slice_ in rounds.items()
            if self.rounds[launch][number] is not None
        ]

    @cached_property
    def rounds(self) -> Rounds:
        """Seconds per image, by launch and round; None for a slice that other programs disturbed."""
        return rounds_of(self.slices)

    @property
    def warm_ups(self) -> list[int]:
        """The first steady round of each launch that has an undisturbed one."""
        return [steady(rounds) for rounds in self.rounds.values() if any(rounds.values())]

    @property
    def speed(self) -> Estimate | None:
        """Images per second: the median of each launch, and the geometric mean of these over launches.

        None if other programs have disturbed too many slices.
        """
        return speed(self.rounds)

    def typical(self, name: str) -> float | None:
        """The median of a figure with one value per launch, over the launches that were prepared alone."""
        values = [getattr(launch, name) for launch in self.launches if launch.alone]
        return float(np.median(values)) if values else None


class TrainingTime(NamedTuple):
    """Seconds of import, build, data and first step together, and of each epoch after them."""

    start: float
    epoch: float


@dataclass(frozen=True)
class SpeedComparison:
    """Jobs that were interleaved, and their measurements. control: the A/A control, a second worker of the baseline."""

    jobs: list[SpeedJobInfo]
    baseline: SpeedJobInfo
    control: SpeedJobInfo | None
    measured: dict[str, CellMeasurements]  # by cell

    def of(self, job: SpeedJobInfo) -> CellMeasurements:
        """The measurements of a job, empty where it has none."""
        return self.measured.get(job.cell) or CellMeasurements()

    @property
    def baseline_rounds(self) -> list[Rounds]:
        """The samples of the baseline and of its A/A control."""
        control = self.of(self.control).rounds if self.control else {}
        return baseline_workers(self.of(self.baseline).rounds, control)

    def ratio(self, job: SpeedJobInfo) -> Estimate | None:
        """How many times faster than the baseline, from the rounds in which both are steady and undisturbed.

        None if there are too few.
        """
        if job is self.baseline:
            return Estimate(1.0)
        return launches_ratio(*paired(self.of(job).rounds, *self.baseline_rounds))

    @property
    def control_ratio(self) -> Estimate | None:
        """How many times faster the A/A control is than the baseline: the same program."""
        if self.control is None:
            return None
        return launches_ratio(*paired(self.of(self.control).rounds, self.of(self.baseline).rounds))

    @property
    def floor(self) -> NoiseFloor | None:
        """The noise floor; None where the A/A control has no interval."""
        ratio = self.control_ratio
        return noise_floor(ratio) if ratio and ratio.low is not None else None

    def withheld(self, job: SpeedJobInfo) -> str | None:
        """Why a job has no speed or no verdict because of other programs; None if they are not the cause."""
        own = self.of(job).rounds
        compared = [] if job is self.baseline else [(own, *self.baseline_rounds), tuple(self.baseline_rounds)]
        return self._disturbance(job) if any(too_disturbed(*workers) for workers in ((own,), *compared)) else None

    @property
    def floor_withheld(self) -> str | None:
        """Why there is no noise floor because of other programs; None if they are not the cause."""
        return self._disturbance(self.baseline) if too_disturbed(*self.baseline_rounds) else None

    def _disturbance(self, job: SpeedJobInfo) -> str:
        """What other programs did to the slices of a job and of the baseline's workers."""
        compared = dict.fromkeys(each.cell for each in (job, self.baseline, self.control) if each)
        launches = [each for cell in compared for each in self.measured.get(cell, CellMeasurements()).contention]
        idle = [sanity_checks.idle_use(cell.timed_slices) for cell in self.measured.values() if cell.slices]
        cores = max(each.cores for slices in launches for each in slices if each)
        return contention_text.reason(disturbance(launches), sum(idle) * (1 - 1 / len(idle)) / max(1, cores))

    def roof(self, job: SpeedJobInfo) -> Roof | None:
        """The roofline of a job's framework at its precision and threads, whichever cell it was measured with."""
        for cell in self.measured.values():
            raw = cell.roofline
            if raw and (raw.framework, raw.threads, raw.precision) == (job.framework, job.threads, job.precision):
                return roofline.roof(raw)
        return None

    def training_time(self, job: SpeedJobInfo) -> TrainingTime | None:
        """Seconds before the first epoch and per epoch; None if a part was not measured."""
        cell = self.of(job)
        start = [cell.typical(f"{name}_seconds") for name in ("import", "build", "load", "first_step")]
        if cell.speed is None or None in start:
            return None
        return TrainingTime(sum(seconds for seconds in start if seconds), job.train_size / cell.speed.value)

    def break_even_epochs(self, job: SpeedJobInfo, other: SpeedJobInfo) -> float | None:
        """Epochs after which a job has caught up with another; 0 if it is ahead from the start; None for never."""
        times = self.training_time(job), self.training_time(other)
        return break_even(times[0], times[1]) if times[0] and times[1] else None

    @property
    def title(self) -> str:
        job = self.jobs[0]
        parts = (
            job.net,
            WORKLOADS[job.what],
            f"batch size {job.batch_size}",
            counted(job.threads, "thread"),
            precisions.named(job.precision, job.tf32),
            job.device,
        )
        return ", ".join(parts)


def layer_costs(job: SpeedJobInfo) -> list[LayerCost]:
    """The operations and bytes of each layer, from the spec."""
    return [LayerCost(*cost) for cost in job.costs]


def read(folder: RunFolder) -> dict[str, CellMeasurements]:
    """The measurements of each cell, in the order in which the cells started."""
    cells: dict[str, CellMeasurements] = {}
    for event in folder.events():
        cells.setdefault(event.cell, CellMeasurements()).add(event)
    return cells


def comparisons(folder: RunFolder) -> list[SpeedComparison]:
    """The comparisons of a speed run. Raises BadInput for a run of another kind."""
    jobs, measured = folder.speed_run.jobs, read(folder)
    groups: dict[tuple[object, ...], list[SpeedJobInfo]] = {}
    for job in jobs:
        groups.setdefault(tuple(getattr(job, name) for name in GROUPED_BY), []).append(job)
    if not all(any(job.baseline for job in jobs) for jobs in groups.values()):
        raise BadInput(f"{folder.path / 'run.json'}: not a record of onespec: a comparison without a baseline")
    return [_comparison(jobs, measured) for jobs in groups.values()]


def _comparison(jobs: list[SpeedJobInfo], measured: dict[str, CellMeasurements]) -> SpeedComparison:
    baseline = next(job for job in jobs if job.baseline)
    control = next((job for job in jobs if job.control), None)
    return SpeedComparison([job for job in jobs if not job.control], baseline, control, measured)
