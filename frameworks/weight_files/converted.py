"""What the modules that convert names and layouts return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from frameworks.arrays import Weights


@dataclass(frozen=True)
class Converted:
    """Arrays under a network's canonical names.

    notes: what was removed, left out, filled in or assumed, one line each. layers: what the file calls a layer, by the
    layer's path, where the file has layers. whole: whether the file holds the model itself, which can be run. prepares:
    the last of the layers with which that model brings pixels from 0 to 255 to the values that the others take.
    """

    weights: Weights = field(repr=False)
    notes: tuple[str, ...] = ()
    layers: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    prepares: str = ""
