"""Runs a command of `onespec` in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click


def exit_code_of(command: click.Command) -> Callable[[Sequence[str]], int]:
    """A function that runs the command with these arguments and returns its exit code."""

    def run(arguments: Sequence[str]) -> int:
        code = command.main(list(arguments), prog_name=f"onespec {command.name}", standalone_mode=False)
        assert isinstance(code, int)
        return code

    return run
