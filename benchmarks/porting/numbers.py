"""Numbers of files that hold float32, as people write them."""

from __future__ import annotations

import numpy as np

MOST_PARTS = 1024
_ROOTS = {float(np.float32(root)): root for root in (2**0.5, 0.5**0.5)}  # of GELU


def shortest(value: float) -> float:
    """The number that float32 rounds to this one: 1 / n, or a root of 2 or 1 / 2, or the decimal with the
    fewest digits.

    So an epsilon of 9.99999974e-06 is 1e-05, and a factor of 0.0039215689 is 1 / 255.
    """
    rounded = np.float32(value)
    if 0 < abs(rounded) <= 1:
        parts = round(1 / float(rounded))
        if abs(parts) <= MOST_PARTS and np.float32(1 / parts) == rounded:
            return 1 / parts
    return _ROOTS.get(float(rounded), float(str(rounded)))
