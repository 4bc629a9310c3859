"""Trained weights as a file that every framework can predict with, and others' files made into one.

    python -m benchmarks.run --net lenet --fw torch --save
    python -m benchmarks.checkpoint vgg16.pth --net vgg16 --pixels imagenet --out vgg16.npz

An `.npz` holds the arrays under their canonical names and `about`: JSON with the format's number, the whole network,
its hash, and what it was trained on. Nothing is pickled or unpickled, and a file that is not whole, of another format,
or not of the network that it names is refused.

Others' files: a state_dict by torchvision's names (.pth, .pt, read as weights alone in PyTorch's own environment;
.safetensors, .npz), and Keras's .weights.h5 (read in Keras's environment), of networks that match.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import frameworks
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import BadInput
from frameworks.arrays import Weights
from frameworks.errors import Unavailable, WeightFileError
from frameworks.registry import FRAMEWORKS
from frameworks.spec import (
    Layer,
    Network,
    Normalize,
    Scale,
    Select,
    SpecError,
    from_json,
    to_json,
)

FORMAT = 1
ABOUT = "about"
# What NumPy and the zip module raise for files that are not whole; the last two for another method of compression, and
# for a bit that says encrypted.
UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
)  # fmt: skip
SHOWN = 3  # names of arrays that an error message holds


@dataclass(frozen=True)
class Checkpoint:
    network: Network  # what is done to the pixels is in front
    weights: Weights  # by canonical name, trained and running
    about: dict[str, Any]  # framework, dataset, epochs, ..., as far as known


def save(path: Path, network: Network, weights: Weights, about: Mapping[str, Any]) -> None:
    """Write a checkpoint, never seen half-written. BadInput where the arrays are not the network's."""
    _check(network, weights, str(path))
    told = {"format": FORMAT, "spec_sha256": network.sha256, **about, "network": to_json(network)}
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        np.savez(file, **{ABOUT: np.frombuffer(json.dumps(told).encode(), np.uint8)}, **weights)  # type: ignore[arg-type]
    aside.replace(path)


def load(path: Path, option: str = "--weights") -> Checkpoint:
    """Read a checkpoint. BadInput: there is none, it is broken, of another format, or not of the network it names."""
    arrays = _arrays(path, option)
    if ABOUT not in arrays:
        raise BadInput(
            f"{option} {path}: no checkpoint of ours, it has no {ABOUT!r}; `onespec import-weights` imports "
            "those of others"
        )
    try:
        about = json.loads(arrays.pop(ABOUT).tobytes())
        found = about.pop("format")
    except (*UNREADABLE, AttributeError, TypeError) as error:
        raise BadInput(f"{option} {path}: what it says of itself cannot be read ({error}); save it again") from None
    if found != FORMAT:
        raise BadInput(f"{option} {path}: of format {found}, this version reads {FORMAT}; save it again with this one")
    try:
        network = from_json(about.pop("network"))
        if not isinstance(network, Network):
            raise TypeError(f"a {type(network).__name__}, not a network")
    except (SpecError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(f"{option} {path}: its network cannot be built ({error}); save it with this version") from None
    if network.sha256 != about.get("spec_sha256"):
        raise BadInput(f"{option} {path}: its network is another than its hash says: written by another version")
    _check(network, arrays, f"{option} {path}")
    return Checkpoint(network, arrays, about)


def _arrays(path: Path, option: str) -> Weights:
    """All arrays of an `.npz`; the zip's own checksums are verified on the way."""
    if not path.is_file():
        raise BadInput(f"{option} {path}: no such file")
    if not zipfile.is_zipfile(path):
        raise BadInput(f"{option} {path}: cut off, or no .npz; save it again")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: array for name, array in file.items() if isinstance(array, np.ndarray)}
    except UNREADABLE as error:
        raise BadInput(f"{option} {path}: broken ({error}); save it again") from None


def _check(network: Network, weights: Weights, where: str) -> None:
    """The arrays are the network's: names, shapes, numbers."""
    expected = {parameter.name: parameter.shape for parameter in network.parameters}
    if expected.keys() != weights.keys():
        missing, others = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
        raise BadInput(f"{where}: not the arrays of {network.name}: {_told('lacks', missing)}{_told('has', others)}")
    for name, shape in expected.items():
        array = weights[name]
        if array.shape != shape or array.dtype.kind != "f":
            raise BadInput(f"{where}: {name} is {array.dtype} {array.shape}, {network.name} has floats {shape}")


def _told(verb: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"; it {verb} {', '.join(names[:SHOWN])}{more}" if names else ""


# --- the files of others ----------------------------------------------------------------------------------------------

# What a network expects of the pixels, 0 to 255, and whose network that is.
PIXELS: dict[str, tuple[Layer, ...]] = {
    "raw": (),
    "unit": (Scale("pixels", factor=1 / 255),),
    # torchvision's classification presets; its GoogLeNet and Inception v3 undo that in favour of 0.5 and 0.5.
    "imagenet": (
        Scale("pixels", factor=1 / 255),
        Normalize("normalize", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ),
    "half": (Scale("pixels", factor=1 / 255), Normalize("normalize", mean=(0.5,), std=(0.5,))),
    # keras.applications' mode "caffe", of VGG and ResNet: blue first, the mean of ImageNet taken off.
    "caffe": (Select("bgr", (2, 1, 0)), Normalize("normalize", mean=(103.939, 116.779, 123.68))),
}

_FORMATS = {ending: (info, each) for info in FRAMEWORKS.values() for ending, each in info.weight_files.items()}

SCRIPTS = Path(frameworks.__file__).parent / "weight_files"


def read(path: Path, network: Network, pythons: Mapping[str, str], progress: Callable[[str], None]) -> Weights:
    """The arrays of somebody else's file under the network's canonical names.

    BadInput where the file cannot be read or is not of this network, Unavailable where its reader cannot be had.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    arrays = _foreign(path, pythons, progress)
    names = _FORMATS[path.suffix][1].names if path.suffix in _FORMATS else "state_dict_names"
    try:
        weights = importlib.import_module(f"frameworks.weight_files.{names}").canonical(network, arrays)
    except WeightFileError as error:
        raise BadInput(f"{path}: {error}") from None
    _check(network, weights, str(path))
    return weights


def _foreign(path: Path, pythons: Mapping[str, str], progress: Callable[[str], None]) -> Weights:
    """The file's arrays under its own names."""
    if path.suffix == ".npz":
        return _arrays(path, "file")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix not in _FORMATS:
        raise BadInput(f"{path}: of no kind that is read: {', '.join([*_FORMATS, '.safetensors', '.npz'])}")
    info, weight_format = _FORMATS[path.suffix]
    python = environment(FrameworkRequest(info.name), pythons, device="cpu", progress=progress).python
    with tempfile.TemporaryDirectory(prefix="onespec-") as scratch:
        made = Path(scratch) / "arrays.npz"
        command = [str(python), "-I", str(SCRIPTS / weight_format.reader), str(path.absolute()), str(made)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise BadInput(f"{path}: {info.title} cannot read it as weights alone: {said}")
        return _arrays(made, "file")


def _safetensors(path: Path) -> Weights:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise Unavailable(f"{path}: pip install safetensors, which reads it") from None
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, TypeError) as error:
        raise BadInput(f"{path}: cannot be read as safetensors: {error}") from None
