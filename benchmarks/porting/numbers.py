"""Numbers of files that hold float32, as people write them."""

from __future__ import annotations

from fractions import Fraction
from math import pi

import numpy as np

from frameworks.spec.activations import SELU_ALPHA, SELU_SCALE

MOST_PARTS = 1024
MOST_DIVISOR = 16
# Of GELU and SELU.
_KNOWN = {float(np.float32(each)): each for each in (2**0.5, 0.5**0.5, (2 / pi) ** 0.5, SELU_ALPHA, SELU_SCALE)}


def shortest(value: float) -> float:
    """The number that float32 rounds to this one: 1 / n or 2 / n, a fraction with a small divisor, a constant of GELU
    or SELU, or the decimal with the fewest digits.

    So an epsilon of 9.99999974e-06 is 1e-05, a factor of 0.0039215689 is 1 / 255, and one of 0.6666667 is 2 / 3.
    """
    rounded = np.float32(value)
    if 0 < abs(rounded) <= 1:
        parts = round(2 / float(rounded)) / 2
        if abs(parts) <= MOST_PARTS and np.float32(1 / parts) == rounded:
            return 1 / parts
    if np.isfinite(rounded):
        fraction = float(Fraction(float(rounded)).limit_denominator(MOST_DIVISOR))
        if np.float32(fraction) == rounded:
            return fraction
    return _KNOWN.get(float(rounded), float(str(rounded)))
