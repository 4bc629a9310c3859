"""How reports say that other programs disturbed a measurement."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.reporting.number_formats import percent
from benchmarks.runtime.contention import Contention, load_of_others

WITHHELD = "not measured"  # instead of a speed, a ratio or a verdict


def reason(slices: Sequence[Contention], idle: float = 0.0) -> str:
    """Why there is no figure: `other programs had 62 % of the cores and disturbed 95 % of the slices`.

    idle: the fraction of the cores that the other workers of the run used meanwhile.
    """
    disturbed = percent(sum(each.disturbed for each in slices) / max(1, len(slices)), 0)
    load = load_of_others(slices)
    if load is None:
        return f"other programs disturbed {disturbed} of the slices"
    had = percent(max(0.0, load - idle), 0)
    return f"other programs had {had} of the cores and disturbed {disturbed} of the slices"
