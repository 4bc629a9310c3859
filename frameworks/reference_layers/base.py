"""What the layers of the reference have in common.

Shapes: N images, C channels, H x W pixels, windows of kh x kw, outputs of H' x W' pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from frameworks.arrays import Array, Weights

Values: TypeAlias = "Array | float"  # one value a channel; a number stands for an array that the layer lacks
Chain: TypeAlias = Callable[[Array], tuple[Array, Callable[[Array], Array]]]  # x -> y, and dy -> dx
Result: TypeAlias = tuple[Array, Callable[[Array], tuple[Array, Weights]]]  # y, and dy -> dx and gradients by role


def channel_axes(x: Array) -> tuple[int, ...]:
    """The axes that a sum by channel runs over."""
    return (0, *range(2, x.ndim))


def by_channel(values: Values, x: Array) -> Array:
    """Values in the shape in which they meet x, N x C or N x C x H x W."""
    return np.reshape(values, (-1, *[1] * (x.ndim - 2)))


def mixed(matrix: Array, x: Array) -> Array:
    """y[n, c] = sum over j of matrix[c, j] x[n, j]; its transpose takes dy to dx."""
    return np.moveaxis(np.tensordot(matrix, x, (1, 1)), 0, 1)
