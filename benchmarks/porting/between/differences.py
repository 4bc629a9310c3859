"""The differences of two networks layer by layer and argument by argument, and those of two trainings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from benchmarks.porting.between import causes
from benchmarks.porting.between.alignment import Alignment
from benchmarks.porting.between.causes import SIDES, value_text
from benchmarks.porting.between.rows import LayerRow
from frameworks.training import SGD, Optimizer, Training

# Of these, values on some images may not show the difference: their bounds are reached by large values only.
BOUNDED = ("ReLU6", "HardSigmoid", "HardSwish")


@dataclass(frozen=True)
class NetworkDifference:
    """One difference. a, b: paths of the layers, empty where there is none. what: an argument, a role of an array, ...

    shows: whether values decide if it changes the function, as they do for a layer that is missing or elsewhere.
    """

    a: str
    b: str
    what: str
    in_a: str
    in_b: str
    cause: str
    shows: bool = False

    @property
    def place(self) -> str:
        """The layers as reports name them."""
        return place(self.a, self.b)


def place(a: str, b: str) -> str:
    """Two layers by one name where they have the same."""
    return a if a == b else " | ".join(path or "-" for path in (a, b))


def of_layers(alignment: Alignment) -> list[NetworkDifference]:
    """In reading order."""
    moved = {id(row): (a, b) for a, b in alignment.moved for row in (a, b)}
    found: list[NetworkDifference] = []
    told: set[int] = set()
    for index, (a, b) in enumerate(alignment.pairs):
        if a and b:
            found += _of_pair(a, b)
            continue
        row = a or b
        assert row is not None, "a pair has a row"
        if id(row) not in moved:
            if not _is_inside(alignment, index, a is None):
                found.append(_of_missing(row, SIDES[a is None]))
        elif id(moved[id(row)][0]) not in told:
            told.add(id(moved[id(row)][0]))
            found.append(_of_order(*moved[id(row)], alignment))
    return found


def _of_pair(a: LayerRow, b: LayerRow) -> Iterator[NetworkDifference]:
    if a.same(b):
        return
    kinds = a.node.layer.kind, b.node.layer.kind
    if a.kind != b.kind and kinds[0] != kinds[1]:
        yield NetworkDifference(a.path, b.path, "kind", kinds[0], kinds[1], causes.of_kind(a, b))
        return
    # Of one kind in two forms, such as a pool that covers the whole image in one network: then as they are written.
    given = (a.arguments, b.arguments) if a.kind == b.kind else (a.written, b.written)
    for name in dict.fromkeys((*given[0], *given[1])):
        one, other = (each.get(name) for each in given)
        differs = name == "ceil" or a.kind != b.kind or a.computed.get(name) != b.computed.get(name)
        if one != other and differs:
            texts = value_text(name, one), value_text(name, other)
            yield NetworkDifference(a.path, b.path, name, *texts, causes.of_argument(name, a, b, one, other))


def _is_inside(alignment: Alignment, index: int, side: int) -> bool:
    """Whether a row without a partner is in a join without one, which stands for all that is inside."""
    depth = _row(alignment, index, side).depth
    for before in range(index - 1, -1, -1):
        row = alignment.pairs[before][side]
        if row and row.depth < depth:
            return alignment.pairs[before][1 - side] is None
    return False


def _row(alignment: Alignment, index: int, side: int) -> LayerRow:
    row = alignment.pairs[index][side]
    assert row is not None, "asked for the side that has a row"
    return row


def _of_missing(row: LayerRow, side: str) -> NetworkDifference:
    kind, cause, shows = row.node.layer.kind, causes.of_missing(row, side), row.kind not in BOUNDED
    if side == SIDES[0]:
        return NetworkDifference(row.path, "", "layer", kind, "none", cause, shows)
    return NetworkDifference("", row.path, "layer", "none", kind, cause, shows)


def _of_order(a: LayerRow, b: LayerRow, alignment: Alignment) -> NetworkDifference:
    """A layer at another place, with the layers that it changes places with."""
    pairs = alignment.pairs
    here = next(index for index, pair in enumerate(pairs) if pair[0] is a)
    there = next(index for index, pair in enumerate(pairs) if pair[1] is b)
    between = pairs[min(here, there) : max(here, there) + 1]
    one, other = (", ".join(_name(pair[side]) for pair in between if pair[side]) for side in (0, 1))
    return NetworkDifference(a.path, b.path, "order", one, other, causes.of_order(one, other), a.kind not in BOUNDED)


def _name(row: LayerRow | None) -> str:
    return row.node.layer.kind if row else ""


# --- trainings --------------------------------------------------------------------------------------------------------

INPUT, OUTPUT, TRAINING = "the input", "the output", "the training"  # in the place of a layer


def of_output(a: bool, b: bool) -> Iterator[NetworkDifference]:
    """Whether one network alone gives probabilities."""
    if a != b:
        yes, no = SIDES[b], SIDES[a]
        cause = (
            f"{yes} ends in softmax, {no} gives logits: with a loss that takes logits, such as CrossEntropyLoss, {yes} "
            "has softmax twice"
        )
        one, other = ("probabilities" if each else "logits" for each in (a, b))
        yield NetworkDifference(OUTPUT, OUTPUT, "softmax", one, other, cause)


def of_trainings(a: Training, b: Training) -> Iterator[NetworkDifference]:
    """What two trainings compute differently: loss, optimizer, decay."""
    one, other = a.optimizer, b.optimizer
    if type(one) is not type(other):
        kinds = type(one).__name__, type(other).__name__
        yield _of_training("optimizer", *kinds, f"the optimizer is {kinds[0]} in A, {kinds[1]} in B")
    else:
        for item in fields(one):
            values = getattr(one, item.name), getattr(other, item.name)
            if values[0] != values[1]:
                yield _of_training(item.name, *values, _of_optimizer(item.name, one, *values))
    for item in fields(a):
        values = getattr(a, item.name), getattr(b, item.name)
        if item.name != "optimizer" and values[0] != values[1]:
            name = item.name.replace("_", " ")
            cause = f"{name} is {value_text('', values[0])} in A, {value_text('', values[1])} in B"
            if item.name == "decay_all":
                cause = f"weight decay acts on all arrays in {SIDES[values[1]]}, on weights alone in {SIDES[values[0]]}"
            yield _of_training(item.name, *values, cause)


def _of_training(what: str, a: Any, b: Any, cause: str) -> NetworkDifference:
    form = isinstance(a, bool)  # forms of an update may coincide: without momentum, say
    return NetworkDifference(TRAINING, TRAINING, what, value_text("", a), value_text("", b), cause, form)


def _of_optimizer(name: str, rule: Optimizer, one: Any, other: Any) -> str:
    yes, no = SIDES[bool(other)], SIDES[bool(one)]
    if name == "decoupled":
        return f"weight decay is decoupled from the gradient in {yes} (AdamW) and added to it in {no} (L2)"
    if name == "lr_in_velocity":
        theirs = "Gluon, Keras" if isinstance(rule, SGD) else "TensorFlow, Keras"
        return (
            f"the velocity contains the learning rate in {yes} ({theirs}) and not in {no} (PyTorch): a change of the "
            "learning rate acts at once only without it"
        )
    if name == "nesterov":
        return f"the momentum has Nesterov's form in {yes} and the plain form in {no}"
    if name == "epsilon_hat":
        return f"epsilon is added before the bias correction in {yes} (Keras, Gluon) and after it in {no} (PyTorch)"
    if name == "epsilon_inside":
        return f"epsilon is inside the square root in {yes} (TensorFlow, Keras) and outside in {no} (PyTorch)"
    return f"{name.replace('_', ' ')} is {value_text('', one)} in A, {value_text('', other)} in B"
