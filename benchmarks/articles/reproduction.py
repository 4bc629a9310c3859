"""Compares published figures with those that a run measured.

Verdicts: `within`, `outside`, `not comparable` with the reason; `VERDICTS` explains them for readers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from scipy import stats

from benchmarks.articles.experiments import EXPERIMENTS, TIMES, Experiment, Figure
from benchmarks.datasets.registry import DATASETS
from benchmarks.records.events import Epoch
from benchmarks.records.runs import JobInfo, RecipeInfo, TrainingRun
from benchmarks.records.store import CellRecord, RunFolder
from benchmarks.reporting.number_formats import counted
from benchmarks.runtime.errors import BadInput
from benchmarks.timing.statistics import Equivalence, equivalence
from benchmarks.training.jobs import describe_recipe

MARGIN = 0.5  # differences of accuracy below this do not matter; percentage points
POINT = 0.01  # a percentage point
COLLAPSED = 0.15  # test accuracy with ten classes, below which a run has learnt nothing

VERDICTS = """\
- within: the mean of the measured runs lies in the published spread. Where a single run was published, it lies in the
  95 % prediction interval of one more run, so one figure in twenty is outside by chance.
- outside: it does not.
- not comparable: with the reason.

Published spreads leave out runs that collapsed (test accuracy below 0.15). The means leave them out too; their number
is stated."""

RECIPE_FIELDS = RecipeInfo.__struct_fields__

Values = dict[int, float]  # by seed
VariantKey = tuple[str, str]  # the name of an experiment, and its variant


class FigureVerdict(NamedTuple):
    kind: str  # within, outside or not comparable
    reason: str


# --- measured values --------------------------------------------------------------------------------------------------


def measured(folder: RunFolder, figure: Figure, target: float | None = None) -> dict[str, Values]:
    """The measured values of a published figure, by framework and seed, from finished cells only.

    target: the test accuracy whose time a figure in seconds is.
    """
    records = folder.records()
    values: dict[str, Values] = {}
    for job in folder.training_run.jobs:
        if job.net != figure.net:
            continue
        by_seed = values.setdefault(job.framework, {})
        record = records.get(job.cell, CellRecord())
        value = _value(record.epochs, figure, target) if record.finished else None
        if value is not None and isfinite(value):
            by_seed[job.seed] = value
    return values


def final_accuracies(folder: RunFolder, net: str) -> dict[str, Values]:
    """The test accuracy after the last epoch, by framework and seed."""
    return measured(folder, Figure(net, "test_accuracy", None, ""))


def seconds_to_target(folder: RunFolder, net: str, target: float) -> dict[str, Values]:
    """The training time until a test accuracy was reached, by framework and seed."""
    return measured(folder, Figure(net, "seconds", None, ""), target)


def _value(epochs: Sequence[Epoch], figure: Figure, target: float | None) -> float | None:
    if figure.metric == "seconds":
        return reached(epochs, target) if target else None
    number = figure.epoch or len(epochs)
    epoch = next((epoch for epoch in epochs if epoch.epoch == number), None)
    if epoch is None:
        return None
    if figure.metric == "epoch_seconds":
        return epoch.training_seconds + epoch.evaluation_seconds
    return float(getattr(epoch, figure.metric))


def reached(epochs: Sequence[Epoch], target: float) -> float | None:
    """Seconds of training, without evaluation, to the end of the first epoch with this test accuracy; None: never."""
    seconds = 0.0
    for epoch in epochs:
        seconds += epoch.training_seconds
        if epoch.test_accuracy >= target:
            return seconds
    return None


# --- verdicts ---------------------------------------------------------------------------------------------------------


def obstacle(run: TrainingRun, experiment: Experiment, net: str) -> str | None:
    """Why the figures of a run are not comparable with the published ones, or None."""
    recipe, job = experiment.recipe, next(job for job in run.jobs if job.net == net)
    reasons = []
    if changed := _changed_fields(job, experiment):
        reasons.append(f"different recipe: {', '.join(changed)}")
    if not _full_size(job, experiment):
        epochs = f"{job.epochs} of {counted(recipe.epochs, 'epoch')}"
        reasons.append(f"smaller scale: {epochs}, {job.train_size:,} + {job.test_size:,} images")
    if not run.data[job.dataset].published:
        reasons.append("data files differ from the published ones")
    return "; ".join(reasons) or None


def _changed_fields(job: JobInfo, experiment: Experiment) -> list[str]:
    """The fields in which a job differs from the experiment's recipe, except its length."""
    expected = describe_recipe(experiment.recipe)
    return [name for name in RECIPE_FIELDS if getattr(job, name) != getattr(expected, name)]


def _full_size(job: JobInfo, experiment: Experiment) -> bool:
    """Whether a job has all epochs and all images."""
    sizes = job.epochs, job.train_size, job.test_size
    return sizes == (experiment.recipe.epochs, *DATASETS[experiment.recipe.dataset].counts)


def verdict(figure: Figure, values: Sequence[float], reason_against: str | None) -> FigureVerdict:
    """Whether measured values agree with a published figure. reason_against: as `obstacle` gives it."""
    if reason_against:
        return FigureVerdict("not comparable", reason_against)
    if figure.metric in TIMES:
        return FigureVerdict("not comparable", "different machine")
    if not values:
        return FigureVerdict("not comparable", "no run finished")
    if figure.low is not None and figure.high is not None:
        return _verdict_on_spread(figure, figure.low, figure.high, values)
    if len(values) < 2 or figure.value is None:
        return FigureVerdict("not comparable", "one run of each has no spread")
    low, high = next_run(values)
    printed_low, printed_high = figure.range_of(figure.value)
    inside = low <= printed_high and printed_low <= high
    return FigureVerdict("within" if inside else "outside", f"{low:.4f} to {high:.4f}")


def _verdict_on_spread(figure: Figure, low: float, high: float, values: Sequence[float]) -> FigureVerdict:
    """The verdict on the mean, collapsed runs left out, and a published spread."""
    learnt = [value for value in values if value >= COLLAPSED]
    if not learnt:
        return FigureVerdict("outside", "all collapsed")
    reason = f"{figure.printed(low)} to {figure.printed(high)}"
    if len(learnt) < len(values):
        reason += f", {len(values) - len(learnt)} of {len(values)} collapsed"
    inside = figure.range_of(low)[0] <= mean(learnt) <= figure.range_of(high)[1]
    return FigureVerdict("within" if inside else "outside", reason)


def next_run(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The prediction interval of one more normal value: mean -+ t s sqrt(1 + 1 / n); from two values or more.

    Hahn and Meeker 1991, section 4.8.
    """
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * stdev(values) * (1 + 1 / len(values)) ** 0.5
    return mean(values) - half, mean(values) + half


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The mean's 95 % interval by Student's t; None where the values have no spread."""
    if len(values) < 2 or not stdev(values):
        return None
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return float(low), float(high)


def figure_verdicts(
    folder: RunFolder, experiment: Experiment, figure: Figure
) -> tuple[dict[str, list[float]], dict[str, FigureVerdict]]:
    """The measured values and the verdicts of a published figure, by framework."""
    by_framework = measured(folder, figure, experiment.target)
    reason = obstacle(folder.training_run, experiment, figure.net)
    values = {name: list(by_framework.get(name, {}).values()) for name in frameworks_of(folder)}
    return values, {name: verdict(figure, own, reason) for name, own in values.items()}


def frameworks_of(folder: RunFolder) -> list[str]:
    """The labels of the frameworks, in the order of the request."""
    return list(dict.fromkeys(job.framework for job in folder.training_run.jobs))


def networks_of(folder: RunFolder) -> list[str]:
    """The names of the networks, in the order of the request."""
    return list(dict.fromkeys(job.net for job in folder.training_run.jobs))


# --- frameworks and experiments compared ------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairedAccuracies:
    """The test accuracies of two frameworks, paired by seed. result: in fractions of 1."""

    net: str
    first: str
    second: str
    seeds: int
    result: Equivalence


def paired_accuracies(folder: RunFolder, margin: float) -> list[PairedAccuracies]:
    """Every pair of frameworks with a common seed. margin: in percentage points."""
    pairs = []
    for net in networks_of(folder):
        for (first, one), (second, other) in itertools.combinations(final_accuracies(folder, net).items(), 2):
            seeds = sorted(one.keys() & other.keys())
            if seeds:
                result = equivalence([one[seed] for seed in seeds], [other[seed] for seed in seeds], margin * POINT)
                pairs.append(PairedAccuracies(net, first, second, len(seeds), result))
    return pairs


@dataclass(frozen=True)
class RecipeEffect:
    """The change of the final test accuracy between two experiments, paired by seed, in percentage points."""

    net: str
    framework: str
    published: float | None
    changes: list[float]


def effects(folder: RunFolder, plain: RunFolder) -> list[RecipeEffect]:
    """The effect of the one difference between an experiment and the plain one, by network and framework."""
    rows = []
    for net in networks_of(folder):
        accuracies, plain_accuracies = (final_accuracies(run, net) for run in (folder, plain))
        published = [_published_accuracy(experiment_of(run), net) for run in (folder, plain)]
        change = (published[0] - published[1]) / POINT if published[0] and published[1] else None
        for framework in (name for name in accuracies if name in plain_accuracies):
            own, other = accuracies[framework], plain_accuracies[framework]
            changes = [(own[seed] - other[seed]) / POINT for seed in sorted(own.keys() & other.keys())]
            if changes:
                rows.append(RecipeEffect(net, framework, change, changes))
    return rows


def _published_accuracy(experiment: Experiment, net: str) -> float | None:
    values = [one.value for one in experiment.published if (one.net, one.metric) == (net, "test_accuracy")]
    return values[0] if values else None


def unintended_differences(folder: RunFolder, plain: RunFolder) -> list[str]:
    """The fields in which two runs differ beyond the one difference between their experiments."""
    own, other = (describe_recipe(experiment_of(run).recipe) for run in (folder, plain))
    unchanged = [name for name in RECIPE_FIELDS if getattr(own, name) == getattr(other, name)]
    own_jobs, other_jobs = ({job.net: job for job in run.training_run.jobs} for run in (folder, plain))
    return sorted(
        name
        for name in ("epochs", "train_size", "test_size", *unchanged)
        if any(getattr(own_jobs[net], name) != getattr(other_jobs[net], name) for net in own_jobs.keys() & other_jobs)
    )


# --- runs of experiments ----------------------------------------------------------------------------------------------


def variants() -> list[tuple[VariantKey, Experiment]]:
    """Every experiment in every variant."""
    return [
        ((name, variant), experiment)
        for name, plain in EXPERIMENTS.items()
        for variant, experiment in plain.variants.items()
    ]


def experiment_of(folder: RunFolder) -> Experiment:
    """The experiment that a run is of."""
    request = folder.training_run.request
    return EXPERIMENTS[request.experiment].variants[request.variant]


def fullest(results: Path, note: Callable[[str], None] = lambda line: None) -> dict[VariantKey, RunFolder]:
    """The run of each experiment and variant in a folder; the fullest of several, then the last.

    Folders that cannot be read, or are of no experiment, are skipped; `note` is called for the first kind.
    """
    known = dict(variants())
    runs: dict[VariantKey, RunFolder] = {}
    for path in sorted(results.glob("*/run.json")):
        try:
            folder = RunFolder.open(path.parent)
            info = folder.info
            key = (info.request.experiment, info.request.variant) if isinstance(info, TrainingRun) else ("", "")
            if key not in known:
                continue
            if missing := set(known[key].nets) - set(networks_of(folder)):
                raise BadInput(f"{path.parent}: no run of {', '.join(sorted(missing))}, which {key[0]} trains")
            fullness = _fullness(folder)
            if key not in runs or fullness >= _fullness(runs[key]):
                runs[key] = folder
        except BadInput as error:
            note(f"skipped: {error}")
    return runs


def _fullness(folder: RunFolder) -> tuple[bool, int]:
    """Sort key of the runs of one experiment: the published recipe in full size first, then the most cells."""
    experiment = experiment_of(folder)
    finished = sum(record.finished for record in folder.records().values())
    jobs = folder.training_run.jobs
    as_published = all(_full_size(job, experiment) and not _changed_fields(job, experiment) for job in jobs)
    return as_published, finished
