"""The commit of the code that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def commit(root: Path = CHECKOUT) -> str | None:
    """The checkout's commit, with `+` if its code has changed since; None if `root` is not the top of a checkout."""
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--show-toplevel", "HEAD"], capture_output=True, text=True, check=False
        )
        if head.returncode:
            return None
        top, digest = head.stdout.splitlines()
        if Path(top) != root:  # installed inside another project's checkout
            return None
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "frameworks", "benchmarks"],
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        return None
    return digest + "+" * bool(changed.stdout)


def short(commit: str) -> str:
    """A commit shortened for a table, with its `+`."""
    return commit.rstrip("+")[:12] + "+" * commit.endswith("+")
