"""Products of the rows and columns of an image with matrices, as layers of the spec."""

from __future__ import annotations

import numpy as np

from frameworks.arrays import Array, parts_matrix, resize_matrix
from frameworks.spec import AdaptiveAvgPool, Layer, Resize, Shape
from frameworks.spec.value_checks import METHODS, POSITIONS


def interpolation(name: str, of: Shape, rows: Array, columns: Array, tolerance: float = 1e-9) -> Layer | None:
    """The layer that multiplies the rows and columns of images of this shape with two matrices.

    tolerance: the largest difference of a weight.
    """
    (height, _), (width, _) = rows.shape, columns.shape
    layers = [Resize(name, height, width, method, positions) for method in METHODS for positions in POSITIONS]
    for layer in sorted(layers, key=lambda each: each.positions != "asymmetric" or each.method != "nearest"):
        if all(
            np.allclose(resize_matrix(layer, size, len(matrix)), matrix, rtol=0, atol=tolerance)
            for size, matrix in zip(of[1:], (rows, columns))
        ):
            return layer
    if all(np.allclose(parts_matrix(matrix.shape[1], len(matrix)), matrix) for matrix in (rows, columns)):
        return AdaptiveAvgPool(name, height, width)
    return None
