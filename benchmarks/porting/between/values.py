"""Runs two networks on the same images with the same weights, in float64, and finds the first tensor that differs.

Both are computed by the NumPy reference, so a difference is one of the networks and not of their programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from benchmarks.porting.between.alignment import Alignment
from benchmarks.porting.between.differences import INPUT, OUTPUT, TRAINING, place
from benchmarks.porting.between.rows import LayerRow, execution
from benchmarks.reporting.number_formats import number
from benchmarks.verification.case_weights import revealing_weights
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass, Reference
from frameworks.spec import Network, Normalize, Scale, times
from frameworks.training import Training

IMAGES = 4
LARGE = 1_000_000_000  # multiply-adds of a network of which two images are computed, the fewest with batch statistics
ROUNDING = 1e-10  # the largest difference that is rounding, as a fraction of the largest value
# A tensor whose values are this fraction of the largest of its stage may consist of rounding alone: the gradient of a
# bias before batch normalization is 0.
NEGLIGIBLE = 1e-3
STEPS = (0.01, 0.01, 0.001)  # learning rates; the last differs because some forms of momentum part only then

EVALUATION, IN_TRAINING, STATISTICS, LOSS, GRADIENTS = (
    "forward in evaluation",
    "forward in training",
    "running statistics",
    "loss",
    "gradients",
)
STAGES = (EVALUATION, IN_TRAINING, STATISTICS, LOSS, GRADIENTS)


class Masks(np.random.Generator):
    """Random values for dropout that depend on their number alone, not on the dropout of other layers before."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(2))

    def random(self, size: Any = None, *_: Any, **__: Any) -> Any:
        count = prod(size)
        return np.random.default_rng([2, count]).random(count).reshape(size)


@dataclass(frozen=True)
class Parted:
    """The first tensor that differs. a, b: paths of its layers, empty where one has none. tensor: "" for an output."""

    a: str
    b: str
    tensor: str
    text: str

    @property
    def place(self) -> str:
        return place(self.a, self.b)


@dataclass(frozen=True)
class Stage:
    """What was compared; parted is None if all tensors agree."""

    name: str
    parted: Parted | None


@dataclass(frozen=True)
class Tensor:
    """A value of both networks at one place. name: of an array."""

    name: str
    a: Array
    b: Array
    paths: tuple[str, str]
    rejoins: bool = False  # no layer beside it carries values on: if it agrees, what differed before does not matter


def carried(alignment: Alignment, weights: Weights, network: Network, seed: int = 1) -> Weights:
    """The weights of A for network B, by aligned layers; drawn where A has none of the same size."""
    given: Weights = {}
    for a, b in alignment.partners:
        of_a = {parameter.role: parameter.name for parameter in a.node.parameters}
        for parameter in b.node.parameters:
            array = weights.get(of_a.get(parameter.role, ""))
            if array is not None and array.size == parameter.size:
                given[parameter.name] = np.asarray(array, np.float64).reshape(parameter.shape)
    complete = all(parameter.name in given for parameter in network.parameters)
    return given if complete else revealing_weights(network, seed) | given


def images(networks: Sequence[Network], seed: int = 0) -> Array:
    """Images from 0 to 255 where a network has layers that scale pixels, else what such layers give."""
    stream = np.random.default_rng(seed)
    large = any(network.macs > LARGE for network in networks)
    shape = (2 if large else IMAGES, *networks[0].input)
    if any(_scales(network) for network in networks):
        return np.floor(stream.uniform(0, 256, shape))
    return stream.normal(0, 1, shape)


def _scales(network: Network) -> bool:
    return any(isinstance(layer, (Scale, Normalize)) for layer in network.layers[:3])


def batch(a: Network, b: Network) -> tuple[Array, Array]:
    """Images and labels for both networks."""
    x = images((a, b))
    return x, np.random.default_rng(1).integers(0, min(a.classes, b.classes), len(x))


def compared(
    a: Network,
    b: Network,
    alignment: Alignment,
    in_a: Weights,
    in_b: Weights,
    trainings: tuple[Training, Training],
    probabilities: tuple[bool, bool],
) -> list[Stage]:
    """The stages of one training step in their order, each with its first tensor that differs.

    probabilities: whether the softmax of the logits is the output, of A and of B.
    """
    x, labels = batch(a, b)
    sides = (a, in_a), (b, in_b)
    stages = [Stage(EVALUATION, _in_evaluation(sides, alignment, x, probabilities))]
    one, other = (Pass(network, weights, x, Masks(), False) for network, weights in sides)
    stages.append(Stage(IN_TRAINING, _first(_outputs(alignment, one, other, x, probabilities))))
    if statistics := [*_arrays(alignment.partners, one.running, other.running)]:
        stages.append(Stage(STATISTICS, _first(statistics)))
    losses = [np.asarray(run.backward(labels, rule.label_smoothing)) for run, rule in zip((one, other), trainings)]
    stages.append(Stage(LOSS, _first([Tensor("", losses[0], losses[1], (TRAINING, TRAINING))])))
    backwards = [*_arrays(list(reversed(alignment.partners)), one.gradients, other.gradients)]
    backwards.append(Tensor("", one.gradients["input"], other.gradients["input"], (INPUT, INPUT)))
    stages.append(Stage(GRADIENTS, _first(backwards)))
    return stages


def steps(
    a: Network, b: Network, alignment: Alignment, in_a: Weights, in_b: Weights, trainings: tuple[Training, Training]
) -> list[Stage]:
    """Steps of two optimizers, each with the first array that differs after it, up to the first step that differs."""
    x, labels = batch(a, b)
    runs = [Reference(network, rule, Setting(precision="float64")) for network, rule in zip((a, b), trainings)]
    for run, weights in zip(runs, (in_a, in_b)):
        run.set_weights(weights)
        run.load("train", x, labels)
    stages: list[Stage] = []
    for count, rate in enumerate(STEPS, 1):
        for run in runs:
            run.train(np.arange(len(x)), len(x), np.array([rate]), seed=count)
        after = [run.get_weights() for run in runs]
        stages.append(after_steps(f"step {count} at {rate:g}", alignment, after[0], after[1]))
        if stages[-1].parted:
            break
    return stages


def after_steps(name: str, alignment: Alignment, a: Weights, b: Weights) -> Stage:
    """The arrays of both networks after one or several steps."""
    return Stage(name, _first(_arrays(alignment.partners, a, b)))


def _in_evaluation(
    sides: Iterable[tuple[Network, Weights]], alignment: Alignment, x: Array, probabilities: tuple[bool, bool]
) -> Parted | None:
    """In a function of its own, so that the memory of both passes is free for those of training."""
    one, other = (Pass(network, weights, x, None, False) for network, weights in sides)
    return _first(_outputs(alignment, one, other, x, probabilities))


def _outputs(alignment: Alignment, a: Pass, b: Pass, x: Array, probabilities: tuple[bool, bool]) -> Iterator[Tensor]:
    """The outputs of aligned rows as they are computed; a row without a partner has that of the row before it."""
    partners: tuple[dict[str, str], dict[str, str]] = ({}, {})
    pairs = execution(alignment.pairs)
    for one, other in pairs:
        if one and other:
            partners[0][one.path], partners[1][other.path] = other.path, one.path
    for one, other in pairs:
        if (one and one.path not in a.outputs) or (other and other.path not in b.outputs):
            continue  # of an auxiliary classifier, which evaluation lacks
        rejoins = bool(one and other and one.depth == other.depth == 0)
        here = a.outputs[one.path] if one else _equivalent(other, partners[1], a, x)
        there = b.outputs[other.path] if other else _equivalent(one, partners[0], b, x)
        yield Tensor("", here, there, _paths(one, other, alignment), rejoins)
    ends = [softmax(run.logits) if given else run.logits for run, given in zip((a, b), probabilities)]
    yield Tensor("", ends[0], ends[1], (OUTPUT, OUTPUT), True)


def _paths(a: LayerRow | None, b: LayerRow | None, alignment: Alignment) -> tuple[str, str]:
    """The paths of aligned rows; of a row alone also that of its partner at another place."""
    for one, other in alignment.moved:
        if a is one or b is other:
            a, b = one, other
    return a.path if a else "", b.path if b else ""


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _equivalent(row: LayerRow | None, partners: Mapping[str, str], run: Pass, x: Array) -> Array:
    """The other network's tensor at the place where a row that it lacks would give its output."""
    before = row.before if row else None
    while before is not None and before.path not in partners:
        before = before.before
    return run.outputs[partners[before.path]] if before else x


def _arrays(partners: Sequence[tuple[LayerRow, LayerRow]], a: Weights, b: Weights) -> Iterator[Tensor]:
    """Arrays of aligned rows, where both have them."""
    for one, other in partners:
        names = {parameter.role: parameter.name for parameter in other.node.parameters}
        for parameter in one.node.parameters:
            partner = names.get(parameter.role)
            if parameter.name in a and partner in b:
                yield Tensor(parameter.name, a[parameter.name], b[partner], (one.path, other.path))


def _first(tensors: Iterable[Tensor]) -> Parted | None:
    """The first tensor that differs; what agrees again at a layer on the only way to the output is forgotten."""
    listed = list(tensors)
    largest = max((float(np.abs(each.a).max(initial=0)) for each in listed), default=0.0)
    first: Parted | None = None
    for each in listed:
        text = _apart(each.a, each.b, NEGLIGIBLE * largest)
        if text and first is None:
            first = Parted(*each.paths, each.name, text)
        elif not text and each.rejoins:
            first = None
    return first


def _apart(a: Array, b: Array, floor: float) -> str:
    """How much two tensors differ; empty if by rounding alone."""
    if a.size != b.size:
        return f"{_shape(a)} in A, {_shape(b)} in B"
    difference, scale = float(np.abs(a - b.reshape(a.shape)).max()), float(np.abs(a).max())
    if difference <= ROUNDING * max(scale, floor):
        return ""
    return f"by {number(difference, '.2g')} of {number(scale, '.2g')}"


def _shape(tensor: Array) -> str:
    return times(tensor.shape[1:] or (1,))
