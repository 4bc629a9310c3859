"""What a certificate rests on: one trial of a network, put to a framework's worker or to the NumPy reference alike.

A trial fixes everything that decides the numbers: a small input, pictures, labels, weights that hide nothing (biases
and running means are not zero, scales not one), and the optimisers with rates that change on the way. What comes back
is a list of tensors by place, in the order in which a fault would show first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from frameworks.adapter import Array, Weights
from frameworks.reference import Reference, without_dropout
from frameworks.spec import BatchNorm, Dropout, Network, Node, Scale, SpecError, to_json
from frameworks.training import SGD, Adam, Optimizer, Training
from frameworks.weights import initial
from frameworks.worker import Worker

Ask: TypeAlias = Callable[..., dict[str, Any]]  # ask("build", network=..., ...)

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(),
    "sgd, decay": SGD(weight_decay=0.01),
    "momentum": SGD(momentum=0.9),
    "momentum, decay": SGD(momentum=0.9, weight_decay=0.01),
    "nesterov": SGD(momentum=0.9, nesterov=True),
    "nesterov, decay": SGD(momentum=0.9, nesterov=True, weight_decay=0.01),
    # An epsilon that shows where it stands; and a gradient that is 0 but for rounding, as that of a bias before batch
    # norm, moves the bias by a share of it and not by a whole step of noise.
    "adam": Adam(epsilon=1e-4),
    "adam, decay": Adam(epsilon=1e-4, weight_decay=0.01),
    "adamw": Adam(epsilon=1e-4, weight_decay=0.01, decoupled=True),
}
# A large network takes every step slowly, and an optimiser does not know which network it moves: it gets the two that
# hold every term of the others. LARGE: trained values of the trial's network.
BOTH, LARGE = ("momentum, decay", "adam, decay"), 1_000_000
STEPS = (1, 10, 50)  # weights are compared after the first two, losses up to the last


# In the order in which a fault shows first.
STAGES = (
    "parameters", "evaluation", "training", "loss", "gradients", "optimisers", "running statistics", "dropout", "curve",
)  # fmt: skip


class Place(NamedTuple):
    """Where a tensor belongs: the stage, the optimiser's name or nothing, the step or 0, and the tensor's name."""

    stage: str
    case: str
    step: int
    tensor: str


Evidence: TypeAlias = dict[Place, Array]


@dataclass(frozen=True)
class Trial:
    """A network and all that is put to it."""

    network: Network  # without dropout
    dropping: Network  # with it
    images: Array
    labels: Array
    weights: Weights
    cases: dict[str, Optimizer]
    batch_size: int

    @staticmethod
    def of(network: Network, seed: int, batch_size: int) -> Trial:
        """The trial of a network for a seed: four batches of pictures, so that batches differ."""
        stream = np.random.default_rng(seed)
        dropping = network.after(Scale("pixels"), input=network.input)
        plain = without_dropout(dropping)
        images = stream.integers(0, 256, (4 * batch_size, *network.input), dtype=np.uint8)
        labels = stream.integers(0, network.classes, 4 * batch_size)
        names = OPTIMIZERS if plain.trainable <= LARGE else BOTH
        cases = {name: OPTIMIZERS[name] for name in names}
        return Trial(plain, dropping, images, labels, _telling(plain, seed), cases, batch_size)

    def rates(self, case: str, steps: int) -> list[float]:
        """A rate that halves after every third step, so that a rate kept in the velocity shows."""
        first = 1e-3 if isinstance(self.cases[case], Adam) else 1e-2
        return [first * 0.5 ** (step // 3 % 3) for step in range(steps)]


def small(network: Network) -> Network:
    """The network on the smallest square of 32, 64, 96, ... that all its layers take, or on its own if that is less.

    Every batch norm keeps at least `LEAST` values a channel: fewer amplify rounding by themselves.
    """
    channels, *size = network.input
    for side in range(32, min(size, default=0), 32):
        try:
            made = network.with_input((channels, side, side))
        except SpecError:
            continue
        if _enough(made):
            return made
    return network


BATCH, LEAST = 4, 16  # pictures of a step; values that batch norm takes one statistic over


def _enough(network: Network) -> bool:
    nodes = [node for _, node in network.walk() if isinstance(node.layer, BatchNorm)]
    return all(BATCH * prod(node.input[1:]) >= LEAST for node in nodes)


def _telling(network: Network, seed: int) -> Weights:
    """Initial weights in which nothing is 0 or 1 that a fault could hide behind."""
    weights = initial(network, seed, "he_normal")
    stream = np.random.default_rng([seed, 1])
    for parameter in network.parameters:
        shape = parameter.shape
        if parameter.role in ("bias", "beta", "running_mean"):
            weights[parameter.name] = stream.normal(0, 0.1, shape)
        elif parameter.role in ("gamma", "running_var"):
            weights[parameter.name] = stream.uniform(0.5, 1.5, shape)
    return weights


def _predecessors(nodes: Sequence[Node], last: str = "") -> dict[str, str]:
    """For each dropout that drops, the layer whose output it takes."""
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node.layer, Dropout) and node.layer.rate and last:
            found[node.path] = last
        for branch in node.branches:
            found |= _predecessors(branch, last)
        last = node.path
    return found


class Judge:
    """The NumPy reference, answering as a worker does."""

    def __init__(self, departures: Sequence[str] = ()) -> None:
        self.worker = Worker()
        self.worker.kind = partial(Reference, departures=departures)  # type: ignore[assignment]

    def __call__(self, command: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self.worker, command)(**arguments)
        return answer


def gather(ask: Ask, trial: Trial, setting: dict[str, Any], scratch: Path) -> tuple[Evidence, list[str]]:
    """Put a trial to a worker: the evidence, arrays' shapes first, last losses last, and the departures it declares."""
    examiner = _Examiner(ask, trial, setting, scratch)
    *others, longest = trial.cases  # one curve goes on to the last step
    evidence = dict([*examiner.still(), *examiner.dropped()])
    for case in others:
        evidence.update(examiner.moving(case, STEPS[1]))
    evidence.update(examiner.moving(longest, STEPS[-1]))
    return evidence, examiner.departures


class _Examiner:
    def __init__(self, ask: Ask, trial: Trial, setting: dict[str, Any], scratch: Path) -> None:
        self.ask, self.trial, self.setting, self.scratch = ask, trial, setting, scratch
        self.departures: list[str] = []
        files = {"images": trial.images, "labels": trial.labels, "order": self._order()}
        for name, array in files.items():
            np.save(scratch / f"{name}.npy", array)
        np.savez(scratch / "weights.npz", **trial.weights)  # type: ignore[arg-type]
        few = trial.images[: trial.batch_size], trial.labels[: trial.batch_size]
        np.save(scratch / "few_images.npy", few[0])
        np.save(scratch / "few_labels.npy", few[1])

    def still(self) -> Iterator[tuple[Place, Array]]:
        """What is computed without moving a weight."""
        for name, (shape, trained) in self._build(next(iter(self.trial.cases)))["arrays"].items():
            yield Place("parameters", "", 0, name), np.array([*shape, trained])
        for stage, training in (("evaluation", False), ("training", True)):
            found = self._arrays("activations", images=self._file("few_images"), training=training)
            for _, node in self.trial.network.walk():
                if node.path in found:  # what an auxiliary classifier holds is absent in evaluation
                    yield Place(stage, "", 0, node.path), found[node.path]
        answer = self._answer("gradients", images=self._file("few_images"), labels=self._file("few_labels"))
        yield Place("loss", "", 0, "loss"), np.array(answer["loss"])
        gradients = self._written()
        for parameter in reversed(self.trial.network.parameters):
            if parameter.name in gradients:
                yield Place("gradients", "", 0, parameter.name), gradients[parameter.name]
        yield Place("gradients", "", 0, "input"), gradients["input"]

    def dropped(self) -> Iterator[tuple[Place, Array]]:
        """What goes into each dropout and what comes out in training, one above the other."""
        before = _predecessors(self.trial.dropping.nodes)
        if before:
            self._build(next(iter(self.trial.cases)), self.trial.dropping)
            found = self._arrays("activations", images=self._file("images"), training=True)
            for path, last in before.items():
                yield Place("dropout", "", 0, path), np.stack([found[last], found[path]])

    def moving(self, case: str, steps: int) -> Iterator[tuple[Place, Array]]:
        """Steps of an optimiser from the trial's weights: its arrays after the first and the tenth, and all losses."""
        self._build(case)
        for split in ("train", "test"):
            files = {"images": self._file("images"), "labels": self._file("labels")}
            self.ask("load", split=split, count=len(self.trial.images), **files)
        rates = self.trial.rates(case, steps)
        batch = self.trial.batch_size
        for start, stop in pairwise([0, *[step for step in STEPS if step < steps], steps]):
            slice_ = {"start": start * batch, "stop": stop * batch, "batch_size": batch, "rates": rates[start:stop]}
            losses = self.ask("train", order=self._file("order"), seed=0, **slice_)["losses"]
            if stop <= STEPS[1]:
                found = self._arrays("get_weights")
                for parameter in self.trial.network.parameters:
                    stage = "optimisers" if parameter.trainable else "running statistics"
                    yield Place(stage, case, stop, parameter.name), found[parameter.name]
            for step, loss in enumerate(losses, start + 1):
                yield Place("curve", case, step, "loss"), np.array(loss)

    def _build(self, case: str, network: Network | None = None) -> dict[str, Any]:
        recipe = Training(self.trial.cases[case]).to_json()
        described = to_json(network or self.trial.network)
        built = self.ask("build", network=described, training=recipe, setting=self.setting)
        self.ask("set_weights", path=str(self.scratch / "weights.npz"))
        self.departures = built["departures"]
        return built

    def _order(self) -> Array:
        """The pictures again and again: batch after batch, then the same in another order."""
        count = len(self.trial.images)
        stream = np.random.default_rng(count)
        rounds = -(-STEPS[-1] * self.trial.batch_size // count)
        return np.concatenate([stream.permutation(count) for _ in range(rounds)])

    def _file(self, name: str) -> str:
        return str(self.scratch / f"{name}.npy")

    def _answer(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self.ask(command, path=str(self.scratch / "answer.npz"), **arguments)

    def _arrays(self, command: str, **arguments: Any) -> Weights:
        self._answer(command, **arguments)
        return self._written()

    def _written(self) -> Weights:
        with np.load(self.scratch / "answer.npz", allow_pickle=False) as arrays:
            return dict(arrays)
