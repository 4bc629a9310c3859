"""The tables of a speed run, generated from its records: report.csv and report.md.

`python -m benchmarks.report results/20261123-130550-speed-lenet` writes them again.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.records.csv_cells import csv_text, valid_frame
from benchmarks.records.events import NOT_CERTIFIED
from benchmarks.records.runs import SpeedJobInfo
from benchmarks.records.store import RunFolder
from benchmarks.reporting import speed_text
from benchmarks.reporting.contention_text import WITHHELD
from benchmarks.reporting.speed_cells import CellMeasurements, SpeedComparison, comparisons, layer_costs
from benchmarks.reporting.speed_row import COLUMNS, SpeedRow
from benchmarks.runtime.contention import disturbance
from benchmarks.timing import roofline, sanity_checks
from benchmarks.timing.statistics import Estimate, quantile, verdict


def write(folder: RunFolder) -> pd.DataFrame:
    """Write a run's tables into its folder; returns the table of cells."""
    cells = frame(folder)
    folder.write("report.csv", csv_text(cells, index=False))
    folder.write("report.md", speed_text.markdown_report(folder.speed_run, _with_rows(folder)) + "\n")
    return cells


def text(folder: RunFolder, width: int | None = None) -> str:
    """The whole report in plain text. width: of the terminal; None: no limit."""
    return speed_text.report(folder.speed_run, _with_rows(folder), width)


def _with_rows(folder: RunFolder) -> list[tuple[SpeedComparison, list[SpeedRow]]]:
    return [(comparison, comparison_rows(comparison)) for comparison in comparisons(folder)]


def frame(folder: RunFolder) -> pd.DataFrame:
    """One row per cell without A/A controls and control workload, columns `COLUMNS`; None where not measured."""
    rows = [asdict(row) for comparison in comparisons(folder) for row in comparison_rows(comparison)]
    table = valid_frame(rows, COLUMNS).astype(object)
    return table.where(table.notna(), None)


def comparison_rows(comparison: SpeedComparison) -> list[SpeedRow]:
    """One row per job of a comparison, as in `frame`."""
    return [_row(comparison, job) for job in comparison.jobs]


def _row(comparison: SpeedComparison, job: SpeedJobInfo) -> SpeedRow:
    cell, floor, withheld = comparison.of(job), comparison.floor, comparison.withheld(job)
    disturbed = disturbance(cell.contention)
    last = cell.launches[-1] if cell.launches else None
    relative = comparison.ratio(job) if cell.slices and not withheld else None
    speed, memory, bound = cell.speed, _memory(job, cell), _roofline(comparison, job)
    return SpeedRow(
        net=job.net,
        framework=job.framework,
        version=next(iter(last.versions.values())) if last else job.version,
        mode=last.settings.get("mode", job.mode) if last else job.mode,
        device=job.device,
        precision=job.precision,
        tf32=job.tf32,
        dataset=job.dataset,
        what=job.what,
        batch_size=job.batch_size,
        threads=job.threads,
        status=cell.end.status,
        reason=cell.end.reason,
        params=job.params,
        macs=job.macs,
        launches=len(cell.slices),
        slices=len(cell.timed_slices),
        disturbed_slices=disturbed.disturbed if disturbed.slices else None,
        cpu_load=disturbed.load,
        examples_per_second=speed.value if speed else None,
        examples_per_second_low=speed.low if speed else None,
        examples_per_second_high=speed.high if speed else None,
        relative_speed=relative.value if relative else None,
        relative_speed_low=relative.low if relative else None,
        relative_speed_high=relative.high if relative else None,
        verdict=WITHHELD if withheld else _verdict(comparison, job, relative),
        withheld=withheld,
        visible_difference=floor.visible if floor else None,
        import_seconds=cell.typical("import_seconds"),
        build_seconds=cell.typical("build_seconds"),
        load_seconds=cell.typical("load_seconds"),
        first_step_seconds=cell.typical("first_step_seconds"),
        warm_up_slices=float(np.median(cell.warm_ups)) if cell.warm_ups else None,
        step_seconds=job.batch_size / speed.value if speed else None,
        evaluation_seconds=_evaluation(job, cell),
        break_even_epochs=_break_even(comparison, job),
        latency_median_ms=_latency(cell, 0.5),
        latency_95_ms=_latency(cell, 0.95),
        latency_99_ms=_latency(cell, 0.99),
        peak_memory_mib=memory.peak,
        import_memory_mib=memory.imported,
        net_memory_mib=memory.net,
        matmul_gflops=bound.matmul_gflops,
        copy_gbs=bound.copy_gbs,
        mfu=bound.mfu,
        roofline_examples_per_second=bound.examples_per_second,
        roofline_fraction=bound.fraction,
        busy_threads=sanity_checks.busy_threads(cell.timed_slices) if cell.slices else None,
        idle_fraction=sanity_checks.idle_use(cell.timed_slices) if cell.slices else None,
        certified=last.verified if last else NOT_CERTIFIED,
        certificate=last.certificate.certificate if last and last.certificate else None,
        cell=job.cell,
    )


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


def _latency(cell: CellMeasurements, fraction: float) -> float | None:
    """A quantile of the latency in milliseconds; None if a call takes several images."""
    calls = [seconds for slice_ in cell.undisturbed_slices for seconds in slice_.calls or ()]
    estimate = quantile(calls, fraction) if cell.speed else None
    return 1e3 * estimate.value if estimate else None


class Memory(NamedTuple):
    """MiB. net: without the memory that the import of the framework takes."""

    peak: float | None
    imported: float | None
    net: float | None


def _memory(job: SpeedJobInfo, cell: CellMeasurements) -> Memory:
    """The median of the launches' peaks; on a device nothing is subtracted for the import."""
    peak = cell.end.peak_on(job.device)
    imported = cell.typical("import_memory")
    net = peak - imported if peak and imported and job.device == "cpu" else peak
    return Memory(*(size / 2**20 if size else None for size in (peak, imported, net)))


class Bound(NamedTuple):
    """The roofline of a framework, and how close a cell comes to it."""

    matmul_gflops: float | None = None
    copy_gbs: float | None = None
    mfu: float | None = None
    examples_per_second: float | None = None
    fraction: float | None = None


def _roofline(comparison: SpeedComparison, job: SpeedJobInfo) -> Bound:
    roof, speed = comparison.roof(job), comparison.of(job).speed
    if roof is None:
        return Bound()
    costs = layer_costs(job)
    limit = roofline.bound(costs, roof)
    return Bound(
        matmul_gflops=roof.flops / 1e9,
        copy_gbs=roof.bandwidth / 1e9 if roof.bandwidth else None,
        mfu=speed.value * sum(cost.flops for cost in costs) / roof.flops if speed else None,
        examples_per_second=limit,
        fraction=speed.value / limit if speed and limit else None,
    )
