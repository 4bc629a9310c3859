"""The identity of code: a digest of its syntax tree, independent of comments, docstrings, layout and Python version.

The output of `ast.dump` differs between Python versions: 3.12 adds `type_params` to functions and classes, 3.13 omits
empty lists. Here a node contributes its class and its non-empty fields, so an empty field of a later version changes
nothing. Adjacent strings of an f-string are joined, because Python 3.12 splits them differently.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

# `ctx` follows from the position of a name; the prefix u of a string (`kind`) and type comments have no effect.
_MEANINGLESS = {"ctx", "kind", "type_comment", "type_ignores"}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_sha256(source: str | bytes) -> str:
    """The digest of the syntax tree of a module. Raises SyntaxError."""
    parts: list[str] = []
    _collect(ast.parse(source), parts.append)
    return hashlib.sha256("".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """The identity of a file: of its syntax tree, or of its bytes if it is not Python that this interpreter parses.

    A digest is computed once for each version of the file. Raises OSError.
    """
    status = path.stat()
    return _file_sha256(path, status.st_mtime_ns, status.st_size)


@cache
def _file_sha256(path: Path, modified: int, size: int) -> str:
    content = path.read_bytes()
    if path.suffix == ".py":
        with contextlib.suppress(SyntaxError, ValueError):  # ValueError: a null byte
            return source_sha256(content)
    return hashlib.sha256(content).hexdigest()


def files_sha256(paths: Iterable[Path]) -> str:
    """The digest of several modules, in the order given. Raises OSError."""
    return hashlib.sha256("".join(map(file_sha256, paths)).encode()).hexdigest()


def _collect(value: object, add: Callable[[str], None]) -> None:
    """Add the tree as text, part by part; different trees give different texts."""
    if isinstance(value, ast.AST):
        add(f"({type(value).__name__}")
        for name in value._fields:
            field = getattr(value, name, None)
            if name == "body" and isinstance(value, _WITH_DOCSTRING):
                field = _without_docstring(value.body)
            if name == "values" and isinstance(value, ast.JoinedStr):
                field = _joined(value.values)
            if name not in _MEANINGLESS and field is not None and field != []:
                add(f" {name}=")
                _collect(field, add)
        add(")")
    elif isinstance(value, list):
        add("[")
        for item in value:
            _collect(item, add)
            add(",")
        add("]")
    else:  # a name or a constant
        add(f"{type(value).__name__}:{value!r}")


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body


def _joined(parts: list[ast.expr]) -> list[object]:
    """The parts of an f-string, with adjacent strings joined and empty strings removed."""
    joined: list[object] = []
    for part in parts:
        if not (isinstance(part, ast.Constant) and isinstance(part.value, str)):
            joined.append(part)
        elif joined and isinstance(joined[-1], str):
            joined[-1] += part.value
        elif part.value:
            joined.append(part.value)
    return joined
