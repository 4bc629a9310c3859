"""The identity of code: a digest of its syntax tree, independent of comments, docstrings, layout and Python version.

The output of `ast.dump` differs between Python versions: 3.12 adds `type_params` to functions and classes, 3.13 omits
empty lists. Here a node contributes its class and its non-empty fields, so an empty field of a later version changes
nothing. Adjacent strings of an f-string are joined, because Python 3.12 splits them differently.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

# `ctx` follows from the position of a name; the prefix u of a string (`kind`) and type comments have no effect.
_MEANINGLESS = {"ctx", "kind", "type_comment", "type_ignores"}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_sha256(source: str | bytes) -> str:
    """The digest of the syntax tree of a module. Raises SyntaxError."""
    digest = hashlib.sha256()
    for part in _parts(ast.parse(source)):
        digest.update(part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def files_sha256(paths: Iterable[Path]) -> str:
    """The digest of several modules, in the order given. Raises OSError and SyntaxError."""
    return hashlib.sha256("".join(source_sha256(path.read_bytes()) for path in paths).encode()).hexdigest()


def _parts(value: object) -> Iterator[str]:
    """The tree as text; different trees give different texts."""
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
