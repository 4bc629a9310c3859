"""The table of imported networks: what counts as equal, what is named as wrong, which rows are not repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from research import imports

GOOD: dict[str, Any] = {
    "library": "keras.applications",
    "version": "3.0",
    "input": "3x32x32",
    "values": 12,
    "values_imported": 12,
    "compared_at": "3x32x32",
    "difference": 2e-15,
    "largest_logit": 4.0,
    "import_seconds": 2.0,
    "import_mib": 500.4,
    "framework_seconds": 1.5,
    "framework_mib": 300.2,
    "compare_seconds": 3.0,
    "compare_mib": 600.0,
    "problem": "",
    "commit": "0123456789ab",
}
NOTHING = {key: "" for key in GOOD if key not in ("library", "version", "commit")}


def table(*changes: dict[str, Any]) -> pd.DataFrame:
    lines = [GOOD | {"name": f"net{number}"} | change for number, change in enumerate(changes)]
    return pd.DataFrame(lines, columns=list(imports.COLUMNS)).astype(object)


def test_a_row_counts_what_is_equal() -> None:
    results = table(
        {},
        {"import_seconds": 5.0, "difference": 8e-14},
        {"values_imported": 11},
        {"difference": 1.0, "problem": "beyond rounding from fc"},
        NOTHING | {"problem": "no layer for Sin"},
    )
    assert dict(zip(imports.HEAD, imports.row("keras.applications", results))) == {
        "library": "keras.applications",
        "networks": "5",
        "imported": "4",
        "arrays equal": "3",
        "logits equal": "3",
        "largest difference": "0.2",
        "seconds, median": "2.0",
        "seconds, most": "5.0",
        "MiB, most": "500",
        "of these, the library": "1.5 s, 300 MiB",
    }


def test_what_is_wrong_is_named() -> None:
    text = imports.report(table({}, {"values_imported": 11}, NOTHING | {"problem": "no layer for Sin"}))
    assert "| keras.applications | net1 | 11 of 12 values |" in text
    assert "| keras.applications | net2 | no layer for Sin |" in text
    assert "what is wrong" not in imports.report(table({}))


@pytest.mark.parametrize(("problem", "code"), [("", 0), ("beyond rounding from fc", 1)])
def test_finished_networks_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str, code: int
) -> None:
    measured: list[str] = []

    def apart(function: Any, *arguments: Any) -> Any:
        if function is imports.import_of_library:
            return 1.5, 300.0
        assert function is imports.measured
        measured.append(arguments[1])
        return {key: value for key, value in (GOOD | {"problem": problem}).items() if key not in ("library", "version")}

    library = imports.LIBRARIES[0]
    monkeypatch.setattr(imports, "_apart", apart)
    monkeypatch.setattr(imports, "output", lambda *_: "1.0\n")
    monkeypatch.setattr(
        imports, "tasks", lambda _: iter((library, Path("python"), name, 64) for name in ("a", "ab", "b"))
    )
    options = [f"--results={tmp_path / 'imports.csv'}", f"--out={tmp_path / 'imports.md'}"]
    for more, names in ((["--only=a"], ["a", "ab"]), ([], ["a", "ab", "b"]), ([], ["a", "ab", "b"])):
        done = CliRunner().invoke(imports.main, [*options, *more], catch_exceptions=False)
        assert done.exit_code == code and measured == names
        assert f"| torchvision | {len(names)} | {len(names)} |" in (tmp_path / "imports.md").read_text()
