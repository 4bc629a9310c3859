"""Generated parts of pages: what stands between `<!-- NAME: ... -->` and `<!-- end of NAME -->`."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.errors import BadInput


def put(path: Path, name: str, text: str, option: str = "--readme") -> None:
    """Put a text between the marks of a page. BadInput where it has not exactly one such place."""
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{option} {path}: {error.strerror}") from None
    marks = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    made, count = marks.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if count != 1:
        raise BadInput(
            f"{option} {path}: the two comments between which the {name} go are in it {count} times, not once"
        )
    path.write_text(made, encoding="utf-8")
