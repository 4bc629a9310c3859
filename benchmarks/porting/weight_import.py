"""Imports weight files of other programs under the canonical names of a network.

A framework's own format is read by a script of `frameworks/weight_files` in the environment of the framework, and a
module beside the script converts names and axes (`FrameworkInfo.weight_files`). `.npz` and `.safetensors` files
need no framework; their arrays have the names of a PyTorch state dict.
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import frameworks
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.training.checkpoints import check_arrays, read_npz
from frameworks.arrays import Weights
from frameworks.errors import Unavailable, WeightFileError
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from frameworks.spec import Layer, Network, Normalize, Scale, Select

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


def import_weights(
    path: Path, network: Network, pythons: Mapping[str, str], progress: Callable[[str], None]
) -> Weights:
    """The arrays of a file under the canonical names of a network.

    Raises BadInput if the file cannot be read or does not fit the network, Unavailable without the program that reads
    it.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    if path.suffix == ".npz":
        names, arrays = PLAIN_NAMES, read_npz(path, "file")
    elif path.suffix == ".safetensors":
        names, arrays = PLAIN_NAMES, _read_safetensors(path)
    elif path.suffix in FORMATS:
        info, weight_format = FORMATS[path.suffix]
        names, arrays = weight_format.names, _run_reader(path, info, weight_format.reader, pythons, progress)
    else:
        raise BadInput(f"{path}: unknown file type; allowed are {', '.join([*FORMATS, '.safetensors', '.npz'])}")
    try:
        weights: Weights = importlib.import_module(f"frameworks.weight_files.{names}").canonical(network, arrays)
    except WeightFileError as error:
        raise BadInput(f"{path}: {error}") from None
    try:
        check_arrays(network, weights, str(path))
    except BadInput as error:
        raise BadInput(f"{error}; the names and shapes in the file must be those of the spec's layers") from None
    return weights


def _run_reader(
    path: Path, info: FrameworkInfo, script: str, pythons: Mapping[str, str], progress: Callable[[str], None]
) -> Weights:
    """The arrays of a file under its own names, read in the environment of the framework."""
    python = environment(FrameworkRequest(info.name), pythons, device="cpu", progress=progress).python
    with TemporaryFolder("import") as scratch:
        target = scratch / "arrays.npz"
        command = [str(python), "-I", str(SCRIPTS / script), str(path.absolute()), str(target)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise BadInput(f"{path}: {info.title} cannot read its weights: {reason}")
        return read_npz(target, "file")


def _read_safetensors(path: Path) -> Weights:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise Unavailable(f"{path}: needs safetensors: pip install safetensors, or onespec[imports]") from None
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, TypeError) as error:
        raise BadInput(f"{path}: cannot be read as safetensors: {error}") from None
