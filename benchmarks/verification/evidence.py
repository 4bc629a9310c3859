"""Collects the tensors that a framework, or the NumPy reference, computes in a verification case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TypeAlias

import numpy as np

from benchmarks.runtime.worker_client import Built, Commands
from benchmarks.verification.cases import Case, Place, is_large
from benchmarks.verification.reduced import CASE_SCALE
from benchmarks.verification.reference_client import ReferenceClient
from frameworks.adapter import Setting
from frameworks.arrays import Array
from frameworks.numpy_reference import Reference
from frameworks.spec import Auxiliary, Dropout, Network, Node, StochasticDepth
from frameworks.training import FINITE_STEPS, SCALE, Training

PlacedTensor: TypeAlias = tuple[Place, Array]

SMOOTHED = "smoothed labels"  # in place of a training, for the loss


def write_case_files(case: Case, folder: Path) -> None:
    """Write the arrays of a case that all frameworks read."""
    first_batch = slice(case.batch_size)
    arrays = {"images": case.images, "labels": case.labels, "order": case.order}
    arrays |= {"batch_images": case.images[first_batch], "batch_labels": case.labels[first_batch]}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    scaled = {SCALE: CASE_SCALE, FINITE_STEPS: 0}  # for float16 alone
    np.savez(folder / "weights.npz", **case.weights, **scaled)  # type: ignore[arg-type]


class EvidenceCollector:
    """Runs a case in a worker and yields the tensors one by one, from the shapes of the arrays to the last losses.

    files: a folder written by `write_case_files`. `departures` (names) and `settings` are those that the framework
    reports; they are known after the first tensor.
    """

    def __init__(self, client: Commands, case: Case, setting: Setting, files: Path) -> None:
        self.client, self.case, self.setting, self.files = client, case, setting, files
        self.departures: list[str] = []
        self.settings: dict[str, str] = {}

    def tensors(self) -> Iterator[PlacedTensor]:
        first, *others = self.case.trainings
        yield from self._without_steps(first)
        yield from self._with_steps(first)  # nothing has changed the network that was built for the first part
        for training in others:
            self._build(training)
            yield from self._with_steps(training)
        yield from self._without_smoothing(first)
        yield from self._with_dropout()

    def _without_steps(self, training: str) -> Iterator[PlacedTensor]:
        """Arrays, layer outputs, loss and gradients of the first batch."""
        for name, (shape, trained) in self._build(training).arrays.items():
            yield Place("parameters", "", 0, name), np.array([*shape, trained])
        images, labels = self._file("batch_images"), self._file("batch_labels")
        for stage, in_training in (("evaluation", False), ("training", True)):
            outputs = self.client.activations(images, in_training)
            for node in _computed(self.case.network.nodes, in_training):
                if node.path in outputs:
                    yield Place(stage, "", 0, node.path), outputs[node.path]
        loss, gradients = self.client.gradients(images, labels)
        smoothed = self.case.trainings[training].label_smoothing
        yield Place("loss", SMOOTHED if smoothed else "", 0, "loss"), np.array(loss)
        for parameter in reversed(self.case.network.parameters):
            if parameter.name in gradients:
                yield Place("gradients", "", 0, parameter.name), gradients[parameter.name]
        yield Place("gradients", "", 0, "input"), gradients["input"]

    def _without_smoothing(self, training: str) -> Iterator[PlacedTensor]:
        """The loss without label smoothing, if the first training has it; a large network is not built again."""
        case = self.case
        if case.trainings[training].label_smoothing and not is_large(case.network):
            self.client.build(case.network, Training(), self.setting)
            self.client.set_weights(self.files / "weights.npz")
            loss, _ = self.client.gradients(self._file("batch_images"), self._file("batch_labels"))
            yield Place("loss", "", 0, "loss"), np.array(loss)

    def _with_dropout(self) -> Iterator[PlacedTensor]:
        """Input and output of each dropout in training, stacked."""
        network = self.case.network_with_dropout
        before = _predecessors(network.nodes)
        if not before:
            return
        self._build(next(iter(self.case.trainings)), network)
        outputs = self.client.activations(self._file("batch_images"), False)
        for node in _computed(network.nodes, training=False):
            if node.path in before:
                yield Place("evaluation", "with dropout", 0, node.path), outputs[node.path]
        outputs = self.client.activations(self._images_to_drop(network), True)
        for path, last in before.items():
            yield Place("dropout", "", 0, path), np.stack([outputs[last], outputs[path]])

    def _images_to_drop(self, network: Network) -> Path | Array:
        """The images, several times over if the network has too few stochastic depths to judge them by these."""
        repeats = repetitions(network, len(self.case.images))
        return self._file("images") if repeats == 1 else np.concatenate([self.case.images] * repeats)

    def _with_steps(self, training: str) -> Iterator[PlacedTensor]:
        """The arrays of the network after some of the steps, and all losses."""
        case = self.case
        for split in ("train", "test"):
            self.client.load(split, self._file("images"), self._file("labels"))  # type: ignore[arg-type]
        if training == next(iter(case.trainings)):
            logits = self.client.predict("test", batch_size=len(case.images) - 1)  # the last batch has one image
            yield Place("evaluation", "predicted", 0, case.network.nodes[-1].path), logits
        steps, compared, batch = case.steps(training), case.compared_steps(training), case.batch_size
        lrs = case.lrs(training, steps)
        for start, stop in pairwise(sorted({0, *compared, steps})):
            trained = self.client.train(
                self._file("order"), batch, lrs[start:stop], start=start * batch, stop=stop * batch, seed=0
            )
            if stop in compared:
                weights = self.client.get_weights(slots=False)
                for parameter in case.network.parameters:
                    stage = "optimizers" if parameter.trainable else "running statistics"
                    yield Place(stage, training, stop, parameter.name), weights[parameter.name]
            for step, loss in enumerate(trained.losses, start + 1):
                yield Place("curve", training, step, "loss"), np.array(loss)

    def _build(self, training: str, network: Network | None = None) -> Built:
        built = self.client.build(network or self.case.network, self.case.trainings[training], self.setting)
        self.client.set_weights(self.files / "weights.npz")
        self.departures[:] = built.departures
        self.settings = built.settings
        return built

    def _file(self, name: str) -> Path:
        return self.files / f"{name}.npy"


# A stochastic depth that drops nothing is this many standard deviations off; `comparison.SIGMAS` refuse it.
SHOWN = 9.0
MOST_IMAGES, MOST_BYTES = 2048, 256 << 20  # in a batch of repeated images


def repetitions(network: Network, images: int) -> int:
    """How often a batch is repeated so that the masks of its stochastic depths can be judged.

    A layer draws once for each image. With n images and the rates r of all layers, a framework that drops nothing is
    off by n sum(r) images, which are sqrt(n sum(r (1 - r))) times as many standard deviations.
    """
    layers = [node.layer for _, node in network.walk() if isinstance(node.layer, StochasticDepth) and node.layer.rate]
    if not layers:
        return 1
    dropped, variance = (sum(values) for values in zip(*((each.rate, each.rate * (1 - each.rate)) for each in layers)))
    needed = min(SHOWN**2 * variance / dropped**2, MOST_IMAGES)
    affordable = MOST_BYTES // network.training_bytes(images)
    return max(1, min(ceil(needed / images), affordable))


def _predecessors(nodes: Sequence[Node], last: str = "") -> dict[str, str]:
    """The path of the layer before each active dropout, by the path of the dropout."""
    predecessors: dict[str, str] = {}
    for node in nodes:
        if isinstance(node.layer, Dropout) and node.layer.rate and last:
            predecessors[node.path] = last
        for branch in node.branches:
            predecessors |= _predecessors(branch, last)
        last = node.path
    return predecessors


def _computed(nodes: Sequence[Node], training: bool) -> Iterator[Node]:
    """The nodes in the order of their outputs: inner layers first; auxiliary heads in training only."""
    for node in nodes:
        if training or not isinstance(node.layer, Auxiliary):
            for branch in node.branches:
                yield from _computed(branch, training)
        yield node


IN_MEMORY = 1 << 20  # bytes; larger arrays of the reference are mapped from files


def reference_evidence(
    case: Case, files: Path, scratch: Path, departures: Sequence[str] = (), kind: type[Reference] = Reference
) -> dict[Place, Array]:
    """All tensors of the reference in float64; large arrays are mapped from files in `scratch`.

    files: a folder written by `write_case_files`. departures: names of departures that the reference imitates.
    kind: the reference, or a class derived from it.
    """
    collector = EvidenceCollector(ReferenceClient(scratch, departures, kind), case, Setting(precision="float64"), files)
    evidence: dict[Place, Array] = {}
    for number, (place, array) in enumerate(collector.tensors()):
        if array.nbytes > IN_MEMORY:
            file = scratch / f"reference.{number}.npy"
            np.save(file, array)
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        evidence[place] = array
    return evidence
