"""The check against the reference, on real frameworks where rounding errors grow fastest: none is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.runtime.errors import Refused
from benchmarks.timing.sanity_checks import ReferenceCheck
from frameworks.arrays import Array, Weights, initial
from frameworks.networks import NETWORKS
from frameworks.registry import trained
from frameworks.spec import Network, Scale
from frameworks.training import SGD, Adam, Optimizer, Training
from tests.conftest import Bench

# Batch norm in the last stage computes its statistics over one value per image.
PLAIN = NETWORKS["resnet18"](classes=10).with_input((3, 32, 32))
NET: Network = PLAIN.after(Scale("pixels"), input=PLAIN.input)
RULES: dict[str, tuple[Optimizer, float]] = {"adam": (Adam(), 1e-4), "momentum": (SGD(momentum=0.9), 0.01)}
BATCH = 128  # the check uses a part of it


@cache
def given() -> tuple[Weights, Array, Array]:
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (2 * BATCH, *NET.input), dtype=np.uint8)
    return initial(NET, seed=0), images, stream.integers(0, NET.classes, len(images))


@cache
def check(rule: str) -> ReferenceCheck:
    optimizer, lr = RULES[rule]
    weights, images, labels = given()
    return ReferenceCheck.compute(NET, Training(optimizer), "train", weights, images, labels, BATCH, lr)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("framework", trained())
def test_frameworks_pass_although_batch_norm_amplifies_rounding(bench: Bench, framework: str, rule: str) -> None:
    reference, (weights, images, labels) = check(rule), given()
    bench.build(framework, reference.network, Training(RULES[rule][0]), weights=weights)
    bench.load(framework, "train", images, labels)
    slice_ = {
        "order": bench.file(reference.order),
        "start": 0,
        "stop": len(reference.order),
        "batch_size": reference.batch_size,
    }
    losses = bench.session(framework).request("train", lrs=[reference.lr] * reference.steps, seed=0, **slice_)["losses"]
    reference.compare(losses, "float32")
    with pytest.raises(
        Refused, match="the loss of step 2 is off"
    ):  # the first step is skipped, before rounding errors have grown
        reference.compare([losses[0], *losses[:-1]], "float32")
