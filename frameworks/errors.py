"""The errors of onespec. Whoever catches `OnespecError` catches every error that has a one-line explanation.

OnespecError
├── SpecError           a network that cannot be built                          frameworks.spec
├── Unavailable         a framework, device or mode that cannot be had here     frameworks.errors
├── BadInput            an option or file that cannot be used                   benchmarks.runtime.errors
├── DataError           a data set that is missing or damaged                   benchmarks.runtime.errors
├── WorkerFailed        a worker that died, hung or reported an error           benchmarks.runtime.errors
└── Refused             a worker whose timing or results cannot be trusted      benchmarks.runtime.errors
"""

from __future__ import annotations


class OnespecError(Exception):
    """The base of every error that onespec raises on purpose; the message is one line."""


class Unavailable(OnespecError):
    """This framework, device or mode cannot be had here; the message says why."""
