"""The user's defaults: `onespec.toml`, or `[tool.onespec]` of `pyproject.toml`, in the working directory.

    [run]
    fw = "torch,keras"
    threads = 2

A table for each command, a key for each long option, without the dashes. Options on the command line win.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.cli.commands import COMMANDS
from benchmarks.runtime.errors import BadInput

FILE = Path("onespec.toml")
PROJECT_FILE = Path("pyproject.toml")


def defaults(command: click.Command) -> dict[str, Any]:
    """The configured defaults of a command, by parameter name. Raises BadInput."""
    source, tables = _configuration()
    for name in tables:
        if name not in COMMANDS:
            raise BadInput(f"{source}: [{name}]: no such command; choose from {', '.join(COMMANDS)}")
    given = tables.get(command.name or "", {})
    if not isinstance(given, dict):
        raise BadInput(f"{source}: {command.name} is not a table; write [{command.name}] above its options")
    names = {
        option.removeprefix("--"): parameter.name
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    for key in given:
        if key not in names:
            raise BadInput(f"{source}: [{command.name}] {key}: no such option; choose from {', '.join(names)}")
    return {str(names[key]): value for key, value in given.items()}


def _configuration() -> tuple[str, dict[str, Any]]:
    """The file's name for messages, and its tables by command."""
    if FILE.is_file():
        return str(FILE), _read(FILE)
    if PROJECT_FILE.is_file():
        return f"{PROJECT_FILE}, [tool.onespec]", _read(PROJECT_FILE).get("tool", {}).get("onespec", {})
    return "", {}


def _read(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
