"""Prints what arrays the networks of keras.applications have: {network: {array: [shape, whether it is trained]}}."""

from __future__ import annotations

import json
import sys

import keras


def arrays(name: str) -> dict[str, tuple[list[int], bool]]:
    with keras.StatelessScope(initialize_variables=False):  # no memory is taken
        net = getattr(keras.applications, name)(weights=None)
    return {array.path: (list(array.shape), array.trainable) for array in net.weights}


if __name__ == "__main__":
    print(json.dumps({name: arrays(name) for name in sys.argv[1:]}))
