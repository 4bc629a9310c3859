"""A row of the report of a speed run."""

from __future__ import annotations

from dataclasses import dataclass, fields

from benchmarks.timing.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class SpeedRow:
    """One cell of a speed run; the fields are the columns of report.csv. None: not measured, or not applicable."""

    net: str
    framework: str
    version: str | None
    mode: str
    device: str
    precision: str
    tf32: bool
    dataset: str
    what: str
    batch_size: int
    threads: int
    status: str
    reason: str | None
    params: int
    macs: int
    launches: int
    slices: int
    disturbed_slices: int | None = None
    cpu_load: float | None = None
    examples_per_second: float | None = None
    examples_per_second_low: float | None = None
    examples_per_second_high: float | None = None
    relative_speed: float | None = None
    relative_speed_low: float | None = None
    relative_speed_high: float | None = None
    verdict: str | None = None
    withheld: str | None = None
    visible_difference: float | None = None
    import_seconds: float | None = None
    build_seconds: float | None = None
    load_seconds: float | None = None
    first_step_seconds: float | None = None
    warm_up_slices: float | None = None
    step_seconds: float | None = None
    evaluation_seconds: float | None = None
    break_even_epochs: float | None = None
    latency_median_ms: float | None = None
    latency_95_ms: float | None = None
    latency_99_ms: float | None = None
    peak_memory_mib: float | None = None
    import_memory_mib: float | None = None
    net_memory_mib: float | None = None
    matmul_gflops: float | None = None
    copy_gbs: float | None = None
    mfu: float | None = None
    roofline_examples_per_second: float | None = None
    roofline_fraction: float | None = None
    busy_threads: float | None = None
    idle_fraction: float | None = None
    certified: str
    certificate: str | None
    cell: str

    @property
    def speed(self) -> Estimate | None:
        """Examples per second."""
        if self.examples_per_second is None:
            return None
        return Estimate(self.examples_per_second, self.examples_per_second_low, self.examples_per_second_high)

    @property
    def ratio(self) -> Estimate | None:
        """Speed relative to the baseline."""
        if self.relative_speed is None:
            return None
        return Estimate(self.relative_speed, self.relative_speed_low, self.relative_speed_high)


COLUMNS = tuple(item.name for item in fields(SpeedRow))
