"""Tables of text for terminals and Markdown: columns of numbers are aligned to the right."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TypeAlias

Row: TypeAlias = tuple[str, ...]

LEAST_WRAPPED = 12  # characters of a column that takes several lines
IDENTIFYING = ("network", "framework", "seed", "workload")  # columns whose cells name a row


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
    """A table in Markdown. Indentation is preserved: pairs of spaces become non-breaking spaces."""
    rule = tuple("---:" if is_number else "---" for is_number in numeric_columns(body))
    escaped = [tuple(cell.replace("  ", "\u00a0\u00a0").replace("|", "\\|") for cell in row) for row in body]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *escaped))


def fitted(
    head: Row, body: Sequence[Row], width: int | None, optional: Sequence[str] = (), below: str | None = None
) -> str:
    """A table in plain text that fits a terminal, followed by what the table leaves out.

    width: of the terminal; None: no limit. optional: columns that are left out, in this order, until the table fits.
    below: a column of long texts, such as reasons, which become lines below the table.
    """
    lines = [line for row in body if (line := _line_below(head, row, below))]
    shown = [name for name in head if name != below]
    left_out = []
    for name in (name for name in optional if name in shown):
        if width is None or _width(head, body, shown) <= width:
            break
        shown.remove(name)
        left_out.append(name)
    parts = [_narrowed(tuple(shown), [_only(head, row, shown) for row in body], width)]
    if lines:
        parts.append("\n".join(lines))
    if left_out:
        parts.append(f"Too wide for this terminal: {', '.join(left_out)}. A pipe gets every column.")
    return "\n\n".join(wrapped(part, width) if number else part for number, part in enumerate(parts))


def wrapped(text: str, width: int | None) -> str:
    """Paragraphs with a line break before each word that would pass the width; None: no limit."""
    if width is None:
        return text
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


def _line_below(head: Row, row: Row, below: str | None) -> str:
    """`lenet, torch: out of memory`: the cells that identify a row, and its long text; empty if there is none."""
    cells = dict(zip(head, row))
    text = cells.get(below or "", "")
    return f"{', '.join(cells[name] for name in IDENTIFYING if cells.get(name))}: {text}" if text else ""


def _narrowed(head: Row, body: Sequence[Row], width: int | None) -> str:
    """A table whose widest column takes several lines where the table would pass the width; None: no limit."""
    if width is None:
        return table(head, body)
    widths = [max(map(len, column)) for column in zip(head, *body)]
    widest = max(range(len(head)), key=lambda index: (index > 0) * widths[index])
    limit = widths[widest] - (_width(head, body, head) - width)
    if limit >= widths[widest] or limit < LEAST_WRAPPED:
        return table(head, body)
    lines: list[Row] = []
    for row in body:
        pieces = textwrap.wrap(row[widest], limit) or [""]
        lines.append((*row[:widest], pieces[0], *row[widest + 1 :]))
        lines += [tuple(piece if index == widest else "" for index in range(len(head))) for piece in pieces[1:]]
    return table(head, lines)


def _width(head: Row, body: Sequence[Row], shown: Sequence[str]) -> int:
    lines = table(tuple(shown), [_only(head, row, shown) for row in body]).splitlines()
    return max(map(len, lines))


def _only(head: Row, row: Row, shown: Sequence[str]) -> Row:
    return tuple(cell for name, cell in zip(head, row) if name in shown)


def numeric_columns(body: Sequence[Row]) -> list[bool]:
    """For each column, whether every cell that is not empty starts with a digit, or with a bracket and a digit."""
    return [all(cell.lstrip("(")[:1].isdecimal() for cell in column if cell) for column in zip(*body)]
