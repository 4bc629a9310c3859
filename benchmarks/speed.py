"""`onespec speed`: time training and inference of each framework, interleaved, with confidence intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cli import options, terminal
from benchmarks.cli.command import announce, command_line, ends_with, when_stopped
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.streams import show

if TYPE_CHECKING:
    from benchmarks.records.store import RunFolder

TIMING = "How long"


@options.command(
    "speed",
    examples=(
        "--net lenet --fw all --budget 60s",
        "--net lenet --fw torch,torch:compile --what train",
        "--net lenet --what infer --batch-size 1,32,256",
        "--net resnet18_fashion --fw all --modes all --layers",
    ),
)
@options.nets
@options.frameworks
@options.option(
    "--modes",
    default="",
    metavar="all",
    show_default="the default mode",
    heading=options.WHAT,
    help="`all`: every mode of every framework.",
)
@options.option(
    "--baseline",
    metavar="NAME",
    show_default="the first",
    heading=options.WHAT,
    help="Framework with which the others are compared.",
)
@options.option(
    "--what",
    type=options.Names(),
    default="train,infer",
    metavar="WHAT,...",
    heading=options.WHAT,
    help="Training, inference, or both.",
)
@options.option(
    "--batch-size",
    "batch_sizes",
    type=options.Numbers(1, 1_000_000),
    metavar="N,...",
    show_default="the recipe's",
    heading=options.WHAT,
    help="Images per step; inference with 1 measures latency.",
)
@options.option(
    "--precision",
    type=options.Names(),
    default="float32",
    metavar="NAME,...",
    heading=options.WHAT,
    help="float32, float64, bfloat16, float16, or several.",
)
@options.tf32
@options.dataset("Data set", heading=options.WHAT, show_default="the recipe's")
@options.option("--layers", is_flag=True, show_default=False, heading=options.WHAT, help="Report rooflines by layer.")
@options.option(
    "--budget",
    type=options.Duration(),
    default="60s",
    metavar="TIME",
    heading=TIMING,
    help="Time for each comparison, such as 60s or 5m; rooflines are extra.",
)
@options.images
@options.timeout
@options.device
@options.option(
    "--threads",
    type=options.Numbers(1, 1024),
    metavar="N,...",
    show_default="all cores",
    heading=options.WHERE,
    help="Threads of each worker.",
)
@options.pythons
@options.adapters
@options.option(
    "--system-allocator",
    is_flag=True,
    show_default=False,
    heading=options.WHERE,
    help="Leave allocator, waiting threads and CPU affinity as the system sets them.",
)
@options.out
@options.as_json
@options.quiet
def command(
    nets: tuple[str, ...],
    frameworks: str,
    system_allocator: bool,
    out: Path,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> ExitCode:
    """Time training and inference of each framework, with confidence intervals.

    The frameworks run interleaved, in rounds, over several launches. The baseline also runs as an A/A control, which
    shows the smallest difference that this machine can resolve now. The report adds start-up, compilation, memory and
    the fraction of the roofline.
    """
    announce(f"Timing {', '.join(nets)} in {options.in_words(frameworks)}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.reporting import speed_report
    from benchmarks.timing.speed_request import SpeedRequest
    from benchmarks.timing.speed_run import execute

    given = {name: value for name, value in given.items() if value is not None}
    request = SpeedRequest(nets, frameworks, steady=not system_allocator, **given)
    folder = execute(
        request, ProgressDisplay(quiet), out, command_line(), write_report=speed_report.write, on_folder=_advise
    )
    cells = speed_report.frame(folder)
    failed = {"failed", "refused", "unfinished"} | ({"unavailable"} if frameworks != "all" else set())
    code = ends_with(ExitCode.FAILED if set(cells["status"]) & failed else ExitCode.OK)
    if as_json:
        show(cells.to_json(orient="records", indent=1))
    else:
        show(speed_report.text(folder, terminal.width()))
        show(str(folder.path))
    return code


def _advise(folder: RunFolder) -> None:
    when_stopped(f"finished measurements are saved in {folder.path}")


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.speed")
