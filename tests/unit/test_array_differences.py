"""Two weight files of one network: what a wrong conversion does to an array is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.porting.between import arrays
from benchmarks.porting.between.alignment import aligned
from benchmarks.porting.between.rows import rows
from benchmarks.verification.case_weights import revealing_weights
from frameworks.arrays import Array
from frameworks.spec import BatchNorm, Conv, Dense, Flatten, Network

NETWORK = Network(
    "net",
    (3, 6, 5),
    [Conv("c", 3, 3), BatchNorm("bn"), Conv("c2", 3, 2), Flatten(), BatchNorm("flat"), Dense("d", 18), Dense("e", 18)],
)
WEIGHTS = revealing_weights(NETWORK, 0)


def last(array: Array, axis: int) -> Array:
    """Flat values 3 x 3 x 2 in the order of channels last."""
    order = np.arange(18).reshape(3, 3, 2).transpose(1, 2, 0).ravel()
    return array.take(order, axis)


# The array of B that differs, how, and what is said.
CHANGES: dict[str, tuple[str, Callable[[Array], Array], str]] = {
    "transposed kernel": ("c.weight", lambda w: w.swapaxes(2, 3), "rows and columns of the kernel are exchanged"),
    "rotated kernel": ("c.weight", lambda w: w[:, :, ::-1, ::-1], "rotated by 180 degrees"),
    "colors": ("c.weight", lambda w: w[:, ::-1], "RGB in one, BGR in the other"),
    "colors and pixels": ("c.weight", lambda w: w[:, ::-1] / 255, "BGR in the other, and B is A times 0.00392157"),
    "in and out": ("c.weight", lambda w: w.swapaxes(0, 1), "inputs and outputs are exchanged"),
    "dense transposed": ("e.weight", lambda w: w.T, "inputs and outputs are exchanged"),
    "flatten order": ("d.weight", lambda w: last(w, 1), "flatten order: channels, rows, columns in A, rows, columns"),
    "flatten order before": ("flat.gamma", lambda w: last(w, 0), "flatten order: channels, rows, columns in A"),
    "scale": ("c2.weight", lambda w: 255 * w, "B is A times 255: pixels from 0 to 255"),
    "another scale": ("c2.weight", lambda w: 3 * w, "B is A times 3"),
    "sign": ("c2.bias", lambda w: -w, "B is A times -1: the sign is reversed"),
    "gamma of 1": ("bn.gamma", np.ones_like, "gamma is 1 everywhere in B"),
    "deviation": ("bn.running_var", np.sqrt, "B has the standard deviation where the other has the variance"),
    "exchanged": ("bn.beta", lambda _: WEIGHTS["bn.running_mean"], "B has the values of A's bn.running_mean"),
    "float32": ("d.bias", lambda w: w * (1 + 1e-7), "equal up to the rounding of float32"),
    "float16": ("d.weight", lambda w: w.astype(np.float16), "equal up to the rounding of float16"),
    "others": ("d.weight", lambda w: w + np.random.default_rng(1).normal(0, 1, w.shape), "other values"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_array_is_explained(name: str) -> None:
    array, change, words = CHANGES[name]
    changed = WEIGHTS | {array: change(WEIGHTS[array])}
    pairs = aligned(rows(NETWORK), rows(NETWORK))
    (found,) = arrays.differences(pairs, NETWORK, NETWORK, WEIGHTS, changed)
    assert (found.a, found.what) == tuple(array.split("."))
    assert words in found.cause
    assert arrays.differences(pairs, NETWORK, NETWORK, changed, changed) == []
