"""The articles' experiments, run here: what was published beside what is measured.

    python -m benchmarks.reproduce                                          the experiments there are
    python -m benchmarks.reproduce --recipe gluon-lenet --fw all --seeds 5  one of them; first, how long it will take
    python -m benchmarks.reproduce --write results                          results/REPRODUCTION.md from the runs there

What the verdicts mean stands in `benchmarks/articles/reproduction.py` and on the page.
Exit status: 0 done; 1 a framework that was named could not be had, or a cell failed; 2 bad input; 3 data missing or
corrupt; 130 stopped: `--resume` goes on.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.articles.experiments import EXPERIMENTS
from benchmarks.articles.reproduction import MARGIN, page, summary
from benchmarks.cli.progress import ProgressDisplay
from benchmarks.datasets.registry import Dataset
from benchmarks.records.store import Folder, History
from benchmarks.reporting import run_report
from benchmarks.reporting.tables import table
from benchmarks.runtime.environments import Environment, parse_frameworks, parse_pythons
from benchmarks.runtime.errors import BadInput, DataError, Parser, WorkerFailed
from benchmarks.training import epoch_slices
from benchmarks.training.plan import Request, plan, too_large
from benchmarks.training.runner import environments, execute
from benchmarks.training.trainer import Cell, Job
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS

# --- how long it will take --------------------------------------------------------------------------------------------

PROBE = 12  # steps of an epoch that is tried, and no more than about three seconds of work here


class Cost(NamedTuple):
    """Seconds of one cell: once, and for each epoch."""

    once: float
    epoch: float


def forecast(request: Request, progress: ProgressDisplay, resume: Path | None = None) -> dict[str, float]:
    """Seconds that the run will take here, by network and framework: a few steps of each are tried. Writes nothing."""
    groups, data = plan(request, progress)
    found = environments(request, groups[0][0].device, progress)
    histories = Folder.open(resume).histories() if resume else {}
    seconds: dict[str, float] = {}
    for _, of_net in itertools.groupby(groups, key=lambda group: group[0].name):
        of_seeds = list(of_net)
        for same in zip(*of_seeds):  # one framework's jobs, which differ in the seed
            left = [job.epochs - len(histories.get(job.cell, History()).epochs) for job in same]
            if not any(left) or too_large(of_seeds[0]):
                continue
            cost = _cost(same[0], data[same[0].dataset], found[same[0].framework], request.timeout)
            seconds[f"{same[0].name} {same[0].framework}"] = sum(
                cost.once + epochs * cost.epoch for epochs in left if epochs
            )
    return seconds


def _cost(job: Job, data: Dataset, place: Environment | str, timeout: float) -> Cost:
    """Two short epochs of a job, thrown away; nothing where it cannot run, which the run itself will record."""
    if isinstance(place, str):
        return Cost(0, 0)
    steps = int(3 * epoch_slices.SLICE[job.device] / (3 * max(job.network.macs, 1) * job.batch_size))
    size = min(job.train_size, max(1, min(PROBE, steps)) * job.batch_size)
    small = replace(job, epochs=2, train_size=size, test_size=min(job.test_size, size))
    with tempfile.TemporaryDirectory(prefix="onespec-") as scratch:
        cell = Cell(small, data, Folder(Path(scratch)), Path(scratch), History())
        try:
            began = time.perf_counter()
            cell.open(place.python, FRAMEWORKS[parse_frameworks(job.framework)[0].name], timeout)
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
    what.add_argument("--fw", default="all", metavar="NAME,...", help=f"{', '.join(FRAMEWORKS)}; [all]")
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
    progress = ProgressDisplay()
    try:
        options = parser().parse_args(arguments)
        progress = ProgressDisplay(options.quiet)
        if not options.margin > 0:
            raise BadInput(f"--margin {options.margin:g}: more than 0 points")
        if options.target is not None and not 0 < options.target < 1:
            raise BadInput(f"--target {options.target:g}: an accuracy between 0 and 1, such as 0.8")
        if options.write:
            return _write(options, progress)
        if not (options.recipe or options.resume):
            print(listing())
            return 0
        command = ["python", "-m", "benchmarks.reproduce", *(sys.argv[1:] if arguments is None else arguments)]
        return _reproduce(options, command, progress)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except DataError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        progress.message("stopped; what was finished is kept: go on with --resume and the run's folder")
        return 130


def _write(options: Any, progress: ProgressDisplay) -> int:
    if not options.write.is_dir():
        raise BadInput(f"--write {options.write}: no such folder; name the one that holds the runs")
    path = options.write / "REPRODUCTION.md"
    path.write_text(page(options.write, options.margin, options.target, progress.message), encoding="utf-8")
    print(path)
    return 0


def _reproduce(options: Any, command: Sequence[str], progress: ProgressDisplay) -> int:
    request = _request(options)
    seconds = forecast(request, progress, options.resume)
    parts = ", ".join(f"{name} {spoken(one)}" for name, one in seconds.items() if one)
    seeds = f"{len(request.seeds)} seeds" if len(request.seeds) > 1 else "1 seed"
    print(f"{request.experiment}, {seeds}: about {spoken(sum(seconds.values()))} here ({parts})", flush=True)
    if options.forecast:
        return 0
    folder = execute(request, progress, options.out, options.resume, command)
    print(summary(folder, options.margin, options.target))
    print(folder.path)
    wrong = {"failed", "unfinished"} | ({"unavailable"} if request.frameworks != "all" else set())
    return 1 if set(run_report.frame(folder)["status"]) & wrong else 0


if __name__ == "__main__":
    sys.exit(main())
