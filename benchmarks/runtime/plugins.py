"""Frameworks from outside: adapters in a user's file, and adapters of installed distributions.

    --adapter my_adapter.py:MyFramework            registered as `myframework`, the class in lower case
    [project.entry-points."onespec.frameworks"]    in a distribution's pyproject.toml; the entry point's name is used
    mine = "my_package.adapter:MyFramework"

Nothing is imported here, because the harness may lack the framework: files are parsed, and distributions are read by
their metadata. The worker imports the adapter and reports what is wrong with it. Workers do not inherit PYTHONPATH, so
a distribution that is only on PYTHONPATH is ignored.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import sys
from collections.abc import Iterable, Iterator

from benchmarks.runtime import user_files
from benchmarks.runtime.errors import BadInput
from frameworks.registry import FRAMEWORKS, FrameworkInfo

GROUP = "onespec.frameworks"
ANY_PYTHON = ">=3.10"  # an outside adapter states its own requirements


def register(files: Iterable[str] = ()) -> None:
    """Add the adapters of installed distributions, and those in `files` (`file.py:Class`), to `FRAMEWORKS`.

    Every command calls this before it parses `--fw`, which may then name them and whose `all` contains them. The same
    adapter may be registered again. Raises BadInput.
    """
    for origin, info in [*_installed(), *((f"--adapter {text}", from_file(text)) for text in files)]:
        known = FRAMEWORKS.setdefault(info.name, info)
        if known != info:
            raise BadInput(f"{origin}: the name {known.name} belongs to {known.module}:{known.adapter}; rename it")


def from_file(text: str) -> FrameworkInfo:
    """The adapter in `file.py:Class`, as far as its syntax tree shows it. Raises BadInput."""
    option = f"--adapter {text}"
    file, name = user_files.split(text)
    if not file.endswith(".py") or not name:
        raise BadInput(f"{option}: write FILE.py:CLASS")
    tree = user_files.parse(option, file)
    classes = {each.name: each for each in tree.body if isinstance(each, ast.ClassDef)}
    if name not in classes:
        raise BadInput(f"{option}: {file} has no class {name}; its classes: {', '.join(classes) or 'none'}")
    if not classes[name].bases:
        raise BadInput(f"{option}: {name} is not an adapter; derive it from frameworks.adapter.Adapter")
    path = user_files.expanded(file).absolute()
    return FrameworkInfo(name.lower(), name, str(path), name, package="", python=ANY_PYTHON, outside=True)


def _installed() -> Iterator[tuple[str, FrameworkInfo]]:
    """The entry points of the running interpreter's distributions, each with its origin for messages."""
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions(path=worker_path()):
        package = distribution.metadata["Name"]
        if package in seen:  # a distribution in two folders of the path: the first one is imported
            continue
        seen.add(package)
        for point in distribution.entry_points.select(group=GROUP):
            origin = f"entry point {GROUP}, {point.name} of {package}"
            module, _, adapter = point.value.partition(":")
            if not (module and adapter.isidentifier()):
                raise BadInput(f"{origin}: {point.value!r} is not module:Class")
            info = FrameworkInfo(point.name, point.name, module, adapter, package, python=ANY_PYTHON, outside=True)
            yield origin, info


def worker_path() -> list[str]:
    """`sys.path` of a worker of the running interpreter: without PYTHONPATH."""
    outside = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    return [folder for folder in sys.path if os.path.abspath(folder) not in outside]
