"""Matrices of `Interpolate` that a fault puts in the place of the correct ones."""

from __future__ import annotations

import numpy as np

from frameworks.arrays import Array, resize_matrix
from frameworks.spec import Resize


def linear(to: int, size: int) -> Array:
    """Linear, with pixel i at i + 1/2."""
    return resize_matrix(Resize("", to, to), size, to)


def shifted(to: int, size: int) -> Array:
    """Linear, with pixel i at i."""
    positions = np.arange(to) * size / to
    return np.array([np.interp(positions, np.arange(size), row) for row in np.eye(size)]).T
