"""Reading JSON that anybody may have written, and writing it for people to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.runtime.errors import BadInput


def parsed(text: str, where: str) -> Any:
    """The value of a JSON text. Raises BadInput, which starts with `where`, for what is not JSON or nested too deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for a number of more than 4,300 digits
        raise BadInput(f"{where}: not JSON: {one_line(error)}") from None


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises BadInput."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {one_line(error)}") from None
    record = parsed(text, str(path))
    if not isinstance(record, dict):
        raise BadInput(f"{path}: not a record of onespec: a JSON object is expected")
    return record


def indented(value: Any) -> str:
    """The text of `json.dumps(value, indent=1)` with a line end, ten times as fast."""
    text = json.dumps(value)
    try:
        return msgspec.json.format(text, indent=1) + "\n"
    except msgspec.DecodeError:  # NaN is not JSON but what Python writes
        return json.dumps(value, indent=1) + "\n"


def one_line(error: Exception) -> str:
    """The message of an error without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
