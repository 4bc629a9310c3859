"""Each framework's profiler is read, and the kinds of its operations are recognized."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.runtime.environments import FrameworkRequest
from benchmarks.runtime.worker_client import WorkerClient
from frameworks.adapter import Setting
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from frameworks.spec import Scale
from frameworks.training import SGD, Training
from research import loop_timing
from research.profile import HEAD, KINDS, kind, loops, row
from tests.conftest import THREADS, Bench

PROFILED = [name for name in FRAMEWORKS if loop_timing.file_of("profiled", FrameworkRequest(name))]


@pytest.mark.parametrize(
    "operation, expected",
    [
        ("aten::convolution_backward", "convolution"),
        ("_MklNativeFusedConv2D", "convolution"),
        ("_backward_FullyConnected", "matrix product"),
        ("_MklNativeAvgPoolGrad", "pooling"),
        ("aten::native_batch_norm", "batch norm"),
        ("_backward_Activation", "activation"),
        ("Optimizer.step#SGD.step", "update"),
        ("adam_update", "update"),
        ("aten::_log_softmax", "loss"),
        ("GatherV2", "batch and pixels"),
        ("Flatten", "other"),
    ],
)
def test_the_kind_of_an_operation(operation: str, expected: str) -> None:
    assert kind(operation) == expected


@pytest.mark.parametrize("framework", PROFILED)
def test_a_profile_of_lenet(bench: Bench, tmp_path: Path, framework: str) -> None:
    net = NETWORKS["lenet"](classes=10).after(Scale("pixels"), input=(1, 28, 28))
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 28, 28), dtype=np.uint8)
    loop = loops(tmp_path, "lenet", FrameworkRequest(framework), Path(bench.python(framework)))["profiled"]
    with WorkerClient(
        loop.python,
        loop.module,
        loop.adapter,
        threads=THREADS,
        log=tmp_path / "log",
        timeout=300.0,
        environment=loop.environment,
    ) as worker:
        worker.build(net, Training(SGD()), Setting("cpu", "float32", THREADS))
        worker.set_weights(initial(net, 0))
        worker.load("train", images, np.arange(64) % 10)
        for _ in range(2):
            worker.train(np.arange(64), 32, [0.1] * 2, stop=64, seed=0)
    seconds = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    kinds = {kind(operation) for operation in seconds}
    assert {"convolution", "matrix product", "pooling", "activation", "update"} <= kinds <= {*KINDS, "other"}
    assert min(seconds.values()) >= 0 and 0 < sum(seconds.values()) < 60
    line = row("lenet", framework, seconds)
    assert len(line) == len(HEAD)
    assert sum(float(fraction.rstrip(" %")) for fraction in line[2:-1]) == pytest.approx(100, abs=5)


def test_a_framework_without_a_profiled_adapter_is_not_profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    info = FrameworkInfo("new", "New", "frameworks.new", "New", "new", python=">=3.10")
    monkeypatch.setitem(FRAMEWORKS, "new", info)
    assert loops(Path(), "lenet", FrameworkRequest("new"), Path("python")).keys() == {"adapter"}
