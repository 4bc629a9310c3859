"""The examples run, at a small size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_minimal_example_trains_in_two_frameworks_and_predicts_alike(tmp_path: Path) -> None:
    small = f"dataset='fashion-mnist-mini', epochs=1, verified_steps=2, out={str(tmp_path)!r}"
    program = f"import runpy; runpy.run_path('examples/minimal.py')['main']({small})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "61,706 parameters" in done.stdout
    assert "verified: the same function" in done.stdout
    assert "100% of the predicted labels agree" in done.stdout
