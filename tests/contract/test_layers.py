"""Every modern layer in every framework agrees with the reference: outputs in both modes, loss and gradients."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights, initial
from frameworks.numpy_reference import Reference
from frameworks.registry import trained
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
    Add,
    Affine,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
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
    Normalize,
    Pad,
    PReLU,
    ReLU,
    ReLU6,
    Residual,
    Resize,
    Scale,
    Select,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)  # fmt: skip
from frameworks.spec.value_checks import METHODS, POSITIONS
from frameworks.training import Training
from tests.conftest import Bench

# Relative to the largest value of a tensor. Measured: 1e-12 in float64, 2e-5 in float32.
LIMITS = {"float64": 1e-11, "float32": 2e-5}
IMAGES = 5
INPUT = (4, 7, 9)
FRONT: list[Layer] = [Scale("px"), Normalize("spread", mean=(0.5,), std=(0.15,))]  # values from -3.3 to 3.3

ACTIVATIONS: tuple[Layer, ...] = (
    ReLU("a"), ReLU6("a"), LeakyReLU("a"), LeakyReLU("a", slope=1.5), PReLU("a"), ELU("a"), ELU("a", alpha=0.7),
    SELU("a"), Sigmoid("a"), HardSigmoid("a"), HardSigmoid("a", slope=0.2), Tanh("a"), SiLU("a"), HardSwish("a"),
    GELU("a"), GELU("a", approximate=True), Softplus("a"), Mish("a"),
)  # fmt: skip
OTHERS: tuple[Layer, ...] = (
    LayerNorm("l"), LayerNorm("l", gamma=False), LayerNorm("l", beta=False, eps=1e-3),
    GroupNorm("l", 2), GroupNorm("l", 1, beta=False), GroupNorm("l", 4, gamma=False), InstanceNorm("l"),
    Affine("l", beta=False), Affine("l"),
    Pad("p", ((1, 2), (0, 3)), 0.5), Pad("p", 2),
    Select("s", (2, None, None, 0, 1, 3, 3)), Select("s", (3, None)),
    Conv("c", 5, 3, 1, 1, dilation=2), Conv("c", 6, 3, 2, 2, groups=2, dilation=(2, 1)),
    Conv("c", 4, 3, 2, ((1, 2), (0, 2)), groups=4, dilation=2),
    Conv("c", 12, (3, 2), (1, 3), ((1, 0), (2, 1)), groups=4), Conv("c", 8, (2, 3), (3, 1), ((0, 1), (2, 0)), groups=2),
    MaxPool("m", 2, 2, dilation=2), MaxPool("m", 3, 2, 1, dilation=2),
    MaxPool("m", 3, 2, ((1, 0), (1, 1)), ceil=True, dilation=(1, 2)), MaxPool("m", 3, 2, 1, ceil=True),
    AvgPool("a", 3, 2, 1, ceil=True), AvgPool("a", 3, 2, 1, ceil=True, count_padding=False),
    AvgPool("a", 2, 2, ceil=True), AvgPool("a", 3, 2, ((0, 1), (1, 0)), ceil=True),
    AdaptiveAvgPool("a", 2, 2), AdaptiveAvgPool("a", 7, 3), AdaptiveAvgPool("a", 10, 5),
    Add("j", [[], [Conv("x", 4, 1)], [ReLU("r")]]), Add("j", [[Conv("x", 2, 1)]]),
    Multiply("j", [[], [GlobalAvgPool(), Conv("x", 4, 1), Sigmoid()]]),
    Multiply("j", [[Conv("y", 3, 1)], [Conv("x", 3, 1), Tanh()], [GlobalAvgPool("g"), Conv("z", 3, 1)]]),
    Residual("res", [Conv("x", 4, 1)]), Concat("c", [[], [Conv("x", 2, 1)]]),
    *(
        Resize("r", height, width, method, positions)
        for height, width in ((5, 14), (14, 4))
        for method in METHODS
        for positions in POSITIONS
    ),
)  # fmt: skip


def of_image(layer: Layer) -> Network:
    return Network("net", INPUT, [*FRONT, layer, Flatten("flat"), Dense("out", 3)])


def of_flat(layer: Layer) -> Network:
    return Network("net", INPUT, [*FRONT, Flatten("flat"), Dense("d", 5), layer, Dense("out", 3)])


def at(layer: Layer, *points: int) -> Network:
    """The layer on pixels whose values, less 10, are these points and some between them."""
    front = [Normalize("less", mean=(10.0,), std=(1.0,))]
    return Network("kinks", (1, 1, len(points)), [*front, layer, Flatten("flat"), Dense("out", 3)])


FLAT_ROW = Network(
    "flat",
    INPUT,
    [
        *(Scale("px"), Flatten("f"), Dense("d", 6), LayerNorm("l"), Affine("af", beta=False), PReLU("p")),
        *(Multiply("m", [[], [Sigmoid()]]), Dense("out", 3)),
    ],
)
POINTS = (-6, -3, -2, -1, 0, 1, 2, 3, 6, 10)  # among them the kinks
NETS: dict[str, Network] = {
    **{repr(layer): of_image(layer) for layer in (*ACTIVATIONS, *OTHERS)},
    **{f"flat: {layer!r}": of_flat(layer) for layer in ACTIVATIONS},
    **{f"kinks: {layer!r}": at(layer, *POINTS) for layer in ACTIVATIONS},
    "flat row": FLAT_ROW,
}


def images_of(net: Network) -> Array:
    if net.name == "kinks":
        return np.tile(np.array(POINTS, np.int64) + 10, (IMAGES, 1, 1, 1)).astype(np.uint8)
    return np.random.default_rng(1).integers(0, 256, (IMAGES, *net.input), dtype=np.uint8)


def weights_of(net: Network) -> Weights:
    """Weights without a 0 or 1 that could hide a fault, exact in float32."""
    stream, weights = np.random.default_rng(5), initial(net, 3, "he_normal")
    for each in net.parameters:
        if each.role in ("bias", "beta"):
            weights[each.name] = stream.normal(0, 0.1, each.shape)
        elif each.role in ("gamma", "slope"):
            weights[each.name] = stream.uniform(0.5, 1.5, each.shape) * (0.3 if each.role == "slope" else 1)
    return {name: array.astype(np.float32).astype(np.float64) for name, array in weights.items()}


LABELS = np.array([0, 2, 1, 0, 2])


@cache
def expected(name: str) -> dict[str, Array]:
    """The tensors of the reference."""
    reference = Reference(NETS[name], Training(), Setting(precision="float64"))
    reference.set_weights(weights_of(NETS[name]))
    images = images_of(NETS[name])
    modes = {mode: reference.activations(images, mode == "training") for mode in ("evaluation", "training")}
    loss, gradients = reference.gradients(images, LABELS)
    return named(modes, loss, gradients)


def named(modes: dict[str, Weights], loss: float, gradients: Weights) -> dict[str, Array]:
    outputs = {f"{mode} {path}": output for mode, outputs in modes.items() for path, output in outputs.items()}
    return outputs | {"loss": np.array(loss)} | {f"gradient {path}": each for path, each in gradients.items()}


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("framework", trained())
def test_a_layer_agrees_with_the_reference(bench: Bench, framework: str, name: str, precision: str) -> None:
    net, images, right = NETS[name], images_of(NETS[name]), expected(name)
    weights = {key: array.astype(precision) for key, array in weights_of(net).items()}
    bench.build(framework, net, precision=precision, weights=weights)
    session = bench.session(framework)
    modes = {mode: dict(session.activations(images, mode == "training")) for mode in ("evaluation", "training")}
    loss, gradients = session.gradients(images, LABELS)
    actual = named(modes, loss, dict(gradients))

    assert actual.keys() == right.keys()
    for tensor, value in right.items():
        assert actual[tensor].shape == value.shape, tensor
        assert np.abs(actual[tensor] - value).max() <= LIMITS[precision] * np.abs(value).max(), tensor


WITH_ARRAYS = [repr(layer) for layer in (*ACTIVATIONS, *OTHERS) if len(of_image(layer).parameters) > 2]  # Dense has two


@pytest.mark.parametrize("name", WITH_ARRAYS)
@pytest.mark.parametrize("framework", trained())
def test_a_layer_with_arrays_trains_on_images(bench: Bench, framework: str, name: str) -> None:
    """It is the first: its input, unlike in `gradients`, needs no gradient."""
    net, images = NETS[name], images_of(NETS[name])
    bench.build(framework, net, precision="float64", weights=weights_of(net))
    session, reference = bench.session(framework), Reference(net, Training(), Setting(precision="float64"))
    reference.set_weights(weights_of(net))
    order, lrs = np.tile(np.arange(IMAGES), 2), [0.1, 0.05]
    for each in (session, reference):
        each.load("train", images, LABELS)
    session.train(order, IMAGES, lrs, start=0, stop=len(order), seed=0)
    reference.train(order, IMAGES, np.array(lrs), 0)
    weights = session.get_weights()
    for parameter in net.parameters:
        expected = reference.weights[parameter.name]
        assert np.abs(weights[parameter.name] - expected).max() <= LIMITS["float64"] * np.abs(expected).max()
