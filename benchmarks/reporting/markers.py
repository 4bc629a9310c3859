"""Generated parts of pages: what stands between `<!-- NAME: ... -->` and `<!-- end of NAME -->`."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.runtime.errors import BadInput


def put(path: Path, name: str, text: str, option: str = "--readme") -> None:
    """Put a text between the marks of a page. BadInput where it has not exactly one such place."""
    before, after = around(path, name, option)
    path.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")


def around(path: Path, name: str, option: str = "--readme") -> tuple[str, str]:
    """What a page has up to the one mark, and from the other on. BadInput where it has not exactly one such place."""
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{option} {path}: {error.strerror}") from None
    parts = re.split(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", page, flags=re.DOTALL)
    if len(parts) != 4:
        raise BadInput(
            f"{option} {path}: the two comments between which the {name} go are in it {len(parts) // 3} times, not once"
        )
    return parts[0] + parts[1], parts[2] + parts[3]
