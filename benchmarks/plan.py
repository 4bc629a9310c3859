"""`onespec plan`: the groups of a training run in a file, for `onespec run --plan` on several machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.cli import options, terminal
from benchmarks.cli.command import announce
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.streams import show


@options.command(
    "plan",
    examples=(
        "--net lenet,cnn --fw all --seed 0-4 -o plan.json",
        "--net all --fw torch,keras --device cuda --threads 4 -o plan.json",
    ),
)
@options.training
@options.option(
    "-o",
    "--out",
    type=options.NEW_FILE,
    required=True,
    metavar="FILE",
    heading=options.RESULTS,
    help="The plan, such as plan.json.",
)
@options.as_json
@options.quiet
def command(
    nets: tuple[str, ...],
    frameworks: str,
    adapters: tuple[str, ...],
    out: Path,
    as_json: bool,
    quiet: bool,
    **recipe: Any,
) -> ExitCode:
    """Plan a training run for several machines.

    A group is all frameworks of one network and one seed. The plan lists the groups with estimates of their memory,
    multiply-adds and downloads. It fixes the device and the number of threads, by default those of this machine.
    Nothing is trained, and no published data set is fetched unless it consists of image files.
    """
    announce(f"Planning {', '.join(nets)} in {options.in_words(frameworks)}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.records.atomic import write_text
    from benchmarks.reporting import plan_text
    from benchmarks.training.plan import TrainingRequest
    from benchmarks.training.shards import planned

    given = {name: value for name, value in recipe.items() if value is not None}
    request = TrainingRequest(nets, frameworks, adapters=adapters, **given)
    plan = planned(request, ProgressDisplay(quiet).message)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, plan.text)
    show(plan.text.rstrip("\n") if as_json else plan_text.text(plan, terminal.width()))
    if not as_json:
        show(str(out))
    return ExitCode.OK


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.plan")
