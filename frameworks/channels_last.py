"""Arrays in frameworks that keep channels last: kernels kh,kw,in,out; dense in,out; vectors as they are."""

from __future__ import annotations

import numpy as np

from frameworks.arrays import Array


def channels_last(array: Array) -> Array:
    """From the canonical layout: out,in,kh,kw to kh,kw,in,out; out,in to in,out."""
    return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array


def canonical(array: Array) -> Array:
    """To the canonical layout."""
    return np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array
