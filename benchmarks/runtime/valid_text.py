"""Text that UTF-8 can encode.

The name of a file that is not UTF-8 has a lone surrogate for each wrong byte (PEP 383), and JSON can hold any. Files,
JSON encoders and the strings of Arrow, which pandas 3 uses, refuse them.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def valid(value: T) -> T | str:
    """A text with lone surrogates written as `\\udcff`; other values stay."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
