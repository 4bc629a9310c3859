"""The effects of a framework's defaults: which lines a network gets, and their sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.verification.cases import BATCH, Case
from benchmarks.verification.native_effects import ALIGNED, Effects, default_differences
from frameworks import arrays
from frameworks.adapter import Setting
from frameworks.native import CHOICES, OF_RECIPES, Native
from frameworks.numpy_reference import Reference, cross_entropy
from frameworks.spec import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Network,
    ReLU,
    Resize,
)
from frameworks.training import SGD, Training

# Another value of every default.
OTHER: Native = Native.from_json(
    {
        name: {"value": value, "source": ""}
        for name, value in {
            "lr_in_velocity": True,
            "epsilon": 1e-7,
            "epsilon_hat": True,
            "rmsprop_epsilon": 1e-7,
            "rmsprop_epsilon_inside": True,
            "rmsprop_lr_in_velocity": True,
            "rmsprop_rho": "0.99",
            "adadelta_epsilon": 1e-7,
            "adadelta_rho": "0.95",
            "adadelta_lr": "0.001",
            "adamw_decay": "0.004",
            "decoupled": True,
            "decay_all": True,
            "norm_epsilon": 1e-3,
            "norm_momentum": 0.01,
            "norm_unbiased": True,
            "sum_squares": True,
            "weights": "0.07",
            "biases": "1 / sqrt(fan_in)",
            "same_padding": "after",
            "pool_rounding": "down",
            "padding_counts": "not counted",
            "resize_positions": "corners",
        }.items()
    }
)
OF_RULES = {"epsilon", "epsilon_hat", "rmsprop_epsilon", "rmsprop_epsilon_inside", "rmsprop_lr_in_velocity"}
OF_RULES |= {"adadelta_epsilon"}
ANY = OF_RULES | {"lr_in_velocity", "decoupled", "decay_all", "weights", "biases"}
LAYERS: dict[str, tuple[list[Layer], set[str]]] = {
    "plain": ([Conv("conv", 4, 3)], set()),
    "batch norm": ([Conv("conv", 4, 3), BatchNorm("norm")], {"norm_epsilon", "norm_momentum", "norm_unbiased"}),
    "response": ([Conv("conv", 4, 3), LocalResponseNorm("response", 3, 0.5)], {"sum_squares"}),
    "stride 2": ([Conv("conv", 4, 3, 2, 1)], {"same_padding"}),
    "ceil": ([Conv("conv", 4, 3, 1, 1), MaxPool("pool", 3, 2, ceil=True)], {"pool_rounding"}),
    "average": ([Conv("conv", 4, 3), AvgPool("pool", 3, 1, 1)], {"padding_counts"}),
    "resize": ([Resize("resize", 6, 9), Conv("conv", 4, 3)], {"resize_positions"}),
}


def case(name: str) -> Case:
    layers, _ = LAYERS[name]
    network = Network("net", (2, 8, 8), [*layers, ReLU(), Flatten(), Dense("head", 5)])
    return Case.for_network(network, seed=0, batch_size=BATCH)


@pytest.mark.parametrize("name", LAYERS)
def test_a_network_has_lines_for_its_layers_only(name: str) -> None:
    lines = list(default_differences([(name, case(name))], {"other": OTHER, "aligned": ALIGNED}))
    expected = [CHOICES[key].what for key in CHOICES if key in ANY | LAYERS[name][1]]
    assert [line.setting for line in lines] == expected
    assert {(line.framework, line.net) for line in lines} == {("other", name)}
    assert all(line.aligned != line.native for line in lines)
    for line in lines:
        shapes_differ = line.setting == CHOICES["pool_rounding"].what  # 4 x 4 windows become 3 x 3
        if shapes_differ:
            assert line.effect.loss is None
        else:
            assert line.effect.loss and line.effect.weights is not None


def test_every_default_has_a_line_somewhere() -> None:
    assert ANY.union(OF_RECIPES, *(own for _, own in LAYERS.values())) == set(CHOICES)


def test_the_effect_is_that_of_ten_steps_of_the_reference() -> None:
    """Batch norm with epsilon 1e-3 for 1e-5, trained by the adapter of the reference."""
    given = case("batch norm")
    training = Training(SGD(momentum=0.9, weight_decay=0.01))
    other = replace(given.network, layers=[
        replace(layer, eps=1e-3) if isinstance(layer, BatchNorm) else layer for layer in given.network.layers
    ])  # fmt: skip
    lrs = np.array([0.01] * 3 + [0.005] * 3 + [0.0025] * 3 + [0.01])
    losses, weights = [], []
    for network in (given.network, other):
        reference = Reference(network, training, Setting(precision="float64"))
        reference.set_weights(arrays.initial(network, 0))
        reference.load("train", given.images, given.labels)
        reference.load("test", given.images[:BATCH], given.labels[:BATCH])
        reference.train(given.order[: 10 * BATCH], BATCH, lrs, 0)
        losses.append(cross_entropy(reference.predict("test", BATCH), given.labels[:BATCH])[0])
        weights.append(reference.get_weights())
    found = Effects(given).effect("norm_epsilon", 1e-3)
    assert found is not None and (found.optimizer, found.steps) == ("SGD", 10)
    assert found.loss == pytest.approx(losses[1] - losses[0], rel=1e-6)
    start = arrays.initial(given.network, 0)
    trained = [parameter.name for parameter in given.network.parameters if parameter.trainable]

    def norm(one: arrays.Weights, two: arrays.Weights) -> float:
        return float(np.sqrt(sum(np.sum((one[name] - two[name]) ** 2) for name in trained)))

    assert found.weights == pytest.approx(norm(weights[1], weights[0]) / norm(weights[0], start), rel=1e-6)


def test_a_default_without_effect_has_no_line() -> None:
    assert Effects(case("batch norm")).effect("norm_epsilon", 1e-5) is None
    assert Effects(case("plain")).effect("norm_epsilon", 1e-3) is None
