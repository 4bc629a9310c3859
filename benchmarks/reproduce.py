"""The articles' experiments, run here: what was published beside what is measured.

    python -m benchmarks.reproduce                                          the experiments there are
    python -m benchmarks.reproduce --recipe gluon-lenet --fw all --seeds 5  one of them; first, how long it will take
    python -m benchmarks.reproduce --write results                          results/REPRODUCTION.md from the runs there

Verdicts. within: the mean of ours lies in the spread that was published; of a single published run, it lies where one
more run of ours would, with 95 %. outside: it does not. not comparable: and why.
Exit status: 0 done; 1 a framework that was named could not be had, or a cell failed; 2 bad input; 3 data missing or
corrupt; 130 stopped: `--resume` goes on.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from scipy import stats

from benchmarks import report
from benchmarks.cell import Cell, Job
from benchmarks.data import DATASETS, DataError, Dataset
from benchmarks.environments import Environment, parse_frameworks, parse_pythons
from benchmarks.errors import BadInput, Parser
from benchmarks.plan import Request, plan, too_large, trained
from benchmarks.progress import Show
from benchmarks.recipes import EXPERIMENTS, Experiment, Figure
from benchmarks.record import Folder, History
from benchmarks.run import environments, execute
from benchmarks.session import WorkerFailed
from benchmarks.tables import Row, markdown, table
from benchmarks.timing import schedule
from benchmarks.timing.statistics import equivalence
from frameworks.adapter import Unavailable
from frameworks.registry import REALISATIONS

MARGIN = 0.5  # percentage points of accuracy that would matter
POINT = 0.01

# --- how long it will take --------------------------------------------------------------------------------------------

PROBE = 12  # steps of an epoch that is tried, and no more than about three seconds of work here


class Cost(NamedTuple):
    """Seconds of one cell: once, and for each epoch."""

    once: float
    epoch: float


def forecast(request: Request, show: Show, resume: Path | None = None) -> dict[str, float]:
    """Seconds that the run will take here, by network and framework: a few steps of each are tried. Writes nothing."""
    groups, data = plan(request, show)
    found = environments(request, groups[0][0].device, show)
    histories = Folder.open(resume).histories() if resume else {}
    seconds: dict[str, float] = {}
    for _, of_net in itertools.groupby(groups, key=lambda group: group[0].name):
        for same in zip(*of_net):  # one framework's jobs, which differ in the seed
            left = [job.epochs - len(histories.get(job.cell, History()).epochs) for job in same]
            cost = _cost(same[0], data[same[0].dataset], found[same[0].framework], request.timeout)
            seconds[f"{same[0].name} {same[0].framework}"] = sum(
                cost.once + epochs * cost.epoch for epochs in left if epochs
            )
    return seconds


def _cost(job: Job, data: Dataset, place: Environment | str, timeout: float) -> Cost:
    """Two short epochs of a job, thrown away; nothing where it cannot run, which the run itself will record."""
    if isinstance(place, str) or too_large([job]):
        return Cost(0, 0)
    steps = int(3 * schedule.SLICE[job.device] / (3 * max(job.network.multiply_adds, 1) * job.batch_size))
    size = min(job.train_size, max(2, min(PROBE, steps)) * job.batch_size)
    small = replace(job, epochs=2, train_size=size, test_size=min(job.test_size, size))
    with tempfile.TemporaryDirectory(prefix="onespec-") as scratch:
        cell = Cell(small, data, Folder(Path(scratch)), Path(scratch), History())
        try:
            began = time.perf_counter()
            cell.open(place.python, REALISATIONS[parse_frameworks(job.framework)[0].name], timeout)
            opened = time.perf_counter() - began
            first, second = (cell.train_epoch(0, lambda *_: None) for _ in range(2))
        except (Unavailable, WorkerFailed):
            return Cost(0, 0)
        finally:
            cell.close()
    by_picture = sum(seconds for _, seconds in second["slices"])
    by_picture += (second.get("augment_seconds") or 0) + second.get("reload_seconds", 0)
    epoch = by_picture * job.train_size / size + second["evaluation_seconds"] * job.test_size / small.test_size
    return Cost(opened + first["first_step_seconds"], epoch + second["harness_seconds"])


def spoken(seconds: float) -> str:
    """A duration as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
    return next((float(epoch[figure.metric]) for epoch in history.epochs if epoch["epoch"] == wanted), None)


def reached(history: History, target: float) -> float | None:
    """Seconds of training, evaluation left out, to the end of the first epoch with this test accuracy; None: never."""
    total = 0.0
    for epoch in history.epochs:
        total += (epoch["first_step_seconds"] or 0) + sum(seconds for _, seconds in epoch["slices"])
        if epoch["test_accuracy"] >= target:
            return total
    return None


def obstacle(run: Mapping[str, Any], experiment: Experiment, net: str) -> str | None:
    """Why a run's figures are not to be held against the published ones, or None."""
    recipe, job = experiment.recipe, next(job for job in run["jobs"] if job["net"] == net)
    expected, reasons = trained(recipe), []
    if changed := [name for name in expected if job.get(name) != expected[name]]:
        reasons.append(f"trained otherwise: {', '.join(changed)}")
    if not _whole(job, experiment):
        epochs = f"{job['epochs']} of {recipe.epochs} epochs"
        reasons.append(f"at a smaller scale: {epochs}, {job['train_size']:,} + {job['test_size']:,} pictures")
    if not run["data"][job["dataset"]]["published"]:
        reasons.append("not the published bytes")
    return "; ".join(reasons) or None


def _whole(job: Mapping[str, Any], experiment: Experiment) -> bool:
    """All epochs and all pictures."""
    sizes = job["epochs"], job["train_size"], job["test_size"]
    return sizes == (experiment.recipe.epochs, *DATASETS[experiment.recipe.dataset].counts)


def verdict(figure: Figure, values: Sequence[float], why_not: str | None) -> tuple[str, str]:
    """(within, outside or not comparable, why)."""
    if why_not:
        return "not comparable", why_not
    if figure.metric == "seconds":
        return "not comparable", "another machine"
    if not values:
        return "not comparable", "no cell finished"
    if figure.low is not None and figure.high is not None:
        inside = figure.low - figure.rounding <= mean(values) <= figure.high + figure.rounding
        return "within" if inside else "outside", f"the published {figure.low:g} to {figure.high:g}"
    if len(values) < 2 or figure.value is None:
        return "not comparable", "one run of each shows no spread"
    low, high = next_run(values)
    inside = low - figure.rounding <= figure.value <= high + figure.rounding
    return "within" if inside else "outside", f"{low:.4f} to {high:.4f}, where one more run of ours would be"


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
    "seconds": "seconds",
}


def comparison(folder: Folder | None, experiment: Experiment, target: float | None) -> tuple[Row, list[Row]]:
    """Published beside ours: head and rows. Without a run, what was published."""
    frameworks = list(dict.fromkeys(job["framework"] for job in folder.run["jobs"])) if folder else []
    rows: list[Row] = []
    for figure in experiment.published:
        words: Row = (figure.net, _named(figure, experiment), _published(figure), figure.whose)
        if not folder:
            rows.append(words)
            continue
        ours = measured(folder, figure, target)
        why_not = obstacle(folder.run, experiment, figure.net)
        verdicts = {name: verdict(figure, list(ours.get(name, {}).values()), why_not) for name in frameworks}
        rows.append((*words, *(_spread(list(ours.get(name, {}).values())) for name in frameworks), _together(verdicts)))
    return ("network", "figure", "published", "whose", *frameworks, *["verdict"] * bool(folder)), rows


def _named(figure: Figure, experiment: Experiment) -> str:
    if figure.metric == "seconds":
        return f"seconds to {experiment.target}"
    return _METRICS[figure.metric] + (f", epoch {figure.epoch}" if figure.epoch else "")


def _published(figure: Figure) -> str:
    spread = f"{figure.low:g} to {figure.high:g}" if figure.low is not None else ""
    return spread if figure.value is None else f"{figure.value:g}" + (f" ({spread})" if spread else "")


def _spread(values: Sequence[float]) -> str:
    """Mean, standard deviation and how many; a single value has none."""
    if not values:
        return ""
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f} ({len(values)})" if len(values) > 1 else "")


def _together(verdicts: Mapping[str, tuple[str, str]]) -> str:
    """One verdict where all frameworks have the same, with the reason if that is one too; else each its own."""
    said = {name: f"{kind}{':' * (kind == 'not comparable')} {why}" for name, (kind, why) in verdicts.items()}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    kinds = {kind for kind, _ in verdicts.values()}
    return kinds.pop() if len(kinds) == 1 else "; ".join(f"{name} {one}" for name, one in said.items())


def accuracies(folder: Folder, target: float | None) -> tuple[Row, list[Row]]:
    """The final test accuracy by network and framework: mean, spread, and the mean's 95 % interval over seeds."""
    rows = []
    for net in dict.fromkeys(job["net"] for job in folder.run["jobs"]):
        times = measured(folder, Figure(net, "seconds", None, ""), target)
        for framework, values in measured(folder, _final(net)).items():
            found = list(values.values())
            interval = ""
            if len(found) > 1 and stdev(found):
                low, high = stats.ttest_1samp(found, 0).confidence_interval(0.95)
                interval = f"{low:.4f} to {high:.4f}"
            seconds = [f"{mean(times[framework].values()):.1f}" if times[framework] else "not reached"] * bool(target)
            each = " ".join(f"{value:.4f}" for value in found)
            rows.append((net, framework, str(len(found)), _spread(found).split(" (")[0], interval, each, *seconds))
    head = ("network", "framework", "seeds", "test accuracy", "95 % interval", "each seed")
    return (*head, *[f"seconds to {target}"] * bool(target)), rows


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
            if low is None or found.p is None:
                lines.append(f"{said}; one seed shows no spread")
                continue
            answer = f"{'the same' if found.equivalent else 'not shown to be the same'} within {margin:g} points"
            needed = "" if found.equivalent else f"; {found.pairs} seeds would show it, were there no difference"
            lines.append(f"{said} ({low:+.2f} to {high:+.2f} with 90 %): {answer} (p = {found.p:.2g}){needed}")
    return lines


def summary(folder: Folder, margin: float, target: float | None) -> str:
    """What a run has shown, as plain text."""
    experiment = _experiment(folder)
    target = target or experiment.target
    parts = [
        table(*comparison(folder, experiment, target)) if experiment.published else "Nothing was published of it.",
        table(*accuracies(folder, target)),
        *equivalences(folder, margin),
    ]
    return "\n\n".join(parts)


def _experiment(folder: Folder) -> Experiment:
    request = folder.run["request"]
    return EXPERIMENTS[request["experiment"]].variants[request["variant"]]


# --- results/REPRODUCTION.md ------------------------------------------------------------------------------------------


def page(results: Path, margin: float = MARGIN, target: float | None = None) -> str:
    """Every experiment, published beside ours, from the runs in a folder; of several the fullest, then the last."""
    runs: dict[tuple[str, str], Folder] = {}
    for path in sorted(results.glob("*/run.json")):
        folder = Folder.open(path.parent)
        request = folder.run["request"]
        if not request.get("experiment"):
            continue
        key = request["experiment"], request["variant"]
        if key not in runs or _fullness(folder) >= _fullness(runs[key]):
            runs[key] = folder
    sections = [
        _section(name, variant, experiment, runs.get((name, variant)), margin, target)
        for name, of_name in EXPERIMENTS.items()
        for variant, experiment in of_name.variants.items()
    ]
    told = (__doc__ or "").partition("Verdicts. ")[2].partition("Exit status")[0]
    head = "# The articles' experiments, published beside measured\n\nMade by `python -m benchmarks.reproduce --write`."
    ours = "Ours: mean ± standard deviation (seeds). " + " ".join(told.split())
    return "\n\n".join([head, ours, *sections]) + "\n"


def _fullness(folder: Folder) -> tuple[bool, int]:
    """For choosing among runs of one experiment: all epochs and pictures first, then the most cells."""
    experiment, jobs = _experiment(folder), folder.run["jobs"]
    finished = sum(history.finished for history in folder.histories().values())
    return all(_whole(job, experiment) for job in jobs), finished


def _section(
    name: str, variant: str, experiment: Experiment, folder: Folder | None, margin: float, target: float | None
) -> str:
    title = name if len(EXPERIMENTS[name].variants) == 1 else f"{name}, {variant}"
    parts = [f"## {title}", f"{', '.join(experiment.nets)}: {experiment.recipe.source}."]
    if experiment.slips:
        parts.append("\n".join(f"- {slip}." for slip in experiment.slips))
    target = target or experiment.target
    if experiment.published:
        parts.append(markdown(*comparison(folder, experiment, target)))
    else:
        parts.append("Nothing was published of it.")
    if not folder:
        return "\n\n".join([*parts, "**Not run.**"])
    parts.append(markdown(*accuracies(folder, target)))
    reasons = dict.fromkeys(filter(None, (obstacle(folder.run, experiment, net) for net in experiment.nets)))
    notes = [*(f"**{reason}**" for reason in reasons), *equivalences(folder, margin)]
    notes += [f"`{folder.path.name}`: {report.machine_line(folder.run)}"]
    return "\n\n".join([*parts, "\n".join(f"- {note}." for note in notes)])


# --- the command ------------------------------------------------------------------------------------------------------


def listing() -> str:
    """The experiments: what each trains, and how much was published of it."""
    rows = [
        (name, variant, ",".join(one.nets), one.recipe.dataset, str(one.recipe.epochs), str(len(one.published)))
        for name, of_name in EXPERIMENTS.items()
        for variant, one in of_name.variants.items()
    ]
    return table(("recipe", "variant", "networks", "data", "epochs", "published figures"), rows)


def parser() -> Parser:
    made = Parser(prog="python -m benchmarks.reproduce", description="The articles' experiments, published and ours.")
    what = made.add_argument_group("what (without --recipe: the list)")
    what.add_argument("--recipe", metavar="NAME", help="an experiment of the list")
    what.add_argument("--variant", default="as-written", help="as-written, or as-meant where the article has slips")
    what.add_argument("--fw", default="all", metavar="NAME,...", help=f"{', '.join(REALISATIONS)}; [all]")
    what.add_argument("--seeds", type=int, default=1, metavar="N", help="how many, from 0 on [1]")
    what.add_argument("--target", type=float, metavar="ACCURACY", help="test accuracy whose time is a figure too")
    what.add_argument("--margin", type=float, default=MARGIN, metavar="POINTS", help=f"that would matter [{MARGIN}]")
    less = made.add_argument_group("less of it (marked as such, and not held against the published figures)")
    less.add_argument("--scale", type=float, default=1.0, metavar="SHARE", help="of the epochs and of the pictures [1]")
    less.add_argument("--epochs", type=int, metavar="N")
    less.add_argument("--train-size", type=int, metavar="N")
    less.add_argument("--test-size", type=int, metavar="N")
    less.add_argument("--dataset", metavar="NAME", help="another data set, for a trial")
    less.add_argument("--forecast", action="store_true", help="only say how long it will take")
    where = made.add_argument_group("where")
    where.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    where.add_argument("--threads", type=int, metavar="N", help="of each worker [all cores]")
    where.add_argument("--python", action="append", default=[], metavar="FW=PATH")
    where.add_argument("--timeout", type=float, default=600.0, metavar="S")
    kept = made.add_argument_group("results")
    kept.add_argument("--out", type=Path, default=Path("results"), metavar="FOLDER")
    kept.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with a run that was stopped")
    kept.add_argument("--save", action="store_true", help="keep the trained weights, for benchmarks.predict")
    kept.add_argument("--write", type=Path, metavar="FOLDER", help="write its REPRODUCTION.md from the runs in it")
    kept.add_argument("--quiet", action="store_true")
    return made


def _request(options: Any) -> Request:
    pythons = parse_pythons(options.python)
    if options.resume:
        saved = Folder.open(options.resume).run["request"]
        if not saved.get("experiment"):
            raise BadInput(f"--resume {options.resume}: no experiment's run; benchmarks.run --resume goes on with it")
        return Request(**{**saved, "pythons": {**saved["pythons"], **pythons}, "timeout": options.timeout})
    experiment = EXPERIMENTS.get(options.recipe)
    if not experiment:
        raise BadInput(f"--recipe {options.recipe}: no such recipe; there are {', '.join(EXPERIMENTS)}")
    if options.variant not in experiment.variants:
        raise BadInput(f"--variant {options.variant}: {options.recipe} has {', '.join(experiment.variants)}")
    if options.seeds < 1:
        raise BadInput(f"--seeds {options.seeds}: at least one")
    given = {
        name: getattr(options, name)
        for name in "dataset epochs threads device train_size test_size timeout scale save variant".split()
    }
    return Request(
        net=experiment.variants[options.variant].nets,
        frameworks=options.fw,
        seeds=tuple(range(options.seeds)),
        experiment=options.recipe,
        pythons=pythons,
        **{name: value for name, value in given.items() if value is not None},
    )


def main(arguments: list[str] | None = None) -> int:
    show = Show()
    try:
        options = parser().parse_args(arguments)
        show = Show(options.quiet)
        if not options.margin > 0:
            raise BadInput(f"--margin {options.margin:g}: more than 0 points")
        if options.write:
            return _write(options)
        if not (options.recipe or options.resume):
            print(listing())
            return 0
        command = ["python", "-m", "benchmarks.reproduce", *(sys.argv[1:] if arguments is None else arguments)]
        return _reproduce(options, command, show)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except DataError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        show.note("stopped; what was finished is kept: go on with --resume and the run's folder")
        return 130


def _write(options: Any) -> int:
    if not options.write.is_dir():
        raise BadInput(f"--write {options.write}: no such folder; name the one that holds the runs")
    path = options.write / "REPRODUCTION.md"
    path.write_text(page(options.write, options.margin, options.target), encoding="utf-8")
    print(path)
    return 0


def _reproduce(options: Any, command: Sequence[str], show: Show) -> int:
    request = _request(options)
    seconds = forecast(request, show, options.resume)
    parts = ", ".join(f"{name} {spoken(one)}" for name, one in seconds.items() if one)
    seeds = f"{len(request.seeds)} seeds" if len(request.seeds) > 1 else "1 seed"
    print(f"{request.experiment}, {seeds}: about {spoken(sum(seconds.values()))} here ({parts})", flush=True)
    if options.forecast:
        return 0
    folder = execute(request, show, options.out, options.resume, command)
    print(summary(folder, options.margin, options.target))
    print(folder.path)
    wrong = {"failed", "unfinished"} | ({"unavailable"} if request.frameworks != "all" else set())
    return 1 if set(report.frame(folder)["status"]) & wrong else 0


if __name__ == "__main__":
    sys.exit(main())
