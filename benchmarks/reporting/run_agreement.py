"""Whether the frameworks of a run agree: evidence of the run itself, beside its certificates.

All frameworks of a group (a network and a seed) start from the same weights and see the same images in the same order,
so their losses agree until rounding has grown. A cell is reported if it leaves all other frameworks by more than
rounding explains:

1. First step. Without dropout, the losses of the first step are one function of the same numbers. They differ by at
   most 3e-4 of their value in float32 (deep networks with batch normalization; 1e-6 for others) and 1e-12 in float64;
   `FIRST` leaves room for a factor of three. In bfloat16 and float16 they were off by up to 0.45 of the unit of
   rounding (`precisions.rounding`), TF32 rounds like float16, and `REDUCED_FIRST` units are allowed.
2. Next steps, without dropout. Rounding grows from step to step, and a wrong gradient or update shows at once. A step
   may differ by `GROWTH` times the largest difference of any two frameworks before it, and by `SMOOTH`, or
   `REDUCED_SMOOTH` units, in any case.
   Adam divides a gradient by its size, so a gradient that is zero except for rounding moves its weight by a whole
   step: losses of correct frameworks jumped from 1e-7 to 2e-2 in one step. With Adam, RMSprop and Adadelta, which
   do the same, the floor is `ADAM`.
3. Accuracy in training and in the test. Small differences grow to those of two seeds. Two accuracies on n images differ
   by more than chance if the difference is above `SIGMAS` standard deviations, sqrt(2 p (1 - p) / n + 2 s^2), where s
   is the standard deviation over the seeds of the run. It must also be above `LEAST`: a network may settle in another
   minimum. The best epoch counts, because single epochs fluctuate.

Modes of a framework count as one framework: what is common to them is compared with the other frameworks. With one
framework there is nothing to compare. A network that fails to start to learn in one framework by chance is reported,
too; its row cannot be compared with the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite, sqrt
from statistics import fmean, variance
from typing import NamedTuple, TypeAlias

from benchmarks.records.events import Epoch
from benchmarks.records.runs import JobInfo
from benchmarks.records.store import CellRecord
from benchmarks.reporting.number_formats import counted
from benchmarks.runtime import precisions

FIRST = {"float64": 1e-9, "float32": 1e-3}
SMOOTH = {"float64": 1e-8, "float32": 1e-3}
REDUCED_FIRST, REDUCED_SMOOTH = 4, 16  # units of rounding of bfloat16, float16 and TF32
ADAM = 0.2
DIVIDED = ("Adam", "RMSprop", "Adadelta")  # optimizers that divide a gradient by its size
GROWTH = 1000.0
SIGMAS, LEAST = 6.0, 0.1

Cell: TypeAlias = tuple[JobInfo, Sequence[Epoch]]


def disagreements(run: Sequence[tuple[JobInfo, CellRecord]]) -> dict[str, str]:
    """By cell, how it leaves the other frameworks, in words; cells that agree are left out.

    run: every job of a run with its record.
    """
    groups: dict[tuple[str, int], list[Cell]] = {}
    for job, record in run:
        if record.epochs:
            groups.setdefault((job.net, job.seed), []).append((job, record.epochs))
    found: dict[str, str] = {}
    for measure in (TEST, TRAINING):
        spreads = _spreads(groups, measure)
        for (net, _), cells in groups.items():
            for cell, text in _accuracies(cells, measure, spreads.get(net, 0.0)).items():
                found.setdefault(cell, text)  # that of the test, which is measured first
    for cells in groups.values():
        found |= _losses(cells)  # the earliest difference is the most telling
    return found


def framework(job: JobInfo) -> str:
    """The framework of a job without its mode and version."""
    return job.framework.partition("==")[0].partition(":")[0]


# --- losses of the first steps ----------------------------------------------------------------------------------------


def _losses(cells: Sequence[Cell]) -> dict[str, str]:
    """The cells whose losses leave the others in one of the first steps."""
    series = [(job, epochs[0].first_losses) for job, epochs in cells if epochs[0].first_losses]
    before = 0.0
    if len({framework(job) for job, _ in series}) < 2:
        return {}
    for step in range(min((len(losses) for _, losses in series), default=0)):
        largest = _largest_gap([losses[step] for _, losses in series])
        if all(largest <= _limit(job, step, before) for job, _ in series):
            before = max(before, largest)
            continue
        values = {job.cell: losses[step] for job, losses in series}
        jobs = [job for job, _ in series]
        far = {}
        for job in jobs:
            gaps = {other.cell: _gap(values[job.cell], values[other.cell]) for other in _others(job, jobs)}
            if gaps and min(gaps.values()) > _limit(job, step, before):
                nearest = min(gaps, key=lambda cell: gaps[cell])
                far[job.cell] = _loss_text(step, values[job.cell], values[nearest], _framework_of(nearest, jobs))
        if far:
            return far
        before = max(before, largest)
    return {}


def _limit(job: JobInfo, step: int, before: float) -> float:
    """The relative difference of the losses of a step that rounding explains. before: the largest one so far."""
    if step == 0:
        return first_limit(job)
    smooth = ADAM if job.optimizer.startswith(DIVIDED) else smooth_limit(job)
    return max(smooth, GROWTH * before)


def first_limit(job: JobInfo) -> float:
    """The relative difference of two losses of the first step that rounding explains."""
    reduced = REDUCED_FIRST * precisions.rounding(job.precision, job.tf32)
    return reduced if job.tf32 else FIRST.get(job.precision, reduced)


def smooth_limit(job: JobInfo) -> float:
    """That of a later step if rounding has not grown; with an optimizer that divides by a gradient's size: `ADAM`."""
    reduced = REDUCED_SMOOTH * precisions.rounding(job.precision, job.tf32)
    return reduced if job.tf32 else SMOOTH.get(job.precision, reduced)


def _gap(a: float, b: float) -> float:
    """The relative difference of two losses; infinite if only one is finite."""
    if not (isfinite(a) and isfinite(b)):
        return 0.0 if isfinite(a) == isfinite(b) else float("inf")
    scale = max(abs(a), abs(b))
    return abs(a - b) / scale if scale else 0.0


def _largest_gap(losses: Sequence[float]) -> float:
    """The largest relative difference of any two losses."""
    if all(map(isfinite, losses)) and min(losses) > 0:
        return _gap(min(losses), max(losses))
    return max((_gap(a, b) for a, b in itertools.combinations(losses, 2)), default=0.0)


def _loss_text(step: int, own: float, other: float, name: str) -> str:
    return f"the loss of step {step + 1} is {own:.6g}, in {name} {other:.6g}: more than rounding explains"


# --- accuracies -------------------------------------------------------------------------------------------------------


class _Accuracy(NamedTuple):
    """One of the two accuracies of an epoch, and the number of images that it counts."""

    name: str
    of: Callable[[Epoch], float]
    images: Callable[[JobInfo], int]

    def best(self, epochs: Sequence[Epoch]) -> float:
        return max(map(self.of, epochs))


TEST = _Accuracy("test", lambda epoch: epoch.test_accuracy, lambda job: job.test_size)
TRAINING = _Accuracy("training", lambda epoch: epoch.train_accuracy, lambda job: job.train_size)


def _accuracies(cells: Sequence[Cell], measure: _Accuracy, spread: float) -> dict[str, str]:
    """The cells whose accuracy leaves the others. spread: the variance over seeds."""
    count = min(len(epochs) for _, epochs in cells)
    best = {job.cell: measure.best(epochs[:count]) for job, epochs in cells}
    jobs = [job for job, _ in cells]
    far = {}
    for job in jobs:
        others = [(best[other.cell], other) for other in _others(job, jobs)]
        if others and all(_distant(best[job.cell], value, measure.images(job), spread) for value, _ in others):
            value, nearest = min(others, key=lambda other: abs(other[0] - best[job.cell]))
            far[job.cell] = (
                f"the best {measure.name} accuracy in {counted(count, 'epoch')} is {best[job.cell]:.4f}, in "
                f"{framework(nearest)} {value:.4f}: more than chance explains"
            )
    return far


def _distant(a: float, b: float, images: int, spread: float) -> bool:
    mean = (a + b) / 2
    deviation = sqrt(2 * mean * (1 - mean) / images + 2 * spread)
    return abs(a - b) > max(LEAST, SIGMAS * deviation)


def _spreads(groups: Mapping[tuple[str, int], Sequence[Cell]], measure: _Accuracy) -> dict[str, float]:
    """By network, the variance of the best accuracy over seeds, within a framework; the mean over frameworks."""
    best: dict[tuple[str, str], list[float]] = {}
    for (net, _), cells in groups.items():
        for job, epochs in cells:
            best.setdefault((net, job.framework), []).append(measure.best(epochs))
    variances: dict[str, list[float]] = {}
    for (net, _), values in best.items():
        if len(values) > 1:
            variances.setdefault(net, []).append(variance(values))
    return {net: fmean(values) for net, values in variances.items()}


def _others(job: JobInfo, jobs: Sequence[JobInfo]) -> Iterator[JobInfo]:
    """The jobs in other frameworks."""
    return (other for other in jobs if framework(other) != framework(job))


def _framework_of(cell: str, jobs: Sequence[JobInfo]) -> str:
    return next(framework(job) for job in jobs if job.cell == cell)
