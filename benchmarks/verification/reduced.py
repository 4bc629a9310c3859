"""What a computation with layers in 16 bits must show: how near it is to float64, and what it keeps in float32.

How near. The reference computes the case once more as the contract of adapters describes mixed precision: layers in
16 bits, and what frameworks keep in float32 in float64 (`NarrowReference`). At each place a framework may be off by
`comparison.TIMES` what this computation is off there.

What in float32. A value that is computed in float32 is one that 16 bits hold with a probability of 2^-16 in bfloat16
and 2^-13 in float16. So the share of such values shows what a quantity was computed in (`Widths`): nearly none of the
arrays after a step, of the means that batches contribute to running means, and of losses, but all outputs of
convolutions and dense layers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import ceil, log2
from typing import ClassVar

import numpy as np

from benchmarks.verification.cases import Case, Place
from benchmarks.verification.narrow_numbers import rounded
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass, Reference
from frameworks.reference_layers.base import Result
from frameworks.spec import BatchNorm, Conv, Dense, Node
from frameworks.training import FINITE_STEPS, LOSS_SCALE, SCALE

BITS = {"bfloat16": 8, "float16": 11}  # significant bits
# At first, when a case is verified in float16: far below the first scale of training, which many networks exceed, so
# that frameworks do not skip other steps than the reference because a gradient is at the edge.
CASE_SCALE = 2.0**7
WIDTH = "share of values in the other precision"  # name of the tensor: 16 bits in place of float32, or the reverse
MOST_IN_OTHER = 0.5  # its limit: of few values, some are in 16 bits by chance


class NarrowPass(Pass):
    """A pass whose layers take and give 16 bits, forward and backward; sums inside a layer and statistics are exact.

    scale: of the loss, with which gradients are rounded.
    """

    def __init__(self, precision: str, scale: float, *arguments: object) -> None:
        self.precision, self.scale = precision, scale
        super().__init__(*arguments)  # type: ignore[arg-type]

    def _layer(self, node: Node, x: Array) -> Result:
        arrays = self.weights
        narrow = isinstance(node.layer, (Conv, Dense))  # other layers have arrays in float32
        if narrow:
            self.weights = {each.name: rounded(arrays[each.name], self.precision) for each in node.parameters}
        y, back = super()._layer(node, x)
        self.weights = arrays

        def backward(dy: Array) -> tuple[Array, Weights]:
            dx, by_role = back(dy)
            if narrow:
                by_role = {role: self._rounded_gradient(gradient) for role, gradient in by_role.items()}
            return self._rounded_gradient(dx), by_role

        return rounded(y, self.precision), backward

    def _rounded_gradient(self, gradient: Array) -> Array:
        return rounded(gradient * self.scale, self.precision) / self.scale


class NarrowReference(Reference):
    """The reference with layers in 16 bits and, in float16, with the scale of the loss."""

    narrow: ClassVar[str]
    scale, finite_steps = 1.0, 0

    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights)
        if self.narrow == "float16":
            self.scale = float(weights.get(SCALE, LOSS_SCALE.first))
            self.finite_steps = int(weights.get(FINITE_STEPS, 0))

    def _run(self, images: Array, masks: np.random.Generator | None = None) -> Pass:
        return NarrowPass(self.narrow, self.scale, self.network, self.weights, images, masks, self.unbiased)

    def _step(self, gradients: Weights, rate: float) -> None:
        if self.narrow == "float16":
            finite = all(np.isfinite(gradient).all() for gradient in gradients.values())
            self.finite_steps = self.finite_steps + 1 if finite else 0
            if not finite:
                self.scale *= LOSS_SCALE.backoff
                return
            if self.finite_steps == LOSS_SCALE.interval:
                self.scale, self.finite_steps = self.scale * LOSS_SCALE.growth, 0
        super()._step(gradients, rate)


class BFloat16Reference(NarrowReference):
    narrow = "bfloat16"


class Float16Reference(NarrowReference):
    narrow = "float16"


REDUCED: dict[str, type[NarrowReference]] = {kind.narrow: kind for kind in (BFloat16Reference, Float16Reference)}


class Widths:
    """The share of values that are in float32 where 16 bits are specified, or the reverse, over the tensors of a case.

    A place has the tensor `WIDTH` and the stage, training and step of those that it is about.
    """

    def __init__(self, case: Case, precision: str) -> None:
        self.case, self.precision = case, precision
        self.nodes = {node.path: node for _, node in case.network.walk()}
        self.counts: dict[Place, list[tuple[int, int]]] = defaultdict(list)  # values in the other precision, values

    def add(self, place: Place, tensor: Array) -> None:
        """Count the values of a tensor of the framework, if the contract says in what they are."""
        values = np.asarray(tensor, np.float64)
        path, _, role = place.tensor.rpartition(".")
        if place.stage in ("evaluation", "training") and not place.training:
            if isinstance(self.nodes[place.tensor].layer, (Conv, Dense)):
                self._count(place, rounded(values, self.precision) != values)
        elif place.stage == "optimizers" and isinstance(self.nodes[path].layer, (Conv, Dense)):
            self._count(place, rounded(values, self.precision) == values)
        elif place.stage == "running statistics" and role == "running_mean" and place.step == 1:
            self._count(place, self._narrow_means(path, place.tensor, values))
        elif place == Place("loss", "", 0, "loss"):  # a mean over the batch takes further bits
            bits = BITS[self.precision] + ceil(log2(self.case.batch_size)) + 2
            self._count(place, np.array([_has_bits(float(values), bits)]))

    def errors(self) -> Iterator[tuple[Place, float]]:
        """The share by place."""
        for place, counts in self.counts.items():
            other, total = (sum(column) for column in zip(*counts))
            if total:
                yield place, other / total

    def _count(self, place: Place, other: Array) -> None:
        self.counts[place._replace(tensor=WIDTH)].append((int(other.sum()), other.size))

    def _narrow_means(self, path: str, name: str, after: Array) -> Array:
        """Of the channels whose batch mean the new running mean shows precisely: whether 16 bits hold that mean."""
        layer = self.nodes[path].layer
        assert isinstance(layer, BatchNorm), "only batch normalization has running statistics"
        before = self.case.weights[name]
        mean = (after - (1 - layer.momentum) * before) / layer.momentum
        unsure = 4 * 2.0**-24 * np.maximum(np.abs(before), np.abs(after)) / layer.momentum
        shown = unsure < np.abs(mean) * 2.0 ** -(BITS[self.precision] + 6)
        narrow: Array = np.abs(rounded(mean, self.precision) - mean)[shown] <= unsure[shown]
        return narrow


def _has_bits(value: float, bits: int) -> bool:
    """Whether a number has at most so many significant bits."""
    fraction, _ = np.frexp(value)
    return bool(np.ldexp(fraction, bits) == np.rint(np.ldexp(fraction, bits)))
