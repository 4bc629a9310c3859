"""Patterns that a difference shows for any tensor: a ratio, another order, differences only at the edges."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from benchmarks.verification.diagnosis.difference import Difference
from frameworks.numpy_reference import by_channel, channel_axes


def not_finite(difference: Difference) -> str | None:
    wrong = int((~np.isfinite(difference.actual)).sum())
    return f"{wrong} of {difference.actual.size} values are not finite" if wrong else None


def zero(difference: Difference) -> str | None:
    return None if np.any(difference.actual) else "every value is 0"


def ratio(difference: Difference) -> str | None:
    """The same factor everywhere, as a fraction if it is a simple one."""
    large = np.abs(difference.reference) > 1e-3 * np.abs(difference.reference).max(initial=0)
    if difference.actual.size < 2 or not large.any():
        return None
    factor = float(np.median(difference.actual[large] / difference.reference[large]))
    if not difference.explained_by(factor * difference.reference):
        return None
    batch = difference.case.batch_size
    meaning = {batch: ": the batch's sum, not its mean", Fraction(1, batch): ": divided by the batch once too often"}
    simple = Fraction(factor).limit_denominator(1000)
    exact = np.isclose(float(simple), factor, rtol=64 * difference.eps, atol=0)
    return f"ratio {simple}{meaning.get(simple, '')}" if exact else f"ratio {factor:.6g}"


def order(difference: Difference) -> str | None:
    """The same values in another order: of the channels, of two axes, or any order within each image."""
    actual, reference = difference.actual, difference.reference
    if actual.ndim > 1 and actual.shape[1] > 1:
        means = actual.mean(channel_axes(actual)), reference.mean(channel_axes(reference))
        taken = np.abs(np.subtract.outer(*means)).argmin(1)
        if len(set(taken.tolist())) == len(taken) and difference.explained_by(reference[:, taken]):
            return f"the channels in another order: {', '.join(map(str, taken[:16]))}"
    for first in range(actual.ndim - 1):
        for second in range(first + 1, actual.ndim):
            if difference.explained_by(reference.swapaxes(first, second)):
                return f"transposed: axes {first} and {second} exchanged"
    if actual.ndim < 2 or actual.size <= 3 * len(actual):
        return None  # few values can match by chance
    found_rows, reference_rows = (values.reshape(len(values), -1) for values in (actual, reference))
    guess = np.empty_like(reference_rows)
    np.put_along_axis(guess, found_rows.argsort(1), np.sort(reference_rows, 1), 1)
    return (
        "a permutation: the same values in another order"
        if difference.explained_by(guess.reshape(reference.shape))
        else None
    )


def constant_by_channel(difference: Difference) -> str | None:
    if difference.actual.ndim < 2 or difference.actual.size <= difference.actual.shape[1]:
        return None
    offset = (difference.actual - difference.reference).mean(channel_axes(difference.reference))
    return (
        "off by a constant in each channel"
        if difference.explained_by(difference.reference + by_channel(offset, difference.reference))
        else None
    )


def edges(difference: Difference) -> str | None:
    """Differences only in the outer rows and columns."""
    if difference.actual.ndim != 4 or min(difference.actual.shape[2:]) < 3:
        return None
    wrong = np.abs(difference.actual - difference.reference).max((0, 1)) > 1e-10 * np.abs(difference.reference).max()
    at = {"top": wrong[0], "bottom": wrong[-1], "left": wrong[:, 0], "right": wrong[:, -1]}
    inner = [name for name in at if not at[name][1:-1].any()]
    if wrong[1:-1, 1:-1].any() or len(inner) == len(at):
        return None
    text = " and ".join(name for name in at if name not in inner)
    return f"differs at the {text} edge alone: asymmetric padding" if inner else "differs at the edges alone: padding"


def single(difference: Difference) -> str | None:
    """Errors of the size of float32 rounding, 2^-24, in a float64 tensor."""
    if difference.actual.dtype != np.float64:
        return None
    error = np.abs(difference.actual - difference.reference).max() / np.abs(difference.reference).max()
    if not 2**-27 < error < 2**-20:
        return None
    return f"relative error {error:.0e}, the size of float32's rounding: something on the way is float32"


PATTERNS: tuple[Callable[[Difference], str | None], ...] = (
    not_finite, zero, ratio, order, constant_by_channel, edges, single,
)  # fmt: skip
