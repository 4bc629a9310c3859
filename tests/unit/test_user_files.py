"""A user's network file may do anything; the command reports it in one line, with the user's line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.runtime import user_files
from benchmarks.runtime.errors import BadInput
from benchmarks.summary import command
from tests.command_line import exit_code_of

main = exit_code_of(command)
TINY = """
from frameworks.spec import Dense, Flatten, Network

def net():
    {action}
    return Network("tiny", (1, 8, 8), [Flatten(), Dense("d", 3)])
"""
AT_IMPORT = "{action}\n"


@pytest.mark.parametrize("form", [TINY, AT_IMPORT], ids=["when called", "when imported"])
@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero ({file}, line {line})"),
        ("raise SystemExit(3)", "SystemExit: 3 ({file}, line {line})"),
        ("import sys; sys.exit('enough')", "SystemExit: enough ({file}, line {line})"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module' ({file}, line {line})"),
        ("[0] * 10**18", "MemoryError ({file}, line {line})"),
        ("import os; os._exit(0)", "the process that imports it ends with exit code 0"),
        ("import os; os._exit(7)", "the process that imports it ends with exit code 7"),
        ("import os; os.abort()", "the process that imports it is ended by SIGABRT"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines ({file}, line {line})"),
        ("(", "SyntaxError: "),
    ],
)
def test_a_file_that_misbehaves_is_one_line(
    form: str, action: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.py"
    file.write_text(form.format(action=action))
    line = 5 if form == TINY else 1
    assert main(["--net", f"{file}:net"]) == ExitCode.BAD_INPUT
    output, error = capsys.readouterr()
    assert not output and error.count("\n") == 1
    assert error.startswith(f"--net {file}:net: ") and words.format(file=file, line=line) in error


def test_what_a_file_prints_does_not_mix_with_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.py"
    file.write_text(TINY.format(action="print('hello')"))
    assert main(["--net", f"{file}:net", "--json"]) == 0
    output, error = capsys.readouterr()
    assert json.loads(output) and error == "hello\n"


def test_a_file_that_never_ends_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^--net n.py:net: not ready within 0.1 s"):
        user_files.rehearse("--net n.py:net", lambda: time.sleep(60), seconds=0.1)
