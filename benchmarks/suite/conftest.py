"""The workers whose slices are timed: opened, checked against the reference, and closed after their test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.records.store import RunFolder
from benchmarks.runtime.environments import environment, parse_frameworks, parse_pythons
from benchmarks.runtime.errors import BadInput, DataError
from benchmarks.timing.launches import RUNNERS, TimedJob, Workload, WorkloadFiles, WorkloadRunner
from benchmarks.training.plan import MINI, TrainingRequest, plan, too_large
from benchmarks.training.progress import Progress
from frameworks.errors import Unavailable
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS

# Multiply-adds of a slice: a quarter of a second here. It depends on the network alone, so two runs can be compared.
SLICE = {"train": 2e9, "infer": 4e9}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("onespec")
    group.addoption("--threads", type=int, default=TrainingRequest().threads, help="threads of each worker [all cores]")
    group.addoption("--python", action="append", default=[], metavar="FW=PATH", help="an interpreter for a framework")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    modes = [
        f"{info.name}{mode}"
        for info in FRAMEWORKS.values()
        if info.in_all
        for mode in ("", *(f":{m}" for m in info.modes_on("cpu")))
    ]
    for name, values in (("net", NETWORKS), ("framework", modes), ("what", RUNNERS)):
        metafunc.parametrize(name, list(values))


@pytest.fixture
def runner(
    net: str, framework: str, what: Workload, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[WorkloadRunner]:
    """A worker that is ready for its slices; skipped, with the reason, if the framework is unavailable."""
    pythons = parse_pythons(request.config.getoption("--python"))
    threads = request.config.getoption("--threads")
    asked = parse_frameworks(framework)[0]
    own_pythons = {name: path for name, path in pythons.items() if name in (asked.name, asked.label)}
    try:
        wanted = TrainingRequest(
            net=(net,), frameworks=framework, dataset=MINI, threads=threads, device="cpu", pythons=own_pythons
        )
        groups, data = plan(wanted, Progress().message)
        python = environment(asked, own_pythons, device="cpu", progress=print).python
    except (BadInput, DataError, Unavailable) as error:
        pytest.skip(f"{net} in {framework}: {error}")
    job = groups[0][0]
    job = replace(job, batch_size=min(job.batch_size, 64))
    if reason := too_large([job]):
        pytest.skip(reason)
    timed = TimedJob(job, what)
    files = WorkloadFiles(timed, data[MINI], tmp_path / "work")
    passes = 3 if what == "train" else 1
    runner = RUNNERS[what](timed, files, 1, RunFolder(tmp_path), 600.0, True)
    try:
        units = SLICE[what] / (passes * max(1, job.network.macs) * runner.images_of_a_unit)
        runner.open(python, FRAMEWORKS[asked.name], max(1, round(units)))
        yield runner
    except Unavailable as error:
        pytest.skip(f"{net} in {framework}: {error}")
    finally:
        runner.close()
