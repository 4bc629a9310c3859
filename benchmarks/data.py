"""`onespec data` and `onespec datasets`: list, fetch and verify the data sets."""

from __future__ import annotations

import json
from typing import Any

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.command import Command, announce
from benchmarks.cli.exit_codes import ExitCode

HEAD = ("data set", "training", "test", "image", "classes", "download", "location")


@options.command_group("data", examples=("", "fetch fashion-mnist mnist"))
@options.as_json
@options.quiet
@click.pass_context
def command(context: click.Context, as_json: bool, quiet: bool) -> ExitCode:
    """Fetch and verify data sets. Without a sub-command, list them.

    A data set is looked for in $ONESPEC_DATA, in the folder of Debian's package dataset-fashion-mnist and in the
    cache ($ONESPEC_CACHE moves it), and is downloaded otherwise. Every file is verified by its SHA-256.
    """
    return ExitCode.OK if context.invoked_subcommand else _list(as_json)


@command.command(
    "fetch", short_help="Fetch, verify and convert data sets.", cls=Command, examples=("fashion-mnist mnist",)
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@options.as_json
@options.quiet
def fetch(names: tuple[str, ...], as_json: bool, quiet: bool) -> ExitCode:
    """Fetch, verify and convert data sets, so that later runs need no network."""
    announce(f"Fetching {', '.join(names)}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.datasets.registry import dataset

    progress = ProgressDisplay(quiet)
    locations = {name: dataset(name, progress.message).source for name in names}
    _print(locations, as_json)
    return ExitCode.OK


@command.command("mini", short_help="Write the 2,000 images of --quick again.", cls=Command)
@options.quiet
def mini(quiet: bool) -> ExitCode:
    """Write the 2,000 images of `--quick` again from the full Fashion-MNIST."""
    announce("Writing fashion-mnist-mini from fashion-mnist.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.datasets.registry import MINI, dataset, make_mini

    make_mini(dataset("fashion-mnist", ProgressDisplay(quiet).message), MINI)
    click.echo(f"{MINI}: {MINI.stat().st_size:,} bytes")
    return ExitCode.OK


@options.command("datasets", examples=("", "--json"))
@options.as_json
@options.quiet
def datasets(as_json: bool, quiet: bool) -> ExitCode:
    """List the data sets: images, classes, size of the download, and where each one was found on this machine."""
    return _list(as_json)


def _list(as_json: bool) -> ExitCode:
    from benchmarks.datasets.registry import DATASETS, location

    _print({name: location(name) for name in DATASETS}, as_json)
    return ExitCode.OK


def _print(locations: dict[str, str], as_json: bool) -> None:
    """A row for each data set; an empty location is a data set that is not on this machine."""
    from benchmarks.datasets.registry import DATASETS
    from benchmarks.reporting.tables import fitted
    from frameworks.spec import times

    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "dataset": name,
                "train_images": DATASETS[name].counts[0],
                "test_images": DATASETS[name].counts[1],
                "input": DATASETS[name].input,
                "classes": len(DATASETS[name].class_names),
                "download_megabytes": DATASETS[name].megabytes,
                "location": location or None,
                "license": DATASETS[name].license,
                "citation": DATASETS[name].citation,
            }
            for name, location in locations.items()
        ]
        click.echo(json.dumps(rows, indent=1))
        return
    body = [
        (
            name,
            f"{DATASETS[name].counts[0]:,}",
            f"{DATASETS[name].counts[1]:,}",
            times(DATASETS[name].input),
            str(len(DATASETS[name].class_names)),
            f"{DATASETS[name].megabytes} MB" if DATASETS[name].megabytes else "",
            location or "not on this machine",
        )
        for name, location in locations.items()
    ]
    click.echo(fitted(HEAD, body, terminal.width(), optional=("classes", "image", "test", "download")))


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.data")
