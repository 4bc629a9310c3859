"""A network as an SVG diagram: data flow from top to bottom, branches stand side by side.

Activations, normalization and dropout stand in the box of the layer before them; equal blocks in a row are drawn once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

from benchmarks.reporting.layer_text import TIMES, layer_text, shape_text
from benchmarks.reporting.number_formats import count
from benchmarks.reporting.templates import render
from frameworks import spec
from frameworks.spec import Layer, Network, Node, to_json

# Lengths in pixels.
GAP = 20.0  # between two boxes
PADDING = 12.0  # between a frame and its content
TITLE = 22.0  # height of a frame's title
LINE = 16.0  # height of a line of text
PILL = 24.0  # height of a pill
MARGIN = 24.0  # around the diagram
TEXT_SIZE = 12  # of the font
TITLE_SIZE = 22
LEGEND = 285.0  # width of the legend

KINDS: dict[str, tuple[type[Layer], ...]] = {  # the classes of boxes in the stylesheet, in the legend's order
    "convolution": (spec.Conv,),
    "pool": (spec.MaxPool, spec.AvgPool, spec.GlobalAvgPool, spec.AdaptiveAvgPool),
    "dense": (spec.Dense,),
}
OTHER = "other"

ACTIVATIONS = (
    *(spec.ReLU, spec.ReLU6, spec.LeakyReLU, spec.PReLU, spec.ELU, spec.SELU, spec.GELU, spec.SiLU, spec.Mish),
    *(spec.Sigmoid, spec.HardSigmoid, spec.HardSwish, spec.Softplus, spec.Tanh),
)
NORMALIZATIONS = (
    *(spec.BatchNorm, spec.LayerNorm, spec.GroupNorm, spec.InstanceNorm, spec.LocalResponseNorm),
    *(spec.Affine, spec.Scale, spec.Normalize),
)
FOLDED = (*ACTIVATIONS, *NORMALIZATIONS, spec.Dropout, spec.StochasticDepth, spec.Flatten)
OPERATIONS: dict[type[Layer], str] = {spec.Residual: "+", spec.Add: "+", spec.Multiply: TIMES, spec.Concat: "join"}


def svg(network: Network) -> str:
    """The diagram of a network, as the text of an SVG file."""
    subtitles = [f"{count(network.params)} parameters, {count(network.macs)} multiply-adds"]
    if network.source:
        subtitles.append(network.source)
    body = _column(
        [
            _pill(f"input {shape_text(network.input)}"),
            *_pieces(network.nodes, ""),
            _pill(f"output {shape_text(network.output)}"),
        ]
    )
    top = 72.0 + LINE * len(subtitles)
    head = TITLE_SIZE / TEXT_SIZE * text_width(network.name, bold=True) + GAP + LEGEND
    width = max(body.width, *map(text_width, subtitles), head) + 2 * MARGIN
    return render(
        "network.svg.j2",
        name=network.name,
        subtitles=subtitles,
        width=width,
        height=top + body.height + MARGIN,
        kinds=[*KINDS, OTHER],
        margin=MARGIN,
        legend=LEGEND,
        text_size=TEXT_SIZE,
        title_size=TITLE_SIZE,
        line=LINE,
        body=Part(width / 2, top, body),
    )


def text_width(text: str, bold: bool = False) -> float:
    """The width of a text in pixels, about: a character of Helvetica at 12 pixels has 6.1, and 6.7 when bold."""
    return len(text) * (6.7 if bold else 6.1)


# --- what stands in one box -------------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """A layer with the layers folded into its box; `repeats` equal ones in a row, up to the one named `last`."""

    node: Node
    folded: tuple[Node, ...] = ()
    repeats: int = 1
    last: str = ""

    @property
    def folded_text(self) -> str:
        return " · ".join(layer_text(node.layer, node.input) for node in self.folded)

    @property
    def lines(self) -> list[str]:
        """The lines under the name."""
        return [text for text in (layer_text(self.node.layer, self.node.input), self.folded_text) if text]

    @property
    def identity(self) -> str:
        """Equal for blocks that differ only in their names; a layer without inner layers equals no other."""
        if not self.node.branches:
            return self.node.path
        layers = [_without_names(to_json(node.layer)) for node in (self.node, *self.folded)]
        return json.dumps([layers, self.node.input, self.node.output])


def _without_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_names(inner) for key, inner in value.items() if key not in ("name", "out")}
    return [_without_names(item) for item in value] if isinstance(value, list) else value


def _steps(nodes: Sequence[Node]) -> list[_Step]:
    steps: list[_Step] = []
    for node in nodes:
        if steps and isinstance(node.layer, FOLDED) and not isinstance(steps[-1].node.layer, spec.Auxiliary):
            steps[-1] = steps[-1]._replace(folded=(*steps[-1].folded, node))
        else:
            steps.append(_Step(node))
    equal_steps = [list(equal) for _, equal in groupby(steps, lambda step: step.identity)]
    return [equal[0]._replace(repeats=len(equal), last=equal[-1].node.path) for equal in equal_steps]


# --- pieces: each has its axis, on which data flow down, in the middle -----------------------------------------------


class Rect(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    style: str
    radius: float


class Text(NamedTuple):
    x: float
    y: float
    text: str
    style: str = ""
    anchor: str = "start"


class Line(NamedTuple):
    points: tuple[tuple[float, float], ...]
    arrow: bool = False


Shape: TypeAlias = "Rect | Text | Line"


@dataclass(frozen=True)
class Piece:
    """Shapes around an axis at x = 0, from y = 0 to the height, and pieces inside. width: twice the reach from it."""

    width: float
    height: float
    shapes: tuple[Shape, ...] = ()
    parts: tuple[Part, ...] = ()
    arrow: bool = True  # whether the line that leads here ends in an arrow


class Part(NamedTuple):
    """A piece inside another, with the place of its axis and top."""

    x: float
    y: float
    piece: Piece


def _pieces(nodes: Sequence[Node], prefix: str) -> list[Piece]:
    """The pieces of a chain of layers; its boxes have the same width."""
    steps = _steps(nodes)
    width = max((_box_width(step, prefix) for step in steps if not step.node.branches), default=0.0)
    return [_block(step, prefix) if step.node.branches else _box(step, prefix, width) for step in steps]


def _block(step: _Step, prefix: str) -> Piece:
    """A layer with inner layers."""
    layer, name = step.node.layer, step.node.path.removeprefix(prefix)
    inner_prefix = f"{step.node.path}." if layer.name else prefix
    branches = [_column(_pieces(branch, inner_prefix)) for branch in step.node.branches]
    if isinstance(layer, spec.Auxiliary):
        return _auxiliary(name, branches[0], f"loss {TIMES} {layer.weight:g} in training")
    words = (OPERATIONS[type(layer)], step.folded_text, shape_text(step.node.output))
    join = _pill(" · ".join(text for text in words if text))
    if step.repeats > 1:
        name = f"{name} to {step.last.removeprefix(prefix)}"
    repeats = f"{TIMES} {step.repeats}" if step.repeats > 1 else ""
    axes = _centered(branches)
    if isinstance(layer, spec.Residual) or not all(step.node.branches):
        # The first branch with layers is on the axis, the identity beside it.
        axis = next((place for place, branch in zip(axes, step.node.branches) if branch), axes[0])
        axes = [place - axis for place in axes]
    return _frame(name if layer.name else "", repeats, branches, axes, join)


def _box_width(step: _Step, prefix: str) -> float:
    head = text_width(step.node.path.removeprefix(prefix), bold=True) + 14 + text_width(shape_text(step.node.output))
    return max(head, *map(text_width, step.lines)) + 20


def _box(step: _Step, prefix: str, width: float) -> Piece:
    kind = next((kind for kind, layers in KINDS.items() if isinstance(step.node.layer, layers)), OTHER)
    height = LINE * (1 + len(step.lines)) + 12
    left = -width / 2
    shapes: list[Shape] = [
        Rect(left, 0, width, height, f"box {kind}", 5),
        Text(left + 10, 18, step.node.path.removeprefix(prefix), "name"),
        Text(-left - 10, 18, shape_text(step.node.output), "quiet", "end"),
        *(Text(left + 10, 18 + LINE * row, text) for row, text in enumerate(step.lines, 1)),
    ]
    return Piece(width, height, tuple(shapes))


def _pill(text: str) -> Piece:
    width = text_width(text) + 26
    return Piece(width, PILL, (Rect(-width / 2, 0, width, PILL, "pill", PILL / 2), Text(0, 16, text, "", "middle")))


def _column(pieces: Sequence[Piece]) -> Piece:
    """Pieces below one another with lines between them; a line of no length where there are none."""
    parts: list[Part] = []
    lines: list[Line] = []
    bottom = 0.0
    for piece in pieces:
        if parts:
            lines.append(Line(((0, bottom), (0, bottom + GAP)), piece.arrow))
            bottom += GAP
        parts.append(Part(0, bottom, piece))
        bottom += piece.height
    width = max((piece.width for piece in pieces), default=8.0)
    return Piece(width, bottom, tuple(lines), tuple(parts), arrow=bool(pieces) and pieces[0].arrow)


def _centered(branches: Sequence[Piece]) -> list[float]:
    """The axes of branches side by side, their middle on the axis."""
    edge = -(sum(branch.width for branch in branches) + GAP * (len(branches) - 1)) / 2
    axes = []
    for branch in branches:
        axes.append(edge + branch.width / 2)
        edge += branch.width + GAP
    return axes


def _frame(title: str, repeats: str, branches: Sequence[Piece], axes: Sequence[float], join: Piece) -> Piece:
    """Branches between a line that splits and a line that joins, in a frame."""
    split = TITLE if title else PADDING
    start = split + GAP
    joined = start + max(branch.height for branch in branches) + GAP
    height = joined + GAP + join.height + PADDING
    # The title stands left of the axis.
    left = min(-join.width / 2, -text_width(title, bold=True) - 4, axes[0] - branches[0].width / 2) - PADDING
    right = max(join.width / 2, axes[-1] + branches[-1].width / 2) + PADDING
    first, last = min(0.0, *axes), max(0.0, *axes)
    shapes: list[Shape] = [
        Rect(left, 0, right - left, height, "frame", 9),
        Text(left + 10, 17, title, "name"),
        Text(right - 10, 17, repeats, "name", "end"),
        Line(((0, 0), (0, split))),
        Line(((first, split), (last, split))),
        Line(((first, joined), (last, joined))),
        Line(((0, joined), (0, joined + GAP)), arrow=True),
        Line(((0, height - PADDING), (0, height))),
    ]
    for branch, axis in zip(branches, axes):
        shapes.append(Line(((axis, split), (axis, start)), branch.arrow))
        shapes.append(Line(((axis, start + branch.height), (axis, joined))))
    parts = [Part(axis, start, branch) for branch, axis in zip(branches, axes)]
    return Piece(2 * max(-left, right), height, tuple(shapes), (*parts, Part(0, joined + GAP, join)), arrow=False)


def _auxiliary(title: str, head: Piece, loss: str) -> Piece:
    """The axis continues; the classifier stands to its right."""
    inside = _column([head, _pill(loss)])
    left = 2 * GAP
    width = inside.width + 2 * PADDING
    axis = left + width / 2
    height = TITLE + GAP + inside.height + PADDING
    shapes = (
        Rect(left, 0, width, height, "frame", 9),
        Text(left + 10, 17, title, "name"),
        Line(((0, 0), (0, height))),
        Line(((0, TITLE), (axis, TITLE), (axis, TITLE + GAP)), inside.arrow),
    )
    return Piece(2 * (left + width), height, shapes, (Part(axis, TITLE + GAP, inside),), arrow=False)
