"""The formats of the published data sets: unpacked files to training images and labels, test images and labels.

Every function raises ValueError if the files contradict their format.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

IDX_TYPES: dict[int, np.dtype[Any]] = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}


def idx(contents: dict[str, bytes]) -> list[np.ndarray]:
    """Two zero bytes, the type, the number of axes, each axis as a big-endian uint32, the values.

    http://yann.lecun.com/exdb/mnist/, "The IDX file format".
    """
    arrays = []
    for file, content in contents.items():
        kind = IDX_TYPES.get(content[2]) if content[:2] == b"\0\0" and len(content) > 3 else None
        axes = content[3] if kind else 0
        start = 4 + 4 * axes
        if not kind or not axes or len(content) < start:
            raise ValueError(f"{file} starts with {content[:4].hex()}, not with the header of an idx file of bytes")
        shape = tuple(map(int, np.frombuffer(content, ">u4", axes, 4)))
        if len(content) != start + prod(shape) * kind.itemsize:
            raise ValueError(
                f"{file} has {len(content):,} bytes, but its header {shape} requires "
                f"{start + prod(shape) * kind.itemsize:,}"
            )
        arrays.append(np.frombuffer(content, kind, offset=start).reshape(shape))
    return arrays


def emnist(contents: dict[str, bytes]) -> list[np.ndarray]:
    """IDX files whose images are stored by columns: Cohen et al. 2017 converted them from MATLAB."""
    train, train_labels, test, test_labels = idx(contents)
    return [train.swapaxes(1, 2), train_labels, test.swapaxes(1, 2), test_labels]


def qmnist(contents: dict[str, bytes]) -> list[np.ndarray]:
    """IDX files whose labels are eight numbers, the first of which is the digit: Yadav and Bottou 2019."""
    train, train_labels, test, test_labels = idx(contents)
    if any(labels.ndim != 2 for labels in (train_labels, test_labels)):
        raise ValueError(f"labels of the shapes {train_labels.shape} and {test_labels.shape}, not N x 8")
    return [train, _small(train_labels[:, 0]), test, _small(test_labels[:, 0])]


def cifar(contents: dict[str, bytes]) -> list[np.ndarray]:
    """Rows of a label, then 1,024 red, green and blue values: https://www.cs.toronto.edu/~kriz/cifar.html."""
    return _cifar(contents, labels=1)


def cifar100(contents: dict[str, bytes]) -> list[np.ndarray]:
    """As CIFAR-10, with a coarse and a fine label in each row; the fine one is used."""
    return _cifar(contents, labels=2)


def _cifar(contents: dict[str, bytes], labels: int) -> list[np.ndarray]:
    row = labels + 3 * 32 * 32
    for file, content in contents.items():
        if len(content) % row or not content:
            raise ValueError(f"{file} has {len(content):,} bytes, not a multiple of {row:,}")
    *train, test = (np.frombuffer(content, np.uint8).reshape(-1, row) for content in contents.values())
    return [part for rows in (np.concatenate(train), test) for part in (rows[:, labels:], rows[:, labels - 1])]


def svhn(contents: dict[str, bytes]) -> list[np.ndarray]:
    """MATLAB files with `X`, H x W x C x N, and `y`, N x 1, where 10 is the digit 0: Netzer et al. 2011."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    arrays = []
    for file, content in contents.items():
        try:
            fields = loadmat(io.BytesIO(content), variable_names=("X", "y"))
            images, labels = fields["X"], fields["y"]
        except (MatReadError, NotImplementedError, KeyError, TypeError, OSError, IndexError) as error:
            raise ValueError(f"{file} is not a MATLAB file with X and y ({error})") from None
        if images.ndim != 4:
            raise ValueError(f"{file} has images of the shape {images.shape}, not H x W x C x N")
        arrays += [np.ascontiguousarray(images.transpose(3, 2, 0, 1)), _small(labels.reshape(-1) % 10)]
    return arrays


def npy(contents: dict[str, bytes]) -> list[np.ndarray]:
    """NumPy's own format."""
    return [np.load(io.BytesIO(content), allow_pickle=False) for content in contents.values()]


def _small(labels: np.ndarray) -> np.ndarray:
    """Labels as uint8. Raises ValueError for a label that does not fit."""
    if labels.min() < 0 or labels.max() > 255:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}")
    return labels.astype(np.uint8)


FORMATS: dict[str, Callable[[dict[str, bytes]], list[np.ndarray]]] = {
    "idx": idx,
    "emnist": emnist,
    "qmnist": qmnist,
    "cifar": cifar,
    "cifar100": cifar100,
    "svhn": svhn,
    "npy": npy,
}
