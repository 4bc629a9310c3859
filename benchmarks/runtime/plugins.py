"""Frameworks from outside: adapters in a user's own file, and those that installed distributions bring.

    --adapter my_adapter.py:MyFramework            known as `myframework`, the class in lower case
    [project.entry-points."onespec.frameworks"]    in a distribution's pyproject.toml, known by the entry point's name
    mine = "my_package.adapter:MyFramework"

Nothing of theirs is imported here, where their framework may be missing: a file is read as text, a distribution by its
metadata. What only importing them can tell, the worker tells. No worker gets PYTHONPATH, so what is found through it
does not count.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.runtime.errors import BadInput
from frameworks.registry import FRAMEWORKS, FrameworkInfo

GROUP = "onespec.frameworks"
ANY_PYTHON = ">=3.10"  # their own requirements are theirs to know


def register(files: Iterable[str] = ()) -> None:
    """Make known, in `FRAMEWORKS`, the adapters of installed distributions and those in `files` (`file.py:Class`).

    Every command does so before it reads `--fw`, which may then name them, and whose `all` holds them. The same adapter
    may come again. Raises BadInput.
    """
    for origin, info in [*_installed(), *((f"--adapter {text}", from_file(text)) for text in files)]:
        known = FRAMEWORKS.setdefault(info.name, info)
        if known != info:
            raise BadInput(f"{origin}: {known.name} is the name of {known.module}:{known.adapter} already; rename it")


def from_file(text: str) -> FrameworkInfo:
    """The adapter in `file.py:Class`, as far as its text tells. Raises BadInput."""
    option = f"--adapter {text}"
    name, _, wanted = text.rpartition(":")
    if not name.endswith(".py") or not wanted:
        raise BadInput(f"{option}: write FILE.py:CLASS")
    path = Path(name).expanduser().absolute()
    try:
        body = ast.parse(path.read_bytes()).body
    except OSError as error:
        raise BadInput(f"{option}: {name} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:  # ValueError: bytes that are no text
        raise BadInput(f"{option}: {name} is no Python: {' '.join(str(error).split())}") from None
    classes = {each.name: each for each in body if isinstance(each, ast.ClassDef)}
    if wanted not in classes:
        raise BadInput(f"{option}: {name} has no class {wanted}; there are {', '.join(classes) or 'none'}")
    if not classes[wanted].bases:
        raise BadInput(f"{option}: {wanted} is no adapter; derive it from frameworks.adapter.Adapter")
    return FrameworkInfo(wanted.lower(), wanted, str(path), wanted, package="", python=ANY_PYTHON, outside=True)


def _installed() -> Iterable[tuple[str, FrameworkInfo]]:
    """What the entry points of the running interpreter's distributions say, and which of them says it."""
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions(path=worker_path()):
        package = distribution.metadata["Name"]
        if package in seen:  # on two folders of the path, the first is the one that is imported
            continue
        seen.add(package)
        for point in distribution.entry_points.select(group=GROUP):
            origin = f"entry point {GROUP}, {point.name} of {package}"
            module, _, adapter = point.value.partition(":")
            if not (module and adapter.isidentifier()):
                raise BadInput(f"{origin}: it is {point.value!r}; expected module:Class")
            yield (
                origin,
                FrameworkInfo(point.name, point.name, module, adapter, package, python=ANY_PYTHON, outside=True),
            )


def worker_path() -> list[str]:
    """Where a worker of the running interpreter finds what is installed: sys.path without PYTHONPATH."""
    outside = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    return [folder for folder in sys.path if os.path.abspath(folder) not in outside]
