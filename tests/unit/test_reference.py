"""The reference against finite differences, and against values computed by hand. No framework is needed."""

from __future__ import annotations

from math import exp, log, sqrt, tanh
from typing import Any

import numpy as np
import pytest

from frameworks import spec
from frameworks.adapter import UNBIASED_RUNNING_VARIANCE, Setting
from frameworks.arrays import Array, Weights, initial
from frameworks.errors import Unavailable
from frameworks.numpy_reference import Reference, clipped, cross_entropy, update, without_dropout
from frameworks.reference_layers import LAYERS
from frameworks.spec import (
    Affine,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Network,
    Normalize,
    ReLU,
    Residual,
    Resize,
    Scale,
    Select,
    Sigmoid,
    Tanh,
)
from frameworks.training import SGD, Adadelta, Adam, Optimizer, RMSprop, Training
from tests.unit.modern_layers import MODERN, TOLERANCE, alone, apart, gradient_and_differences

# Values computed by hand are rounded a few times, by 2^-53 each.
ROUNDING = 1e-14


def built(network: Network, training: Training | None = None, departures: tuple[str, ...] = ()) -> Reference:
    """An adapter with weights that all differ from their default initial values."""
    reference = Reference(network, training or Training(), Setting(), departures)
    noise = np.random.default_rng(1)
    drawn = initial(network, seed=0).items()
    reference.set_weights({name: array + noise.uniform(0.1, 0.5, array.shape) for name, array in drawn})
    return reference


def forward(layer: Layer, x: Any, *, training: bool = False, **arrays: Any) -> Array:
    """Output of a layer for a batch; its arrays are given by role and reshaped."""
    x = np.array(x, float)
    network = Network("alone", x.shape[1:], [layer])
    reference = Reference(network, Training(), Setting())
    reference.set_weights({p.name: np.reshape(arrays[p.role], p.shape).astype(float) for p in network.parameters})
    return reference.activations(x, training)[network.nodes[0].path]


# --- finite differences -----------------------------------------------------------------------------------------------


ALONE = {
    "conv": alone(Conv("C", 4, 3), 2, 5, 4),
    "conv_strided_padded": alone(Conv("C", 3, (3, 2), (2, 1), ((0, 2), (1, 0))), 2, 6, 4),
    "conv_stride_leaves_a_rest": alone(Conv("C", 2, 2, 3), 1, 7, 6),
    "conv_grouped_no_bias": alone(Conv("C", 6, 3, padding=1, groups=2, bias=False), 4, 4, 3),
    "conv_depthwise": alone(Conv("C", 3, 2, groups=3), 3, 4, 4),
    "max_pool_overlapping": alone(MaxPool("P", 3, 2), 2, 7, 5),
    "max_pool_padded": alone(MaxPool("P", (2, 3), 2, ((1, 0), (0, 2))), 2, 5, 5),
    "max_pool_ceil": alone(MaxPool("P", 3, 2, ceil=True), 2, 6, 5),
    "avg_pool": alone(AvgPool("P", 2, 2), 2, 4, 5),
    "avg_pool_padding_counted": alone(AvgPool("P", 3, 2, ((1, 0), (0, 1))), 2, 5, 5),
    "avg_pool_padding_uncounted": alone(AvgPool("P", 3, 1, 1, count_padding=False), 2, 4, 3),
    "global_avg_pool": alone(GlobalAvgPool(), 4, 3, 2),
    "dense": Network("alone", (6,), [Dense("D", 3)]),
    "dense_no_bias": Network("alone", (6,), [Dense("D", 3, bias=False)]),
    "batch_norm": alone(BatchNorm("B"), 3, 2, 2),
    "batch_norm_flat": alone(BatchNorm("B", eps=0.1, gamma=False), 4),
    "batch_norm_without_beta": alone(BatchNorm("B", beta=False), 2, 3, 2),
    "affine": alone(Affine("A"), 3, 2, 2),
    "affine_flat": alone(Affine("A"), 5),
    "lrn": alone(LocalResponseNorm("L", 5, 2.0, 0.75, 1.5), 7, 2, 2),
    "lrn_even": alone(LocalResponseNorm("L", 4, 2.0, 0.6), 6, 2, 1),
    "lrn_wider_than_the_input": alone(LocalResponseNorm("L", 5, 2.0), 2, 2, 2),
    "dropout": alone(Dropout(rate=0.4), 2, 3, 3),
    "relu": alone(ReLU(), 2, 3, 3),
    "sigmoid": alone(Sigmoid(), 2, 3, 3),
    "tanh": alone(Tanh(amplitude=1.7159, slope=2 / 3), 2, 3, 3),
    "flatten": alone(Flatten(), 2, 2, 2),
    "scale": alone(Scale(factor=3.0), 2, 2, 2),
    "normalize": alone(Normalize(mean=(1.0, 2.0), std=(3.0, 0.5)), 2, 2, 2),
    "resize_up": alone(Resize("R", 5, 7), 2, 3, 4),
    "resize_down": alone(Resize("R", 2, 3), 2, 5, 4),
    "select_with_repeats": alone(Select("S", (2, 0, 2)), 3, 2, 2),
    "concat": alone(Concat("M", [[Conv("a", 2, 1)], [], [Tanh(), Conv("b", 3, 1)]]), 2, 2, 3),
    "residual": alone(Residual("M", [Conv("a", 2, 3, padding=1), Tanh()]), 2, 3, 3),
    "residual_projected": alone(Residual("M", [Conv("a", 4, 3, 2, 1)], [Conv("b", 4, 1, 2)]), 2, 4, 4),
    "auxiliary": alone(Auxiliary("X", [Flatten(), Dense("head", 3)], 0.4), 2, 2, 2),
}
TOGETHER = {
    "lenet": Network(
        "lenet",
        (1, 8, 8),
        [
            Conv("C1", 3, 3, padding=1),
            ReLU(),
            MaxPool("S2", 2, 2),
            Conv("C3", 4, 3),
            Sigmoid(),
            Flatten(),
            Dense("F", 3),
        ],
    ),
    "inception": Network(
        "inception",
        (2, 6, 6),
        [
            Conv("stem", 4, 3, 1, 1),
            LocalResponseNorm("norm", 3, 0.5),
            Concat("mix", [[Conv("a", 2, 1), ReLU()], [MaxPool("p", 3, 1, 1), Conv("b", 2, 1)]]),
            Auxiliary("aux", [AvgPool("p", 3, 3), Flatten(), Dropout(rate=0.3), Dense("head", 3)], 0.3),
            GlobalAvgPool(),
            Flatten(),
            Dense("fc", 3),
        ],
    ),
    "resnet": Network(
        "resnet",
        (2, 5, 5),
        [
            Conv("stem", 3, 3, bias=False),
            BatchNorm("stem_bn"),
            ReLU(),
            Residual(
                "block",
                [Conv("a", 4, 3, 2, 1, bias=False), BatchNorm("a_bn"), ReLU(), Conv("b", 4, 1, bias=False)],
                [Conv("p", 4, 1, 2, bias=False), BatchNorm("p_bn")],
            ),
            ReLU(),
            GlobalAvgPool(),
            Flatten(),
            Dense("fc", 3),
        ],
    ),
    "lenet5": Network(
        "lenet5",
        (2, 6, 6),
        [
            Normalize(mean=(0.1, 0.2), std=(0.5, 0.6)),
            Resize("up", 8, 7),
            AvgPool("S2_mean", 2, 2),
            Affine("S2"),
            Tanh(amplitude=1.7159, slope=2 / 3),
            Concat("C3", [[Select("s0", (0, 1)), Conv("m0", 2, 2)], [Select("s1", (1,)), Conv("m1", 1, 2)]]),
            Tanh(),
            Flatten(),
            Dense("F6", 3),
        ],
    ),
}
CASES = ALONE | TOGETHER
GRADIENTS = [
    (case, name)
    for case, network in CASES.items()
    for name in ["input", *(array.name for array in network.parameters if array.trainable)]
]


@pytest.mark.parametrize(("case", "name"), GRADIENTS)
def test_gradient_is_the_limit_of_differences(case: str, name: str) -> None:
    network = CASES[case]
    reference = built(network, Training(label_smoothing=0.1))
    images, labels = apart((3, *network.input)), np.array([2, 0, 1])
    gradient, differences = gradient_and_differences(reference, images, labels, name)
    assert abs(differences).max() > 1e4 * TOLERANCE  # at least four digits are compared
    np.testing.assert_allclose(gradient, differences, rtol=0, atol=TOLERANCE)


def test_every_kind_of_layer_has_its_function_and_its_case() -> None:
    kinds = {kind for kind in vars(spec).values() if isinstance(kind, type) and issubclass(kind, Layer)}
    kinds -= {Layer, spec.Pool}
    assert set(LAYERS) == kinds == {type(network.layers[0]) for network in (ALONE | MODERN).values()}


# --- layers by hand ---------------------------------------------------------------------------------------------------

NINE = [[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]]
FOUR_MAPS = [[[[1]], [[2]], [[3]], [[4]]]]
KERNEL = [1, 2, 3, 4]  # rows 1 2 and 3 4


@pytest.mark.parametrize(
    ("layer", "x", "given", "expected"),
    [
        # 1*1 + 2*2 + 4*3 + 5*4 = 37, and so on, each plus 10.
        pytest.param(Conv("C", 1, 2), NINE, (KERNEL, 10), [[[[47, 57], [77, 87]]]], id="convolution"),
        # A row of zeros on top, a column at the right: windows 0 0 1 2, 0 0 3 0, 4 5 7 8 and 6 0 9 0.
        pytest.param(
            Conv("C", 1, 2, 2, ((1, 0), (0, 1))), NINE, (KERNEL, 0), [[[[11, 9], [67, 33]]]], id="padded on two sides"
        ),
        pytest.param(Conv("C", 1, (1, 2), (2, 1)), NINE, ([1, 10], 0), [[[[21, 32], [87, 98]]]], id="kernel 1 x 2"),
        # Maps 1 and 2 for the first two outputs, 3 and 4 for the others.
        pytest.param(
            Conv("C", 4, 1, groups=2), FOUR_MAPS, ([1, 10] * 2 + [2, 20] * 2, [0, 1, 0, 1]),
            [[[[21]], [[22]], [[86]], [[87]]]], id="groups",
        ),
        pytest.param(Dense("D", 2), [[1, 2, 3]], ([1, 10, 100, 1, 0, -1], [0, 7]), [[321, 5]], id="dense"),
    ],
)  # fmt: skip
def test_sum_of_products(layer: Layer, x: Any, given: tuple[Any, Any], expected: Any) -> None:
    np.testing.assert_array_equal(forward(layer, x, weight=given[0], bias=given[1]), expected)


@pytest.mark.parametrize(
    ("layer", "x", "expected"),
    [
        pytest.param(MaxPool("P", 2, 1), NINE, [[[[5, 6], [8, 9]]]], id="largest"),
        pytest.param(MaxPool("P", 3, 2, 1), -np.ones((1, 1, 3, 3)), -np.ones((1, 1, 2, 2)), id="minus infinity"),
        pytest.param(MaxPool("P", 2, 2, ceil=True), NINE, [[[[5, 6], [8, 9]]]], id="ceil"),
        pytest.param(MaxPool("P", 2, 2), NINE, [[[[5]]]], id="floor"),
        pytest.param(MaxPool("P", 2, 2, ((1, 0), (0, 1))), NINE, [[[[2, 3], [8, 9]]]], id="padded on two sides"),
        pytest.param(AvgPool("P", 2, 1), NINE, [[[[3, 4], [6, 7]]]], id="mean"),
        # 1 + 2 + 4 + 5 = 12, 2 + 3 + 5 + 6 = 16, ...: the corners of a 3 x 3 window around them.
        pytest.param(AvgPool("P", 3, 2, 1), NINE, [[[[12 / 9, 16 / 9], [24 / 9, 28 / 9]]]], id="padding counted"),
        pytest.param(AvgPool("P", 3, 2, 1, count_padding=False), NINE, [[[[3, 4], [6, 7]]]], id="padding not counted"),
        pytest.param(
            AvgPool("P", 2, 2, ((1, 0), (0, 1)), count_padding=False), NINE, [[[[1.5, 3], [6, 7.5]]]],
            id="padding on two sides not counted",
        ),
        pytest.param(GlobalAvgPool(), NINE, [[[[5]]]], id="global mean"),
        pytest.param(ReLU(), [[-1, 0, 2]], [[0, 0, 2]], id="relu"),
        pytest.param(Sigmoid(), [[0, log(3), -log(3)]], [[0.5, 0.75, 0.25]], id="sigmoid"),
        pytest.param(Sigmoid(), [[1000, -1000, -40]], [[1, 0, exp(-40)]], id="sigmoid far out"),
        pytest.param(Tanh(), [[0.3]], [[tanh(0.3)]], id="tanh"),
        pytest.param(Tanh(amplitude=1.7159, slope=2 / 3), [[0.3]], [[1.7159 * tanh(0.2)]], id="scaled tanh"),
        pytest.param(Flatten(), np.arange(8).reshape(1, 2, 2, 2), [range(8)], id="flatten by channel, row, column"),
        pytest.param(Scale(factor=1 / 4), [[2, 6]], [[0.5, 1.5]], id="scale"),
        pytest.param(Normalize(mean=(1, 3), std=(2, 4)), [[5, 5]], [[2, 0.5]], id="normalize by channel"),
        pytest.param(Normalize(mean=(1,), std=(2,)), [[5, 9]], [[2, 4]], id="normalize all alike"),
        pytest.param(
            Resize("R", 1, 4), [[[[0, 1]]]], [[[[0, 0.25, 0.75, 1]]]], id="resize 2 to 4, centres at quarters"
        ),
        pytest.param(Resize("R", 2, 1), [[[[0], [1], [4], [9]]]], [[[[0.5], [6.5]]]], id="resize 4 to 2"),
        pytest.param(Resize("R", 1, 3), [[[[0, 3]]]], [[[[0, 1.5, 3]]]], id="resize 2 to 3"),
        pytest.param(Resize("R", 2, 1), [[[[7]]]], [[[[7], [7]]]], id="resize 1 to 2"),
        pytest.param(Select("S", (3, 1, 3)), FOUR_MAPS, [[[[4]], [[2]], [[4]]]], id="select"),
        pytest.param(Concat("M", [[], [Scale(factor=10.0)]]), [[1, 2]], [[1, 2, 10, 20]], id="concat"),
        pytest.param(Residual("M", [Scale(factor=10.0)]), [[1, 2]], [[11, 22]], id="residual"),
        pytest.param(Residual("M", [Scale(factor=10.0)], [Scale(factor=2.0)]), [[1]], [[12]], id="both ways"),
        pytest.param(Auxiliary("X", [Scale(factor=10.0)]), [[1, 2]], [[1, 2]], id="auxiliary passes its input on"),
    ],
)  # fmt: skip
def test_output(layer: Layer, x: Any, expected: Any) -> None:
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(forward(layer, x, training=True), expected, rtol=ROUNDING)


@pytest.mark.parametrize(
    ("layer", "x", "dy", "expected"),
    [
        pytest.param(MaxPool("P", 2, 2), np.ones((1, 1, 2, 2)), [[[[5]]]], [[[[5, 0], [0, 0]]]], id="first of equals"),
        pytest.param(
            MaxPool("P", 2, 1), [[[[0, 1, 1], [0, 1, 1]]]], [[[[5, 7]]]], [[[[0, 12, 0], [0, 0, 0]]]], id="two windows"
        ),
        pytest.param(MaxPool("P", 2, 2), [[[[0, 1], [1, 0]]]], [[[[5]]]], [[[[0, 5], [0, 0]]]], id="row before column"),
        pytest.param(ReLU(), [[-1, 0, 2]], [[5, 5, 5]], [[0, 0, 5]], id="relu at 0"),
        pytest.param(Sigmoid(), [[0, 1000, -1000]], [[4, 4, 4]], [[1, 0, 0]], id="sigmoid far out"),
    ],
)
def test_gradient_at_ties_and_kinks(layer: Layer, x: Any, dy: Any, expected: Any) -> None:
    with np.errstate(all="raise", under="ignore"):
        _, backward = LAYERS[type(layer)](layer, np.array(x, float))
        np.testing.assert_array_equal(backward(np.array(dy, float))[0], expected)


def test_affine() -> None:
    x = [[[[1, 2]], [[3, 4]]]]
    np.testing.assert_array_equal(forward(Affine("A"), x, gamma=[2, 10], beta=[1, -1]), [[[[3, 5]], [[29, 39]]]])


@pytest.mark.parametrize("shape", [(7, 2, 3)], ids=["maps"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_local_response_norm_follows_the_formula(size: int, shape: tuple[int, ...]) -> None:
    x = apart((2, *shape))
    expected = np.zeros_like(x)
    for c in range(7):
        window = [j for j in range(c - size // 2, c + (size - 1) // 2 + 1) if 0 <= j < 7]
        total = sum(x[:, j] ** 2 for j in window)
        expected[:, c] = x[:, c] / (2 + 0.3 / size * total) ** 0.6
    y = forward(LocalResponseNorm("L", size, 0.3, 0.6, 2.0), x)
    np.testing.assert_allclose(y, expected, rtol=ROUNDING)


STATISTICS: dict[str, Any] = {"gamma": [2, 3], "beta": [1, 0], "running_mean": [0, 5], "running_var": [1, 4]}
IMAGES = [[[[1, 2]], [[7, 7]]], [[[3, 4]], [[7, 7]]]]  # channel 0: mean 2.5, variance 5/4; channel 1: 7 and 0


def test_batch_norm_in_training_uses_batch_statistics() -> None:
    y = forward(BatchNorm("B", eps=0.75), IMAGES, training=True, **STATISTICS)
    root = sqrt(1.25 + 0.75)
    expected: Any = [[[[1 - 3 / root, 1 - 1 / root]], [[0, 0]]], [[[1 + 1 / root, 1 + 3 / root]], [[0, 0]]]]
    np.testing.assert_allclose(y, expected, rtol=ROUNDING)


def test_batch_norm_in_evaluation_uses_running_statistics() -> None:
    y = forward(BatchNorm("B", eps=0.5), IMAGES, **STATISTICS)
    a, b = 2 / sqrt(1.5), 3 * 2 / sqrt(4.5)
    expected = [[[[1 + a, 1 + 2 * a]], [[b, b]]], [[[1 + 3 * a, 1 + 4 * a]], [[b, b]]]]
    np.testing.assert_allclose(y, expected, rtol=ROUNDING)


@pytest.mark.parametrize(
    ("departures", "variance"),
    [((), 1.25), ((UNBIASED_RUNNING_VARIANCE.name,), 1.25 * 4 / 3)],
    ids=["biased", "unbiased"],
)
def test_running_statistics_move(departures: tuple[str, ...], variance: float) -> None:
    network = Network("n", (2, 1, 2), [BatchNorm("B", momentum=0.2), GlobalAvgPool(), Flatten()])
    reference = Reference(network, Training(), Setting(), departures)
    reference.set_weights({f"B.{role}": np.array(values, float) for role, values in STATISTICS.items()})
    reference.load("train", np.array(IMAGES), np.array([0, 1]))
    reference.train(np.arange(2), 2, np.zeros(1), seed=0)
    weights = reference.get_weights()
    np.testing.assert_allclose(weights["B.running_mean"], [0.2 * 2.5, 0.8 * 5 + 0.2 * 7], rtol=ROUNDING)
    np.testing.assert_allclose(weights["B.running_var"], [0.8 * 1 + 0.2 * variance, 0.8 * 4], rtol=ROUNDING)
    np.testing.assert_array_equal(weights["B.gamma"], STATISTICS["gamma"])
    y = reference.activations(np.array(IMAGES), training=True)["B"]  # either way by the biased variance
    np.testing.assert_array_equal(y, forward(BatchNorm("B"), IMAGES, training=True, **STATISTICS))


# --- dropout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_keeps_its_fraction_and_scales_it(rate: float) -> None:
    x = np.ones((10, 1000))
    y = forward(Dropout(rate=rate), x, training=True)
    assert set(np.unique(y)) == {0.0, 1 / (1 - rate)}
    # The count of 10^4 independent draws is within four standard deviations; at a fixed seed it always is.
    assert abs((y > 0).mean() - (1 - rate)) < 4 * sqrt(rate * (1 - rate) / x.size)
    assert len({row.tobytes() for row in y}) == len(y)  # each image has a different mask


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)], ids=["evaluation", "rate 0"])
def test_dropout_without_effect(rate: float, training: bool) -> None:
    x = apart((2, 3))
    np.testing.assert_array_equal(forward(Dropout(rate=rate), x, training=training), x)


def test_masks_follow_the_seed_and_differ_by_step() -> None:
    losses: dict[int, float] = {}
    for seed in (5, 5, 6):
        reference = built(Network("n", (20,), [Dropout(), Dense("D", 3)]))
        reference.load("train", np.ones((1, 20)), np.array([0]))
        one, two = reference.train(np.array([0, 0]), 1, np.zeros(2), seed).losses
        assert one != two
        assert losses.setdefault(seed, one) == one
    assert losses[5] != losses[6]


def test_without_dropout_changes_only_dropout() -> None:
    inner = [Dropout("named", rate=0.3), Concat("mix", [[Dropout()], [Conv("a", 2, 1), Dropout(rate=0.2)]])]
    head = Auxiliary("aux", [Flatten(), Dropout(rate=0.7), Dense("h", 3)])
    layers = [Residual("body", inner[:1], inner[:0]), *inner[1:], head, Flatten(), Dropout(rate=0.0), Dense("D", 3)]
    network = Network("n", (2, 3, 3), layers, departures=("one",), source="a paper")
    bare = without_dropout(network)
    rates = {node.path: node.layer.rate for _, node in bare.walk() if isinstance(node.layer, Dropout)}
    assert rates == dict.fromkeys(("body.named", "mix.dropout", "mix.a_dropout", "aux.dropout", "aux_dropout"), 0.0)
    assert [node.path for _, node in bare.walk()] == [node.path for _, node in network.walk()]
    assert bare.parameters == network.parameters
    assert (bare.departures, bare.source) == (network.departures, network.source)
    assert without_dropout(bare) == bare != network
    images = apart((2, 2, 3, 3))
    outputs = [built(bare).activations(images, training) for training in (True, False)]
    np.testing.assert_array_equal(outputs[0]["D"], outputs[1]["D"])


# --- loss -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logits", "labels", "smoothing", "loss", "gradient"),
    [
        pytest.param([[0, log(3)]], [0], 0, log(4), [[-0.75, 0.75]], id="probabilities 1/4 and 3/4"),
        pytest.param(
            [[0, log(3)], [0, log(3)]], [0, 1], 0, (log(4) + log(4 / 3)) / 2,
            [[-0.375, 0.375], [0.125, -0.125]], id="mean over the batch",
        ),
        pytest.param(
            [[0, log(3)]], [0], 0.2, 0.9 * log(4) + 0.1 * log(4 / 3), [[0.25 - 0.9, 0.75 - 0.1]], id="smoothed by 0.2"
        ),
        pytest.param([[1000, 0]], [1], 0, 1000, [[1, -1]], id="far apart"),
    ],
)  # fmt: skip
def test_cross_entropy(logits: Any, labels: Any, smoothing: float, loss: float, gradient: Any) -> None:
    with np.errstate(all="raise", under="ignore"):
        found = cross_entropy(np.array(logits, float), np.array(labels), smoothing)
    assert found[0] == pytest.approx(loss, rel=ROUNDING)
    np.testing.assert_allclose(found[1], gradient, rtol=ROUNDING)


def test_auxiliary_loss_has_its_weight_in_training_alone() -> None:
    head = Auxiliary("aux", [Scale("tripled", factor=3.0)], 0.25)
    reference = built(Network("n", (2,), [head, Scale("twice", factor=2.0)]), Training(label_smoothing=0.1))
    x, labels = np.array([[0.5, -1.0]]), np.array([1])
    loss, gradients = reference.gradients(x, labels)
    main, by_main = cross_entropy(2 * x, labels, 0.1)
    own, by_own = cross_entropy(3 * x, labels, 0.1)
    assert loss == pytest.approx(main + 0.25 * own, rel=ROUNDING)
    np.testing.assert_allclose(gradients["input"], 2 * by_main + 0.25 * 3 * by_own, rtol=ROUNDING)
    assert list(reference.activations(x, training=True)) == ["aux.tripled", "aux", "twice"]
    assert list(reference.activations(x, training=False)) == ["aux", "twice"]


# --- optimizers -------------------------------------------------------------------------------------------------------

RATES = (0.1, 0.1, 0.01)


@pytest.mark.parametrize(
    ("rule", "rates", "gradients", "expected"),
    [
        pytest.param(SGD(), RATES, (1, 2, 3), (0.9, 0.7, 0.67), id="plain"),
        # The velocity is 1, 1.9 and 2.71; if it contained the learning rate, the result would be 0.529.
        pytest.param(SGD(0.9), RATES, (1, 1, 1), (0.9, 0.71, 0.6829), id="momentum"),
        pytest.param(SGD(0.9, nesterov=True), RATES, (1, 1, 1), (0.81, 0.539, 0.50461), id="nesterov"),
        pytest.param(SGD(0.9, lr_in_velocity=True), RATES, (1, 1, 1), (0.9, 0.71, 0.529), id="momentum, rate inside"),
        pytest.param(
            SGD(0.9, nesterov=True, lr_in_velocity=True),
            RATES,
            (1, 1, 1),
            (0.81, 0.539, 0.3661),
            id="nesterov, rate inside",
        ),
        pytest.param(SGD(weight_decay=0.1), RATES, (1, 1, 1), (0.89, 0.7811, 0.7703189), id="decay"),
        pytest.param(SGD(0.9, weight_decay=0.1), (0.1, 0.1), (1, 1), (0.89, 0.6821), id="momentum, decay"),
        pytest.param(
            SGD(0.9, weight_decay=0.1, decoupled=True),
            (0.1, 0.1),
            (1, 1),
            (0.89, 0.6911),
            id="momentum, decoupled decay",
        ),
        pytest.param(Adam(epsilon=1e-4), (1e-3,), (1e-3,), (1 - 1e-3 / 1.1,), id="adam, epsilon outside"),
        # Moments 1/2, 1/2 and 7/4, 19/4, which corrected are 1, 1 and 7/3, 19/3.
        pytest.param(
            Adam(0.5, 0.5, 1.0), (0.1, 0.01), (1, 3), (0.95, 0.95 - 0.01 * 7 / 3 / (sqrt(19 / 3) + 1)), id="adam"
        ),
        pytest.param(Adam(0.5, 0.75, 1.0), (0.1,), (2,), (1 - 0.1 * 2 / 3,), id="adam, two betas"),
        # Moments 1/2 and 1/2: 0.1 sqrt(1/2) / (1/2) * 1/2 / (sqrt(1/2) + 1).
        pytest.param(
            Adam(0.5, 0.5, 1.0, epsilon_hat=True), (0.1,), (1,), (1 - 0.1 / (1 + sqrt(2)),), id="adam, epsilon before"
        ),
        pytest.param(Adam(epsilon=1.0, weight_decay=0.1), (0.1,), (1,), (1 - 0.1 * 1.1 / 2.1,), id="adam, decay"),
        pytest.param(Adam(epsilon=1.0, weight_decay=0.1, decoupled=True), (0.1,), (1,), (0.94,), id="adamw"),
        # v is 1, then 7/4.
        pytest.param(
            RMSprop(0.75, 1.0), (0.1, 0.01), (2, 2), (0.9, 0.9 - 0.02 / (sqrt(1.75) + 1)), id="rmsprop, epsilon outside"
        ),
        pytest.param(
            RMSprop(0.75, 3.0, epsilon_inside=True),
            (0.1, 0.01),
            (2, 2),
            (0.9, 0.9 - 0.02 / sqrt(4.75)),
            id="rmsprop, epsilon inside",
        ),
        # The changes are 1/2 and 1/2; the velocity 0.5 and 0.75, or with the learning rate 0.1 and 0.06.
        pytest.param(RMSprop(0.0, 1.0, momentum=0.5), (0.2, 0.02), (1, 1), (0.9, 0.885), id="rmsprop, momentum"),
        pytest.param(
            RMSprop(0.0, 1.0, momentum=0.5, lr_in_velocity=True),
            (0.2, 0.02),
            (1, 1),
            (0.9, 0.84),
            id="rmsprop, momentum, rate inside",
        ),
        pytest.param(RMSprop(0.0, 0.9, weight_decay=0.1), (0.1,), (1,), (1 - 0.1 * 1.1 / 2,), id="rmsprop, decay"),
        pytest.param(
            RMSprop(0.0, 1.0, weight_decay=0.1, decoupled=True), (0.1,), (1,), (0.94,), id="rmsprop, decoupled decay"
        ),
        # v is 1/2 and 3/4, d before the step 0 and 1/3: the changes are sqrt(1 / (3/2)) and sqrt((4/3) / (7/4)).
        pytest.param(
            Adadelta(0.5, 1.0),
            (0.1, 0.01),
            (1, 1),
            (1 - 0.1 * sqrt(2 / 3), 1 - 0.1 * sqrt(2 / 3) - 0.01 * sqrt(16 / 21)),
            id="adadelta",
        ),
        pytest.param(Adadelta(0.0, 1.0, weight_decay=1.0), (0.1,), (0,), (1 - 0.1 / sqrt(2),), id="adadelta, decay"),
        pytest.param(
            Adadelta(0.0, 1.0, weight_decay=0.1, decoupled=True),
            (0.1,),
            (1,),
            (0.99 - 0.1 / sqrt(2),),
            id="adadelta, decoupled decay",
        ),
    ],
)
def test_optimizer(
    rule: Optimizer, rates: tuple[float, ...], gradients: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    weights: Weights = {"D.weight": np.ones(1)}
    found = []
    for step, (rate, gradient) in enumerate(zip(rates, gradients), 1):
        update(weights, "D.weight", np.array([gradient], float), Training(rule), rate, step)
        found.append(weights["D.weight"].item())
    assert found == pytest.approx(expected, rel=ROUNDING)
    assert set(weights) == {"D.weight", *(f"D.weight/{slot}" for slot in rule.slots)}


@pytest.mark.parametrize(
    ("rule", "rate", "expected", "digits"),
    [
        (RMSprop(0.9, 1e-4), 0.01, (0.975975, 0.957314, 0.933940), 6),
        (RMSprop(0.9, 1e-4, epsilon_inside=True), 0.01, (0.999000, 0.998001, 0.996007), 6),
        (RMSprop(0.9, 1e-4, 0.9), 0.01, (0.975975, 0.935691, 0.876062), 6),
        (RMSprop(0.9, 1e-4, 0.9, epsilon_inside=True), 0.01, (0.999000, 0.997102, 0.993399), 6),
        (Adadelta(0.9, 1e-6), 1.0, (0.999046537411, 0.998089077057, 0.996360527543), 12),
    ],
    ids=str,
)
def test_three_steps_as_printed_by_frameworks(
    rule: Optimizer, rate: float, expected: tuple[float, ...], digits: int
) -> None:
    """From 1 with gradients .001, .001, .002: torch 2.13 with epsilon outside, keras 3.15 and optax 0.2.8 inside."""
    weights: Weights = {"D.weight": np.ones(1)}
    for step, (gradient, value) in enumerate(zip((0.001, 0.001, 0.002), expected), 1):
        update(weights, "D.weight", np.array([gradient]), Training(rule), rate, step)
        assert round(weights["D.weight"].item(), digits) == value


def test_gradients_are_clipped_by_the_norm_of_all() -> None:
    gradients = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}  # of norm 5
    for limit, factor in ((1.0, 0.2), (5.0, 1.0), (6.0, 1.0), (None, 1.0)):
        for name, gradient in clipped(gradients, limit).items():
            np.testing.assert_allclose(gradient, factor * gradients[name], rtol=ROUNDING)


def test_gradients_of_zero_are_not_clipped() -> None:
    with np.errstate(all="raise"):
        assert clipped({"a": np.zeros(2)}, 1.0)["a"].tolist() == [0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_stays_so(value: float) -> None:
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(clipped({"a": np.array([value])}, 1.0)["a"]).any()


def test_decay_is_not_clipped() -> None:
    """g' = c g / norm + decay w."""
    reference = built(SMALL, Training(SGD(weight_decay=0.1), clip_norm=1e-3))
    reference.load("train", apart((8, 3)), np.arange(8) % 2)
    before = reference.get_weights()
    _, gradients = reference.gradients(*reference.data["train"])
    trained = {name: gradients[name] for name, (_, is_trained) in reference.arrays.items() if is_trained}
    norm = np.sqrt(sum((gradient**2).sum() for gradient in trained.values()))
    assert norm > 1e-2
    reference.train(np.arange(8), 8, np.array([0.5]), seed=0)
    after = reference.get_weights()
    for name, gradient in trained.items():
        decay = 0.1 * before[name] if name.endswith(".weight") else 0.0
        expected = before[name] - 0.5 * (1e-3 * gradient / norm + decay)
        np.testing.assert_allclose(after[name], expected, rtol=0, atol=ROUNDING)


def test_the_average_begins_with_the_initial_weights() -> None:
    weights: Weights = {"D.weight": np.ones(1)}
    averages = []
    for step in (1, 2):
        update(weights, "D.weight", np.array([1.0]), Training(SGD(), average=0.75), 0.5, step)
        averages.append(weights["D.weight/average"].item())
    assert weights["D.weight"].item() == 0  # 1, 0.5, 0
    assert averages == [0.875, 0.65625]  # 0.75 * 1 + 0.25 * 0.5, 0.75 * 0.875


def test_predictions_use_the_averages_and_training_does_not() -> None:
    averaged, plain = built(SMALL, Training(SGD(0.9), average=0.5)), built(SMALL, Training(SGD(0.9)))
    for reference in (averaged, plain):
        for split in ("train", "test"):
            reference.load(split, apart((8, 3)), np.arange(8) % 2)
    before = averaged.predict("test", 3)
    np.testing.assert_array_equal(before, plain.predict("test", 3))
    losses = [reference.train(np.arange(8), 4, np.array([0.1, 0.1]), seed=0).losses for reference in (averaged, plain)]
    np.testing.assert_array_equal(*losses)
    state = averaged.get_weights()
    mixed = {name: state.get(f"{name}/average", state[name]) for name in averaged.arrays}
    judge = built(SMALL)
    judge.set_weights(mixed)
    judge.load("test", *averaged.data["test"])
    np.testing.assert_array_equal(averaged.predict("test", 3), judge.predict("test", 3))
    assert np.abs(averaged.predict("test", 3) - plain.predict("test", 3)).max() > 1e-3
    assert averaged.get_weights().keys() == state.keys()  # running statistics have no average
    assert not any("running" in name for name in state if name.endswith("/average"))


@pytest.mark.parametrize("rule", [SGD(), Adam(weight_decay=0.5, decoupled=True)], ids=["SGD", "AdamW"])
def test_the_first_pattern_sets_the_factor(rule: Optimizer) -> None:
    factors = (("D.weight", 0.5), ("*.weight", 3.0), ("B.*", 0.0))
    training = Training(rule, lr_factors=factors)
    expected = {"D.weight": 0.5, "E.weight": 3.0, "D.bias": 1.0, "B.gamma": 0.0, "B.beta": 0.0, "A.gamma": 1.0}
    assert {name: training.lr_factor(name) for name in expected} == expected
    for name, factor in expected.items():
        one: Weights = {name: np.ones(2)}
        other: Weights = {name: np.ones(2)}
        update(one, name, np.array([0.5, -1.0]), training, 0.1, 1)
        update(other, name, np.array([0.5, -1.0]), Training(rule), factor * 0.1, 1)
        np.testing.assert_array_equal(one[name], other[name])


SMALL = Network("n", (3,), [Dense("D", 4), BatchNorm("B"), Affine("A"), Dense("E", 2)])
RULES = [
    SGD(),
    SGD(0.9),
    SGD(0.9, True, 0.1),
    Adam(),
    Adam(weight_decay=0.1),
    Adam(weight_decay=0.1, decoupled=True),
    RMSprop(),
    RMSprop(momentum=0.9),
    Adadelta(),
]


def trainee(rule: Optimizer, average: float | None = None) -> Reference:
    reference = built(SMALL, Training(rule, average=average))
    reference.load("train", apart((8, 3)), np.arange(8) % 2)
    return reference


@pytest.mark.parametrize("rule", [SGD(weight_decay=0.5), Adam(weight_decay=0.5, decoupled=True)], ids=["SGD", "AdamW"])
def test_decay_acts_on_weights_alone(rule: Optimizer) -> None:
    plain = SGD() if isinstance(rule, SGD) else Adam()
    before, with_decay, without = trainee(rule).get_weights(), trainee(rule), trainee(plain)
    for reference in (with_decay, without):
        reference.train(np.arange(8), 8, np.array([0.1]), seed=0)
    for name in with_decay.arrays:
        shrunk = 0.1 * 0.5 * before[name] if name in ("D.weight", "E.weight") else 0.0
        expected = without.get_weights()[name] - shrunk
        # The difference of two numbers of order 1.
        np.testing.assert_allclose(with_decay.get_weights()[name], expected, rtol=0, atol=ROUNDING)


# --- adapter ----------------------------------------------------------------------------------------------------------


def test_training_is_gradients_times_learning_rates() -> None:
    reference, order, rates = trainee(SGD()), np.array([3, 1, 2, 0, 5, 4, 7]), np.array([0.5, 0.25, 0.125])
    images, labels = reference.data["train"]
    weights, losses = reference.get_weights(), []
    judge = trainee(SGD())
    for batch, rate in zip(([3, 1, 2], [0, 5, 4], [7]), rates):
        judge.set_weights(weights)
        loss, gradients = judge.gradients(images[batch], labels[batch])
        weights |= {name: weights[name] - rate * gradients[name] for name in gradients if name != "input"}
        losses.append(loss)
    trained = reference.train(order, 3, rates, seed=0)
    np.testing.assert_array_equal(trained.losses, losses)
    for name, (_, is_trained) in reference.arrays.items():
        assert np.array_equal(reference.get_weights()[name], weights[name]) == is_trained, name


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_training_continues_where_it_stopped(rule: Optimizer, average: float | None) -> None:
    whole, first, second = (trainee(rule, average) for _ in range(3))
    order, rates = np.array([0, 1, 2, 3, 4, 5, 6, 7]), np.array([0.1, 0.2, 0.05, 0.1])
    whole.train(order, 2, rates, seed=0)
    first.train(order[:4], 2, rates[:2], seed=0)
    second.set_weights(first.get_weights())
    second.train(order[4:], 2, rates[2:], seed=0)
    assert whole.get_weights().keys() == second.get_weights().keys()
    for name, array in whole.get_weights().items():
        np.testing.assert_array_equal(array, second.get_weights()[name], name)


def test_weights_without_optimizer_state_reset_it() -> None:
    reference = trainee(SGD(0.9))
    start = reference.get_weights()
    runs = []
    for _ in range(2):
        reference.set_weights(start)
        runs.append(reference.train(np.arange(8), 4, np.array([0.1, 0.1]), seed=0).losses)
    np.testing.assert_array_equal(runs[0], runs[1])


def test_inspection_changes_nothing() -> None:
    reference = trainee(SGD())
    before = {name: array.copy() for name, array in reference.get_weights().items()}
    reference.load("test", *reference.data["train"])
    reference.gradients(*reference.data["train"])
    reference.activations(reference.data["train"][0], training=True)
    reference.predict("test", 3)
    for array in reference.get_weights().values():
        array[...] = 0
    for name, array in reference.get_weights().items():
        np.testing.assert_array_equal(array, before[name], name)


def test_predictions_are_evaluations_in_float64() -> None:
    network = Network("n", (1, 4, 4), [Scale(), Conv("C", 2, 3), BatchNorm("B"), Flatten(), Dropout(), Dense("D", 3)])
    reference = built(network)
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4), dtype=np.uint8)
    reference.load("test", images, np.zeros(5, int))
    logits = reference.predict("test", 2)
    assert logits.dtype == np.float64
    # One matrix product or three: the order of the sums may differ.
    np.testing.assert_allclose(logits, reference.activations(images, training=False)["D"], rtol=ROUNDING)


def test_right_predictions_are_counted() -> None:
    reference = Reference(Network("n", (2,), [Scale(factor=1.0)]), Training(), Setting())
    reference.set_weights({})
    reference.load("train", np.array([[0, 1], [0, 1], [1, 0]]), np.array([1, 0, 0]))
    assert reference.train(np.array([0, 1, 2, 0]), 3, np.zeros(2), seed=0).correct == 3


@pytest.mark.parametrize("case", CASES)
def test_every_output_has_the_shape_of_the_spec(case: str) -> None:
    network = CASES[case]
    outputs = built(network).activations(apart((3, *network.input)), training=True)
    assert {path: output.shape for path, output in outputs.items()} == {
        node.path: (3, *node.output) for _, node in network.walk()
    }


@pytest.mark.parametrize("setting", [Setting(device="cuda"), Setting(mode="fast")], ids=["device", "mode"])
def test_other_settings_are_refused(setting: Setting) -> None:
    with pytest.raises(Unavailable, match=setting.mode or setting.device):
        Reference(SMALL, Training(), setting)


def test_unknown_departure_is_refused() -> None:
    with pytest.raises(ValueError, match="no departure 'biased_ostrich', only 'unbiased_running_variance'"):
        built(SMALL, departures=("biased_ostrich",))


def test_weights_of_another_shape_are_refused() -> None:
    reference = trainee(SGD())
    weights = reference.get_weights() | {"D.weight": np.zeros((3, 4))}
    with pytest.raises(ValueError, match=r"D.weight is \(3, 4\), the network's is \(4, 3\)"):
        reference.set_weights(weights)


def test_as_many_learning_rates_as_steps() -> None:
    with pytest.raises(ValueError, match="zip"):
        trainee(SGD()).train(np.arange(8), 4, np.zeros(3), seed=0)
