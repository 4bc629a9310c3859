"""The arrays of a network before and after a step say what kind of step it was."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.porting.between import own_steps
from benchmarks.porting.between.own_steps import FittedStep
from benchmarks.verification.case_weights import revealing_weights
from frameworks.adapter import Setting
from frameworks.arrays import Weights
from frameworks.networks import NETWORKS
from frameworks.numpy_reference import Reference
from frameworks.spec import Conv, Dense, Dropout, Flatten, Network
from frameworks.training import SGD, Adam, RMSprop, Training

NETWORK = NETWORKS["lenet_bn"]()
STREAM = np.random.default_rng(0)
IMAGES, LABELS = STREAM.normal(0, 1, (4, *NETWORK.input)), STREAM.integers(0, 10, 4)
WEIGHTS = revealing_weights(NETWORK, 0)

STEPS = {
    "plain": (Training(SGD()), 0.1, FittedStep("SGD", 0.1)),
    "momentum": (Training(SGD(momentum=0.9)), 0.1, FittedStep("SGD", 0.1)),  # the first step has no momentum
    "smoothing": (Training(SGD(), label_smoothing=0.1), 0.05, FittedStep("SGD", 0.05, 0.1)),
    "decay": (Training(SGD(weight_decay=5e-4), decay_all=True), 0.1, FittedStep("SGD", 0.1, 0, 5e-4, 5e-4, 5e-4)),
    "decay of weights": (Training(SGD(weight_decay=0.01), 0.2), 0.1, FittedStep("SGD", 0.1, 0.2, 0.01)),
    "Adam": (Training(Adam()), 1e-3, FittedStep("Adam", 1e-3)),
    "AdamW": (Training(Adam(weight_decay=0.01, decoupled=True)), 1e-3, FittedStep("Adam", 1e-3, 0, 0.01)),
    "Adam with L2": (Training(Adam(weight_decay=0.1)), 1e-3, FittedStep("")),
    "RMSprop": (Training(RMSprop()), 1e-3, FittedStep("")),
}


def stepped(training: Training, lr: float) -> Weights:
    run = Reference(NETWORK, training, Setting(precision="float64"))
    run.set_weights(WEIGHTS)
    run.load("train", IMAGES, LABELS)
    run.train(np.arange(4), 4, np.array([lr]), seed=0)
    return run.get_weights()


@pytest.mark.parametrize("name", STEPS)
def test_the_arguments_of_a_step(name: str) -> None:
    training, lr, expected = STEPS[name]
    assert own_steps.described(NETWORK, WEIGHTS, stepped(training, lr), IMAGES, LABELS) == expected


def test_dropout_makes_the_gradient_unknown() -> None:
    network = Network("net", (1, 8, 8), [Conv("c", 2, 3), Dropout(), Flatten(), Dense("d", 3)])
    weights = revealing_weights(network, 0)
    assert own_steps.described(network, weights, weights, np.zeros((4, 1, 8, 8)), LABELS % 3) is None


def test_a_sum_over_the_batch_is_said() -> None:
    found = own_steps.differences(FittedStep("SGD", 0.1, 0, 4e-4), FittedStep("SGD", 0.4, 0, 1e-4), 4)
    assert [each.what for each in found] == ["lr", "weight_decay"]
    assert found[0].cause.endswith("0.4 in B: the loss is summed over the 4 images in one and averaged in the other")


def test_another_rule_is_said() -> None:
    (found,) = own_steps.differences(FittedStep("SGD", 0.1), FittedStep(""), 4)
    assert found.cause.startswith("SGD at 0.1 in A, a step that is neither SGD's nor Adam's")
    assert own_steps.differences(FittedStep("SGD", 0.1), FittedStep("SGD", 0.1), 4) == []
