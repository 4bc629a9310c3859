"""The identity of code: comments and docstrings do not change it; numbers, operators and names do."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest

import frameworks
from benchmarks.certification.code_identity import files_sha256, source_sha256
from benchmarks.certification.covered_code import code_parts

SOURCE = '''"""A module."""

import numpy as np  # for arrays

RATE = 0.5


class Layer:
    """A layer."""

    def forward(self, x: float, *, scale: float = 1.0) -> float:
        """Scale a value."""
        # The order of the two factors decides rounding.
        y = x * scale + RATE
        return -y if x > 0 else y


async def wait(texts: list[str]) -> str:
    """Join texts."""
    return f"{len(texts):>3} {texts[0]!r:{len(texts)}}" f"{{" + "".join(text for text in texts if text)
'''

SAME = {
    "docstring of a module": ('"""A module."""', '"""Something else."""'),
    "no docstring": ('    """A layer."""\n', ""),
    "docstring of a function": ("Scale a value.", "Multiplies."),
    "comment": ("# The order of the two factors decides rounding.", "# Why not?"),
    "comment at the end of a line": ("  # for arrays", ""),
    "blank line": ("\n        return -y", "\n\n        return -y"),
    "brackets that change nothing": ("x * scale + RATE", "(x * scale) + RATE"),
    "quotes": ('"".join', "''.join"),
    "line breaks": ("y = x * scale + RATE", "y = (\n            x * scale\n            + RATE\n        )"),
}
OTHER = {
    "number": ("0.5", "0.25"),
    "brace in an f-string": ('"{{"', '"}}"'),
    "kind of number": ("1.0", "1"),
    "operator": ("x * scale + RATE", "x * scale - RATE"),
    "comparison": ("x > 0", "x >= 0"),
    "brackets": ("x * scale + RATE", "x * (scale + RATE)"),
    "sign": ("-y", "y"),
    "name": ("numpy as np", "numpy as xp"),
    "default": ("scale: float = 1.0", "scale: float"),
    "keyword alone": ("*, ", ""),
    "text that is used": ('"".join', '" ".join'),
    "format": (":>3", ":>4"),
    "conversion": ("!r", ""),
    "another statement": ("    y = x", "    x = x + 1\n        y = x"),
}


@pytest.mark.parametrize("change", SAME)
def test_words_and_layout_keep_the_identity(change: str) -> None:
    old, new = SAME[change]
    assert old in SOURCE
    assert source_sha256(SOURCE.replace(old, new)) == source_sha256(SOURCE)


@pytest.mark.parametrize("change", OTHER)
def test_meaning_changes_the_identity(change: str) -> None:
    old, new = OTHER[change]
    assert old in SOURCE
    assert source_sha256(SOURCE.replace(old, new)) != source_sha256(SOURCE)


def test_the_identity_is_the_same_on_every_python() -> None:
    """Pinned: CI on any Python from 3.10 on must compute this digest."""
    assert source_sha256(SOURCE) == "c069b9bd850ac24b0508e886a81806fd282c361aecd862d83f476fb538d842d6"


def test_a_field_that_a_later_python_adds_counts_only_when_it_holds_something(monkeypatch: pytest.MonkeyPatch) -> None:
    before = source_sha256(SOURCE)
    fields = ast.FunctionDef._fields
    for extra, same in (([], True), (None, True), ([ast.Name("T")], False)):
        monkeypatch.setattr(ast.FunctionDef, "_fields", (*dict.fromkeys((*fields, "type_params_to_come")),))
        monkeypatch.setattr(ast.FunctionDef, "type_params_to_come", extra, raising=False)
        assert (source_sha256(SOURCE) == before) is same


@pytest.mark.parametrize("path", sorted(Path(frameworks.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_every_number_in_the_code_counts(path: Path) -> None:
    """Ten numbers, drawn with a fixed seed, are changed by 1 in the tree; comments are added everywhere."""
    source = path.read_text(encoding="utf-8")
    before = source_sha256(source)
    assert source_sha256(ast.unparse(ast.parse(source))) == before, "unparsed, so without comments or layout"
    stream = random.Random(0)
    count = sum(map(_is_number, ast.walk(ast.parse(source))))
    for place in stream.sample(range(count), min(10, count)):
        tree = ast.parse(source)
        node = [node for node in ast.walk(tree) if _is_number(node)][place]
        assert isinstance(node, ast.Constant)
        node.value += 1
        assert source_sha256(ast.unparse(tree)) != before


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def test_a_comment_in_a_user_adapter_keeps_its_identity(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    digests = []
    for text in ("RATE = 1\n", "# Words.\nRATE = 1\n", "RATE = 2\n"):
        path.write_text(text)
        digests.append(code_parts(str(path))["adapter"])
    assert digests[0] == digests[1] != digests[2]


def test_the_order_of_files_counts(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("A = 1\n")
    two.write_text("B = 1\n")
    assert files_sha256([one, two]) != files_sha256([two, one])


def test_the_identity_follows_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the current folder counts while it is the current one, also if the adapter was seen elsewhere."""
    (tmp_path / "adapters").mkdir()
    adapter = tmp_path / "adapters" / "mine.py"
    adapter.write_text("import helper\n")
    digests = []
    for folder, helper in (("empty", ""), ("one", "x = 1\n"), ("other", "x = 2\n"), ("empty", "")):
        (tmp_path / folder).mkdir(exist_ok=True)
        if helper:
            (tmp_path / folder / "helper.py").write_text(helper)
        monkeypatch.chdir(tmp_path / folder)
        digests.append(code_parts(str(adapter))["adapter"])
    assert len(set(digests[:3])) == 3 and digests[3] == digests[0]
