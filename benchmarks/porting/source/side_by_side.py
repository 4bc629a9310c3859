"""A network layer by layer: what each framework's source says for it, as rows of a table.

A row is a layer of the spec, with its values in place, also where the source has a block with arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.porting.source.blocks import Place
from benchmarks.porting.source.code import Call
from benchmarks.porting.source.export import WRITERS
from benchmarks.porting.source.keras import Body, KerasWriter
from benchmarks.porting.source.modules import ModuleWriter, Values
from benchmarks.porting.source.program import Lacking, Op, identifier, lacking, layer_ops
from benchmarks.reporting.layer_text import layer_text, shape_text
from benchmarks.reporting.templates import render, stylesheet
from frameworks.spec import Add, Auxiliary, Concat, Flatten, Layer, Multiply, Network, Node, Residual

TITLES = {"torch": "PyTorch", "gluon": "MXNet Gluon", "keras": "Keras", "flax": "Flax"}
JOINED = "in the line above"  # of what is an argument of the layer before it
ORDER = "flat values are in the order height, width, channels"


@dataclass(frozen=True)
class SourceLine:
    """A line of source; what is no source, but said of it, has no text."""

    text: str
    comment: str = ""


Cell = tuple[SourceLine, ...]


@dataclass(frozen=True)
class LayerSources:
    """A layer, or the beginning of a chain, which has no shape and no cells. depth: of chains around it."""

    depth: int
    path: str
    text: str
    shape: str = ""
    cells: tuple[Cell, ...] = ()


Pairs = Sequence[tuple[Layer, Node]]


def rows(network: Network, writers: Sequence[ModuleWriter | KerasWriter]) -> list[LayerSources]:
    """The rows of a network; a cell for each writer, which must be new. A layer that a writer lacks is said there."""
    return list(_chain(list(zip(network.layers, network.nodes)), writers, 0))


def _chain(pairs: Pairs, writers: Sequence[ModuleWriter | KerasWriter], depth: int) -> Iterator[LayerSources]:
    by_writer = [
        _keras_cells(pairs, writer) if isinstance(writer, KerasWriter) else _module_cells(pairs, writer)
        for writer in writers
    ]
    for number, (layer, node) in enumerate(pairs):
        path = node.path if layer.name else ""
        for name, layers, branch in zip(_chain_names(layer), layer.branches(), node.branches):
            yield LayerSources(depth + 1, path, name if branch else f"{name}: the input itself")
            yield from _chain(list(zip(layers, branch)), writers, depth + 1)
        shape, cells = shape_text(node.output), tuple(each[number] for each in by_writer)
        yield LayerSources(depth, path, layer_text(layer, node.input), shape, cells)


def _chain_names(layer: Layer) -> Sequence[str]:
    """What the chains of a join are called."""
    if isinstance(layer, Residual):
        return ("body", "shortcut")
    if isinstance(layer, Auxiliary):
        return ("head, for training",)
    count = len(layer.branches())
    return [f"branch {number} of {count}" for number in range(1, count + 1)]


def _ops(writer: ModuleWriter | KerasWriter, layer: Layer, node: Node) -> list[Op]:
    return layer_ops(writer, layer.name.rpartition(".")[2], layer, node)


def _refused(error: Lacking) -> Cell:
    return (SourceLine("", str(error)),)


def _noted(op: Op, text: str, comment: str, last: bool) -> SourceLine:
    """A line, with the comment that a flatten needs where channels are last."""
    changes = last and isinstance(op.layer, Flatten) and len(op.node.input) == 3 and op.node.input[1:] != (1, 1)
    return SourceLine(text, ORDER if changes else comment)


# --- classes: PyTorch, Gluon and Flax ---------------------------------------------------------------------------------


def _module_cells(pairs: Pairs, writer: ModuleWriter) -> list[Cell]:
    """What a framework with classes has for each layer of a chain."""
    found: list[Cell] = []
    for layer, node in pairs:
        try:
            if layer.branches():
                found.append((_module_join(layer, node, writer),))
            else:
                found.append(tuple(_module_line(op, writer) for op in _ops(writer, layer, node)))
        except Lacking as error:
            found.append(_refused(error))
    return found


def _module_line(op: Op, writer: ModuleWriter) -> SourceLine:
    values = Values(op, (), {})
    if writer.is_attribute(op, values):
        made = writer.noted_constructor(op, values)
        return SourceLine(f"self.{identifier(op.name, op.layer.kind)} = {made}", _comment(made))
    text = writer.function(op, values, "x")
    if text is None:
        raise lacking(writer, op.node, op.layer)
    return _noted(op, "" if text == "x" else f"x = {text}", "", writer.channels_last)


def _module_join(layer: Layer, node: Node, writer: ModuleWriter) -> SourceLine:
    names = [f"branch{number}" if branch else "x" for number, branch in enumerate(node.branches, start=1)]
    match layer:
        case Residual():
            return SourceLine(f"x = {writer.added('shortcut' if node.branches[1] else 'x', 'y')}")
        case Concat():
            return SourceLine(f"x = {writer.concatenated(names)}")
        case Add():
            return SourceLine(f"x = {' + '.join(names)}")
        case Multiply():
            return SourceLine(f"x = {writer.multiplied(names)}")
        case Auxiliary():
            name = identifier(layer.name, "Block")
            return SourceLine(f"{name} = {writer.in_training(f'self.{name}(x)', 'None')}")
    raise lacking(writer, node, layer)


# --- functions: Keras -------------------------------------------------------------------------------------------------


def _keras_cells(pairs: Pairs, writer: KerasWriter) -> list[Cell]:
    """What Keras has for each layer of a chain; an activation may be an argument of the layer before it."""
    found: list[Cell] = [(SourceLine("", JOINED),)] * len(pairs)
    items: list[tuple[Op | Node, Place]] = []
    for number, (layer, node) in enumerate(pairs):
        if layer.branches():
            found[number] = (_keras_join(layer, node),)
            items.append((node, (number,)))
            continue
        try:
            items += [(op, (number,)) for op in _ops(writer, layer, node)]
        except Lacking as error:
            found[number] = _refused(error)
            items.append((node, (number,)))
    for item, place, activation in writer.rows(items):
        if isinstance(item, Op):
            found[place[0]] = _keras_lines(item, place, activation, writer)
    return found


def _keras_lines(op: Op, place: Place, activation: str, writer: KerasWriter) -> Cell:
    try:
        made = list(writer.made(op, place, activation, Body({}, None)))
    except Lacking as error:
        return _refused(error)
    texts = [f"x = {each('x')}" if callable(each) else f"x = {each}(x)" for each in made]
    return tuple(_noted(op, text, _comment(each), True) for text, each in zip(texts, made))


def _keras_join(layer: Layer, node: Node) -> SourceLine:
    names = [f"branch{number}" if branch else "x" for number, branch in enumerate(node.branches, start=1)]
    match layer:
        case Residual():
            return SourceLine(f"x = layers.Add()([{'shortcut' if node.branches[1] else 'x'}, y])")
        case Auxiliary():
            return SourceLine("", "a further output of the model")
    kind = "Concatenate" if isinstance(layer, Concat) else layer.kind
    return SourceLine(f"x = layers.{kind}()([{', '.join(names)}])")


def _comment(made: object) -> str:
    return made.comment if isinstance(made, Call) else ""


# --- the page ---------------------------------------------------------------------------------------------------------


def page(network: Network, targets: Sequence[str], sources: Mapping[str, str]) -> str:
    """The page, as text. targets: the columns. sources: the whole files, or why there is none, by target."""
    last = [target for target in targets if WRITERS[target]().channels_last]
    return render(
        "side_by_side.html.j2",
        stylesheet=stylesheet(),
        network=network,
        titles=[TITLES[target] for target in targets],
        frameworks=_enumerated(targets),
        params=f"{network.params:,}",
        shape=shape_text(network.input),
        rows=rows(network, [WRITERS[target]() for target in targets]),
        last=_enumerated(last),
        sources={TITLES[target]: text for target, text in sources.items()},
    )


def _enumerated(targets: Sequence[str]) -> str:
    """The titles of frameworks: a, b and c."""
    *others, last = (TITLES[target] for target in targets) if targets else [""]
    return " and ".join(filter(None, (", ".join(others), last)))
