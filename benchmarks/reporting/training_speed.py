"""The speed of a cell of a training run, over its epochs, and relative to the first framework."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.records.events import Epoch
from benchmarks.records.store import CellRecord
from benchmarks.reporting import contention_text
from benchmarks.runtime.contention import disturbance
from benchmarks.timing.statistics import Estimate, geometric_mean, paired_ratio


@dataclass(frozen=True)
class TrainingSpeed:
    """None: not measured. withheld: why, if other programs are the cause."""

    examples_per_second: Estimate | None = None
    relative: Estimate | None = None
    withheld: str | None = None


def training_speed(record: CellRecord, first: CellRecord) -> TrainingSpeed:
    """The geometric mean over epochs, and the ratio to the first framework, paired by round.

    Only rounds that both ran in the same launch count. An epoch in which other programs disturbed most of the work has
    no speed, and a figure is withheld if less than half of its epochs have one.
    """
    own, others = _timed(record), _timed(first)
    rounds = [(own[key], others[key]) for key in own if key in others]
    speeds = [speed for epoch in own.values() if (speed := epoch.examples_per_second)]
    pairs = [(epoch.examples_per_second, other.examples_per_second) for epoch, other in rounds]
    complete = [(speed, other) for speed, other in pairs if speed and other]
    few = 2 * len(speeds) < len(own)
    few_pairs = few or 2 * len(complete) < len(rounds)
    ratio = paired_ratio([speed for speed, _ in complete], [other for _, other in complete])
    if record is first:
        ratio = Estimate(1.0) if record.epochs else None
    found = disturbance(epoch.contention for cell in (record, first) for epoch in cell.epochs)
    return TrainingSpeed(
        examples_per_second=None if few else geometric_mean(speeds),
        relative=None if few_pairs else ratio,
        withheld=contention_text.reason(found) if few_pairs and found.slices else None,
    )


def _timed(record: CellRecord) -> dict[tuple[int, int], Epoch]:
    """The epochs that are more than a single step, by launch and number."""
    return {(epoch.launch, epoch.epoch): epoch for epoch in record.epochs if epoch.slice_seconds}
