"""The declared native semantics are those of the frameworks, and adapters compute them.

The scripts `tests/third_parties/*_natively.py` use a framework directly, without code of this repository.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frameworks import arrays
from frameworks.adapter import Setting
from frameworks.arrays import Weights
from frameworks.native import (
    CHOICES,
    OF_RECIPES,
    TRUNCATED,
    Native,
    initial,
    mapped,
    spread,
    with_default,
    with_defaults,
)
from frameworks.numpy_reference import Reference, moved
from frameworks.registry import FRAMEWORKS, in_all, trained
from frameworks.spec import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    LocalResponseNorm,
    MaxPool,
    Network,
    ReLU,
    Residual,
    Scale,
)
from frameworks.training import SGD, Adadelta, Adam, Optimizer, RMSprop, Training
from tests.conftest import Bench
from tests.contract.test_third_parties import output_of

PAGE = Path(__file__).parents[2] / "docs" / "semantics.md"

# Sums of powers of two: exact in float32 and in float64, whichever the framework uses.
DECAY, MOMENTUM, BETAS, RHO, LRS = 0.0625, 0.875, (0.875, 0.9375), 0.9375, (0.25, 0.25, 0.0625)
RULES: dict[str, Optimizer] = {
    "sgd": SGD(0.0, False, DECAY),
    "momentum": SGD(MOMENTUM, False, DECAY),
    "nesterov": SGD(MOMENTUM, True),
    "nesterov, decay": SGD(MOMENTUM, True, DECAY),
    "adam": Adam(*BETAS),
    "adam, decay": Adam(*BETAS, weight_decay=DECAY),
    "adamw": Adam(*BETAS, weight_decay=DECAY, decoupled=True),
    "rmsprop": RMSprop(RHO),
    "rmsprop, momentum": RMSprop(RHO, momentum=MOMENTUM),
    "rmsprop, decay": RMSprop(RHO, weight_decay=DECAY),
    "adadelta": Adadelta(RHO),
}
# MXNet 1.9 has no AdamW and no momentum in RMSprop. Its `nag` with decay and its Adadelta have tests below.
MISSING = {("mxnet", rule) for rule in ("adamw", "nesterov, decay", "rmsprop, momentum", "adadelta")}
# What frameworks lack: MXNet ignores the learning rate of Adadelta, and optax has no default for it; LRN is not in JAX.
NO_DEFAULT = {("mxnet", "adadelta_lr"), ("mxnet", "adamw_decay"), ("jax", "adadelta_lr"), ("jax", "sum_squares")}
# Adadelta moves the arrays by a thousandth: in float32 by few digits.
OPTIMIZERS = [(framework, rule, precision) for framework in in_all() for rule in RULES
              for precision in ("float32", "float64")
              if (framework, rule) not in MISSING and (rule, precision) != ("adadelta", "float32")
              and (framework, rule[:7], precision) != ("mxnet", "rmsprop", "float64")]  # fmt: skip
TINY = Network("tiny", (2,), [Dense("F", 3), BatchNorm("B")])
# Three steps accumulate about a dozen roundings of 6e-8 and of 1e-16 of values ten times as large as the change.
ROUNDING = {"float32": 1e-6, "float64": 1e-12}
SHAPES = {"F.weight": (3, 2), "F.bias": (3,), "B.gamma": (3,), "B.beta": (3,)}


def sized(stream: np.random.Generator, scale: float = 1.0) -> Weights:
    """Random arrays of a dense layer and a batch norm, at most `scale`; exact in float32 if it is a power of two."""
    return {name: scale * stream.integers(-64, 64, shape) / 64 for name, shape in SHAPES.items()}


START = sized(np.random.default_rng(0))


def gradients(rule: Optimizer) -> list[Weights]:
    """The gradients of each step; small where epsilon is compared with their size, so that it has an effect."""
    stream = np.random.default_rng(1)
    scale = 2.0**-20 if isinstance(rule, Adam) else 2.0**-10 if isinstance(rule, RMSprop) else 1.0
    return [sized(stream, scale) for _ in LRS]


@pytest.fixture(scope="module")
def native(bench: Bench) -> Callable[[str], Native]:
    """The native semantics that the adapter of a framework declares."""

    @cache
    def declared(framework: str) -> Native:
        one = FRAMEWORKS[framework]
        answer = bench.session(framework).request("start", module=one.module, adapter=one.adapter)
        return Native.from_json(answer["native"])

    return declared


@pytest.fixture(scope="module")
def own(bench: Bench) -> Callable[[str], dict[str, Any]]:
    """What a framework computes by default, without an adapter."""

    def listed(arrays: Weights) -> dict[str, Any]:
        return {name: array.tolist() for name, array in arrays.items()}

    def case(rule: Optimizer) -> dict[str, Any]:
        rule_json = Training(rule).to_json()["optimizer"]
        return {"rule": rule_json, "gradients": [listed(each) for each in gradients(rule)], "lrs": LRS}

    task = {"start": listed(START), "cases": {name: case(rule) for name, rule in RULES.items()}}

    @cache
    def found(framework: str) -> dict[str, Any]:
        answer: dict[str, Any] = output_of(bench, framework, f"{framework}_natively", json.dumps(task))
        return answer

    return found


# --- declared values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["epsilon", "rmsprop_epsilon", "adadelta_epsilon", "norm_epsilon", "norm_momentum"])
@pytest.mark.parametrize("framework", in_all())
def test_numbers(
    native: Callable[[str], Native], own: Callable[[str], dict[str, Any]], framework: str, point: str
) -> None:
    declared = getattr(native(framework), point).value
    assert own(framework)["points"][point] == pytest.approx(declared, rel=1e-12)  # 1 - 0.99 is not 0.01


@pytest.mark.parametrize("point", OF_RECIPES)
@pytest.mark.parametrize("framework", in_all())
def test_values_that_recipes_give(
    native: Callable[[str], Native], own: Callable[[str], dict[str, Any]], framework: str, point: str
) -> None:
    """What has no number is a remark."""
    declared, found = getattr(native(framework), point).value, own(framework)["points"].get(point)
    assert (found is None) == ((framework, point) in NO_DEFAULT)
    if found is None:
        assert not declared[0].isdigit()
    else:
        assert found == pytest.approx(float(declared), rel=1e-6)  # Keras holds a learning rate in float32


@pytest.mark.parametrize("point, measured, values", [
    ("norm_unbiased", "norm_variance", {False: 1, True: 2}),  # of 1 and 3, over n or over n - 1
    ("sum_squares", "window", {False: 1, True: 3}),  # three ones, their mean or their sum
    ("same_padding", "first_window", {"symmetric": -1, "after": 0}),  # the first pixel of the first window
    ("pool_rounding", "windows", {"down": 2, "up": 3}),  # of 3 pixels at stride 2 in 6 pixels
    ("padding_counts", "corner_mean", {"counted": 4 / 9, "not counted": 1}),  # of ones, 3 x 3 at a corner
    ("resize_positions", "second_pixel", {"half pixel": 1 / 4, "corners": 1 / 3}),  # of (0, 1) at 4 pixels
])  # fmt: skip
@pytest.mark.parametrize("framework", in_all())
def test_forms_of_layers(
    native: Callable[[str], Native],
    own: Callable[[str], dict[str, Any]],
    framework: str,
    point: str,
    measured: str,
    values: dict[Any, float],
) -> None:
    declared = getattr(native(framework), point).value
    assert (measured in own(framework)["points"]) == ((framework, point) not in NO_DEFAULT)
    if measured not in own(framework)["points"]:
        assert declared == CHOICES[point].aligned
        return
    assert own(framework)["points"][measured] == pytest.approx(values[declared], rel=1e-5)  # it was float32


def expected(training: Training, lrs: tuple[float, ...] = LRS) -> Weights:
    """The arrays after the steps of the reference's optimizer."""
    rule, found = training.optimizer, {}
    for name, start in START.items():
        array, slots = start, [np.zeros_like(start) for _ in rule.slots]
        for step, (each, rate) in enumerate(zip(gradients(rule), lrs), 1):
            array, *slots = moved(rule, rate, training.decay(name), step, array, each[name], *slots)
        found[name] = array
    return found


def error(found: Weights, right: Weights) -> float:
    """The largest difference as a fraction of how far the arrays have moved."""
    return max(float(np.abs(found[n] - right[n]).max() / np.abs(right[n] - START[n]).max()) for n in START)


def switched(training: Training) -> list[Training]:
    """Variants of a training with one point of its semantics changed."""
    rule = training.optimizer
    others = [replace(training, decay_all=not training.decay_all)] if rule.weight_decay else []
    switches = ["decoupled"] * (rule.weight_decay > 0 and len(rule.slots))  # without slots the two are one
    match rule:
        case SGD():
            switches += ["lr_in_velocity"] * (rule.momentum > 0)
        case RMSprop():
            switches += ["lr_in_velocity"] * (rule.momentum > 0) + ["epsilon_inside"] * (not rule.weight_decay)
        case Adam():
            switches += ["epsilon_hat"]
    if isinstance(rule, (Adam, Adadelta)):
        others.append(replace(training, optimizer=replace(rule, epsilon=2 * rule.epsilon)))
    return [*others, *(replace(training, optimizer=replace(rule, **{s: not getattr(rule, s)})) for s in switches)]


@pytest.mark.parametrize("framework, rule, precision", OPTIMIZERS)
def test_optimizers(
    native: Callable[[str], Native], own: Callable[[str], dict[str, Any]], framework: str, rule: str, precision: str
) -> None:
    """The framework's optimizer follows the formulas that are declared as native, and no variant of them."""
    _, training = with_defaults(TINY, Training(RULES[rule]), native(framework))
    found = {name: np.array(array) for name, array in own(framework)["steps"][precision][rule].items()}
    # MXNet's fused Adam holds epsilon and the bias-corrected learning rate in float32.
    narrow = framework == "mxnet" and isinstance(RULES[rule], Adam)
    assert error(found, expected(training)) <= ROUNDING["float32" if narrow else precision]
    for other in switched(training):
        assert error(found, expected(other)) > 1e-3, other


def test_mxnets_adadelta_ignores_the_learning_rate(
    native: Callable[[str], Native], own: Callable[[str], dict[str, Any]]
) -> None:
    """Its steps are those with a learning rate of 1. It has state in float32 only."""
    _, training = with_defaults(TINY, Training(RULES["adadelta"]), native("mxnet"))
    found = {name: np.array(array) for name, array in own("mxnet")["steps"]["float32"]["adadelta"].items()}
    assert error(found, expected(training, lrs=(1.0, 1.0, 1.0))) <= 1e-4  # the arrays move by a hundredth
    assert error(found, expected(training)) > 0.1


@pytest.mark.parametrize("precision", ROUNDING)
def test_gluons_nag_decays_the_velocity_by_the_new_weight(own: Callable[[str], dict[str, Any]], precision: str) -> None:
    """w' = w - d - momentum v' with d = rate (g + decay w), v' = momentum v + d; then v' holds decay w' for decay w.

    nag_mom_update writes the weight before it reads it again. This is an error of MXNet and is not reproduced.
    """
    right = {}
    for name, start in START.items():
        w, v = start, np.zeros_like(start)
        for each, rate in zip(gradients(RULES["nesterov, decay"]), LRS):
            d = rate * (each[name] + DECAY * w)
            w = w - d - MOMENTUM * (MOMENTUM * v + d)
            v = MOMENTUM * v + rate * (each[name] + DECAY * w)
        right[name] = w
    found = {name: np.array(array) for name, array in own("mxnet")["steps"][precision]["nesterov, decay"].items()}
    assert error(found, right) <= ROUNDING[precision]


@pytest.mark.parametrize("array", ["C.weight", "C.bias", "F.weight", "F.bias"])
@pytest.mark.parametrize("framework", in_all())
def test_initial_values(
    native: Callable[[str], Native], own: Callable[[str], dict[str, Any]], framework: str, array: str
) -> None:
    """The framework's initial values have the declared distribution."""
    layers = [Conv("C", 32, 5, groups=2), GlobalAvgPool(), Flatten(), Dense("D", 300), Dense("F", 400)]
    net = Network("drawn", (8, 9, 9), layers)
    theirs, ours = np.array(own(framework)["drawn"][array]), initial(net, 0, native(framework))[array]
    fans = {"C": (8 // 2 * 25, 32 * 25), "F": (300, 400)}[array[0]]
    formula = getattr(native(framework), "weights" if "weight" in array else "biases").value
    bound, deviation = spread(formula, *fans)
    # At the bound, a normal distribution cut at two deviations has 0.23 of the density of a uniform one.
    # The standard error of the deviation of n values is sqrt(1 / (5 n)); sqrt(1 / (2 n)) for a normal distribution.
    density, precision = (0.2, 2) if formula in TRUNCATED else (1, 5)
    assert theirs.size == ours.size
    for values in (theirs, ours):
        # The largest of n values is below the bound by more than a fraction s with probability (1 - density s)^n.
        assert bound * (1 - 12 / density / values.size**0.9) <= np.abs(values).max() <= bound * (1 + 1e-6)
        # Six standard errors are allowed.
        assert values.std() == pytest.approx(deviation, rel=6 * sqrt(1 / (precision * values.size)), abs=1e-300)


# --- adapters ---------------------------------------------------------------------------------------------------------

SCALE, HEAD = [Scale("pixels"), LocalResponseNorm("L", 3, 0.5)], [ReLU(), GlobalAvgPool(), Flatten(), Dense("F", 10)]
INNER = [Conv("C", 4, 3, padding=1, bias=False), BatchNorm("B")]
SHORT = [Conv("S", 4, 1, bias=False), BatchNorm("T")]
NESTED = Network("nested", (2, 6, 6), [*SCALE, Concat("I", [[Residual("R", INNER, SHORT)], SHORT]), *HEAD])


@pytest.mark.parametrize("precision", ["float64"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("framework", in_all())
def test_adapters_compute_their_native_training(
    bench: Bench, native: Callable[[str], Native], framework: str, rule: str, precision: str
) -> None:
    """Four steps of a network with every layer that differs agree with the reference."""
    net, training = with_defaults(NESTED, Training(RULES[rule]), native(framework))
    stream = np.random.default_rng(0)
    images, labels = stream.integers(0, 256, (32, *net.input), dtype=np.uint8), stream.integers(0, 10, 32)
    # From the weights of this seed, one rounding of each moves no array of the reference by more than a fraction 1e-13.
    start, order, rates = initial(net, 2, native(framework)), np.arange(32), [0.1, 0.1, 0.05, 0.05]
    departures = bench.build(framework, net, training, precision, weights=start)["departures"]
    bench.load(framework, "train", images, labels)
    slice_ = {"start": 0, "stop": 32, "batch_size": 8, "lrs": rates, "seed": 0}
    losses = bench.session(framework).request("train", order=bench.file(order), **slice_)["losses"]
    _, found = bench.arrays(framework, "get_weights")
    reference = Reference(net, training, Setting(), departures)
    reference.set_weights(start)
    reference.load("train", images, labels)
    right = reference.train(order, 8, np.array(rates), 0)
    assert np.abs(losses - right.losses).max() <= 1e-12  # about a hundred roundings of 1e-16; losses of about 2
    for name, array in reference.get_weights().items():
        assert np.abs(found[name] - array).max() <= 1e-12 * np.abs(array).max(), name


def test_every_layer_becomes_native(native: Callable[[str], Native]) -> None:
    """Also layers inside branches; shapes, names and all other layers do not change."""
    net, _ = with_defaults(NESTED, Training(), native("keras"))
    assert net.parameters == NESTED.parameters
    changed = {node.path: node.layer for _, node in net.walk()}
    norms = {path: layer for path, layer in changed.items() if isinstance(layer, BatchNorm)}
    assert len(norms) == 3 and {(layer.eps, layer.momentum) for layer in norms.values()} == {(1e-3, 0.01)}
    assert changed["L"] == LocalResponseNorm("L", 3, 1.5)
    unchanged = {path for path, layer in changed.items() if not isinstance(layer, (BatchNorm, LocalResponseNorm))}
    before = {node.path: node.layer for _, node in NESTED.walk()}
    assert all(changed[path] == before[path] for path in unchanged if not changed[path].branches())


def test_a_network_without_such_layers_does_not_change() -> None:
    assert mapped(NESTED, lambda layer: layer) == NESTED


# --- defaults of layers that a spec gives explicitly ------------------------------------------------------------------


def changed(layers: list[Any], name: str, value: str, size: int = 8) -> list[Any]:
    """The layers of a network with one default."""
    net = Network("net", (2, size, size), layers)
    return list(with_default(net, Training(), name, value)[0].layers)


def test_same_padding_at_stride_2() -> None:
    """Of an even number of pixels, TensorFlow pads the bottom and the right; of an odd number, all sides."""
    symmetric, after = Conv("C", 4, 3, 2, 1), Conv("C", 4, 3, 2, ((0, 1), (0, 1)))
    assert changed([symmetric], "same_padding", "after") == [after]
    assert changed([after], "same_padding", "symmetric") == [replace(after, padding=((1, 1), (1, 1)))]
    assert changed([symmetric], "same_padding", "after", size=7) == [symmetric]
    assert changed([symmetric], "same_padding", "symmetric") == [symmetric]
    assert changed([Conv("C", 4, 3, 1, 1)], "same_padding", "after") == [Conv("C", 4, 3, 1, 1)]  # stride 1
    assert changed([MaxPool("P", 3, 2)], "same_padding", "after") == [MaxPool("P", 3, 2)]  # 3 windows, not 4
    inner = changed([Residual("R", [symmetric], [Conv("S", 4, 1, 2)])], "same_padding", "after")
    assert inner == [Residual("R", [after], [Conv("S", 4, 1, 2)])]


def test_rounding_and_padding_of_pools() -> None:
    assert changed([MaxPool("P", 3, 2, ceil=True)], "pool_rounding", "down") == [MaxPool("P", 3, 2)]
    padded = AvgPool("P", 3, 1, 1)
    assert changed([padded], "padding_counts", "not counted") == [replace(padded, count_padding=False)]
    assert changed([AvgPool("P", 2, 2)], "padding_counts", "not counted") == [AvgPool("P", 2, 2)]


@pytest.mark.parametrize("framework", in_all())
def test_native_semantics_convert_to_json_and_back(native: Callable[[str], Native], framework: str) -> None:
    assert Native.from_json(json.loads(json.dumps(native(framework).to_json()))) == native(framework)


def test_glorots_native_weights_are_the_aligned_ones(native: Callable[[str], Native]) -> None:
    ours, theirs = arrays.initial(NESTED, 0), initial(NESTED, 0, native("keras"))
    assert all(np.abs(ours[name] - theirs[name]).max() <= 1e-15 for name in ours)  # the bound is computed differently


# --- the page ---------------------------------------------------------------------------------------------------------


def table(native: Native) -> str:
    """The table of a framework's semantics as in docs/semantics.md."""
    lines = ["| | aligned | native | how the aligned one is computed | read from |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in native.ledger())])


@pytest.mark.parametrize("framework", trained())
def test_the_page_has_the_table_of_every_framework(native: Callable[[str], Native], framework: str) -> None:
    ours = f"## {FRAMEWORKS[framework].title}\n\n{table(native(framework))}\n"
    assert ours in PAGE.read_text(encoding="utf-8"), f"docs/semantics.md must contain:\n\n{ours}"


def test_every_point_is_declared() -> None:
    assert [item.name for item in fields(Native)] == list(CHOICES)
