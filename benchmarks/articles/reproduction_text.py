"""Published and measured figures as text: the tables of one run, and the page REPRODUCTION.md of all runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean

from benchmarks.articles.experiments import EXPERIMENTS, TIMES, Experiment, Figure
from benchmarks.articles.reproduction import (
    MARGIN,
    POINT,
    VERDICTS,
    FigureVerdict,
    PairedAccuracies,
    VariantKey,
    effects,
    experiment_of,
    figure_verdicts,
    final_accuracies,
    frameworks_of,
    fullest,
    mean_interval,
    networks_of,
    obstacle,
    paired_accuracies,
    seconds_to_target,
    unintended_differences,
    variants,
)
from benchmarks.records.store import RunFolder
from benchmarks.reporting import run_report
from benchmarks.reporting.number_formats import counted, spread
from benchmarks.reporting.run_agreement import disagreements
from benchmarks.reporting.run_report import jobs_with_records
from benchmarks.reporting.tables import Row, markdown, table

Form = Callable[[Row, Sequence[Row]], str]

METRICS = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "epoch_seconds": "seconds of training and testing",
}
KINDS = ("within", "outside", "not comparable")
NOTHING_PUBLISHED = "No figures were published."
INTRODUCTION = f"""\
# The articles' experiments: published and measured figures

Written by `onespec reproduce --write results`. Measured figures are mean ± standard deviation (number of seeds).
Verdicts:

{VERDICTS}

Times are those of a busy machine; `onespec speed` measures speed. The sizes and counts that the articles state are
compared with the specs in [audit.md](audit.md)."""


# --- one run ----------------------------------------------------------------------------------------------------------


def summary(folder: RunFolder, margin: float, target: float | None) -> str:
    """The results of a run as plain text. margin: in percentage points; target: an accuracy whose time is shown."""
    experiment = experiment_of(folder)
    parts = [table(*comparison(folder, experiment)) if experiment.published else NOTHING_PUBLISHED]
    parts.append(table(*accuracies(folder, target or experiment.target)))
    parts += equivalences(folder, margin)
    parts += verification(folder)
    if experiment.plain:
        plain = fullest(folder.path.parent).get((experiment.plain, "as-written"))
        if plain:
            parts += effect_of(folder, plain, experiment.plain, table)
    return "\n\n".join(parts)


def comparison(folder: RunFolder | None, experiment: Experiment) -> tuple[Row, list[Row]]:
    """Published beside measured figures: head and rows. Without a run, the published figures."""
    head: Row = ("network", "figure", "published", "source")
    rows: list[Row] = []
    for figure in experiment.published:
        published = (figure.net, _figure_name(figure, experiment), _published(figure), figure.source)
        rows.append(published if folder is None else (*published, *_measured(folder, experiment, figure)))
    if folder is not None:
        head = (*head, *frameworks_of(folder), "verdict")
    return head, rows


def _measured(folder: RunFolder, experiment: Experiment, figure: Figure) -> Row:
    """The measured values of each framework, and the verdict."""
    values, verdicts = figure_verdicts(folder, experiment, figure)
    digits = 1 if figure.metric in TIMES else 4
    return (*(spread(own, digits) for own in values.values()), _joint_verdict(verdicts))


def _figure_name(figure: Figure, experiment: Experiment) -> str:
    if figure.metric == "seconds":
        return f"seconds to {experiment.target}"
    return METRICS[figure.metric] + (f", epoch {figure.epoch}" if figure.epoch else "")


def _published(figure: Figure) -> str:
    """A value, a spread, or a median with its spread."""
    value = "" if figure.value is None else figure.printed(figure.value)
    if figure.low is None or figure.high is None:
        return value
    ends = f"{figure.printed(figure.low)} to {figure.printed(figure.high)}"
    return f"{value} ({ends})" if value else ends


def _joint_verdict(verdicts: Mapping[str, FigureVerdict]) -> str:
    """The verdict, once if it is the same for all frameworks, and the reasons, once if they are the same."""
    texts = {name: _verdict_text(verdict) for name, verdict in verdicts.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    kinds = {verdict.kind for verdict in verdicts.values()}
    if len(kinds) == 1:
        return f"{kinds.pop()}: " + "; ".join(f"{name} {verdict.reason}" for name, verdict in verdicts.items())
    return "; ".join(f"{name} {text}" for name, text in texts.items())


def _verdict_text(verdict: FigureVerdict) -> str:
    separator = ": " if verdict.kind == "not comparable" else " "
    return verdict.kind + separator + verdict.reason


def accuracies(folder: RunFolder, target: float | None) -> tuple[Row, list[Row]]:
    """The final test accuracy by network and framework, and the time to a target."""
    head: Row = ("network", "framework", "seeds", "test accuracy", "95 % interval", "each seed")
    if target:
        head = (*head, f"seconds to {target}")
    rows: list[Row] = []
    for net in networks_of(folder):
        times = seconds_to_target(folder, net, target) if target else {}
        for framework, by_seed in final_accuracies(folder, net).items():
            values = list(by_seed.values())
            row: Row = (
                net,
                framework,
                str(len(values)),
                spread(values).split(" (")[0],
                _interval(values, ".4f"),
                " ".join(f"{value:.4f}" for value in values),
            )
            if target:
                row = (*row, _time_to_target(list(times[framework].values()), len(values)))
            rows.append(row)
    return head, rows


def _time_to_target(seconds: Sequence[float], runs: int) -> str:
    """The mean time, and how many runs reached the target if not all did."""
    if not seconds:
        return "not reached"
    reached = "" if len(seconds) == runs else f" ({len(seconds)} of {runs} reached it)"
    return f"{mean(seconds):.1f}{reached}"


def _interval(values: Sequence[float], form: str) -> str:
    ends = mean_interval(values)
    return "" if ends is None else f"{ends[0]:{form}} to {ends[1]:{form}}"


def verification(folder: RunFolder) -> list[str]:
    """What covers the rows of a run, framework by framework, and the rows that leave the others."""
    rows = run_report.frame(folder)
    frameworks: dict[str, dict[str, None]] = {}
    for framework, text in zip(rows["framework"], rows["certified"]):
        frameworks.setdefault(text, {})[framework] = None
    lines = [f"verification of {', '.join(names)}: {text}" for text, names in frameworks.items()]
    return [*lines, *(f"warning: {cell}: {text}" for cell, text in disagreements(jobs_with_records(folder)).items())]


def equivalences(folder: RunFolder, margin: float) -> list[str]:
    """Whether the framework changes the accuracy: a line per pair of frameworks. margin: in percentage points."""
    return [_equivalence(pair, margin) for pair in paired_accuracies(folder, margin)]


def _equivalence(pair: PairedAccuracies, margin: float) -> str:
    result = pair.result
    gap, low, high = (None if value is None else value / POINT for value in result.difference)
    difference = f"{pair.net}, {pair.first} minus {pair.second}: {gap:+.2f} points"
    if low is None or high is None or result.p is None:
        return f"{difference}; one seed has no spread"
    if not result.spread:
        return f"{difference}, for each of {counted(pair.seeds, 'seed')}"
    if low > margin or high < -margin:
        answer = f"different by more than {margin:g} points"
    elif result.equivalent:
        answer = f"equivalent within {margin:g} points"
    else:
        answer = f"not shown to be equivalent within {margin:g} points"
        if result.pairs and result.pairs > pair.seeds:
            answer += f"; if there is no difference, {result.pairs} seeds would show it"
    return f"{difference} ({low:+.2f} to {high:+.2f} with 90 % confidence, p = {result.p:.2g}): {answer}"


def effect_of(folder: RunFolder, plain: RunFolder, name: str, form: Form) -> list[str]:
    """The effect of an experiment's difference as a table with a heading, or why it cannot be shown."""
    differences = unintended_differences(folder, plain)
    if differences:
        return [f"Not compared with {name}: the two runs differ in {', '.join(differences)}."]
    return [f"Compared with {name}, in points of test accuracy:", form(*effect_table(folder, plain))]


def effect_table(folder: RunFolder, plain: RunFolder) -> tuple[Row, list[Row]]:
    """The effect by network and framework, published and measured, with the mean's 95 % interval."""
    rows: list[Row] = [
        (
            effect.net,
            effect.framework,
            "" if effect.published is None else f"{effect.published:+.2f}",
            f"{mean(effect.changes):+.2f}",
            _interval(effect.changes, "+.2f"),
            str(len(effect.changes)),
        )
        for effect in effects(folder, plain)
    ]
    return ("network", "framework", "published", "measured", "95 % interval", "seeds"), rows


# --- REPRODUCTION.md --------------------------------------------------------------------------------------------------


def page(
    results: Path, margin: float = MARGIN, target: float | None = None, note: Callable[[str], None] = lambda line: None
) -> str:
    """Every experiment, published beside measured figures, from the runs in a folder."""
    runs = fullest(results, note)
    sections = [_section(key, experiment, runs, margin, target) for key, experiment in variants()]
    return "\n\n".join([INTRODUCTION, markdown(*overview(runs)), *sections]) + "\n"


def overview(runs: Mapping[VariantKey, RunFolder]) -> tuple[Row, list[Row]]:
    """A row per experiment and variant: the size of the run, and how many verdicts of each kind it has."""
    rows: list[Row] = []
    for key, experiment in variants():
        folder = runs.get(key)
        counts = ("", "", "")
        if folder:
            verdicts = [figure_verdicts(folder, experiment, figure)[1].values() for figure in experiment.published]
            kinds = [verdict.kind for of_figure in verdicts for verdict in of_figure]
            counts = (str(kinds.count(KINDS[0])), str(kinds.count(KINDS[1])), str(kinds.count(KINDS[2])))
        rows.append((_title(key), _size(folder), str(len(experiment.published)), *counts))
    return ("experiment", "run", "published figures", *KINDS), rows


def _title(key: VariantKey) -> str:
    name, variant = key
    return name if len(EXPERIMENTS[name].variants) == 1 else f"{name}, {variant}"


def _size(folder: RunFolder | None) -> str:
    """The epochs, images and seeds of a run."""
    if folder is None:
        return "not run"
    epochs = experiment_of(folder).recipe.epochs
    jobs = folder.training_run.jobs
    images = f"{jobs[0].train_size:,} + {jobs[0].test_size:,} images"
    seeds = counted(len({job.seed for job in jobs}), "seed")
    return f"{jobs[0].epochs} of {counted(epochs, 'epoch')}, {images}, {seeds}"


def _section(
    key: VariantKey,
    experiment: Experiment,
    runs: Mapping[VariantKey, RunFolder],
    margin: float,
    target: float | None,
) -> str:
    folder = runs.get(key)
    parts = [f"## {_title(key)}", f"{', '.join(experiment.nets)}: {experiment.recipe.source}."]
    if experiment.slips:
        parts.append("\n".join(f"- {slip}." for slip in experiment.slips))
    parts.append(markdown(*comparison(folder, experiment)) if experiment.published else NOTHING_PUBLISHED)
    if not folder:
        return "\n\n".join([*parts, "**Not run.**"])
    parts.append(markdown(*accuracies(folder, target or experiment.target)))
    plain = runs.get((experiment.plain, "as-written")) if experiment.plain else None
    if plain and experiment.plain:
        parts += effect_of(folder, plain, experiment.plain, markdown)
    reasons = dict.fromkeys(obstacle(folder.training_run, experiment, net) for net in experiment.nets)
    notes = [
        *(f"**{reason}**" for reason in reasons if reason),
        *equivalences(folder, margin),
        *verification(folder),
        *(line.removesuffix(".") for line in run_report.augmentation_notes(folder)),
        f"`{folder.path.name}`: {run_report.run_text(folder.training_run)}",
    ]
    return "\n\n".join([*parts, "\n".join(f"- {note}." for note in notes)])
