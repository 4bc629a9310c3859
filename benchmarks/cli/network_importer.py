"""How commands and the Python interface read networks of other programs. It costs nothing until one is named.

`benchmarks.runtime` and the packages above it import no reader of other programs' files, so what they need is set here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.porting.importer import NetworkImporter
    from frameworks.spec import Network, Shape


class LazyImporter:
    """Imports the readers when a text is not a plain name.

    pythons: interpreters by framework, as of --python. quiet: whether what was read is not printed.
    """

    def __init__(self, pythons: Mapping[str, str] | None = None, quiet: bool = False) -> None:
        self.pythons = pythons or {}
        self.quiet = quiet

    @cached_property
    def _importer(self) -> NetworkImporter:
        from benchmarks.cli.progress import ProgressDisplay
        from benchmarks.porting.importer import NetworkImporter

        return NetworkImporter(self.pythons, ProgressDisplay(self.quiet).message)

    def has(self, text: str) -> bool:
        """See `benchmarks.runtime.importers.Importer`."""
        return "." in text and self._importer.has(text)

    def network(self, text: str, shape: Shape | None) -> Network:
        """See `benchmarks.runtime.importers.Importer`."""
        return self._importer.network(text, shape)
