"""Templates of pages and diagrams. Autoescape is on: text from outside stays text."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r(?=\n)")  # colors and line ends, from a worker's last output
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")  # not allowed in XML or UTF-8


def render(name: str, /, **values: Any) -> str:
    """A template of this package with these values. Text is escaped; raises UndefinedError for a missing value."""
    return _environment().get_template(name).render(**values)


def stylesheet() -> Markup:
    """The stylesheet of pages, as trusted text."""
    source, _, _ = PackageLoader("benchmarks.reporting").get_source(_environment(), "style.css")
    return Markup(source)  # a file of this package


def printable(value: Any) -> Any:
    """Text without terminal codes; characters that neither XML nor UTF-8 allows become replacement characters."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return UNPRINTABLE.sub("\ufffd", TERMINAL_CODES.sub("", value))
    return value


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("benchmarks.reporting"),
        autoescape=True,
        finalize=printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
