"""Generated parts of documents: the text between `<!-- NAME: ... -->` and `<!-- end of NAME -->`."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.runtime.errors import BadInput


def put(path: Path, name: str, text: str, option: str = "--readme") -> None:
    """Replace the text between the markers of a name. Raises BadInput unless there is exactly one such block."""
    before, after = around(path, name, option)
    path.write_text(f"{before}\n{text}\n{after}", encoding="utf-8", errors="backslashreplace")


def around(path: Path, name: str, option: str = "--readme") -> tuple[str, str]:
    """A document up to the first marker of a name, and from the second on. Raises BadInput as `put` does."""
    try:
        document = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{option} {path}: {error.strerror}") from None
    parts = re.split(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", document, flags=re.DOTALL)
    if len(parts) != 4:
        raise BadInput(f"{option} {path}: expected exactly one <!-- {name} --> block, found {len(parts) // 3}")
    return parts[0] + parts[1], parts[2] + parts[3]
