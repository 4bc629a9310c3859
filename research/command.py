"""What the research commands share: options, errors as in `onespec`, and the output of tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks.cli import options
from benchmarks.cli.streams import tell
from benchmarks.records.atomic import write_text
from benchmarks.reporting import markers
from benchmarks.reporting.number_formats import machine_text
from benchmarks.runtime.machine import Machine
from frameworks.registry import FRAMEWORKS

HOW = "How"
AT_LEAST_1 = click.IntRange(min=1)


def research_command(module: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command of this package; its help is the docstring of the function."""

    def declare(function: Callable[..., Any]) -> click.Command:
        declared = options.command(module)(function)
        declared.starting = f"python -m {module} is starting."
        return declared

    return declare


launches = options.option(
    "--launches", type=AT_LEAST_1, default=3, metavar="N", heading=HOW, help="Launches of every worker."
)
rounds = options.option(
    "--rounds",
    type=AT_LEAST_1,
    metavar="N",
    show_default="as suits the network",
    heading=HOW,
    help="Rounds of each launch.",
)
threads = options.option(
    "--threads", type=AT_LEAST_1, default=2, metavar="N", heading=options.WHERE, help="Threads of each worker."
)
write = options.option(
    "--write",
    type=options.FILE,
    metavar="PAGE.md",
    heading=options.RESULTS,
    help="Also replace the table between the markers of this page.",
)
out_file = options.option(
    "--out", type=options.NEW_FILE, metavar="FILE", heading=options.RESULTS, help="Also write the page to this file."
)
one_framework = options.option(
    "--fw",
    "framework",
    type=click.Choice(tuple(FRAMEWORKS)),
    default=next(iter(FRAMEWORKS)),
    heading=options.WHAT,
    help="The framework that is compared with itself.",
)


def machine() -> str:
    """This machine in one line."""
    return machine_text(Machine.here())


def write_page(path: Path | None, text: str) -> None:
    """Write the page of `--out`, if the option is given; folders above it are created."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def publish(text: str, page: Path | None, marker: str) -> None:
    """Print a text, and put it between the markers of a page."""
    click.echo(text)
    if page:
        markers.put(page, marker, f"\n{text}\n", "--write")


def check_page(page: Path | None, marker: str) -> None:
    """BadInput if a page cannot be written or has no such markers: before the measurement, not after it."""
    if page:
        markers.around(page, marker, "--write")


def progress(line: str) -> None:
    """A line of progress."""
    tell(line)
