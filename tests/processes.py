"""What tests of executors need: the processes of this machine, and packages that may be missing."""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")


def require(name: str) -> None:
    """Skip the test where a package is missing."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"the package {name} is missing: pip install -e '.[{name}]'")


def processes(*words: str) -> list[int]:
    """The processes whose command line has these words."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            line = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if int(entry.name) != os.getpid() and all(any(word in part for part in line) for word in words):
                found.append(int(entry.name))
    return found
