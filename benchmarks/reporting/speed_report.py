"""The tables of a speed run, made from its records: report.csv and report.md.

`python -m benchmarks.report results/20261123-130550-speed-lenet` writes them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.records.runs import SpeedJobInfo
from benchmarks.records.store import RunFolder
from benchmarks.reporting import speed_text
from benchmarks.reporting.speed_cells import CellMeasurements, SpeedComparison, comparisons, layer_costs
from benchmarks.reporting.tables import Row, markdown, table
from benchmarks.timing import roofline, sanity_checks
from benchmarks.timing.statistics import Estimate, quantile, verdict
from benchmarks.verification import certificates

COLUMNS = (
    "net",
    "framework",
    "version",
    "mode",
    "device",
    "precision",
    "dataset",
    "what",
    "batch_size",
    "threads",
    "status",
    "reason",
    "params",
    "macs",
    "launches",
    "slices",
    "examples_per_second",
    "examples_per_second_low",
    "examples_per_second_high",
    "relative_speed",
    "relative_speed_low",
    "relative_speed_high",
    "verdict",
    "visible_difference",
    "import_seconds",
    "build_seconds",
    "load_seconds",
    "first_step_seconds",
    "warm_up_slices",
    "step_seconds",
    "evaluation_seconds",
    "break_even_epochs",
    "latency_median_ms",
    "latency_95_ms",
    "latency_99_ms",
    "peak_memory_mib",
    "import_memory_mib",
    "net_memory_mib",
    "matmul_gflops",
    "copy_gbs",
    "mfu",
    "roofline_examples_per_second",
    "roofline_fraction",
    "busy_threads",
    "idle_fraction",
    "certified",
    "certificate",
    "cell",
)


def write(folder: RunFolder) -> pd.DataFrame:
    """Write a run's tables into its folder; returns the table of cells."""
    cells = frame(folder)
    folder.write("report.csv", cells.to_csv(index=False))
    folder.write("report.md", text(folder, markdown) + "\n")
    return cells


def text(folder: RunFolder, form: Callable[[Row, Sequence[Row]], str] = table) -> str:
    """The whole report as text. form: `tables.table` or `tables.markdown`."""
    rows = [(comparison, comparison_rows(comparison)) for comparison in comparisons(folder)]
    return speed_text.report(folder.speed_run, rows, form)


def frame(folder: RunFolder) -> pd.DataFrame:
    """One row per cell without A/A controls and control workload, columns `COLUMNS`; None where not measured."""
    rows = [row for comparison in comparisons(folder) for row in comparison_rows(comparison)]
    table = pd.DataFrame(rows, columns=COLUMNS).astype(object)
    return table.where(table.notna(), None)


def comparison_rows(comparison: SpeedComparison) -> list[dict[str, Any]]:
    """One row per job of a comparison, as in `frame`."""
    return [_row(comparison, job) for job in comparison.jobs]


def _row(comparison: SpeedComparison, job: SpeedJobInfo) -> dict[str, Any]:
    cell, floor = comparison.of(job), comparison.floor
    last = cell.launches[-1] if cell.launches else None
    relative = comparison.ratio(job) if cell.slices else None
    speed = cell.speed
    return {
        **{name: getattr(job, name) for name in COLUMNS if name in job.__struct_fields__},
        "version": next(iter(last.versions.values())) if last else job.version,
        "mode": last.settings.get("mode", job.mode) if last else job.mode,
        "status": cell.end.status,
        "reason": cell.end.reason,
        "launches": len(cell.slices),
        "slices": len(cell.timed_slices),
        **_columns_of("examples_per_second", speed),
        **_columns_of("relative_speed", relative),
        "verdict": _verdict(comparison, job, relative),
        "visible_difference": floor.visible if floor else None,
        **{f"{name}_seconds": cell.typical(f"{name}_seconds") for name in ("import", "build", "load")},
        "first_step_seconds": cell.typical("first_step_seconds"),
        "warm_up_slices": float(np.median(cell.warm_ups)) if cell.slices else None,
        "step_seconds": job.batch_size / speed.value if speed else None,
        "evaluation_seconds": _evaluation(job, cell),
        "break_even_epochs": _break_even(comparison, job),
        **_latency(cell),
        **_memory(job, cell),
        **_roofline(comparison, job),
        "busy_threads": sanity_checks.busy_threads(cell.timed_slices) if cell.slices else None,
        "idle_fraction": sanity_checks.idle_use(cell.timed_slices) if cell.slices else None,
        **certificates.columns(last.certificate if last else None),
    }


def _columns_of(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    value, low, high = estimate or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _verdict(comparison: SpeedComparison, job: SpeedJobInfo, relative: Estimate | None) -> str | None:
    if job is comparison.baseline:
        return "baseline"
    floor = comparison.floor
    return verdict(relative, floor) if relative and floor else None


def _evaluation(job: SpeedJobInfo, cell: CellMeasurements) -> float | None:
    """Seconds to predict all test images, extrapolated from those that were predicted."""
    record = cell.evaluation
    return record.seconds / record.images * job.test_size if record else None


def _break_even(comparison: SpeedComparison, job: SpeedJobInfo) -> float | None:
    """Epochs after which a job has caught up with the baseline, start and compilation included."""
    if job is comparison.baseline or job.what != "train":
        return None
    return comparison.break_even_epochs(job, comparison.baseline)


def _latency(cell: CellMeasurements) -> dict[str, float | None]:
    """Quantiles of the latency in milliseconds; nothing where a call takes several images."""
    calls = [seconds for slice_ in cell.timed_slices for seconds in slice_.calls or ()]
    columns: dict[str, float | None] = {}
    for name, fraction in (("median", 0.5), ("95", 0.95), ("99", 0.99)):
        estimate = quantile(calls, fraction)
        if estimate:
            columns[f"latency_{name}_ms"] = 1e3 * estimate.value
    return columns


def _memory(job: SpeedJobInfo, cell: CellMeasurements) -> dict[str, float | None]:
    """The median of the launches' peaks; on a CPU also without the memory that the import of the framework takes."""
    peak = cell.end.peak.get("device" if job.device == "cuda" else "resident")
    imported = cell.typical("import_memory")
    net = peak - imported if peak and imported and job.device == "cpu" else peak
    return {
        "peak_memory_mib": peak / 2**20 if peak else None,
        "import_memory_mib": imported / 2**20 if imported else None,
        "net_memory_mib": net / 2**20 if net else None,
    }


def _roofline(comparison: SpeedComparison, job: SpeedJobInfo) -> dict[str, float | None]:
    roof, speed = comparison.roof(job), comparison.of(job).speed
    if roof is None:
        return {}
    costs = layer_costs(job)
    bound = roofline.bound(costs, roof)
    flops = sum(cost.flops for cost in costs)
    return {
        "matmul_gflops": roof.flops / 1e9,
        "copy_gbs": roof.bandwidth / 1e9 if roof.bandwidth else None,
        "mfu": speed.value * flops / roof.flops if speed else None,
        "roofline_examples_per_second": bound,
        "roofline_fraction": speed.value / bound if speed else None,
    }
