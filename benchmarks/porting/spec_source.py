"""Prints a network as Python source: a spec file that reads like those of `frameworks/networks`.

Rows of layers that occur several times, equal up to names and a few arguments, become one function that is called with
these. The printed file gives the network again, with the same digest.
"""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from frameworks.spec import Layer, Network, Select

WIDTH = 120
MOST_LAYERS = 40  # items of a block in one chain
MOST_ARGUMENTS = 4  # of a block's function, beside names
_STARTS = ("Conv", "Dense", "Pad")
_CHAINS = ("chains", "body", "shortcut", "head")
_REQUIRED = object()  # the default of an argument without one


@dataclass(eq=False)
class Item:
    """A layer, or a call of a block's function, with values in the order in which they are printed."""

    kind: str
    slots: list[Slot]
    chains: list[list[Item]] = field(default_factory=list)
    layer: Layer | None = None
    block: RepeatedLayers | None = None


@dataclass(eq=False)
class Slot:
    """A value of an item; text, if given, is the argument of the block that is printed for it.

    A name may start with an argument of its block: {name}.conv1.
    """

    name: str
    value: Any
    default: Any = _REQUIRED
    annotation: str = "int"
    text: str = ""

    def same(self, other: Slot) -> bool:
        """Whether two slots are printed in the same way."""
        return self.text == other.text and (bool(self.text) or _same(self.value, other.value))

    @property
    def given(self) -> bool:
        """Whether it has to be printed."""
        return bool(self.text) or self.default is _REQUIRED or not _same(self.value, self.default)

    @property
    def printed(self) -> str:
        return self.text or _value(self.value)


@dataclass(eq=False)
class RepeatedLayers:
    """A function of the file. parameters: name, annotation, default."""

    name: str
    items: list[Item]
    parameters: list[tuple[str, str, Any]]


@dataclass
class Extraction:
    """How the occurrences of a block become calls: the name and the arguments of each, and the slots that have them."""

    score: float
    places: list[tuple[list[Item], int]]
    length: int
    names: list[list[str]]  # by occurrence
    name_texts: list[str]  # by slot of a name: {name}.conv1
    name_parameters: list[str]
    arguments: list[list[Slot]]  # by argument: the slot of each occurrence
    slots: list[int | None]  # by slot of a value: its argument


def text(network: Network, *, origin: str = "") -> str:
    """The source of a file whose function gives the network. origin: where it comes from, for its docstring."""
    top = [_item(layer) for layer in network.layers]
    blocks: list[RepeatedLayers] = []
    while plan := _best(top, blocks):
        _extract(plan, blocks)
    function = network.name if network.name.isidentifier() and not keyword.iskeyword(network.name) else "network"
    arguments: list[Doc] = [_value(network.name), repr(tuple(network.input)), Brackets("[", _chain(top), "]")]
    if network.departures:
        arguments.append(Brackets("departures=(", [_value(each) for each in network.departures], ")", lone=True))
    arguments += [f"source={_value(network.source)}"] if network.source else []
    arguments += [] if network.as_printed else ["as_printed=False"]
    title = f"{network.params:,} parameters.{f' Imported from {origin}.' if origin else ''}"
    body = _rendered("return ", Brackets("Network(", arguments, ")"), 4)
    parts = [_block_text(block) for block in reversed(blocks)]
    main = f'def {function}() -> Network:\n    """{title}"""\n{body}'
    imported = _rendered("from frameworks.spec import ", Brackets("(", _kinds(network, blocks), ")"), 0, every=True)
    if len(flat := imported.replace("(", "").replace(")", "")) <= WIDTH and "\n" not in flat:
        imported = flat
    header = f'"""The network {network.name} as a spec."""\n\nfrom __future__ import annotations\n\n{imported}'
    return "\n\n\n".join([header, main, *parts]) + "\n"


def _kinds(network: Network, blocks: Sequence[RepeatedLayers]) -> list[Doc]:
    """What the file imports, in the order of ruff: constants, classes."""
    used = {node.layer.kind for _, node in network.walk()} | {"Network"} | ({"Layer"} if blocks else set())
    annotations = {annotation for block in blocks for _, annotation, _ in block.parameters}
    used |= {each for annotation in annotations for each in annotation.split(" | ")} & {"Pair", "Padding", "Shape"}
    return [*sorted(used, key=lambda name: (not name.isupper(), name.lower(), name))]


# --- layers as items --------------------------------------------------------------------------------------------------


def _item(layer: Layer) -> Item:
    slots = [Slot("name", layer.name, "" if _optional(layer) else _REQUIRED, "str")]
    for each in sorted(fields(layer), key=lambda item: item.kw_only is True):
        if each.name not in ("name", *_CHAINS):
            default = _REQUIRED if each.default is MISSING else each.default
            slots.append(Slot(each.name, getattr(layer, each.name), default, str(each.type)))
    chains = [[_item(inner) for inner in chain] for chain in layer.branches()]
    return Item(layer.kind, slots, chains, layer=layer)


def _optional(layer: Layer) -> bool:
    return next(each for each in fields(layer) if each.name == "name").default is not MISSING


def _size(items: Iterable[Item]) -> int:
    """Lines of a chain, roughly: layers."""
    return sum(1 + sum(map(_size, item.chains)) for item in items)


def _signature(item: Item) -> tuple[Any, ...]:
    """What equal items have in common: kinds and which have names."""
    named = item.block is not None or bool(item.slots[0].value)
    return (item.kind, named, tuple(tuple(map(_signature, chain)) for chain in item.chains))


def _slots(items: Iterable[Item]) -> Iterator[Slot]:
    for item in items:
        yield from item.slots
        for chain in item.chains:
            yield from _slots(chain)


def _all_chains(chain: list[Item]) -> Iterator[list[Item]]:
    yield chain
    for item in chain:
        for inner in item.chains:
            yield from _all_chains(inner)


# --- repeated blocks --------------------------------------------------------------------------------------------------


def _best(top: list[Item], blocks: Sequence[RepeatedLayers]) -> Extraction | None:
    """The repeated block that saves most lines."""
    known: dict[tuple[Any, ...], int] = {}
    places: dict[tuple[int, ...], list[tuple[list[Item], int]]] = {}
    for chain in (each for root in (top, *(block.items for block in blocks)) for each in _all_chains(root)):
        marks = [known.setdefault(_signature(item), len(known)) for item in chain]
        for start in range(len(chain)):
            for end in range(start + 1, min(start + MOST_LAYERS, len(chain)) + 1):
                places.setdefault(tuple(marks[start:end]), []).append((chain, start))
    plans = []
    for key, found in places.items():
        chain, start = found[0]
        if len(found) > 1 and _opens(chain[start]) and _size(chain[start : start + len(key)]) > 1:
            plans.append(_plan(_apart(found, len(key)), len(key)))
    return max((plan for plan in plans if plan and plan.score > 0), key=lambda plan: plan.score, default=None)


def _opens(item: Item) -> bool:
    """Whether a block may start with an item: no activation, dropout or flatten, which belong to the layer before."""
    return item.block is not None or bool(item.chains) or item.slots[0].default is _REQUIRED


def _apart(found: Sequence[tuple[list[Item], int]], length: int) -> list[tuple[list[Item], int]]:
    """The occurrences that do not overlap. Chains inside another occurrence cannot be equal to it."""
    kept: list[tuple[list[Item], int]] = []
    for chain, start in found:
        if not any(other is chain and start < begin + length for other, begin in kept):
            kept.append((chain, start))
    return kept


def _plan(places: list[tuple[list[Item], int]], length: int) -> Extraction | None:
    rows = [list(_slots(chain[start : start + length])) for chain, start in places]
    if len(rows) < 2:
        return None
    named = [n for n, slot in enumerate(rows[0]) if slot.name == "name" and slot.value]
    names = _names([[row[n].value for n in named] for row in rows], places[0][0][places[0][1]].kind in _STARTS)
    if names is None:
        return None
    arguments: list[list[Slot]] = []
    slots: list[int | None] = []
    for n, first in enumerate(rows[0]):
        column = [row[n] for row in rows]
        if first.name == "name" or all(not each.text and each.same(first) for each in column):
            slots.append(None)
            continue
        held = next((i for i, each in enumerate(arguments) if all(map(Slot.same, each, column))), None)
        if held is None:
            held = len(arguments)
            arguments.append(column)
        slots.append(held)
    if len(arguments) > MOST_ARGUMENTS:
        return None
    chain, start = places[0]
    size = _size(chain[start : start + length])
    by_occurrence, texts, parameters = names
    score = (len(places) - 1) * (size - 1) - 2 * len(arguments) - 4 * max(0, len(parameters) - 1) - 1
    return Extraction(score, places, length, by_occurrence, texts, parameters, arguments, slots)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _names(rows: list[list[str]], starts: bool) -> tuple[list[list[str]], list[str], list[str]] | None:
    """The names of each occurrence as arguments, and the texts that give the names of its layers.

    One argument, `name`, if the names that change are one text with the same endings in every occurrence. Else one for
    each name, if there are two and the block starts with a layer that starts a row of a paper's table.
    """
    first = rows[0]
    same = [all(row[n] == each for row in rows) and not each.startswith("{") for n, each in enumerate(first)]
    texts = [each if fixed else "" for each, fixed in zip(first, same)]
    changing = [n for n, fixed in enumerate(same) if not fixed]
    if not changing:
        return [[] for _ in rows], texts, []
    given = [[row[n] for n in changing] for row in rows]
    if found := _prefixes(given):
        prefixes, endings = found
        for n, ending in zip(changing, endings):
            texts[n] = f"{{name}}{ending}"
        return [[each] for each in prefixes], texts, ["name"]
    if len(changing) == 2 and starts:
        texts[changing[0]], texts[changing[1]] = "{name}", "{second}"
        return given, texts, ["name", "second"]
    return None


def _prefixes(rows: list[list[str]]) -> tuple[list[str], list[str]] | None:
    """What all names of an occurrence start with, and their endings, which all occurrences share."""
    first = rows[0]
    parts = first[0].split(".")
    for count in range(len(parts), 0, -1):
        prefix = ".".join(parts[:count])
        if not all(each.startswith(prefix) for each in first):
            continue
        endings = [each.removeprefix(prefix) for each in first]
        prefixes = [row[0].removesuffix(endings[0]) for row in rows if row[0].endswith(endings[0])]
        whole = ([prefix + ending for ending in endings] == row for prefix, row in zip(prefixes, rows))
        if len(prefixes) == len(rows) and all(prefixes) and all(whole):
            return prefixes, endings
    return None


def _extract(plan: Extraction, blocks: list[RepeatedLayers]) -> None:
    """Replace every occurrence of a block by a call of a new function."""
    chain, start = plan.places[0]
    items = chain[start : start + plan.length]
    taken = Counter([block.name for block in blocks])
    stem = _stem(items)
    name = stem if not taken[stem] else next(f"{stem}{n}" for n in range(2, 1000) if not taken[f"{stem}{n}"])
    slots = list(_slots(items))
    first = {n: slots[plan.slots.index(n)] for n in range(len(plan.arguments))}
    labels: list[str] = []
    for n in range(len(plan.arguments)):
        label, number = first[n].name, 2
        while label in (*labels, *plan.name_parameters):
            label, number = f"{first[n].name}{number}", number + 1
        labels.append(label)
    common = {n: _default(values, first[n]) for n, values in enumerate(plan.arguments)}
    order = sorted(range(len(plan.arguments)), key=lambda n: common[n] is not _REQUIRED)
    parameters: list[tuple[str, str, Any]] = [(each, "str", _REQUIRED) for each in plan.name_parameters]
    parameters += [(labels[n], first[n].annotation, common[n]) for n in order]
    block = RepeatedLayers(name, items, parameters)
    calls = []
    for number in range(len(plan.places)):
        called = [Slot("name", each, annotation="str") for each in plan.names[number]]
        for n in order:
            slot = plan.arguments[n][number]
            called.append(Slot(labels[n], slot.value, common[n], first[n].annotation, slot.text))
        calls.append(Item(f"call {name}", called, block=block))
    texts = iter(plan.name_texts)
    for slot, argument in zip(slots, plan.slots):
        if argument is not None:
            slot.text = labels[argument]
        elif slot.name == "name" and slot.value:
            slot.value = next(texts)
    for (chain, start), call in sorted(zip(plan.places, calls), key=lambda pair: -pair[0][1]):
        chain[start : start + plan.length] = [call]
    blocks.append(block)


def _default(slots: Sequence[Slot], first: Slot) -> Any:
    """The default of an argument: that of the layer's, if some occurrences have it."""
    usual = any(not slot.text and _same(slot.value, first.default) for slot in slots)
    return first.default if first.default is not _REQUIRED and usual else _REQUIRED


def _stem(items: Sequence[Item]) -> str:
    """What a block is called, by its layers."""
    kinds = [item.kind for item in items]
    for kind, stem in (("Residual", "_residual"), ("Concat", "_branches"), ("Add", "_sum"), ("Multiply", "_scaled")):
        if kind in kinds:
            return stem
    if "Conv" in kinds:
        return "_conv_norm" if any(kind.endswith("Norm") for kind in kinds) else "_conv"
    return "_dense" if "Dense" in kinds else "_block"


# --- text -------------------------------------------------------------------------------------------------------------


@dataclass
class Brackets:
    """Text in brackets: on one line if it fits, else one part on each line. lone: one part has a comma after it."""

    opening: str
    parts: Sequence[Doc]
    closing: str
    lone: bool = False

    @property
    def flat(self) -> str:
        comma = "," if self.lone and len(self.parts) == 1 else ""
        inside = ", ".join(part if isinstance(part, str) else part.flat for part in self.parts)
        return f"{self.opening}{inside}{comma}{self.closing}"


Doc = str | Brackets


def _rendered(before: str, doc: Doc, indent: int, after: str = "", every: bool = False) -> str:
    """A text or group on lines of at most `WIDTH`, as ruff formats it."""
    space = " " * indent
    flat = f"{space}{before}{doc if isinstance(doc, str) else doc.flat}{after}"
    if isinstance(doc, str) or len(flat) <= WIDTH:
        return flat
    inner = " " * (indent + 4)
    inside = ", ".join(part if isinstance(part, str) else part.flat for part in doc.parts)
    if len(inner + inside) <= WIDTH and not every and not doc.lone:
        lines = [inner + inside]
    else:
        lines = [_rendered("", part, indent + 4, ",") for part in doc.parts]
    return "\n".join([f"{space}{before}{doc.opening}", *lines, f"{space}{doc.closing}{after}"])


def _chain(items: Iterable[Item]) -> list[Doc]:
    return [_call(item) if item.block else _layer(item) for item in items]


def _layer(item: Item) -> Doc:
    name, *slots = item.slots
    assert item.layer is not None
    parts: list[Doc] = []
    if name.value or name.default is _REQUIRED:
        parts.append(name.printed)
    chains = [Brackets("[", _chain(chain), "]") for chain in item.chains]
    match item.kind:
        case "Residual":
            parts += chains if item.chains[1] else chains[:1]
        case "Auxiliary":
            parts += chains
        case _ if chains:
            parts.append(Brackets("[", chains, "]"))
    positional = len(slots)
    for number, slot in enumerate(slots):
        if slot.default is not _REQUIRED and not (slot.name == "stride" and slot.given):
            positional = number
            break
    for number, slot in enumerate(slots):
        if slot.given:
            parts.append(_argument(slot, positional=number < positional))
    return Brackets(f"{item.kind}(", parts, ")")


def _call(item: Item) -> Doc:
    assert item.block is not None
    parts: list[Doc] = [_argument(slot, positional=slot.default is _REQUIRED) for slot in item.slots if slot.given]
    return Brackets(f"*{item.block.name}(", parts, ")")


def _argument(slot: Slot, positional: bool) -> str:
    return slot.printed if positional else f"{slot.name}={slot.printed}"


def _value(value: Any) -> str:
    """A value as source. Long tuples of maps are ranges or shuffles."""
    if isinstance(value, str) and value.startswith("{"):
        return value[1:-1] if value.find("}") == len(value) - 1 else f'f"{value}"'
    if isinstance(value, str):
        return repr(value) if '"' in value else f'"{repr(value)[1:-1]}"'
    if isinstance(value, tuple) and len(value) > 4 and all(each is None or type(each) is int for each in value):
        return min([repr(value), _runs(value), *_shuffled(value)], key=len)
    return repr(value)


def _runs(maps: tuple[int | None, ...]) -> str:
    """Maps as ranges: tuple(range(64)), (*range(16), *[None] * 16)."""
    runs = Select("", maps).runs
    if len(runs) == 1 and runs[0][0] is not None:
        return f"tuple({_range(*runs[0])})"
    return f"({', '.join(f'*{_range(*run)}' for run in runs)})"


def _range(begin: int | None, count: int) -> str:
    if begin is None:
        return f"[None] * {count}"
    return f"range({begin}, {begin + count})" if begin else f"range({count})"


def _shuffled(maps: tuple[int | None, ...]) -> list[str]:
    """Maps as a channel shuffle, if they are one."""
    first, second = maps[:2]
    size = (second or 0) - (first or 0)
    if size <= 0 or len(maps) % size:
        return []
    groups = len(maps) // size
    if maps != tuple(group * size + place for place in range(size) for group in range(groups)):
        return []
    return [f"tuple(group * {size} + place for place in range({size}) for group in range({groups}))"]


def _block_text(block: RepeatedLayers) -> str:
    parameters: list[Doc] = [
        f"{name}: {annotation}{'' if default is _REQUIRED else f' = {_value(default)}'}"
        for name, annotation, default in block.parameters
    ]
    head = _rendered(f"def {block.name}", Brackets("(", parameters, ")"), 0, " -> list[Layer]:")
    return f"{head}\n{_rendered('return ', Brackets('[', _chain(block.items), ']'), 4)}"
