"""Keras's files as arrays by layer, with the config of the model where the file has one. Nothing in it is run.

    python keras_h5.py FILE FOLDER    gives FOLDER/arrays.npz and FOLDER/about.json

FILE is a .keras archive, a .weights.h5, or an .h5 of earlier versions, which has the layers in `layer_names`.
about.json has `layers`: for each its `name`, its `group` in the file, its `arrays` by their names in arrays.npz and, in
earlier versions, their `roles`; `order`: whether the model computes the layers in this order; and `config`.
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def text(value: Any) -> str:
    """An attribute of HDF5 as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def numbers(name: str) -> list[tuple[int, str]]:
    """For sorting: numbers in a name as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def by_class(file: h5py.File, arrays: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of a .weights.h5: groups `layers/conv2d_1/vars`, where numbers count the layers of a class."""
    groups: list[str] = []
    file.visititems(lambda name, thing: groups.append(name) if name.rpartition("/")[2] == "vars" else None)
    layers = []
    for group in sorted(groups, key=numbers):
        path = group.rpartition("/")[0]
        names = sorted(file[group], key=numbers)
        if not names or path.split("/")[0] in ("optimizer", "metrics", "loss_tracker") or "seed_generator" in path:
            continue
        arrays.update({f"{group}/{name}": value_of(file[group][name]) for name in names})
        name = text(file[group].attrs.get("name", ""))
        layers.append({"name": name, "group": path, "arrays": [f"{group}/{each}" for each in names], "roles": []})
    return layers


def by_name(file: Any, arrays: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of earlier versions: a group for each, and in that of a nested model the arrays of its layers."""
    layers: dict[str, dict[str, Any]] = {}
    for outer in map(text, file.attrs["layer_names"]):
        names = [text(name) for name in file[outer].attrs["weight_names"]]
        for name in names:
            parent, _, role = name.rpartition("/")
            inner = parent.rpartition("/")[2]
            key, group = f"{outer}/{name}", f"{outer}/{inner}" if inner not in ("", outer) else outer
            layer = layers.setdefault(
                group, {"name": group.rpartition("/")[2], "group": group, "arrays": [], "roles": []}
            )
            arrays[key] = value_of(file[outer][name])
            layer["arrays"].append(key)
            layer["roles"].append(role.partition(":")[0])
    return list(layers.values())


def value_of(dataset: Any) -> Any:
    """The values of a data set; Keras stores bfloat16 as integers of 16 bits and says so."""
    if text(dataset.attrs.get("dtype", "")) == "bfloat16":
        return (dataset[()].view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return dataset[()]


def read(source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays and what about.json holds."""
    arrays: dict[str, Any] = {}
    config = None
    content: Any = source
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            config = json.loads(archive.read("config.json")) if "config.json" in archive.namelist() else None
            content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content, "r") as file:
        if "model_config" in file.attrs:
            config = json.loads(text(file.attrs["model_config"]))
        root = file.get("model_weights", file)
        ordered = "layer_names" in root.attrs
        layers = by_name(root, arrays) if ordered else by_class(file, arrays)
    return arrays, {"notes": [], "layers": layers, "order": ordered, "config": config}


if __name__ == "__main__":
    source, folder = sys.argv[1:]
    arrays, about = read(source)
    np.savez(Path(folder) / "arrays.npz", **arrays)
    (Path(folder) / "about.json").write_text(json.dumps(about), encoding="utf-8")
