"""Keras's .weights.h5: every array by its path in the file.

python keras_h5.py FILE FOLDER    gives FOLDER/arrays.npz and FOLDER/about.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

source, folder = sys.argv[1:]
arrays: dict[str, Any] = {}
with h5py.File(source, "r") as file:
    file.visititems(lambda name, thing: arrays.update({name: thing[()]}) if isinstance(thing, h5py.Dataset) else None)
np.savez(Path(folder) / "arrays.npz", **arrays)
(Path(folder) / "about.json").write_text(json.dumps({"notes": []}), encoding="utf-8")
