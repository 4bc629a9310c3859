"""Arrays that every framework is given: initial weights, resize matrices, the sizes of padded pooling windows."""

from __future__ import annotations

import zlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from frameworks.spec import Network, Padding, Pair, Parameter, Resize, pair, sides

Array: TypeAlias = npt.NDArray[Any]
Weights: TypeAlias = dict[str, Array]  # by canonical name

# The variance of a weight, from its (fan in, fan out), and the shape of its distribution.
SCHEMES = {
    "xavier_uniform": (lambda inputs, outputs: 2 / (inputs + outputs), "uniform"),  # Glorot and Bengio 2010, eq. 16
    "xavier_normal": (lambda inputs, outputs: 2 / (inputs + outputs), "normal"),
    "he_uniform": (lambda inputs, outputs: 2 / inputs, "uniform"),  # He et al. 2015, eq. 10
    "he_normal": (lambda inputs, outputs: 2 / inputs, "normal"),
    "fan_in_uniform": (lambda inputs, outputs: 1 / (3 * inputs), "uniform"),  # Glorot and Bengio 2010, eq. 1
}
_CONSTANTS = {"bias": 0.0, "beta": 0.0, "gamma": 1.0, "running_mean": 0.0, "running_var": 1.0, "slope": 0.25}


def initial(network: Network, seed: int, scheme: str = "xavier_uniform") -> Weights:
    """Float64 arrays by canonical name. Each has a stream of its own, so a change in one layer leaves the others."""
    return {parameter.name: drawn(parameter, seed, scheme) for parameter in network.parameters}


def drawn(parameter: Parameter, seed: int, scheme: str) -> Array:
    """One array's initial values."""
    if parameter.role != "weight":
        return np.full(parameter.shape, _CONSTANTS[parameter.role])
    variance_of, shape = SCHEMES[scheme]
    deviation = variance_of(*parameter.fans) ** 0.5
    stream = np.random.default_rng([seed, zlib.crc32(parameter.name.encode())])
    if shape == "normal":
        return stream.normal(0.0, deviation, parameter.shape)
    bound = 3**0.5 * deviation  # a uniform on (-a, a) has variance a^2 / 3
    return stream.uniform(-bound, bound, parameter.shape)


def resize_matrix(layer: Resize, size: int, to: int) -> Array:
    """The `to` x `size` matrix that interpolates along one axis: row i has the weights of the pixels of pixel i.

    `Resize` defines the positions, which are computed here as fractions of whole numbers, so that a pixel in the middle
    of two is rounded the same way everywhere.
    """
    numerators, denominator = _positions(layer.positions, size, to)
    matrix = np.zeros((to, size))
    if layer.method == "nearest":
        half = 0 if layer.positions == "asymmetric" else denominator
        nearest = (2 * numerators + half) // (2 * denominator)
        matrix[np.arange(to), np.clip(nearest, 0, size - 1)] = 1
        return matrix
    position = np.clip(numerators / denominator, 0, size - 1)
    below = np.minimum(position.astype(int), max(size - 2, 0))
    matrix[np.arange(to), below] = 1 - (position - below)
    matrix[np.arange(to), np.minimum(below + 1, size - 1)] += position - below
    return matrix


def _positions(kind: str, size: int, to: int) -> tuple[Array, int]:
    """Numerators and the common denominator of the positions of `Resize`."""
    pixels = np.arange(to)
    if kind == "asymmetric":
        return pixels * size, to
    if kind == "aligned_corners":
        return pixels * (size - 1), max(to - 1, 1)
    return (2 * pixels + 1) * size - to, 2 * to


def parts_matrix(size: int, parts: int) -> Array:
    """The `parts` x `size` matrix of the means of `AdaptiveAvgPool` along one axis."""
    matrix = np.zeros((parts, size))
    for part in range(parts):
        first, end = part * size // parts, -(-(part + 1) * size // parts)
        matrix[part, first:end] = 1 / (end - first)
    return matrix


def window_counts(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Padding) -> Array:
    """How many places of each pooling window lie inside a C x H x W input: the divisors of an unpadded mean."""
    rows, columns = (_inside(*way) for way in zip(shape[1:], pair(kernel), pair(stride), sides(padding)))
    return np.outer(rows, columns)


def _inside(size: int, kernel: int, stride: int, around: tuple[int, int]) -> Array:
    starts = np.arange(0, size + sum(around) - kernel + 1, stride) - around[0]
    return np.minimum(starts + kernel, size) - np.maximum(starts, 0)
