"""`onespec compare`: compare two saved runs, row by row."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.command import ends_with
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.streams import show


@options.command(
    "compare",
    examples=(
        "results/A results/B",
        "results/A results/B --fail-on 3% --format markdown",
    ),
)
@click.argument("baseline", metavar="A", type=options.FOLDER)
@click.argument("candidate", metavar="B", type=options.FOLDER)
@options.option(
    "--fail-on",
    "limit",
    type=options.Percentage(),
    default="5%",
    metavar="P%",
    heading=options.WHAT,
    help="Exit with 1 if speed falls by more than this.",
)
@options.option(
    "--format",
    "form",
    type=click.Choice(("table", "markdown", "csv")),
    default="table",
    heading=options.RESULTS,
    help="Form of the table.",
)
@options.as_json
@options.quiet
def command(baseline: Path, candidate: Path, limit: float, form: str, as_json: bool, quiet: bool) -> ExitCode:
    """Compare two saved runs, row by row: A is the baseline run, B is the candidate run.

    A and B are folders of runs, or a report.csv. The runs are not interleaved, so each speed is first divided by that
    of a control workload in the same run; docs/statistics.md explains the verdicts.

    Exit code: 0 if nothing is slower beyond the limit, 1 if a row is, 4 if a row computes something else, 5 if a row
    could not be measured or compared. If several apply, the order is 4, 1, 5.
    """
    from benchmarks.reporting.comparison_text import rendered
    from benchmarks.reporting.run_comparison import compare, status
    from benchmarks.timing.samples import read

    a, b = read(baseline), read(candidate)
    rows = compare(a, b, limit)
    code = ends_with(ExitCode(status(rows, limit)))
    show(rendered(a, b, rows, limit, "json" if as_json else form, terminal.width()))
    return code


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.compare")
