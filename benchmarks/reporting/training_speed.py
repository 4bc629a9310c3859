"""The speed of a cell of a training run, over its epochs, and relative to the first framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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


class TimedEpochs(NamedTuple):
    """The epochs of a cell that are more than a single step, by launch and number, with their speeds."""

    record: CellRecord
    speeds: dict[tuple[int, int], float | None]

    @staticmethod
    def of(record: CellRecord) -> TimedEpochs:
        timed = (epoch for epoch in record.epochs if epoch.slice_seconds)
        return TimedEpochs(record, {(epoch.launch, epoch.epoch): epoch.examples_per_second for epoch in timed})


def training_speed(own: TimedEpochs, first: TimedEpochs) -> TrainingSpeed:
    """The geometric mean over epochs, and the ratio to the first framework, paired by round.

    Only rounds that both ran in the same launch count. An epoch in which other programs disturbed most of the work has
    no speed, and a figure is withheld if less than half of its epochs have one.
    """
    pairs = [(speed, first.speeds[key]) for key, speed in own.speeds.items() if key in first.speeds]
    speeds = [speed for speed in own.speeds.values() if speed]
    complete = [(speed, other) for speed, other in pairs if speed and other]
    few = 2 * len(speeds) < len(own.speeds)
    few_pairs = few or 2 * len(complete) < len(pairs)
    if own.record is first.record:
        ratio = Estimate(1.0) if own.record.epochs else None
    else:
        ratio = paired_ratio([speed for speed, _ in complete], [other for _, other in complete])
    return TrainingSpeed(
        examples_per_second=None if few else geometric_mean(speeds),
        relative=None if few_pairs else ratio,
        withheld=_reason(own.record, first.record) if few_pairs else None,
    )


def _reason(*records: CellRecord) -> str | None:
    """What other programs did to these cells, in words; None if it is not known."""
    found = disturbance(epoch.contention for record in records for epoch in record.epochs)
    return contention_text.reason(found) if found.slices else None
