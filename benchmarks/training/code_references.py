"""The code that a run names: files of networks and adapters, and interpreters.

The folder of a run is data, and anybody may have written it. Code that its run.json names is therefore used only if
this user has run it before, or names it on the command line. A run stores the digest of each of its references in the
user's cache, so `--resume` goes on with it. docs/security.md describes what is trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.records.atomic import write_text
from benchmarks.runtime import user_files
from benchmarks.runtime.environments import cache_folder
from benchmarks.runtime.errors import BadInput


class CodeReference(NamedTuple):
    """Code that an option names."""

    option: str  # --net, --adapter or --python
    value: str  # as it was written

    @property
    def resolved(self) -> str:
        """The reference with an absolute path, so that the same words in another working directory differ."""
        if self.option == "--python":
            framework, _, program = self.value.partition("=")
            if os.sep in program:  # otherwise it is looked up on PATH
                program = str(user_files.expanded(program).absolute())
            return f"--python {framework}={program}"
        file, name = user_files.split(self.value)
        return f"{self.option} {user_files.expanded(file).absolute()}:{name}"

    def __str__(self) -> str:
        return f"{self.option} {shlex.quote(self.value)}"


def references(nets: Sequence[str], adapters: Sequence[str], pythons: Mapping[str, str]) -> list[CodeReference]:
    """The code that these values of `--net`, `--adapter` and `--python` name."""
    return [
        *(CodeReference("--net", text) for text in nets if user_files.is_file(text)),
        *(CodeReference("--adapter", text) for text in adapters),
        *(CodeReference("--python", f"{name}={program}") for name, program in pythons.items()),
    ]


def register(used: Sequence[CodeReference]) -> None:
    """Remember that this user runs this code, so that a later `--resume` may run it."""
    for reference in used:
        # Without a cache the run is the same; `--resume` then asks for the options again.
        with contextlib.suppress(OSError):
            path = _path(reference)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, f"{reference.resolved}\n")


def unknown(recorded: Sequence[CodeReference], given: Sequence[CodeReference]) -> list[CodeReference]:
    """The recorded references that are neither given on the command line nor registered."""
    named = {reference.resolved for reference in given}
    return [each for each in recorded if each.resolved not in named and not _path(each).is_file()]


def check_known(source: str, recorded: Sequence[CodeReference], given: Sequence[CodeReference]) -> None:
    """Raise BadInput, which starts with `source`, if a record names code that this user has neither run nor given."""
    if foreign := unknown(recorded, given):
        raise BadInput(
            f"{source} names code that you have not run before; if you trust it, repeat {' '.join(map(str, foreign))}"
        )


def check_repeated(option: str, given: Sequence[str], recorded: Sequence[str], source: str) -> None:
    """Raise BadInput unless an option is missing or has the values that `source` has."""
    if given and [_absolute(text) for text in given] != [_absolute(text) for text in recorded]:
        raise BadInput(f"{option} {','.join(given)}: {source} has {','.join(recorded) or 'none'}; leave the option out")


def _absolute(text: str) -> str:
    return CodeReference("--net", text).resolved if user_files.is_file(text) else text


def _path(reference: CodeReference) -> Path:
    digest = hashlib.sha256(reference.resolved.encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / "code" / digest
