"""The errors of onespec. To catch every error that has a one-line explanation, catch `OnespecError`.

OnespecError
├── SpecError           a network that cannot be built                          frameworks.spec
├── WeightFileError     a file of weights that is not of this network           frameworks.errors
├── Unavailable         a framework, device or mode that is not available here  frameworks.errors
├── BadInput            an option or file that cannot be used                   benchmarks.runtime.errors
├── DataError           a data set that is missing or damaged                   benchmarks.runtime.errors
├── WorkerFailed        a worker that died, hung or reported an error           benchmarks.runtime.errors
└── Refused             a worker whose timing or results cannot be trusted      benchmarks.runtime.errors
"""

from __future__ import annotations


class OnespecError(Exception):
    """The base of every error that onespec raises on purpose; the message is one line."""

    exit_code = 1  # of a command that ends with it


class WeightFileError(OnespecError, ValueError):
    """A framework's file of weights does not hold the arrays of this network."""


class Unavailable(OnespecError):
    """This framework, device or mode is not available here; the message gives the reason."""
