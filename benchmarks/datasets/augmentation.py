"""Pictures changed by chance before each epoch: drawn here, uint8 in and uint8 out, the same for every framework.

They are written to a file that every worker maps, outside the timed slices; what it takes is a figure of its own. Each
change has a stream of chance of its own, so to leave one out does not alter the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from frameworks.arrays import Array

CHUNK = 5_000  # pictures whose covariance is summed at a time: what is in float64 stays small


@dataclass(frozen=True)
class Crop:
    """A window of the picture's own size, anywhere in the picture with `padding` pixels around it, all alike likely.

    The padding is black (Lee et al. 2015, section 3.1) or, with `reflect`, mirrored without the edge itself.
    """

    padding: int = 4
    reflect: bool = False

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise ValueError(f"{self}: at least 1 pixel")

    def draw(self, images: Array, chance: np.random.Generator) -> Array:
        """New pictures, N x C x H x W like those given; so in every change."""
        around = ((0, 0), (0, 0), (self.padding, self.padding), (self.padding, self.padding))
        padded = np.pad(images, around, mode="reflect" if self.reflect else "constant")
        windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(2, 3))
        top, left = chance.integers(0, 2 * self.padding + 1, (2, len(images)))
        return np.ascontiguousarray(windows[np.arange(len(images)), :, top, left])  # N, C, 2p+1, 2p+1, H, W before


@dataclass(frozen=True)
class Flip:
    """Left and right change places in about half of the pictures."""

    def draw(self, images: Array, chance: np.random.Generator) -> Array:
        return np.where(chance.random(len(images))[:, None, None, None] < 0.5, images[..., ::-1], images)


@dataclass(frozen=True)
class ColourNoise:
    """Every pixel of a picture gets the same colour added: sum over i of a[i] l[i] p[i], a drawn from N(0, deviation).

    l and p: eigenvalues and eigenvectors of the covariance of the colours of all pixels of these pictures (Krizhevsky
    et al. 2012, section 4.1). The paper does not say on which scale; here pixels go from 0 to 1, as in the code of
    others that is known to work. What is added is rounded to whole steps of 1 / 255, and pixels stay within 0 and 255.
    """

    deviation: float = 0.1

    def __post_init__(self) -> None:
        if not self.deviation > 0:
            raise ValueError(f"{self}: a deviation above 0")

    def draw(self, images: Array, chance: np.random.Generator) -> Array:
        values, vectors = np.linalg.eigh(covariance(images))
        drawn = chance.normal(0.0, self.deviation, (len(images), len(values)))
        added = np.rint(255 * (drawn * values) @ vectors.T).astype(np.int16)  # N, C
        return np.clip(images + added[:, :, None, None], 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Cutout:
    """A square of `size` pixels, its centre anywhere in the picture, gets each channel's mean: DeVries and Taylor 2017.

    The part of it that lies outside is lost, as in the paper, whose pixels are normalised and whose squares are 0.
    """

    size: int = 8

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"{self}: at least 1 pixel")

    def draw(self, images: Array, chance: np.random.Generator) -> Array:
        rows, columns = (
            self._within(chance.integers(0, side, len(images)), side) for side in images.shape[2:]
        )  # N, H and N, W
        square = (rows[:, :, None] & columns[:, None, :])[:, None]
        mean = np.rint(images.mean((0, 2, 3))).astype(np.uint8)
        return np.where(square, mean[:, None, None], images)

    def _within(self, centre: Array, side: int) -> Array:
        from_start = np.arange(side) - (centre[:, None] - self.size // 2)
        return (from_start >= 0) & (from_start < self.size)


Change: TypeAlias = "Crop | Flip | ColourNoise | Cutout"


def drawn(images: Array, changes: Sequence[Change], seed: int, epoch: int) -> Array:
    """The pictures of one epoch, uint8 N x C x H x W, from the data set's: the changes are made one after another."""
    for change in changes:
        images = change.draw(images, np.random.default_rng([seed, epoch, zlib.crc32(type(change).__name__.encode())]))
    return images


def permuted(images: Array, seed: int) -> Array:
    """All pictures with their pixels in one other order, the same for every picture and channel: no neighbours left."""
    order = np.random.default_rng([seed, zlib.crc32(b"permuted")]).permutation(images.shape[2] * images.shape[3])
    return images.reshape(*images.shape[:2], -1)[:, :, order].reshape(images.shape)


def covariance(images: Array) -> Array:
    """Of the channels' values over all pixels, 0 to 1: C x C."""
    channels, pixels = images.shape[1], images.size // images.shape[1]
    total, products = np.zeros(channels), np.zeros((channels, channels))
    for start in range(0, len(images), CHUNK):
        values = images[start : start + CHUNK].transpose(1, 0, 2, 3).reshape(channels, -1) / 255
        total += values.sum(1)
        products += values @ values.T
    mean = total / pixels
    return products / pixels - np.outer(mean, mean)
