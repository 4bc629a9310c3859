"""A network's layers, shapes, parameters and multiply-adds: `python -m benchmarks.summary --net googlenet`.

`--net all` gives one line a network, `--draw` a picture, `--audit` what the articles say of these networks beside what
is counted here. No framework is imported. Exit status 2: bad input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.articles import claims
from benchmarks.reporting.layer_text import padding_text
from benchmarks.reporting.tables import Row, markdown, table
from benchmarks.runtime.errors import BadInput, Parser
from benchmarks.runtime.networks import network
from frameworks.networks import NETWORKS
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


# --- the command ------------------------------------------------------------------------------------------------------


def _input(text: str) -> Shape:
    sizes = text.split(",")
    if len(sizes) != 3 or not all(size.strip().isdecimal() for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not channels, height, width; write it as 3,224,224")
    return tuple(map(int, sizes))


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.summary", description=str(__doc__).partition("\n\n")[2])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--net", metavar="NAME", help="a network, all, or a function of your own: file.py:function")
    what.add_argument("--audit", action="store_true", help="what the articles say beside what is counted here")
    parser.add_argument("--format", choices=("table", "markdown", "json"), help="table, unless --out says another")
    parser.add_argument("--input", metavar="C,H,W", type=_input, help="another input than the paper's")
    parser.add_argument("--classes", metavar="N", type=int, help="another number of classes than the paper's")
    parser.add_argument("--draw", metavar="FILE", type=Path, help="draw the network into an SVG file instead")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write there instead; .md and .json say the format")
    return parser


def main(arguments: list[str] | None = None) -> int:
    try:
        options = _parser().parse_args(arguments)
        print(_draw(options) if options.draw else _tell(options), flush=True)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _tell(options: argparse.Namespace) -> str:
    suffix = options.out.suffix if options.out else ""
    form = options.format or {".md": "markdown", ".json": "json"}.get(suffix, "table")
    if options.audit:
        text = claims.report(form)
    elif options.net == "all":
        text = report_all([_made(name, options) for name in NETWORKS], form)
    else:
        text = report(_made(options.net, options), form)
    return _written("--out", options.out, text) if options.out else text


def _draw(options: argparse.Namespace) -> str:
    if options.audit or options.net == "all":
        raise BadInput(f"--draw {options.draw}: a picture is of one network; name it with --net")
    from benchmarks.reporting.network_diagrams import svg  # imports Jinja2, which the tables do without

    return _written("--draw", options.draw, svg(_made(options.net, options)))


def _made(name: str, options: argparse.Namespace) -> Network:
    made = network(name, classes=options.classes, input=options.input)
    if options.classes is not None and made.classes != options.classes:
        raise BadInput(f"--classes {options.classes}: {name} has no argument classes; it gives {times(made.output)}")
    return made


def _written(option: str, path: Path, text: str) -> str:
    try:
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{option} {path}: {error.strerror}; name a file that can be written") from None
    return f"{path}: {path.stat().st_size:,} bytes"


if __name__ == "__main__":
    sys.exit(main())
