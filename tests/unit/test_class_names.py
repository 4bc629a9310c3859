"""One name, one thing: no two classes of the package share a name, except layers, which are named after the spec's."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
ADAPTERS = {"pytorch", "mxnet_gluon", "keras3", "flax_nnx"}


def test_no_two_classes_share_a_name() -> None:
    names: Counter[str] = Counter()
    for folder in ("benchmarks", "frameworks"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.parent.name not in ADAPTERS:
                tree = ast.parse(path.read_text(encoding="utf-8"))
                names.update(node.name for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []
