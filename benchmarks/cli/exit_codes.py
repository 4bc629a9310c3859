"""The exit codes of every command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit code means. `docs/reference/cli.md` holds the same table; a test compares the two."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> ExitCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "The command succeeded."
    FAILED = (
        1,
        (
            "A framework named with --fw is unavailable or failed, a worker was refused, a verification found a "
            "difference, or compare found a slowdown beyond the limit."
        ),
    )
    BAD_INPUT = 2, "An option, a file or a network cannot be used."
    BAD_DATA = 3, "A data set is missing, damaged or not the published one."
    DIFFERENT = (
        4,
        "Results differ: predict's labels between frameworks, or compare's two runs compute different things.",
    )
    NOT_MEASURED = 5, "compare: a row could not be measured or compared, so it could hide a slowdown."
    STOPPED = 130, "Stopped with Ctrl-C; finished work is kept."
