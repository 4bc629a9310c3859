"""Errors of the harness. The tree of all errors is in `frameworks.errors`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from frameworks.errors import OnespecError


class BadInput(OnespecError, ValueError):
    """An option or file that cannot be used: its name, the value given, the allowed values, the remedy. Exit code 2."""

    exit_code = 2


class ShapeMissing(BadInput):
    """A network of another program does not say the shape of its images. problem: the message without the remedy."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; give --input C,H,W")
        self.problem = problem


class DataError(OnespecError):
    """A data set is missing, damaged or not the published one; the message names the remedy. Exit code 3."""

    exit_code = 3


class WorkerFailed(OnespecError):
    """The worker died, did not answer in time, or answered with an error; the message says which."""


class Refused(OnespecError):
    """A worker whose timing or results cannot be trusted; the message says why."""


def refuse_repeated(option: str, values: Iterable[Hashable]) -> None:
    """Raise BadInput if a list names a value twice: its rows would be one, or would count twice."""
    listed = list(values)
    for index, value in enumerate(listed):
        if value in listed[:index]:
            raise BadInput(f"--{option} {','.join(map(str, listed))}: {value} is listed twice")
