"""The same network in every framework: the same arrays, the same logits, the same losses, in both precisions."""

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
RATE = 0.01  # at 0.1 a ReLU or a maximum that tips over in float32 has been seen to grow to 1e-2 within ten steps
# Rounding is 6e-8 and 1e-16; a logit sums some 1e3 products, and 20 steps let differences grow ten-fold.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


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
def outcome(bench: Bench, pictures: Callable[[str], tuple[Array, Array]]) -> Callable[[str, str, str], Outcome]:
    """What a network gives in a framework, from the same weights on the same pictures in the same order."""

    @cache
    def compute(name: str, framework: str, precision: str) -> Outcome:
        net = on_pictures(NETWORKS[name]())
        bench.build(framework, net, Training(SGD()), precision, weights=initial(net, seed=1))
        images, labels = pictures("train")
        bench.load(framework, "train", images, labels)
        bench.load(framework, "test", images[:100], labels[:100])
        _, logits = bench.arrays(framework, "predict", split="test", batch_size=64)
        order = bench.file(np.random.default_rng(2).permutation(len(images)))
        slice_ = {"start": 0, "stop": STEPS * BATCH, "batch_size": BATCH, "rates": [RATE] * STEPS, "seed": 3}
        losses = bench.session(framework).request("train", order=order, **slice_)["losses"]
        return Outcome(logits, np.array(losses))

    return compute


def on_pictures(net: Network) -> Network:
    """The network on 28 x 28 grey pictures of 0 to 255."""
    grey = net.with_input((1, *net.input[1:]))
    resize = [Resize("resize", *net.input[1:])] if net.input[1:] != (28, 28) else []
    return grey.after(Scale("pixels"), *resize, input=(1, 28, 28))


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("pair", list(combinations(REALISATIONS, 2)), ids="-".join)
@pytest.mark.parametrize("name", SMALL)
def test_logits_agree(
    outcome: Callable[[str, str, str], Outcome], name: str, pair: tuple[str, str], precision: str
) -> None:
    one, other = (outcome(name, framework, precision).logits for framework in pair)
    assert one.shape == other.shape == (100, 10) and one.dtype == other.dtype == precision
    assert np.abs(one - other).max() <= TOLERANCE[precision] * np.abs(one).max()


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("pair", list(combinations(REALISATIONS, 2)), ids="-".join)
@pytest.mark.parametrize("name", SMALL)
def test_losses_agree_over_twenty_steps(
    outcome: Callable[[str, str, str], Outcome], name: str, pair: tuple[str, str], precision: str
) -> None:
    one, other = (outcome(name, framework, precision).losses for framework in pair)
    assert len(one) == len(other) == STEPS
    assert (np.abs(one - other) <= TOLERANCE[precision] * np.abs(one)).all()


@pytest.mark.parametrize("framework", REALISATIONS)
@pytest.mark.parametrize("name", SMALL)
def test_training_lowers_the_loss(
    bench: Bench, pictures: Callable[[str], tuple[Array, Array]], name: str, framework: str
) -> None:
    net = on_pictures(NETWORKS[name]())
    bench.build(framework, net, Training(SGD(momentum=0.9)), weights=initial(net, seed=1, scheme="he_normal"))
    bench.load(framework, "train", *pictures("train"))
    slice_ = {"start": 0, "stop": 2_000, "batch_size": 32, "rates": [0.05] * 63, "seed": 3}
    order = bench.file(np.random.default_rng(2).permutation(2_000))
    first, second = (bench.session(framework).request("train", order=order, **slice_)["losses"] for _ in range(2))
    assert np.mean(second) < np.mean(first)
