"""Each framework's profiler is read, and its operations are known for what they do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.runtime.environments import FrameworkRequest
from benchmarks.runtime.worker_client import Session
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Scale, to_json
from frameworks.training import SGD, Training
from research.profile import HEAD, KINDS, contenders, kind, row
from tests.conftest import THREADS, Bench


@pytest.mark.parametrize(
    "operation, what",
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
def test_what_an_operation_does(operation: str, what: str) -> None:
    assert kind(operation) == what


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_profile_of_lenet(bench: Bench, tmp_path: Path, framework: str) -> None:
    net = NETWORKS["lenet"](classes=10).after(Scale("pixels"), input=(1, 28, 28))
    np.savez(tmp_path / "weights.npz", **initial(net, 0))  # type: ignore[arg-type]
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (64, 1, 28, 28), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", np.arange(64) % 10)
    np.save(tmp_path / "order.npy", np.arange(64))
    where = {"device": "cpu", "precision": "float32", "threads": THREADS, "mode": ""}
    who = contenders(tmp_path, "lenet", FrameworkRequest(framework), Path(bench.python(framework)))["profiled"]
    how = {"environment": who.environment, "timeout": 300.0, "threads": THREADS, "log": tmp_path / "log"}
    with Session(who.python, who.module, who.adapter, **how) as worker:  # type: ignore[arg-type]
        worker.receive()
        worker.request("build", network=to_json(net), training=Training(SGD()).to_json(), setting=where)
        worker.request("set_weights", path=str(tmp_path / "weights.npz"))
        files = {"images": str(tmp_path / "images.npy"), "labels": str(tmp_path / "labels.npy")}
        worker.request("load", split="train", count=64, **files)
        slice_ = {"order": str(tmp_path / "order.npy"), "start": 0, "stop": 64, "batch_size": 32}
        for _ in range(2):
            worker.request("train", lrs=[0.1] * 2, seed=0, **slice_)
    seconds = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    found = {kind(operation) for operation in seconds}
    assert {"convolution", "matrix product", "pooling", "activation", "update"} <= found <= {*KINDS, "other"}
    assert min(seconds.values()) >= 0 and 0 < sum(seconds.values()) < 60
    line = row("lenet", framework, seconds)
    assert len(line) == len(HEAD) and sum(float(share.rstrip(" %")) for share in line[2:-1]) == pytest.approx(
        100, abs=5
    )
