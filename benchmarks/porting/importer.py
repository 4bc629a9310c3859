"""Networks of other programs as values of `--net`: `model.py:Net@3x32x32`, `model.onnx`, `model.keras`.

A network is read as `onespec port` reads it: it runs in its own program, and its values and those of its spec are
compared. Only the spec is used then. Its weights are not, because a training draws its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.porting.sources import SPEC, Source, agreeing, program_of, read
from benchmarks.runtime.errors import BadInput
from frameworks.spec import Network, Shape

# A network with the shape of its images: channels, height, width.
_SHAPED = re.compile(r"(?P<text>.+)@(?P<shape>\d{1,6}x\d{1,6}x\d{1,6})", re.DOTALL)


@dataclass
class NetworkImporter:
    """The importer of commands and of the Python interface (`benchmarks.runtime.importers`).

    pythons: the interpreters that were named with --python. progress: called with one line for each network, and with
    what was stripped, ignored or assumed.
    """

    pythons: Mapping[str, str]
    progress: Callable[[str], None]

    def has(self, text: str) -> bool:
        """Whether a text names a network of another program.

        A file that is missing or is not Python is left to those who read network files, and so is one that imports no
        framework.
        """
        try:
            return program_of(_split(text)[0]) != SPEC
        except BadInput:
            return False

    def network(self, text: str, shape: Shape | None) -> Network:
        """The network. shape: of an image; where the text has one, too, both are the same. Raises BadInput."""
        name, own = _split(text)
        if own and shape and own != shape:
            raise BadInput(f"--net {text}: --input {','.join(map(str, shape))} is another shape; leave one of them out")
        side = agreeing(read(Source(name, input=own or shape), self.pythons, self.progress))
        for line in (side.summary, *side.notes):
            self.progress(line)
        return side.network


def _split(text: str) -> tuple[str, Shape | None]:
    """A network of another program, and the shape of an image that its text has."""
    if parts := _SHAPED.fullmatch(text):
        return parts["text"], tuple(map(int, parts["shape"].split("x")))
    return text, None
