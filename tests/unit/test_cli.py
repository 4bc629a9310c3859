"""The command line: one group, shared options, configured defaults, one-line errors and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from benchmarks.cli import command as command_module
from benchmarks.cli import options
from benchmarks.cli.command import RENAMED, Command
from benchmarks.cli.commands import COMMANDS
from benchmarks.cli.exit_codes import MEANINGS, ExitCode
from benchmarks.cli.group import onespec
from benchmarks.report import command as report
from benchmarks.runtime import errors
from benchmarks.runtime.errors import BadInput, DataError
from frameworks.errors import OnespecError
from frameworks.spec import SpecError
from tests.command_line import exit_code_of

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


def loaded(name: str) -> Command:
    command = onespec.get_command(click.Context(onespec), name)
    assert isinstance(command, Command)
    return command


@options.command("run")
@options.nets
@options.seeds
@options.batch_size
@options.threads
@options.pythons
@options.quiet
def probe(**given: Any) -> None:
    """Print the parsed options."""
    click.echo(json.dumps(given))


def parsed(*arguments: str) -> dict[str, Any]:
    """The options of `probe`, which reads the configuration of `run`."""
    result = CliRunner().invoke(probe, arguments)
    assert result.exit_code == 0, result.stderr
    return dict(json.loads(result.stdout))


# --- the group --------------------------------------------------------------------------------------------------------


def test_help_says_first_what_to_do_first_and_lists_every_command() -> None:
    text = CliRunner().invoke(onespec, ["--help"], prog_name="onespec").stdout
    assert CliRunner().invoke(onespec, [], prog_name="onespec").stdout == text
    assert text.index("onespec run --net lenet --fw all --quick") < text.index("Options:")
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", text, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_fits_80_columns(name: str) -> None:
    result = CliRunner().invoke(onespec, [name, "--help"], prog_name="onespec")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert f"Usage: onespec {name} " in result.stdout and "Examples:" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_quiet(name: str) -> None:
    command = loaded(name)
    spellings = {spelling for parameter in command.params for spelling in parameter.opts}
    assert command.name == name and {"--json", "--quiet", "-q"} <= spellings
    assert not spellings & RENAMED.keys()


def test_the_console_script_is_the_group() -> None:
    assert 'onespec = "benchmarks.cli.group:onespec"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["summary", "--net", "lenet"], ["run", "--help"]])
def test_nothing_slow_is_imported(arguments: list[str]) -> None:
    program = f"""
import sys
from benchmarks.cli.group import onespec
onespec({arguments!r}, standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in done.stderr.split()}
    assert not modules & {"numpy", "pandas", "scipy", "rich", "jinja2", "msgspec"}


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> str:
        settings = {"_ONESPEC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        program = "from benchmarks.cli.group import onespec; onespec(prog_name='onespec')"
        return subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True
        ).stdout

    assert "plain,summary" in completed("onespec sum")
    assert "plain,--batch-size" in completed("onespec run --ba")


# --- errors and exit codes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--batch", "3"], "--batch: renamed; write --batch-size"),
        (["--seeds", "3"], "--seeds: renamed; write --seed"),
        (["--bach-size", "3"], "--bach-size: no such option, did you mean --batch-size?; onespec run --help lists the"),
        (["--batch-size", "many"], "--batch-size many: must be a whole number from 1 to 1,000,000"),
        (
            ["--seed", "4-2"],
            "--seed 4-2: write whole numbers from 0 to 4,294,967,295 separated by commas, such as 0,1,2 or 0-4",
        ),
        (["--python", "torch"], "--python torch: write FRAMEWORK=/path/to/python"),
        (["stray"], "Got unexpected extra argument (stray); see onespec run --help"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(arguments: list[str], line: str) -> None:
    result = CliRunner().invoke(probe, arguments, prog_name="onespec run")
    assert result.exit_code == ExitCode.BAD_INPUT and not result.stdout
    assert result.stderr.startswith(line) and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadInput("--x 1: wrong"), ExitCode.BAD_INPUT, "--x 1: wrong\n"),
        (SpecError("net: wrong"), ExitCode.BAD_INPUT, "net: wrong\n"),
        (DataError("mnist: missing"), ExitCode.BAD_DATA, "mnist: missing\n"),
        (errors.WorkerFailed("torch: ended"), ExitCode.FAILED, "torch: ended\n"),
        (KeyboardInterrupt(), ExitCode.STOPPED, "stopped; continue with --resume\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_one_line_and_its_exit_code(error: BaseException, code: ExitCode, line: str) -> None:
    @options.command("run")
    def failing() -> None:
        command_module.when_stopped("continue with --resume")
        raise error

    result = CliRunner().invoke(failing, [])
    assert (result.exit_code, result.stderr) == (code, line)


def test_every_error_has_an_exit_code_of_the_table() -> None:
    def below(kind: type[OnespecError]) -> list[type[OnespecError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in below(child))]

    assert {kind.exit_code for kind in below(OnespecError)} <= set(map(int, ExitCode))
    assert MEANINGS.keys() == set(ExitCode)


def test_the_reference_page_has_every_exit_code_command_and_renamed_option() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    for code, meaning in MEANINGS.items():
        assert f"| {code.value} | {meaning} |" in page
    for name in COMMANDS:
        assert f"| `{name}` |" in page
    for old, new in RENAMED.items():
        assert f"`{old}` (`{new}`)" in page


def test_the_first_line_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command_module.announce("Training lenet.", quiet=False)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    command_module.announce("Training lenet.", quiet=False)
    command_module.announce("Training lenet.", quiet=True)
    assert capsys.readouterr().err == "Training lenet.\n"


# --- values -----------------------------------------------------------------------------------------------------------


def test_lists_ranges_and_pairs() -> None:
    given = parsed("--net", "lenet,cnn", "--seed", "0-2,7", "--python", "torch=/a", "--python", "keras=/b=c")
    assert given["nets"] == ["lenet", "cnn"] and given["seeds"] == [0, 1, 2, 7]
    assert given["pythons"] == {"torch": "/a", "keras=/b": "c"}


# --- configured defaults ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_options_win_over_a_file_that_wins_over_the_project(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.onespec.run]\nnet = "cnn"\nthreads = 3\n')
    assert parsed()["nets"] == ["cnn"] and parsed()["threads"] == 3
    (folder / "onespec.toml").write_text(
        '[run]\nnet = ["lenet", "cnn"]\nseed = [0, 5]\nbatch-size = 32\npython = ["torch=/a"]\nquiet = true\n'
    )
    given = parsed("--batch-size", "64")
    assert given == {
        "nets": ["lenet", "cnn"],
        "seeds": [0, 5],
        "batch_size": 64,
        "threads": None,
        "pythons": {"torch": "/a"},
        "quiet": True,
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[run]\nbatch = 3\n", "onespec.toml: [run] batch: no such option; choose from net, seed, batch-size,"),
        ("[ruin]\n", "onespec.toml: [ruin]: no such command; choose from run, "),
        ("run = 3\n", "onespec.toml: run is not a table; write [run] above its options"),
        ("[run\n", "onespec.toml: cannot be read: "),
        ("[run]\nseed = [-1]\n", "--seed -1: write whole numbers from 0"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_exit_code_2(folder: Path, text: str, line: str) -> None:
    (folder / "onespec.toml").write_text(text)
    result = CliRunner().invoke(probe, [])
    assert result.exit_code == ExitCode.BAD_INPUT
    assert result.stderr.startswith(line) and result.stderr.count("\n") == 1


# --- lists and reports ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key", "first"),
    [("networks", "net", "lenet"), ("frameworks", "framework", "torch"), ("datasets", "dataset", "fashion-mnist")],
)
def test_a_list_is_a_table_or_json(name: str, key: str, first: str) -> None:
    table = CliRunner().invoke(onespec, [name])
    rows = json.loads(CliRunner().invoke(onespec, [name, "--json"]).stdout)
    assert rows[0][key] == first
    assert table.exit_code == 0 and len(table.stdout.splitlines()) == 2 + len(rows)


@pytest.mark.parametrize("pattern", ["*-lenet", "*-speed-lenet", "certificate"])
def test_report_takes_every_kind_of_folder(pattern: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = min(path for path in RESULTS.glob(pattern) if "speed" in pattern or "speed" not in path.name)
    copy = tmp_path / source.name
    copy.mkdir()
    for name in ("run.json", "cells.jsonl", "certificate.json"):
        if (source / name).exists():
            (copy / name).write_bytes((source / name).read_bytes())
    assert exit_code_of(report)([str(copy)]) == 0
    assert "| lenet |" in (text := capsys.readouterr().out) or "lenet, training" in text
    assert exit_code_of(report)([str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert list(copy.glob("*.md"))


def test_report_of_another_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(report)([str(tmp_path)]) == ExitCode.BAD_INPUT
    assert "neither run.json nor certificate.json" in capsys.readouterr().err
