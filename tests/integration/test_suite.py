"""The suite for pytest-benchmark: its tests, its storage and its limit, with a real framework."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from tests.conftest import Bench

ROOT = Path(__file__).parents[2]


def suite(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "benchmarks/suite", "-p", "no:cacheprovider", "--threads=1", *options]
    # A separate process: pytest-benchmark does not measure inside workers of pytest-xdist.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False, timeout=600)


def test_every_network_framework_and_mode_has_two_slices() -> None:
    pytest.importorskip("pytest_benchmark")
    collected = re.findall(r"test_slice\[(.+)\]", suite("--collect-only", "-q", "-k", "train or infer").stdout)
    modes = [
        f"{info.name}{mode}"
        for info in FRAMEWORKS.values()
        if info.in_all
        for mode in ("", *(f":{m}" for m in info.modes_on("cpu")))
    ]
    assert sorted(collected) == sorted(f"{n}-{m}-{w}" for n in NETWORKS for m in modes for w in ("train", "infer"))


def test_a_slice_is_stored_and_a_regression_fails(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    options = [f"--python=torch={bench.python('torch')}", "-k", "[lenet-torch-infer", f"--benchmark-storage={tmp_path}"]
    options += ["--benchmark-only", "--benchmark-min-rounds=2", "--benchmark-max-time=0"]
    first = suite(*options, "--benchmark-save=before", f"--benchmark-histogram={tmp_path / 'histogram'}")
    assert first.returncode == 0, first.stdout
    assert "lenet-torch-infer" in next(tmp_path.glob("histogram*.svg")).read_text()
    saved = next(tmp_path.rglob("0001_before.json"))
    saved_json = json.loads(saved.read_text())
    (slice_,) = saved_json["benchmarks"]
    assert slice_["stats"]["rounds"] == 2 and slice_["stats"]["min"] > 0
    assert slice_["extra_info"]["images"] > 0 and "torch" in slice_["extra_info"]["versions"]
    slice_["stats"]["min"] /= 1e6  # as if it had been a million times as fast
    saved.write_text(json.dumps(saved_json))
    second = suite(*options, "--benchmark-compare=0001", "--benchmark-compare-fail=min:50%")
    assert second.returncode != 0 and "Performance has regressed" in second.stdout + second.stderr


def test_an_unavailable_framework_is_skipped_with_its_reason() -> None:
    pytest.importorskip("pytest_benchmark")
    done = suite("--benchmark-only", "-rs", "-k", "[lenet-torch-infer", "--python=torch=/no/such/python")
    assert done.returncode == 0 and "--python torch=/no/such/python: no such interpreter" in done.stdout
