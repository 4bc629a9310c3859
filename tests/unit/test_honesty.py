"""The check before a speed counts, on real frameworks where rounding grows fastest: none that is honest is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.runtime.errors import Refused
from benchmarks.timing.sanity_checks import Check
from frameworks.arrays import Array, Weights, initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network, Scale
from frameworks.training import SGD, Adam, Optimizer, Training
from tests.conftest import Bench

# Batch norm at its last stage takes its statistics over one value a picture.
PLAIN = NETWORKS["resnet18"](classes=10).with_input((3, 32, 32))
NET: Network = PLAIN.after(Scale("pixels"), input=PLAIN.input)
RULES: dict[str, tuple[Optimizer, float]] = {"adam": (Adam(), 1e-4), "momentum": (SGD(momentum=0.9), 0.01)}
BATCH = 128  # of which the check takes a few


@cache
def given() -> tuple[Weights, Array, Array]:
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (2 * BATCH, *NET.input), dtype=np.uint8)
    return initial(NET, seed=0), images, stream.integers(0, NET.classes, len(images))


@cache
def check(rule: str) -> Check:
    optimizer, rate = RULES[rule]
    weights, images, labels = given()
    return Check.of(NET, Training(optimizer), "train", weights, images, labels, BATCH, rate)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_honest_pass_where_batch_norm_lets_rounding_grow(bench: Bench, framework: str, rule: str) -> None:
    made, (weights, images, labels) = check(rule), given()
    bench.build(framework, made.network, Training(RULES[rule][0]), weights=weights)
    bench.load(framework, "train", images, labels)
    slice_ = {"order": bench.file(made.order), "start": 0, "stop": len(made.order), "batch_size": made.batch_size}
    losses = bench.session(framework).request("train", lrs=[made.rate] * made.steps, seed=0, **slice_)["losses"]
    made.judge(losses, "float32")
    with pytest.raises(Refused, match="the loss of step 2 is off"):  # the first step skipped: too early for chaos
        made.judge([losses[0], *losses[:-1]], "float32")
