"""The bookkeeping of the A/A experiment: counts in its table, and runs that are not repeated. Nothing is timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmarks.timing.speed_request import SpeedRequest
from frameworks.registry import FRAMEWORKS
from research import aa


def line(**changed: object) -> dict[str, object]:
    settings = {
        "threads": 1,
        "budget": "60s",
        "kind": "A/A",
        "pair": 1,
        "launches": 5,
        "spread": 3.0,
        "explained": 4.0,
        "commit": "0123456789ab",
    }
    return {**settings, "ratio": 1.0, "low": 0.99, "high": 1.01, "verdict": "same", **changed}


def test_a_row_counts_intervals_and_verdicts() -> None:
    results = pd.DataFrame(
        [
            line(),
            line(ratio=0.97, low=0.95, high=0.99, verdict="slower"),
            line(ratio=1.03, low=1.02, high=1.04, verdict="faster"),
            line(**dict.fromkeys(("ratio", "low", "high", "spread", "explained")), verdict="not measured"),
        ]
    )
    row = dict(zip(aa.HEAD, aa.row(("A/A", "1", "60s"), results)))
    assert row == {
        "runs": "A/A",
        "threads": "1",
        "budget": "60s",
        "pairs": "4",
        "not measured": "1",
        "launches": "5",
        "median ratio": "1.000",
        "half width in %": "1.01 (0.98 to 2.11)",
        "within 1.5 %": "2",
        "interval covers 1": "1",
        "interval leaves 1 out": "2",
        "called slower": "1",
        "called faster": "1",
        "spread of launches in %": "3.0",
        "by their rounds in %": "4.0",
    }


def test_the_noise_of_rounds_is_separated_from_that_of_launches() -> None:
    noise = np.exp(np.random.default_rng(0).normal(0, 0.05, (6, 40)))
    alike = aa.spreads(noise, np.ones_like(noise))
    different = aa.spreads(noise * np.array([[0.9], [1.1]] * 3), np.ones_like(noise))
    assert alike["spread"] < 2 * alike["explained"]
    assert different["spread"] > 5 * different["explained"] and different["explained"] == alike["explained"]


def test_finished_runs_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, runs = tmp_path / "aa.csv", []

    def result(request: SpeedRequest, _: Path) -> dict[str, object]:
        runs.append(request.frameworks)
        assert set(request.pythons) == {"slower"} & set(request.frameworks.split(",")), "no extra provides it"
        return {name: line()[name] for name in aa.COLUMNS[4:]}

    def run(pairs: int, threads: int, *more: str) -> str:
        options = [f"--pairs={pairs}", f"--threads={threads}", f"--results={results}", "--fw=torch", *more]
        done = CliRunner().invoke(aa.main, options, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    monkeypatch.setattr(aa, "result", result)
    monkeypatch.setitem(FRAMEWORKS, "slower", FRAMEWORKS["torch"])  # and removed afterwards
    run(1, 1)
    assert runs == ["torch", "torch,slower"]
    run(2, 1)
    assert runs == ["torch", "torch,slower"] * 2, "one more of each kind"
    run(1, 2)
    assert runs == ["torch", "torch,slower"] * 3, "other numbers of threads are separate runs"
    table = run(3, 1, "--kind", "A/A")
    assert runs == [*["torch", "torch,slower"] * 3, "torch"]
    for row in ("| A/A | 1 | 60s | 3 | 0 |", "| 3 % slower | 1 | 60s | 2 | 0 |", "| A/A | 2 | 60s | 1 | 0 |"):
        assert table.count(row) == 1
