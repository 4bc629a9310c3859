"""Hypotheses for an activation: another function, or another constant of the same function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.verification.diagnosis.difference import Hypothesis
from frameworks import spec
from frameworks.arrays import Array
from frameworks.reference_layers import LAYERS
from frameworks.spec import Layer

# The functions that take the place of another, with the names that messages give them.
OTHERS: dict[str, Layer] = {
    "ReLU": spec.ReLU(),
    "Sigmoid": spec.Sigmoid(),
    "Tanh": spec.Tanh(),
    "ELU": spec.ELU(),
    "Softplus": spec.Softplus(),
    "SiLU": spec.SiLU(),
    "HardSigmoid of slope 0.2": spec.HardSigmoid(slope=0.2),
    "HardSigmoid of slope 1/6": spec.HardSigmoid(),
    "ReLU6": spec.ReLU6(),
    "SELU": spec.SELU(),
    "HardSwish": spec.HardSwish(),
    "GELU": spec.GELU(),
    "the tanh form of GELU": spec.GELU(approximate=True),
    "Mish": spec.Mish(),
}
KINDS: tuple[type[Layer], ...] = (*dict.fromkeys(type(layer) for layer in OTHERS.values()), spec.LeakyReLU, spec.PReLU)
# ReLU after one of them is ReLU in its place.
WITHOUT_NEGATIVE_SIDE = (spec.ReLU, spec.LeakyReLU, spec.PReLU, spec.ELU)


def computed(layer: Layer, x: Array) -> Array:
    return LAYERS[type(layer)](layer, x)[0]


def activation(layer: Layer, x: Array, actual: Array) -> Iterator[Hypothesis]:
    """The output of another activation, or with another constant."""
    distinct: list[Array] = []  # two functions may agree on these inputs: only the first is named
    for name, other in OTHERS.items():
        output = computed(other, x)
        if other != replace(layer, name="") and not any(np.array_equal(output, each) for each in distinct):
            distinct.append(output)
            yield Hypothesis("{} for {}", output, (name, layer.kind))
    yield Hypothesis("{} for {}", np.abs(x), ("the absolute value", layer.kind))
    if actual.shape == x.shape:
        yield from _constants(layer, x, actual)
    if isinstance(layer, spec.Tanh):
        for name in ("amplitude", "slope"):
            if getattr(layer, name) != 1:
                without = replace(layer, **{name: 1.0})  # type: ignore[arg-type]
                yield Hypothesis("the {} of tanh is left out", computed(without, x), (name,))


def prelu(layer: spec.PReLU, x: Array, actual: Array, slope: Array) -> Iterator[Hypothesis]:
    """Other slopes, or another activation."""
    compute = partial(LAYERS[spec.PReLU], layer, x)
    if len(slope) > 1:
        yield Hypothesis("all channels have the slope of the first", compute(np.full_like(slope, slope[0]))[0])
    yield Hypothesis("the slopes are 0.25: not loaded", compute(np.full_like(slope, 0.25))[0])
    yield from activation(layer, x, actual)


def _constants(layer: Layer, x: Array, actual: Array) -> Iterator[Hypothesis]:
    """The constant of the function, solved from the output and rounded to three digits."""
    below = x < 0

    def solved(values: Array) -> tuple[float, ...]:
        value = float(f"{np.median(values) if values.size else np.nan:.3g}")
        return (value, float(np.float32(value))) if np.isfinite(value) else ()  # TensorFlow's is float32

    if isinstance(layer, spec.ReLU):
        for slope in solved((actual / x)[below]):
            if 0 < abs(slope) < 1:
                output = computed(spec.LeakyReLU(slope=slope), x)
                yield Hypothesis("LeakyReLU of slope {:g} for ReLU", output, (slope,))
        return
    inside = (actual > 0) & (actual < 1) & (x != 0)
    ways: dict[type[Layer], tuple[str, Callable[[], Array]]] = {
        spec.LeakyReLU: ("slope", lambda: (actual / x)[below]),
        spec.ELU: ("alpha", lambda: (actual / np.expm1(np.minimum(x, 0)))[below]),
        spec.HardSigmoid: ("slope", lambda: ((actual - 0.5) / x)[inside]),
    }
    if type(layer) in ways:
        name, values = ways[type(layer)]
        right = getattr(layer, name)
        for value in solved(values()):
            if value not in (0.0, right) and abs(value) < 100:
                changed = replace(layer, **{name: value})  # type: ignore[arg-type]
                yield Hypothesis("{} {:g} for {:g}", computed(changed, x), (name, value, right))
