"""Text in CSV files: a spreadsheet must not take it for a formula.

A text that begins with =, +, -, @, a tab or a carriage return gets an apostrophe in front, and so does one that begins
with apostrophes before such a character, so that `original` restores every text. Numbers stay.
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import pandas as pd
from pandas.api.types import is_numeric_dtype

T = TypeVar("T")

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def neutral(value: T) -> T | str:
    """A cell for a CSV file."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) and not _is_number(value) else value


def original(value: T) -> T | str:
    """The inverse of `neutral`."""
    if isinstance(value, str) and value.startswith("'") and _FORMULA.match(value):
        return value[1:]
    return value


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
