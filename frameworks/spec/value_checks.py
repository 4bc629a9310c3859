"""Which values the arguments of a layer may have: types, signs and limits, before any shape is computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeAlias

from frameworks.spec.base import Layer, SpecError, times

# The largest size of one axis, 2^31 - 1: the frameworks index an axis with 32 bits.
MOST = 2**31 - 1

METHODS = ("linear", "nearest")
POSITIONS = ("half_pixel", "aligned_corners", "asymmetric")

Test: TypeAlias = Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and 1 <= value <= MOST


def _is_size(value: Any) -> bool:
    return _is_whole(value) and 0 <= value <= MOST


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _pair_of(test: Test) -> Test:
    """One value, or two: (vertical, horizontal)."""
    return lambda value: test(value) or (isinstance(value, (tuple, list)) and len(value) == 2 and all(map(test, value)))


def _list_of(test: Test) -> Test:
    return lambda value: isinstance(value, (tuple, list)) and len(value) > 0 and all(map(test, value))


COUNT = f"a whole number from 1 to {MOST:,}"
# By the annotation of the argument, then by its name: the test, and what messages say is allowed.
BY_TYPE: dict[str, tuple[Test, str]] = {
    "int": (_is_count, COUNT),
    "Pair": (_pair_of(_is_count), f"{COUNT}, or two: (vertical, horizontal)"),
    "Padding": (
        _pair_of(_pair_of(_is_size)),
        "a whole number of at least 0, (vertical, horizontal), or ((top, bottom), (left, right))",
    ),
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "float": (_is_finite, "a finite number"),
    "tuple[float, ...]": (_list_of(_is_finite), "a tuple of finite numbers"),
    "tuple[int | None, ...]": (
        _list_of(lambda value: value is None or _is_size(value)),
        "a tuple of whole numbers, counted from 0, or None",
    ),
}
BY_NAME: dict[str, tuple[Test, str]] = {
    "eps": (lambda value: _is_finite(value) and value > 0, "a number that is more than 0"),
    "momentum": (lambda value: _is_finite(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "rate": (lambda value: _is_finite(value) and 0 <= value < 1, "the fraction that is dropped, 0 <= rate < 1"),
    "std": (_list_of(lambda value: _is_finite(value) and value > 0), "a tuple of numbers that are more than 0"),
    "k": (lambda value: _is_finite(value) and value > 0, "a number that is more than 0"),
    "alpha": (lambda value: _is_finite(value) and value >= 0, "a number of at least 0"),
    "method": (METHODS.__contains__, " or ".join(METHODS)),
    "positions": (POSITIONS.__contains__, " or ".join(POSITIONS)),
}


def check_values(layer: Layer) -> None:
    """Raise SpecError for the first argument of a layer that has a value that no layer can have."""
    for item in fields(layer):
        test, allowed = BY_NAME.get(item.name, BY_TYPE.get(str(item.type), (None, "")))
        value = getattr(layer, item.name)
        if test and not test(value):
            raise SpecError(f"{item.name} is {_short(value)}; it is {allowed}")


def check_layer(layer: Any) -> None:
    """Raise SpecError for what is not a layer, or has a name that cannot be a part of the names of arrays."""
    if not isinstance(layer, Layer):
        raise SpecError(f"{_short(layer)} is {type(layer).__name__} and no layer")
    name: Any = layer.name
    if not isinstance(name, str) or len(name) > 100 or not name.isprintable():
        raise SpecError(f"a {layer.kind} has the name {_short(name)}; use a string of at most 100 printable characters")


def check_input(shape: tuple[Any, ...]) -> None:
    """Raise SpecError for an input whose sizes are not counts."""
    if not shape or not all(map(_is_count, shape)):
        raise SpecError(f"the input is {times(shape)}; every size is at least 1, {COUNT}")


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
