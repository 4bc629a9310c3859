"""Prints the counts of keras.applications: {network: [trained, running]}. No memory is taken for their arrays."""

from __future__ import annotations

import json
import sys
from math import prod

import keras


def counts(name: str) -> tuple[int, int]:
    with keras.StatelessScope(initialize_variables=False):
        net = getattr(keras.applications, name)(weights=None)
        return sum(prod(w.shape) for w in net.trainable_weights), sum(prod(w.shape) for w in net.non_trainable_weights)


if __name__ == "__main__":
    print(json.dumps({name: counts(name) for name in sys.argv[1:]}))
