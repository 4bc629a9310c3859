"""How reports say that other programs disturbed a measurement."""

from __future__ import annotations

from benchmarks.reporting.number_formats import percent
from benchmarks.runtime.contention import Disturbance

WITHHELD = "not measured"  # instead of a speed, a ratio or a verdict


def reason(found: Disturbance, idle: float = 0.0) -> str:
    """Why there is no figure: `other programs had 62 % of the cores and disturbed 95 % of the slices`.

    idle: the fraction of the cores that the other workers of the run used meanwhile.
    """
    disturbed = percent(found.disturbed / max(1, found.slices), 0)
    if found.load is None:
        return f"other programs disturbed {disturbed} of the slices"
    had = percent(max(0.0, found.load - idle), 0)
    return f"other programs had {had} of the cores and disturbed {disturbed} of the slices"
