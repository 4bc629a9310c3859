"""Layers with chains inside, and those that move values, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frameworks import spec
from frameworks.arrays import Array, resize_matrix
from frameworks.reference_layers.base import Chain, Result, Values, mixed
from frameworks.spec import Layer


def dense(layer: spec.Dense, x: Array, weight: Array, bias: Values = 0.0) -> Result:
    """y = x W^T + b;  dx = dy W, dW = dy^T x, db = sum over n of dy."""
    return x @ weight.T + bias, lambda dy: (dy @ weight, {"weight": dy.T @ x, "bias": dy.sum(0)})


def dropout(layer: spec.Dropout, x: Array, stream: np.random.Generator) -> Result:
    """y = x mask, the mask 0 with probability `rate`, else 1 / (1 - rate) (Srivastava et al. 2014, scaled at once)."""
    mask = (stream.random(x.shape) >= layer.rate) / (1 - layer.rate)
    return x * mask, lambda dy: (dy * mask, {})


def stochastic_depth(layer: spec.StochasticDepth, x: Array, stream: np.random.Generator) -> Result:
    """y = x mask with one value of the mask for each image, as in `dropout`."""
    mask = (stream.random((len(x), *[1] * (x.ndim - 1))) >= layer.rate) / (1 - layer.rate)
    return x * mask, lambda dy: (dy * mask, {})


def flatten(layer: spec.Flatten, x: Array) -> Result:
    """N x C x H x W gives N x CHW, the same values in the same order."""
    return x.reshape(len(x), -1), lambda dy: (dy.reshape(x.shape), {})


def resize(layer: spec.Resize, x: Array) -> Result:
    """y = R x S^T for every map, dx = R^T dy S; see `arrays.resize_matrix`."""
    rows, columns = resize_matrix(layer, x.shape[2], layer.height), resize_matrix(layer, x.shape[3], layer.width)
    return rows @ x @ columns.T, lambda dy: (rows.T @ dy @ columns, {})


def select(layer: spec.Select, x: Array) -> Result:
    """y = E x, a row of E for each of the maps: 1 at that map, else 0; a row of zeros for None."""
    taken = np.array([[number == each for number in range(x.shape[1])] for each in layer.maps], np.float64)
    return mixed(taken, x), lambda dy: (mixed(taken.T, dy), {})


def concat(layer: spec.Concat, x: Array, *chains: Chain) -> Result:
    """The chains' outputs side by side; each has its part of dy, and dx is the sum of what they give back."""
    outputs, backs = zip(*(chain(x) for chain in chains))
    ends = np.cumsum([output.shape[1] for output in outputs])[:-1]
    return np.concatenate(outputs, 1), lambda dy: (sum(back(d) for back, d in zip(backs, np.split(dy, ends, 1))), {})


def add(layer: spec.Add | spec.Residual, x: Array, *chains: Chain) -> Result:
    """The sum of the chains' outputs; each has the whole of dy."""
    outputs, backs = zip(*(chain(x) for chain in chains))
    return sum(outputs), lambda dy: (sum(back(dy) for back in backs), {})


def multiply(layer: spec.Multiply, x: Array, *chains: Chain) -> Result:
    """The product of the chains' outputs; each has dy times the others, summed over the pixels that it multiplies."""
    outputs, backs = zip(*(chain(x) for chain in chains))

    def backward(dy: Array) -> tuple[Array, dict[str, Array]]:
        dx: Array = np.zeros_like(x)
        for number, (output, back) in enumerate(zip(outputs, backs)):
            others = _product([*outputs[:number], *outputs[number + 1 :]])
            spread = tuple(axis for axis in range(2, dy.ndim) if output.shape[axis] < dy.shape[axis])
            dx = dx + back((dy * others).sum(spread, keepdims=True) if spread else dy * others)
        return dx, {}

    return _product(outputs), backward


def _product(factors: Sequence[Array]) -> Array:
    product: Array = np.ones(1)
    for factor in factors:
        product = product * factor
    return product


def passed_on(layer: Layer, x: Array, *chains: Chain) -> Result:
    """y = x: what dropout and an auxiliary classifier are in evaluation."""
    return x, lambda dy: (dy, {})
