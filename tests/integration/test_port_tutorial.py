"""The tutorial of `onespec port`: its files, commands and scripts give what the page prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.port import command
from tests.command_line import exit_code_of
from tests.conftest import Bench

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "port-a-model.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`(\w+\.py)`[^`]*?:\n\n```python\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = re.findall(r"```\nonespec port (.*?)\n```\n\n```text\n(.*?)\n```", PAGE, flags=re.DOTALL)
LOGITS = re.findall(r"Both print the same logits:\n\n```text\n(.*?)\n```", PAGE, flags=re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
ROUNDED = 0.011  # how much the last of two printed digits may differ


def agree(printed: str, expected: str) -> bool:
    """Whether two texts are equal, numbers up to their printed rounding, and line breaks of arrays aside."""
    words = [NUMBER.sub("#", text).split() for text in (printed, expected)]
    numbers = [[float(each) for each in NUMBER.findall(text)] for text in (printed, expected)]
    return words[0] == words[1] and bool(np.allclose(*numbers, rtol=0.02, atol=ROUNDED))


@pytest.fixture(scope="module")
def folder(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the files of the page, in which its first command has been run."""
    bench.python("torch")  # skips without PyTorch
    here, before = tmp_path_factory.mktemp("tutorial"), Path.cwd()
    for name, text in FILES.items():
        (here / name).write_text(text, encoding="utf-8")
    os.chdir(here)
    yield here
    os.chdir(before)


def port(arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = exit_code_of(command)(shlex.split(arguments))
    return code, capsys.readouterr().out


def output_of(python: Path, script: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [str(python), script.name], cwd=script.parent, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_what_this_test_runs() -> None:
    assert set(FILES) == {"model.py", "use_keras.py", "use_flax.py", "theirs.py", "convert.py", "train.py"}
    assert len(COMMANDS) == PAGE.count("\nonespec port ") == 6 and len(LOGITS) == 1


def test_the_tutorial(bench: Bench, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the page, because commands use the files of others."""
    written, hunt, repaired, weights, training, own_code = COMMANDS
    code, printed = port(written[0], capsys)
    assert code == 0 and agree(printed, written[1]), printed
    for framework, script in (("keras", "use_keras.py"), ("jax", "use_flax.py")):
        assert agree(output_of(bench.python(framework), folder / script), LOGITS[0])

    code, printed = port(hunt[0], capsys)
    assert code == 4 and agree(printed, hunt[1]), printed
    wrong = FILES["theirs.py"]
    assert "momentum=0.9" in wrong
    (folder / "theirs.py").write_text(wrong.replace("momentum=0.9", "momentum=0.1"), encoding="utf-8")
    code, printed = port(repaired[0], capsys)
    assert code == 0 and agree(printed, repaired[1]), printed

    output_of(bench.python("torch"), folder / "convert.py")
    code, printed = port(weights[0], capsys)
    assert code == 4 and agree(printed, weights[1]), printed
    code, printed = port(training[0], capsys)
    assert code == 4 and agree(printed, training[1]), printed
    code, printed = port(own_code[0], capsys)
    assert code == 4 and agree(printed, own_code[1]), printed
