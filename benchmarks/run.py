"""`onespec run`: train networks side by side in every framework, and report.

From Python: `from benchmarks.run import run`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from benchmarks.cli.streams import show, tell
from benchmarks.runtime.errors import BadInput

if TYPE_CHECKING:
    from benchmarks.api import run
    from benchmarks.records.store import RunFolder

__all__ = ["command", "run"]


def __getattr__(name: str) -> Any:
    """The public function `run`, whose module takes a second to import."""
    if name == "run":
        from benchmarks.api import run

        return run
    raise AttributeError(f"module {__name__} has no attribute {name}")


@options.command(
    "run",
    examples=(
        "--net lenet --fw all --quick",
        "--net lenet,cnn --fw torch,keras --seed 0-4",
        "--net lenet_cifar --dataset flowers/ --image-size 32",
        "--net lenet --fw torch==2.12.1,torch==2.13.0",
        "--net my_net.py:tiny --python torch=/path/to/python",
        "--plan plan.json --shard 3/16",
        "--net all --executor submitit --executor-option partition=cpu",
        "--resume results/20261122-174800-lenet",
    ),
)
@options.training
@options.option(
    "--plan",
    type=options.FILE,
    metavar="FILE",
    heading=options.WHAT,
    help="Run a plan of `onespec plan`, which decides what runs and how.",
)
@options.option(
    "--shard",
    type=options.ShardNumber(),
    metavar="I/N",
    show_default="all groups",
    heading=options.WHAT,
    help="Run every Nth group of the plan, from group I on.",
)
@options.executor
@options.timeout
@options.pythons
@options.out
@options.resume
@options.save
@options.as_json
@options.quiet
def command(
    nets: tuple[str, ...],
    frameworks: str,
    pythons: dict[str, str],
    adapters: tuple[str, ...],
    timeout: float,
    out: Path,
    resume: Path | None,
    plan: Path | None,
    shard: tuple[int, int] | None,
    save: bool,
    executor: str | None,
    executor_options: dict[str, str],
    ray_address: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **recipe: Any,
) -> ExitCode:
    """Train networks side by side in every framework.

    All frameworks train on the same images in the same order, from the same initial weights, and take turns epoch by
    epoch. Results go to a new folder: report.html, report.md, report.csv, curves.csv, and the raw records.
    """
    if shard and not plan and not resume:
        raise BadInput(f"--shard {shard[0]}/{shard[1]}: --plan is missing; name the file of the plan")
    cluster = Executor(executor, executor_options, ray_address, dry_run)
    cluster.check(shard)
    what = f"{', '.join(nets)} in {options.in_words(frameworks)}"
    announce(f"Training {plan or what}.", quiet)
    from benchmarks.articles.experiment_requests import check_resumed_options, recipe_of, resumed_request
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.reporting import run_report
    from benchmarks.training.plan import TrainingRequest
    from benchmarks.training.runner import execute
    from benchmarks.training.shards import check_planned_options, planned, shard_request

    part = None
    given_nets, given_adapters = (nets if is_given("nets") else ()), (adapters if is_given("adapters") else ())
    given = {name: value for name, value in recipe.items() if value is not None}
    if executor:
        from benchmarks.distribution import training_shards

        on_nodes = training_shards.NodeOptions(pythons=pythons, timeout=timeout, save=save)
        if resume:
            check_reopened_options(str(resume), given_options())
            patience = timeout if is_given("timeout") else None
            run = training_shards.reopen(resume, pythons, patience, given_nets, given_adapters)
            return distributed(cluster, run, cluster.engine(run.needs), as_json, quiet)
        if plan:
            check_planned_options(plan, given_options())
            _, whole = shard_request(
                plan,
                (1, 1),
                pythons,
                nets=given_nets,
                adapters=given_adapters,
                timeout=timeout,
                save=save,
                recipe_of=recipe_of,
            )
            groups = whole.plan
        else:
            wanted = TrainingRequest(nets, frameworks, pythons=pythons, adapters=adapters, **given)
            groups = training_shards.of_nodes(planned(wanted, ProgressDisplay(quiet).message))
        run = training_shards.preview(out, groups, on_nodes)
        engine = cluster.engine(run.needs)  # a missing one is refused before a folder exists
        if not dry_run:
            run = training_shards.create(out, groups, on_nodes)
        return distributed(cluster, run, engine, as_json, quiet)
    if resume:
        check_resumed_options(resume, given_options())
        request = resumed_request(resume, pythons, timeout, nets=given_nets, adapters=given_adapters)
    elif plan:
        check_planned_options(plan, given_options())
        request, part = shard_request(
            plan,
            shard or (1, 1),
            pythons,
            timeout=timeout,
            save=save,
            nets=given_nets,
            adapters=given_adapters,
            recipe_of=recipe_of,
        )
    else:
        request = TrainingRequest(
            nets, frameworks, pythons=pythons, adapters=adapters, timeout=timeout, save=save, **given
        )
    folder = execute(
        request,
        ProgressDisplay(quiet),
        out,
        resume,
        command_line(),
        shard=part,
        write_report=run_report.write,
        on_folder=_advise,
    )
    cells = run_report.frame(folder)
    failed = run_report.has_failed(cells, request.info)
    code = ends_with(ExitCode.FAILED if failed else ExitCode.OK)
    if not quiet and "failed" in set(cells["status"]):
        tell(f"a cell failed; {resume_advice(folder.path)}")
    if as_json:
        show(cells.to_json(orient="records", indent=1))
    else:
        show(run_report.table(cells, terminal.width()))
        show(str(folder.path))
    return code


def _advise(folder: RunFolder) -> None:
    when_stopped(resume_advice(folder.path))


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.run")
