"""Hypotheses for normalizations: batch norm, local response norm, affine and constant normalization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.verification.diagnosis.difference import Difference, Hypothesis
from frameworks import spec
from frameworks.arrays import Array
from frameworks.reference_layers import normalization
from frameworks.reference_layers.base import by_channel, channel_axes, mixed

NO_EPSILON = 1e-13  # fraction of the variance below which an epsilon that is solved from values is rounding


def batch_norm(difference: Difference, layer: spec.BatchNorm, x: Array, **arrays: Array) -> Iterator[Hypothesis]:
    """Other statistics, coefficients left out or exchanged, another epsilon."""
    training, axes = difference.place.stage == "training", channel_axes(x)
    own = {"running_mean": arrays["running_mean"], "running_var": arrays["running_var"]}
    batch = {"running_mean": x.mean(axes), "running_var": x.var(axes)}
    used, other = (batch, own) if training else (own, batch)
    gamma, beta = arrays.get("gamma", 1.0), arrays.get("beta", 0.0)

    def compute(**values: Array) -> Array:
        return normalization.batch_norm(layer, x, **arrays | used | values)[0]

    cause = "running statistics in training" if training else "the batch's statistics in evaluation"
    yield Hypothesis(cause, compute(**other))
    count = x.size // x.shape[1]
    if training and count > 1:
        unbiased = batch["running_var"] * count / (count - 1)
        cause = "ratio {}/{}: normalized by the unbiased variance"
        yield Hypothesis(cause, compute(running_var=unbiased), (count, count - 1))
    if not training:
        squared = compute(running_var=own["running_var"] ** 2)
        yield Hypothesis("the running variance is taken for the standard deviation", squared)
    if "gamma" in arrays:
        yield Hypothesis("gamma is left out", compute(gamma=np.ones_like(gamma)))
    if "beta" in arrays:
        yield Hypothesis("beta is left out", compute(beta=np.zeros_like(beta)))
    if "gamma" in arrays and "beta" in arrays:
        yield Hypothesis("gamma and beta are exchanged", compute(gamma=arrays["beta"], beta=arrays["gamma"]))
        yield Hypothesis("gamma and beta are left out", compute(gamma=np.ones_like(gamma), beta=np.zeros_like(beta)))
    mean, variance, factor, offset = (
        by_channel(values, x) for values in (used["running_mean"], used["running_var"], gamma, beta)
    )
    outside = factor * (x - mean) / (np.sqrt(variance) + layer.eps) + offset
    yield Hypothesis("epsilon outside the root", outside)
    if difference.actual.shape == x.shape:
        # y = gamma (x - mean) / sqrt(variance + epsilon) + beta, solved for epsilon
        solved = float(np.nanmedian((factor * (x - mean) / (difference.actual - offset)) ** 2 - variance))
        epsilon = float(f"{solved:.2g}")
        if abs(epsilon) < NO_EPSILON * variance.max():
            y = factor * (x - mean) / np.sqrt(variance) + offset
            yield Hypothesis("epsilon is left out", y)
        elif 0 < epsilon < np.inf:
            y = normalization.batch_norm(replace(layer, eps=epsilon), x, **arrays | used)[0]
            yield Hypothesis("epsilon {:g} for {:g}", y, (epsilon, layer.eps))


def of_one_image(
    layer: spec.LayerNorm | spec.GroupNorm | spec.InstanceNorm,
    x: Array,
    actual: Array,
    gamma: Array | float = 1.0,
    beta: Array | float = 0.0,
) -> Iterator[Hypothesis]:
    """Statistics of other values, coefficients left out, another epsilon."""
    own = {spec.LayerNorm: "each pixel", spec.GroupNorm: "each group", spec.InstanceNorm: "each channel"}[type(layer)]
    ways = _moments(x, layer.groups if isinstance(layer, spec.GroupNorm) else 1, own)
    mean, variance = ways[own]
    factor, offset = by_channel(gamma, x), by_channel(beta, x)
    right = factor * (x - mean) / np.sqrt(variance + layer.eps) + offset
    for name, (other_mean, other_variance) in ways.items():
        output = factor * (x - other_mean) / np.sqrt(other_variance + layer.eps) + offset
        if not np.allclose(output, right):
            yield Hypothesis("mean and variance of {}, not of {}", output, (name, own))
    z = (x - mean) / np.sqrt(variance + layer.eps)
    if layer.gamma:
        yield Hypothesis("gamma is left out", z + offset)
    if layer.beta:
        yield Hypothesis("beta is left out", factor * z)
    yield Hypothesis("epsilon outside the root", factor * (x - mean) / (np.sqrt(variance) + layer.eps) + offset)
    if actual.shape == x.shape:
        solved = float(np.nanmedian((factor * (x - mean) / (actual - offset)) ** 2 - variance))
        epsilon = float(f"{solved:.2g}")
        if abs(epsilon) < NO_EPSILON * variance.max():
            yield Hypothesis("epsilon is left out", factor * (x - mean) / np.sqrt(variance) + offset)
        elif 0 < epsilon < np.inf:
            y = factor * (x - mean) / np.sqrt(variance + epsilon) + offset
            yield Hypothesis("epsilon {:g} for {:g}", y, (epsilon, layer.eps))


def _moments(x: Array, groups: int, own: str) -> dict[str, tuple[Array, Array]]:
    """Mean and biased variance of parts of each image, in shapes that are broadcast to x: the layer's own, and others.

    Parts that are the same as the layer's own, or as earlier ones, are left out.
    """
    pixels = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    if x.ndim == 2:
        return {own: pixels}
    count, channels, *size = x.shape
    ways = {"each pixel": pixels}
    for name, values, axes in (
        ("each channel", x.reshape(count, channels, -1), (2,)),
        ("all values", x.reshape(count, 1, -1), (2,)),
        ("each group", x.reshape(count, groups, channels // groups, -1), (2, 3)),
        ("groups of every n-th channel", x.reshape(count, channels // groups, groups, -1), (1, 3)),
    ):
        moments = values.mean(axes, keepdims=True), values.var(axes, keepdims=True)
        spread = [np.broadcast_to(each, (*values.shape[:-1], 1)).reshape(count, -1) for each in moments]
        mean, variance = (
            np.broadcast_to(each, (count, channels)).reshape(count, channels, *[1] * len(size)) for each in spread
        )
        ways[name] = mean, variance
    distinct = {own: ways[own]}
    for name, (mean, variance) in ways.items():
        if not any(known.shape == mean.shape and np.allclose(known, mean) for known, _ in distinct.values()):
            distinct[name] = mean, variance
    return distinct


def affine(
    layer: spec.Affine, x: Array, actual: Array, gamma: Array, beta: Array | None = None
) -> Iterator[Hypothesis]:
    if beta is None:  # without gamma, nothing is left of the layer
        return
    compute = partial(normalization.affine, layer, x)
    yield Hypothesis("beta is left out", compute(gamma, 0 * beta)[0])
    yield Hypothesis("gamma is left out", compute(gamma**0, beta)[0])
    yield Hypothesis("gamma and beta are exchanged", compute(beta, gamma)[0])


def local_response_norm(layer: spec.LocalResponseNorm, x: Array, actual: Array) -> Iterator[Hypothesis]:
    """Another window, or another constant: y[c] = x[c] / (k + alpha / size * sum of x[j]^2)^beta.

    The window of channel c reaches from c - below to c + above.
    """
    below, above = layer.size // 2, (layer.size - 1) // 2
    alpha = layer.alpha / layer.size  # of the sum
    compute = partial(_response, layer, x)
    yield Hypothesis("alpha is not divided by the size", compute(below, above, layer.alpha))
    yield Hypothesis("alpha is divided by the size twice", compute(below, above, alpha / layer.size))
    yield Hypothesis("the size is taken for the radius", compute(layer.size, layer.size, alpha))
    yield Hypothesis("the size is taken for the radius, alpha undivided", compute(layer.size, layer.size, layer.alpha))
    yield Hypothesis("k is left out of the sum", x / (alpha * _total(x, below, above)) ** layer.beta)
    for down in range(min(layer.size, x.shape[1])):
        for up in range(min(layer.size, x.shape[1])):
            if (down, up) == (below, above):
                continue
            reach = (-down, up, -below, above)
            if down + up == below + above:
                cause = "the window is shifted: it reaches from c{:+d} to c{:+d}, not from c{:+d} to c{:+d}"
                yield Hypothesis(cause, compute(down, up, alpha), reach)
            else:
                size = down + up + 1
                cause, values = (
                    "a window of {0} channels, from c{1:+d} to c{2:+d}, for {3}",
                    (size, -down, up, layer.size),
                )
                yield Hypothesis(cause, compute(down, up, layer.alpha / size), values)
                yield Hypothesis(f"{cause}; alpha is divided by {{3}}", compute(down, up, alpha), values)
    if actual.shape == x.shape:
        yield from _constants(layer, x, actual, below, above)


def _constants(layer: spec.LocalResponseNorm, x: Array, actual: Array, below: int, above: int) -> Iterator[Hypothesis]:
    """The constants of the formula, solved for one at a time and rounded to three digits."""
    total = _total(x, below, above)
    alpha = layer.alpha / layer.size
    large = np.abs(x) > 1e-3 * np.abs(x).max(initial=0)
    base = (x / actual) ** (1 / layer.beta)  # k + alpha / size * sum
    solved = {
        "k": np.median((base - alpha * total)[large]),
        "beta": np.median((np.log(x / actual) / np.log(layer.k + alpha * total))[large]),
        "alpha": np.median(((base - layer.k) / total)[large]) * layer.size,
    }
    for name, value in solved.items():
        other = float(f"{value:.3g}") if np.isfinite(value) else 0.0
        named = (alpha, layer.alpha * layer.size) if name == "alpha" else ()  # undivided, or divided twice
        if other > 1e-6 and other not in (getattr(layer, name), *named):  # below, it is rounding of 0
            changed = replace(layer, **{name: other})  # type: ignore[arg-type]
            y = normalization.local_response_norm(changed, x)[0]
            yield Hypothesis("{} {:g} for {:g}", y, (name, other, getattr(layer, name)))


def _total(x: Array, below: int, above: int) -> Array:
    """The sum of squares in the window of each channel."""
    band = np.tri(x.shape[1], x.shape[1], above) - np.tri(x.shape[1], x.shape[1], -below - 1)
    return mixed(band, x * x)


def _response(layer: spec.LocalResponseNorm, x: Array, below: int, above: int, alpha: float) -> Array:
    """The output with another window; alpha multiplies the sum of squares."""
    return x / (layer.k + alpha * _total(x, below, above)) ** layer.beta


def normalize(layer: spec.Normalize, x: Array, actual: Array) -> Iterator[Hypothesis]:
    def compute(changed: spec.Normalize) -> Array:
        return normalization.normalize(changed, x)[0]

    if len(layer.mean) > 1 or len(layer.std) > 1:
        turned = replace(layer, mean=layer.mean[::-1], std=layer.std[::-1])
        yield Hypothesis("mean and deviation by channel in reversed order: BGR for RGB", compute(turned))
    yield Hypothesis("the mean is not subtracted", compute(replace(layer, mean=(0.0,))))
    yield Hypothesis("not divided by the deviation", compute(replace(layer, std=(1.0,))))
    squared = replace(layer, std=tuple(s * s for s in layer.std))
    yield Hypothesis("divided by the variance, not the deviation", compute(squared))
