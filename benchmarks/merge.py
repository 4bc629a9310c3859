"""`onespec merge`: merge the shards of a plan into one run, or those of a verification into one certificate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.command import announce, command_line, ends_with
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.streams import show, tell
from benchmarks.runtime.errors import BadInput


@options.command("merge", examples=("shards/* -o results/merged", "parts/* -o results/certificate"))
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=options.FOLDER)
@options.option(
    "-o",
    "--out",
    type=options.NEW_FOLDER,
    required=True,
    metavar="FOLDER",
    heading=options.RESULTS,
    help="Folder of the result, which must be new or empty.",
)
@options.as_json
@options.quiet
def command(folders: tuple[Path, ...], out: Path, as_json: bool, quiet: bool) -> ExitCode:
    """Merge the shards of a plan into one run, or those of a verification into one certificate.

    FOLDER... are folders of `onespec run --plan` or of `onespec verify --shard`. They must be parts of one experiment:
    the same plan, data, code and versions. Each group is taken from one folder. Groups that are missing or unfinished
    are listed, and the exit code is then 1, as that of a run with unfinished cells.
    """
    announce(f"Merging {len(folders)} folders.", quiet)
    from benchmarks.records import certificates

    if (folders[0] / certificates.NAME).is_file():
        return _merge_certificates(folders, out, as_json)
    from benchmarks.records.merging import merge
    from benchmarks.reporting import run_report

    written = []
    folder, unfinished = merge(
        folders, out, command_line(), write_report=lambda merged: written.append(run_report.write(merged))
    )
    (cells,) = written
    for line in unfinished:
        tell(line)
    failed = run_report.has_failed(cells, folder.training_run.request)
    code = ends_with(ExitCode.FAILED if failed else ExitCode.OK)
    if as_json:
        show(cells.to_json(orient="records", indent=1))
    else:
        show(run_report.table(cells, terminal.width()))
        show(str(folder.path))
    return code


def _merge_certificates(folders: Sequence[Path], out: Path, as_json: bool) -> ExitCode:
    from benchmarks.distribution.verification_merging import merge, read_shard
    from benchmarks.records import certificates
    from benchmarks.reporting.certificate_pages import verification_text, write_pages

    if out.exists() and any(out.iterdir()):
        raise BadInput(f"--out {out}: it is not empty; name a new folder")
    verification, missing = merge(folders, None, command_line())
    out.mkdir(parents=True, exist_ok=True)
    certificates.write(verification.certificate, out)
    write_pages(verification.certificate, out)
    for line in missing:
        tell(line)
    named = read_shard(folders[0]).info.frameworks != "all"
    failed = bool(missing) or not verification.same or bool(verification.skipped and named)
    code = ends_with(ExitCode.FAILED if failed else ExitCode.OK)
    show(certificates.text(verification.certificate) if as_json else verification_text(verification))
    return code


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.merge")
