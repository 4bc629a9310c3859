"""What a certificate rests on: one trial of a network, put to a framework's worker or to the NumPy reference alike.

A trial fixes everything that decides the numbers: a small input, pictures, labels, weights that hide nothing (biases
and running means are not zero, scales not one), and the optimisers with rates that change on the way. What comes back
is a list of tensors by place, in the order in which a fault would show first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from frameworks.arrays import Array, Weights, initial
from frameworks.native import Native, natively
from frameworks.numpy_reference import Reference, without_dropout
from frameworks.spec import Auxiliary, BatchNorm, Dropout, Network, Node, Scale, SpecError, to_json
from frameworks.training import SGD, Adam, Training
from frameworks.worker import Worker

Ask: TypeAlias = Callable[..., dict[str, Any]]  # ask("build", network=..., ...)

# Adam's epsilon shows where it stands; and a gradient that is 0 but for rounding, as that of a bias before batch norm,
# moves the bias by a share of it and not by a whole step of noise.
EPSILON, DECAY = 1e-4, 0.01
CASES: dict[str, Training] = {
    "sgd": Training(SGD()),
    "sgd, decay": Training(SGD(weight_decay=DECAY)),
    "sgd, smoothed labels": Training(SGD(), label_smoothing=0.1),
    "momentum": Training(SGD(momentum=0.9)),
    "momentum, decay": Training(SGD(momentum=0.9, weight_decay=DECAY)),
    "nesterov": Training(SGD(momentum=0.9, nesterov=True)),
    "nesterov, decay": Training(SGD(momentum=0.9, nesterov=True, weight_decay=DECAY)),
    "adam": Training(Adam(epsilon=EPSILON)),
    "adamw": Training(Adam(epsilon=EPSILON, weight_decay=DECAY, decoupled=True)),
    "adam, decay": Training(Adam(epsilon=EPSILON, weight_decay=DECAY)),
}
# A large network takes every step slowly, and an optimiser does not know which network it moves: such a network gets
# the one that has the most terms, for as many steps as its weights are looked at. LARGE: trained values.
LARGE, LARGE_CASES = 1_000_000, ("adam, decay",)
# Batch norm over few values amplifies rounding, layer upon layer, and each step what the last one left: at the rate of
# large networks, ten steps of Adam in float64 take ResNet-101 off by 1e-9 and ResNet-152 by 1e-4, in every framework
# alike. DEEP: batch norms of a network.
DEEP = 100
# One that takes no small pictures, as Inception v3 with its auxiliary classifier, has one batch and two steps of it:
# more would take more memory and time than all others. HEAVY: multiply-adds of a picture.
HEAVY, HEAVY_STEPS = 2_000_000_000, 2
STEPS = (1, 10)  # after which weights are compared
CURVE = 50  # losses, in the last case


# In the order in which a fault shows first.
STAGES = (
    "parameters", "evaluation", "training", "loss", "gradients", "optimisers", "running statistics", "dropout", "curve",
)  # fmt: skip


class Place(NamedTuple):
    """Where a tensor belongs: the stage, the training's name or nothing, the step or 0, and the tensor's name."""

    stage: str
    case: str
    step: int
    tensor: str


Evidence: TypeAlias = Mapping[Place, Array]
Piece: TypeAlias = tuple[Place, Array]


@dataclass(frozen=True)
class Trial:
    """A network and all that is put to it."""

    given: Network
    network: Network  # the same behind the pixels, without dropout
    dropping: Network  # with it
    seed: int
    images: Array
    labels: Array
    weights: Weights
    cases: dict[str, Training]
    batch_size: int
    curve: int  # steps of the last case

    def again(self) -> Trial:
        """The same with the next seed."""
        return Trial.of(self.given, self.seed + 1, self.batch_size, self.curve)

    @staticmethod
    def of(network: Network, seed: int, batch_size: int, curve: int | None = None) -> Trial:
        """The trial of a network for a seed: four batches of pictures, so that batches differ; a heavy one has one.

        curve: the losses that are compared; None: `CURVE`, and no more than the weights need for a large network.
        """
        stream = np.random.default_rng(seed)
        dropping = network.after(Scale("pixels"), input=network.input)
        plain = without_dropout(dropping)
        heavy = plain.macs > HEAVY
        count = (1 if heavy else 4) * batch_size
        images = stream.integers(0, 256, (count, *network.input), dtype=np.uint8)
        labels = stream.integers(0, network.classes, count)
        large = plain.params > LARGE
        cases = {name: CASES[name] for name in (LARGE_CASES if large else CASES)}
        steps = curve or (HEAVY_STEPS if heavy else STEPS[-1] if large else CURVE)
        return Trial(network, plain, dropping, seed, images, labels, _telling(plain, seed), cases, batch_size, steps)

    def natively(self, native: Native) -> Trial:
        """The same as a framework's own user would get it; see `frameworks/native.py`. Adam's epsilon stays."""
        native = replace(native, epsilon=replace(native.epsilon, value=EPSILON))
        network, dropping = (natively(net, Training(), native)[0] for net in (self.network, self.dropping))
        cases = {name: natively(self.network, training, native)[1] for name, training in self.cases.items()}
        return replace(self, network=network, dropping=dropping, cases=cases)

    def rates(self, case: str, steps: int) -> list[float]:
        """A rate that halves after every third step, so that a rate kept in the velocity shows.

        Adam moves every value by about the rate, and values of a large network are small: moved too far, it is chaos
        that is compared. At 1e-3 the losses of GoogLeNet with batch norm are off by 0.3 to 0.5 after ten steps in
        float32, in all frameworks.
        """
        first = 1e-2
        if isinstance(self.cases[case].optimizer, Adam):
            norms = sum(isinstance(node.layer, BatchNorm) for _, node in self.network.walk())
            first = 1e-5 if norms > DEEP else 1e-4 if self.network.params > LARGE else 1e-3
        return [first * 0.5 ** (step // 3 % 3) for step in range(steps)]

    @property
    def order(self) -> Array:
        """The pictures again and again: batch after batch, then the same in another order."""
        count = len(self.images)
        stream = np.random.default_rng(count)
        rounds = -(-max(self.curve, STEPS[-1]) * self.batch_size // count)
        return np.concatenate([stream.permutation(count) for _ in range(rounds)])


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
    """Initial weights in which nothing is 0 or 1 that a fault could hide behind; float32 has each of them exactly."""
    weights = initial(network, seed, "he_normal")
    stream = np.random.default_rng([seed, 1])
    for parameter in network.parameters:
        shape = parameter.shape
        if parameter.role in ("bias", "beta", "running_mean"):
            weights[parameter.name] = stream.normal(0, 0.1, shape)
        elif parameter.role in ("gamma", "running_var"):
            weights[parameter.name] = stream.uniform(0.5, 1.5, shape)
    return {name: array.astype(np.float32).astype(np.float64) for name, array in weights.items()}


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


def _computed(nodes: Sequence[Node], training: bool) -> Iterator[Node]:
    """The nodes in the order of their outputs, what a layer holds before the layer; heads in training alone."""
    for node in nodes:
        if training or not isinstance(node.layer, Auxiliary):
            for branch in node.branches:
                yield from _computed(branch, training)
        yield node


class Judge:
    """The NumPy reference, answering as a worker does."""

    def __init__(self, departures: Sequence[str] = ()) -> None:
        self.worker = Worker()
        self.worker.kind = partial(Reference, departures=departures)  # type: ignore[assignment]

    def __call__(self, command: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self.worker, command)(**arguments)
        return answer


def put(trial: Trial, folder: Path) -> None:
    """Write what every examination of a trial reads."""
    few = slice(trial.batch_size)
    files = {"images": trial.images, "labels": trial.labels, "order": trial.order}
    files |= {"few_images": trial.images[few], "few_labels": trial.labels[few]}
    for name, array in files.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "weights.npz", **trial.weights)  # type: ignore[arg-type]


class Examination:
    """A trial put to a worker: `pieces` gives the evidence one by one, arrays' shapes first, last losses last.

    files: what `put` has written. scratch: a folder of this examination's own. departures: the names of those that
    the framework declares, and settings: as it found them; both are known once it has built a network.
    """

    def __init__(self, ask: Ask, trial: Trial, setting: dict[str, Any], files: Path, scratch: Path) -> None:
        self.ask, self.trial, self.setting, self.files, self.scratch = ask, trial, setting, files, scratch
        self.departures: list[str] = []
        self.settings: dict[str, str] = {}

    def pieces(self) -> Iterator[Piece]:
        first, *others = self.trial.cases
        yield from self._still(first)
        yield from self._moving(first)  # as it stands: what was looked at has moved nothing
        for case in others:
            self._build(case)
            yield from self._moving(case)
        yield from self._dropped()

    def _still(self, case: str) -> Iterator[Piece]:
        """What is computed without moving a weight."""
        for name, (shape, trained) in self._build(case)["arrays"].items():
            yield Place("parameters", "", 0, name), np.array([*shape, trained])
        for stage, training in (("evaluation", False), ("training", True)):
            self._answer("activations", images=self._file("few_images"), training=training)
            with self._written() as found:
                for node in _computed(self.trial.network.nodes, training):
                    if node.path in found:
                        yield Place(stage, "", 0, node.path), found[node.path]
        answer = self._answer("gradients", images=self._file("few_images"), labels=self._file("few_labels"))
        yield Place("loss", "", 0, "loss"), np.array(answer["loss"])
        with self._written() as gradients:
            for parameter in reversed(self.trial.network.parameters):
                if parameter.name in gradients:
                    yield Place("gradients", "", 0, parameter.name), gradients[parameter.name]
            yield Place("gradients", "", 0, "input"), gradients["input"]

    def _dropped(self) -> Iterator[Piece]:
        """What goes into each dropout and what comes out in training, one above the other."""
        before = _predecessors(self.trial.dropping.nodes)
        if before:
            self._build(next(iter(self.trial.cases)), self.trial.dropping)
            self._answer("activations", images=self._file("few_images"), training=False)
            with self._written() as found:
                for node in _computed(self.trial.dropping.nodes, training=False):
                    if node.path in before:
                        yield Place("evaluation", "with dropout", 0, node.path), found[node.path]
            self._answer("activations", images=self._file("images"), training=True)
            with self._written() as found:
                for path, last in before.items():
                    yield Place("dropout", "", 0, path), np.stack([found[last], found[path]])

    def _moving(self, case: str) -> Iterator[Piece]:
        """Steps from the trial's weights: the network's arrays after the first and the tenth, and all losses."""
        for split in ("train", "test"):
            files = {"images": self._file("images"), "labels": self._file("labels")}
            self.ask("load", split=split, count=len(self.trial.images), **files)
        if case == next(iter(self.trial.cases)):
            path = str(self.scratch / "answer.npy")
            self.ask("predict", split="test", batch_size=len(self.trial.images) - 1, path=path)  # the last batch: one
            yield Place("evaluation", "predicted", 0, self.trial.network.nodes[-1].path), np.load(path)
        steps, batch = self.trial.curve if case == list(self.trial.cases)[-1] else STEPS[-1], self.trial.batch_size
        rates = self.trial.rates(case, steps)
        for start, stop in pairwise([0, *[step for step in STEPS if step < steps], steps]):
            slice_ = {"start": start * batch, "stop": stop * batch, "batch_size": batch, "lrs": rates[start:stop]}
            losses = self.ask("train", order=self._file("order"), seed=0, **slice_)["losses"]
            if stop in STEPS:
                self._answer("get_weights", slots=False)
                with self._written() as found:
                    for parameter in self.trial.network.parameters:
                        stage = "optimisers" if parameter.trainable else "running statistics"
                        yield Place(stage, case, stop, parameter.name), found[parameter.name]
            for step, loss in enumerate(losses, start + 1):
                yield Place("curve", case, step, "loss"), np.array(loss)

    def _build(self, case: str, network: Network | None = None) -> dict[str, Any]:
        recipe = self.trial.cases[case].to_json()
        described = to_json(network or self.trial.network)
        built = self.ask("build", network=described, training=recipe, setting=self.setting)
        self.ask("set_weights", path=str(self.files / "weights.npz"))
        self.departures[:] = built["departures"]
        self.settings = built["settings"]
        return built

    def _file(self, name: str) -> str:
        return str(self.files / f"{name}.npy")

    def _answer(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self.ask(command, path=str(self.scratch / "answer.npz"), **arguments)

    def _written(self) -> Any:
        """The last answer's arrays, each read when it is asked for."""
        return np.load(self.scratch / "answer.npz", allow_pickle=False)


IN_MEMORY = 1 << 20  # bytes of an array at most; larger ones of the truth lie in files


def truth(trial: Trial, files: Path, scratch: Path, departures: Sequence[str] = ()) -> dict[Place, Array]:
    """The reference's evidence; the large arrays are mapped from files in `scratch`. files: what `put` has written."""
    where = {"device": "cpu", "precision": "float64", "threads": 1, "mode": ""}
    found: dict[Place, Array] = {}
    for number, (place, array) in enumerate(Examination(Judge(departures), trial, where, files, scratch).pieces()):
        if array.nbytes > IN_MEMORY:
            file = scratch / f"truth.{number}.npy"
            np.save(file, array)
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        found[place] = array
    return found
