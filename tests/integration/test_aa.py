"""The A/A experiment's bookkeeping: what is counted in its table, and what it does not do twice. Nothing is timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

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


def test_a_row_counts_what_the_intervals_say() -> None:
    found = pd.DataFrame(
        [
            line(),
            line(ratio=0.97, low=0.95, high=0.99, verdict="slower"),
            line(ratio=1.03, low=1.02, high=1.04, verdict="faster"),
        ]
    )
    told = dict(zip(aa.HEAD, aa.row(("A/A", "1", "60s"), found)))
    assert told == {
        "runs": "A/A",
        "threads": "1",
        "budget": "60s",
        "pairs": "3",
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


def test_what_rounds_explain_is_told_from_what_launches_do() -> None:
    noise = np.exp(np.random.default_rng(0).normal(0, 0.05, (6, 40)))
    alike = aa.spreads(noise, np.ones_like(noise))
    apart = aa.spreads(noise * np.array([[0.9], [1.1]] * 3), np.ones_like(noise))
    assert alike["spread"] < 2 * alike["explained"]
    assert apart["spread"] > 5 * apart["explained"] and apart["explained"] == alike["explained"]


def test_runs_that_are_kept_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, made = tmp_path / "aa.csv", []

    def finding(request: SpeedRequest, _: Path) -> dict[str, object]:
        made.append(request.frameworks)
        assert set(request.pythons) == {"slower"} & set(request.frameworks.split(",")), "it is in no extra"
        return {name: line()[name] for name in aa.COLUMNS[4:]}

    def ask(pairs: int, threads: int, *more: str) -> str:
        command = ["aa", "--pairs", str(pairs), "--threads", str(threads), "--kept", str(kept), *more]
        monkeypatch.setattr("sys.argv", command)
        assert aa.main() == 0
        return capsys.readouterr().out

    monkeypatch.setattr(aa, "finding", finding)
    monkeypatch.setitem(FRAMEWORKS, "slower", FRAMEWORKS["torch"])  # and taken out again afterwards
    ask(1, 1)
    assert made == ["torch", "torch,slower"]
    ask(2, 1)
    assert made == ["torch", "torch,slower"] * 2, "of each kind one more"
    ask(1, 2)
    assert made == ["torch", "torch,slower"] * 3, "with other threads they are other runs"
    table = ask(3, 1, "--kind", "A/A")
    assert made == [*["torch", "torch,slower"] * 3, "torch"]
    for row in ("| A/A | 1 | 60s | 3 |", "| 3 % slower | 1 | 60s | 2 |", "| A/A | 2 | 60s | 1 |"):
        assert table.count(row) == 1
