"""The hand-written training loops train the networks on which they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.runtime.environments import FrameworkRequest
from benchmarks.runtime.worker_client import WorkerClient
from frameworks.adapter import Setting
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from research import loop_timing
from research.baselines import compare
from research.baselines.compare import BARE, LOOPS
from research.loop_timing import CASES, IN_ALL, Launch, LoopSamples, TimedLoops
from tests.conftest import THREADS, Bench

KINDS = [
    (framework, kind)
    for framework in FRAMEWORKS
    if loop_timing.file_of("baselines", FrameworkRequest(framework))
    for kind in LOOPS.get(framework, BARE).values()
]


@pytest.mark.parametrize("framework, kind", KINDS)
@pytest.mark.parametrize("name", IN_ALL)
def test_a_bare_loop_trains_the_network(bench: Bench, tmp_path: Path, name: str, framework: str, kind: str) -> None:
    case = CASES[name]
    net = NETWORKS[name](classes=10).with_input(case.input)
    file = loop_timing.file_of("baselines", FrameworkRequest(framework))
    images = np.random.default_rng(0).integers(0, 256, (4, *case.input), dtype=np.uint8)
    python = bench.python(framework)
    with WorkerClient(python, str(file), kind, threads=THREADS, log=tmp_path / "log", timeout=300) as worker:
        built = worker.build(net, case.training, Setting("cpu", "float32", THREADS))
        assert sum(prod(shape) for shape, _ in built.arrays.values()) == net.params
        for split in ("train", "test"):
            worker.load(split, images, np.arange(4))
        losses = worker.train(np.arange(4).repeat(10), 4, [0.01] * 10, stop=40, seed=0).losses
        assert len(losses) == 10 and np.isfinite(losses).all() and losses[0] != losses[-1]
        correct = 4 * worker.evaluate("test", 2).accuracy
        assert correct in range(5), "all four images are predicted"


def samples(train: Sequence[float], predict: Sequence[float] = ()) -> LoopSamples:
    return LoopSamples("1.0", list(train), list(predict), peak=1)


def test_a_loop_with_fewer_rounds_is_compared_in_the_first_rounds() -> None:
    launches: list[Launch] = [
        {"adapter": samples([1.0, 1.0, 9.0, 9.0]), "article": samples([3.0, 3.0])},
        {"adapter": samples([2.0, 2.0, 9.0]), "article": samples([6.0, 6.0])},
        {"adapter": samples([1.0])},
    ]
    ratio = loop_timing.ratio(launches, "adapter", "article", "train")
    assert ratio and ratio.value == pytest.approx(3.0)
    assert loop_timing.ratio(launches, "adapter", "bare", "train") is None


def test_the_fastest_bare_loop_and_the_best_mode_are_selected() -> None:
    seconds = {"adapter": (2.0, 1.0), "bare": (2.0, 0.5), "channels last": (1.0, 1.0), "article": (6.0, 1.0)}
    seconds |= {":compile": (1.5, 1.0), ":warp": (3.0, 1.0)}
    launch: Launch = {loop: samples([train] * 3, [predict] * 3) for loop, (train, predict) in seconds.items()}
    assert compare.fastest([launch], "train") == "channels last" and compare.fastest([launch], "predict") == "bare"
    assert compare.best_mode([launch, launch]) == "4.000 (4.000 to 4.000), :compile"
    assert compare.best_mode([{"adapter": launch["adapter"], "bare": launch["bare"]}]) == ""


def test_every_mode_of_an_adapter_is_compared_with_the_article(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "environment", lambda *_, **__: SimpleNamespace(python=Path("python")))
    loops = compare.loops("lenet", FrameworkRequest("torch"), Path("python"))
    assert {name: loop.mode for name, loop in loops.items() if loop.mode} == {":compile": "compile"}
    others = compare.loops("resnet18", FrameworkRequest("torch"), Path("python"))
    assert not any(loop.mode for loop in others.values())


def test_a_framework_without_a_bare_loop_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    info = FrameworkInfo("new", "New", "frameworks.new", "New", "new", python=">=3.10")
    monkeypatch.setitem(FRAMEWORKS, "new", info)
    asked = FrameworkRequest("new")
    assert compare.loops("lenet", asked, Path("python")).keys() == {"adapter"}
    row = compare.row(TimedLoops("lenet", asked, []))
    assert row[:3] == ("lenet", "New", "no bare loop yet") and len(row) == len(compare.HEAD)
