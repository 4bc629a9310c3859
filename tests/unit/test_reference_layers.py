"""The reference's modern layers against finite differences, and against values computed by hand."""

from __future__ import annotations

from math import erf, exp, log, pi, sqrt, tanh
from typing import Any

import numpy as np
import pytest

from frameworks.adapter import Setting
from frameworks.arrays import Array, initial
from frameworks.numpy_reference import Reference
from frameworks.reference_layers import LAYERS
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    Conv,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool,
    Mish,
    Multiply,
    Network,
    Pad,
    PReLU,
    ReLU6,
    Resize,
    Scale,
    Select,
    SiLU,
    Softplus,
    StochasticDepth,
)  # fmt: skip
from frameworks.training import Training
from tests.unit.modern_layers import MODERN, TOLERANCE, apart, gradient_and_differences

ROUNDING = 1e-14  # values computed by hand are rounded a few times, by 2^-53 each

GRADIENTS = [
    (case, name)
    for case, network in MODERN.items()
    for name in ["input", *(array.name for array in network.parameters if array.trainable)]
]


@pytest.mark.parametrize(("case", "name"), GRADIENTS)
def test_gradient_is_the_limit_of_differences(case: str, name: str) -> None:
    network = MODERN[case]
    reference = Reference(network, Training(label_smoothing=0.1), Setting())
    noise = np.random.default_rng(1)
    drawn = initial(network, seed=0).items()
    reference.set_weights({name: array + noise.uniform(0.1, 0.5, array.shape) for name, array in drawn})
    images, labels = apart((3, *network.input)), np.array([2, 0, 1])
    gradient, differences = gradient_and_differences(reference, images, labels, name)
    assert abs(differences).max() > 1e4 * TOLERANCE  # at least four digits are compared
    np.testing.assert_allclose(gradient, differences, rtol=0, atol=TOLERANCE)


# --- by hand ----------------------------------------------------------------------------------------------------------


def forward(layer: Layer, x: Any, **arrays: Any) -> Array:
    y, _ = LAYERS[type(layer)](layer, np.array(x, float), **{role: np.array(v, float) for role, v in arrays.items()})
    return np.asarray(y)


SIX = (-3.5, -1.0, 0.0, 1.0, 2.9, 7.0)


def gelu(x: float) -> float:
    return x * (1 + erf(x / sqrt(2))) / 2


# Printed to six digits by PyTorch 2.13, TensorFlow 2.21 and JAX 0.10.2, except where only a formula is given.
AT_SIX: dict[Layer, tuple[float, ...]] = {
    HardSigmoid(): (0, 0.333333, 0.5, 0.666667, 0.983333, 1),
    HardSigmoid(slope=0.2): (0, 0.3, 0.5, 0.7, 1, 1),
    HardSwish(): (0, -0.333333, 0, 0.666667, 2.851667, 7),
    GELU(): (-0.000814, -0.158655, 0, 0.841345, 2.894589, 7),
    GELU(approximate=True): (-0.000616, -0.158808, 0, 0.841192, 2.895033, 7),
    LeakyReLU(): (-0.035, -0.01, 0, 1, 2.9, 7),
    LeakyReLU(slope=0.3): (-1.05, -0.3, 0, 1, 2.9, 7),
    ReLU6(): (0, 0, 0, 1, 2.9, 6),
}


@pytest.mark.parametrize("layer", AT_SIX, ids=repr)
def test_an_activation_at_six_points(layer: Layer) -> None:
    np.testing.assert_allclose(forward(layer, [SIX])[0], AT_SIX[layer], rtol=0, atol=6e-7)


@pytest.mark.parametrize("x", SIX)
def test_activations_follow_their_formulas(x: float) -> None:
    logistic, softplus = 1 / (1 + exp(-x)), log(1 + exp(x))
    negative = exp(min(x, 0)) - 1
    formulas: dict[Layer, float] = {
        SiLU(): x * logistic,
        Softplus(): softplus,
        Mish(): x * tanh(softplus),
        ELU(): x if x > 0 else negative,
        ELU(alpha=0.7): x if x > 0 else 0.7 * negative,
        SELU(): 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * negative),
        GELU(): gelu(x),
        GELU(approximate=True): x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))),
        HardSwish(): x * min(max(x / 6 + 0.5, 0), 1),
    }
    for layer, expected in formulas.items():
        assert forward(layer, [[x]])[0, 0] == pytest.approx(expected, rel=ROUNDING, abs=1e-15), layer


@pytest.mark.parametrize("layer", [ELU(), SELU(), SiLU(), Softplus(), Mish(), GELU(), GELU(approximate=True)], ids=repr)
def test_an_activation_far_out_neither_overflows_nor_is_undefined(layer: Layer) -> None:
    with np.errstate(all="raise", under="ignore"):
        y, backward = LAYERS[type(layer)](layer, np.array([[-1000.0, 1000.0]]))
        dx, _ = backward(np.ones((1, 2)))
    scale = 1.0507009873554805 if isinstance(layer, SELU) else 1.0
    least = {ELU: -1.0, SELU: -scale * 1.6732632423543772}.get(type(layer), 0.0)
    np.testing.assert_allclose(y, [[least, 1000 * scale]], rtol=ROUNDING, atol=1e-300)
    np.testing.assert_allclose(dx, [[0, scale]], rtol=ROUNDING, atol=1e-300)


@pytest.mark.parametrize(
    ("layer", "x", "derivative"),
    [
        (ReLU6(), (0, 6), (0, 0)),
        (LeakyReLU(slope=0.3), (0,), (0.3,)),
        (ELU(), (0,), (1,)),
        (ELU(alpha=0.7), (0,), (0.7,)),
        (SELU(), (0,), (1.0507009873554805 * 1.6732632423543772,)),
        (HardSigmoid(), (-3, 3), (0, 0)),
        (HardSigmoid(slope=0.25), (-2, 2), (0, 0)),
        (HardSwish(), (-3, 0, 3), (0, 0.5, 1)),
    ],
    ids=repr,
)
def test_the_derivative_at_a_kink(layer: Layer, x: tuple[float, ...], derivative: tuple[float, ...]) -> None:
    _, backward = LAYERS[type(layer)](layer, np.array([x], float))
    np.testing.assert_allclose(backward(np.ones((1, len(x))))[0], [derivative], rtol=ROUNDING)


def test_the_slope_of_prelu_is_that_of_its_channel_and_the_derivative_at_zero() -> None:
    x = np.array([[[[-2.0, 0.0, 3.0]], [[-1.0, 0.0, 1.0]]]])
    y, backward = LAYERS[PReLU](PReLU("A"), x, slope=np.array([0.5, 0.25]))
    np.testing.assert_array_equal(y, [[[[-1, 0, 3]], [[-0.25, 0, 1]]]])
    dx, arrays = backward(np.full(x.shape, 2.0))
    np.testing.assert_array_equal(dx, [[[[1, 1, 2]], [[0.5, 0.5, 2]]]])
    np.testing.assert_array_equal(arrays["slope"], [-4, -2])


SIXTEEN = np.arange(1, 17).reshape(1, 1, 4, 4)


@pytest.mark.parametrize(
    ("layer", "x", "expected"),
    [
        pytest.param(
            AvgPool("P", 3, 2, 1, ceil=True), SIXTEEN,
            [[14 / 9, 30 / 9, 12 / 6], [57 / 9, 99 / 9, 36 / 6], [27 / 6, 45 / 6, 16 / 4]], id="what lies beyond",
        ),
        pytest.param(
            AvgPool("P", 3, 2, 1, count_padding=False, ceil=True), SIXTEEN,
            [[14 / 4, 30 / 6, 12 / 2], [57 / 6, 99 / 9, 36 / 3], [27 / 2, 45 / 3, 16]], id="only the image counts",
        ),
        pytest.param(AvgPool("P", 2, 2, ceil=True), np.arange(1, 10).reshape(1, 1, 3, 3),
                     [[3, 4.5], [7.5, 9]], id="without padding"),
        pytest.param(MaxPool("P", 3, 2, 1, ceil=True).resolved((1, 4, 4)), SIXTEEN,
                     [[6, 8, 8], [14, 16, 16], [14, 16, 16]], id="largest"),
        pytest.param(AdaptiveAvgPool("P", 2, 2), np.arange(1, 26).reshape(1, 1, 5, 5), [[7, 9], [17, 19]],
                     id="parts overlap"),
        pytest.param(AdaptiveAvgPool("P", 2, 4), [[[[1, 3], [5, 9]]]], [[1, 1, 3, 3], [5, 5, 9, 9]], id="more parts"),
        pytest.param(MaxPool("P", 2, 1, dilation=2), SIXTEEN, [[11, 12], [15, 16]], id="dilated maximum"),
        pytest.param(Pad("P", ((1, 0), (0, 2)), 7.0), [[[[1, 2]]]], [[7, 7, 7, 7], [1, 2, 7, 7]], id="padded by 7"),
        # Linear, 2 pixels to 4: the centers 0.5 and 1.5 in the middle of 2 output pixels each; 0 and 1 at the ends;
        # one output pixel every half input pixel.
        pytest.param(Resize("R", 1, 4), [[[[0, 4]]]], [[0, 1, 3, 4]], id="linear, half a pixel"),
        pytest.param(Resize("R", 1, 4, "linear", "aligned_corners"), [[[[0, 3]]]], [[0, 1, 2, 3]],
                     id="linear, corners"),
        pytest.param(Resize("R", 1, 4, "linear", "asymmetric"), [[[[0, 4]]]], [[0, 2, 4, 4]], id="linear, asymmetric"),
        # 5 to 3 pixels: centers at 1/3, 2, 11/3; corners at 0, 2, 4; steps of 5/3: 0, 5/3, 10/3.
        pytest.param(Resize("R", 1, 3), [[[[0, 3, 6, 9, 12]]]], [[1, 6, 11]], id="linear, half a pixel, 5 to 3"),
        pytest.param(Resize("R", 1, 3, "linear", "aligned_corners"), [[[[0, 3, 6, 9, 12]]]], [[0, 6, 12]],
                     id="linear, corners, 5 to 3"),
        pytest.param(Resize("R", 1, 3, "linear", "asymmetric"), [[[[0, 3, 6, 9, 12]]]], [[0, 5, 10]],
                     id="linear, asymmetric, 5 to 3"),
        pytest.param(Resize("R", 1, 3, "nearest"), [[[[0, 1, 2, 3, 4]]]], [[0, 2, 4]], id="nearest, half a pixel"),
        pytest.param(Resize("R", 1, 3, "nearest", "asymmetric"), [[[[0, 1, 2, 3, 4]]]], [[0, 1, 3]],
                     id="nearest, asymmetric"),
        # 4 to 2: the centers are 1/2 and 5/2, and the second of two equally near pixels is taken.
        pytest.param(Resize("R", 1, 2, "nearest"), [[[[0, 1, 2, 3]]]], [[1, 3]], id="nearest, of two the second"),
        # 4 to 3: corners at 0, 3/2, 3.
        pytest.param(Resize("R", 1, 3, "nearest", "aligned_corners"), [[[[0, 1, 2, 3]]]], [[0, 2, 3]],
                     id="nearest, corners"),
        pytest.param(Resize("R", 1, 1, "linear", "aligned_corners"), [[[[5, 6, 7]]]], [[5]], id="corners to 1 pixel"),
    ],
)  # fmt: skip
def test_a_layer_of_one_channel(layer: Layer, x: Any, expected: Any) -> None:
    np.testing.assert_allclose(forward(layer, x)[0, 0], expected, rtol=ROUNDING)


@pytest.mark.parametrize("size", [5, 8, 10, 12, 15])
@pytest.mark.parametrize("to", [2, 3, 4, 7, 16])
def test_nearest_is_the_pixel_that_is_nearest(size: int, to: int) -> None:
    x = np.arange(size, dtype=float).reshape(1, 1, 1, size)
    y = forward(Resize("R", 1, to, "nearest"), x)[0, 0, 0]
    for i, pixel in enumerate(y):
        twice = (2 * i + 1) * size  # twice `to` times the position of pixel i's center, a whole number
        centers = [(2 * each + 1) * to for each in range(size)]
        assert abs(centers[int(pixel)] - twice) == min(abs(center - twice) for center in centers)


def test_a_dilated_convolution() -> None:
    # 1 * 1 + 2 * 3 + 3 * 9 + 4 * 11 = 78, and so on.
    y = forward(Conv("C", 1, 2, dilation=2), SIXTEEN, weight=[[[[1, 2], [3, 4]]]], bias=[0])
    np.testing.assert_array_equal(y, [[[[78, 88], [118, 128]]]])


def test_normalizations_of_one_image() -> None:
    """Two channels with the values 1 3 and 5 7: the deviations are 2 of pixels, 1 of channels, sqrt(5) of all."""
    x = [[[[1, 3]], [[5, 7]]]]
    ones: dict[str, Any] = {"gamma": [1, 1], "beta": [0, 0]}
    np.testing.assert_allclose(forward(LayerNorm("N", 0.0), x, **ones), [[[[-1, -1]], [[1, 1]]]])
    np.testing.assert_allclose(forward(InstanceNorm("N", 0.0), x, **ones), [[[[-1, 1]], [[-1, 1]]]])
    np.testing.assert_allclose(forward(GroupNorm("N", 2, 0.0), x, **ones), [[[[-1, 1]], [[-1, 1]]]])
    np.testing.assert_allclose(forward(GroupNorm("N", 1, 0.0), x, **ones), np.array([[[[-3, -1]], [[1, 3]]]]) / sqrt(5))
    scaled = forward(LayerNorm("N", 5.0), x, gamma=[3, 6], beta=[1, 2])  # the root of 4 + 5 is 3
    np.testing.assert_allclose(scaled, [[[[-1, -1]], [[6, 6]]]], rtol=ROUNDING)


def test_the_groups_of_a_group_norm_are_in_order() -> None:
    x = np.array([1.0, 3.0, 10.0, 30.0]).reshape(1, 4, 1, 1)
    y = forward(GroupNorm("N", 2, 0.0), x)
    np.testing.assert_allclose(y.ravel(), [-1, 1, -1, 1], rtol=ROUNDING)


def test_channels_of_zeros() -> None:
    np.testing.assert_array_equal(forward(Select("S", (1, None, 0)), [[3, 4]]), [[4, 0, 3]])


def chain(layer: Layer) -> Any:
    """A chain of one layer without arrays."""

    def through(x: Array) -> Any:
        y, backward = LAYERS[type(layer)](layer, x)
        return y, lambda dy: backward(dy)[0]

    return through


def test_sums_and_products_of_three() -> None:
    chains = [chain(Scale(factor=factor)) for factor in (1.0, 2.0, 4.0)]
    x = np.array([[3.0]])
    assert LAYERS[Add](Add("J", [[], [], []]), x, *chains)[0].tolist() == [[21]]
    y, backward = LAYERS[Multiply](Multiply("J", [[], [], []]), x, *chains)
    assert y.tolist() == [[216]]
    assert backward(np.ones((1, 1)))[0].tolist() == [[216]]  # the derivative of 8 x^3 is 24 x^2


def test_stochastic_depth_drops_images() -> None:
    network = Network("n", (2, 3, 3), [StochasticDepth("D", rate=0.25)])
    reference = Reference(network, Training(), Setting())
    reference.set_weights({})
    y = reference.activations(np.ones((2000, 2, 3, 3)), True)["D"].reshape(2000, -1)
    assert set(np.unique(y)) == {0.0, 4 / 3}
    assert (y.min(1) == y.max(1)).all()
    # The count of 2000 independent draws is within four standard deviations; at a fixed seed it always is.
    assert abs((y[:, 0] > 0).mean() - 0.75) < 4 * sqrt(0.75 * 0.25 / 2000)
    np.testing.assert_array_equal(reference.activations(np.ones((3, 2, 3, 3)), False)["D"], np.ones((3, 2, 3, 3)))
