"""Matrices of `Interpolate` that a fault puts in the place of the correct ones."""

from __future__ import annotations

from frameworks.arrays import Array, resize_matrix
from frameworks.spec import Resize


def linear(to: int, size: int) -> Array:
    """Linear, with pixel i at i + 1/2."""
    return resize_matrix(Resize("", to, to), size, to)
