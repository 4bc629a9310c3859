"""A network as a picture: an SVG from top to bottom, branches side by side, shortcuts as lines around what they skip.

Activations, normalisation and dropout stand in the box of the layer before them; equal blocks in a row are drawn once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

from frameworks import spec
from frameworks.spec import Layer, Network, Node, pair, sides, to_json

_GAP = 20.0  # between a box and the next
_FRAME = 12.0  # between a frame and what is in it
_TITLE = 22.0  # height of a frame's title
_LINE = 16.0  # height of a line of text
_PILL = 24.0
_X = "\N{MULTIPLICATION SIGN}"

_COLOURS = {  # fill, line
    "convolution": ("#dce9fa", "#4f83c4"),
    "pool": ("#ddf1e1", "#4f9d63"),
    "dense": ("#fde7cb", "#cf8a33"),
    "other": ("#ececef", "#8b8f99"),
}
_STYLE = """
text { font: 12px Helvetica, Arial, "Liberation Sans", sans-serif; fill: #20242c }
.name { font-weight: bold } .quiet { fill: #6a7180 } .title { font-size: 22px; font-weight: bold }
.frame { fill: #f6f7f9; stroke: #d3d8e0 } .pill { fill: #ffffff; stroke: #8b8f99 }
.line { fill: none; stroke: #5b6270; stroke-width: 1.3; stroke-linecap: square; stroke-linejoin: round }
.arrow { stroke-linecap: butt; marker-end: url(#tip) }
"""


def svg(network: Network) -> str:
    """The picture of a network, as the text of an SVG file."""
    head = [
        f"{network.params:,} parameters, {network.macs:,} multiply-adds",
        *([network.source] if network.source else []),
    ]
    ends = [_pill(f"{end} {_shape(shape)}") for end, shape in (("input", network.input), ("output", network.output))]
    body = _chain([ends[0], *_pieces(network.nodes, ""), ends[1]])
    margin, top = 24.0, 72.0 + _LINE * len(head)
    width = max(body.left + body.right, max(map(_width, head)), 420.0) + 2 * margin
    axis = margin + body.left + (width - 2 * margin - body.left - body.right) / 2
    height = top + body.height + margin
    elements = [
        _text(margin, margin + 16, network.name, "title"),
        *(_text(margin, margin + 40 + _LINE * line, text, "quiet") for line, text in enumerate(head)),
        *_legend(width - margin, margin + 6),
        *body.draw(axis, top),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}">',
            f"<title>{escape(network.name)}</title>",
            f"<style>{_STYLE}</style>",
            '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0.5 L8 4 L0 7.5 z" fill="#5b6270"/></marker>',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            *elements,
            "</svg>\n",
        ]
    )


# --- what a box says --------------------------------------------------------------------------------------------------


def described(layer: Layer) -> str:
    """A layer in a few words: conv 5x5, 6, pad 2, with proper signs."""
    match layer:
        case spec.Conv():
            grouped = f", {layer.groups} groups" if layer.groups > 1 else ""
            return f"conv {_by(layer.kernel)}, {layer.channels}{_stride(layer.stride)}{_padding(layer)}{grouped}"
        case spec.MaxPool() | spec.AvgPool():
            kind = "max" if isinstance(layer, spec.MaxPool) else "mean"
            stride = "" if pair(layer.stride) == pair(layer.kernel) else _stride(layer.stride, usual=0)
            return f"{kind} {_by(layer.kernel)}{stride}{_padding(layer)}"
        case spec.GlobalAvgPool():
            return "mean of each map"
        case spec.Dense():
            return f"dense, {layer.units}"
        case spec.BatchNorm():
            return "batch norm"
        case spec.LocalResponseNorm():
            return f"response norm {layer.size}"
        case spec.Affine():
            return "coefficient, bias"
        case spec.Dropout():
            return f"dropout {layer.rate:g}"
        case spec.Scale():
            return f"{_X} {layer.factor:.4g}"
        case spec.Resize():
            return f"resize to {layer.height}{_X}{layer.width}"
        case spec.Select():
            return f"maps {' '.join(map(str, layer.maps))}"
    return layer.kind.lower()


def _shape(shape: Sequence[int]) -> str:
    return _X.join(map(str, shape))


def _by(value: spec.Pair) -> str:
    return _shape(pair(value))


def _stride(stride: spec.Pair, usual: int = 1) -> str:
    down, across = pair(stride)
    return "" if down == across == usual else f", stride {down if down == across else _by(stride)}"


def _padding(layer: spec.Conv | spec.MaxPool | spec.AvgPool) -> str:
    return "" if layer.padding == 0 else f", pad {padded(layer.padding).replace('x', _X)}"


def padded(padding: spec.Padding) -> str:
    """A padding in a word: 2; 0x3 (vertical, horizontal); 0:1 (none at the top and left, 1 at the bottom and right)."""
    ways = [f"{before}" if before == after else f"{before}:{after}" for before, after in sides(padding)]
    return "x".join(dict.fromkeys(ways))


def _kind(layer: Layer) -> str:
    kinds = {
        "convolution": (spec.Conv,),
        "pool": (spec.MaxPool, spec.AvgPool, spec.GlobalAvgPool),
        "dense": (spec.Dense,),
    }
    return next((kind for kind, classes in kinds.items() if isinstance(layer, classes)), "other")


# --- what is drawn as one ---------------------------------------------------------------------------------------------

_FOLDED = (
    *(spec.ReLU, spec.Sigmoid, spec.Tanh, spec.BatchNorm, spec.LocalResponseNorm, spec.Affine, spec.Dropout),
    *(spec.Flatten, spec.Scale, spec.Normalize),
)


@dataclass(frozen=True)
class _Step:
    """A layer and those that stand in its box; `count` equal ones in a row, up to the one named `last`."""

    node: Node
    folded: tuple[Node, ...]
    count: int = 1
    last: str = ""

    @property
    def output(self) -> str:
        return _shape(self.node.output)

    @property
    def lines(self) -> list[str]:
        """The words under the name."""
        return [described(self.node.layer), *([self.words] if self.folded else [])]

    @property
    def words(self) -> str:
        return " · ".join(described(node.layer) for node in self.folded)

    @property
    def sameness(self) -> str:
        """Equal for steps that differ only in their names; a layer without inner layers is like no other."""
        if not self.node.branches:
            return self.node.path
        layers = [_nameless(to_json(node.layer)) for node in (self.node, *self.folded)]
        return json.dumps([layers, self.node.input, self.node.output])


def _nameless(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _nameless(value) for key, value in thing.items() if key not in ("name", "out")}
    return [_nameless(item) for item in thing] if isinstance(thing, list) else thing


def _steps(nodes: Sequence[Node]) -> list[_Step]:
    steps: list[_Step] = []
    for node in nodes:
        if steps and isinstance(node.layer, _FOLDED) and not isinstance(steps[-1].node.layer, spec.Auxiliary):
            steps[-1] = _Step(steps[-1].node, (*steps[-1].folded, node))
        else:
            steps.append(_Step(node, ()))
    return [_merged(list(same)) for _, same in groupby(steps, lambda step: step.sameness)]


def _merged(steps: list[_Step]) -> _Step:
    return _Step(steps[0].node, steps[0].folded, len(steps), steps[-1].node.path)


# --- pieces of the picture --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """Something on the axis on which data flow down: how far it reaches, and its elements for an axis and a top."""

    left: float
    right: float
    height: float
    draw: Callable[[float, float], list[str]]
    arrow: bool = True  # the line into it ends in an arrow


def _pieces(nodes: Sequence[Node], prefix: str) -> list[_Piece]:
    """The pieces of a chain, its boxes equally wide."""
    steps = _steps(nodes)
    width = max((_needed(step, prefix) for step in steps if not step.node.branches), default=0.0)
    return [_block(step, prefix) if step.node.branches else _box(step, prefix, width) for step in steps]


def _block(step: _Step, prefix: str) -> _Piece:
    """A layer with layers inside."""
    layer, name = step.node.layer, step.node.path.removeprefix(prefix)
    inside = f"{step.node.path}." if layer.name else prefix
    branches = [_chain(_pieces(branch, inside)) for branch in step.node.branches]
    title = name if step.count == 1 else f"{name} to {step.last.removeprefix(prefix)}"
    times = "" if step.count == 1 else f"{_X} {step.count}"
    end = " · ".join(filter(None, [step.words, step.output]))
    if isinstance(layer, spec.Auxiliary):
        return _auxiliary(title, branches[0], f"loss {_X} {layer.weight:g} in training")
    if isinstance(layer, spec.Residual):
        return _residual(title, times, branches[0], branches[1], _pill(f"+ · {end}"))
    return _concat(title if layer.name else "", times, branches, _pill(f"join · {end}"))


def _needed(step: _Step, prefix: str) -> float:
    """The width that a box's words take."""
    title = _width(step.node.path.removeprefix(prefix), bold=True) + 14 + _width(step.output)
    return max(title, *map(_width, step.lines)) + 20


def _box(step: _Step, prefix: str, width: float) -> _Piece:
    fill, line = _COLOURS[_kind(step.node.layer)]
    height = _LINE * (1 + len(step.lines)) + 12

    def draw(axis: float, top: float) -> list[str]:
        left = axis - width / 2
        return [
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5" fill="{fill}" '
            f'stroke="{line}"/>',
            _text(left + 10, top + 18, step.node.path.removeprefix(prefix), "name"),
            _text(left + width - 10, top + 18, step.output, "quiet", "end"),
            *(_text(left + 10, top + 18 + _LINE * (row + 1), text) for row, text in enumerate(step.lines)),
        ]

    return _Piece(width / 2, width / 2, height, draw)


def _pill(text: str) -> _Piece:
    width = _width(text) + 26

    def draw(axis: float, top: float) -> list[str]:
        return [
            f'<rect class="pill" x="{axis - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{_PILL}" '
            f'rx="{_PILL / 2}"/>',
            _text(axis, top + 16, text, "", "middle"),
        ]

    return _Piece(width / 2, width / 2, _PILL, draw)


def _chain(pieces: Sequence[_Piece]) -> _Piece:
    """One below the other, joined by lines. Without pieces: a line."""
    height = sum(piece.height for piece in pieces) + _GAP * max(0, len(pieces) - 1)

    def draw(axis: float, top: float) -> list[str]:
        elements = []
        for number, piece in enumerate(pieces):
            if number:
                elements.append(_line([(axis, top - _GAP), (axis, top)], piece.arrow))
            elements += piece.draw(axis, top)
            top += piece.height + _GAP
        return elements

    left, right = (max((getattr(piece, side) for piece in pieces), default=4.0) for side in ("left", "right"))
    return _Piece(left, right, height, draw, bool(pieces) and pieces[0].arrow)


def _concat(title: str, times: str, branches: Sequence[_Piece], join: _Piece) -> _Piece:
    """Branches side by side between a line that splits and a line that joins."""
    inner = sum(branch.left + branch.right for branch in branches) + _GAP * (len(branches) - 1)
    half = max(inner / 2, join.right, _width(title, bold=True) + 4) + _FRAME  # the title stands left of the axis
    head = _TITLE if title else _FRAME
    deep = max(branch.height for branch in branches)
    height = head + 2 * _GAP + deep + _GAP + join.height + _FRAME

    def draw(axis: float, top: float) -> list[str]:
        split, start = top + head, top + head + _GAP
        joined = start + deep + _GAP
        elements = [_frame(axis - half, top, 2 * half, height, title, times)]
        edge, places = axis - inner / 2, []
        for branch in branches:
            places.append(edge + branch.left)
            edge += branch.left + branch.right + _GAP
        first, last = min(*places, axis), max(*places, axis)
        elements += [_line([(axis, top), (axis, split)]), _line([(axis, joined), (axis, joined + _GAP)], True)]
        elements += [_line([(first, split), (last, split)]), _line([(first, joined), (last, joined)])]
        for branch, x in zip(branches, places):
            elements.append(_line([(x, split), (x, start)], branch.arrow))
            elements += branch.draw(x, start)
            elements.append(_line([(x, start + branch.height), (x, joined)]))
        elements += join.draw(axis, joined + _GAP)
        return [*elements, _line([(axis, top + height - _FRAME), (axis, top + height)])]

    return _Piece(half, half, height, draw, arrow=False)


def _residual(title: str, times: str, body: _Piece, shortcut: _Piece, join: _Piece) -> _Piece:
    """The body on the axis, the shortcut to its right, and the sum of both below."""
    way = max(body.right, join.right) + _GAP + shortcut.left  # from the axis to the shortcut's
    left = max(body.left, join.left, _width(title, bold=True) + 4) + _FRAME  # the title stands left of the axis
    right = way + shortcut.right + _FRAME
    deep = max(body.height, shortcut.height)
    height = _TITLE + _GAP + deep + _GAP + join.height + _FRAME

    def draw(axis: float, top: float) -> list[str]:
        split, start = top + _TITLE, top + _TITLE + _GAP
        joined = start + deep + _GAP
        beside = axis + way
        return [
            _frame(axis - left, top, left + right, height, title, times),
            _line([(axis, top), (axis, start)], body.arrow),
            *body.draw(axis, start),
            _line([(axis, start + body.height), (axis, joined)], True),
            _line([(axis, split), (beside, split), (beside, start)], shortcut.arrow),
            *shortcut.draw(beside, start),
            _line(
                [
                    (beside, start + shortcut.height),
                    (beside, joined + join.height / 2),
                    (axis + join.right, joined + join.height / 2),
                ],
                True,
            ),
            *join.draw(axis, joined),
            _line([(axis, top + height - _FRAME), (axis, top + height)]),
        ]

    return _Piece(left, right, height, draw, arrow=False)


def _auxiliary(title: str, head: _Piece, loss: str) -> _Piece:
    """The axis goes on; the classifier hangs on its right."""
    inside = _chain([head, _pill(loss)])
    way = 2 * _GAP + _FRAME + inside.left
    height = _TITLE + _GAP + inside.height + _FRAME

    def draw(axis: float, top: float) -> list[str]:
        beside, split = axis + way, top + _TITLE
        return [
            _frame(beside - inside.left - _FRAME, top, inside.left + inside.right + 2 * _FRAME, height, title),
            _line([(axis, top), (axis, top + height)]),
            _line([(axis, split), (beside, split), (beside, split + _GAP)], inside.arrow),
            *inside.draw(beside, split + _GAP),
        ]

    return _Piece(0, way + inside.right + _FRAME, height, draw, arrow=False)


# --- elements ---------------------------------------------------------------------------------------------------------


def _width(text: str, bold: bool = False) -> float:
    """About how wide a text is, in pixels: Helvetica at 12 pixels has 6.1 to a character, and 6.7 when bold."""
    return len(text) * (6.7 if bold else 6.1)


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _frame(left: float, top: float, width: float, height: float, title: str, times: str = "") -> str:
    rectangle = f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="9"/>'
    return "".join(
        [
            rectangle,
            _text(left + 10, top + 17, title, "name"),
            _text(left + width - 10, top + 17, times, "name", "end"),
        ]
    )


def _line(points: Sequence[tuple[float, float]], arrow: bool = False) -> str:
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in dict.fromkeys(points))
    return f'<polyline class="line{" arrow" if arrow else ""}" points="{way}"/>'


def _legend(right: float, top: float) -> list[str]:
    elements = []
    for kind, (fill, line) in reversed(_COLOURS.items()):
        right -= _width(kind)
        elements.append(_text(right, top + 10, kind, "quiet"))
        right -= 18
        elements.append(
            f'<rect x="{right:.1f}" y="{top:.1f}" width="12" height="12" rx="3" fill="{fill}" stroke="{line}"/>'
        )
        right -= 14
    return elements
