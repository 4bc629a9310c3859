"""The masks of dropout inside `train`, recovered from the losses.

The network has one dropout and one dense layer with two outputs: the label's logit is z = -40 - sum over features of
w x m / keep, the other is 0. Its cross-entropy is log(1 + exp(-z)), which is -z up to exp(-40). Weights and pixels are
powers of two, a different product for each image and feature of a batch, so the mean loss of a batch times its size,
less the constant, is a binary number divided by `keep`. Its digits are the mask.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.verification.cases import Place
from benchmarks.verification.framework_checks.session import FEATURES, KEEP, MASKED, PIXELS, PlacedTensor, Session
from frameworks.arrays import Array, Weights
from frameworks.training import SGD, Training

MASKS, SCALE = "dropout", "dropout in training"

STEPS, SEEDS = 300, 40
CONSTANT = 40.0
BITS = len(PIXELS) * len(FEATURES)
RATES = {"drop": 1 - KEEP}  # of the two layers together


def dropout_masks(session: Session) -> Iterator[PlacedTensor]:
    """Masks that vary with image, feature, step, layer and seed, scaled by 1 / keep, the same again for a seed."""
    weights = {"head.weight": np.array([[-w for w in FEATURES], [0.0] * len(FEATURES)]), "head.bias": np.zeros(2)}
    weights["head.bias"][0] = -CONSTANT
    session.build(MASKED, Training(SGD()), weights)
    pixels = np.array(PIXELS, np.uint8).reshape(-1, 1, 1, 1)
    images = np.broadcast_to(pixels, (len(PIXELS), *MASKED.input)).copy()
    session.client.load("train", images, np.zeros(len(PIXELS), np.int64))
    seed = 1000 * session.seed + 1

    values = recovered(session, weights, seed, STEPS)
    yield Place(SCALE, "losses", 0, "scale"), 1 + fraction(values)
    masks = decoded(values)
    again = recovered(session, weights, seed, STEPS)
    yield Place(SCALE, "the same seed", 0, "losses"), 1 + (again - values)
    first = np.stack([decoded(recovered(session, weights, seed + number, 2))[0] for number in range(SEEDS)])
    rows = {
        "images": masks.reshape(-1, len(FEATURES)),  # rows are the images of a batch, batch after batch
        "steps": masks.reshape(STEPS, BITS),
        "seeds": first.reshape(SEEDS, BITS),
    }
    for what, remains in rows.items():
        yield Place(MASKS, what, 0, "drop"), np.stack([np.ones_like(remains), remains / KEEP])
    yield from _gradient(session, weights, seed)


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


def _gradient(session: Session, weights: Weights, seed: int) -> Iterator[PlacedTensor]:
    """The gradient has the mask of the loss: the mean over images of x m / keep."""
    mask = decoded(recovered(session, weights, seed, 1))[0]
    session.client.set_weights(weights)
    session.client.train(np.arange(len(PIXELS)), len(PIXELS), [1.0], stop=len(PIXELS), seed=seed)
    moved = session.client.get_weights(slots=False)["head.weight"][0] - weights["head.weight"][0]
    expected = (np.array(PIXELS)[:, None] * mask).mean(0) / KEEP
    yield Place(SCALE, "gradient", 1, "head.weight"), 1 + (moved - expected)
