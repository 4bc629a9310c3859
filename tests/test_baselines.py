"""The bare loops train the networks that they are said to train."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest

from benchmarks.baselines import compare, contest
from benchmarks.baselines.compare import LOOPS
from benchmarks.baselines.contest import CASES
from benchmarks.session import Session
from frameworks.networks import NETWORKS
from frameworks.registry import REALISATIONS
from frameworks.spec import to_json
from tests.conftest import THREADS, Bench

KINDS = [(framework, kind) for framework in REALISATIONS for kind in LOOPS.get(framework, {"bare": "Bare"}).values()]


@pytest.mark.parametrize("framework, kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_a_bare_loop_trains_the_network(bench: Bench, tmp_path: Path, name: str, framework: str, kind: str) -> None:
    case = CASES[name]
    net = NETWORKS[name](classes=10).with_input(case.input)
    file = Path(compare.__file__).parent / f"{REALISATIONS[framework].module.rpartition('.')[2]}.py"
    images, labels, order = (str(tmp_path / f"{what}.npy") for what in ("images", "labels", "order"))
    stream = np.random.default_rng(0)
    np.save(images, stream.integers(0, 256, (4, *case.input), dtype=np.uint8))
    np.save(labels, np.arange(4))
    np.save(order, np.arange(4).repeat(10))
    with Session(
        bench.python(framework), str(file), kind, threads=THREADS, log=tmp_path / "log", timeout=300
    ) as worker:
        worker.receive()
        where = {"device": "cpu", "precision": "float32", "threads": THREADS, "mode": ""}
        built = worker.request("build", network=to_json(net), training=case.training.to_json(), setting=where)
        assert sum(prod(shape) for shape, _ in built["arrays"].values()) == net.trainable
        for split in ("train", "test"):
            worker.request("load", split=split, images=images, labels=labels, count=4)
        slice_ = {"order": order, "start": 0, "stop": 40, "batch_size": 4, "seed": 0}
        losses = worker.request("train", rates=[0.01] * 10, **slice_)["losses"]
        assert len(losses) == 10 and np.isfinite(losses).all() and losses[0] != losses[-1]
        right = 4 * worker.request("evaluate", split="test", batch_size=2)["accuracy"]
        assert right in range(5), "all four pictures are predicted"


def test_a_loop_with_fewer_rounds_is_held_against_the_first_ones_of_the_other() -> None:
    launches: list[contest.Launch] = [
        {"adapter": {"train": [1.0, 1.0, 9.0, 9.0]}, "article": {"train": [3.0, 3.0]}},
        {"adapter": {"train": [2.0, 2.0, 9.0]}, "article": {"train": [6.0, 6.0]}},
        {"adapter": {"train": [1.0]}},
    ]
    found = contest.ratio(launches, "adapter", "article", "train")
    assert found and found.value == pytest.approx(3.0)
    assert contest.ratio(launches, "adapter", "bare", "train") is None
