"""The list of networks for `onespec networks`: rows, filters, and the table. No engine is imported."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from benchmarks.reporting.number_formats import count, short_count
from benchmarks.reporting.tables import fitted, markdown
from benchmarks.runtime.errors import BadInput
from frameworks.networks import NETWORKS
from frameworks.spec import Network, times
from frameworks.spec.layers import KINDS

HEAD = ("network", "family", "year", "input", "classes", "parameters", "MACs", "layers", "source")
OPTIONAL = ("source", "classes", "layers", "family", "input")  # left out in a narrow terminal, in this order

# The layers of networks up to the first residual networks, and what prepares images. The list names the others.
CLASSIC = frozenset(
    (
        *("Conv", "MaxPool", "AvgPool", "GlobalAvgPool", "Dense", "Flatten", "Dropout"),
        *("ReLU", "Sigmoid", "Tanh", "BatchNorm", "LocalResponseNorm", "Affine"),
        *("Concat", "Residual", "Auxiliary", "Select", "Scale", "Normalize", "Resize"),
    )
)


@dataclass(frozen=True)
class ListedNetwork:
    """A network in the list. module: the file in frameworks/networks, of which there is one for each family."""

    net: Network
    module: str

    @property
    def family(self) -> str:
        """The name of the file; networks for 32 x 32 images, in files of their own, are of the same family."""
        return self.module.removeprefix("cifar_")

    @property
    def year(self) -> int | None:
        """The year of the source: the first one in its text, which names the paper first."""
        found = re.search(r"\b(?:19|20)\d\d\b", self.net.source)
        return int(found[0]) if found else None

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Every kind of layer in the network."""
        return frozenset(node.layer.kind for _, node in self.net.walk())

    @property
    def modern(self) -> tuple[str, ...]:
        """The kinds of layers beyond the classic ones, in the order of the reference."""
        return tuple(kind for kind in KINDS if kind in self.kinds - CLASSIC)


@dataclass(frozen=True)
class Filters:
    """Which networks are listed. An empty filter lists all; the limits include their values.

    layers: kinds of layers, all of which a network has.
    """

    families: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    min_params: int | None = None
    max_params: int | None = None
    max_macs: int | None = None

    def accept(self, entry: ListedNetwork) -> bool:
        net = entry.net
        return (
            (not self.families or entry.family in self.families)
            and entry.kinds.issuperset(self.layers)
            and (self.min_params is None or net.params >= self.min_params)
            and (self.max_params is None or net.params <= self.max_params)
            and (self.max_macs is None or net.macs <= self.max_macs)
        )


def entries(filters: Filters) -> list[ListedNetwork]:
    """The networks that the filters accept, in the order of the catalog. Raises BadInput for unknown names."""
    _check("--family", filters.families, {entry.family for entry in _catalog()})
    _check("--layer", filters.layers, KINDS)
    return [entry for entry in _catalog() if filters.accept(entry)]


@cache
def _catalog() -> tuple[ListedNetwork, ...]:
    return tuple(ListedNetwork(build(), build.__module__.rpartition(".")[2]) for build in NETWORKS.values())


def report(listed: Sequence[ListedNetwork], form: str, width: int | None) -> str:
    """The list as a `table`, `markdown` or `json`. width: of the terminal; None: no limit."""
    if form == "json":
        return json.dumps([as_json(entry) for entry in listed], indent=1)
    if form == "markdown":
        return markdown(HEAD, [_row(entry) for entry in listed])
    if not listed:
        return "No network matches."
    return fitted(HEAD, [_row(entry) for entry in listed], width, optional=OPTIONAL)


def as_json(entry: ListedNetwork) -> dict[str, Any]:
    """A network as a JSON object."""
    net = entry.net
    return {
        "net": net.name,
        "family": entry.family,
        "year": entry.year,
        "input": net.input,
        "classes": net.classes,
        "params": net.params,
        "buffers": net.buffers,
        "macs": net.macs,
        "layers": list(entry.modern),
        "source": net.source,
    }


def _row(entry: ListedNetwork) -> tuple[str, ...]:
    net = entry.net
    return (
        *(net.name, entry.family, str(entry.year or ""), times(net.input), str(net.classes)),
        *(count(net.params), short_count(net.macs), " ".join(entry.modern), net.source),
    )


def _check(option: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            lowered = {other.lower(): other for other in known}
            near = difflib.get_close_matches(name.lower(), lowered, n=1)
            remedy = f"Did you mean {lowered[near[0]]}?" if near else f"Choose from {', '.join(sorted(known))}"
            raise BadInput(f"{option} {name}: no such name. {remedy}")
