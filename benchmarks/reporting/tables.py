"""Tables of text for terminals and Markdown: columns of numbers are aligned to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.table import Table

Row: TypeAlias = tuple[str, ...]


def table(head: Row, body: Sequence[Row]) -> str:
    """A table in plain text; each column is as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(head, *body)]
    numeric = numeric_columns(body)
    lines = []
    for row in (head, tuple("-" * width for width in widths), *body):
        cells = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numeric)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(head: Row, body: Sequence[Row]) -> str:
    """A table in Markdown. Indentation is kept: pairs of spaces become non-breaking spaces."""
    rule = tuple("---:" if is_number else "---" for is_number in numeric_columns(body))
    escaped = [tuple(cell.replace("  ", "\u00a0\u00a0").replace("|", "\\|") for cell in row) for row in body]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *escaped))


def terminal(head: Row, body: Sequence[Row], wrapped: str) -> Table:
    """A table for a terminal, printed by Rich; the column named `wrapped` takes several lines where it has to."""
    from rich.markup import escape
    from rich.table import Table

    rich_table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name, is_number in zip(head, numeric_columns(body)):
        rich_table.add_column(name, justify="right" if is_number else "left", no_wrap=name != wrapped)
    for row in body:
        rich_table.add_row(*map(escape, row))
    return rich_table


def numeric_columns(body: Sequence[Row]) -> list[bool]:
    """For each column, whether every cell that is not empty starts with a digit, or with a bracket and a digit."""
    return [all(cell.lstrip("(")[:1].isdecimal() for cell in column if cell) for column in zip(*body)]
