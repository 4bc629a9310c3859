"""Runs that are stopped at random moments resume to the results of the uninterrupted run (docs/reliability.md)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from research.crashes import FULL_DISK, STOPS, Crash, Uninterrupted, crash, table, uninterrupted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    return uninterrupted(tmp_path_factory.mktemp("crashes") / "whole")


@pytest.mark.parametrize("number", range(len(STOPS)), ids=STOPS)
def test_a_stopped_run_resumes_to_the_same_results(number: int, whole: Uninterrupted, tmp_path: Path) -> None:
    """`python -m research.crashes` stops 60 runs."""
    outcome = crash(number, whole, tmp_path / "run")
    assert outcome.passed, outcome
    assert outcome.from_state or outcome.finished or outcome.stop == FULL_DISK, "no run goes on from a state"


PASSED = Crash("SIGTERM", False, True, 130, False, 0, True, 0, False)


@pytest.mark.parametrize(
    "failed",
    [
        Crash("SIGTERM", False, True, 1, False, 0, True, 0, False),
        Crash("SIGTERM", False, True, 130, True, 0, True, 0, False),
        Crash("SIGTERM", False, True, 130, False, 1, True, 0, False),
        Crash("SIGTERM", False, True, 130, False, 0, False, 0, False),
        Crash("SIGTERM", False, True, 130, False, 0, True, 1, False),
    ],
)
def test_every_failure_is_counted(failed: Crash) -> None:
    assert PASSED.passed and not failed.passed
    assert table([PASSED]) != table([failed]) or failed.exit_code == 1
