"""What each default of a framework changes on a network: the effect of one default alone, on the NumPy reference.

A network is trained for a few steps from the aligned initial weights with aligned semantics, and again with one default
of a framework in place of the aligned value. Defaults of layers that the network does not have give no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.verification.cases import DECAY, HEAVY, LARGE, Case
from benchmarks.verification.diagnosis.layers import interpolation
from frameworks import arrays, numpy_reference, spec
from frameworks.adapter import batches
from frameworks.arrays import Array, Weights
from frameworks.errors import OnespecError
from frameworks.native import CHOICES, Default, Native, initial, with_default
from frameworks.numpy_reference import Pass, cross_entropy
from frameworks.reference_layers.base import Result
from frameworks.spec import Network, Node
from frameworks.training import SGD, Adadelta, Adam, RMSprop, Training

STEPS, LARGE_STEPS = 10, 2  # of the training; a step of a large network is slow
TRAININGS = {
    "SGD": Training(SGD(momentum=0.9, weight_decay=DECAY)),
    "Adam": Training(Adam(weight_decay=DECAY)),
    "RMSprop": Training(RMSprop(momentum=0.9, weight_decay=DECAY)),
    "Adadelta": Training(Adadelta(weight_decay=DECAY)),
}
# The optimizers of defaults that SGD does not have.
OPTIMIZER_OF = {
    "epsilon": "Adam",
    "epsilon_hat": "Adam",
    "rmsprop_epsilon": "RMSprop",
    "rmsprop_epsilon_inside": "RMSprop",
    "rmsprop_lr_in_velocity": "RMSprop",
    "adadelta_epsilon": "Adadelta",
}
LRS = {"SGD": 1e-2, "Adam": 1e-3, "RMSprop": 1e-3, "Adadelta": 1.0}
ALIGNED = Native.from_json({name: {"value": choice.aligned, "source": ""} for name, choice in CHOICES.items()})


class Effect(NamedTuple):
    """What a default changes after `steps` steps of the optimizer.

    loss: change of the loss of the first batch in evaluation. weights: Euclidean distance of the trained arrays, as a
    fraction of the distance that they have moved; for initial values, of their norm. Both are None if the default
    gives the layers other shapes.
    """

    optimizer: str
    steps: int
    loss: float | None
    weights: float | None


class DefaultDifference(NamedTuple):
    """A default of a framework that differs from the spec and has an effect on a network."""

    framework: str
    net: str
    setting: str
    aligned: str
    native: str
    effect: Effect


def default_differences(
    cases: Iterable[tuple[str, Case]], natives: Mapping[str, Native]
) -> Iterator[DefaultDifference]:
    """The defaults of each framework that change a network, network by network.

    cases: the name of each network, and its case. natives: the defaults of each framework by its label.
    """
    for net, case in cases:
        effects, known = Effects(case), dict[tuple[str, Any], Effect | None]()  # frameworks share defaults
        for label, native in natives.items():
            for name, choice in CHOICES.items():
                value = getattr(native, name).value
                if value == choice.aligned:
                    continue
                if (name, value) not in known:
                    known[name, value] = effects.effect(name, value)
                if found := known[name, value]:
                    texts = choice.formula(choice.aligned), choice.formula(value)
                    yield DefaultDifference(label, net, choice.what, *texts, found)


class Effects:
    """The effects of defaults on the network of a case. The aligned training of each optimizer is computed once."""

    def __init__(self, case: Case) -> None:
        self.case, self.network = case, case.network
        self.large = self.network.params > LARGE or self.network.macs > HEAVY
        self.start = arrays.initial(self.network, case.seed)
        self.aligned: dict[str, _Trained] = {}

    def effect(self, name: str, value: Any) -> Effect | None:
        """The effect of the default `name` of `CHOICES` with this value; None if it changes nothing in the network."""
        optimizer = OPTIMIZER_OF.get(name, "SGD")
        training, network, steps = TRAININGS[optimizer], self.network, LARGE_STEPS if self.large else STEPS
        try:
            changed, other = with_default(network, training, name, value)
        except OnespecError:
            return Effect(optimizer, steps, None, None)
        if changed.parameters != network.parameters:
            return Effect(optimizer, steps, None, None)
        start = initial(network, self.case.seed, replace(ALIGNED, **{name: Default(value, "")}))
        same_start = all(np.allclose(self.start[key], start[key], rtol=1e-12) for key in start)
        if changed == network and other == training and same_start and not self._in_the_pass(name):
            return None
        if optimizer not in self.aligned:
            self.aligned[optimizer] = _Trained(self.case, network, training, self.start)
            self.aligned[optimizer].take(self._lrs(optimizer, steps))
        before = self.aligned[optimizer]
        after = _Trained(self.case, changed, other, self.start if same_start else start, name, value)
        with np.errstate(over="ignore", invalid="ignore"):  # a default can make the training diverge
            after.take(self._lrs(optimizer, steps))
            apart = _distance(network, after.weights, before.weights)
            begin = self.start if same_start else {key: np.zeros_like(array) for key, array in start.items()}
            whole = _distance(network, before.weights, begin)
            return Effect(optimizer, steps, after.loss() - before.loss(), apart / whole)

    def _in_the_pass(self, name: str) -> bool:
        """Whether the default changes what a pass of the reference computes in a layer of the network."""
        kinds = {node.layer.kind for _, node in self.network.walk()}
        return {"norm_unbiased": "BatchNorm", "resize_positions": "Resize"}.get(name) in kinds

    def _lrs(self, optimizer: str, steps: int) -> list[float]:
        """Learning rates that change, because the forms of the momentum differ only then."""
        constant = 1 if self.large else 3
        return [LRS[optimizer] * 0.5 ** (step // constant % 3) for step in range(steps)]


def _distance(network: Network, one: Weights, other: Weights) -> float:
    """The Euclidean distance of the trained arrays."""
    trained = (parameter.name for parameter in network.parameters if parameter.trainable)
    return float(sum(((one[name] - other[name]) ** 2).sum() for name in trained) ** 0.5)


class _Trained:
    """A network of a case, in training from given weights, with one default of a framework or none."""

    def __init__(
        self, case: Case, network: Network, training: Training, start: Weights, name: str = "", value: Any = None
    ) -> None:
        self.case, self.network, self.training = case, network, training
        self.weights = {key: np.array(array, np.float64) for key, array in start.items()}
        self.unbiased = name == "norm_unbiased" and value
        self.kind = _Corners if name == "resize_positions" and value == "corners" else Pass

    def take(self, lrs: list[float]) -> None:
        """One step for each learning rate, with the batches of the case."""
        trained = [parameter.name for parameter in self.network.parameters if parameter.trainable]
        for step, (taken, lr) in enumerate(zip(batches(self.case.order, self.case.batch_size), lrs), 1):
            masks = np.random.default_rng(0)  # for training mode; the network of a case has no dropout
            run = self.kind(self.network, self.weights, self.case.images[taken], masks, self.unbiased)
            run.backward(self.case.labels[taken], self.training.label_smoothing)
            self.weights |= run.running
            for name in trained:
                numpy_reference.update(self.weights, name, run.gradients[name], self.training, lr, step)

    def loss(self) -> float:
        """The loss of the first batch in evaluation."""
        first = slice(self.case.batch_size)
        run = self.kind(self.network, self.weights, self.case.images[first], None, False)
        return cross_entropy(run.logits, self.case.labels[first])[0]


class _Corners(Pass):
    """A pass in which a resize maps the corner pixels to corner pixels."""

    def _layer(self, node: Node, x: Array) -> Result:
        if not isinstance(node.layer, spec.Resize):
            return super()._layer(node, x)
        sizes = zip(x.shape[2:], (node.layer.height, node.layer.width))
        rows, columns = (interpolation(np.linspace(0, size - 1, to), size) for size, to in sizes)
        return rows @ x @ columns.T, lambda dy: (rows.T @ dy @ columns, {})
