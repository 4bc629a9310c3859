"""All rounding of numbers for people. Tables, pages and terminal output format their numbers here and nowhere else.

Every function returns an empty string for a value that was not measured: None, NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.runtime.machine import Machine


def number(value: Any, form: str) -> str:
    """A number in a format such as `.4f`."""
    return "" if missing(value) else format(value, form)


def missing(value: Any) -> bool:
    """Whether a value was not measured."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def interval(estimate: Sequence[Any] | None, form: str) -> str:
    """A value and its 95 % interval: `1.15 (1.12 to 1.19)`; the value alone where there is no interval.

    estimate: (value, low, high), such as a `timing.statistics.Estimate`.
    """
    if estimate is None:
        return ""
    value, low, high = (number(part, form) for part in estimate)
    return f"{value} ({low} to {high})" if low and high else value


def axis_number(value: float) -> str:
    """A round number on an axis; only what binary fractions add to it is rounded off."""
    return format(value, ",.10g")


def ratio(estimate: Sequence[Any] | None) -> str:
    """A ratio of speeds and its interval, with three decimals."""
    return interval(estimate, ".3f")


def examples_per_second(estimate: Sequence[Any] | float | None) -> str:
    """A speed, alone or with its interval: whole examples, below ten with one decimal."""
    if estimate is None:
        return ""
    if isinstance(estimate, (int, float)):
        estimate = (estimate, None, None)
    value = estimate[0]
    return interval(estimate, ".1f" if value is not None and value < 9.95 else ",.0f")


def count(value: Any) -> str:
    """A whole number with separators of thousands."""
    return number(value, ",.0f")


def short_count(value: int) -> str:
    """A count with three digits and its unit: 850, 2.29 M, 556 M, 15.5 G; exact below a thousand."""
    if value < 1000:
        return str(value)
    exponent = int(math.log10(float(f"{value:.2e}"))) // 3  # of what three digits show: 999,999 is 1.00 M
    number = value / 1000**exponent
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f} {' kMGTP'[exponent]}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction of 1 as a percentage: 0.2 %."""
    return "" if missing(fraction) else f"{100 * float(fraction or 0):.{digits}f} %"


def percent_text(fraction: float) -> str:
    """A fraction of 1 that a person chose, with as many digits as it has: 5 %, 2.5 %."""
    return f"{fraction * 100:g} %"


def change(values: tuple[Any, Any], form: str) -> str:
    """A value before and after: `0.81 to 0.82`, the value alone if they are equal, `?` for a missing value."""
    if all(missing(value) for value in values):
        return ""
    before, after = (number(value, form) or "?" for value in values)
    return before if before == after else f"{before} to {after}"


def relative_error(error: float) -> str:
    """A relative error as a power of ten with one digit; an exact 0 as such."""
    return "0" if error == 0 else f"{error:.0e}"


def signed(difference: float) -> str:
    """A difference as a signed power of ten with one digit; an exact 0 as such."""
    return "0" if difference == 0 else f"{difference:+.0e}"


def mebibytes(value: Any) -> str:
    """A size in MiB, rounded to whole ones."""
    return number(value, ",.0f")


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean, standard deviation and number of values: `0.8100 ± 0.0100 (3)`; the value alone where there is one."""
    if not values:
        return ""
    middle = f"{mean(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ± {stdev(values):.{digits}f} ({len(values)})"


def counted(value: int, singular: str) -> str:
    """A count and its noun: 1 epoch, 10 epochs."""
    return f"{value} {singular}" if value == 1 else f"{value} {singular}s"


def first_names(names: Sequence[str], most: int = 6) -> str:
    """Names in a row: the first ones, and how many follow."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def duration(seconds: float) -> str:
    """A duration in the unit that people use: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def day(timestamp: str) -> str:
    """The date of an ISO 8601 timestamp."""
    return timestamp[:10]


def machine_text(machine: Machine) -> str:
    """A machine in one line: processor, cores, memory, GPU, system and, where it is known, frequency governor."""
    parts = [
        machine.processor,
        f"{machine.cores} cores",
        f"{machine.memory_gib} GiB",
        machine.gpu or "no GPU",
        machine.system,
    ]
    if machine.governor:
        parts.append(f"governor {machine.governor}")
    return ", ".join(parts)
