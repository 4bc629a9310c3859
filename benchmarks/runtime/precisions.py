"""The precisions in which frameworks compute: their names, sizes and roundings, and TF32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args, get_type_hints

from benchmarks.runtime import devices
from benchmarks.runtime.errors import BadInput
from frameworks.adapter import Setting

PRECISIONS: tuple[str, ...] = get_args(get_type_hints(Setting)["precision"])
ITEMSIZE = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}  # bytes

# Unit of rounding: half the distance from 1 to the next number. TF32 rounds factors to the fraction of float16.
ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
TF32_ROUNDING = 2.0**-11


def check(precisions: Sequence[str], tf32: bool) -> None:
    """Raise BadInput for an unknown value of `--precision`, or for one that has no TF32."""
    for precision in precisions:
        if precision not in PRECISIONS:
            raise BadInput(f"--precision {precision}: allowed are {', '.join(PRECISIONS)}")
        if tf32 and precision != "float32":
            raise BadInput(f"--tf32: it is a form of float32, not of {precision}; leave out --tf32 or --precision")


def check_device(device: str, tf32: bool) -> None:
    """Raise BadInput if a device has no TF32."""
    if tf32 and devices.kind(device) != "cuda":
        raise BadInput(f"--tf32: only a GPU of NVIDIA has it, and the device is {device}; choose --device cuda")


def rounding(precision: str, tf32: bool = False) -> float:
    """The unit of rounding of products."""
    return TF32_ROUNDING if tf32 else ROUNDING[precision]


def named(precision: str, tf32: bool = False) -> str:
    """A precision in words."""
    return f"{precision} with TF32" if tf32 else precision


def rounds_more(precision: str, tf32: bool = False) -> bool:
    """Whether products are rounded to fewer bits than those of float32."""
    return rounding(precision, tf32) > ROUNDING["float32"]


def described(precision: str, tf32: bool = False) -> str:
    """What is computed in a precision that rounds more than float32, as a part of a sentence."""
    return "factors of float32 products rounded to TF32" if tf32 else f"{precision}, arrays and loss in float32"
