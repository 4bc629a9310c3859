"""What a text on the command line of `port` stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.porting.network_import import ENDINGS, KERAS, TORCH
from benchmarks.porting.sources import SPEC, program_of
from benchmarks.runtime.errors import BadInput


@pytest.mark.parametrize(
    ("text", "program"),
    [("lenet", SPEC), ("no_such_name", SPEC), *((f"net{ending}", each) for ending, each in ENDINGS.items())],
)
def test_a_name_and_a_file_of_another_program(text: str, program: str) -> None:
    assert program_of(text) == program


@pytest.mark.parametrize(
    ("source", "program"),
    [
        ("from frameworks.spec import Network", SPEC),
        ("import frameworks.spec as s", SPEC),
        ("import torch", TORCH),
        ("from torch import nn", TORCH),
        ("import torch.nn as nn", TORCH),
        ("import keras", KERAS),
        ("from keras import layers", KERAS),
        ("import tensorflow as tf", KERAS),
        ("import numpy\nimport torch\nfrom frameworks.spec import Network", SPEC),  # a spec may use anything else
        ("def f():\n    import keras", KERAS),
        ("import torchvision_like, os\nimport torch", TORCH),
    ],
)
@pytest.mark.parametrize("call", ["", "(classes=10)"])
def test_a_python_file_is_what_it_imports(tmp_path: Path, source: str, program: str, call: str) -> None:
    (tmp_path / "net.py").write_text(f"{source}\nraise SystemExit('executed')\n")
    assert program_of(f"{tmp_path}/net.py:Net{call}") == program


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import numpy", "imports none of frameworks, torch, keras, tensorflow; --from NAME says"),
        ("", "imports none of"),
        ("import torch as", "is not Python"),
        (None, "no file"),
    ],
)
def test_a_python_file_that_says_nothing_is_refused(tmp_path: Path, source: str | None, message: str) -> None:
    if source is not None:
        (tmp_path / "net.py").write_text(source)
    with pytest.raises(BadInput, match=message):
        program_of(f"{tmp_path}/net.py:Net")
