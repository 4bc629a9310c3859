"""`onespec reproduce`: repeat published experiments, and compare the figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.command import (
    announce,
    command_line,
    ends_with,
    given_options,
    is_given,
    resume_advice,
    when_stopped,
)
from benchmarks.cli.distributed import Executor, distributed
from benchmarks.cli.distributed import check_resumed_options as check_reopened_options
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.streams import show
from benchmarks.runtime.errors import BadInput

if TYPE_CHECKING:
    from benchmarks.records.store import RunFolder

LESS = "A smaller experiment (not compared with the published figures)"


@options.command(
    "reproduce",
    examples=(
        "",
        "--recipe d2l-lenet --forecast",
        "--recipe d2l-lenet --fw all --seed 0-4",
        "--recipe d2l-lenet --fw all --seed 0-4 --executor submitit",
        "--write results",
    ),
)
@options.option(
    "--recipe", metavar="NAME", show_default="none: list them", heading=options.WHAT, help="An experiment of the list."
)
@options.option(
    "--variant",
    default="as-written",
    metavar="NAME",
    heading=options.WHAT,
    help="as-written, or as-meant if the article has mistakes.",
)
@options.frameworks
@options.option(
    "--seed",
    "seeds",
    type=options.SEEDS,
    default="0",
    metavar="N,...",
    heading=options.WHAT,
    help="Seeds, such as 0,1,2 or 0-4; each seed is a run.",
)
@options.option(
    "--target",
    type=float,
    metavar="ACCURACY",
    heading=options.WHAT,
    help="Report also the time to this test accuracy, between 0 and 1.",
)
@options.option(
    "--margin",
    type=options.Number(0, 100),
    default=0.5,
    metavar="POINTS",
    heading=options.WHAT,
    help="Difference of accuracy, in percentage points, that would matter.",
)
@options.option("--forecast", is_flag=True, show_default=False, heading=LESS, help="Only estimate the run time.")
@options.option(
    "--scale",
    type=options.Number(0, 1),
    default=1.0,
    metavar="FRACTION",
    heading=LESS,
    help="Fraction of epochs and images.",
)
@options.option("--epochs", type=options.EPOCHS, metavar="N", heading=LESS, help="Epochs.")
@options.option("--train-size", type=options.IMAGES, metavar="N", heading=LESS, help="Use the first N training images.")
@options.option("--test-size", type=options.IMAGES, metavar="N", heading=LESS, help="Use the first N test images.")
@options.dataset("Another data set", heading=LESS)
@options.device
@options.threads
@options.executor
@options.timeout
@options.pythons
@options.out
@options.resume
@options.save
@options.option(
    "--write",
    type=options.FOLDER,
    metavar="FOLDER",
    heading=options.RESULTS,
    help="Write REPRODUCTION.md from the runs in this folder; run nothing.",
)
@options.as_json
@options.quiet
def command(
    recipe: str | None,
    margin: float,
    target: float | None,
    forecast: bool,
    resume: Path | None,
    write: Path | None,
    out: Path,
    pythons: dict[str, str],
    timeout: float,
    save: bool,
    executor: str | None,
    executor_options: dict[str, str],
    ray_address: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> ExitCode:
    """Repeat published experiments and compare the figures.

    Without --recipe, the experiments are listed. With --recipe, the run time is estimated first.
    """
    if target is not None and not 0 < target < 1:
        raise BadInput(f"--target {target:g}: an accuracy between 0 and 1, such as 0.8")
    cluster = Executor(executor, executor_options, ray_address, dry_run)
    cluster.check(None)
    _check_executor(executor, recipe, resume, write, forecast)
    if write:
        return _write(write, margin, target, quiet)
    if recipe is None and resume is None:
        return _list(as_json)
    if executor:
        on_nodes = {"pythons": pythons, "timeout": timeout, "save": save}
        return _distributed(cluster, recipe, given, on_nodes, out, resume, (margin, target), as_json, quiet)
    announce(f"Estimating the run time of {recipe or resume}.", quiet)
    given |= {"pythons": pythons, "timeout": timeout, "save": save}
    from benchmarks.articles import forecast as forecasts
    from benchmarks.articles.experiment_requests import check_resumed_options, experiment_request, resumed_experiment
    from benchmarks.articles.reproduction_text import summary
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.records.lock import locked
    from benchmarks.reporting import run_report
    from benchmarks.training.runner import execute

    progress = ProgressDisplay(quiet)
    if resume:
        check_resumed_options(resume, given_options())
        with locked(resume):
            pass  # a folder in use is refused before the forecast, which takes a minute
    request = resumed_experiment(resume, given) if resume else experiment_request(str(recipe), given)
    seconds = forecasts.forecast(request, progress, resume)
    click.echo(forecasts.forecast_text(request, seconds), err=as_json and not forecast)
    if forecast:
        return ExitCode.OK
    folder = execute(request, progress, out, resume, command_line(), write_report=run_report.write, on_folder=_advise)
    cells = run_report.frame(folder)
    failed = {"failed", "unfinished"} | ({"unavailable"} if request.frameworks != "all" else set())
    code = ends_with(ExitCode.FAILED if set(cells["status"]) & failed else ExitCode.OK)
    if as_json:
        show(cells.to_json(orient="records", indent=1))
    else:
        show(summary(folder, margin, target))
        show(str(folder.path))
    return code


def _check_executor(
    executor: str | None, recipe: str | None, resume: Path | None, write: Path | None, forecast: bool
) -> None:
    """Raise BadInput if there is nothing to run on nodes."""
    if not executor:
        return
    if write:
        raise BadInput(f"--write {write}: it runs nothing; leave --executor {executor} out")
    if forecast:
        raise BadInput(f"--forecast: it measures this machine; leave it or --executor {executor} out, or use --dry-run")
    if recipe is None and resume is None:
        raise BadInput(f"--executor {executor}: --recipe is missing; `onespec reproduce` lists the experiments")


def _distributed(
    cluster: Executor,
    recipe: str | None,
    given: dict[str, Any],
    on_nodes: dict[str, Any],
    out: Path,
    resume: Path | None,
    figures: tuple[float, float | None],
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Run an experiment on the nodes of a cluster. figures: the margin and the target of the summary."""
    announce(f"Preparing {recipe or resume}.", quiet)
    from benchmarks.articles.experiment_requests import experiment_request
    from benchmarks.articles.reproduction_text import summary
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.distribution import training_shards
    from benchmarks.training.shards import planned

    if resume:
        check_reopened_options(str(resume), given_options())
        patience = on_nodes["timeout"] if is_given("timeout") else None
        run = training_shards.reopen(resume, on_nodes["pythons"], patience, (), ())
        if not run.plan.request.experiment:
            raise BadInput(
                f"--resume {resume}: not the run of an experiment; continue it with `onespec run --executor "
                f"{cluster.name} --resume`"
            )
        engine = cluster.engine(run.needs)
    else:
        wanted = experiment_request(str(recipe), {**given, "pythons": on_nodes["pythons"]})
        groups = training_shards.of_nodes(planned(wanted, ProgressDisplay(quiet).message))
        options_of_nodes = training_shards.NodeOptions(**on_nodes)
        run = training_shards.preview(out, groups, options_of_nodes)
        engine = cluster.engine(run.needs)  # a missing one is refused before a folder exists
        if not cluster.dry_run:
            run = training_shards.create(out, groups, options_of_nodes)
    return distributed(cluster, run, engine, as_json, quiet, text=lambda folder: summary(folder, *figures))


def _list(as_json: bool) -> ExitCode:
    from benchmarks.articles.experiment_requests import Listed, listing
    from benchmarks.reporting.tables import fitted

    rows = listing()
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=1))
    else:
        head = tuple(name.replace("_", " ") for name in Listed._fields)
        body = [tuple(map(str, row)) for row in rows]
        click.echo(fitted(head, body, terminal.width(), optional=("published figures", "epochs")))
    return ExitCode.OK


def _write(folder: Path, margin: float, target: float | None, quiet: bool) -> ExitCode:
    from benchmarks.articles.reproduction_text import page
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.records.atomic import write_text

    if not folder.is_dir():
        raise BadInput(f"--write {folder}: no such folder; name the folder of the runs")
    path = folder / "REPRODUCTION.md"
    write_text(path, page(folder, margin, target, ProgressDisplay(quiet).message))
    click.echo(path)
    return ExitCode.OK


def _advise(folder: RunFolder) -> None:
    when_stopped(resume_advice(folder.path))


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.reproduce")
