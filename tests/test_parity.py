"""The same network in every framework: the same arrays, the same logits, the same losses.

Float32 and 1e-5 relative is what issue-level trust needs; the proof to rounding, in float64, is `benchmarks.verify`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import prod

import numpy as np
import pytest

from frameworks.adapter import Array
from frameworks.networks import NETWORKS
from frameworks.registry import REALISATIONS
from frameworks.spec import Network, Resize, Scale
from frameworks.training import SGD, Training
from frameworks.weights import initial
from tests.conftest import Bench

SMALL = ["lenet", "lenet_relu", "lenet_cifar", "mlp", "cnn"]
STEPS, BATCH = 20, 32
# Float32 has 6e-8; a logit sums some 1e3 products, and 20 steps let differences grow ten-fold.
TOLERANCE = 1e-5


@pytest.mark.parametrize("framework", REALISATIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_parameters(bench: Bench, name: str, framework: str) -> None:
    """Names, shapes, what is trained, per layer and in total: as the spec says, in the framework's own words."""
    net = NETWORKS[name]()
    built = bench.build(framework, net)["arrays"]
    assert built == {parameter.name: [list(parameter.shape), parameter.trainable] for parameter in net.parameters}
    assert sum(prod(shape) for shape, trained in built.values() if trained) == net.trainable
    assert sum(prod(shape) for shape, trained in built.values() if not trained) == net.running


@dataclass
class Outcome:
    logits: Array
    losses: Array


@pytest.fixture(scope="module")
def outcome(bench: Bench, pictures: Callable[[str], tuple[Array, Array]]) -> Callable[[str, str], Outcome]:
    """What a network gives in a framework, from the same weights on the same pictures in the same order."""

    @cache
    def compute(name: str, framework: str) -> Outcome:
        net = on_pictures(NETWORKS[name]())
        bench.build(framework, net, Training(SGD()), weights=initial(net, seed=1))
        images, labels = pictures("train")
        bench.load(framework, "train", images, labels)
        bench.load(framework, "test", images[:100], labels[:100])
        _, logits = bench.arrays(framework, "predict", split="test", batch_size=64)
        order = bench.file(np.random.default_rng(2).permutation(len(images)))
        slice_ = {"start": 0, "stop": STEPS * BATCH, "batch_size": BATCH, "rates": [0.1] * STEPS, "seed": 3}
        losses = bench.session(framework).request("train", order=order, **slice_)["losses"]
        return Outcome(logits, np.array(losses))

    return compute


def on_pictures(net: Network) -> Network:
    """The network on 28 x 28 grey pictures of 0 to 255."""
    grey = net.with_input((1, *net.input[1:]))
    resize = [Resize("resize", *net.input[1:])] if net.input[1:] != (28, 28) else []
    return grey.after(Scale("pixels"), *resize, input=(1, 28, 28))


@pytest.mark.parametrize("pair", list(combinations(REALISATIONS, 2)), ids="-".join)
@pytest.mark.parametrize("name", SMALL)
def test_logits_agree(outcome: Callable[[str, str], Outcome], name: str, pair: tuple[str, str]) -> None:
    one, other = (outcome(name, framework).logits for framework in pair)
    assert one.shape == other.shape == (100, 10)
    assert np.abs(one - other).max() <= TOLERANCE * np.abs(one).max()


@pytest.mark.parametrize("pair", list(combinations(REALISATIONS, 2)), ids="-".join)
@pytest.mark.parametrize("name", SMALL)
def test_losses_agree_over_twenty_steps(
    outcome: Callable[[str, str], Outcome], name: str, pair: tuple[str, str]
) -> None:
    one, other = (outcome(name, framework).losses for framework in pair)
    assert len(one) == len(other) == STEPS
    assert (np.abs(one - other) <= TOLERANCE * np.abs(one)).all()


@pytest.mark.parametrize("framework", REALISATIONS)
@pytest.mark.parametrize("name", SMALL)
def test_the_loss_falls(outcome: Callable[[str, str], Outcome], name: str, framework: str) -> None:
    losses = outcome(name, framework).losses
    assert losses[-5:].mean() < losses[:5].mean()
