"""`onespec`: the group of all commands. A command's module is imported when the command is used."""

from __future__ import annotations

import importlib
from collections import defaultdict

import click

from benchmarks.cli.command import OneLineErrors
from benchmarks.cli.commands import COMMANDS

START = """\
Start here, 2,000 images and a minute once the frameworks are installed:

  onespec run --net lenet --fw all --quick

Then:

  onespec summary --net lenet       the layers of LeNet
  onespec verify --net lenet        do the frameworks compute the same?
  onespec COMMAND --help            options, defaults and examples
"""


class Onespec(OneLineErrors, click.Group):
    """The group. Its help shows first what to do first, then the commands by purpose."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        entry = COMMANDS[name]
        command = getattr(importlib.import_module(f"benchmarks.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_help_text(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(context, formatter)
        formatter.write("\n")
        for line in START.splitlines():
            formatter.write(f"  {line}\n" if line else "\n")

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name, entry in COMMANDS.items():
            sections[entry.section].append((name, entry.summary))
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records, col_spacing=max(2, 18 - max(len(name) for name, _ in records)))


def _print_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"onespec {version('onespec')}")
        context.exit()


@click.group(
    cls=Onespec,
    name="onespec",
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def onespec(context: click.Context) -> None:
    """Define a network once, build it in several frameworks, verify that they compute the same function, and measure
    them.
    """
    if not context.invoked_subcommand:
        click.echo(context.get_help())
