"""A network's layers, shapes, parameters and multiply-adds: `python -m benchmarks.summary --net googlenet`.

`--net all` gives one line a network, `--draw` a picture, `--audit` what the articles say of these networks beside what
is counted here. No framework is imported. Exit status 2: bad input.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reporting.layer_text import padding_text
from benchmarks.reporting.tables import Row, markdown, table
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import network
from frameworks.spec import Auxiliary, AvgPool, Conv, Layer, MaxPool, Network, Node, Pair, Residual, Shape, pair, times

_COUNTS = ("parameters", "running", "multiply-adds")
COLUMNS = ("layer", "kind", "kernel", "stride", "padding", "groups", "output", *_COUNTS)
OVERVIEW = ("network", "input", *_COUNTS, "source")
_IN_BRACKETS = "(multiply-adds): of auxiliary classifiers; they are absent in evaluation and not in the total"


def report(net: Network, form: str) -> str:
    """One network as a table, markdown or json."""
    if form == "json":
        return json.dumps(as_json(net))
    head = f"{net.name}: {times(net.input)} gives {times(net.output)}" + (f"; {net.source}" if net.source else "")
    notes = [_IN_BRACKETS] if net.heads else []
    notes += [f"departs from its paper: {departure}" for departure in net.departures]
    if form == "markdown":
        return "\n".join([f"**{head}**", "", markdown(COLUMNS, rows(net)), "", *(f"- {note}" for note in notes)])
    return "\n".join([head, "", table(COLUMNS, rows(net)), "", *notes])


def report_all(nets: Sequence[Network], form: str) -> str:
    """All networks, a line each."""
    if form == "json":
        return "[\n" + ",\n".join(json.dumps(as_json(net)) for net in nets) + "\n]"
    body = [(net.name, times(net.input), *_counts(net.params, net.buffers, net.macs), net.source) for net in nets]
    return markdown(OVERVIEW, body) if form == "markdown" else table(OVERVIEW, body)


def as_json(net: Network) -> dict[str, Any]:
    """A network as data. `macs` are those of one picture in evaluation, so 0 in auxiliary classifiers."""
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


def rows(net: Network) -> list[Row]:
    """A row a layer, branches as a tree, and the total. A layer with layers inside has the sums of what is in it."""
    body = [row for node in net.nodes for row in _tree(node)]
    return [*body, ("total", *[""] * 6, *_counts(net.params, net.buffers, net.macs))]


def _tree(node: Node, prefix: str = "", here: str = "", below: str = "", evaluated: bool = True) -> Iterator[Row]:
    """A node's row, its name without `prefix` and after `here`, then the rows inside it, which start with `below`."""
    evaluated = evaluated and not isinstance(node.layer, Auxiliary)
    inside = [inner for _, inner in node.walk()]
    work = sum(inner.macs for inner in inside)
    trained, running, computed = _counts(_sizes(inside, trainable=True), _sizes(inside, trainable=False), work)
    if work and not evaluated:
        computed = f"({computed})"
    name = here + node.path.removeprefix(prefix)
    yield (name, node.layer.kind, *_window(node.layer), times(node.output), trained, running, computed)
    prefix = f"{node.path}." if node.layer.name else prefix
    for number, branch in enumerate(node.branches, start=1):
        last = number == len(node.branches)
        corner, line = ("└─ ", "   ") if last else ("├─ ", "│  ")
        if not branch and isinstance(node.layer, Residual):
            yield (f"{below}{corner}the input itself", *[""] * 9)
        for place, inner in enumerate(branch):
            yield from _tree(inner, prefix, below + (line if place else corner), below + line, evaluated)


def _window(layer: Layer) -> Row:
    """Kernel, stride, padding and groups of a layer that has them."""
    if not isinstance(layer, (Conv, MaxPool, AvgPool)):
        return ("", "", "", "")
    groups = str(layer.groups) if isinstance(layer, Conv) else ""
    return (times(pair(layer.kernel)), _both(layer.stride), padding_text(layer.padding), groups)


def _both(value: Pair) -> str:
    down, across = pair(value)
    return str(down) if down == across else f"{down}x{across}"


def _sizes(nodes: Sequence[Node], trainable: bool) -> int:
    return sum(array.size for node in nodes for array in node.parameters if array.trainable == trainable)


def _counts(*counts: int) -> Row:
    return tuple(f"{count:,}" if count else "" for count in counts)


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
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{option} {path}: {error.strerror}; name a file that can be written") from None
    return f"{path}: {path.stat().st_size:,} bytes"
