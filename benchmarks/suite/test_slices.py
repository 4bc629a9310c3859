"""pytest benchmarks/suite --benchmark-only -k "lenet and torch" """

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timing.launches import Runner


def test_slice(benchmark: BenchmarkFixture, runner: Runner) -> None:
    """One slice of work; the worker has compiled, and has shown that it computes what the reference does."""
    benchmark.group = f"{runner.timed.job.name} {runner.timed.what}"
    benchmark(runner.slice, 0)
    last = runner.slices[-1]
    benchmark.extra_info |= {"pictures": last["pictures"], "settings": runner.settings, "versions": runner.versions}
