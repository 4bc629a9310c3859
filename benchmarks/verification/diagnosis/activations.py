"""Hypotheses for an activation: another function, or another constant of the same function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from benchmarks.verification.diagnosis.difference import Hypothesis
from frameworks import spec
from frameworks.arrays import Array
from frameworks.reference_layers import LAYERS
from frameworks.spec import Layer

OTHERS: dict[str, Callable[[Array], Array]] = {
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(0, x),
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "hard sigmoid, clip(0.2 x + 0.5)": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard sigmoid, clip(x / 6 + 0.5)": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "the absolute value": np.abs,
}


def activation(layer: Layer, x: Array, actual: Array) -> Iterator[Hypothesis]:
    """The output of another activation."""
    for other in (spec.ReLU(), spec.Sigmoid(), spec.Tanh()):
        if type(other) is not type(layer):
            yield Hypothesis("{} for {}", LAYERS[type(other)](other, x)[0], (other.kind, layer.kind))
    for name, function in OTHERS.items():
        yield Hypothesis("{} for {}", function(x), (name, layer.kind))
    if (x > 6).any():
        yield Hypothesis("{} for {}", np.clip(x, 0, 6), ("ReLU6", layer.kind))
    if isinstance(layer, spec.ReLU) and actual.shape == x.shape:
        slope = float(f"{np.median((actual / x)[x < 0]) if (x < 0).any() else 0:.3g}")
        for exact in (slope, float(np.float32(slope))) if 0 < abs(slope) < 1 else ():  # TensorFlow's is float32
            yield Hypothesis("LeakyReLU of slope {:g} for ReLU", np.where(x > 0, x, exact * x), (slope,))
    if isinstance(layer, spec.Tanh):
        for name in ("amplitude", "slope"):
            if getattr(layer, name) != 1:
                without = replace(layer, **{name: 1.0})  # type: ignore[arg-type]
                yield Hypothesis("the {} of tanh is left out", LAYERS[spec.Tanh](without, x)[0], (name,))
