"""`onespec data` and `onespec datasets`: list, fetch, verify and describe data sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.command import Command, announce
from benchmarks.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from benchmarks.datasets.image_options import ImageOptions
    from benchmarks.datasets.image_records import Survey
    from benchmarks.datasets.registry import Dataset

HEAD = ("data set", "training", "test", "image", "classes", "download", "location")


@options.command_group("data", examples=("", "flowers/ --image-size 64", "fetch fashion-mnist mnist"), default="show")
@options.as_json
@options.quiet
@click.pass_context
def command(context: click.Context, as_json: bool, quiet: bool) -> ExitCode:
    """Describe, fetch and verify data sets. Without a sub-command, list them; PATH is short for show PATH.

    A data set is looked for in $ONESPEC_DATA, in the folder of Debian's package dataset-fashion-mnist and in the
    cache ($ONESPEC_CACHE moves it), and is downloaded otherwise. Every file is verified by its digest.
    """
    return ExitCode.OK if context.invoked_subcommand else _list(as_json)


@command.command(
    "show",
    short_help="Show classes, sizes, broken files and duplicates of images of your own.",
    cls=Command,
    examples=("flowers/ --image-size 64", "digits.npz"),
)
@click.argument("dataset", metavar="NAME|PATH")
@options.images
@options.as_json
@options.quiet
def show(dataset: str, images: ImageOptions, as_json: bool, quiet: bool) -> ExitCode:
    """Show the classes, counts, broken files and duplicates of a data set or of images of your own.

    Exit code 3 if a file cannot be decoded, unless --skip-broken is given.
    """
    as_json, quiet = as_json or _of_group("as_json"), quiet or _of_group("quiet")
    announce(f"Reading {dataset}.", quiet)
    import msgspec

    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.datasets import registry

    registry.check_name(dataset, "NAME|PATH")
    progress = ProgressDisplay(quiet)
    if dataset in registry.DATASETS:
        data = registry.dataset(dataset, progress.message, images=images)
        click.echo(json.dumps(_described(data), indent=1) if as_json else _text(data))
        return ExitCode.OK
    survey = registry.survey(Path(dataset), images, progress.message)
    click.echo(json.dumps(msgspec.to_builtins(survey), indent=1) if as_json else _survey_text(survey))
    return ExitCode.BAD_DATA if survey.broken and not images.skip_broken else ExitCode.OK


@command.command(
    "fetch", short_help="Fetch, verify and convert data sets.", cls=Command, examples=("fashion-mnist mnist",)
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@options.as_json
@options.quiet
def fetch(names: tuple[str, ...], as_json: bool, quiet: bool) -> ExitCode:
    """Fetch, verify and convert data sets, so that later runs need no network."""
    as_json, quiet = as_json or _of_group("as_json"), quiet or _of_group("quiet")
    announce(f"Fetching {', '.join(names)}.", quiet)
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.datasets.registry import check_published, dataset

    for name in names:
        check_published(name)
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
    """List the data sets: images, classes, size of the download, and where their files are on this machine."""
    return _list(as_json)


def _of_group(name: str) -> bool:
    """Whether a flag is given before the sub-command."""
    group = click.get_current_context().parent
    return bool(group and group.params.get(name))


def _described(data: Dataset) -> dict[str, Any]:
    """A published data set as JSON values."""
    train, test = _counts(data)
    return {
        "dataset": data.name,
        "input": data.input,
        "class_names": data.class_names,
        "train_counts": train,
        "test_counts": test,
        "sha256": data.sha256,
        "published": data.published,
        "source": data.source,
    }


def _text(data: Dataset) -> str:
    """A published data set: its classes with their counts, and where it is."""
    from frameworks.spec import times

    return "\n".join([_classes(data.class_names, *_counts(data)), "", f"images: {times(data.input)} ({data.source})"])


def _survey_text(survey: Survey) -> str:
    """The user's own images: their classes with counts, and what a run would refuse."""
    smallest, largest = (" x ".join(map(str, size)) for size in (survey.smallest, survey.largest))
    sizes = smallest if survey.sizes == 1 else f"{survey.sizes:,} sizes from {smallest} to {largest}"
    lines = [
        _classes(survey.class_names, survey.train_counts, survey.test_counts),
        "",
        f"layout: {survey.layout}; split: {survey.split}",
        f"height x width: {sizes}; {'gray' if survey.channels == 1 else 'RGB'}",
        f"SHA-256 of the listing: {survey.sha256}",
        *survey.notes,
    ]
    for names, problem in (
        ([f"{name} ({reason})" for name, reason in survey.broken.items()], "files that cannot be decoded"),
        (survey.duplicates, "test images that are also training images"),
        (survey.ambiguous, "images that occur in more than one class"),
    ):
        lines += [f"{problem}: {len(names):,}", *(f"  {name}" for name in names)]
    if survey.sizes > 1:
        lines.append("to train on them, give them one size, such as --image-size 64")
    return "\n".join(lines)


def _classes(names: Sequence[str], train: Sequence[int], test: Sequence[int]) -> str:
    from benchmarks.reporting.tables import table

    rows = [(name, f"{train[number]:,}", f"{test[number]:,}") for number, name in enumerate(names)]
    return table(("class", "training", "test"), [*rows, ("all", f"{sum(train):,}", f"{sum(test):,}")])


def _counts(data: Dataset) -> tuple[list[int], list[int]]:
    """Training and test images by class."""
    import numpy as np

    train, test = (np.bincount(np.load(split.labels), minlength=data.classes) for split in (data.train, data.test))
    return train.tolist(), test.tolist()


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
