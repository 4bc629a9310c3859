"""What was published of the articles' experiments beside what our runs have shown: tables, verdicts, REPRODUCTION.md.

Verdicts. within: the mean of ours lies in the spread that was published; of a single published run, it lies where one
more run of ours would, with 95 %, so one figure in twenty is outside by chance. outside: it does not. not comparable:
and why. Runs that collapsed (test accuracy under 0.15) are in no published spread: ours are left out there and counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy import stats

from benchmarks.articles.experiments import EXPERIMENTS, TIMES, Experiment, Figure
from benchmarks.datasets.registry import DATASETS
from benchmarks.records.store import Folder, History
from benchmarks.reporting import run_report
from benchmarks.reporting.tables import Row, markdown, table
from benchmarks.runtime.errors import BadInput
from benchmarks.timing.statistics import equivalence
from benchmarks.training.jobs import recipe_fields

MARGIN = 0.5  # percentage points of accuracy that would matter
POINT = 0.01
COLLAPSED = 0.15  # test accuracy of ten classes, under which a run has learnt nothing

# --- what was found ---------------------------------------------------------------------------------------------------

Values = dict[int, float]  # by seed


def measured(folder: Folder, figure: Figure, target: float | None = None) -> dict[str, Values]:
    """Ours of a published figure, by framework and seed; only cells that are finished, and epochs that were reached."""
    histories = folder.histories()
    values: dict[str, Values] = {}
    for job in folder.run["jobs"]:
        if job["net"] != figure.net:
            continue
        of_framework = values.setdefault(job["framework"], {})
        history = histories.get(job["cell"], History())
        if history.finished and (value := _value(history, figure, target)) is not None and isfinite(value):
            of_framework[job["seed"]] = value
    return values


def _value(history: History, figure: Figure, target: float | None) -> float | None:
    if figure.metric == "seconds":
        return reached(history, target) if target else None
    wanted = figure.epoch or len(history.epochs)
    found = next((epoch for epoch in history.epochs if epoch["epoch"] == wanted), None)
    if found is None:
        return None
    if figure.metric == "epoch_seconds":
        return _training_seconds(found) + float(found["evaluation_seconds"])
    return float(found[figure.metric])


def _training_seconds(epoch: Mapping[str, Any]) -> float:
    return float((epoch["first_step_seconds"] or 0) + sum(seconds for _, seconds in epoch["slices"]))


def reached(history: History, target: float) -> float | None:
    """Seconds of training, evaluation left out, to the end of the first epoch with this test accuracy; None: never."""
    total = 0.0
    for epoch in history.epochs:
        total += _training_seconds(epoch)
        if epoch["test_accuracy"] >= target:
            return total
    return None


def obstacle(run: Mapping[str, Any], experiment: Experiment, net: str) -> str | None:
    """Why a run's figures are not to be held against the published ones, or None."""
    recipe, job = experiment.recipe, next(job for job in run["jobs"] if job["net"] == net)
    reasons = []
    if changed := _otherwise(job, experiment):
        reasons.append(f"trained otherwise: {', '.join(changed)}")
    if not _whole(job, experiment):
        epochs = f"{job['epochs']} of {recipe.epochs} epochs"
        reasons.append(f"at a smaller scale: {epochs}, {job['train_size']:,} + {job['test_size']:,} pictures")
    if not run["data"][job["dataset"]]["published"]:
        reasons.append("not the published bytes")
    return "; ".join(reasons) or None


def _otherwise(job: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """In what a job is not the experiment's, its length aside."""
    expected = recipe_fields(experiment.recipe)
    return [name for name in expected if job.get(name) != expected[name]]


def _whole(job: Mapping[str, Any], experiment: Experiment) -> bool:
    """All epochs and all pictures."""
    sizes = job["epochs"], job["train_size"], job["test_size"]
    return sizes == (experiment.recipe.epochs, *DATASETS[experiment.recipe.dataset].counts)


def verdict(figure: Figure, values: Sequence[float], why_not: str | None) -> tuple[str, str]:
    """(within, outside or not comparable, why)."""
    if why_not:
        return "not comparable", why_not
    if figure.metric in TIMES:
        return "not comparable", "another machine"
    if not values:
        return "not comparable", "no cell finished"
    if figure.low is not None and figure.high is not None:
        learnt = [value for value in values if value >= COLLAPSED]
        lost = f", {len(values) - len(learnt)} of {len(values)} collapsed" if len(learnt) < len(values) else ""
        if not learnt:
            return "outside", "all collapsed"
        inside = figure.meant(figure.low)[0] <= mean(learnt) <= figure.meant(figure.high)[1]
        return "within" if inside else "outside", _from_to(figure, figure.low, figure.high) + lost
    if len(values) < 2 or figure.value is None:
        return "not comparable", "one run of each shows no spread"
    low, high = next_run(values)
    from_, to = figure.meant(figure.value)
    return "within" if low <= to and from_ <= high else "outside", f"{low:.4f} to {high:.4f}"


def next_run(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Where one more value would lie: mean -+ t s sqrt(1 + 1 / n), the prediction interval of normal values.

    Hahn and Meeker 1991, section 4.8. Two values or more.
    """
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * stdev(values) * (1 + 1 / len(values)) ** 0.5
    return mean(values) - half, mean(values) + half


# --- as words ---------------------------------------------------------------------------------------------------------

_METRICS = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "epoch_seconds": "seconds of training and testing",
}


def comparison(folder: Folder | None, experiment: Experiment) -> tuple[Row, list[Row]]:
    """Published beside ours: head and rows. Without a run, what was published."""
    frameworks = _frameworks(folder) if folder else []
    rows: list[Row] = []
    for figure in experiment.published:
        words: Row = (figure.net, _named(figure, experiment), _published(figure), figure.whose)
        if not folder:
            rows.append(words)
            continue
        values, verdicts = _verdicts(folder, experiment, figure)
        digits = 1 if figure.metric in TIMES else 4
        rows.append((*words, *(_spread(values[name], digits) for name in frameworks), _together(verdicts)))
    return ("network", "figure", "published", "whose", *frameworks, *["verdict"] * bool(folder)), rows


def _verdicts(
    folder: Folder, experiment: Experiment, figure: Figure
) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]]]:
    """Of a published figure, by framework: ours, and the verdict with its reason."""
    ours, why_not = measured(folder, figure, experiment.target), obstacle(folder.run, experiment, figure.net)
    values = {name: list(ours.get(name, {}).values()) for name in _frameworks(folder)}
    return values, {name: verdict(figure, found, why_not) for name, found in values.items()}


def _frameworks(folder: Folder) -> list[str]:
    return list(dict.fromkeys(job["framework"] for job in folder.run["jobs"]))


def _named(figure: Figure, experiment: Experiment) -> str:
    if figure.metric == "seconds":
        return f"seconds to {experiment.target}"
    return _METRICS[figure.metric] + (f", epoch {figure.epoch}" if figure.epoch else "")


def _published(figure: Figure) -> str:
    """One value, a spread, or a median with its spread."""
    value = "" if figure.value is None else _printed(figure, figure.value)
    if figure.low is None or figure.high is None:
        return value
    spread = _from_to(figure, figure.low, figure.high)
    return f"{value} ({spread})" if value else spread


def _from_to(figure: Figure, low: float, high: float) -> str:
    return f"{_printed(figure, low)} to {_printed(figure, high)}"


def _printed(figure: Figure, value: float) -> str:
    """With all the digits that were printed; a median of two may have one more."""
    return max(f"{value:.{figure.decimals}f}", f"{value:g}", key=len)


def _spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean, standard deviation and how many; a single value has none."""
    if not values:
        return ""
    spread = f" ± {stdev(values):.{digits}f} ({len(values)})" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def _together(verdicts: Mapping[str, tuple[str, str]]) -> str:
    """One verdict where all frameworks have the same, with the reason if that is one too; else each its own."""
    said = {name: f"{kind}{':' * (kind == 'not comparable')} {why}" for name, (kind, why) in verdicts.items()}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    kinds = {kind for kind, _ in verdicts.values()}
    if len(kinds) == 1:
        return f"{kinds.pop()}: " + "; ".join(f"{name} {why}" for name, (_, why) in verdicts.items())
    return "; ".join(f"{name} {one}" for name, one in said.items())


def accuracies(folder: Folder, target: float | None) -> tuple[Row, list[Row]]:
    """The final test accuracy by network and framework: mean, spread, and the mean's 95 % interval over seeds."""
    rows = []
    for net in dict.fromkeys(job["net"] for job in folder.run["jobs"]):
        times = measured(folder, Figure(net, "seconds", None, ""), target)
        for framework, values in measured(folder, _final(net)).items():
            found = list(values.values())
            seconds = [_reached_in(list(times[framework].values()), len(found))] * bool(target)
            each = " ".join(f"{value:.4f}" for value in found)
            spread, interval = _spread(found).split(" (")[0], _interval(found, ".4f")
            rows.append((net, framework, str(len(found)), spread, interval, each, *seconds))
    head = ("network", "framework", "seeds", "test accuracy", "95 % interval", "each seed")
    return (*head, *[f"seconds to {target}"] * bool(target)), rows


def _reached_in(seconds: Sequence[float], runs: int) -> str:
    """The mean time to a target, and how many runs came to it where not all did."""
    if not seconds:
        return "not reached"
    return f"{mean(seconds):.1f}" + (f" ({len(seconds)} of {runs} reached it)" if len(seconds) < runs else "")


def _final(net: str) -> Figure:
    return Figure(net, "test_accuracy", None, "")


def equivalences(folder: Folder, margin: float) -> list[str]:
    """Does the framework change the accuracy? A line for each pair, paired by seed; margin in percentage points."""
    lines = []
    for net in dict.fromkeys(job["net"] for job in folder.run["jobs"]):
        for (one, mine), (two, theirs) in itertools.combinations(measured(folder, _final(net)).items(), 2):
            seeds = sorted(mine.keys() & theirs.keys())
            if not seeds:
                continue
            found = equivalence([mine[seed] for seed in seeds], [theirs[seed] for seed in seeds], margin * POINT)
            gap, low, high = (None if value is None else value / POINT for value in found.difference)
            said = f"{net}, {one} less {two}: {gap:+.2f} points"
            if low is None or high is None or found.p is None:
                lines.append(f"{said}; one seed shows no spread")
                continue
            if not found.spread:
                lines.append(f"{said}, at every one of {len(seeds)} seeds")
                continue
            answer = f"{'the same' if found.equivalent else 'not shown to be the same'} within {margin:g} points"
            if low > margin or high < -margin:
                answer = f"another by more than {margin:g} points"
            elif not found.equivalent and found.pairs and found.pairs > len(seeds):
                answer += f"; {found.pairs} seeds would show it, were there no difference"
            lines.append(f"{said} ({low:+.2f} to {high:+.2f} with 90 %, p = {found.p:.2g}): {answer}")
    return lines


def against(folder: Folder, plain: Folder, name: str, form: Callable[[Row, Sequence[Row]], str]) -> list[str]:
    """The effect as a table with its heading, or why there is none: two runs that differ in more than the one thing."""
    recipes = [recipe_fields(_experiment(one).recipe) for one in (folder, plain)]
    meant = {key for key in recipes[0] if recipes[0][key] != recipes[1][key]}
    kept = ("epochs", "train_size", "test_size", *recipes[0].keys() - meant)
    jobs = [{job["net"]: job for job in one.run["jobs"]} for one in (folder, plain)]
    both = jobs[0].keys() & jobs[1].keys()
    if other := sorted({key for net in both for key in kept if jobs[0][net].get(key) != jobs[1][net].get(key)}):
        return [f"Not held against {name}: the two runs differ in {', '.join(other)}."]
    return [f"Against {name}, in points of test accuracy:", form(*effects(folder, plain))]


def effects(folder: Folder, plain: Folder) -> tuple[Row, list[Row]]:
    """What an experiment's difference from the plain one does to the final test accuracy: head and rows, in points.

    Paired by seed, with the mean's 95 % interval; beside it the difference of the published values.
    """
    rows: list[Row] = []
    for net in dict.fromkeys(job["net"] for job in folder.run["jobs"]):
        ours, theirs = (measured(one, _final(net)) for one in (folder, plain))
        told = [_published_accuracy(_experiment(one), net) for one in (folder, plain)]
        published = f"{(told[0] - told[1]) / POINT:+.2f}" if told[0] is not None and told[1] is not None else ""
        for framework in (name for name in ours if name in theirs):
            seeds = sorted(ours[framework].keys() & theirs[framework].keys())
            gaps = [(ours[framework][seed] - theirs[framework][seed]) / POINT for seed in seeds]
            if gaps:
                rows.append((net, framework, published, f"{mean(gaps):+.2f}", _interval(gaps, "+.2f"), str(len(gaps))))
    return ("network", "framework", "published", "ours", "95 % interval", "seeds"), rows


def _published_accuracy(experiment: Experiment, net: str) -> float | None:
    values = [one.value for one in experiment.published if (one.net, one.metric) == (net, "test_accuracy")]
    return values[0] if values else None


def _interval(values: Sequence[float], form: str) -> str:
    """The mean's 95 % interval by Student's t; nothing where the values show no spread."""
    if len(values) < 2 or not stdev(values):
        return ""
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return f"{low:{form}} to {high:{form}}"


def summary(folder: Folder, margin: float, target: float | None) -> str:
    """What a run has shown, as plain text."""
    experiment = _experiment(folder)
    target = target or experiment.target
    parts = [
        table(*comparison(folder, experiment)) if experiment.published else "Nothing was published of it.",
        table(*accuracies(folder, target)),
        *equivalences(folder, margin),
    ]
    if experiment.plain and (plain := fullest(folder.path.parent).get((experiment.plain, "as-written"))):
        parts += against(folder, plain, experiment.plain, table)
    return "\n\n".join(parts)


def _experiment(folder: Folder) -> Experiment:
    request = folder.run["request"]
    return EXPERIMENTS[request["experiment"]].variants[request["variant"]]


# --- results/REPRODUCTION.md ------------------------------------------------------------------------------------------


def page(
    results: Path, margin: float = MARGIN, target: float | None = None, note: Callable[[str], None] = lambda line: None
) -> str:
    """Every experiment, published beside ours, from the runs in a folder."""
    runs = fullest(results, note)
    sections = [_section(key, experiment, runs, margin, target) for key, experiment in _variants()]
    told = (__doc__ or "").partition("Verdicts. ")[2]
    head = "# The articles' experiments, published beside measured\n\nMade by `python -m benchmarks.reproduce --write`."
    ours = "Ours: mean ± standard deviation (seeds). " + " ".join(told.split())
    ours += " Seconds are those of a machine that did other work as well: `benchmarks.speed` is for speed."
    other = "What else the articles state, sizes and counts, is held against the specs in [audit.md](audit.md)."
    return "\n\n".join([head, ours, other, markdown(*overview(runs)), *sections]) + "\n"


def overview(runs: Mapping[tuple[str, str], Folder]) -> tuple[Row, list[Row]]:
    """A row per experiment and variant: how much of it was run, and the verdicts, each framework counted by itself."""
    kinds = ("within", "outside", "not comparable")
    rows: list[Row] = []
    for key, experiment in _variants():
        first = (_title(*key), _extent(runs.get(key)), str(len(experiment.published)))
        if not (folder := runs.get(key)):
            rows.append((*first, "", "", ""))
            continue
        said = [
            kind for figure in experiment.published for kind, _ in _verdicts(folder, experiment, figure)[1].values()
        ]
        rows.append((*first, *(str(said.count(kind)) for kind in kinds)))
    return ("experiment", "run", "published figures", *kinds), rows


def _variants() -> list[tuple[tuple[str, str], Experiment]]:
    return [((name, variant), one) for name, of in EXPERIMENTS.items() for variant, one in of.variants.items()]


def _title(name: str, variant: str) -> str:
    return name if len(EXPERIMENTS[name].variants) == 1 else f"{name}, {variant}"


def _extent(folder: Folder | None) -> str:
    """How much of an experiment a run is."""
    if folder is None:
        return "not run"
    whole = _experiment(folder).recipe.epochs
    job, seeds = folder.run["jobs"][0], len({job["seed"] for job in folder.run["jobs"]})
    pictures = f"{job['train_size']:,} + {job['test_size']:,} pictures"
    return f"{job['epochs']} of {whole} epochs, {pictures}, {seeds} {'seeds' if seeds > 1 else 'seed'}"


def fullest(results: Path, note: Callable[[str], None] = lambda line: None) -> dict[tuple[str, str], Folder]:
    """The run of each experiment and variant in a folder: of several the fullest, then the last.

    What cannot be read, or is of no experiment here, is passed over; `note` is told of the first.
    """
    runs: dict[tuple[str, str], Folder] = {}
    for path in sorted(results.glob("*/run.json")):
        try:
            folder = Folder.open(path.parent)
            request = folder.run.get("request", {})
        except BadInput as error:
            note(f"passed over: {error}")
            continue
        key = request.get("experiment"), request.get("variant")
        if key in dict(_variants()) and (key not in runs or _fullness(folder) >= _fullness(runs[key])):
            runs[key] = folder
    return runs


def _fullness(folder: Folder) -> tuple[bool, int]:
    """For choosing among runs of one experiment: as it says, all epochs and pictures first, then the most cells."""
    experiment, jobs = _experiment(folder), folder.run["jobs"]
    finished = sum(history.finished for history in folder.histories().values())
    return all(_whole(job, experiment) and not _otherwise(job, experiment) for job in jobs), finished


def _section(
    key: tuple[str, str], experiment: Experiment, runs: Mapping[tuple[str, str], Folder], margin: float,
    target: float | None,
) -> str:  # fmt: skip
    folder = runs.get(key)
    parts = [f"## {_title(*key)}", f"{', '.join(experiment.nets)}: {experiment.recipe.source}."]
    if experiment.slips:
        parts.append("\n".join(f"- {slip}." for slip in experiment.slips))
    target = target or experiment.target
    if experiment.published:
        parts.append(markdown(*comparison(folder, experiment)))
    else:
        parts.append("Nothing was published of it.")
    if not folder:
        return "\n\n".join([*parts, "**Not run.**"])
    parts.append(markdown(*accuracies(folder, target)))
    if experiment.plain and (plain := runs.get((experiment.plain, "as-written"))):
        parts += against(folder, plain, experiment.plain, markdown)
    reasons = dict.fromkeys(filter(None, (obstacle(folder.run, experiment, net) for net in experiment.nets)))
    notes = [*(f"**{reason}**" for reason in reasons), *equivalences(folder, margin)]
    notes += [line.removesuffix(".") for line in run_report.augmentation_notes(folder)]
    notes += [f"`{folder.path.name}`: {run_report.run_text(folder.run)}"]
    return "\n\n".join([*parts, "\n".join(f"- {note}." for note in notes)])
