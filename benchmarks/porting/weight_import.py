"""Imports weight files of other programs under the canonical names of a network.

A framework's own format is read by a script of `frameworks/weight_files` in the environment of the framework, and a
module beside the script converts names and axes (`FrameworkInfo.weight_files`). `.npz` and `.safetensors` files
need no framework; their arrays have the names of a PyTorch state dict. The content of a file says which format it has.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import frameworks
from benchmarks.porting.file_formats import NPZ, SAFETENSORS, ending
from benchmarks.porting.scripts import run_script
from benchmarks.reporting.number_formats import first_names
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.training.checkpoints import check_arrays, read_npz
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable, WeightFileError
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from frameworks.spec import Layer, Network, Normalize, Scale, Select
from frameworks.weight_files.converted import Converted

# The preprocessing of pixels, 0 to 255, that imported weights may expect.
PIXELS: dict[str, tuple[Layer, ...]] = {
    "raw": (),
    "unit": (Scale("pixels", factor=1 / 255),),
    # The presets of torchvision; its GoogLeNet and Inception v3 convert this to mean 0.5 and deviation 0.5.
    "imagenet": (
        Scale("pixels", factor=1 / 255),
        Normalize("normalize", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ),
    "half": (Scale("pixels", factor=1 / 255), Normalize("normalize", mean=(0.5,), std=(0.5,))),
    # Mode "caffe" of keras.applications, for VGG and ResNet: blue first, minus the mean of ImageNet.
    "caffe": (Select("bgr", (2, 1, 0)), Normalize("normalize", mean=(103.939, 116.779, 123.68))),
}

SCRIPTS = Path(frameworks.__file__).parent / "weight_files"
FORMATS = {suffix: (info, each) for info in FRAMEWORKS.values() for suffix, each in info.weight_files.items()}
PLAIN_NAMES = "state_dict_names"  # of .npz and .safetensors files


# Types of safetensors whose values float32 holds exactly or NumPy has. bfloat16 is the upper half of float32.
SAFETENSORS_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def import_weights(
    path: Path, network: Network, pythons: Mapping[str, str], progress: Callable[[str], None]
) -> Weights:
    """The arrays of a file under the canonical names of a network: `imported` without its notes, same errors."""
    return imported(path, network, pythons, progress).weights


def imported(path: Path, network: Network, pythons: Mapping[str, str], progress: Callable[[str], None]) -> Converted:
    """The arrays of a file under the canonical names of a network, and what was removed, left out or assumed.

    Raises BadInput if the file cannot be read or does not fit the network, Unavailable without the program that reads
    it.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    try:
        written = ending(path)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    about: dict[str, Any] = {"notes": []}
    if written == NPZ:
        names, arrays = PLAIN_NAMES, read_npz(path, "file")
    elif written == SAFETENSORS:
        names, arrays = PLAIN_NAMES, _read_safetensors(path, about["notes"])
    elif written in FORMATS:
        info, weight_format = FORMATS[written]
        names = weight_format.names
        arrays, about = _run_reader(path, info, weight_format.reader, pythons, progress)
    else:
        raise BadInput(f"{path}: unknown file type; allowed are {', '.join([*FORMATS, SAFETENSORS, NPZ])}")
    if short := [name for name, array in arrays.items() if array.dtype == np.float16]:
        arrays |= {name: arrays[name].astype(np.float32) for name in short}
        about["notes"].append(f"converted to float32: {len(short)} arrays of float16")
    try:
        found: Converted = importlib.import_module(f"frameworks.weight_files.{names}").converted(network, arrays, about)
    except WeightFileError as error:
        raise BadInput(f"{path}: {error}") from None
    try:
        check_arrays(network, found.weights, str(path))
    except BadInput as error:
        raise BadInput(f"{error}; the names and shapes in the file must be those of the spec's layers") from None
    return replace(found, notes=(*about["notes"], *found.notes, *not_finite(found.weights, path.name)))


def not_finite(weights: Weights, origin: str) -> list[str]:
    """A line that names the arrays with NaN or infinity, if there are any."""
    names = [name for name, array in weights.items() if not np.isfinite(array).all()]
    return [f"{origin}: values that are not finite (NaN, infinity) in {first_names(names)}"] if names else []


def _run_reader(
    path: Path, info: FrameworkInfo, script: str, pythons: Mapping[str, str], progress: Callable[[str], None]
) -> tuple[Weights, dict[str, Any]]:
    """The arrays of a file under its own names, read in the environment of the framework, and what else it says."""
    python = environment(FrameworkRequest(info.name), pythons, device="cpu", progress=progress).python
    with TemporaryFolder("import") as scratch:
        text = f"{path}: {info.title} cannot read its weights"
        written = [scratch / "arrays.npz", scratch / "about.json"]
        run_script(python, SCRIPTS / script, [str(path.absolute()), str(scratch)], written, text)
        about = json.loads((scratch / "about.json").read_text(encoding="utf-8"))
        return read_npz(scratch / "arrays.npz", "file"), about


def _read_safetensors(path: Path, notes: list[str]) -> Weights:
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError:
        raise Unavailable(f"{path}: needs safetensors: pip install -e '.[imports]'") from None
    try:
        found = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path}: cannot be read as safetensors: {error}") from None
    if short := sum(each["dtype"] == "BF16" for each in found.values()):
        notes.append(f"converted to float32: {short} arrays of bfloat16")
    return {name: _safetensor(path, name, each) for name, each in found.items()}


def _safetensor(path: Path, name: str, tensor: Mapping[str, Any]) -> Array:
    """An array of safetensors; bfloat16, which NumPy lacks, becomes float32 exactly."""
    if tensor["dtype"] not in SAFETENSORS_TYPES:
        raise BadInput(f"{path}: {name} has the type {tensor['dtype']}; allowed are {', '.join(SAFETENSORS_TYPES)}")
    array = np.frombuffer(tensor["data"], SAFETENSORS_TYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return (array.astype("<u4") << 16).view("<f4") if tensor["dtype"] == "BF16" else array
