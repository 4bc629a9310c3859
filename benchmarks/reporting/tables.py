"""Tables in plain text and in Markdown: a head and rows of words, numbers to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Row: TypeAlias = tuple[str, ...]


def table(head: Row, body: Sequence[Row]) -> str:
    """Columns under each other, as wide as their widest word."""
    widths = [max(map(len, column)) for column in zip(head, *body)]
    right = _numbers(body)
    lines = [
        "  ".join(word.rjust(width) if number else word.ljust(width) for word, width, number in zip(row, widths, right))
        for row in (head, tuple("-" * width for width in widths), *body)
    ]
    return "\n".join(line.rstrip() for line in lines)


def markdown(head: Row, body: Sequence[Row]) -> str:
    """The same for Markdown; blanks that a browser would drop are made ones that it keeps."""
    rule = tuple("---:" if number else "---" for number in _numbers(body))
    kept = (tuple(word.replace("  ", "\u00a0\u00a0").replace("|", "\\|") for word in row) for row in body)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *kept))


def per_second(value: float | None) -> str:
    """The format of a speed: whole examples, below ten with a decimal."""
    return ".1f" if value is not None and value < 9.95 else ",.0f"


def _numbers(body: Sequence[Row]) -> list[bool]:
    """The columns in which every word starts with a digit, or a bracket before one."""
    return [all(word.lstrip("(")[:1].isdecimal() for word in column if word) for column in zip(*body)]
