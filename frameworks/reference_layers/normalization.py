"""Normalizations and affine maps of the channels, in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from frameworks import spec
from frameworks.arrays import Array, Weights
from frameworks.reference_layers.base import Result, Values, by_channel, channel_axes, mixed


def batch_norm(
    layer: spec.BatchNorm, x: Array, running_mean: Array, running_var: Array, gamma: Values = 1.0, beta: Values = 0.0
) -> Result:
    """y = gamma z + beta with z = (x - mean) / sqrt(variance + eps).

    In training the batch's statistics are given for the running ones, and the way back is through them too:
    dx = gamma / sqrt(variance + eps) (dy - mean(dy) - z mean(dy z)), Ioffe and Szegedy 2015, section 3, simplified.
    """
    axes, share = channel_axes(x), x.shape[1] / x.size
    inverse = by_channel(1 / np.sqrt(running_var + layer.eps), x)
    z = (x - by_channel(running_mean, x)) * inverse
    factor = by_channel(gamma, x)

    def backward(dy: Array) -> tuple[Array, Weights]:
        by_gamma, by_beta = (dy * z).sum(axes), dy.sum(axes)
        dx = factor * inverse * (dy - by_channel(by_beta * share, x) - z * by_channel(by_gamma * share, x))
        return dx, {"gamma": by_gamma, "beta": by_beta}

    return factor * z + by_channel(beta, x), backward


def layer_norm(layer: spec.LayerNorm, x: Array, gamma: Values = 1.0, beta: Values = 0.0) -> Result:
    """y = gamma z + beta with z from the mean and variance of the C values of each pixel."""
    z, back = _standardized(np.moveaxis(x, 1, -1), layer.eps)
    return _scaled(np.moveaxis(z, -1, 1), lambda dz: np.moveaxis(back(np.moveaxis(dz, 1, -1)), -1, 1), gamma, beta)


def group_norm(layer: spec.GroupNorm | spec.InstanceNorm, x: Array, gamma: Values = 1.0, beta: Values = 0.0) -> Result:
    """y = gamma z + beta with z from the mean and variance of each group of channels of each image."""
    groups = layer.groups if isinstance(layer, spec.GroupNorm) else x.shape[1]
    parts = (len(x), groups, -1)
    z, back = _standardized(x.reshape(parts), layer.eps)
    return _scaled(z.reshape(x.shape), lambda dz: back(dz.reshape(parts)).reshape(x.shape), gamma, beta)


def _standardized(x: Array, eps: float) -> tuple[Array, Callable[[Array], Array]]:
    """z = (x - mean) / sqrt(variance + eps) over the last axis, and dz -> dx.

    dx = (dz - mean(dz) - z mean(dz z)) / sqrt(variance + eps), as in `batch_norm`.
    """
    centered = x - x.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt((centered * centered).mean(-1, keepdims=True) + eps)
    z = centered * inverse

    def backward(dz: Array) -> Array:
        through: Array = dz - dz.mean(-1, keepdims=True) - z * (dz * z).mean(-1, keepdims=True)
        return inverse * through

    return z, backward


def _scaled(z: Array, back: Callable[[Array], Array], gamma: Values, beta: Values) -> Result:
    """y = gamma z + beta by channel."""
    axes, factor = channel_axes(z), by_channel(gamma, z)

    def backward(dy: Array) -> tuple[Array, Weights]:
        return back(factor * dy), {"gamma": (dy * z).sum(axes), "beta": dy.sum(axes)}

    return factor * z + by_channel(beta, z), backward


def affine(layer: spec.Affine, x: Array, gamma: Array, beta: Values = 0.0) -> Result:
    """y = gamma x + beta by channel."""
    axes, factor = channel_axes(x), by_channel(gamma, x)
    y = factor * x + by_channel(beta, x)
    return y, lambda dy: (factor * dy, {"gamma": (dy * x).sum(axes), "beta": dy.sum(axes)})


def local_response_norm(layer: spec.LocalResponseNorm, x: Array) -> Result:
    """y = x s^-beta with s = k + alpha / size * B x^2, where B[c, j] is 1 for j in c's window, else 0.

    dx = dy s^-beta - 2 alpha beta / size * x * B^T (dy x s^(-beta - 1)).
    """
    below, above = layer.size // 2, (layer.size - 1) // 2
    maps, share = x.shape[1], layer.alpha / layer.size
    band = np.tri(maps, maps, above) - np.tri(maps, maps, -below - 1)
    s = layer.k + share * mixed(band, x * x)

    def backward(dy: Array) -> tuple[Array, Weights]:
        through = mixed(band.T, dy * x * s ** (-layer.beta - 1))
        return dy * s**-layer.beta - 2 * share * layer.beta * x * through, {}

    return x * s**-layer.beta, backward


def scale(layer: spec.Scale, x: Array) -> Result:
    """y = factor x."""
    return layer.factor * x, lambda dy: (layer.factor * dy, {})


def normalize(layer: spec.Normalize, x: Array) -> Result:
    """y = (x - mean) / std by channel."""
    mean, std = by_channel(np.array(layer.mean), x), by_channel(np.array(layer.std), x)
    return (x - mean) / std, lambda dy: (dy / std, {})
