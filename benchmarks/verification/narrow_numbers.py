"""Narrow number types: exact rounding, and the size of the error that float32 gives at a place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from frameworks.arrays import Array
from frameworks.numpy_reference import Pass
from frameworks.reference_layers.base import Result
from frameworks.spec import Node


def _bfloat16(values: Array) -> Array:
    """Round to the nearest number with 8 significant bits, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    kept = bits + 0x7FFF + (bits >> 16 & 1) & np.uint32(0xFFFF0000)
    return kept.view(np.float32).astype(np.float64)


NARROW: dict[str, Callable[[Array], Array]] = {
    "float32": lambda values: values.astype(np.float32).astype(np.float64),
    "float16": lambda values: values.astype(np.float16).astype(np.float64),
    "bfloat16": _bfloat16,
}


def rounded(values: Array, name: str) -> Array:
    """The values rounded to a type of `NARROW`, as float64."""
    return NARROW[name](np.asarray(values, np.float64))


class RoundedPass(Pass):
    """A pass of the reference in which every layer's output, and every gradient with respect to it, is rounded.

    unit: relative size of the rounding errors, 2^-24 for float32. Their signs are random.
    """

    def __init__(self, unit: float, *arguments: object) -> None:
        self.unit, self.stream = unit, np.random.default_rng(0)
        super().__init__(*arguments)  # type: ignore[arg-type]

    def _round(self, values: Array) -> Array:
        return values * (1 + self.unit * self.stream.uniform(-1, 1, values.shape))

    def _layer(self, node: Node, x: Array) -> Result:
        y, back = super()._layer(node, x)
        return self._round(y), lambda dy: back(self._round(dy))
