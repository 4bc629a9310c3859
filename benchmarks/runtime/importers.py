"""Where `benchmarks.runtime.networks` finds what reads networks of other programs: set from above, nothing imported."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from frameworks.spec import Network, Shape


class Importer(Hashable, Protocol):
    """Reads the networks of other programs."""

    def has(self, text: str) -> bool:
        """Whether a text names a network of another program."""

    def network(self, text: str, shape: Shape | None) -> Network:
        """The network, whose values were compared with the original's. shape: of an image.

        Raises BadInput, ShapeMissing where neither the text nor its file says the shape, and Unavailable without the
        program that reads it.
        """


_importers: list[Importer] = []  # one, or none before `use_importer`


def use_importer(importer: Importer) -> None:
    """Read networks of other programs in this way from now on."""
    _importers[:] = [importer]


def importer_of(text: str) -> Importer | None:
    """The importer, for a text that it takes."""
    return next((each for each in _importers if each.has(text)), None)
