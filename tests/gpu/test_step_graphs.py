"""On a GPU, the modes of PyTorch that replay CUDA graphs take the steps of mode ""."""

from __future__ import annotations

import numpy as np
import pytest

from frameworks.adapter import Setting
from frameworks.arrays import Weights, initial
from frameworks.training import SGD, Adam, RMSprop, Training
from tests.conftest import THREADS, Bench
from tests.contract.test_step_graphs import BATCH_SIZE, IMAGE_COUNT, LRS, NET

# Of seven steps in float32 with other kernels; the masks of dropout are the same, or losses differ by tenths.
LIMIT = 1e-4
TRAININGS = {
    "momentum": Training(SGD(momentum=0.9, weight_decay=1e-3), clip_norm=0.1, average=0.8),
    "adam": Training(Adam(weight_decay=1e-2, decoupled=True)),
    "rmsprop": Training(RMSprop(momentum=0.9)),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_replayed_steps_are_those_of_eager_mode(gpu_bench: Bench, name: str) -> None:
    eager, graph = (losses_and_weights(gpu_bench, TRAININGS[name], mode) for mode in ("", "graph"))
    assert np.abs(np.subtract(graph[0], eager[0])).max() <= LIMIT * max(eager[0])
    for array, value in eager[1].items():
        assert np.abs(graph[1][array] - value).max() <= LIMIT * max(1, np.abs(value).max()), array


def losses_and_weights(bench: Bench, training: Training, mode: str) -> tuple[list[float], Weights]:
    """Of two slices."""
    stream, session = np.random.default_rng(0), bench.session("torch")
    images = stream.integers(0, 256, (IMAGE_COUNT, *NET.input), dtype=np.uint8)
    labels, order = stream.integers(0, 10, IMAGE_COUNT), stream.permutation(IMAGE_COUNT)
    session.build(NET, training, Setting(device="cuda", threads=THREADS, mode=mode))
    session.set_weights(initial(NET, seed=1))
    session.load("train", images, labels)
    slices = [session.train(order, BATCH_SIZE, LRS, stop=len(order), seed=seed) for seed in (3, 4)]
    return [loss for each in slices for loss in each.losses], dict(session.get_weights())
