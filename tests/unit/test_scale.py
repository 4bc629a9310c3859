"""The records and the arithmetic of `python -m research.scale`, and that merging grows no faster than the cells."""

from __future__ import annotations

import cProfile
import pstats
from pathlib import Path

import pytest

from benchmarks.records.merging import merge
from benchmarks.records.store import RunFolder
from benchmarks.reporting import run_report
from benchmarks.training.plan import TrainingRequest
from benchmarks.training.shards import planned
from research.scale import GROWTH_HEAD, Growth, Measured, Usage, committed, cost, growth_table, rate, write_shard

ROOT = Path(__file__).parents[2]


def merged(seeds: int, folder: Path) -> tuple[RunFolder, int]:
    """The merged run of synthetic shards, and the number of function calls that merging took."""
    request = TrainingRequest(
        ("mlp", "lenet"), "torch,mxnet", seeds=tuple(range(seeds)), quick=True, threads=1, device="cpu"
    )
    plan = planned(request, print)
    shards = [write_shard(folder / str(number), plan, number, seeds) for number in range(1, seeds + 1)]
    profile = cProfile.Profile()
    run, unfinished = profile.runcall(
        merge, shards, folder / "merged", ["onespec", "merge"], write_report=run_report.write
    )
    assert unfinished == []
    return run, pstats.Stats(profile).total_calls  # type: ignore[attr-defined]


def test_synthetic_records_are_those_of_a_finished_run(tmp_path: Path) -> None:
    run, _ = merged(3, tmp_path)
    cells = run_report.frame(run)
    assert len(cells) == 12 and set(cells["status"]) == {"ok"} and not cells["warning"].any()
    assert cells["examples_per_second"].notna().all() and cells["relative_speed"].notna().all()


def test_merging_and_reporting_grow_no_faster_than_the_cells(tmp_path: Path) -> None:
    """As many shards as seeds: whatever looks at all cells for each cell, group or shard would show."""
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    _, few = merged(20, tmp_path / "few")
    _, many = merged(80, tmp_path / "many")
    assert many < 4.4 * few


def test_a_run_of_many_cells_has_rows_in_its_csv_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = merged(2, tmp_path)
    small = (run.path / "report.html").read_text()
    monkeypatch.setattr("benchmarks.reporting.pages.MOST_CELLS", 7)
    cells = run_report.write(run)
    assert run_report.table(cells, 80) == "8 cells: 8 ok. Their rows are in report.csv."
    assert (run.path / "report.md").read_text().startswith("8 cells: 8 ok. Their rows are in report.csv.\n\n- ")
    large = (run.path / "report.html").read_text()
    assert "<table>" in small and "<svg" in small and "report.csv" not in small
    assert "The 8 cells of this run are in" in large and "<table>" not in large and "<svg" not in large
    assert "lenet" in large


def measured(framework: str, macs: int, speed: float) -> Measured:
    return Measured(framework, macs, 1, speed, once=10.0, evaluation=0.5, record=100.0, peak=1)


def test_the_rate_is_that_of_networks_of_a_similar_size() -> None:
    cells = [measured("torch", 10**5, 1e9), measured("torch", 10**8, 8e9), measured("torch", 2 * 10**8, 1e10)]
    assert rate(cells, 10**5) == 1e9
    assert rate(cells, 10**8) == 9e9, "the median of the two within half a decade"
    assert rate(cells, 10**12) == 9e9


def test_the_cost_is_that_of_the_steps_the_tests_and_the_starts() -> None:
    plan = planned(TrainingRequest(("lenet",), "torch,mxnet", seeds=(0, 1), threads=1, device="cpu"), print)
    (network,) = plan.networks.values()
    costs, groups = cost(plan, [measured("torch", network.macs, 3e9)])
    images = network.train_size + 0.5 * network.test_size
    seconds = network.epochs * 3 * network.macs / 3e9 * images
    assert [each.measured for each in costs] == [1, 0], "a framework without runs has the rate of the others"
    for each in costs:
        assert each.training == pytest.approx(2 * seconds) and each.starting == 20.0
    assert groups == [pytest.approx(2 * seconds + 20)] * 2


def test_the_committed_runs_have_rates() -> None:
    cells = committed(ROOT / "results")
    assert {cell.framework for cell in cells} >= {"torch", "mxnet", "keras"}
    assert all(1e6 < cell.rate < 1e12 and cell.once > 0 for cell in cells)


def test_the_table_of_growth_has_a_row_for_each_size() -> None:
    used = Usage(1.26, 1.01, 2**30)
    table = growth_table([Growth(1_000, 250, 5_000_000, used, used, used)])
    assert table.splitlines()[0] == f"| {' | '.join(GROWTH_HEAD)} |"
    assert table.splitlines()[-1] == "| 1,000 | 250 | 5" + " | 1.3 | 1.0 | 1,024" * 3 + " |"
