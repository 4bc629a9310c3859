"""Verification cases: everything that decides the numbers when a network is verified.

A case holds a small input, images, labels, weights that do not hide a fault (biases and running means are not zero,
scales are not one), and trainings whose learning rate changes. The workers of the frameworks and the NumPy reference
get the same case; `evidence` collects the tensors that they compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np

from benchmarks.certification.verified_networks import BATCH as BATCH
from benchmarks.certification.verified_networks import small as small
from benchmarks.verification.case_weights import revealing_weights, settled_weights
from frameworks.arrays import Array, Weights
from frameworks.native import Native, with_defaults
from frameworks.numpy_reference import without_dropout
from frameworks.spec import Network, Scale
from frameworks.training import SGD, Adadelta, Adam, Training

# A large epsilon reveals its place in the formula. It also keeps a gradient that is zero except for rounding, such
# as that of a bias before batch normalization, from becoming a whole step of Adam.
EPSILON, DECAY = 1e-4, 0.01
TRAININGS: dict[str, Training] = {
    "sgd": Training(SGD()),
    "sgd, decay": Training(SGD(weight_decay=DECAY)),
    "sgd, smoothed labels": Training(SGD(), label_smoothing=0.1),
    "sgd, decay, smoothed labels": Training(SGD(weight_decay=DECAY), label_smoothing=0.1),
    "momentum": Training(SGD(momentum=0.9)),
    "momentum, decay": Training(SGD(momentum=0.9, weight_decay=DECAY)),
    "nesterov": Training(SGD(momentum=0.9, nesterov=True)),
    "nesterov, decay": Training(SGD(momentum=0.9, nesterov=True, weight_decay=DECAY)),
    "adam": Training(Adam(epsilon=EPSILON)),
    "adamw": Training(Adam(epsilon=EPSILON, weight_decay=DECAY, decoupled=True)),
    "adam, decay": Training(Adam(epsilon=EPSILON, weight_decay=DECAY)),
    "adam, decay, smoothed labels": Training(Adam(epsilon=EPSILON, weight_decay=DECAY), label_smoothing=0.1),
}
# A network gets the training with the most terms. The others, with drawn hyperparameters, are among the framework
# checks, because an optimizer does not depend on the network.
DEFAULT_TRAINING = "adam, decay, smoothed labels"
# A network with more than LARGE trained values or LARGE_MACS multiply-adds per image gets fewer steps and builds, and
# SGD, which keeps no arrays beside the weights. The learning rate changes after the third step.
LARGE, LARGE_MACS, LARGE_STEPS = 1_000_000, 30_000_000, 4
LARGE_TRAINING = "sgd, decay, smoothed labels"
# A network with more than HEAVY multiply-adds per image at the verified input gets one batch and HEAVY_STEPS steps;
# more would take more memory and time than all other networks.
HEAVY, HEAVY_STEPS = 2_000_000_000, 2
STEPS = 10  # after which weights are compared, as after the first
CURVE = 50  # losses of the last training

# In the order in which a fault shows first.
STAGES = (
    "parameters",
    "evaluation",
    "training",
    "loss",
    "gradients",
    "optimizers",
    "running statistics",
    "dropout",
    "curve",
)
SEVERAL_STEPS = ("optimizers", "running statistics", "curve")  # stages in which rounding grows from step to step


class Place(NamedTuple):
    """Identifies a tensor: its stage, the training that computed it or "", the step or 0, and its name."""

    stage: str
    training: str
    step: int
    tensor: str


Evidence: TypeAlias = Mapping[Place, Array]


@dataclass(frozen=True)
class Case:
    """A network with its input, weights and trainings."""

    spec: Network  # as requested
    network: Network  # `spec` with pixel scaling in front and without dropout
    network_with_dropout: Network
    seed: int
    images: Array  # uint8, N x C x H x W
    labels: Array  # int64, N
    weights: Weights
    trainings: dict[str, Training]
    batch_size: int
    curve: int  # steps of the last training
    lr_factor: float = 1.0  # of all learning rates: below 1 if the network amplifies rounding (`conditioning`)

    @staticmethod
    def for_network(network: Network, seed: int, batch_size: int, curve: int | None = None) -> Case:
        """The case of a network and seed, with four different batches of images; a heavy network has one batch.

        curve: number of losses that are compared; None: `CURVE`, fewer for a large network.
        """
        stream = np.random.default_rng(seed)
        with_dropout = network.after(Scale("pixels"), input=network.input)
        plain = without_dropout(with_dropout)
        count = (1 if plain.macs > HEAVY else 4) * batch_size
        training = LARGE_TRAINING if is_large(plain) else DEFAULT_TRAINING
        images = stream.integers(0, 256, (count, *network.input), dtype=np.uint8)
        labels = stream.integers(0, network.classes, count)
        return Case(
            spec=network,
            network=plain,
            network_with_dropout=with_dropout,
            seed=seed,
            images=images,
            labels=labels,
            weights=settled_weights(plain, revealing_weights(plain, seed), images, seed),
            trainings={training: TRAININGS[training]},
            batch_size=batch_size,
            curve=curve or default_curve(plain),
        )

    def with_next_seed(self) -> Case:
        """The same case with other weights, images and labels."""
        later = Case.for_network(self.spec, self.seed + 1, self.batch_size, self.curve)
        return replace(later, trainings=self.trainings, lr_factor=self.lr_factor)

    def with_batch_size(self, batch_size: int) -> Case:
        """The same network, seed, trainings and number of steps with batches of `batch_size` other images."""
        other = Case.for_network(self.spec, self.seed, batch_size, self.curve)
        return replace(other, trainings=self.trainings, lr_factor=self.lr_factor)

    def natively(self, native: Native) -> Case:
        """The case with the default settings of a framework (`frameworks/native.py`), except for Adam's epsilon."""
        native = replace(native, epsilon=replace(native.epsilon, value=EPSILON))
        plain, with_dropout = (
            with_defaults(net, Training(), native)[0] for net in (self.network, self.network_with_dropout)
        )
        trainings = {
            name: with_defaults(self.network, training, native)[1] for name, training in self.trainings.items()
        }
        return replace(self, network=plain, network_with_dropout=with_dropout, trainings=trainings)

    def lrs(self, training: str, steps: int) -> list[float]:
        """The learning rate of each step: halved after every third one, which shows a rate stored in the velocity.

        `conditioning` makes them smaller where the network needs it. Adam and RMSprop change every value by about the
        learning rate.
        """
        match self.trainings[training].optimizer:
            case SGD():
                first = 1e-2
            case Adadelta():
                first = 1.0
            case _:
                first = 1e-3
        return [self.lr_factor * first * 0.5 ** (step // 3 % 3) for step in range(steps)]

    def steps(self, training: str) -> int:
        """The number of steps of a training: the last one is as long as the sequence of losses."""
        return self.curve if training == list(self.trainings)[-1] else STEPS

    def compared_steps(self, training: str) -> tuple[int, ...]:
        """The steps after which weights are compared: the first one, and the tenth one or the last one before it."""
        return tuple(sorted({1, min(STEPS, self.steps(training))}))

    @property
    def order(self) -> Array:
        """Indices of the images, batch after batch; every pass over the images has another order."""
        count = len(self.images)
        stream = np.random.default_rng(count)
        passes = -(-max(self.curve, STEPS) * self.batch_size // count)
        return np.concatenate([stream.permutation(count) for _ in range(passes)])


def default_curve(network: Network) -> int:
    """The number of training losses that are compared unless another is requested."""
    if network.macs > HEAVY:
        return HEAVY_STEPS
    return LARGE_STEPS if is_large(network) else CURVE


def is_large(network: Network) -> bool:
    """Whether the reference takes minutes for 50 steps, or the arrays of Adam too much memory."""
    return network.params > LARGE or network.macs > LARGE_MACS
