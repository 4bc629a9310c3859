"""The terminal that standard output is connected to."""

from __future__ import annotations

import shutil
import sys

from benchmarks.cli.streams import is_terminal


def width() -> int | None:
    """The number of columns of the terminal; None for a pipe or a file, which get every column of a table."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
