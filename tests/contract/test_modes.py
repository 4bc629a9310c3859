"""Every mode of a framework that a CPU has computes the losses, logits and weights of the reference."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights, initial
from frameworks.errors import Unavailable
from frameworks.networks import NETWORKS
from frameworks.numpy_reference import Reference
from frameworks.registry import FRAMEWORKS, trained
from frameworks.spec import Network, Scale, to_json
from frameworks.training import SGD, Training
from tests.conftest import THREADS, Bench

MODES = [(name, mode) for name in trained() for mode in ("", *FRAMEWORKS[name].modes_on("cpu"))]
NETS = ["lenet_bn"]  # has every kind of layer of lenet; to compile takes up to 40 seconds
TRAINING = Training(SGD(momentum=0.9, weight_decay=1e-3))
IMAGE_COUNT, BATCH_SIZE, LRS = 28, 12, [0.05, 0.05, 0.02]  # the last batch of three is shorter
# Rounding is 1e-16 and 6e-8. A sum of about 1e3 products accumulates thirty of them, and two updates propagate them;
# batch norm divides by deviations below 1. results/certificate has 1e-4 and 2e-13 for lenet_bn after ten steps.
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
SLICE = {"start": 0, "stop": IMAGE_COUNT, "batch_size": BATCH_SIZE, "lrs": LRS, "seed": 0}


def network(name: str) -> Network:
    """The network with its pixels scaled to 0..1."""
    plain = NETWORKS[name]()
    return plain.after(Scale("pixels"), input=plain.input)


def given(net: Network) -> tuple[Weights, Array, Array]:
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (IMAGE_COUNT, *net.input), dtype=np.uint8)
    return initial(net, seed=1), images, stream.integers(0, net.classes, IMAGE_COUNT)


@cache
def right(name: str, departures: tuple[str, ...]) -> tuple[Array, Weights, Array]:
    """The losses, final weights and logits of the reference."""
    net = network(name)
    weights, images, labels = given(net)
    reference = Reference(net, TRAINING, Setting(), departures)
    reference.set_weights(weights)
    reference.load("train", images, labels)
    reference.load("test", images, labels)
    losses = reference.train(np.arange(IMAGE_COUNT), BATCH_SIZE, np.array(LRS), 0).losses
    return losses, reference.get_weights(), reference.predict("test", BATCH_SIZE)


def build(bench: Bench, framework: str, mode: str, net: Network, precision: str) -> dict[str, Any]:
    where = {"device": "cpu", "precision": precision, "threads": THREADS, "mode": mode}
    asked = {"network": to_json(net), "training": TRAINING.to_json(), "setting": where}
    return bench.session(framework).request("build", **asked)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("framework, mode", MODES)
def test_every_mode_computes_the_same(bench: Bench, framework: str, mode: str, name: str, precision: str) -> None:
    """Losses of two full batches and a shorter one, then all arrays, and the logits of these arrays."""
    net = network(name)
    weights, images, labels = given(net)
    departures = tuple(build(bench, framework, mode, net, precision)["departures"])
    session = bench.session(framework)
    np.savez(bench.scratch / "start.npz", **weights)  # type: ignore[arg-type]
    session.request("set_weights", path=str(bench.scratch / "start.npz"))
    bench.load(framework, "train", images, labels)
    bench.load(framework, "test", images, labels)
    losses = session.request("train", order=bench.file(np.arange(IMAGE_COUNT)), **SLICE)["losses"]
    _, found = bench.arrays(framework, "get_weights")
    _, logits = bench.arrays(framework, "predict", split="test", batch_size=BATCH_SIZE)
    expected, arrays, outputs = right(name, departures)
    assert np.abs(losses / expected - 1).max() <= TOLERANCE[precision]
    assert np.abs(logits - outputs).max() <= TOLERANCE[precision] * np.abs(outputs).max()
    for array in net.parameters:
        apart = np.abs(found[array.name] - arrays[array.name]).max()
        assert apart <= TOLERANCE[precision] * max(np.abs(arrays[array.name]).max(), LRS[0]), array.name


@pytest.mark.parametrize("framework, mode", MODES)
def test_the_settings_name_the_mode(bench: Bench, framework: str, mode: str) -> None:
    """No two modes of a framework report the same settings."""
    modes = FRAMEWORKS[framework].modes_on("cpu")
    settings = [build(bench, framework, each, network("mlp"), "float32")["settings"] for each in (mode, *modes, "")]
    assert [other == settings[0] for other in settings[1:]] == [each == mode for each in (*modes, "")]


@pytest.mark.parametrize("framework", trained())
def test_an_unknown_mode_is_refused(bench: Bench, framework: str) -> None:
    info = FRAMEWORKS[framework]
    with pytest.raises(Unavailable) as refused:
        build(bench, framework, "warp", network("mlp"), "float32")
    there = ", ".join(map(repr, ("", *info.modes)))
    assert str(refused.value) == f"{info.title} has no mode 'warp'; there are {there}"
