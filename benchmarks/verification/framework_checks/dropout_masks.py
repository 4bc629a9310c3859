"""The masks of dropout inside `train`, recovered from the losses.

A network has two dropouts, or two stochastic depths, and one dense layer with two outputs: the label's logit is
z = -40 - sum over features of w x m / keep, the other is 0. Its cross-entropy is log(1 + exp(-z)), which is -z up to
exp(-40). Weights and pixels are powers of two, a different product for each image and feature of a batch, so the mean
loss of a batch times its size, less the constant, is a binary number divided by `keep`. Its digits are the mask.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np

from benchmarks.verification.cases import Place
from benchmarks.verification.framework_checks.session import (
    FEATURES,
    KEEP,
    MASKED,
    MASKED_BY_IMAGE,
    PIXELS,
    PlacedTensor,
    Session,
)
from frameworks.arrays import Array, Weights
from frameworks.spec import Dropout, Network, StochasticDepth
from frameworks.training import SGD, Training

MASKS, SCALE = "dropout", "dropout in training"

STEPS, SEEDS = 300, 40
CONSTANT = 40.0
BITS = len(PIXELS) * len(FEATURES)
# The two layers of a network together, and the rule that their masks follow.
LAYERS: dict[str, Dropout] = {
    "drop": Dropout("drop", rate=1 - KEEP),
    "depth": StochasticDepth("depth", rate=1 - KEEP),
}
BY_IMAGE = ", by image"  # after the name of a question about stochastic depth


def dropout_masks(session: Session) -> Iterator[PlacedTensor]:
    """Masks that vary with image, feature, step, layer and seed, scaled by 1 / keep, the same again for a seed.

    Then the same of stochastic depth, whose masks do not vary with the feature.
    """
    masks, first = yield from _masks_of(session, MASKED, "")
    rows = {
        "images": masks.reshape(-1, len(FEATURES)),  # rows are the images of a batch, batch after batch
        "steps": masks.reshape(STEPS, BITS),
        "seeds": first.reshape(SEEDS, BITS),
    }
    for what, remains in rows.items():
        yield _mask(what, "drop", remains)
    yield from _gradient(session, "")

    masks, first = yield from _masks_of(session, MASKED_BY_IMAGE, BY_IMAGE)
    yield _mask("images" + BY_IMAGE, "depth", masks.reshape(-1, len(FEATURES)))
    for what, remains in {"steps": masks, "seeds": first}.items():  # the mask of an image is that of a feature
        yield _mask(what + BY_IMAGE, "drop", remains[:, :, 0])
    yield from _gradient(session, BY_IMAGE)


def _mask(what: str, layer: str, remains: Array) -> PlacedTensor:
    return Place(MASKS, what, 0, layer), np.stack([np.ones_like(remains), remains / KEEP])


def _masks_of(session: Session, network: Network, suffix: str) -> Generator[PlacedTensor, None, tuple[Array, Array]]:
    """The masks of many steps with one seed, and of the first step with many seeds, steps x images x features."""
    weights = _weights()
    session.build(network, Training(SGD()), weights)
    pixels = np.array(PIXELS, np.uint8).reshape(-1, 1, 1, 1)
    images = np.broadcast_to(pixels, (len(PIXELS), *network.input)).copy()
    session.client.load("train", images, np.zeros(len(PIXELS), np.int64))
    seed = _seed(session)

    values = recovered(session, weights, seed, STEPS)
    yield Place(SCALE, "losses" + suffix, 0, "scale"), 1 + fraction(values)
    again = recovered(session, weights, seed, STEPS)
    yield Place(SCALE, "the same seed" + suffix, 0, "losses"), 1 + (again - values)
    first = [decoded(recovered(session, weights, seed + number, 2))[0] for number in range(SEEDS)]
    return decoded(values), np.stack(first)


def _weights() -> Weights:
    weights = {"head.weight": np.array([[-w for w in FEATURES], [0.0] * len(FEATURES)]), "head.bias": np.zeros(2)}
    weights["head.bias"][0] = -CONSTANT
    return weights


def _seed(session: Session) -> int:
    return 1000 * session.seed + 1


def recovered(session: Session, weights: Weights, seed: int, steps: int) -> Array:
    """The sum over a batch of w x m, of each step without an update; an integer if dropout scales by 1 / keep.

    The weights are set anew, because a mask may depend on the number of the step as well as on the seed.
    """
    session.client.set_weights(weights)
    order = np.tile(np.arange(len(PIXELS)), steps)
    trained = session.client.train(order, len(PIXELS), [0.0] * steps, stop=len(order), seed=seed)
    return (np.array(trained.losses) - CONSTANT) * len(PIXELS) * KEEP


def fraction(values: Array) -> Array:
    """The distance of each sum from an integer, relative to the largest possible sum."""
    possible = float(sum(PIXELS) * sum(FEATURES))
    return (values - np.clip(np.round(values), 0, possible)) / possible


def decoded(values: Array) -> Array:
    """Masks of 0 and 1, steps x images x features, from sums."""
    numbers = np.clip(np.round(np.nan_to_num(values)), 0, 2**BITS - 1).astype(int)
    bits = (numbers[:, None] >> np.arange(BITS)) & 1
    return bits.reshape(len(values), len(PIXELS), len(FEATURES)).astype(float)


def _gradient(session: Session, suffix: str) -> Iterator[PlacedTensor]:
    """The gradient has the mask of the loss: the mean over images of x m / keep. The network is the one last built."""
    weights, seed = _weights(), _seed(session)
    mask = decoded(recovered(session, weights, seed, 1))[0]
    session.client.set_weights(weights)
    session.client.train(np.arange(len(PIXELS)), len(PIXELS), [1.0], stop=len(PIXELS), seed=seed)
    moved = session.client.get_weights(slots=False)["head.weight"][0] - weights["head.weight"][0]
    expected = (np.array(PIXELS)[:, None] * mask).mean(0) / KEEP
    yield Place(SCALE, "gradient" + suffix, 1, "head.weight"), 1 + (moved - expected)
