"""The identity of code by its meaning: comments, docstrings, layout and the Python that reads it do not count.

The digest is taken from the syntax tree. `ast.dump` is not used: its output changes from one Python to the next (3.12
adds `type_params` to functions and classes, 3.13 leaves out empty lists). Here a node is its class and the fields that
hold something, so a field that a later Python adds changes nothing while it is empty. The parts of an f-string are
joined where Python 3.12 splits them otherwise.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

# Where a name stands (`ctx`) follows from its place; a string's prefix u (`kind`) and comments on types mean nothing.
_MEANINGLESS = {"ctx", "kind", "type_comment", "type_ignores"}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_sha256(source: str | bytes) -> str:
    """The digest of what a module's source means. Raises SyntaxError."""
    digest = hashlib.sha256()
    for part in _parts(ast.parse(source)):
        digest.update(part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def files_sha256(paths: Iterable[Path]) -> str:
    """The digest of several modules, in the order given. Raises OSError and SyntaxError."""
    return hashlib.sha256("".join(source_sha256(path.read_bytes()) for path in paths).encode()).hexdigest()


def _parts(value: object) -> Iterator[str]:
    """A tree as text, in which no two different trees are alike."""
    if isinstance(value, ast.AST):
        yield f"({type(value).__name__}"
        for name, field in ast.iter_fields(value):
            if name == "body" and isinstance(value, _WITH_DOCSTRING):
                field = _without_docstring(field)
            if isinstance(value, ast.JoinedStr):
                field = _joined(field)
            if name not in _MEANINGLESS and field is not None and field != []:
                yield f" {name}="
                yield from _parts(field)
        yield ")"
    elif isinstance(value, list):
        yield "["
        for item in value:
            yield from _parts(item)
            yield ","
        yield "]"
    else:  # a name or a constant
        yield f"{type(value).__name__}:{value!r}"


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body


def _joined(parts: list[ast.expr]) -> list[object]:
    """The parts of an f-string with neighbouring text in one, as a plain string, and no empty text."""
    joined: list[object] = []
    for part in parts:
        if not (isinstance(part, ast.Constant) and isinstance(part.value, str)):
            joined.append(part)
        elif joined and isinstance(joined[-1], str):
            joined[-1] += part.value
        elif part.value:
            joined.append(part.value)
    return joined
