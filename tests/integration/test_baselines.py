"""The bare loops train the networks that they are said to train."""

from __future__ import annotations

from math import prod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.runtime.environments import FrameworkRequest
from benchmarks.runtime.worker_client import Session
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import to_json
from research.baselines import compare, contest
from research.baselines.compare import LOOPS
from research.baselines.contest import CASES
from tests.conftest import THREADS, Bench

KINDS = [(framework, kind) for framework in FRAMEWORKS for kind in LOOPS.get(framework, {"bare": "Bare"}).values()]


@pytest.mark.parametrize("framework, kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_a_bare_loop_trains_the_network(bench: Bench, tmp_path: Path, name: str, framework: str, kind: str) -> None:
    case = CASES[name]
    net = NETWORKS[name](classes=10).with_input(case.input)
    file = Path(compare.__file__).parent / f"{FRAMEWORKS[framework].module.rpartition('.')[2]}.py"
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
        assert sum(prod(shape) for shape, _ in built["arrays"].values()) == net.params
        for split in ("train", "test"):
            worker.request("load", split=split, images=images, labels=labels, count=4)
        slice_ = {"order": order, "start": 0, "stop": 40, "batch_size": 4, "seed": 0}
        losses = worker.request("train", lrs=[0.01] * 10, **slice_)["losses"]
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


def test_the_best_mode_is_held_against_the_article_and_the_bare_loops_against_the_adapter() -> None:
    def loop(train: float, predict: float = 1.0) -> dict[str, list[float]]:
        return {"train": [train] * 3, "predict": [predict] * 3}

    loops = {"adapter": loop(2.0), "bare": loop(2.0, 0.5), "channels last": loop(1.0), "article": loop(6.0)}
    one: contest.Launch = {**loops, ":compile": loop(1.5), ":warp": loop(3.0)}  # type: ignore[dict-item]
    assert compare.fastest([one], "train") == "channels last" and compare.fastest([one], "predict") == "bare"
    assert compare.best_mode([one, one]) == "4.000 (4.000 to 4.000), :compile"
    assert compare.best_mode([{"adapter": one["adapter"], "bare": one["bare"]}]) == ""


def test_every_mode_of_an_adapter_is_beside_the_article(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "environment", lambda *_, **__: SimpleNamespace(python=Path("python")))
    loops = compare.contenders("lenet", FrameworkRequest("torch"), Path("python"))
    assert {loop: who.mode for loop, who in loops.items() if who.mode} == {":compile": "compile"}
    assert not any(
        who.mode for who in compare.contenders("resnet18", FrameworkRequest("torch"), Path("python")).values()
    )
