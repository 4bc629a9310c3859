"""The groups of a program that repeat, and what differs between the repetitions: the arguments of a block.

Two groups are the same block if their layers are equal up to values. A residual block may lack its shortcut's layers,
its stochastic depth, or the sum itself: then the block has a condition. A value that differs is an argument, or an
expression of one that comes before it: equal to it, a multiple or a fraction.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from benchmarks.porting.source.program import Fork, Group, Item, Op, groups, identifier, inside, numeric, ops
from frameworks.spec import Concat, Conv, Dense, GlobalAvgPool, Multiply, Residual

# Kinds of values that may equal one another.
CHANNELS = frozenset(("inputs", "outputs", "channels", "groups", "begin", "end", "count"))
Place: TypeAlias = "tuple[int, ...]"  # of an item in a group; in a fork, the chain and the place in it
Key: TypeAlias = "tuple[Place, str]"  # a place and the name of a value
SKIP, SHORTCUT, DROP = "fork.skip", "fork.shortcut", "fork.drop"  # names of values of a fork
MOST_FACTOR, MOST_DIVISOR = 8, 64


@dataclass(frozen=True)
class Argument:
    """An argument of a block: its name, its value in each group, and its default or None."""

    name: str
    values: tuple[Any, ...]
    default: Any = None


@dataclass(frozen=True)
class Block:
    """A repeated group, or one that is printed as a class of its own.

    template: the group with all parts that any of them has. texts: what is printed for each value that differs.
    """

    name: str
    template: Group
    members: tuple[Group, ...]
    arguments: tuple[Argument, ...]
    kinds: Mapping[str, str]  # of arguments: the name of the value
    texts: Mapping[Key, str]  # of a fork's `shortcut` and `skip`: the condition

    def values(self, group: Group) -> dict[str, Any]:
        """The arguments of one of the groups."""
        number = next(i for i, each in enumerate(self.members) if each.number == group.number)
        return {argument.name: argument.values[number] for argument in self.arguments}


# --- shapes -----------------------------------------------------------------------------------------------------------


def shape(item: Item) -> Any:
    """What two items have in common if they are equal up to values; a shortcut's layers and a skip do not count."""
    match item:
        case Op():
            return ("op", item.name, item.form, tuple(item.values))
        case Group():
            return ("group", *_body_shape(item))
    if isinstance(item.layer, Residual):
        return ("residual", tuple(map(shape, item.chains[0])))
    weight = getattr(item.layer, "weight", None)
    return (item.layer.kind, weight, tuple(tuple(_branch_shape(chain)) for chain in item.chains))


def _branch_shape(chain: Sequence[Item]) -> Iterator[Any]:
    for item in chain:
        yield (item.name, shape(item)) if isinstance(item, Group) else shape(item)


def _body_shape(group: Group) -> tuple[Any, ...]:
    """A group that is only a sum with its input has the shape of its body."""
    chain = group.items
    match group.items:
        case (Fork(layer=Residual(), chains=(body, ())),):
            chain = body
    return tuple(_branch_shape(chain))


def _shortcut_shapes(item: Item) -> tuple[Any, ...]:
    found: list[Any] = []
    for inner in inside(item):
        if isinstance(inner, Fork) and isinstance(inner.layer, Residual):
            found.append(tuple(_branch_shape(inner.chains[1])))
        found += _shortcut_shapes(inner)
    return tuple(found)


def buckets(root: Group) -> list[tuple[Group, ...]]:
    """Groups of one shape together, in reading order of the first."""
    by_shape: dict[Any, list[Group]] = {}
    for group in groups(root):
        if group.number != root.number:
            by_shape.setdefault(shape(group), []).append(group)
    found: list[tuple[Group, ...]] = []
    for same in by_shape.values():
        parts: list[tuple[tuple[Any, ...] | None, list[Group]]] = []
        for group in same:
            own = _shortcut_shapes(group)
            for index, (known, members) in enumerate(parts):
                if (merged := _compatible(known, own)) is not None:
                    parts[index] = (merged, [*members, group])
                    break
            else:
                parts.append((own, [group]))
        found += [tuple(members) for _, members in parts]
    return sorted(found, key=lambda members: members[0].number)


def _compatible(known: tuple[Any, ...] | None, own: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The shortcuts of both, where an empty one fits any; None if they differ."""
    if not known or not own:
        return known or own
    if len(known) != len(own) or any(a and b and a != b for a, b in zip(known, own)):
        return None
    return tuple(a or b for a, b in zip(known, own))


# --- the tree as blocks see it ----------------------------------------------------------------------------------------


def _single_residual(group: Group) -> bool:
    match group.items:
        case (Fork(layer=Residual(), chains=(_, ())),):
            return True
    return False


def _normalized(item: Item, skipping: frozenset[int]) -> Item:
    """The same, with a sum that is left out in every group that computes a body alone, where its block has sums."""
    match item:
        case Group():
            items = tuple(_normalized(inner, skipping) for inner in item.items)
            if item.number in skipping and not _single_residual(item):
                items = (Fork(Residual("", ()), next(ops(item)).node, (items, ()), skip=False),)
            return replace(item, items=items)
        case Fork():
            return replace(
                item, chains=tuple(tuple(_normalized(inner, skipping) for inner in chain) for chain in item.chains)
            )
    return item


def template(members: Sequence[Group]) -> Group:
    """The first group with the shortcut, the stochastic depth and the sum that any of the groups has."""
    return _united(members)  # type: ignore[return-value]


def _united(same: Sequence[Any]) -> Item:
    first = same[0]
    match first:
        case Group():
            return replace(first, items=tuple(map(_united, zip(*(group.items for group in same)))))
        case Fork():
            chains = []
            for parts in zip(*(fork.chains for fork in same)):
                longest = max(map(len, parts))
                chains.append(tuple(map(_united, zip(*(part for part in parts if len(part) == longest)))))
            drop = next((fork.drop for fork in same if fork.drop), None)
            real = next((fork for fork in same if fork.skip), first)
            return replace(real, chains=tuple(chains), drop=drop)
    return first


def height(item: Item) -> int:
    return 1 + max((height(inner) for inner in inside(item)), default=0)


def channels_in(item: Item) -> int:
    return next(ops(item)).node.input[0]


def channels_out(item: Item) -> int:
    match item:
        case Group():
            return channels_out(item.items[-1])
        case Fork(skip=False):
            return channels_out(item.chains[0][-1])
    return item.node.output[0]


# --- blocks -----------------------------------------------------------------------------------------------------------


class Blocks:
    """The blocks of a program, and which of them a group is.

    needs_class: whether a group is printed as a class or function even if it does not repeat.
    """

    def __init__(
        self, root: Group, needs_class: Callable[[Group], bool], name: str, reserved: Set[str] = frozenset()
    ) -> None:
        self.reserved = reserved
        same = buckets(root)
        skipping = frozenset(
            group.number
            for members in same
            if any(map(_single_residual, members)) and not all(map(_single_residual, members))
            for group in members
        )
        self.root: Group = _normalized(root, skipping)  # type: ignore[assignment]
        self.by_group: dict[int, Block] = {}
        by_number = {group.number: group for group in groups(self.root)}
        self.members = {
            group.number: tuple(by_number[each.number] for each in members) for members in same for group in members
        }
        wanted = self._wanted(needs_class)
        in_order = sorted(
            (self.members[number] for number in wanted), key=lambda same: (height(same[0]), same[0].number)
        )
        for members in in_order:
            block = _Arguments(self, members, template(members)).block()
            if needs_class(block.template) or len(block.arguments) <= self._most_arguments(block.template):
                self.by_group |= {group.number: block for group in members}
        self.blocks = self._named(self._inner_first(), name)

    def _most_arguments(self, group: Group) -> int:
        """Of a function: a sequence of blocks with more is easier to read in place."""
        return 4 if all(self.of(item) for item in group.items) else 6

    def _named(self, blocks: Sequence[Block], name: str) -> list[Block]:
        """The blocks with distinct names."""
        arguments = (argument.name for block in blocks for argument in block.arguments)
        taken = {name, snake(name), *self.reserved, *arguments}
        named = []
        for block in blocks:
            stem = class_name(block.members)
            free, number = stem, 2
            while free in taken or snake(free) in taken:
                free, number = f"{stem}{number}", number + 1
            taken |= {free, snake(free)}
            named.append(replace(block, name=free))
            self.by_group |= {group.number: named[-1] for group in block.members}
        return named

    def of(self, item: Item) -> Block | None:
        return self.by_group.get(item.number) if isinstance(item, Group) else None

    def _wanted(self, needs_class: Callable[[Group], bool]) -> set[int]:
        """The first groups of the buckets that are printed as blocks: those with several places in the text."""
        count: Counter[int] = Counter()

        def visit(item: Item) -> None:
            for inner in inside(item):
                if isinstance(inner, Group):
                    members = self.members[inner.number]
                    count[members[0].number] += 1
                    if count[members[0].number] == 1:
                        visit(template(members))
                else:
                    visit(inner)

        visit(self.root)
        wanted = set()
        for number, times in count.items():
            whole = template(self.members[number])
            layers = len([op for op in ops(whole) if op.node.parameters])
            if needs_class(whole) or (times > 1 and layers > 1):
                wanted.add(number)
        return wanted

    def _inner_first(self) -> list[Block]:
        ordered: list[Block] = []

        def visit(item: Item) -> None:
            for inner in inside(item):
                block = self.of(inner)
                if block is None:
                    visit(inner)
                elif block not in ordered:
                    visit(block.template)
                    ordered.append(block)

        visit(self.root)
        return ordered

    def places(self, item: Item, at: Place = ()) -> Iterator[tuple[Key, str, Any]]:
        """The values of the layers and blocks inside: place and name, the kind of value, and the value."""
        match item:
            case Op():
                for name, value in item.values.items():
                    yield (at, name), name, value
            case Group():
                block = self.of(item)
                if block is None:
                    for index, inner in enumerate(item.items):
                        yield from self.places(inner, (*at, index))
                else:
                    for name, value in block.values(item).items():
                        yield (at, name), block.kinds[name], value
            case Fork():
                for index, chain in enumerate(item.chains):
                    for number, inner in enumerate(chain):
                        yield from self.places(inner, (*at, index, number))
                if isinstance(item.layer, Residual):
                    yield (at, DROP), "rate", item.drop.values["rate"] if item.drop else 0.0
                    yield (at, SKIP), "skip", item.skip
                    yield (at, SHORTCUT), "shortcut", bool(item.chains[1])

    def named(self, item: Item, at: Place = ()) -> Iterator[tuple[Place, str, str]]:
        """Place, name and kind of the layers and blocks inside."""
        match item:
            case Op():
                yield at, item.name, item.layer.kind
            case Group() if self.of(item):
                yield at, item.name, "Block"
            case Group():
                for index, inner in enumerate(item.items):
                    yield from self.named(inner, (*at, index))
            case Fork():
                for index, chain in enumerate(item.chains):
                    for number, inner in enumerate(chain):
                        yield from self.named(inner, (*at, index, number))


class _Arguments:
    """The arguments of a block, and the text of every value that differs."""

    def __init__(self, blocks: Blocks, members: tuple[Group, ...], whole: Group) -> None:
        self.members, self.whole, self.reserved = members, whole, blocks.reserved
        # The group itself is no block yet: its own values are listed.
        listed = [
            [each for index, inner in enumerate(g.items) for each in blocks.places(inner, (index,))] for g in members
        ]
        kinds = {key: kind for values in listed for key, kind, _ in values}
        by_member = [{key: value for key, _, value in values} for values in listed]
        order = [key for index, inner in enumerate(whole.items) for key, _, _ in blocks.places(inner, (index,))]
        self.kind_of = kinds
        self.vectors = {key: tuple(values.get(key) for values in by_member) for key in order}
        self.names = {
            place: (name, kind)
            for index, inner in enumerate(whole.items)
            for place, name, kind in blocks.named(inner, (index,))
        }
        self.inputs = tuple(map(channels_in, members))
        self.outputs = tuple(map(channels_out, members))
        self.joined = isinstance(whole.items[0], Fork) and isinstance(whole.items[0].layer, Concat)
        self.found: list[Argument] = []
        self.kinds: dict[str, str] = {}
        self.texts: dict[Key, str] = {}
        differing = [key for key, vector in self.vectors.items() if self._differs(key, vector)]
        self.takes_inputs = any(kind == "inputs" for kind in kinds.values())
        self.widths = self._widths(differing)
        for key in differing:
            if key[1].startswith("_"):  # a consequence of others, which is no argument
                self.texts[key] = ""
            elif key[1] not in (SKIP, SHORTCUT):
                self.texts[key] = self._text(key)
        self.conditions = {key: self._condition(key) for key in differing if key not in self.texts}

    def block(self) -> Block:
        plain = [argument for argument in self.found if argument.default is None]
        ordered = (*plain, *(argument for argument in self.found if argument.default is not None))
        return Block("", self.whole, self.members, ordered, self.kinds, self.texts | self.conditions)

    def _differs(self, key: Key, vector: tuple[Any, ...]) -> bool:
        """Also the stride of a shortcut, where blocks without one have another stride."""
        if len(_known(vector)) > 1:
            return True
        strides = (each for other, each in self.vectors.items() if self.kind_of[other] == "stride" and None not in each)
        equal = (each for each in strides if all(a == b for a, b in _both(each, vector)))
        return self.kind_of[key] == "stride" and None in vector and any(len(_known(each)) > 1 for each in equal)

    def _widths(self, differing: Sequence[Key]) -> list[tuple[Any, ...]]:
        """Channels that differ and are neither the block's input nor its output, each once."""
        widths: list[tuple[Any, ...]] = []
        for key in differing:
            vector = self.vectors[key]
            ends = (self.inputs if self.takes_inputs else (), () if self.joined else self.outputs)
            known = any(each and all(a == b for a, b in _both(each, vector)) for each in (*widths, *ends))
            if self.kind_of[key] in ("inputs", "outputs") and not known:
                widths.append(vector)
        return widths

    def _text(self, key: Key) -> str:
        vector = self.vectors[key]
        place, name = key
        if name == "padding" and self._halved(place, vector):
            return f"{self.texts[(place, 'kernel')]} // 2"
        if text := self._expression(vector, self.kind_of[key]):
            return text
        return self._new(key, vector)

    def _halved(self, place: Place, vector: tuple[Any, ...]) -> bool:
        if (place, "kernel") not in self.texts:
            return False
        pairs = zip(vector, self.vectors[(place, "kernel")])
        return all(
            isinstance(kernel, int) and padding == kernel // 2 for padding, kernel in pairs if kernel is not None
        )

    def _expression(self, vector: tuple[Any, ...], kind: str) -> str:
        """A value as an expression of the arguments so far, or ""."""
        candidates = [a for a in self.found if self._related(self.kinds[a.name], kind)]
        for argument in candidates:
            pairs = _both(argument.values, vector)
            if pairs and all(a == b for a, b in pairs):
                return argument.name
        if kind not in CHANNELS:
            return ""
        for argument in candidates:
            pairs = _both(argument.values, vector)
            if not pairs or len(set(pairs)) < 2:
                continue
            first, second = pairs[0]
            factor, divisor = second // first if first else 0, first // second if second else 0
            if 1 < factor <= MOST_FACTOR and all(b == factor * a for a, b in pairs):
                return f"{factor} * {argument.name}"
            if 1 < divisor <= MOST_DIVISOR and all(a == divisor * b for a, b in pairs):
                return f"{argument.name} // {divisor}"
        return ""

    @staticmethod
    def _related(one: str, other: str) -> bool:
        return one == other or {one, other} <= CHANNELS

    def _new(self, key: Key, vector: tuple[Any, ...]) -> str:
        kind = self.kind_of[key]
        name = self._free(self._name(key, vector))
        filled = [value for value in vector if value is not None]
        default = Counter(filled).most_common(1)[0][0] if kind not in CHANNELS or None in vector else None
        if kind == "groups" and 1 in filled:
            default = 1
        values = tuple(default if value is None else value for value in vector)
        self.found.append(Argument(name, values, default))
        self.kinds[name] = kind
        return name

    def _name(self, key: Key, vector: tuple[Any, ...]) -> str:
        place, kind = key[0], self.kind_of[key]
        if kind in ("inputs", "outputs", "channels"):
            known = [index for index, each in enumerate(vector) if each is not None]

            def is_(ends: tuple[int, ...]) -> bool:
                return all(vector[index] == ends[index] for index in known)

            if (
                is_(self.outputs)
                and not self.joined
                and (is_(self.inputs) or (not self.takes_inputs and not self.widths))
            ):
                return "channels"
            if is_(self.inputs) and self.takes_inputs:
                return "in_channels"
            if is_(self.outputs) and not self.joined:
                return "out_channels"
            if len(self.widths) == 1:
                return "hidden_channels"
            name, layer = self.names.get(place, ("", "Block"))
            return f"{identifier(name, layer)}_channels" if not self.joined else identifier(name, layer)
        return {"kernel": "kernel_size", "rate": "drop_rate", "maps": "channels_seen", "end": "split"}.get(kind, kind)

    def _free(self, stem: str) -> str:
        name, number = stem, 2
        while name in self.reserved or name in {argument.name for argument in self.found}:
            name, number = f"{stem}{number}", number + 1
        return name

    def _condition(self, key: Key) -> str:
        """When a part exists that some groups lack: a comparison of arguments if one fits, or an argument."""
        vector = tuple(map(bool, self.vectors[key]))
        strides = next((a for a in self.found if self.kinds[a.name] == "stride"), None)
        texts: list[tuple[str, list[bool]]] = []
        wider = [a != b for a, b in zip(self.inputs, self.outputs)]
        if strides:
            strided = [value not in (1, (1, 1)) for value in strides.values]
            texts.append((f"{strides.name} != 1", strided))
        inputs, outputs = (self._end(vector) for vector in (self.inputs, self.outputs))
        if self.takes_inputs and inputs and outputs and inputs != outputs:
            texts.append((f"{inputs} != {outputs}", wider))
            if strides:
                both = f"{strides.name} != 1 or {inputs} != {outputs}"
                texts.append((both, [a or b for a, b in zip(strided, wider)]))
        for text, values in texts:
            if tuple(values) == vector:
                return text
            if tuple(not value for value in values) == vector:
                return text.replace("!=", "==").replace(" or ", " and ")
        kind = self.kind_of[key]
        argument = self._free("project" if kind == "shortcut" else kind)
        default = Counter(vector).most_common(1)[0][0]
        self.found.append(Argument(argument, vector, default))
        self.kinds[argument] = kind
        return argument

    def _end(self, vector: tuple[int, ...]) -> str:
        """The text of the channels that come into the block or leave it, or ""."""
        return str(vector[0]) if len(set(vector)) == 1 else self._expression(vector, "inputs")


def _known(vector: tuple[Any, ...]) -> set[Any]:
    return {value for value in vector if value is not None}


def _both(one: tuple[Any, ...], other: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """Pairs of values where the second is known."""
    return [(a, b) for a, b in zip(one, other) if b is not None]


# --- names of blocks --------------------------------------------------------------------------------------------------


def class_name(members: Sequence[Group]) -> str:
    """A name for a block: by its form where the field has a name for that, or by the names of its groups."""
    whole = template(members)
    layers = [op for op in ops(whole)]
    match whole.items:
        case (Fork(layer=Multiply()), *_) if any(isinstance(op.layer, GlobalAvgPool) for op in layers):
            return "SqueezeExcitation"
        case (Fork(layer=Concat(), chains=((), _)), *_) | (Fork(layer=Concat(), chains=(_, ())), *_):
            return "DenseLayer"
        case (Fork(layer=Residual()) as fork, *_):
            convolutions = [op for item in fork.chains[0] for op in ops(item) if isinstance(op.layer, Conv)]
            if any(_depthwise(op) for op in convolutions):
                return "InvertedResidual" if len(convolutions) == 3 else "ResidualBlock"
            return {2: "BasicBlock", 3: "Bottleneck"}.get(len(convolutions), "ResidualBlock")
    kinds = [op.layer.kind for op in layers]
    convolutions = [op for op in layers if isinstance(op.layer, Conv)]
    forks = any(isinstance(item, Fork) for item in whole.items)
    if (
        not forks
        and len(convolutions) == 1
        and all(op.node.parameters == () or op.layer.kind in _SHORT for op in layers)
    ):
        if 1 < len(kinds) < 4 and kinds[0] == "Conv":
            return "".join(_SHORT.get(each, each) for each in kinds)
        strided = kinds[-1].endswith("Pool") or convolutions[0].values.get("stride") != 1
        if kinds[0] in ("LayerNorm", "BatchNorm") and strided:
            return "Downsample" if kinds[0] == "LayerNorm" else "Transition"
    grouped = len(whole.items) > 1 and all(isinstance(item, Group) for item in whole.items[:2])
    depthwise = [_depthwise(op) for op in convolutions]
    if not forks and grouped and sum(depthwise) == 1:
        return "SeparableConv" if depthwise == [True, False] else "InvertedBottleneck"
    if [_depthwise(op) for op in layers] == [True, False]:
        return "SeparableConv"
    stems = {re.sub(r"[\W_]*\d+[a-z]?$", "", group.name) for group in members}
    names = {group.name for group in members}
    if len(names) == 1 and not numeric([*names]):
        stems = names
    if len(stems) == 1 and len(stem := stems.pop()) > 2:
        return camel(stem)
    if len(members) == 1 and len(re.sub(r"\W", "", members[0].name)) > 2:
        return camel(members[0].name)
    if any(isinstance(op.layer, Dense) for op in layers):
        return "Classifier"
    return "Stage" if not forks and all(isinstance(item, Group) for item in whole.items) else "Block"


_SHORT = {"BatchNorm": "Norm", "LayerNorm": "Norm", "Conv": "Conv"}
_PROPER = {
    "lenet": "LeNet", "alexnet": "AlexNet", "zfnet": "ZFNet", "vgg": "VGG", "nin": "NiN", "googlenet": "GoogLeNet",
    "resnet": "ResNet", "resnext": "ResNeXt", "densenet": "DenseNet", "mobilenet": "MobileNet", "cifar": "CIFAR",
    "squeezenet": "SqueezeNet", "shufflenet": "ShuffleNet", "mnasnet": "MNASNet", "efficientnet": "EfficientNet",
    "regnet": "RegNet", "convnext": "ConvNeXt", "caffenet": "CaffeNet", "mlp": "MLP", "cnn": "CNN", "mnist": "MNIST",
    "senet": "SENet", "dla": "DLA", "dpn": "DPN", "pnasnet": "PNASNet", "bn": "BN", "relu": "ReLU", "se": "SE",
}  # fmt: skip


def title(name: str) -> str:
    """A network's name as a class: `resnet18` is ResNet18."""
    parts = [re.fullmatch(r"([a-z]*)(.*)", part) for part in re.split(r"[\W_]+", name) if part]
    text = "".join(_PROPER.get(part[1], part[1].capitalize()) + part[2] for part in parts if part)
    return text if text[:1].isalpha() else f"Net{text}"


def _depthwise(op: Op) -> bool:
    return isinstance(op.layer, Conv) and op.layer.groups == op.node.input[0] > 1


def camel(name: str) -> str:
    parts = [part for part in re.split(r"[\W_]+", name) if part]
    text = "".join(part[0].upper() + part[1:] for part in parts)
    return text if text and text[0].isalpha() else f"Block{text}"


def snake(name: str) -> str:
    """`ConvNormReLU` as conv_norm_relu."""
    plain = re.sub("ReLU|SiLU|PReLU|GELU|SELU|ELU", lambda unit: unit[0].capitalize(), name)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain).lower()
