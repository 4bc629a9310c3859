"""Tests of ONNX side by side in one network, because building a network takes half a second in Keras.

Each test is a chain of a concatenation. The chain takes the test's channels of the input, has the test's name, and ends
in a mean over the pixels, which only makes the outputs fit together. In evaluation no image depends on another, so
tests with fewer images have images of zeros after their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from frameworks.arrays import Array, Weights
from frameworks.spec import Add, Concat, Dense, Flatten, GlobalAvgPool, Layer, Network, Select
from tests.third_parties.onnx_cases import Mapped


@dataclass(frozen=True)
class Group:
    """Tests by name with images of one height and width; in training mode also with one number of images."""

    tests: Mapping[str, Mapped]
    training: bool

    @cached_property
    def network(self) -> Network:
        chains, begin = [], 0
        for name, test in self.tests.items():
            end = begin + test.images.shape[1]
            flat = [] if len(test.network.output) == 1 else [GlobalAvgPool(), Flatten()]
            chains.append([Add(name, [[Select("", tuple(range(begin, end))), *test.layers]]), *flat])
            begin = end
        # PyTorch makes no optimizer without arrays, and many groups have none.
        layers: list[Layer] = [Concat("", chains), Dense("classes", 1, bias=False)]
        return Network("nodes", self.images.shape[1:], layers)

    @cached_property
    def images(self) -> Array:
        count = max(len(test.images) for test in self.tests.values())
        parts = [np.zeros((count, *test.images.shape[1:])) for test in self.tests.values()]
        for part, test in zip(parts, self.tests.values()):
            part[: len(test.images)] = test.images
        return np.concatenate(parts, 1)

    @property
    def weights(self) -> Weights:
        arrays = {
            f"{name}.{array}": value for name, test in self.tests.items() for array, value in test.arrays().items()
        }
        return arrays | {"classes.weight": np.zeros(self.network.parameters[-1].shape)}

    def outputs(self, activations: Mapping[str, Array]) -> Weights:
        """The output of each test, by its name."""
        return {name: activations[name][: len(test.images)] for name, test in self.tests.items()}


def groups(tests: Mapping[str, Mapped]) -> list[Group]:
    found: dict[tuple[object, ...], dict[str, Mapped]] = {}
    for name, test in tests.items():
        key = (test.training, test.training and len(test.images), test.images.shape[2:])
        found.setdefault(key, {})[name] = test
    return [Group(members, bool(key[0])) for key, members in found.items()]
