"""Tables of networks: layers, shapes, parameters and multiply-adds, for `onespec summary`. No engine is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reporting.layer_text import padding_text
from benchmarks.reporting.number_formats import count
from benchmarks.reporting.tables import Row, fitted, markdown, wrapped
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import network
from frameworks.spec import (
    Auxiliary,
    AvgPool,
    Conv,
    GroupNorm,
    Layer,
    MaxPool,
    Network,
    Node,
    Pad,
    Pair,
    Shape,
    pair,
    times,
)
from frameworks.spec.windowed import gaps

COUNTS = ("parameters", "buffers", "multiply-adds")
COLUMNS = ("layer", "kind", "kernel", "stride", "padding", "dilation", "groups", "output", *COUNTS)
WHERE_PRESENT = ("dilation",)  # left out if no layer of the network has it
OPTIONAL = ("buffers", "dilation", "groups", "padding", "stride", "kernel", "kind")  # left out in a narrow terminal
OVERVIEW = ("network", "input", *COUNTS, "source")
AUXILIARY_NOTE = "(multiply-adds): of auxiliary classifiers, which are absent in evaluation and not in the total"


def report(net: Network, form: str, width: int | None = None) -> str:
    """One network as a table, Markdown or JSON. width: of the terminal; None: no limit."""
    if form == "json":
        return json.dumps(as_json(net))
    head = f"{net.name}: input {times(net.input)}, output {times(net.output)}"
    if net.source:
        head += f"; {net.source}"
    notes = [AUXILIARY_NOTE] if net.heads else []
    notes += [f"departs from its paper: {departure}" for departure in net.departures]
    if form == "markdown":
        return "\n".join([f"**{head}**", "", markdown(*columns(net)), "", *(f"- {note}" for note in notes)])
    table = fitted(*columns(net), width, optional=OPTIONAL)
    return "\n".join([wrapped(head, width), "", table, "", *(wrapped(note, width) for note in notes)])


def report_all(nets: Sequence[Network], form: str, width: int | None = None) -> str:
    """All networks, one row each. width: of the terminal; None: no limit."""
    if form == "json":
        return "[\n" + ",\n".join(json.dumps(as_json(net)) for net in nets) + "\n]"
    body = [(net.name, times(net.input), *_counts(net.params, net.buffers, net.macs), net.source) for net in nets]
    if form == "markdown":
        return markdown(OVERVIEW, body)
    return fitted(OVERVIEW, body, width, optional=("source", "buffers"))


def as_json(net: Network) -> dict[str, Any]:
    """A network as a JSON object. `macs` are those of one image in evaluation, so 0 in auxiliary classifiers."""
    heads = tuple(f"{head.path}." for head in net.heads)
    return {
        "net": net.name,
        "input": list(net.input),
        "params": net.params,
        "buffers": net.buffers,
        "macs": net.macs,
        "layers": [
            {
                "name": node.path,
                "kind": node.layer.kind,
                "out_shape": list(node.output),
                "params": _sizes([node], trainable=True),
                "buffers": _sizes([node], trainable=False),
                "macs": 0 if node.path.startswith(heads) else node.macs,
            }
            for _, node in net.walk()
        ],
    }


def columns(net: Network) -> tuple[Row, list[Row]]:
    """The head, and a row per layer, branches as a tree, and the total. A layer with inner layers has their sums."""
    total = ("total", *("",) * (len(COLUMNS) - 1 - len(COUNTS)), *_counts(net.params, net.buffers, net.macs))
    body = [*(row for node in net.nodes for row in _tree(node)), total]
    shown = [
        index for index, name in enumerate(COLUMNS) if name not in WHERE_PRESENT or any(row[index] for row in body)
    ]
    head, *rows = (tuple(row[index] for index in shown) for row in (COLUMNS, *body))
    return head, rows


def _tree(node: Node, prefix: str = "", here: str = "", below: str = "", evaluated: bool = True) -> Iterator[Row]:
    """The row of a node, then the rows of its inner nodes.

    prefix: the part of the path that the name leaves out; here: the branch lines before the name; below: those before
    the names of the inner nodes; evaluated: whether the layer is part of the network in evaluation.
    """
    evaluated = evaluated and not isinstance(node.layer, Auxiliary)
    inner_nodes = [inner for _, inner in node.walk()]
    macs = sum(inner.macs for inner in inner_nodes)
    params, buffers, computed = _counts(_sizes(inner_nodes, trainable=True), _sizes(inner_nodes, trainable=False), macs)
    if macs and not evaluated:
        computed = f"({computed})"
    name = here + node.path.removeprefix(prefix)
    yield (name, node.layer.kind, *_window(node.layer), times(node.output), params, buffers, computed)
    prefix = f"{node.path}." if node.layer.name else prefix
    for number, branch in enumerate(node.branches, start=1):
        last = number == len(node.branches)
        corner, line = ("└─ ", "   ") if last else ("├─ ", "│  ")
        if not branch:
            yield (f"{below}{corner}identity", *("",) * (len(COLUMNS) - 1))
        for place, inner in enumerate(branch):
            yield from _tree(inner, prefix, below + (line if place else corner), below + line, evaluated)


def _window(layer: Layer) -> Row:
    """Kernel, stride, padding, dilation and groups of a layer that has them; no dilation where it is 1."""
    if isinstance(layer, Pad):
        return ("", "", padding_text(layer.padding), "", "")
    if isinstance(layer, GroupNorm):
        return ("", "", "", "", str(layer.groups))
    if not isinstance(layer, (Conv, MaxPool, AvgPool)):
        return ("", "", "", "", "")
    dilation = _both(gaps(layer)) if pair(gaps(layer)) != (1, 1) else ""
    groups = str(layer.groups) if isinstance(layer, Conv) else ""
    return (times(pair(layer.kernel)), _both(layer.stride), padding_text(layer.padding), dilation, groups)


def _both(value: Pair) -> str:
    down, across = pair(value)
    return str(down) if down == across else f"{down}x{across}"


def _sizes(nodes: Sequence[Node], trainable: bool) -> int:
    return sum(array.size for node in nodes for array in node.parameters if array.trainable == trainable)


def _counts(*values: int) -> Row:
    return tuple(count(value) if value else "" for value in values)


# --- for the command --------------------------------------------------------------------------------------------------


def load(name: str, classes: int | None, input_shape: Shape | None) -> Network:
    """A network by name or file, with another number of classes or another input. Raises BadInput."""
    net = network(name, classes=classes, input=input_shape)
    if classes is not None and net.classes != classes:
        raise BadInput(f"--classes {classes}: {name} has no argument classes; its output is {times(net.output)}")
    return net


def write_text(option: str, path: Path, text: str) -> str:
    """Write a file that the user named with `option`; the line to print is returned. Raises BadInput."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BadInput(f"{option} {path}: {error.strerror}; name a file that can be written") from None
    return f"{path}: {path.stat().st_size:,} bytes"
