"""Hypotheses for dropout, whose masks are random: what remains, by which factor, and which values share a mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.verification.diagnosis.difference import Difference, Hypothesis
from frameworks import spec
from frameworks.arrays import Array

SIGMAS = 6.0  # a correct mask deviates by more in two of 1e9 cases


def layer_of(difference: Difference) -> spec.Dropout:
    """The dropout at the place with its rate; in the other network of the case the rate is 0."""
    for _, node in difference.case.network_with_dropout.walk():
        if node.path == difference.place.tensor and isinstance(node.layer, spec.Dropout):
            return node.layer
    return spec.Dropout(rate=0.0)


def of_dropout(difference: Difference) -> Iterator[Hypothesis]:
    """Dropout in training; the tensors are its input and its output, stacked."""
    before, after = difference.actual
    layer = layer_of(difference)
    masked = _dropped_images if isinstance(layer, spec.StochasticDepth) else _masked
    for cause, predicted, values in masked(before, after, layer.rate):
        yield Hypothesis(cause, np.stack([before, predicted]), values)


def in_evaluation(difference: Difference, x: Array) -> Iterator[Hypothesis]:
    """The output of dropout in evaluation, which is its input."""
    layer, actual = layer_of(difference), difference.actual
    rate = layer.rate
    if not 0 < rate < 1 or actual.shape != x.shape:
        return
    remains, shows = actual != 0, x
    if isinstance(layer, spec.StochasticDepth):
        remains, shows = _by_image(remains), _by_image(x != 0)
    if _fraction_fits(remains, shows, 1 - rate):
        yield Hypothesis("dropout acts in evaluation", x * remains / (1 - rate))
        yield Hypothesis("dropout acts in evaluation, and what remains is not divided by 1 - rate", x * remains)
    if _fraction_fits(remains, shows, rate) and rate != 0.5:
        cause = "dropout acts in evaluation, and the rate is taken for the fraction that remains"
        yield Hypothesis(cause, x * remains / rate)
    yield Hypothesis("values are multiplied by 1 - rate in evaluation", x * (1 - rate))
    yield Hypothesis("values are divided by 1 - rate in evaluation", x / (1 - rate))


def at_rate_zero(x: Array) -> Iterator[Hypothesis]:
    """The output of dropout in training at rate 0, which is its input."""
    yield Hypothesis("the rate is taken for the fraction that remains: at rate 0 nothing remains", 0 * x)


def _masked(before: Array, after: Array, rate: float) -> Iterator[tuple[str, Array, tuple[object, ...]]]:
    """(cause, output, values) of the mistakes whose mask is as probable as they say."""
    remains = after != 0
    keep = 1 - rate
    factors = after[remains & (before != 0)] / before[remains & (before != 0)]
    if _fraction_fits(remains, before, 1.0):
        yield "dropout is left out in training", before, ()
    if _fraction_fits(remains, before, keep):
        yield "what remains is not divided by 1 - rate", before * remains, ()
        yield "what remains is divided by the rate, not by 1 - rate", before * remains / rate, ()
        yield "what remains is divided by 1 - rate twice", before * remains / keep**2, ()
        yield "what remains is multiplied by 1 - rate, not divided", before * remains * keep, ()
    yield from _shared(before, remains, keep)
    if rate != keep and _fraction_fits(remains, before, rate):
        cause = "the rate is taken for the fraction that remains: {:g} is dropped, not {:g}"
        yield cause, before * remains / rate, (keep, rate)
        yield f"{cause}, and what remains is not divided by it", before * remains, (keep, rate)
    if len(factors):
        other = float(f"{1 - 1 / np.median(factors):.3g}")
        if 0 < other < 1 and other not in (rate, float(f"{keep:.3g}")) and _fraction_fits(remains, before, 1 - other):
            yield "rate {:g} for {:g}", before * remains / (1 - other), (other, rate)


def _dropped_images(before: Array, after: Array, rate: float) -> Iterator[tuple[str, Array, tuple[object, ...]]]:
    """(cause, output, values) of the mistakes of stochastic depth, which drops whole images."""
    keep, remains = 1 - rate, _by_image(after != 0)
    yield "dropout is left out in training", before, ()
    if not remains.all():
        yield "what remains is not divided by 1 - rate", before * remains, ()
    if _fraction_fits(after != 0, before, keep):
        yield "values are dropped, not whole images", before * (after != 0) / keep, ()
    channels = (after != 0).any(tuple(range(2, after.ndim)), keepdims=True)
    if after.ndim > 2 and _fraction_fits(channels, _shown(before), keep):
        yield "channels are dropped, not whole images", before * channels / keep, ()
    yield "one image decides for the whole batch", before * remains.any() / keep, ()
    shows = (after != 0) & (before != 0)
    other = float(f"{1 - np.median(before[shows] / after[shows]):.3g}") if shows.any() else 0.0
    if 0 < other < 1 and other != rate:
        yield "rate {:g} for {:g}", before * remains / (1 - other), (other, rate)


def _by_image(values: Array) -> Array:
    """Whether any value of an image is true, N x 1 x ..."""
    return np.asarray(values.any(tuple(range(1, values.ndim)), keepdims=True))


def _shown(values: Array) -> Array:
    """Whether a channel has a value that is not 0, N x C x 1 x 1."""
    return np.asarray((values != 0).any(tuple(range(2, values.ndim)), keepdims=True))


def _shared(before: Array, remains: Array, keep: float) -> Iterator[tuple[str, Array, tuple[object, ...]]]:
    """Correct masks that several values share. A value that is 0 before dropout does not show its mask."""
    shown = before != 0
    for cause, axes in (
        ("all images of a batch have the same mask", (0,)),
        ("whole channels are dropped", tuple(range(2, before.ndim))),
        ("all channels have the same mask", (1,) if before.ndim > 2 else ()),
    ):
        if axes and shown.sum(axes).max(initial=0) > 1:
            shared = (remains & shown).any(axes, keepdims=True)
            if _fraction_fits(shared, shown.any(axes, keepdims=True), keep):
                yield cause, before * shared / keep, ()


def _fraction_fits(remains: Array, before: Array, probability: float) -> bool:
    """Whether as many of the values that are not 0 remain as independent draws with this probability leave."""
    count = int((before != 0).sum())
    observed, expected = int((remains & (before != 0)).sum()), count * probability
    deviation = (count * probability * (1 - probability)) ** 0.5
    return count > 0 and abs(observed - expected) <= SIGMAS * deviation
