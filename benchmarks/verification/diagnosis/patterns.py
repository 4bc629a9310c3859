"""Patterns that a difference shows for any tensor: a ratio, another order, differences only at the edges.

They describe the difference. Whether something is computed in float32 is measured: see `single`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import numpy as np

from benchmarks.verification.cases import LARGE
from benchmarks.verification.diagnosis.difference import Difference
from benchmarks.verification.diagnosis.steps import replayed
from benchmarks.verification.narrow_numbers import RoundedPass
from frameworks.arrays import Array
from frameworks.reference_layers.base import by_channel, channel_axes


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
    if images := _images_taken(difference):
        return images
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


def _images_taken(difference: Difference) -> str | None:
    """Whether every image has the values of another image, or several images have those of one."""
    if difference.place.stage not in ("evaluation", "training"):
        return None
    actual, reference = (values.reshape(len(values), -1) for values in (difference.actual, difference.reference))
    if actual.shape[1] < 2:
        return None
    taken = np.array([np.abs(reference - row).max(1).argmin() for row in actual])
    if not difference.explained_by(difference.reference[taken]):
        return None
    return f"the images in another order: {', '.join(map(str, taken[:16]))}"


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
    return "differs at the edges alone" if not inner else f"differs at the {_listed(at, inner)} edge alone"


def _listed(at: Iterable[str], inner: Sequence[str]) -> str:
    return " and ".join(name for name in at if name not in inner)


FLOAT32, FLOAT64 = 2.0**-24, 2.0**-53  # relative rounding errors
FACTOR = 30.0  # by which an error may differ from that of float32 on the whole way


def single(difference: Difference) -> str | None:
    """Errors of the size that float32 gives at this place, in a float64 tensor, where float64 gives far smaller ones.

    The reference is computed again with rounding errors of float32 and of float64 in the output of every layer. A
    network that amplifies rounding can give an error of the size of float32 without any float32.
    """
    if difference.actual.dtype != np.float64 or difference.case.network.params > LARGE:
        return None
    error = _distance(difference.actual, difference.reference)
    right, *moved = (_with_rounding(difference, unit) for unit in (0.0, FLOAT32, FLOAT64))
    if right is None or not difference.recomputes(right):
        return None
    single, double = (_distance(tensor, difference.reference) for tensor in moved if tensor is not None)
    if not (single / FACTOR < error < FACTOR * single and FACTOR * double < error):
        return None
    return f"error {error:.0e}; float32 on the whole way gives {single:.0e}, float64 {double:.0e}: float32 somewhere"


def _distance(tensor: Array, reference: Array) -> float:
    return float(np.abs(tensor - reference).max() / np.abs(reference).max())


def _with_rounding(difference: Difference, unit: float) -> Array | None:
    """The tensor at the place, computed by the reference with relative rounding errors of `unit`; None if unknown."""
    place, case = difference.place, difference.case
    if place.stage in ("optimizers", "running statistics", "curve"):
        training = case.trainings.get(place.training)
        if training is None:
            return None
        weights = replayed(case, training, case.lrs(place.training, place.step), unit=unit)
        return weights[place.step].get(place.tensor)
    masks = None if place.stage == "evaluation" else np.random.default_rng(0)
    run = RoundedPass(unit, case.network, case.weights, difference.images, masks, False)
    if place.stage in ("evaluation", "training"):
        return run.outputs.get(place.tensor)
    if place.stage not in ("loss", "gradients"):
        return None
    loss = np.array(run.backward(difference.labels, difference.smoothings[0]))
    return loss if place.stage == "loss" else run.gradients.get(place.tensor)


PATTERNS: tuple[Callable[[Difference], str | None], ...] = (
    not_finite, zero, ratio, order, constant_by_channel, edges, single,
)  # fmt: skip
