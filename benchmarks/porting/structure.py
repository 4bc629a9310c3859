"""A graph as nested chains of layers: where it forks and joins again is found by immediate dominators.

An operator's immediate dominator is the last operator that every path from the input to it passes. So the dominator of
a join is its fork, and the inputs of the join are the ends of its branches. Joins have no names: so the names inside
them are those of the file, and arrays keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count, permutations
from math import inf

from benchmarks.porting.array_builder import short_padding
from benchmarks.porting.graphs import INPUT, Graph, Operator
from benchmarks.runtime.errors import BadInput
from frameworks.spec import (
    Add,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    HardSigmoid,
    HardSwish,
    Layer,
    MaxPool,
    Multiply,
    Normalize,
    Pad,
    ReLU6,
    Residual,
    Scale,
    Select,
    Sigmoid,
    SiLU,
    Tanh,
    pair,
    sides,
)
from frameworks.spec.joins import Join
from frameworks.spec.windowed import Pool


class Structure:
    """The layers of a graph, and which operator of the file gives the output of a layer.

    Raises BadInput for a graph whose branches do not join as chains that start at one fork.
    """

    def __init__(self, graph: Graph) -> None:
        self.input = graph.input
        self.operators = _with_free_names(_with_nested_concats(graph))
        self.main = self._before(graph.output)
        self.dominator, self.depth = {INPUT: INPUT}, {INPUT: 0}
        wanted = set().union(self.main, *map(self._before, graph.heads))
        for name, operator in self.operators.items():
            if name in wanted:
                self.dominator[name] = self._common(operator.inputs)
                self.depth[name] = self.depth[self.dominator[name]] + 1
        self.placed: set[str] = set()
        self.origins: dict[int, tuple[Layer, str]] = {}  # a layer and its operator in the file, by the layer's identity
        heads = [(self._leaves(head), head) for head in graph.heads]
        self.heads: dict[str, list[Layer]] = {}
        for number, (start, head) in enumerate(heads, start=1):
            chain = self._chain(start, head)
            self.heads.setdefault(start, []).append(_auxiliary(chain, f"aux{number}" if len(heads) > 1 else "aux"))
        self.layers = [*self.heads.get(INPUT, []), *self._chain(INPUT, graph.output)]

    def _before(self, name: str) -> set[str]:
        """An operator and all before it."""
        found, left = {INPUT}, [name]
        while left:
            each = left.pop()
            if each not in found:
                found.add(each)
                left += self.operators[each].inputs
        return found

    def has_arrays_before(self, name: str) -> bool:
        """Whether an operator is computed with arrays that the output is not."""
        operators = (self.operators[each] for each in self._before(name) - self.main)
        return any(layer.parameters((1, 1, 1)) for each in operators for layer in each.layers)

    def _common(self, names: Iterable[str]) -> str:
        """The last operator that dominates all of these, or is one of them."""
        first, *others = names
        for other in others:
            while first != other:
                if self.depth[first] < self.depth[other]:
                    first, other = other, first
                first = self.dominator[first]
        return first

    def _leaves(self, head: str) -> str:
        """The operator of the main network at which an auxiliary classifier starts."""
        while head not in self.main:
            head = self.dominator[head]
        return head

    def _chain(self, start: str, end: str) -> list[Layer]:
        """The layers after `start` up to `end`, which `start` dominates."""
        steps = []
        while end != start:
            steps.append(end)
            end = self.dominator[end]
        return simplified([layer for step in reversed(steps) for layer in self._place(step)], self.origins)

    def _place(self, name: str) -> list[Layer]:
        operator = self.operators[name]
        again = name in self.placed
        if again and (operator.join is not None or not all(map(_is_repeatable, operator.layers))):
            why = "two branches use it, and one of them joins a third before they join each other"
            raise BadInput(f"no nested form for {_at(operator)}: {why}")
        self.placed.add(name)
        fork = self.dominator[name]
        layers = list(operator.layers) if operator.join is None else self._join(operator.join, fork, operator.inputs)
        # Each layer is an object of its own, and a name is that of one layer.
        layers = [replace(layer, name="") if again else replace(layer) for layer in layers]
        if operator.node and layers:
            self.origins[id(layers[-1])] = layers[-1], operator.node
        return [*layers, *(self.heads.get(name, []) if name in self.main else [])]

    def _join(self, kind: type[Join], fork: str, ends: Sequence[str]) -> list[Layer]:
        """A join whose branches end at these operators. Branches with a common part become a join of their own.

        Maps of a concatenation whose branches have a common part need not stand side by side: they are put in order.
        """
        if kind is Concat and (summed := self._summed(ends)):
            return [_sum([[*self._chain(fork, source), *self._select(source, m)] for source, m in summed.items()])]
        groups: dict[tuple[str, int], list[int]] = {}
        for number, end in enumerate(ends):
            top = self._top(end, fork)
            groups.setdefault((top, number if top == fork else -1), []).append(number)
        chains = [self._branch(kind, fork, [ends[number] for number in group]) for group in groups.values()]
        if kind is Add:
            return [_sum(chains)]
        joined: list[Layer] = [kind("", _flattened(kind, chains))]
        order = [number for group in groups.values() for number in group]
        return joined if kind is not Concat else [*joined, *self._in_order(ends, order)]

    def _in_order(self, ends: Sequence[str], order: Sequence[int]) -> list[Layer]:
        """The maps of a concatenation of outputs in an order, brought into their own."""
        sizes = [self._channels(end) for end in ends]
        places = {number: sum(sizes[other] for other in order[:place]) for place, number in enumerate(order)}
        maps = tuple(places[number] + each for number, size in enumerate(sizes) for each in range(size))
        return [] if maps == tuple(range(len(maps))) else [Select("", maps)]

    def _branch(self, kind: type[Join], fork: str, ends: list[str]) -> list[Layer]:
        if len(ends) == 1:
            return self._chain(fork, ends[0])
        inner = self._common(ends)
        return [*self._chain(fork, inner), *self._join(kind, inner, ends)]

    def _summed(self, ends: Sequence[str]) -> dict[str, tuple[int | None, ...]]:
        """A concatenation as a sum of outputs, each with zeros where it adds no map: the maps of each.

        Empty if branches express it. They do not where an output is added to one that does not come from it, and has
        other maps beside that sum (Chen et al. 2017, dual path networks).
        """
        parts = [self._terms(end) for end in ends]
        sources = [{source for terms in part for source, _ in terms} for part in parts]
        crossed = any(
            not self._dominates(source, ends[number])
            for number, other in permutations(range(len(ends)), 2)
            for source in sources[number] & sources[other]
        )
        channels = [terms for part in parts for terms in part]
        if not crossed or any(len(dict(terms)) < len(terms) for terms in channels):
            return {}
        found = dict.fromkeys(source for terms in channels for source, _ in terms)
        return {source: tuple(dict(terms).get(source) for terms in channels) for source in found}

    def _terms(self, name: str) -> list[list[tuple[str, int]]]:
        """For each map of an output the maps whose sum it is, as the output that has them and their number."""
        operator = self.operators.get(name)
        if operator and operator.join is Add:
            return [[each for part in parts for each in part] for parts in zip(*map(self._terms, operator.inputs))]
        maps: Sequence[int | None] = range(self._channels(name))
        while operator and len(operator.layers) == 1 and isinstance(select := operator.layers[0], Select):
            maps = [None if number is None else select.maps[number] for number in maps]
            operator = self.operators.get(name := operator.inputs[0])
        return [[] if number is None else [(name, number)] for number in maps]

    def _select(self, source: str, maps: tuple[int | None, ...]) -> list[Layer]:
        return [] if maps == tuple(range(self._channels(source))) else [Select("", maps)]

    def _channels(self, name: str) -> int:
        return self.input[0] if name == INPUT else self.operators[name].channels

    def _dominates(self, one: str, other: str) -> bool:
        while self.depth[other] > self.depth[one]:
            other = self.dominator[other]
        return one == other

    def _top(self, name: str, fork: str) -> str:
        """The first operator after the fork of those that dominate `name`; the fork if it is that."""
        while name != fork and self.dominator[name] != fork:
            name = self.dominator[name]
        return name


def _is_repeatable(layer: Layer) -> bool:
    """Whether two such layers on one input compute what one computes for both: no arrays, nothing drawn."""
    return not isinstance(layer, Dropout) and not layer.parameters((1, 1, 1))


def _at(operator: Operator) -> str:
    return operator.where or operator.name


def _with_nested_concats(graph: Graph) -> dict[str, Operator]:
    """The operators; a concatenation that starts as an earlier one does takes that one's output (DenseNet)."""
    changed: dict[str, Operator] = {}
    known: dict[tuple[str, ...], str] = {}
    for name, operator in graph.operators.items():
        inputs = operator.inputs
        if operator.join is Concat:
            longest = max((key for key in known if inputs[: len(key)] == key), key=len, default=())
            if len(longest) > 1:
                inputs = (known[longest], *inputs[len(longest) :])
            known.setdefault(operator.inputs, name)
        changed[name] = replace(operator, inputs=inputs)
    return changed


def _with_free_names(operators: dict[str, Operator]) -> dict[str, Operator]:
    """The operators without clashes between the names of layers and those that nameless layers take (`avgpool`).

    Layers without arrays lose such a name. Layers with arrays keep it, and the nameless ones are numbered.
    """
    layers = [layer for each in operators.values() for layer in each.layers]
    nameless = {layer.kind.lower() for layer in layers if not layer.name}
    kept = {layer.name for layer in layers if layer.name and layer.parameters((1, 1, 1))}
    numbers = count(1)

    def free(layer: Layer) -> Layer:
        kind = layer.kind.lower()
        if not layer.name and any(name.rpartition(".")[2] == kind for name in kept):
            return replace(layer, name=next(name for n in numbers if (name := f"{kind}_{n}") not in kept))
        clashes = layer.name.rstrip("0123456789") in nameless and layer.name not in kept
        return replace(layer, name="") if clashes else layer

    return {name: replace(each, layers=tuple(map(free, each.layers))) for name, each in operators.items()}


def _sum(chains: list[list[Layer]]) -> Layer:
    """A residual block where one of two chains is the input or a projection of it, else the sum."""
    if len(chains) == 2:
        body, shortcut = sorted(chains, key=_convolutions, reverse=True)
        if body and (not shortcut or _is_projection(shortcut, body)):
            return Residual("", body, shortcut)
    return Add("", _flattened(Add, chains))


def _is_projection(shortcut: list[Layer], body: list[Layer]) -> bool:
    """Whether a shortcut is at most one convolution beside a body of more, as in He et al. 2015, options A and B."""
    simple = all(isinstance(layer, (Conv, BatchNorm, Pool, Select)) for layer in shortcut)
    is_sum = len(body) == 1 and isinstance(body[0], (Add, Residual))
    return simple and not is_sum and _convolutions(shortcut) <= 1 < _convolutions(body)


def _convolutions(chain: Iterable[Layer]) -> int:
    return sum(isinstance(layer, Conv) for layer in _walk(chain))


def _flattened(kind: type[Join], chains: list[list[Layer]]) -> list[list[Layer]]:
    """The chains; one that is a join of the same kind alone gives its own chains, if it comes first."""
    kinds = (Add, Residual) if kind is Add else (kind,)
    if chains and len(chains[0]) == 1 and isinstance(chains[0][0], kinds):
        return [*map(list, chains[0][0].branches()), *chains[1:]]
    return chains


def _auxiliary(chain: list[Layer], name: str) -> Auxiliary:
    """A head. Where all names start with one module's, the head has that name and the rest are names inside it."""
    names = [layer.name for layer in _walk(chain) if layer.name]
    prefix = names[0].partition(".")[0] if names else ""
    if prefix and all(each.startswith(f"{prefix}.") for each in names):
        return Auxiliary(prefix, [_without(layer, f"{prefix}.") for layer in chain])
    return Auxiliary("" if names else name, chain)


def _walk(layers: Iterable[Layer]) -> Iterable[Layer]:
    for layer in layers:
        yield layer
        for branch in layer.branches():
            yield from _walk(branch)


def _without(layer: Layer, prefix: str) -> Layer:
    layer = replace(layer, name=layer.name.removeprefix(prefix))
    if isinstance(layer, Join):
        return replace(layer, chains=[[_without(each, prefix) for each in chain] for chain in layer.chains])
    if isinstance(layer, Residual):
        body, shortcut = ([_without(each, prefix) for each in chain] for chain in layer.branches())
        return replace(layer, body=body, shortcut=shortcut)
    return layer


# --- one layer that files write as several ----------------------------------------------------------------------------

_GATES = {Sigmoid: SiLU, HardSigmoid: HardSwish}


def simplified(chain: Iterable[Layer], origins: dict[int, tuple[Layer, str]]) -> list[Layer]:
    """The chain with several layers replaced by the one that computes the same: x * sigmoid(x), padding in a window.

    origins: those of the chain's layers; a layer that replaces others gets that of their last one.
    """
    out: list[Layer] = []
    for layer in chain:
        out.append(layer)
        while found := _shorter(out):
            count, one = found
            if last := origins.get(id(out[-1])):
                origins[id(one)] = one, last[1]
            out[-count:] = [one]
    return out


def _shorter(chain: list[Layer]) -> tuple[int, Layer] | None:
    """How many layers at the end of a chain one layer computes, and that layer."""
    match chain[-3:]:
        case [Normalize(mean=(-3,), std=(1,)), ReLU6(), Scale(factor=factor)] if abs(factor - 1 / 6) < 1e-15:
            return 3, HardSigmoid()
    match chain[-2:]:
        case [Multiply(chains=((), (Normalize(mean=(-3,), std=(1,)), ReLU6()))), Scale(factor=factor)] if (
            abs(factor - 1 / 6) < 1e-15
        ):  # x * relu6(x + 3) / 6, from left to right
            return 2, HardSwish()
        case [Normalize(std=(1.0,), mean=mean), Normalize(mean=(0.0,)) as divided]:
            return 2, replace(divided, mean=mean)
        case [Scale(factor=factor), Tanh(amplitude=1.0, slope=1.0)]:
            return 2, Tanh(slope=factor)
        case [Tanh(amplitude=1.0) as tanh, Scale(factor=factor)]:
            return 2, replace(tanh, amplitude=factor)
        case [Pad() as pad, Conv() | MaxPool() | AvgPool() as window] if _takes(window, pad):
            around = [(a + c, b + d) for (a, b), (c, d) in zip(sides(pad.padding), sides(window.padding))]
            return 2, replace(window, padding=short_padding((around[0], around[1])))
    match chain[-1]:
        case Multiply(chains=((), (gate,)) | ((gate,), ())) if type(gate) in _GATES and _is_standard(gate):
            return 1, _GATES[type(gate)]()
    return None


def _takes(window: Conv | Pool, pad: Pad) -> bool:
    """Whether padding before a window can be its own."""
    fits = all(
        max(a + c, b + d) < size
        for (a, b), (c, d), size in zip(sides(pad.padding), sides(window.padding), pair(window.kernel))
    )
    match window:
        case Conv():
            return pad.value == 0
        case MaxPool():
            return pad.value == -inf and fits and not window.ceil
        case AvgPool():
            return pad.value == 0 and fits and window.count_padding and not window.ceil
    return False


def _is_standard(gate: Layer) -> bool:
    return not isinstance(gate, HardSigmoid) or gate.slope == HardSigmoid().slope
