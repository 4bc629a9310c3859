"""Brings the layers of two networks side by side: the heaviest common subsequence of their rows.

Kinds, shapes of arrays and arguments decide which rows belong together. A name counts only where these leave a choice,
because two ports of one network rarely have the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from benchmarks.porting.between.rows import LayerRow

Pair: TypeAlias = tuple["LayerRow | None", "LayerRow | None"]

# Kinds that people confuse: where one is in A and another in B at the same place, the kind is the difference.
_FAMILIES = (
    "ReLU ReLU6 LeakyReLU PReLU ELU SELU Sigmoid HardSigmoid Tanh SiLU HardSwish GELU Softplus Mish",
    "BatchNorm LayerNorm GroupNorm Affine LocalResponseNorm",
    "MaxPool AvgPool GlobalAvgPool AdaptiveAvgPool",
    "Dropout StochasticDepth",
    "Add Concat Multiply",
    "Conv Dense",
    "Scale Normalize",
)
FAMILY = {kind: family.split()[0] for family in _FAMILIES for kind in family.split()}
MOVED = 4  # rows of the alignment between the two places of a layer whose order differs


@dataclass(frozen=True)
class Alignment:
    """Pairs of rows in reading order; a row without a partner has None in its place.

    moved: pairs of rows that compute the same at another place, such as a normalization after an activation.
    """

    pairs: tuple[Pair, ...]
    moved: tuple[tuple[LayerRow, LayerRow], ...]

    @cached_property
    def partners(self) -> list[tuple[LayerRow, LayerRow]]:
        """The rows of A with their rows of B, also those at another place."""
        return [*((a, b) for a, b in self.pairs if a and b), *self.moved]

    @property
    def exchanged(self) -> Alignment:
        """The same with B in the place of A."""
        return Alignment(*(tuple((b, a) for a, b in each) for each in (self.pairs, self.moved)))  # type: ignore[arg-type]


def aligned(a: Sequence[LayerRow], b: Sequence[LayerRow]) -> Alignment:
    """The rows of two networks side by side."""
    begin = _equal(zip(a, b))
    end = _equal(zip(reversed(a[begin:]), reversed(b[begin:])))
    middle = _heaviest(a[begin : len(a) - end], b[begin : len(b) - end])
    pairs: list[Pair] = [*zip(a[:begin], b), *middle, *zip(a[len(a) - end :], b[len(b) - end :])]
    return Alignment(tuple(pairs), tuple(_moved(pairs)))


def _equal(pairs: Iterable[tuple[LayerRow, LayerRow]]) -> int:
    """How many pairs from the first on are equal in all but their names."""
    count = 0
    for a, b in pairs:
        if not a.same(b) or a.depth != b.depth or a.shapes != b.shapes or a.node.output != b.node.output:
            break
        count += 1
    return count


def _heaviest(a: Sequence[LayerRow], b: Sequence[LayerRow]) -> list[Pair]:
    """The pairs of the greatest total weight whose order is that of both networks."""
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]  # of a[i:] and b[j:]
    for i in range(len(a) - 1, -1, -1):
        here, below = best[i], best[i + 1]
        for j in range(len(b) - 1, -1, -1):
            weight = _weight(a[i], b[j])
            here[j] = max(below[j], here[j + 1], weight + below[j + 1] if weight else 0.0)
    pairs: list[Pair] = []
    i = j = 0
    while i < len(a) and j < len(b):
        weight = _weight(a[i], b[j])
        if weight and best[i][j] == weight + best[i + 1][j + 1]:
            pairs.append((a[i], b[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            pairs.append((a[i], None))
            i += 1
        else:
            pairs.append((None, b[j]))
            j += 1
    return [*pairs, *((row, None) for row in a[i:]), *((None, row) for row in b[j:])]


def _weight(a: LayerRow, b: LayerRow) -> float:
    """How well two rows fit together; 0 if they cannot."""
    if a.kind != b.kind:
        same = FAMILY.get(a.kind) is not None and FAMILY.get(a.kind) == FAMILY.get(b.kind)
        return 1.0 + _context(a, b) if same else 0.0
    shared = sum(value == b.arguments.get(name) for name, value in a.arguments.items())
    arguments = (1 + shared) / (1 + len(a.arguments))
    arrays = (3.0 if a.shapes == b.shapes else 1.0) if a.shapes or b.shapes else 0.0
    return 3.0 + 2 * arguments + arrays + _context(a, b)


def _context(a: LayerRow, b: LayerRow) -> float:
    """What decides between rows that fit equally well."""
    return (
        0.5 * (a.node.output == b.node.output)
        + 0.25 * (a.depth == b.depth)
        + 0.25 * (a.chain == b.chain)
        + 0.5 * (a.path == b.path)
    )


def _moved(pairs: Sequence[Pair]) -> list[tuple[LayerRow, LayerRow]]:
    """Rows without a partner that have an equal one close by."""
    only_a = {index: a for index, (a, b) in enumerate(pairs) if a and not b}
    only_b = {index: b for index, (a, b) in enumerate(pairs) if b and not a}
    moved: list[tuple[LayerRow, LayerRow]] = []
    for here, a in only_a.items():
        near = [place for place in only_b if abs(place - here) <= MOVED]
        equal = [place for place in near if a.same(only_b[place]) and a.depth == only_b[place].depth]
        if equal:
            moved.append((a, only_b.pop(equal[0])))
    return moved
