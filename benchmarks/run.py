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
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.streams import show, tell

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
        "--resume results/20261122-174800-lenet",
    ),
)
@options.nets
@options.frameworks
@options.option(
    "--quick",
    is_flag=True,
    show_default=False,
    heading=options.WHAT,
    help="2 epochs on the 2,000 images that come with onespec.",
)
@options.dataset("Data set")
@options.option("--epochs", type=options.EPOCHS, metavar="N", heading=options.HOW, help="Epochs.")
@options.batch_size
@options.lr
@options.option("--optimizer", metavar="NAME", heading=options.HOW, help="SGD, Adam, ...; an unknown name lists all.")
@options.clip_norm
@options.weight_average
@options.seeds
@options.option(
    "--train-size", type=options.IMAGES, metavar="N", heading=options.HOW, help="Use the first N training images."
)
@options.option(
    "--test-size", type=options.IMAGES, metavar="N", heading=options.HOW, help="Use the first N test images."
)
@options.images
@options.device
@options.threads
@options.timeout
@options.pythons
@options.adapters
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
    as_json: bool,
    quiet: bool,
    **recipe: Any,
) -> ExitCode:
    """Train networks side by side in every framework.

    All frameworks train on the same images in the same order, from the same initial weights, and take turns epoch by
    epoch. Results go to a new folder: report.html, report.md, report.csv, curves.csv, and the raw records.
    """
    announce(f"Training {', '.join(nets)} in {options.in_words(frameworks)}.", quiet)
    from benchmarks.articles.experiment_requests import check_resumed_options, resumed_request
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.reporting import run_report
    from benchmarks.runtime.plugins import from_file
    from benchmarks.training.plan import TrainingRequest
    from benchmarks.training.runner import execute

    if resume:
        check_resumed_options(resume, given_options())
        request = resumed_request(
            resume,
            pythons,
            timeout,
            nets=nets if is_given("nets") else (),
            adapters=adapters if is_given("adapters") else (),
        )
    else:
        given = {name: value for name, value in recipe.items() if value is not None}
        request = TrainingRequest(nets, frameworks, pythons=pythons, adapters=adapters, timeout=timeout, **given)
    folder = execute(
        request, ProgressDisplay(quiet), out, resume, command_line(), write_report=run_report.write, on_folder=_advise
    )
    cells = run_report.frame(folder)
    from_files = [from_file(text).name for text in request.adapters]
    named = cells if request.frameworks != "all" else cells[cells["framework"].isin(from_files)]
    failed = set(cells["status"]) & {"failed", "unfinished"} or "unavailable" in set(named["status"])
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
