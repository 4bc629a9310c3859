"""What a framework check works with: small networks, their weights and images, and a worker that builds them.

The layers of the networks are smooth, because rounding then never switches a ReLU or a maximum, and every batch
normalization has at least 16 values per channel. The layers themselves are verified in each network's own case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from benchmarks.runtime.worker_client import Built, Commands
from benchmarks.verification.case_weights import revealing_weights
from benchmarks.verification.cases import Place
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.spec import (
    Affine,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Network,
    Scale,
    StochasticDepth,
    Tanh,
)
from frameworks.training import Training

CLASSES = 7  # not ten: a smoothing divided by ten would pass
IMAGES = 40

PROBE = Network(
    "probe",
    (3, 10, 10),
    [
        Scale("unit"),
        Conv("conv1", 4, 3, bias=False),
        BatchNorm("norm"),
        Tanh("tanh1"),
        AvgPool("pool", 2, 2),
        Conv("conv2", 6, 3),
        Tanh("tanh2"),
        Flatten("flat"),
        Dense("fc", 12),
        Tanh("tanh3"),
        Dense("head", CLASSES),
    ],
)
# Eight maps, because libraries lay out the weights of so many in memory in their own way.
BRIEF = Network(
    "brief",
    (2, 6, 6),
    [Scale("unit"), Conv("conv", 8, 3, bias=False), BatchNorm("norm"), Flatten("flat"), Dense("head", CLASSES)],
)
# One array of each kind that is trained, in as few layers as possible: it is built for every optimizer.
ROLES = Network(
    "roles",
    (2, 5, 5),
    [Scale("unit"), Affine("affine"), Flatten("flat"), Dense("head", CLASSES)],
)
# Without batch normalization, it stays calm over many steps.
LATE = Network(
    "late",
    (1, 6, 6),
    [Scale("unit"), Flatten("flat"), Dense("fc", 10), Tanh("tanh"), Dense("head", CLASSES)],
)

FEATURES = (1.0, 2.0)  # the contribution of a feature that remains
PIXELS = (1, 4, 16, 64)  # of the images of a batch, by which the contribution is multiplied
KEEP_EACH = 0.75  # exact in binary, as is its square
KEEP = KEEP_EACH**2  # of two layers with masks that are independent of each other
# The loss of a batch is a constant and a sum over the values that both dropouts leave: see `dropout_masks`.
MASKED = Network(
    "masked",
    (1, 1, len(FEATURES)),
    [Flatten("flat"), Dropout("drop1", rate=1 - KEEP_EACH), Dropout("drop2", rate=1 - KEEP_EACH), Dense("head", 2)],
)
# The same with masks that all features of an image have in common.
MASKED_BY_IMAGE = Network(
    "masked by image",
    MASKED.input,
    [
        Flatten("flat"),
        StochasticDepth("depth1", rate=1 - KEEP_EACH),
        StochasticDepth("depth2", rate=1 - KEEP_EACH),
        Dense("head", 2),
    ],
)

NETWORKS = (PROBE, BRIEF, ROLES, LATE, MASKED, MASKED_BY_IMAGE)

PlacedTensor: TypeAlias = tuple[Place, Array]


@dataclass(frozen=True)
class Session:
    """A worker, or the reference, in one setting; seed: of weights, images and hyperparameters."""

    client: Commands
    setting: Setting
    seed: int

    def build(self, network: Network, training: Training, weights: Weights | None = None, seed: int = 0) -> Built:
        """Build a network and give it weights, by default `weights_of(network)`. seed: added to the session's."""
        built = self.client.build(network, training, self.setting)
        self.client.set_weights(weights or self.weights_of(network, seed))
        return built

    def weights_of(self, network: Network, seed: int = 0) -> Weights:
        """Weights that do not hide a fault; exact in float32."""
        return revealing_weights(network, self.seed + seed)

    def images(self, network: Network, count: int = IMAGES, seed: int = 0) -> tuple[Array, Array]:
        """Random images, uint8 N x C x H x W, and labels, int64 N."""
        stream = np.random.default_rng([self.seed + seed, 30])
        images = stream.integers(0, 256, (count, *network.input), dtype=np.uint8)
        return images, stream.integers(0, network.classes, count)

    def load(self, network: Network, count: int = IMAGES, seed: int = 0) -> None:
        """Load the same random images as both splits."""
        images, labels = self.images(network, count, seed)
        for split in ("train", "test"):
            self.client.load(split, images, labels)  # type: ignore[arg-type]

    def order(self, count: int, passes: int = 1, seed: int = 0) -> Array:
        """Indices of `count` images, every pass in another order."""
        stream = np.random.default_rng([self.seed + seed, 31])
        return np.concatenate([stream.permutation(count) for _ in range(passes)])


Script: TypeAlias = Callable[[Session], Iterator[PlacedTensor]]


def state(session: Session, stage: str, what: str, step: int, slots: bool = False) -> Iterator[PlacedTensor]:
    """The arrays of the network; with `slots`, the optimizer's too."""
    weights = session.client.get_weights(slots)
    for name in sorted(weights):
        yield Place(stage, what, step, name), np.asarray(weights[name])


def losses(values: list[float], stage: str, what: str, first: int = 1) -> Iterator[PlacedTensor]:
    """The losses of consecutive steps, of which `first` is the number of the first one."""
    for step, loss in enumerate(values, first):
        yield Place(stage, what, step, "loss"), np.array(loss)
