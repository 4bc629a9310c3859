"""The user's own Python files: `my_net.py:tiny` for a network, `my_adapter.py:MyFramework` for an adapter."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from benchmarks.runtime.errors import BadInput
from frameworks.spec import SpecError


def is_file(text: str) -> bool:
    """Whether an option's value is a Python file, with or without a name in it."""
    return text.endswith(".py") or text.rpartition(":")[0].endswith(".py")


def split(text: str) -> tuple[str, str]:
    """`my_net.py:tiny` as (`my_net.py`, `tiny`); the second part is empty if it is missing."""
    if text.endswith(".py"):
        return text, ""
    file, _, name = text.rpartition(":")
    return file, name


def parse(option: str, file: str) -> ast.Module:
    """The syntax tree of a file, which is not executed. Raises BadInput, whose message starts with `option`."""
    try:
        return ast.parse(Path(file).expanduser().read_bytes())
    except OSError as error:
        raise BadInput(f"{option}: {file} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:  # ValueError: bytes that are not text
        raise BadInput(f"{option}: {file} is not Python: {one_line(error)}") from None


def load(option: str, file: str) -> ModuleType:
    """Import a file as a module, under a name that no other module has.

    Raises SpecError as the file does, and BadInput, whose message starts with `option`, for every other exception.
    """
    path = Path(file)
    if not path.is_file():
        raise BadInput(f"{option}: no file {file}")
    spec = importlib.util.spec_from_file_location(f"onespec_user_{path.stem}", path)
    assert spec and spec.loader, "a file whose name ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass in the file looks its module up there
    try:
        spec.loader.exec_module(module)
    except SpecError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise BadInput(f"{option}: it does not import: {type(error).__name__}: {one_line(error)}") from None
    return module


def one_line(error: Exception) -> str:
    """An exception's message without line breaks."""
    return " ".join(str(error).split())
