"""Keras's .weights.h5: every array by its path in the file."""

from __future__ import annotations

import sys
from typing import Any

import h5py
import numpy as np

source, target = sys.argv[1:]
arrays: dict[str, Any] = {}
with h5py.File(source, "r") as file:
    file.visititems(lambda name, thing: arrays.update({name: thing[()]}) if isinstance(thing, h5py.Dataset) else None)
np.savez(target, **arrays)
