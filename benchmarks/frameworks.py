"""`onespec frameworks`: list the frameworks, their versions and where they run."""

from __future__ import annotations

import json

import click

from benchmarks.cli import options, terminal
from benchmarks.cli.exit_codes import ExitCode
from frameworks.registry import FrameworkInfo

HEAD = ("framework", "title", "version", "modes", "python", "environment")


@options.command("frameworks", examples=("", "--json"))
@options.as_json
@options.quiet
def command(as_json: bool, quiet: bool) -> ExitCode:
    """List the frameworks: name, title, version, modes besides the default, Python, and where each one runs here."""
    from benchmarks.reporting.tables import fitted
    from benchmarks.runtime.environments import availability, pinned_version
    from benchmarks.runtime.plugins import register
    from frameworks.registry import FRAMEWORKS

    register()
    infos = list(FRAMEWORKS.values())
    if as_json:
        rows = [
            {
                "framework": info.name,
                "title": info.title,
                "version": pinned_version(info),
                "modes": list(info.modes),
                "trains": info.trains,
                "python": info.python,
                "environment": availability(info),
            }
            for info in infos
        ]
        click.echo(json.dumps(rows, indent=1))
    else:
        body = [
            (info.name, info.title, pinned_version(info) or "", _modes(info), info.python, availability(info))
            for info in infos
        ]
        click.echo(fitted(HEAD, body, terminal.width(), optional=("title", "python")))
    return ExitCode.OK


def _modes(info: FrameworkInfo) -> str:
    """The modes besides the default; what a framework does that does not train."""
    return ",".join(info.modes) if info.trains else "inference only"


if __name__ == "__main__":
    command(prog_name="python -m benchmarks.frameworks")
