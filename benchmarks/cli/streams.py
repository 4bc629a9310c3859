"""Standard output and standard error that close early or cannot be written: `| head`, a full disk, a lost terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

import click

from benchmarks.cli.heartbeat import CURRENT


def tell(line: str) -> None:
    """Print a line on standard error. A line that cannot be written is lost: hours of work must not end with it."""
    try:
        if sys.stderr:
            print(line, file=sys.stderr, flush=True)
            CURRENT.line_printed(line)
    except OSError:
        discard(sys.stderr)


def printable(text: str, keep: str = "") -> str:
    """A text with control characters escaped, except those to keep: names and paths in it may contain any character."""
    if text.replace("\n" if "\n" in keep else "", "").isprintable():  # at once, for long tables
        return text
    allowed = f"{keep}\u00a0"  # the space that tables do not break
    return "".join(c if c.isprintable() or c in allowed else c.encode("unicode_escape").decode() for c in text)


def show(text: str) -> None:
    """Print a result on standard output. Control characters, which a foreign record may hold, are escaped."""
    click.echo(printable(text, keep="\n"))


def discard(stream: TextIO | None) -> None:
    """Send what is written to a stream from now on, and what it still holds, to nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream without a descriptor, or no stream
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())  # type: ignore[union-attr]
        finally:
            os.close(null)


def flush(stream: TextIO | None) -> None:
    """Write what a stream still holds, or discard it: at its exit Python flushes it again, with an exit code of 120."""
    try:
        if stream:
            stream.flush()
    except OSError:
        discard(stream)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is open and a terminal."""
    return stream is not None and stream.isatty()
