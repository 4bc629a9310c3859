"""pytest benchmarks/suite --benchmark-only -k "lenet and torch" """

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timing.launches import WorkloadRunner


def test_slice(benchmark: BenchmarkFixture, runner: WorkloadRunner) -> None:
    """One slice; the worker has compiled it, and its results agree with the reference."""
    benchmark.group = f"{runner.timed.job.name} {runner.timed.what}"
    benchmark(runner.slice, 0)
    last = runner.slices[-1]
    benchmark.extra_info |= {"images": last.images, "settings": runner.settings, "versions": runner.versions}
