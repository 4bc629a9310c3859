"""Activations, in NumPy: y, and its derivative by x, by which dy is multiplied."""

from __future__ import annotations

import math

import numpy as np

from frameworks import spec
from frameworks.arrays import Array, Weights
from frameworks.reference_layers.base import Result, by_channel, channel_axes
from frameworks.spec.activations import SELU_ALPHA, SELU_SCALE


def relu(layer: spec.ReLU, x: Array) -> Result:
    """max(x, 0), its derivative 1 above 0, else 0."""
    return np.maximum(x, 0), lambda dy: (dy * (x > 0), {})


def relu6(layer: spec.ReLU6, x: Array) -> Result:
    """min(max(x, 0), 6), its derivative 1 between 0 and 6, else 0."""
    return np.clip(x, 0, 6), lambda dy: (dy * ((x > 0) & (x < 6)), {})


def leaky_relu(layer: spec.LeakyReLU, x: Array) -> Result:
    """x, times the slope up to 0."""
    factor = np.where(x > 0, 1.0, layer.slope)
    return factor * x, lambda dy: (factor * dy, {})


def prelu(layer: spec.PReLU, x: Array, slope: Array) -> Result:
    """x, times the channel's slope up to 0; d slope is the sum of dy x over the x up to 0."""
    factor = np.where(x > 0, 1.0, by_channel(slope, x))

    def backward(dy: Array) -> tuple[Array, Weights]:
        return factor * dy, {"slope": (dy * np.minimum(x, 0)).sum(channel_axes(x))}

    return factor * x, backward


def elu(layer: spec.ELU, x: Array) -> Result:
    """x above 0, else alpha (exp(x) - 1)."""
    return _exponential(layer.alpha, x)


def selu(layer: spec.SELU, x: Array) -> Result:
    """ELU with the fixed alpha, times the fixed scale."""
    y, back = _exponential(SELU_ALPHA, x)
    return SELU_SCALE * y, lambda dy: back(SELU_SCALE * dy)


def _exponential(alpha: float, x: Array) -> Result:
    below = np.minimum(x, 0)  # so that exp cannot overflow
    y = np.where(x > 0, x, alpha * np.expm1(below))
    return y, lambda dy: (dy * np.where(x > 0, 1.0, alpha * np.exp(below)), {})


def sigmoid(layer: spec.Sigmoid, x: Array) -> Result:
    """y = 1 / (1 + exp(-x)), dx = dy y (1 - y); only exp(-|x|) is taken, which cannot overflow."""
    small = np.exp(-abs(x))
    y = np.where(x >= 0, 1, small) / (1 + small)
    return y, lambda dy: (dy * small / (1 + small) ** 2, {})


def hard_sigmoid(layer: spec.HardSigmoid, x: Array) -> Result:
    """y = min(max(slope x + 1/2, 0), 1), its derivative the slope where 0 < y < 1, else 0."""
    y = np.clip(layer.slope * x + 0.5, 0, 1)
    return y, lambda dy: (dy * layer.slope * ((y > 0) & (y < 1)), {})


def tanh(layer: spec.Tanh, x: Array) -> Result:
    """y = amplitude t with t = tanh(slope x), dx = dy amplitude slope (1 - t^2)."""
    t = np.tanh(layer.slope * x)
    return layer.amplitude * t, lambda dy: (dy * layer.amplitude * layer.slope * (1 - t * t), {})


def silu(layer: spec.SiLU, x: Array) -> Result:
    """y = x s with s = 1 / (1 + exp(-x)), dy/dx = s (1 + x (1 - s))."""
    s = logistic(x)
    return x * s, lambda dy: (dy * s * (1 + x * (1 - s)), {})


def hard_swish(layer: spec.HardSwish, x: Array) -> Result:
    """x min(max(x / 6 + 1/2, 0), 1), its derivative 0 up to -3, x / 3 + 1/2 up to 3, and 1 from there."""
    derivative = np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, x / 3 + 0.5))
    return x * np.clip(x / 6 + 0.5, 0, 1), lambda dy: (dy * derivative, {})


def gelu(layer: spec.GELU, x: Array) -> Result:
    """y = x P(x) with the normal distribution's P(x) = (1 + erf(x / sqrt(2))) / 2, dy/dx = P(x) + x P'(x).

    approximate: P(x) = (1 + t) / 2 with t = tanh(c (x + 0.044715 x^3)) and c = sqrt(2 / pi).
    """
    if layer.approximate:
        c = math.sqrt(2 / math.pi)
        t = np.tanh(c * (x + 0.044715 * x**3))
        below, density = (1 + t) / 2, (1 - t * t) / 2 * c * (1 + 3 * 0.044715 * x * x)
    else:
        below, density = (1 + _erf(x / math.sqrt(2))) / 2, np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return x * below, lambda dy: (dy * (below + x * density), {})


def softplus(layer: spec.Softplus, x: Array) -> Result:
    """log(1 + exp(x)), its derivative 1 / (1 + exp(-x))."""
    return _softplus(x), lambda dy: (dy * logistic(x), {})


def mish(layer: spec.Mish, x: Array) -> Result:
    """y = x t with t = tanh(log(1 + exp(x))), dy/dx = t + x (1 - t^2) / (1 + exp(-x))."""
    t = np.tanh(_softplus(x))
    return x * t, lambda dy: (dy * (t + x * (1 - t * t) * logistic(x)), {})


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)); only exp(-|x|) is taken, which cannot overflow."""
    small = np.exp(-abs(x))
    result: Array = np.where(x >= 0, 1, small) / (1 + small)
    return result


def _softplus(x: Array) -> Array:
    result: Array = np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))
    return result


def _erf(x: Array) -> Array:
    """The error function, value by value: NumPy has none."""
    return np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)
