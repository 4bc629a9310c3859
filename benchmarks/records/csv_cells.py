"""Text in tables and CSV files: UTF-8 can encode it, and a spreadsheet does not take it for a formula.

A text that begins with =, +, -, @, a tab or a carriage return gets an apostrophe in front, and so does one that begins
with apostrophes before such a character, so that `original` restores every text. Numbers stay.
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, TypeVar

import pandas as pd
from pandas.api.types import is_numeric_dtype

from benchmarks.runtime.valid_text import valid

T = TypeVar("T")

_FIRST = {"'", "=", "+", "-", "@", "\t", "\r"}
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def neutral(value: T) -> T | str:
    """A cell for a CSV file."""
    if not isinstance(value, str) or value[:1] not in _FIRST:
        return value
    return f"'{value}" if _FORMULA.match(value) and not _is_number(value) else value


def original(value: T) -> T | str:
    """The inverse of `neutral`."""
    if isinstance(value, str) and value.startswith("'") and _FORMULA.match(value):
        return value[1:]
    return value


def valid_frame(rows: Iterable[Mapping[str, object]], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table of rows, all their text valid. columns: those of the table in order; None: those of the rows."""
    cells = [
        {name: cell if isinstance(cell, (float, NoneType)) else valid(cell) for name, cell in row.items()}
        for row in rows
    ]
    return pd.DataFrame(cells, columns=None if columns is None else list(columns))


def csv_text(table: pd.DataFrame, **options: Any) -> str:
    """A table as CSV with neutral cells; options: of `DataFrame.to_csv`."""
    safe = table.copy()
    for position, dtype in enumerate(table.dtypes):
        if not is_numeric_dtype(dtype):
            cells = [neutral(value) for value in table.iloc[:, position]]
            # As objects: whole numbers beside None would become floats.
            safe.isetitem(position, pd.Series(cells, index=table.index, dtype=object))
    return str(safe.to_csv(**options))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
