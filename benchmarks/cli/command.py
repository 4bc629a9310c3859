"""How every command parses its options, reports errors and ends.

This module alone turns exceptions into one line on standard error and an exit code (`benchmarks.cli.exit_codes`).
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from benchmarks.cli.configuration import defaults
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.heartbeat import CURRENT, heartbeat
from benchmarks.cli.interruption import Interrupted, stopped_by_signals
from benchmarks.cli.network_importer import LazyImporter
from benchmarks.cli.streams import discard, flush, is_terminal, printable, tell
from benchmarks.runtime.importers import use_importer
from frameworks.errors import OnespecError

# Options of earlier versions, and the ones that replaced them.
RENAMED = {"--batch": "--batch-size", "--seeds": "--seed", "--pictures": "--images"}

_ARGUMENTS = "onespec.arguments"  # key of Context.meta
_SAVED = "onespec.saved"
_CODE = "onespec.exit_code"


class Option(click.Option):
    """An option that help lists under a heading."""

    def __init__(self, *arguments: Any, heading: str = "Options", **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.heading = heading


class OneLineErrors(click.Command):
    """Reports each error as one line on standard error and ends with the error's exit code.

    starting: what a slow command prints if it is silent at first; the others announce their work.
    """

    starting = ""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        context.meta[_ARGUMENTS] = list(arguments)
        with _reported(context):
            return super().parse_args(context, arguments)

    def invoke(self, context: click.Context) -> Any:
        quiet = bool(context.params.get("quiet")) or isinstance(self, click.Group)
        use_importer(LazyImporter(context.params.get("pythons"), quiet))
        with stopped_by_signals(), heartbeat(self.starting, quiet), _reported(context):
            code = super().invoke(context)
            if sys.stdout:
                sys.stdout.flush()
        context.exit(code if isinstance(code, int) else ExitCode.OK)


class Command(OneLineErrors):
    """A command of `onespec`, which `python -m benchmarks.<name>` runs as well.

    examples: command lines for the end of its help, without the program's name.
    """

    examples: Sequence[str]

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            extra.setdefault("default_map", defaults(self))
        except OnespecError as error:
            tell(printable(str(error)))
            raise click.exceptions.Exit(error.exit_code) from None
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options under their headings, `Options` last."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
            if record:
                headings.setdefault(getattr(parameter, "heading", "Options"), []).append(record)
        last = headings.pop("Options", [])
        for heading, records in [*headings.items(), ("Options", last)]:
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(context, formatter)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{f'{context.command_path} {example}'.rstrip()}\n")


class CommandGroup(Command, click.Group):
    """A command that works with and without a sub-command.

    default: the sub-command for arguments that name none; empty: such arguments are an error.
    """

    def __init__(self, *arguments: Any, default: str = "", **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.default = default

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.default and arguments[0] not in self.commands:
            arguments = [self.default, *arguments]
        return super().resolve_command(context, arguments)


def command_line() -> list[str]:
    """The running command as the user gave it, for a run's record."""
    context = click.get_current_context()
    return [*context.command_path.split(), *context.meta.get(_ARGUMENTS, ())]


def is_given(parameter: str) -> bool:
    """Whether the user gave a parameter of the running command on the command line."""
    return click.get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def given_options() -> dict[str, tuple[str, Any]]:
    """The options of the running command that the user gave on the command line: name and value, by parameter."""
    context = click.get_current_context()
    return {
        str(parameter.name): (parameter.opts[0], context.params[str(parameter.name)])
        for parameter in context.command.params
        if is_given(str(parameter.name)) and isinstance(parameter, click.Option)
    }


def ends_with(code: ExitCode) -> ExitCode:
    """Set the exit code before the results are printed: it holds although the reader closes the pipe."""
    click.get_current_context().meta[_CODE] = code
    return code


def when_stopped(advice: str) -> None:
    """Set what the message of a stopped or failed command adds: what is saved, and how to go on."""
    click.get_current_context().meta[_SAVED] = advice


def resume_advice(folder: Path) -> str:
    """What is saved of a training run, and the command that goes on with it."""
    command = f"{click.get_current_context().command_path} --resume {shlex.quote(str(folder))}"
    return f"what has finished is recorded; continue with: {command}"


def announce(line: str, quiet: bool) -> None:
    """Print what the command is about to do: at once on a terminal, elsewhere if it takes longer than a moment."""
    if not quiet and is_terminal(sys.stderr):
        tell(line)
    CURRENT.doing(line)


@contextlib.contextmanager
def _reported(context: click.Context) -> Iterator[None]:
    """Turn an error that has a one-line explanation into that line and an exit code."""
    try:
        yield
    except click.UsageError as error:
        tell(_one_line(error, context))
        context.exit(ExitCode.BAD_INPUT)
    except OnespecError as error:
        tell(printable(str(error)))
        context.exit(error.exit_code)
    except KeyboardInterrupt as stop:
        tell(_with_advice(f"stopped by {stop}" if isinstance(stop, Interrupted) else "stopped", context))
        context.exit(ExitCode.STOPPED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        discard(sys.stdout)
        context.exit(context.meta.get(_CODE, ExitCode.OK))
    except OSError as error:
        flush(sys.stdout)
        tell(_with_advice(_storage_error(error), context))
        context.exit(ExitCode.STORAGE_FAILED)
    except MemoryError:
        tell(_with_advice("out of memory; choose a smaller network, --batch-size or number of frameworks", context))
        context.exit(ExitCode.FAILED)


def _with_advice(line: str, context: click.Context) -> str:
    advice = context.meta.get(_SAVED)
    return f"{line}; {advice}" if advice else line


def _storage_error(error: OSError) -> str:
    """Which file failed, why, and what to do about it."""
    reason = " ".join((error.strerror or str(error)).split())
    where = f"{error.filename}: " if error.filename else ""  # of standard output and open files it is not known
    return (
        f"{where}{reason}; make space, or name another place: --out for results, TMPDIR for temporary files, "
        "ONESPEC_CACHE for cached files, another file for standard output"
    )


def _one_line(error: click.UsageError, context: click.Context) -> str:
    where = (error.ctx or context).command_path
    if isinstance(error, click.NoSuchOption):
        if error.option_name in RENAMED:
            return f"{error.option_name}: renamed; write {RENAMED[error.option_name]}"
        near = f", did you mean {' or '.join(error.possibilities)}?" if error.possibilities else ""
        return f"{error.option_name}: no such option{near}; {where} --help lists the options"
    if isinstance(error, click.BadParameter) and error.param is not None:
        name = error.param.opts[0] if isinstance(error.param, click.Option) else error.param.make_metavar(context)
        if isinstance(error, click.MissingParameter):
            return f"{name} is missing; {where} --help explains it"
        return f"{name}: {_shortened(' '.join(error.message.split()).rstrip('.'))}"
    return f"{' '.join(error.format_message().split()).rstrip('.')}; see {where} --help"


def _shortened(message: str, most: int = 400) -> str:
    """A message without the middle of a value that fills the screen."""
    return message if len(message) <= most else f"{message[: most // 2]}...{message[-most // 2 :]}"
