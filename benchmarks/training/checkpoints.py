"""Checkpoints: trained weights in a file with which every framework can predict.

An `.npz` file holds the arrays under their canonical names and `about`: JSON with the number of the format, the whole
network, its hash, and the data set, framework and epochs of the training. Nothing is pickled or unpickled. A file that
is incomplete, of another format, or does not fit its network is refused.
"""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tokenize import TokenError
from types import NoneType
from typing import Any

import msgspec
import numpy as np

from benchmarks.datasets.image_options import ImageOptions
from benchmarks.records.atomic import replacing
from benchmarks.records.json_files import one_line
from benchmarks.runtime import machine
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import check_name
from frameworks.arrays import Weights
from frameworks.spec import Network, SpecError, from_json, to_json

FORMAT = 1
ABOUT = "about"
# What NumPy and the zip module raise for damaged files. NotImplementedError: a wrong compression method.
# RuntimeError: a wrong encryption bit, or deep nesting. MemoryError: more than the machine has.
UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, TokenError,
    NotImplementedError, RuntimeError, OverflowError, MemoryError,
)  # fmt: skip
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
LISTED = 3  # names of arrays in an error message


@dataclass(frozen=True)
class Checkpoint:
    """Weights with the network that they belong to."""

    network: Network  # with the layers that prepare the pixels in front
    weights: Weights  # by canonical name: trained arrays and running statistics
    about: dict[str, Any]  # framework, dataset, epochs, ... if known

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes that it was trained on; none if they are not known."""
        return tuple(self.about.get("class_names", ()))

    @property
    def images(self) -> ImageOptions | None:
        """How the user's own images were read for the training; None if it used a published data set."""
        return msgspec.convert(self.about["images"], ImageOptions) if self.about.get("images") else None


def save(path: Path, network: Network, weights: Weights, about: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically. Raises BadInput if the arrays do not fit the network."""
    check_arrays(network, weights, str(path))
    content = {"format": FORMAT, "spec_sha256": network.sha256, **about, "network": to_json(network)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{ABOUT: np.frombuffer(json.dumps(content).encode(), np.uint8)}, **weights)  # type: ignore[arg-type]


def load(path: Path, option: str = "--weights") -> Checkpoint:
    """Read a checkpoint. Raises BadInput if it is missing, damaged, of another format, or does not fit its network."""
    arrays = read_npz(path, option)
    if ABOUT not in arrays:
        raise BadInput(
            f"{option} {path}: not a checkpoint of onespec, it has no {ABOUT!r}; `onespec import-weights` converts "
            "weights of other programs"
        )
    try:
        about = json.loads(arrays.pop(ABOUT).tobytes())
        version = about.pop("format")
    except (*UNREADABLE, AttributeError, TypeError) as error:
        raise BadInput(f"{option} {path}: {ABOUT!r} cannot be read ({one_line(error)}); save it again") from None
    if version != FORMAT:
        raise BadInput(f"{option} {path}: format {version}, this version reads {FORMAT}; save it with this version")
    try:
        network = from_json(about.pop("network"))
        if not isinstance(network, Network):
            raise TypeError(f"{type(network).__name__} is not a network")
    except (SpecError, KeyError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise BadInput(
            f"{option} {path}: its network cannot be built ({one_line(error)}); save it with this version"
        ) from None
    check_name(network, f"{option} {path}")
    dataset, permutation = about.get("dataset"), about.get("permutation")
    if not isinstance(dataset, (str, NoneType)) or not (permutation is None or _is_seed(permutation)):
        raise BadInput(f"{option} {path}: its data set or permutation cannot be read; save it with this version")
    try:
        msgspec.convert(about.get("class_names", []), list[str])
        msgspec.convert(about.get("images"), ImageOptions | None)
    except ValueError as error:  # msgspec's errors and BadInput are
        raise BadInput(f"{option} {path}: its classes or images cannot be read ({one_line(error)})") from None
    if network.sha256 != about.get("spec_sha256"):
        raise BadInput(f"{option} {path}: its network does not match its hash; save it with this version")
    check_arrays(network, arrays, f"{option} {path}")
    return Checkpoint(network, arrays, about)


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def read_npz(path: Path, option: str) -> Weights:
    """All arrays of an `.npz` file; the checksums of the zip format are verified. Raises BadInput."""
    if not path.is_file():
        raise BadInput(f"{option} {path}: no such file")
    if not zipfile.is_zipfile(path):
        raise BadInput(f"{option} {path}: incomplete, or not an .npz file; save it again")
    try:
        if (size := _declared_bytes(path)) > (available := machine.available_memory()):
            raise BadInput(f"{option} {path}: {size / 2**30:.1f} GiB of arrays, {available / 2**30:.1f} GiB available")
        with np.load(path, allow_pickle=False) as file:
            return {name: array for name, array in file.items() if isinstance(array, np.ndarray)}
    except BadInput:
        raise
    except UNREADABLE as error:
        raise BadInput(f"{option} {path}: damaged ({one_line(error)}); save it again") from None


def _declared_bytes(path: Path) -> int:
    """Bytes of all arrays in an `.npz` file.

    Raises ValueError if an array holds pickled objects, or if its header promises more than the file holds.
    NumPy allocates what a header promises before it reads the array.
    """
    total = 0
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                shape, _, dtype = HEADERS[version](member)
                if dtype.hasobject:
                    raise ValueError(f"{info.filename} holds pickled Python objects, which are never loaded")
                size = prod(shape) * dtype.itemsize
                if member.tell() + size != info.file_size:
                    raise ValueError(f"the header of {info.filename} does not fit its {info.file_size} bytes")
            total += size
    return total


def check_arrays(network: Network, weights: Weights, source: str) -> None:
    """Raise BadInput, which names `source`, unless the arrays have the names and shapes of the network's."""
    expected = {parameter.name: parameter.shape for parameter in network.parameters}
    if expected.keys() != weights.keys():
        missing = _listed("missing", sorted(expected.keys() - weights.keys()))
        unexpected = _listed("unexpected", sorted(weights.keys() - expected.keys()))
        raise BadInput(f"{source}: not the arrays of {network.name}: {'; '.join(filter(None, (missing, unexpected)))}")
    for name, shape in expected.items():
        array = weights[name]
        if array.shape != shape or array.dtype.kind != "f":
            raise BadInput(f"{source}: {name} is {array.dtype} {array.shape}; {network.name} needs floats {shape}")


def _listed(adjective: str, names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{adjective} {', '.join(names[:LISTED])}{more}" if names else ""
