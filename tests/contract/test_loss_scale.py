"""The loss scale of float16 moves as `LossScale` says, wherever a mode keeps it: in a graph, in a scan, in Python."""

from __future__ import annotations

import numpy as np
import pytest

from frameworks.arrays import Weights, initial
from frameworks.registry import FRAMEWORKS
from frameworks.spec import BatchNorm, Conv, Dense, Flatten, Network, ReLU, Scale, to_json
from frameworks.training import FINITE_STEPS, LOSS_SCALE, SCALE, Adam, Training
from tests.conftest import THREADS, Bench

NAMES = ("jax", "keras", "keras@jax")
MODES = [(name, mode) for name in NAMES for mode in ("", *FRAMEWORKS[name].modes)]
TRAINING = Training(Adam(), average=0.9)
STEPS, BATCH_SIZE = 20, 3  # with a scan, a block of 16 steps and 4 more
NET = Network(
    "net",
    (2, 5, 5),
    [Scale("px"), Conv("c", 3, 3), BatchNorm("bn"), ReLU("r"), Flatten("f"), Dense("out", 4)],
)


def trained(bench: Bench, framework: str, mode: str, weights: Weights, steps: int = STEPS) -> Weights:
    """All arrays after so many steps from these."""
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (BATCH_SIZE * STEPS, *NET.input), dtype=np.uint8)
    where = {"device": "cpu", "precision": "float16", "threads": THREADS, "mode": mode}
    session = bench.session(framework)
    session.request("build", network=to_json(NET), training=TRAINING.to_json(), setting=where)
    np.savez(bench.scratch / "start.npz", **weights)  # type: ignore[arg-type]
    session.request("set_weights", path=str(bench.scratch / "start.npz"))
    bench.load(framework, "train", images, stream.integers(0, NET.classes, len(images)))
    order = bench.file(np.arange(len(images)))
    slice_ = {"start": 0, "stop": steps * BATCH_SIZE, "batch_size": BATCH_SIZE, "lrs": [0.01] * steps, "seed": 0}
    session.request("train", order=order, **slice_)
    return bench.arrays(framework, "get_weights")[1]


def start(scale: float, finite_steps: int) -> Weights:
    arrays = {name: array.astype(np.float32) for name, array in initial(NET, seed=1).items()}
    return arrays | {SCALE: np.array(scale, np.float32), FINITE_STEPS: np.array(finite_steps)}


@pytest.mark.parametrize("framework, mode", MODES)
def test_the_scale_grows_after_an_interval(bench: Bench, framework: str, mode: str) -> None:
    found = trained(bench, framework, mode, start(16.0, LOSS_SCALE.interval - 10))
    assert (found[SCALE], found[FINITE_STEPS], found["step"]) == (32.0, STEPS - 10, STEPS)


@pytest.mark.parametrize("framework, mode", MODES)
def test_skipped_steps_are_not_counted(bench: Bench, framework: str, mode: str) -> None:
    """From a scale that is too large, it is halved until the gradients are finite, and the steps are taken then."""
    found = trained(bench, framework, mode, start(2.0**30, LOSS_SCALE.interval - 1))
    skipped = 30 - np.log2(found[SCALE])
    assert 5 < skipped < STEPS and skipped == int(skipped)
    assert found["step"] == STEPS - skipped
    assert found[FINITE_STEPS] <= found["step"]


@pytest.mark.parametrize("framework, mode", MODES)
def test_a_skipped_step_changes_running_statistics_alone(bench: Bench, framework: str, mode: str) -> None:
    begin = start(16.0, 0)
    before = trained(bench, framework, mode, begin, steps=2)
    after = trained(bench, framework, mode, before | {SCALE: np.array(2.0**40, np.float32)}, steps=1)
    buffers = {each.name for each in NET.parameters if not each.trainable}
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == buffers | {SCALE, FINITE_STEPS}
    assert after[SCALE] == 2.0**39 and after[FINITE_STEPS] == 0


@pytest.mark.parametrize("framework", [name for name, mode in MODES if mode == "scan"])
def test_a_scan_takes_the_steps_of_the_other_mode(bench: Bench, framework: str) -> None:
    """Among them steps that are not taken, and the bias correction of Adam, whose count leaves them out."""
    begin = start(2.0**24, 0)
    one, other = (trained(bench, framework, mode, begin) for mode in ("", "scan"))
    assert one["step"] == other["step"] < STEPS
    for name in one:
        assert np.abs(one[name] - other[name]).max() <= 1e-2 * max(np.abs(one[name]).max(), 0.01), name
