"""`onespec report`: write the tables and pages of a saved run again, from its records."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.command import announce
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.streams import show
from benchmarks.runtime.errors import BadInput


@options.command(
    "report",
    examples=(
        "results/20261122-174800-lenet",
        "results/20261122-174800-lenet --readme README.md",
        "results/certificate",
    ),
)
@click.argument("folder", metavar="FOLDER", type=options.FOLDER)
@options.option(
    "--readme",
    type=options.FILE,
    metavar="FILE",
    heading=options.RESULTS,
    help="Replace the generated table in this page.",
)
@options.as_json
@options.quiet
def command(folder: Path, readme: Path | None, as_json: bool, quiet: bool) -> ExitCode:
    """Write the tables and pages of a saved run again, and print them.

    FOLDER is the folder of a training run, an experiment, a speed run or a certificate. A terminal shows plain text, a
    pipe gets Markdown.
    """
    announce(f"Reading {folder}.", quiet)
    if (folder / "certificate.json").is_file():
        show(_certificate(folder, readme, as_json))
    elif (folder / "run.json").is_file():
        show(_run(folder, readme, as_json))
    else:
        raise BadInput(f"FOLDER {folder}: neither run.json nor certificate.json in it; name the folder of a run")
    return ExitCode.OK


def _certificate(folder: Path, readme: Path | None, as_json: bool) -> str:
    from benchmarks.records import certificates
    from benchmarks.reporting.certificate_pages import rewrite_pages

    table = rewrite_pages(folder, readme)
    return certificates.text(certificates.read(folder)) if as_json else table


def _run(path: Path, readme: Path | None, as_json: bool) -> str:
    from benchmarks.records.store import RunFolder
    from benchmarks.reporting import run_report, speed_report

    folder = RunFolder.open(path, option="FOLDER")
    kind = folder.info.kind
    if kind == "speed":
        if readme:
            raise BadInput(f"--readme {readme}: a README shows training runs and certificates, not speed runs")
        cells = speed_report.write(folder)
    else:
        cells = run_report.write(folder)
        if readme:
            run_report.into_readme(readme, folder)
    if as_json:
        return cells.to_json(orient="records", indent=1)
    width = terminal.width()
    if width is None:
        return (folder.path / "report.md").read_text("utf-8").rstrip("\n")
    return speed_report.text(folder, width) if kind == "speed" else run_report.text(folder, cells, width)


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.report")
