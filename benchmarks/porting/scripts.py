"""Runs a script of `frameworks` in a framework's interpreter: it writes files or ends with the reason in one line."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runtime.errors import BadInput

LIMIT = 600.0  # seconds


def run_script(python: Path, script: Path, arguments: Sequence[str], results: Sequence[Path], text: str) -> None:
    """Run a script that writes the files `results`. It may execute the user's code, which may do anything.

    Raises BadInput, whose message starts with `text`: with the script's last line, or if the process is ended in
    another way, lacks a result, or takes more than `LIMIT` seconds.
    """
    command = [str(python), "-I", str(script), *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise BadInput(f"{text}: not ready within {LIMIT:g} s; long loops or downloads?") from None
    if done.returncode == 0 and all(each.exists() for each in results):
        return
    lines = done.stderr.strip().splitlines()
    if done.returncode > 0 and lines:
        raise BadInput(f"{text}: {lines[-1]}")
    code = done.returncode
    how = f"is ended by {signal.Signals(-code).name}" if code < 0 else f"ends with exit code {code} and gives no reason"
    raise BadInput(f"{text}: the process that reads it {how}")
