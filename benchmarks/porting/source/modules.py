"""Writes a program as classes of modules: what PyTorch, Gluon and Flax have in common.

A group is a class, a function that returns a sequence, or a sequence in place. A writer of a framework gives the
constructor and the call of each layer.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from benchmarks.porting.source.blocks import DROP, SHORTCUT, SKIP, Block, Blocks, Key, Place, snake, title
from benchmarks.porting.source.code import (
    WIDTH,
    Call,
    Expression,
    Symbol,
    as_expression,
    divided,
    divided_statement,
    literal,
    statement,
)
from benchmarks.porting.source.forms import described
from benchmarks.porting.source.names import PYTHON, VARIABLES, bound, free
from benchmarks.porting.source.program import (
    Fork,
    Group,
    Item,
    Op,
    SourceTarget,
    identifier,
    lacking,
    numeric,
    program,
)
from benchmarks.porting.source.training import NAMES, training_source
from benchmarks.training.recipes import Recipe
from frameworks.spec import (
    Add,
    Auxiliary,
    Concat,
    Conv,
    Dense,
    Flatten,
    Layer,
    Multiply,
    Network,
    Node,
    Residual,
)

DEEPEST = 3  # calls in one expression
LONGEST = 100  # characters of it
SHORTEST_LOOP = 3


class Values:
    """The values of a layer as they are printed: a literal, or an expression of the block's arguments."""

    def __init__(self, op: Op, place: Place, texts: Mapping[Key, str], kept: set[str] | None = None) -> None:
        self.op, self.place, self.texts, self.kept = op, place, texts, kept

    def __getitem__(self, name: str) -> Any:
        """The literal, or `Symbol`."""
        text = self.texts.get((self.place, name))
        if text is None:
            return self.op.values[name]
        if self.kept is not None:
            self.kept.update(re.findall(r"[a-z_]\w*", text))
            text = re.sub(r"\b(?=[a-z_])", "self.", text)
        return Symbol(text)

    def unless(self, name: str, default: Any) -> Any:
        """The value, or None if it is the framework's default."""
        value = self[name]
        return None if not isinstance(value, Symbol) and value == default else value

    @property
    def symbolic(self) -> bool:
        return any(isinstance(self[name], Symbol) for name in self.op.values)


@dataclass
class Scope:
    """The attributes of one class, and the variables of its forward pass."""

    texts: Mapping[Key, str]
    attributes: dict[Place, str]
    whole: bool = False  # of the network itself
    variables: set[str] = field(default_factory=lambda: {"x"})
    heads: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)  # arguments that the forward pass needs

    def fresh(self, stem: str) -> str:
        name, number = stem, 2
        while name in self.variables:
            name, number = f"{stem}{number}", number + 1
        self.variables.add(name)
        return name


class About(NamedTuple):
    """What the docstring of a file says."""

    title: str
    lines: tuple[str, ...]


class ModuleWriter(SourceTarget):
    """Prints a network for one framework; `source` is the whole file."""

    base = "nn.Module"
    sequence_class = "nn.Sequential"
    forward_head = "def forward(self, x):"
    init_ending = ""  # the last arguments of `__init__`
    constructor_ending: tuple[tuple[str, str], ...] = ()  # of blocks
    imports: tuple[str, ...] = ()
    sequence_result = ""  # the type that a function of a sequence returns

    def __init__(self) -> None:
        self.entry = ""  # the name of the network's class
        self.helpers: dict[str, str] = {}
        self.used: set[str] = set()
        self.noted: set[str] = set()
        self.noting = False  # while a constructor is printed, and not only asked for
        self.blocks: Blocks

    def described(self, layer: Layer, node: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return described(self, layer, node)

    # --- what a framework defines -------------------------------------------------------------------------------------

    def constructor(self, op: Op, v: Values) -> Expression | None:
        """The expression that makes the layer's module, or None if it has none."""
        raise NotImplementedError

    def function(self, op: Op, v: Values, x: str) -> str | None:
        """The layer as an expression of x, or None."""
        raise NotImplementedError

    def concatenated(self, ends: Sequence[str]) -> str:
        raise NotImplementedError

    def stochastic_depth(self, rate: str) -> Expression:
        raise NotImplementedError

    def constants(self) -> list[tuple[str, Any]]:
        """Arrays that the framework has and the spec has not: names and values."""
        return []

    def loader(self) -> str:
        """The source of `load_weights`."""
        raise NotImplementedError

    def own_arrays(self, op: Op) -> list[tuple[str, str, Callable[[Any], Any]]]:
        """For each array of a layer: the canonical role, the framework's name, and the change of layout."""
        raise NotImplementedError

    def in_sequence(self, prefix: str, index: int, name: str) -> str:
        """The name of a module in a sequence."""
        return f"{prefix}{index}."

    # --- what is printed how ------------------------------------------------------------------------------------------

    def needs_class(self, group: Group) -> bool:
        return any(isinstance(item, Fork) for item in group.items) or not all(
            self.modular(item) for item in group.items if isinstance(item, Op)
        )

    def modular(self, op: Op) -> bool:
        return self.constructor(op, Values(op, (), {})) is not None

    def is_sequence(self, group: Group) -> bool:
        if self.needs_class(group):
            return False
        return self.positional(group) or self.blocks.of(group) is None

    @staticmethod
    def positional(group: Group) -> bool:
        """Whether the names in a group are its places."""
        return numeric([item.name for item in group.items if not isinstance(item, Fork) and item.name])

    def uses(self, helper: str) -> str:
        """Have a class printed before the others, and return its name."""
        self.used.add(helper)
        return helper

    def note(self, text: str) -> str:
        """The text, once in a file."""
        if text in self.noted or not self.noting:
            return ""
        self.noted.add(text)
        return text

    # --- the file -----------------------------------------------------------------------------------------------------

    def source(self, network: Network, about: About, recipe: Recipe | None = None) -> str:
        """The file; with a recipe, it has the training loop. Raises `Lacking` and BadInput."""
        self.entry = free(title(network.name), self.reserved)
        root = program(network, self)
        self.blocks = Blocks(root, self.needs_class, self.entry, self.reserved)
        self.root = self.blocks.root
        parts = [self.block(block) for block in self.blocks.blocks]
        parts.append(self.class_source(self.entry, self.root, (), {}))
        parts.append(self.loader())
        if recipe is not None:
            parts.append(training_source(self.title, self.entry, network, recipe))
        helpers = [source for name, source in self.helpers.items() if name in self.used]
        body = "\n\n\n".join(part.strip("\n") for part in [*helpers, *parts])
        docstring = "\n".join([f'"""{about.title}', "", *about.lines, '"""'])
        imports = "\n".join(self.imports_of(body))
        return f"{docstring}\n\n{imports}\n\n\n{body}\n"

    @cached_property
    def reserved(self) -> frozenset[str]:
        """The names that no class, function, argument or variable of a network has."""
        return bound(*self.imports, *self.helpers.values(), self.loader()) | PYTHON | VARIABLES | NAMES

    def imports_of(self, body: str) -> list[str]:
        """The imports that the body needs, standard library first."""
        lines = [line for line in (_needed(line, body) for line in self.imports) if line is not None]
        return lines if lines[0] else lines[1:]

    def block(self, block: Block) -> str:
        arguments = [(a.name, a.default) for a in block.arguments]
        if self.is_sequence(block.template):
            items = self.sequence(block.template, (), block.texts)
            head = f"def {snake(block.name)}({self.signature(arguments)}){self.sequence_result}:"
            return "\n".join([*definition(head, 0), *self.returned(items)])
        return self.class_source(block.name, block.template, arguments, block.texts)

    def returned(self, items: Expression) -> list[str]:
        return statement("return ", items, 4)

    def signature(self, arguments: Sequence[tuple[str, Any]]) -> str:
        parts = [name if default is None else f"{name}={literal(default)}" for name, default in arguments]
        return ", ".join([*parts, *([self.init_ending] if self.init_ending else [])])

    def class_source(
        self, name: str, group: Group, arguments: Sequence[tuple[str, Any]], texts: Mapping[Key, str]
    ) -> str:
        scope = Scope(texts, self.attributes(group, texts), whole=group is self.root)
        scope.variables |= {self.entry, *self.reserved}
        forward: list[str] = []
        result = self.run(group.items, (), "x", "x", scope, forward)
        if forward and forward[-1].startswith(f"{result} = ") and not scope.heads:
            result = forward.pop().removeprefix(f"{result} = ")
        forward.append(f"return {self.result(result, scope)}")
        base, head, start = self.base, self.forward_head, self.init_start()
        if scope.heads:
            base, head, start, forward = self.with_heads(forward)
        init = [f"        self.{name} = {name}" for name in sorted(scope.kept)]
        for index, item in enumerate(group.items):
            init += self.init(item, (index,), scope)
        signature = ", ".join(filter(None, ["self", self.signature(arguments)]))
        lines = [
            f"class {name}({base}):",
            *definition(f"def __init__({signature}):", 4),
            *(f"        {line}" if line else "" for line in start),
            *init,
            "",
            f"    {head}",
            *(line for text in forward for line in divided_statement(" " * 8 + text)),
        ]
        return "\n".join(lines)

    def init_start(self) -> list[str]:
        return ["super().__init__()"]

    def with_heads(self, forward: list[str]) -> tuple[str, str, list[str], list[str]]:
        """Of a class with auxiliary classifiers: its base, the head of the forward pass, the start of `__init__`, and
        the lines of the forward pass."""
        return self.base, self.forward_head, self.init_start(), forward

    def result(self, value: str, scope: Scope) -> str:
        if not scope.heads:
            return value
        return self.in_training(f"({', '.join([value, *scope.heads])})", value)

    def in_training(self, value: str, otherwise: str) -> str:
        return f"{value} if self.training else {otherwise}"

    # --- attributes ---------------------------------------------------------------------------------------------------

    def attributes(self, group: Group, texts: Mapping[Key, str]) -> dict[Place, str]:
        """The attribute of every item of a class that is a module, by its place."""
        taken = {*self.kept(group, texts), *_flags(group, texts)}
        found: dict[Place, str] = {}
        for item, place in scoped(group):
            if isinstance(item, Op) and not self.is_attribute(item, Values(item, place, texts)):
                continue
            kind = item.layer.kind if isinstance(item, Op) else "Block"
            stem = identifier(item.name, kind)
            name, number = stem, 2
            while name in taken:
                name, number = f"{stem}_{number}" if item.name else f"{stem}{number}", number + 1
            taken.add(name)
            found[place] = name
        return found

    def kept(self, group: Group, texts: Mapping[Key, str]) -> set[str]:
        """The arguments that the forward pass of a class needs, which are attributes, too."""
        kept: set[str] = set()
        for item, place in scoped(group):
            if isinstance(item, Op) and not self.is_attribute(item, Values(item, place, texts)):
                self.function(item, Values(item, place, texts, kept), "x")
        return kept

    def is_attribute(self, op: Op, values: Values) -> bool:
        if op.node.parameters or self.function(op, values, "x") is None:
            return True
        return (bool(op.name) or values.symbolic) and self.constructor(op, values) is not None

    def init(self, item: Item, place: Place, scope: Scope, indent: int = 8) -> list[str]:
        """The lines of `__init__` for an item."""
        if not isinstance(item, Fork):
            if place not in scope.attributes:
                return []
            return self.assigned(scope.attributes[place], self.expression(item, place, scope.texts), indent)
        lines: list[str] = []
        condition = scope.texts.get((place, SHORTCUT))
        for index, chain in enumerate(item.chains):
            if index and condition:
                lines += self.conditional(chain, (*place, index), condition, scope)
                continue
            for number, inner in enumerate(chain):
                lines += self.init(inner, (*place, index, number), scope, indent)
        if item.drop or (place, DROP) in scope.texts:
            rate = scope.texts.get((place, DROP)) or literal(item.drop.values["rate"] if item.drop else 0.0)
            lines += self.assigned("drop", self.stochastic_depth(rate), indent)
        if skip := scope.texts.get((place, SKIP)):
            lines += self.assigned("skip", skip, indent)
        return lines

    def assigned(self, attribute: str, expression: Expression, indent: int) -> list[str]:
        return statement(f"self.{attribute} = ", expression, indent)

    def conditional(self, chain: Sequence[Item], at: Place, condition: str, scope: Scope) -> list[str]:
        """The layers of a shortcut that only some of the blocks have."""
        attributes = [scope.attributes[place] for place in _places(chain, at) if place in scope.attributes]
        if len(chain) == 1 and len(attributes) == 1 and not isinstance(chain[0], Fork):
            expression = self.expression(chain[0], (*at, 0), scope.texts)
            line = f"        self.{attributes[0]} = {expression} if {condition} else None"
            if len(line) <= WIDTH:
                return [line]
            lines = [f"        if {condition}:", *self.assigned(attributes[0], expression, 12)]
            return [*lines, "        else:", f"            self.{attributes[0]} = None"]
        inner = [line for number, item in enumerate(chain) for line in self.init(item, (*at, number), scope, 12)]
        flag = [f"        self.project = {condition}"]
        return [*flag, "        if self.project:", *inner] if inner else flag

    # --- expressions --------------------------------------------------------------------------------------------------

    def expression(self, item: Item, place: Place, texts: Mapping[Key, str]) -> Expression:
        """What makes a module."""
        match item:
            case Op():
                return self.noted_constructor(item, Values(item, place, texts))
            case Group():
                block = self.blocks.of(item)
                if block is None:
                    return self.sequence(item, place, texts)
                return self.block_call(block, self.arguments(block, item, place, texts))
        raise lacking(self, item.node, item.layer, "it stands alone in a sequence")

    def noted_constructor(self, op: Op, values: Values) -> Expression:
        """What makes a layer's module, with comments that the file does not have yet. Raises `Lacking`."""
        self.noting = True
        made = self.constructor(op, values)
        self.noting = False
        if made is None:
            raise lacking(self, op.node, op.layer)
        return made

    def arguments(self, block: Block, group: Group, place: Place, texts: Mapping[Key, str]) -> dict[str, Any]:
        """What a block is called with; values that are its defaults are left out."""
        given: dict[str, Any] = {}
        own = block.values(group)
        for argument in block.arguments:
            text = texts.get((place, argument.name))
            if text is not None:
                given[argument.name] = Symbol(text)
            elif argument.default is None or own[argument.name] != argument.default:
                given[argument.name] = own[argument.name]
        return given

    def block_call(self, block: Block, given: Mapping[str, Any]) -> Call:
        name = snake(block.name) if self.is_sequence(block.template) else block.name
        required = {argument.name for argument in block.arguments if argument.default is None}
        parts = [("" if key in required else f"{key}=", as_expression(value)) for key, value in given.items()]
        return Call(name, (*parts, *self.constructor_ending))

    def sequence(self, group: Group, at: Place, texts: Mapping[Key, str]) -> Expression:
        """The modules of a group one after the other."""
        items: list[tuple[str, Expression]] = []
        index = 0
        while index < len(group.items):
            count = self.repetitions(group, index, at, texts)
            if count >= SHORTEST_LOOP:
                items.append(("*", self.loop(group, index, count, at, texts)))
                index += count
                continue
            items.append(("", self.expression(group.items[index], (*at, index), texts)))
            index += 1
        return self.sequential(group, items)

    def sequential(self, group: Group, items: Sequence[tuple[str, Expression]]) -> Expression:
        return Call(self.sequence_class, tuple(items), exploded=len(items) > 2)

    def repetitions(self, group: Group, index: int, at: Place, texts: Mapping[Key, str]) -> int:
        """How many calls of one block follow each other whose arguments are equal or grow evenly."""
        block = self.blocks.of(group.items[index])
        if block is None:
            return 1
        calls = []
        for number, item in enumerate(group.items[index:], start=index):
            if self.blocks.of(item) is not block:
                break
            assert isinstance(item, Group)
            calls.append(self.arguments(block, item, (*at, number), texts))
        count = len(calls)
        while count > 1 and not _even(calls[:count]):
            count -= 1
        return count

    def loop(self, group: Group, index: int, count: int, at: Place, texts: Mapping[Key, str]) -> Call:
        block = self.blocks.of(group.items[index])
        assert block
        calls = [
            self.arguments(block, item, (*at, index + number), texts)  # type: ignore[arg-type]
            for number, item in enumerate(group.items[index : index + count])
        ]
        first, second = calls[0], calls[1]
        given: dict[str, Any] = {}
        variable = "_"
        for key, value in first.items():
            given[key] = value
            if second[key] != value:
                step = second[key] - value
                factor = "i" if step == 1 else f"{step} * i"
                given[key], variable = Symbol(f"{literal(value)} + {factor}"), "i"
        ending = f" for {variable} in range({count})"
        return Call("", (("", self.block_call(block, given)),), brackets="[]", ending=ending)

    # --- the forward pass ---------------------------------------------------------------------------------------------

    def run(self, items: Sequence[Item], at: Place, source: str, target: str, scope: Scope, lines: list[str]) -> str:
        """The expression of a chain's result; what does not fit into it is assigned to the target in lines."""
        text, depth, heavy = source, 0, False
        for index, item in enumerate(items):
            place = (*at, index)
            if isinstance(item, Fork):
                if not text.isidentifier():
                    lines.append(f"{target} = {text}")
                    text = target
                scope.variables.add(target)
                text, depth, heavy = self.fork(item, place, text, scope, lines), 1, False
                continue
            weighted = isinstance(item, Group) or isinstance(item.layer, (Conv, Dense))
            light = isinstance(item, Op) and isinstance(item.layer, Flatten)
            longer = self.called(item, place, text, scope)
            if (
                text != source
                and text != target
                and (depth >= DEEPEST or (weighted and heavy) or len(longer) > LONGEST)
            ):
                lines.append(f"{target} = {text}")
                text, depth, heavy = target, 0, False
                longer = self.called(item, place, text, scope)
            text, depth, heavy = longer, depth + (not light), heavy or weighted
        return text

    def called(self, item: Item, place: Place, x: str, scope: Scope) -> str:
        if place in scope.attributes:
            return f"self.{scope.attributes[place]}({x})"
        assert isinstance(item, Op)
        text = self.function(item, Values(item, place, scope.texts, scope.kept), x)
        if text is None:
            raise lacking(self, item.node, item.layer)
        return text

    def fork(self, fork: Fork, place: Place, x: str, scope: Scope, lines: list[str]) -> str:
        match fork.layer:
            case Residual():
                return self.residual(fork, place, x, scope, lines)
            case Auxiliary():
                return self.head(fork, place, x, scope, lines)
        stem = (
            "branch" if isinstance(fork.layer, Concat) and len([chain for chain in fork.chains if chain]) > 1 else "y"
        )
        ends = []
        for index, chain in enumerate(fork.chains):
            if not chain:
                ends.append(x)
                continue
            name = scope.fresh(f"{stem}{index + 1}" if stem == "branch" else stem)
            text = self.run(chain, (*place, index), x, name, scope, lines)
            deep = isinstance(fork.layer, Concat) and text.count("(") > 1 and len(fork.chains) > 2
            if deep or len(text) > LONGEST // 2:
                lines.append(f"{name} = {text}")
                text = name
            ends.append(text)
        match fork.layer:
            case Concat():
                return self.concatenated(ends)
            case Add():
                return " + ".join(ends)
            case Multiply():
                return self.multiplied([atom(end) for end in ends])
        raise lacking(self, fork.node, fork.layer)

    def multiplied(self, ends: Sequence[str]) -> str:
        return " * ".join(ends)

    def residual(self, fork: Fork, place: Place, x: str, scope: Scope, lines: list[str]) -> str:
        name = scope.fresh("y")
        body = self.run(fork.chains[0], (*place, 0), x, name, scope, lines)
        if fork.drop or (place, DROP) in scope.texts:
            body = f"self.drop({body})"
        if len(body) > LONGEST // 2 and fork.chains[1]:
            lines.append(f"{name} = {body}")
            body = name
        if (place, SKIP) in scope.texts:
            if body != name:
                lines.append(f"{name} = {body}")
            lines.append(f"{name} = {x} + {name} if self.skip else {name}")
            return name
        if not fork.skip:
            return body
        if not fork.chains[1]:
            return self.added(x, body)
        if (place, SHORTCUT) not in scope.texts:
            end = scope.fresh("shortcut")
            return self.added(self.run(fork.chains[1], (*place, 1), x, end, scope, lines), body)
        chain = fork.chains[1]
        attributes = [scope.attributes[p] for p in _places(chain, (*place, 1)) if p in scope.attributes]
        end = scope.fresh("shortcut")
        if len(chain) == 1 and len(attributes) == 1 and not isinstance(chain[0], Fork):
            lines.append(f"{end} = {x} if self.{attributes[0]} is None else self.{attributes[0]}({x})")
        else:
            inner: list[str] = []
            text = self.run(chain, (*place, 1), x, end, scope, inner)
            lines += [f"{end} = {x}", "if self.project:", *(f"    {line}" for line in inner), f"    {end} = {text}"]
        return self.added(end, body)

    def added(self, shortcut: str, body: str) -> str:
        return f"{shortcut} + {body}"

    def head(self, fork: Fork, place: Place, x: str, scope: Scope, lines: list[str]) -> str:
        if not (scope.whole and len(place) == 1):
            raise lacking(self, fork.node, fork.layer)
        inside = (*place, 0, 0)
        attribute = scope.attributes[inside]
        name = scope.fresh(attribute)
        lines.append(f"{name} = {self.in_training(f'self.{attribute}({x})', 'None')}")
        scope.heads.append(name)
        return x

    # --- arrays -------------------------------------------------------------------------------------------------------

    def arrays(self) -> Iterator[tuple[str, str, Callable[[Any], Any]]]:
        """For every array of the network: its canonical name, its name in the framework, and the change of layout."""
        for op, prefix in self.owned(self.root, ""):
            names = {parameter.role: parameter.name for parameter in op.node.parameters}
            for role, own, change in self.own_arrays(op):
                yield names[role], f"{prefix}{own}", change

    def owned(self, group: Group, prefix: str) -> Iterator[tuple[Op, str]]:
        """The layers that have arrays, and the names of their modules, each with a dot at the end."""
        if group is not self.root and self.is_sequence(group):
            for index, item in enumerate(group.items):
                assert not isinstance(item, Fork)
                yield from self._owned(item, self.in_sequence(prefix, index, self.key(group, index)))
            return
        block = self.blocks.of(group)
        attributes = self.attributes(group, block.texts if block else {})
        for item, place in scoped(group):
            if place in attributes:
                yield from self._owned(item, f"{prefix}{attributes[place]}.")

    def key(self, group: Group, index: int) -> str:
        """The name of an item in a sequence with names."""
        return str(index)

    def _owned(self, item: Op | Group, prefix: str) -> Iterator[tuple[Op, str]]:
        if isinstance(item, Group):
            yield from self.owned(item, prefix)
        elif self.has_arrays(item):
            yield item, prefix

    def has_arrays(self, op: Op) -> bool:
        """Whether the framework's layer has arrays, also if the spec's has none."""
        return bool(op.node.parameters)


def scoped(group: Group) -> Iterator[tuple[Op | Group, Place]]:
    """The layers and groups of one class: those of the group and of its forks' chains."""

    def of(item: Item, place: Place) -> Iterator[tuple[Op | Group, Place]]:
        if not isinstance(item, Fork):
            yield item, place
            return
        for index, chain in enumerate(item.chains):
            for number, inner in enumerate(chain):
                yield from of(inner, (*place, index, number))

    for index, item in enumerate(group.items):
        yield from of(item, (index,))


def is_call(text: str, function: str) -> bool:
    """Whether a whole expression is a call of a function or method, rather than an expression that ends with one."""
    tree = ast.parse(text, mode="eval").body
    return isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute) and tree.func.attr == function


def _flags(group: Group, texts: Mapping[Key, str]) -> Iterator[str]:
    """The attributes of a class that are no layers: those of its residuals."""

    def of(item: Item, place: Place) -> Iterator[str]:
        if not isinstance(item, Fork):
            return
        known = {"drop": DROP, "skip": SKIP, "project": SHORTCUT}
        yield from (name for name, key in known.items() if (place, key) in texts or (name == "drop" and item.drop))
        for index, chain in enumerate(item.chains):
            for number, inner in enumerate(chain):
                yield from of(inner, (*place, index, number))

    for index, item in enumerate(group.items):
        yield from of(item, (index,))


def atom(text: str) -> str:
    """In parentheses, unless it is a name or a call."""
    return text if re.fullmatch(r"[\w.]+(\(.*\))?", text) and _balanced(text) else f"({text})"


def _balanced(text: str) -> bool:
    """Whether the first bracket closes at the end."""
    if "(" not in text:
        return True
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and depth == 0:
            return index == len(text) - 1
    return False


def _places(chain: Sequence[Item], at: Place) -> Iterator[Place]:
    for number, _ in enumerate(chain):
        yield (*at, number)


def _even(calls: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all arguments are equal, or whole numbers that grow by equal steps."""
    if len({tuple(each) for each in calls}) > 1:
        return False
    for key in calls[0]:
        values = [each[key] for each in calls]
        if len(set(values)) == 1:
            continue
        if not all(type(value) is int for value in values):
            return False
        if len({b - a for a, b in pairwise(values)}) > 1:
            return False
    return True


def definition(text: str, indent: int) -> list[str]:
    """A `def` in one line, or with its arguments on a line of their own or on one each."""
    space = " " * indent
    if len(space + text) <= WIDTH:
        return [space + text]
    before, _, rest = text.partition("(")
    inner, _, after = rest.rpartition(")")
    if len(f"{space}    {inner}") <= WIDTH:
        return [f"{space}{before}(", f"{space}    {inner}", f"{space}){after}"]
    return [f"{space}{before}(", *(f"{space}    {part}," for part in divided(inner)), f"{space}){after}"]


def _needed(line: str, body: str) -> str | None:
    """An import with the names that the body has, or None without any."""
    head, between, names = line.rpartition(" as " if " as " in line else " import ")
    kept = [name for name in names.removeprefix("import ").split(", ") if re.search(rf"\b{re.escape(name)}\b", body)]
    if not line:
        return line
    return f"{head}{between}{'import ' if not head else ''}{', '.join(kept)}" if kept else None
