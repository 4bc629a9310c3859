"""Initial weights, resize matrices, window counts, and training settings as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from frameworks.arrays import SCHEMES, initial, resize_matrix, window_counts
from frameworks.networks import NETWORKS
from frameworks.spec import Conv, Dense, Flatten, Network, Resize
from frameworks.training import SGD, Adadelta, Adam, RMSprop, Training

LINEAR = Resize("resize", 8, 8)  # only its method and positions count
NET = Network("net", (3, 16, 16), [Conv("conv", 64, 5), Flatten(), Dense("dense", 40)])


@pytest.mark.parametrize("scheme, factor", [("xavier_uniform", "both"), ("xavier_normal", "both"),
                                            ("he_uniform", "in"), ("he_normal", "in")])  # fmt: skip
@pytest.mark.parametrize("name, fans", [("conv.weight", (75, 1600)), ("dense.weight", (9216, 40))])
def test_variance_is_that_of_the_paper(scheme: str, factor: str, name: str, fans: tuple[int, int]) -> None:
    weights = initial(NET, seed=0, scheme=scheme)[name]
    variance = 2 / (fans[0] if factor == "in" else sum(fans))
    # The variance of a sample variance of n values is at most 2 / n of its square: four deviations.
    assert weights.var() == pytest.approx(variance, rel=4 * (2 / weights.size) ** 0.5)
    if scheme.endswith("uniform"):
        assert np.abs(weights).max() <= (3 * variance) ** 0.5


def test_biases_are_zero() -> None:
    assert not initial(NET, seed=0)["conv.bias"].any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_seed_repeats_and_another_differs(scheme: str) -> None:
    one, same, other = (initial(NET, seed, scheme)["conv.weight"] for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_a_layer_keeps_its_weights_when_another_changes() -> None:
    wider = Network("net", (3, 16, 16), [Conv("conv", 64, 5), Flatten(), Dense("dense", 41)])
    assert np.array_equal(initial(NET, 0)["conv.weight"], initial(wider, 0)["conv.weight"])


def test_resize_doubles_by_hand() -> None:
    assert np.allclose(resize_matrix(LINEAR, 2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])


@pytest.mark.parametrize("size, to", [(28, 224), (28, 32), (224, 28), (1, 5), (5, 1), (7, 7)])
def test_resize_rows_are_means(size: int, to: int) -> None:
    matrix = resize_matrix(LINEAR, size, to)
    assert matrix.shape == (to, size)
    assert (matrix >= 0).all() and np.allclose(matrix.sum(1), 1)


def test_resize_to_the_same_size_is_the_identity() -> None:
    assert np.array_equal(resize_matrix(LINEAR, 9, 9), np.eye(9))


def test_window_counts_by_hand() -> None:
    assert window_counts((1, 3, 3), 3, 1, 1).tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
    assert window_counts((1, 3, 2), (3, 2), (2, 1), ((0, 2), (1, 0))).tolist() == [[3, 6], [1, 2]]


@pytest.mark.parametrize("training", [
    Training(), Training(SGD(0.9, True, 1e-4), 0.1), Training(Adam(weight_decay=0.1, decoupled=True)),
    Training(RMSprop(0.8, 1e-3, 0.9, 0.1, True, True, True)), Training(Adadelta(0.95, 1e-7, 0.1, True)),
    Training(clip_norm=1.5), Training(average=0.999), Training(lr_factors=(("conv1.*", 0.5), ("*.bias", 2.0))),
], ids=str)  # fmt: skip
def test_training_json_round_trip(training: Training) -> None:
    assert Training.from_json(json.loads(json.dumps(training.to_json()))) == training


def test_the_json_of_a_training_has_new_keys_only_where_they_say_something() -> None:
    """Records and certificates from before these keys are read, and those of unchanged trainings do not change."""
    optimizer = {
        "kind": "SGD", "momentum": 0.9, "nesterov": False, "weight_decay": 0.0, "decoupled": False,
        "lr_in_velocity": False,
    }  # fmt: skip
    earlier = {"optimizer": optimizer, "label_smoothing": 0.1, "decay_all": True}
    training = Training(SGD(0.9), 0.1, True)
    assert Training.from_json(earlier) == training and training.to_json() == earlier
    assert replace(training, clip_norm=2.0).to_json() == {**earlier, "clip_norm": 2.0}
    assert replace(training, average=0.0).to_json() == {**earlier, "average": 0.0}


@pytest.mark.parametrize("bad", [
    lambda: RMSprop(rho=1.0), lambda: RMSprop(momentum=-0.1), lambda: RMSprop(epsilon=float("inf")),
    lambda: Adadelta(rho=-0.1), lambda: Adadelta(epsilon=0.0), lambda: Adadelta(weight_decay=-1.0),
    lambda: Training(clip_norm=0.0), lambda: Training(clip_norm=float("nan")), lambda: Training(clip_norm=float("inf")),
    lambda: Training(average=1.0), lambda: Training(average=-0.1), lambda: Training(average=float("nan")),
    lambda: Training(lr_factors=(("*", -1.0),)), lambda: Training(lr_factors=(("*", float("nan")),)),
])  # fmt: skip
def test_impossible_trainings_are_refused(bad: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"rho|clip_norm|average|lr_factors"):
        bad()


def test_an_average_is_a_slot() -> None:
    assert Training(SGD(0.9), average=0.9).slots == ("velocity", "average")
    assert Training(SGD(), average=0.9).slots == ("average",)
    assert Training(RMSprop(momentum=0.9)).slots == ("square_average", "velocity")


@pytest.mark.parametrize("bad", [
    lambda: SGD(momentum=1.0), lambda: SGD(nesterov=True), lambda: SGD(weight_decay=-1.0),
    lambda: Adam(beta1=1.0), lambda: Adam(epsilon=0.0),
])  # fmt: skip
def test_impossible_values_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"momentum|beta"):
        bad()  # type: ignore[operator]


def test_decay_acts_on_weights_alone() -> None:
    training = Training(SGD(weight_decay=0.1))
    parameters = [parameter for name in NETWORKS for parameter in NETWORKS[name]().parameters]
    assert {parameter.role for parameter in parameters if training.decay(parameter.name)} == {"weight"}
    everything = replace(training, decay_all=True)
    assert all(everything.decay(parameter.name) for parameter in parameters)
