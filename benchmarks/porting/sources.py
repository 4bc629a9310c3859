"""Reads a network from wherever it is: the catalog, a spec file, or another program, with weights of a file.

`onespec port` takes one such network or two.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.porting import network_import, weight_import
from benchmarks.porting.network_import import KERAS, TORCH, Comparison, Imported
from benchmarks.porting.port_files import weights_of
from benchmarks.reporting.number_formats import count, counted
from benchmarks.runtime import user_files
from benchmarks.runtime.errors import BadInput, ShapeMissing
from benchmarks.runtime.networks import network
from frameworks.arrays import Weights
from frameworks.networks import NETWORKS
from frameworks.spec import Network, Shape

SOFTMAX = "the final softmax is cut off"  # how the note of an importer begins, in lower case
UNSCALED = "the network takes what the original takes; --pixels puts its preprocessing of pixels in front"
SPEC = "spec"
# What a Python file gives, by the first of these packages that it imports.
PROGRAMS = {"frameworks": SPEC, "torch": TORCH, "keras": KERAS, "tensorflow": KERAS}


@dataclass(frozen=True)
class Source:
    """Where a network comes from.

    classes: of a spec. pixels: a key of `PIXELS`, for a network of another program. program: as
    `program_of` gives it; None: what the text says.
    """

    text: str
    weights: Path | None = None
    input: Shape | None = None
    classes: int | None = None
    pixels: str | None = None
    program: str | None = None


@dataclass(frozen=True)
class Side:
    """A network that was read. notes: how it was read.

    weights: those of a file, None if the network has none but what its program draws. imported: a network of another
    program. original: how far that and its spec are apart. checked: how far the model in a file of weights and the spec
    with these weights are apart. Each is None where there is none.
    """

    text: str
    network: Network
    weights: Weights | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    original: Comparison | None = None
    imported: Imported | None = field(default=None, repr=False)
    checked: Comparison | None = None

    @property
    def probabilities(self) -> bool:
        """Whether the original ends in softmax."""
        return any(note.lower().startswith(SOFTMAX) for note in self.notes)

    @property
    def untrained(self) -> tuple[str, ...]:
        """The notes that say what the original trains otherwise than the network, which is what is compared."""
        return self.imported.untrained if self.imported else ()

    @property
    def arrays(self) -> Weights | None:
        """The weights to write: those of a file, else those that the original's program has drawn."""
        return self.weights if self.weights is not None or self.imported is None else self.imported.weights

    @property
    def comparisons(self) -> list[Comparison]:
        return [each for each in (self.original, self.checked) if each]

    @property
    def summary(self) -> str:
        """The network in one line."""
        layers = sum(not node.branches for _, node in self.network.walk())
        size = f"{counted(layers, 'layer')}, {count(self.network.params)} parameters"
        return f"{self.text}: {size}" + (f"; it and its spec: {self.original.text}" if self.original else "")


def read(source: Source, pythons: Mapping[str, str], progress: Callable[[str], None]) -> Side:
    """The network of a source. A network of another program is run there, too, and compared with its spec.

    Raises BadInput, and Unavailable without the program.
    """
    program = source.program or program_of(source.text)
    if program == SPEC:
        return _of_spec(source, pythons, progress)
    if program == TORCH and source.input is None:
        raise ShapeMissing(f"{source.text}: a module of PyTorch does not say the size of its images")
    pixels = source.pixels or "raw"
    found = network_import.imported(source.text, source.input, pythons, progress, pixels=pixels, source=program)
    weights, notes = found.weights if network_import.is_network_file(source.text) else None, found.notes
    if source.weights is not None:
        given = weight_import.imported(source.weights, found.network, pythons, progress)
        weights, notes = given.weights, (*notes, *given.notes)
    return Side(source.text, found.network, weights, notes, network_import.compared(found), found)


def agreeing(side: Side) -> Side:
    """The side, for a command that goes on with it. Raises BadInput where the original and its spec differ."""
    if different := [each for each in side.comparisons if not each.agrees]:
        raise BadInput(f"{side.text}: its spec computes something else: {different[0].text}")
    return side


def _of_spec(source: Source, pythons: Mapping[str, str], progress: Callable[[str], None]) -> Side:
    spec = network(source.text, classes=source.classes, input=source.input)
    if source.weights is None:
        return Side(source.text, spec)
    spec, weights, notes, checked = weights_of(source.weights, spec, pythons, progress)
    return Side(source.text, spec, weights, notes, checked=checked)


def program_of(text: str) -> str:
    """What a text stands for: SPEC, or the program of the network. A Python file is parsed, not executed.

    Raises BadInput for a file that is missing, is not Python, or imports none of `PROGRAMS`.
    """
    if text in NETWORKS:
        return SPEC
    if not user_files.is_file(text):
        # A name that the catalog lacks is refused as such.
        return next((program for ending, program in network_import.ENDINGS.items() if text.endswith(ending)), SPEC)
    file, _ = user_files.split(text)
    if not Path(file).is_file():
        raise BadInput(f"{text}: no file {file}")
    imported: set[str] = set()
    for statement in ast.walk(user_files.parse(text, file)):
        if isinstance(statement, ast.ImportFrom):
            imported.add((statement.module or "").partition(".")[0])
        elif isinstance(statement, ast.Import):
            imported |= {each.name.partition(".")[0] for each in statement.names}
    for package, program in PROGRAMS.items():
        if package in imported:
            return program
    raise BadInput(
        f"{text}: {file} imports none of {', '.join(PROGRAMS)}; --from NAME says which program's model it gives"
    )
