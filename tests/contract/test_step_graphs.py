"""Mode "graph" of PyTorch takes the steps of mode "". The capture itself needs a GPU; all else is tested without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.runtime.worker_client import WorkerClient
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights, initial
from frameworks.errors import Unavailable
from frameworks.spec import BatchNorm, Conv, Dense, Dropout, Flatten, GlobalAvgPool, Network, ReLU, Scale
from frameworks.training import SGD, Adadelta, Adam, RMSprop, Training
from tests.conftest import THREADS, Bench

ADAPTER = Path(__file__).parents[1] / "graph_adapter.py"
NET = Network("small", (3, 8, 8), [
    Scale("pixels"), Conv("C", 6, 3, 1, 1), BatchNorm("B"), ReLU("R"), GlobalAvgPool("G"), Flatten("F"),
    Dropout("drop", rate=0.25), Dense("D", 10),
])  # fmt: skip
IMAGE_COUNT, BATCH_SIZE, STEPS = 52, 8, 7  # the last batch has four images
LRS = [0.05, 0.05, 0.05, 0.02, 0.02, 0.01, 0.01]
FACTORS = (("D.*", 2.0),)
TRAININGS = {
    "momentum": Training(SGD(momentum=0.9, weight_decay=1e-3)),
    "nesterov, clipped": Training(SGD(momentum=0.9, nesterov=True), clip_norm=0.1, label_smoothing=0.1),
    "decoupled": Training(SGD(momentum=0.9, weight_decay=1e-2, decoupled=True), lr_factors=FACTORS),
    "in the velocity": Training(SGD(momentum=0.9, lr_in_velocity=True), average=0.8),
    "adam": Training(Adam(weight_decay=1e-3), clip_norm=0.1, average=0.8),
    "adamw": Training(Adam(weight_decay=1e-2, decoupled=True), lr_factors=FACTORS),
    "rmsprop": Training(RMSprop(momentum=0.9), average=0.8),
    "adadelta": Training(Adadelta(), clip_norm=0.1),
}
REFUSED = {
    "Adam of epsilon_hat": (Training(Adam(epsilon_hat=True)), "float32", "epsilon_hat"),
    "decay times the learning rate": (
        Training(SGD(momentum=0.9, weight_decay=1e-3, lr_in_velocity=True)), "float32", "lr_in_velocity",
    ),
    "RMSprop with epsilon inside": (Training(RMSprop(epsilon_inside=True)), "float32", "RMSprop"),
    "float16": (Training(), "float16", "float16"),
}  # fmt: skip


@dataclass
class Run:
    """Two slices, the second from the weights that the first has left, and then the first again."""

    losses: list[list[float]]
    correct: list[int]
    weights: list[Weights]
    logits: list[Array]


@pytest.fixture(scope="module")
def sessions(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, WorkerClient]]:
    """Workers of the adapter, and of the two classes that call steps on the host."""
    log, python = tmp_path_factory.mktemp("graphs") / "log", bench.python("torch")
    made = {
        name: WorkerClient(python, str(ADAPTER), name, threads=THREADS, log=log)
        for name in ("PyTorch", "OnTheHost", "WarmUpsCount")
    }
    yield made
    for session in made.values():
        session.close()


def ran(session: WorkerClient, training: Training, mode: str) -> Run:
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (IMAGE_COUNT, *NET.input), dtype=np.uint8)
    labels, order = stream.integers(0, 10, IMAGE_COUNT), stream.permutation(IMAGE_COUNT)
    session.build(NET, training, Setting(precision="float64", threads=THREADS, mode=mode))
    start, run = initial(NET, seed=1), Run([], [], [], [])
    session.load("train", images, labels)
    session.load("test", images, labels)
    for seed, weights in ((3, start), (4, None), (3, start)):
        if weights is not None:
            session.set_weights(weights)
        done = session.train(order, BATCH_SIZE, LRS, stop=len(order), seed=seed)
        run.losses.append(done.losses)
        run.correct.append(done.correct)
        run.weights.append(dict(session.get_weights()))
        run.logits.append(session.predict("test", BATCH_SIZE))
    return run


@pytest.mark.parametrize("name", TRAININGS)
def test_steps_are_those_of_eager_mode(sessions: dict[str, WorkerClient], name: str) -> None:
    """In a second slice, too, and after weights are set again, which the graphs survive."""
    right = ran(sessions["PyTorch"], TRAININGS[name], "")
    found = ran(sessions["OnTheHost"], TRAININGS[name], "graph")
    assert found.correct == right.correct
    for one, other in zip(found.losses, right.losses):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    for arrays, expected in zip(found.weights, right.weights):
        assert arrays.keys() == expected.keys() and int(arrays["step"]) in (STEPS, 2 * STEPS)
        for array, value in expected.items():
            assert np.abs(arrays[array] - value).max() <= 1e-12 * max(1, np.abs(value).max()), array
    for logits, values in zip(found.logits, right.logits):
        np.testing.assert_allclose(logits, values, rtol=0, atol=1e-12 * np.abs(values).max())
    assert found.losses[0] == found.losses[2]


def test_steps_before_the_capture_would_be_seen(sessions: dict[str, WorkerClient]) -> None:
    right = ran(sessions["OnTheHost"], TRAININGS["adam"], "graph")
    wrong = ran(sessions["WarmUpsCount"], TRAININGS["adam"], "graph")
    assert max(np.abs(np.subtract(wrong.losses[0], right.losses[0]))) > 1e-6


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_host_computes_in_each_step_is_refused(sessions: dict[str, WorkerClient], name: str) -> None:
    training, precision, reason = REFUSED[name]
    with pytest.raises(Unavailable, match=f"no CUDA graph of a step: .*{reason}"):
        sessions["OnTheHost"].build(NET, training, Setting(precision=precision, threads=THREADS, mode="graph"))  # type: ignore[arg-type]


def test_a_cpu_has_no_graphs(bench: Bench) -> None:
    with pytest.raises(Unavailable, match=r"^CUDA graphs need a CUDA device$"):
        bench.session("torch").build(NET, Training(), Setting(threads=THREADS, mode="graph"))
