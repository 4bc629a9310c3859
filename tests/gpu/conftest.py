"""Tests with the marker `gpu` run where there is an NVIDIA GPU; elsewhere they are skipped, with the reason.

ONESPEC_PYTHONS names interpreters that are there, as `--python` does: "torch=python3 jax=python3". Without it the
frameworks are installed, which needs a network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.runtime import machine
from tests.conftest import Bench

PYTHONS = dict(each.split("=", 1) for each in os.environ.get("ONESPEC_PYTHONS", "").split())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = "nvidia-smi lists no GPU" if machine.gpu() is None else ""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="session")
def gpu_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("gpu"), device="cuda", pythons=PYTHONS)
    yield made
    made.close()
