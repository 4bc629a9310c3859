"""Reads one side of a comparison: a network of the catalogue, a spec file, or a network from another program."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.porting import network_import
from benchmarks.porting.port_files import weights_of
from benchmarks.porting.weight_import import import_weights
from benchmarks.reporting.number_formats import count, counted
from benchmarks.runtime import user_files
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import network
from frameworks.arrays import Weights
from frameworks.networks import NETWORKS
from frameworks.spec import Network, Shape

SOFTMAX = "the final softmax is cut off"  # the note of an importer


@dataclass(frozen=True)
class Source:
    """Where a side comes from. pixels: a key of `PIXELS`, for a network of another program."""

    text: str
    weights: Path | None = None
    input: Shape | None = None
    classes: int | None = None
    pixels: str | None = None


@dataclass(frozen=True)
class Side:
    """A network to compare. weights: those of a file. notes: how it was read. probabilities: it ends in softmax.

    imported: a network of another program. original: how far that and its spec are apart. Both are None for a spec.
    """

    text: str
    network: Network
    weights: Weights | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    original: network_import.Comparison | None = None
    imported: network_import.Imported | None = field(default=None, repr=False)

    @property
    def probabilities(self) -> bool:
        return any(note.startswith(SOFTMAX) for note in self.notes)

    @property
    def summary(self) -> str:
        """The network in one line."""
        layers = sum(not node.branches for _, node in self.network.walk())
        size = f"{counted(layers, 'layer')}, {count(self.network.params)} parameters"
        return f"{self.text}: {size}" + (f"; it and its spec: {self.original.text}" if self.original else "")


def read(source: Source, pythons: Mapping[str, str], progress: Callable[[str], None]) -> Side:
    """The network of a side. A network of another program is run there, too, and compared with its spec.

    Raises BadInput, and Unavailable without the program.
    """
    if is_spec(source.text):
        spec = network(source.text, classes=source.classes, input=source.input)
        weights = None
        if source.weights is not None:
            spec, weights, *_ = weights_of(source.weights, spec, pythons, progress)
        return Side(source.text, spec, weights)
    if source.input is None and user_files.is_file(source.text):
        raise BadInput(f"{source.text}: no spec, for it imports nothing of onespec; give --input C,H,W for a module")
    found = network_import.imported(
        source.text,
        source.input,  # type: ignore[arg-type]
        pythons,
        progress,
        pixels=source.pixels or "raw",
    )
    weights = None
    if source.weights is not None:
        weights = import_weights(source.weights, found.network, pythons, progress)
    return Side(source.text, found.network, weights, found.notes, network_import.compared(found), found)


def is_spec(text: str) -> bool:
    """Whether a network is one of the catalogue or of a file that imports the spec; the file is not executed."""
    if text in NETWORKS:
        return True
    if not user_files.is_file(text.partition("(")[0]):
        return not Path(text).exists() and "(" not in text  # a name that the catalogue lacks is refused as such
    file, _ = user_files.split(text.partition("(")[0])
    if not Path(file).is_file():
        raise BadInput(f"{text}: no file {file}")
    for statement in ast.walk(user_files.parse(text, file)):
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] == "frameworks":
            return True
        if isinstance(statement, ast.Import) and any(each.name.startswith("frameworks") for each in statement.names):
            return True
    return False
