"""On a GPU, every framework computes what the reference computes, and a run says where it ran."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.runtime import machine
from frameworks.adapter import Setting
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.numpy_reference import Reference
from frameworks.registry import trained
from frameworks.training import SGD, Training
from tests.conftest import Bench
from tests.contract.test_layers import LABELS, NETS, expected, images_of, named, weights_of
from tests.contract.test_parity import on_gray_images
from tests.gpu.conftest import PYTHONS

# Relative to the largest value of a tensor, in float64, for which no GPU has reduced precision. The limit is that of
# the same test on a CPU: rounding does not depend on the device.
LIMIT = 1e-11
STEPS, BATCH = 20, 32


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("framework", trained())
def test_a_layer_agrees_with_the_reference(gpu_bench: Bench, framework: str, name: str) -> None:
    net, images, right = NETS[name], images_of(NETS[name]), expected(name)
    gpu_bench.build(framework, net, precision="float64", weights=weights_of(net))
    session = gpu_bench.session(framework)
    modes = {mode: dict(session.activations(images, mode == "training")) for mode in ("evaluation", "training")}
    loss, gradients = session.gradients(images, LABELS)
    actual = named(modes, loss, dict(gradients))
    assert actual.keys() == right.keys()
    for tensor, value in right.items():
        assert np.abs(actual[tensor] - value).max() <= LIMIT * np.abs(value).max(), tensor


@pytest.mark.parametrize("name", ["lenet", "lenet_bn", "resnet9"])
@pytest.mark.parametrize("framework", trained())
def test_losses_of_twenty_steps_are_those_of_the_reference(gpu_bench: Bench, framework: str, name: str) -> None:
    net, training = on_gray_images(NETWORKS[name]()), Training(SGD())
    weights, images = initial(net, seed=1), np.random.default_rng(1).integers(0, 256, (640, 1, 28, 28), dtype=np.uint8)
    labels, order = np.arange(640) % 10, np.random.default_rng(2).permutation(640)
    lrs = np.full(STEPS, 0.01)
    reference = Reference(net, training, Setting(precision="float64"))
    reference.set_weights(weights)
    reference.load("train", images, labels)
    right = reference.train(order, BATCH, lrs, seed=3).losses

    gpu_bench.build(framework, net, training, "float64", weights=weights)
    gpu_bench.load(framework, "train", images, labels)
    slice_ = {"start": 0, "stop": 640, "batch_size": BATCH, "lrs": lrs.tolist(), "seed": 3}
    losses = gpu_bench.session(framework).request("train", order=gpu_bench.file(order), **slice_)["losses"]
    assert np.abs(np.array(losses) - right).max() <= LIMIT * right.max()


@pytest.mark.parametrize("framework", trained())
def test_a_run_says_where_it_ran(gpu_bench: Bench, framework: str, tmp_path: Path) -> None:
    gpu_bench.session(framework)  # skips, with the reason, what is not available
    pythons = [word for name, path in PYTHONS.items() for word in ("--python", f"{name}={path}")]
    command = [sys.executable, "-m", "benchmarks.run", "--net", "lenet", "--fw", framework, "--device", "cuda"]
    done = subprocess.run([*command, "--quick", "--json", "--out", str(tmp_path), *pythons], capture_output=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / "run.json").read_text())
    assert row["status"] == "ok" and row["device"] == "cuda" and row["peak_memory_mib"] > 0
    assert record["machine"]["gpu"] == machine.gpu()
