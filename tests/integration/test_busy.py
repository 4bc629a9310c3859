"""The bookkeeping of the busy-machine experiment: its table, its processes, and runs that are not repeated."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from benchmarks.timing.speed_request import SpeedRequest
from frameworks.registry import FRAMEWORKS
from research import busy

MEASURED = {
    "version": "1.0",
    "verdict": "same",
    "ratio": 1.0,
    "low": 0.99,
    "high": 1.01,
    "launches": 5,
    "slices": 100,
    "disturbed": 10,
    "load": 0.25,
    "commit": "0123456789ab",
}
WITHHELD = {"verdict": "not measured", "ratio": None, "low": None, "high": None, "disturbed": 90, "load": 0.5}


def line(**changed: object) -> dict[str, object]:
    return {"framework": "torch", "busy": 1, "threads": 2, "budget": "90s", "run": 1, **MEASURED, **changed}


def test_a_row_counts_verdicts_and_what_is_withheld() -> None:
    results = pd.DataFrame([line(), line(**WITHHELD), line(verdict="faster", ratio=1.03, low=1.02, high=1.04)])
    assert dict(zip(busy.HEAD, busy.row((1, 2, "90s"), results))) == {
        "busy processes": "1",
        "threads": "2",
        "budget": "90s",
        "runs": "3",
        "not measured": "1",
        "same": "1",
        "wrong verdict": "1",
        "interval leaves 1 out": "1",
        "median half width in %": "1.00",
        "load of others": "25 %",
        "disturbed slices": "37 %",
    }
    assert busy.row((1, 2, "90s"), pd.DataFrame([line(**WITHHELD)]))[7:9] == ("0", "")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_busy_processes_end_with_the_block(count: int) -> None:
    with busy.burning(count) as processes:
        assert len(processes) == count
        for process in processes:
            os.kill(process, 0)
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.parametrize(("verdict", "code"), [("same", 0), ("not measured", 0), ("faster", 1)])
def test_finished_runs_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str, code: int
) -> None:
    results, runs = tmp_path / "busy.csv", []

    def result(request: SpeedRequest, _: Path) -> dict[str, object]:
        assert request.frameworks == "torch,again" and set(request.pythons) == {"again"}
        runs.append(request.threads[0])
        return MEASURED | {"verdict": verdict}

    def run(*settings: str) -> str:
        options = [f"--results={results}", "--fw=torch", f"--out={tmp_path / 'busy.md'}", *settings]
        done = CliRunner().invoke(busy.main, options, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.stdout

    monkeypatch.setattr(busy, "result", result)
    monkeypatch.setitem(FRAMEWORKS, "again", FRAMEWORKS["torch"])  # and removed afterwards
    run("--runs=1", "--busy=0,1", "--threads=1")
    assert runs == [1, 1]
    table = run("--runs=2", "--busy=0,1", "--threads=1,2")
    assert runs == [1, 1, 2, 2, 1, 2, 1, 2], "three more of the first run, then the second"
    assert table.count("| 90s | 2 |") == 4
    assert table in (tmp_path / "busy.md").read_text() + "\n"
