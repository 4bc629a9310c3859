"""Random augmentation of the training images before each epoch, uint8 to uint8, the same for every framework.

The augmented images are written to a file that every worker maps, outside the timed slices; the time is reported
separately. Each augmentation has its own random stream, named by its class, so removing one does not affect the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from frameworks.arrays import Array

CHUNK = 5_000  # images converted to float64 at a time


@dataclass(frozen=True)
class Crop:
    """A window of the size of the image, at a uniformly random position in the image padded by `padding` pixels.

    The padding is black (Lee et al. 2015, section 3.1) or, with `reflect`, a reflection without the edge pixels.
    """

    padding: int = 4
    reflect: bool = False

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise ValueError(f"{self}: at least 1 pixel")

    def draw(self, images: Array, rng: np.random.Generator) -> Array:
        """Augmented images, uint8, N x C x H x W; the input is not changed."""
        around = ((0, 0), (0, 0), (self.padding, self.padding), (self.padding, self.padding))
        padded = np.pad(images, around, mode="reflect" if self.reflect else "constant")
        windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(2, 3))
        top, left = rng.integers(0, 2 * self.padding + 1, (2, len(images)))
        return np.ascontiguousarray(windows[np.arange(len(images)), :, top, left])  # N, C, 2p+1, 2p+1, H, W before


@dataclass(frozen=True)
class Flip:
    """Mirrors each image horizontally with probability 1/2."""

    def draw(self, images: Array, rng: np.random.Generator) -> Array:
        return np.where(rng.random(len(images))[:, None, None, None] < 0.5, images[..., ::-1], images)


@dataclass(frozen=True)
class ColourNoise:
    """Adds the same color to every pixel of an image: sum over i of a[i] l[i] p[i], a drawn from N(0, deviation).

    l and p: eigenvalues and eigenvectors of the covariance of the colors of all pixels (Krizhevsky et al. 2012, section
    4.1). The paper does not give the scale of the pixels; here it is 0 to 1, as in common implementations. The added
    color is rounded to steps of 1 / 255, and pixels are clipped to 0 to 255.
    """

    deviation: float = 0.1

    def __post_init__(self) -> None:
        if not self.deviation > 0:
            raise ValueError(f"{self}: the deviation must be more than 0")

    def draw(self, images: Array, rng: np.random.Generator) -> Array:
        values, vectors = np.linalg.eigh(covariance(images))
        drawn = rng.normal(0.0, self.deviation, (len(images), len(values)))
        added = np.rint(255 * (drawn * values) @ vectors.T).astype(np.int16)  # N, C
        return np.clip(images + added[:, :, None, None], 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Cutout:
    """Fills a square of `size` pixels around a random pixel with the mean of each channel: DeVries and Taylor 2017.

    The square is cut off at the edge of the image, as in the paper, where normalized pixels are set to 0.
    """

    size: int = 8

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"{self}: at least 1 pixel")

    def draw(self, images: Array, rng: np.random.Generator) -> Array:
        rows, columns = (
            self._within(rng.integers(0, side, len(images)), side) for side in images.shape[2:]
        )  # N, H and N, W
        square = (rows[:, :, None] & columns[:, None, :])[:, None]
        mean = np.rint(images.mean((0, 2, 3))).astype(np.uint8)
        return np.where(square, mean[:, None, None], images)

    def _within(self, center: Array, side: int) -> Array:
        from_start = np.arange(side) - (center[:, None] - self.size // 2)
        return (from_start >= 0) & (from_start < self.size)


Augmentation: TypeAlias = "Crop | Flip | ColourNoise | Cutout"


def augmented(images: Array, augmentations: Sequence[Augmentation], seed: int, epoch: int) -> Array:
    """The images of one epoch, uint8, N x C x H x W: the augmentations are applied one after another."""
    for augmentation in augmentations:
        stream = zlib.crc32(type(augmentation).__name__.encode())
        images = augmentation.draw(images, np.random.default_rng([seed, epoch, stream]))
    return images


def permuted(images: Array, seed: int) -> Array:
    """All images with their pixels in another order, the same for every image and channel."""
    order = np.random.default_rng([seed, zlib.crc32(b"permuted")]).permutation(images.shape[2] * images.shape[3])
    return images.reshape(*images.shape[:2], -1)[:, :, order].reshape(images.shape)


def covariance(images: Array) -> Array:
    """Covariance of the channels over all pixels, scaled to 0 to 1: C x C."""
    channels, pixels = images.shape[1], images.size // images.shape[1]
    total, products = np.zeros(channels), np.zeros((channels, channels))
    for start in range(0, len(images), CHUNK):
        values = images[start : start + CHUNK].transpose(1, 0, 2, 3).reshape(channels, -1) / 255
        total += values.sum(1)
        products += values @ values.T
    mean = total / pixels
    return products / pixels - np.outer(mean, mean)
