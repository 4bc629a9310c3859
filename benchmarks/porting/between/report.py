"""What `onespec port A B` says: the differences, the first tensor that differs, and the likely cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from benchmarks.porting.between import arrays, differences, own_steps, values
from benchmarks.porting.between.alignment import Alignment, aligned
from benchmarks.porting.between.differences import INPUT, TRAINING, NetworkDifference
from benchmarks.porting.between.rows import rows
from benchmarks.porting.between.values import Parted, Stage
from benchmarks.porting.sources import Side
from benchmarks.reporting.number_formats import counted
from benchmarks.verification.case_weights import revealing_weights
from frameworks.arrays import Array, Weights
from frameworks.spec import times
from frameworks.training import Training

OWN_STEP = "one step of the own code"
MOST_LISTED = 3  # layers in one line that differ in the same way


@dataclass(frozen=True)
class Report:
    """The comparison of two networks. stages: empty if their inputs differ. cause: of the first tensor that differs."""

    a: Side
    b: Side
    differences: tuple[NetworkDifference, ...]
    stages: tuple[Stage, ...]
    images: int
    weights: str
    cause: str

    @property
    def parted(self) -> Parted | None:
        """The first tensor that differs."""
        return next((stage.parted for stage in self.stages if stage.parted), None)

    @property
    def same(self) -> bool:
        """Whether both are the same function: no value differs, and no difference that values may fail to show."""
        comparisons = [*self.a.comparisons, *self.b.comparisons]
        agree = bool(self.stages) and self.parted is None and all(each.agrees for each in comparisons)
        return agree and all(each.shows for each in self.differences) and self.a.untrained == self.b.untrained

    @property
    def undecided(self) -> str:
        """Which sides train otherwise than their specs: these show nothing of training then. Empty for none."""
        names = [name for name, side in zip("AB", (self.a, self.b)) if side.untrained]
        return f"{' and '.join(names)} {'train' if len(names) > 1 else 'trains'}" if names else ""

    def decides(self, stage: Stage) -> bool:
        """Whether the values of a stage are those of both originals: evaluation and steps of their own code are."""
        return not self.undecided or bool(stage.parted) or stage.name in (values.EVALUATION, OWN_STEP)

    @property
    def text(self) -> str:
        lines = [f"{name}  {side.summary}" for name, side in zip("AB", (self.a, self.b))]
        for name, side in zip("AB", (self.a, self.b)):
            lines += [f"   {name}: {note}" for note in side.notes]
        lines += ["", f"{counted(len(self.differences), 'difference')}" + ":" * bool(self.differences)]
        lines += [f"  {line}" for line in _listed(self.differences)]
        if self.stages:
            lines += ["", f"Values: {self.images} images, float64, {self.weights}"]
            width = max(len(stage.name) for stage in self.stages)
            for stage in self.stages:
                found = stage.parted
                agrees = "agrees" if self.decides(stage) else f"not decided: {self.undecided} otherwise"
                lines.append(f"  {stage.name:{width}}  {_stage_text(found) if found else agrees}")
        lines += ["", self.verdict]
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        apart = f"{self.undecided} otherwise than the layers, as the notes say: training is not compared."
        if self.same:
            return f"The same function in evaluation. {apart}" if self.undecided else "The same function."
        for name, side in zip("AB", (self.a, self.b)):
            if side.original and not side.original.agrees:
                return f"Not decided: {name} and its spec differ beyond rounding, and what is compared are the specs."
        if self.undecided and self.parted is None and all(each.shows for each in self.differences) and self.stages:
            return f"The same function in evaluation, another training: {apart}"
        unseen = "" if self.parted or not self.stages else ", although none of these values shows it"
        trainings = self.differences and all(each.a == TRAINING for each in self.differences)
        what = "training" if trainings else "function"
        return f"Another {what}{unseen}." + (f" Likely cause: {self.cause}" if self.cause else "")

    def to_json(self) -> dict[str, Any]:
        """The report for programs."""
        parted = self.parted
        return {
            "a": self.a.text,
            "b": self.b.text,
            "same": self.same,
            "notes": {"a": list(self.a.notes), "b": list(self.b.notes)},
            "differences": [
                {"a": e.a, "b": e.b, "what": e.what, "in_a": e.in_a, "in_b": e.in_b, "cause": e.cause}
                for e in self.differences
            ],
            "stages": [
                {"stage": s.name, "agrees": s.parted is None if self.decides(s) else None} for s in self.stages
            ],
            "parted": {"a": parted.a, "b": parted.b, "tensor": parted.tensor, "by": parted.text} if parted else None,
            "cause": self.cause,
        }  # fmt: skip


# A step of a side's own training code: of the side, its weights, images and labels to the arrays after the step.
OwnStep: TypeAlias = Callable[[Side, Weights, Array, Array], Weights]


def compared(
    a: Side,
    b: Side,
    trainings: tuple[Training, Training] | None = None,
    own_code: tuple[OwnStep, OwnStep] | None = None,
) -> Report:
    """Compare two networks: their layers, their arrays if both have a file, and what they compute.

    trainings: those of A and B; then three steps of their optimizers are compared, too. own_code: a step of each side's
    own training code, which is compared likewise.
    """
    alignment = aligned(rows(a.network), rows(b.network))
    found = [*differences.of_layers(alignment), *differences.of_output(a.probabilities, b.probabilities)]
    in_a, in_b = _weights(a, b, alignment)
    if a.weights is not None and b.weights is not None:
        found += arrays.differences(alignment, a.network, b.network, in_a, in_b)
    if trainings:
        found += differences.of_trainings(*trainings)
    if a.network.input != b.network.input:
        sizes = times(a.network.input), times(b.network.input)
        cause = f"the input is {sizes[0]} in A, {sizes[1]} in B; values cannot be compared"
        found.insert(0, NetworkDifference(INPUT, INPUT, "shape", *sizes, cause))
        return Report(a, b, tuple(found), (), 0, "", cause)
    networks = a.network, b.network
    rules = trainings or (Training(), Training())
    ends = a.probabilities, b.probabilities
    stages = values.compared(*networks, alignment, in_a, in_b, rules, ends)
    if trainings:
        stages += values.steps(*networks, alignment, in_a, in_b, rules)
    x, labels = values.batch(*networks)
    if own_code:
        after = [step(side, w, x, labels) for step, side, w in zip(own_code, (a, b), (in_a, in_b))]
        one, other = (own_steps.described(n, w, now, x, labels) for n, w, now in zip(networks, (in_a, in_b), after))
        found += own_steps.differences(one, other, len(x))
        stages.append(values.after_steps(OWN_STEP, alignment, after[0], after[1]))
    cause = _cause(stages, found, alignment)
    return Report(a, b, tuple(found), tuple(stages), len(x), _weights_text(a, b), cause)


def _weights(a: Side, b: Side, alignment: Alignment) -> tuple[Weights, Weights]:
    """The weights of both networks in float64: of one that has none, those of the other, or drawn ones in both."""
    if a.weights is None and b.weights is not None:
        return _weights(b, a, alignment.exchanged)[::-1]
    in_a = a.weights if a.weights is not None else revealing_weights(a.network, 0)
    in_b = b.weights if b.weights is not None else values.carried(alignment, in_a, b.network)
    in_a, in_b = ({name: array.astype(np.float64) for name, array in each.items()} for each in (in_a, in_b))
    return in_a, in_b


def _listed(found: Sequence[NetworkDifference]) -> list[str]:
    """A line for each difference; one for all layers that differ in the same way."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in found:
        groups.setdefault((each.what, each.cause), []).append(each.place)
    lines = []
    for (what, cause), places in groups.items():
        more = f" and {len(places) - MOST_LISTED} more" if len(places) > MOST_LISTED else ""
        lines.append(f"{', '.join(places[:MOST_LISTED])}{more}, {what}: {cause}")
    return lines


def _stage_text(parted: Parted) -> str:
    if TRAINING in (parted.a, parted.b):
        return f"differs {parted.text}"
    return f"differs from {parted.place} on: {parted.tensor} {parted.text}".replace(":  ", ": ")


def _weights_text(a: Side, b: Side) -> str:
    if a.weights is not None and b.weights is not None:
        return "each with the weights of its file"
    owner = next((name for name, side in zip("AB", (a, b)) if side.weights is not None), "")
    return f"the weights of the file of {owner} in both" if owner else "drawn weights in both"


def _cause(stages: Sequence[Stage], found: Sequence[NetworkDifference], alignment: Alignment) -> str:
    """Why the first tensor differs: the difference of its layer, else the closest one before it."""
    stage = next((each for each in stages if each.parted), None)
    if stage is None or stage.parted is None:
        chosen = next((each for each in found if not each.shows), None)
        return _said([chosen]) if chosen else ""
    parted = stage.parted
    here = [each for each in found if (parted.a and each.a == parted.a) or (parted.b and each.b == parted.b)]
    if here:
        return _said(here)
    forward = stage.name in (values.EVALUATION, values.IN_TRAINING, values.STATISTICS)
    if not forward and (rules := [each for each in found if each.a == TRAINING]):
        return _said(rules)
    order = {row.path: index for index, pair in enumerate(alignment.pairs) for row in pair if row}
    place = max((order.get(path, len(order)) for path in (parted.a, parted.b) if path), default=len(order))
    before = [each for each in found if each.a != TRAINING and order.get(each.a or each.b, 0) <= place]
    return _said(before[-1:] or [each for each in found if each.a != TRAINING][:1])


def _said(found: Sequence[NetworkDifference]) -> str:
    places = dict.fromkeys(each.place for each in found)
    return f"{', '.join(places)}: {'; '.join(each.cause for each in found)}" if found else ""
