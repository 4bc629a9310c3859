"""The exit codes of every command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; `MEANINGS` explains each."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    BAD_DATA = 3
    DIFFERENT = 4
    NOT_MEASURED = 5
    STORAGE_FAILED = 6
    STOPPED = 130


# docs/reference/cli.md holds the same table; a test compares the two.
MEANINGS = {
    ExitCode.OK: "The command succeeded.",
    ExitCode.FAILED: "A framework named with --fw is unavailable or failed; a worker was refused; verify found a "
    "difference or could not judge a stage; compare found a slowdown beyond the limit; or merge lacks a finished cell "
    "or a part.",
    ExitCode.BAD_INPUT: "An option, a file or a network cannot be used.",
    ExitCode.BAD_DATA: "A data set is missing, damaged or not the published one.",
    ExitCode.DIFFERENT: "Results differ: the frameworks of predict give different labels, the runs of compare compute "
    "different things, the spec of port or the checkpoint of import-weights computes something else than the original, "
    "or the two networks of port are not the same function.",
    ExitCode.NOT_MEASURED: "compare could not measure or compare a row, which may hide a slowdown.",
    ExitCode.STORAGE_FAILED: "A file, or standard output, could not be written or read: the disk is full, read-only or "
    "failing; finished work is saved.",
    ExitCode.STOPPED: "Stopped with Ctrl-C, SIGTERM or SIGHUP; finished work is saved.",
}
