"""What a difference shows by itself, whatever the tensor: a ratio, another order, the edges alone."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from benchmarks.verification.diagnosis.difference import Difference
from frameworks.numpy_reference import by_channel, channel_axes


def not_finite(one: Difference) -> str | None:
    wrong = int((~np.isfinite(one.found)).sum())
    return f"{wrong} of {one.found.size} values are not finite" if wrong else None


def zero(one: Difference) -> str | None:
    return None if np.any(one.found) else "every value is 0"


def ratio(one: Difference) -> str | None:
    """The same factor everywhere, as a fraction where it is one."""
    there = np.abs(one.reference) > 1e-3 * np.abs(one.reference).max(initial=0)
    if one.found.size < 2 or not there.any():
        return None
    factor = float(np.median(one.found[there] / one.reference[there]))
    if not one.explained_by(factor * one.reference):
        return None
    batch = one.case.batch_size
    meaning = {batch: ": the batch's sum, not its mean", Fraction(1, batch): ": divided by the batch once too often"}
    simple = Fraction(factor).limit_denominator(1000)
    exact = np.isclose(float(simple), factor, rtol=64 * one.eps, atol=0)
    return f"ratio {simple}{meaning.get(simple, '')}" if exact else f"ratio {factor:.6g}"


def order(one: Difference) -> str | None:
    """The same values in another order: the channels, two axes, or anyhow within each picture."""
    found, reference = one.found, one.reference
    if found.ndim > 1 and found.shape[1] > 1:
        means = found.mean(channel_axes(found)), reference.mean(channel_axes(reference))
        taken = np.abs(np.subtract.outer(*means)).argmin(1)
        if len(set(taken.tolist())) == len(taken) and one.explained_by(reference[:, taken]):
            return f"the channels in another order: {', '.join(map(str, taken[:16]))}"
    for first in range(found.ndim - 1):
        for second in range(first + 1, found.ndim):
            if one.explained_by(reference.swapaxes(first, second)):
                return f"transposed: axes {first} and {second} exchanged"
    if found.ndim < 2 or found.size <= 3 * len(found):
        return None  # of so few values, some are in order by chance
    ours, theirs = (values.reshape(len(values), -1) for values in (found, reference))
    guess = np.empty_like(theirs)
    np.put_along_axis(guess, ours.argsort(1), np.sort(theirs, 1), 1)
    return (
        "a permutation: the same values in another order" if one.explained_by(guess.reshape(reference.shape)) else None
    )


def constant_by_channel(one: Difference) -> str | None:
    if one.found.ndim < 2 or one.found.size <= one.found.shape[1]:
        return None
    offset = (one.found - one.reference).mean(channel_axes(one.reference))
    return (
        "off by a constant in each channel"
        if one.explained_by(one.reference + by_channel(offset, one.reference))
        else None
    )


def edges(one: Difference) -> str | None:
    """Differences in the outer rows and columns alone."""
    if one.found.ndim != 4 or min(one.found.shape[2:]) < 3:
        return None
    wrong = np.abs(one.found - one.reference).max((0, 1)) > 1e-10 * np.abs(one.reference).max()
    at = {"top": wrong[0], "bottom": wrong[-1], "left": wrong[:, 0], "right": wrong[:, -1]}
    inner = [name for name in at if not at[name][1:-1].any()]
    if wrong[1:-1, 1:-1].any() or len(inner) == len(at):
        return None
    told = " and ".join(name for name in at if name not in inner)
    return f"differs at the {told} edge alone: asymmetric padding" if inner else "differs at the edges alone: padding"


def single(one: Difference) -> str | None:
    """Errors of the size of float32's rounding, 2^-24, in a tensor of float64."""
    if one.found.dtype != np.float64:
        return None
    error = np.abs(one.found - one.reference).max() / np.abs(one.reference).max()
    if not 2**-27 < error < 2**-20:
        return None
    return f"relative error {error:.0e}, the size of float32's rounding: something on the way is float32"


PATTERNS: tuple[Callable[[Difference], str | None], ...] = (
    not_finite, zero, ratio, order, constant_by_channel, edges, single,
)  # fmt: skip
