"""A network as JSON and back: the form in which it travels to a worker and from which its digest is taken."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from frameworks.spec.base import SpecError
from frameworks.spec.layers import KINDS

T = TypeVar("T", bound=type)

_CLASSES: dict[str, type[Any]] = dict(KINDS)


def serializable(kind: T) -> T:
    """Class decorator: JSON may name this dataclass, too."""
    _CLASSES[kind.__name__] = kind
    return kind


def to_json(thing: Any) -> Any:
    """A network or layer as lists and dictionaries, `kind` naming the class; defaults are left out."""
    if is_dataclass(thing):
        values = {item.name: (getattr(thing, item.name), item.default) for item in fields(thing)}
        changed = {name: to_json(value) for name, (value, default) in values.items() if value != default}
        return {"kind": type(thing).__name__, **changed}
    if isinstance(thing, (tuple, list)):
        return [to_json(item) for item in thing]
    return thing


def from_json(thing: Any) -> Any:
    """The inverse of `to_json`; SpecError for an unknown kind."""
    if isinstance(thing, dict):
        values = {name: from_json(value) for name, value in thing.items() if name != "kind"}
        if thing.get("kind") not in _CLASSES:
            raise SpecError(f"no layer kind {thing.get('kind')!r}; there are {', '.join(sorted(_CLASSES))}")
        return _CLASSES[thing["kind"]](**values)
    if isinstance(thing, list):
        return tuple(from_json(item) for item in thing)
    return thing
