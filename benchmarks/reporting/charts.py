"""Line charts of a page: where the axes, curves and labels are. The template `charts.svg.j2` draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.reporting.number_formats import axis_number, number

# Lengths in SVG units.
WIDTH, HEIGHT = 360, 216  # of a chart
TOP, BOTTOM = 8, 188  # of its plot
LETTER = 7.0  # width of a bold letter
LINE = 14  # height of a line of text
LONGEST_LABEL = 24  # characters


class Style(NamedTuple):
    """How a framework appears: its name, its name with the version, and the CSS variables of its color and dash."""

    name: str
    full: str
    css: str

    @property
    def label(self) -> str:
        """The name, shortened to fit a chart."""
        fits = len(self.name) <= LONGEST_LABEL
        return self.name if fits else f"{self.name[: LONGEST_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"

    @property
    def without_build(self) -> str:
        """The name with the version, without the build that some packages add to it: 2.13.0 for 2.13.0+cpu."""
        return self.full.partition("+")[0]


class Curve(NamedTuple):
    """A figure of one cell, epoch by epoch; None where it is not finite. At least one value is finite."""

    style: Style
    seed: Any
    points: list[tuple[int, float | None]]

    @property
    def end(self) -> tuple[int, float]:
        """The last epoch with a finite value, and the value."""
        return [(epoch, value) for epoch, value in self.points if value is not None][-1]

    @property
    def diverged(self) -> bool:
        """Whether the last epoch has no finite value."""
        return self.points[-1][1] is None

    @property
    def description(self) -> str:
        epoch, value = self.end
        suffix = ", then not finite" if self.diverged else ""
        return f"{self.style.name}, seed {self.seed}: {number(value, ',.4g')} after epoch {epoch}{suffix}"


class Tick(NamedTuple):
    position: float
    text: str


class Path(NamedTuple):
    """A drawn curve: the path, and the marker at its end."""

    curve: Curve
    path: str
    end: str


class Label(NamedTuple):
    """A framework's name beside the plot, with the lines that lead to the ends of its curves."""

    style: Style
    height: float
    leaders: str


@dataclass(frozen=True)
class Chart:
    """All that the template draws. left, right: of the plot."""

    title: str
    left: float
    right: float
    values: list[Tick]
    epochs: list[Tick]
    paths: list[Path]
    labels: list[Label]
    width: int = WIDTH
    height: int = HEIGHT
    bottom: int = BOTTOM


def finite(value: Any) -> float | None:
    """A number, or None for what is missing or not finite."""
    return float(value) if value is not None and math.isfinite(value) else None


def line_chart(title: str, curves: Sequence[Curve], from_zero: bool) -> Chart:
    """Curves over epochs; each framework is named once, beside the ends of its longest curves."""
    values = [value for curve in curves for _, value in curve.points if value is not None]
    value_ticks = ticks(min([*values, 0.0] if from_zero else values), max(values))
    last_epoch = max(epoch for curve in curves for epoch, _ in curve.points)
    left = LETTER * max(len(axis_number(tick)) for tick in value_ticks) + 8
    right = WIDTH - LETTER * max(len(curve.style.label) for curve in curves) - 18

    def x(epoch: float) -> float:
        return left + (right - left) * ((epoch - 1) / (last_epoch - 1) if last_epoch > 1 else 1)

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - value_ticks[0]) / (value_ticks[-1] - value_ticks[0])

    paths = []
    ends: dict[Style, list[tuple[int, float]]] = {}
    for curve in curves:
        placed = [(x(epoch), None if value is None else y(value)) for epoch, value in curve.points]
        end_epoch, end_value = curve.end
        cross_or_dot = "m-4-4l8 8m0-8l-8 8" if curve.diverged else "h0"
        paths.append(Path(curve, _path(placed), f"M{x(end_epoch):.1f} {y(end_value):.1f}{cross_or_dot}"))
        ends.setdefault(curve.style, []).append(curve.end)
    longest = {style: [end for end in own if end[0] == max(own)[0]] for style, own in ends.items()}
    heights = spread_apart([fmean(y(value) for _, value in own) for own in longest.values()])
    labels = []
    for (style, own), height in zip(longest.items(), heights):
        leaders = "".join(f"M{x(epoch):.1f} {y(value):.1f}L{right + 12:.1f} {height:.1f}" for epoch, value in own)
        labels.append(Label(style, height, leaders))
    whole_epochs = [int(tick) for tick in ticks(1, last_epoch) if 1 < tick <= last_epoch and tick == int(tick)]
    return Chart(
        title,
        left,
        right,
        [Tick(y(tick), axis_number(tick)) for tick in value_ticks],
        [Tick(x(epoch), str(epoch)) for epoch in (1, *whole_epochs)],
        paths,
        labels,
    )


def _path(points: Sequence[tuple[float, float | None]]) -> str:
    """A path with a gap where there is no value; a point that stands alone is a dot, a line of no length."""
    path, command = "", "M"
    for x, y in points:
        if y is None:
            command = "M"
            continue
        path += f"{command}{x:.1f} {y:.1f}{'h0' if command == 'M' else ''}"
        command = "L"
    return path


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that include low and high: at most `most` steps between them."""
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    power = 10 ** math.floor(math.log10((high - low) / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if high - low <= power * factor * most)
    first, last = math.floor(round(low / step, 6)), math.ceil(round(high / step, 6))  # 0.15 / 0.05 is more than 3
    return [step * index for index in range(first, last + 1)]


def spread_apart(wanted: Sequence[float]) -> list[float]:
    """Heights for labels, at least a line apart: pushed down in turn, then up again from the bottom of the plot."""
    order = sorted(range(len(wanted)), key=lambda label: wanted[label])
    heights, limit = list(wanted), float(BOTTOM)
    for upper, label in pairwise(order):
        heights[label] = max(heights[label], heights[upper] + LINE)
    for label in reversed(order):
        heights[label] = min(heights[label], limit)
        limit = heights[label] - LINE
    return heights
