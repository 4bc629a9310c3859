"""A seeded generator of wrong command lines: every one is refused in one line that names the option or the argument.

A command line has one wrong value, so that no work starts. `ONESPEC_FUZZ_CASES` sets the number of cases.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks.cli import options
from benchmarks.cli.command import Command
from benchmarks.cli.commands import COMMANDS
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.group import onespec

CASES = int(os.environ.get("ONESPEC_FUZZ_CASES", "400"))

TEXTS = (
    "", " ", "\t", "a\nb", "²", "٣", "é", "--", "-", "nan", "NaN", "inf", "-inf", "1e999", "0x10", "1_000", "one",
)  # fmt: skip
HUGE = ("99999999999999999999", "-99999999999999999999", "1" * 5000)
LONG_PATH = "p" * 5000
VALUES: dict[type[click.ParamType], tuple[str, ...]] = {
    options.Count: (*TEXTS, *HUGE, "0", "-1", "1.5", "1,2", "999999999999", "1000000000.0"),
    options.Number: (*(text for text in TEXTS if text != "1_000"), *HUGE, "0", "-1", "-0.0", "1e300", "1,5"),
    options.Numbers: (*TEXTS, *HUGE, "-1", "1.5", "1,,2", ",", "4-2", "0-999999999", "1-2-3", "1,x"),
    options.Duration: (*TEXTS, *HUGE, "0", "0s", "-1s", "5 d", "s", "1e3s", "999999999h"),
    options.Percentage: (*TEXTS, *HUGE, "0%", "100%", "-5%", "5", "nan%", "1000%"),
    options.InputShape: (*TEXTS, *HUGE, "1", "1,2", "1,2,3,4", "1,2,x", "1,2,-3", "1,2,99999999999"),
    options.ImageSize: (*TEXTS, *HUGE, "0", "-1", "1.5", "x", "8x", "1x2x3", "64x99999"),
    options.ShardNumber: (*TEXTS, *HUGE, "3", "0/3", "4/3", "-1/2", "1/0", "a/b", "1/2/3", "1/99999999"),
    options.KeyValue: ("", " ", "=", "=x", "a b=c", "²=1", "-x=1", "a=\n"),
    options.Seed: (*TEXTS, *HUGE, "-1", "1.5", "0,1", "4294967296"),
    options.Channels: (*TEXTS, *HUGE, "0", "2", "4", "rgb"),
    options.Interpreters: ("", "torch", "=", "=python", "torch=", "torch"),
    options.OutputPath: ("", " ", "\t", LONG_PATH, f"{'d/' * 3000}f"),
    click.Choice: (*(text for text in TEXTS), *HUGE, "TABLE", "cpu,cuda", "float8"),
    options.Device: (*TEXTS, *HUGE, "cpu,cuda", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:9999", "cpu:0", "gpu"),
}  # fmt: skip
# Options whose text the command itself checks, with values that are refused before anything else is done.
NAMED: dict[str, tuple[str, ...]] = {
    "--net": ("", " ", "lenot", "²", "no.py", "no.py:net", "/", "../../lenet", "lenet,", "n" * 300),
    "--fw": ("", " ", "torhc", "torch==", "torch==x", "torch,torch", ":", "==1", "all,torch", "²"),
    "--adapter": ("", "x", "no.py", "no.py:Class", ":Class", "/"),
    "--what": ("", "sleep", "train,"),
    "--precision": ("", "float8", "float32,", "tf32"),
    "--baseline": ("", "nobody", "²"),
    "--modes": ("some", "²"),
    "--dataset": ("", " ", "mnits", "²", "no/such/folder", "no.npz"),
    "--optimizer": ("", "sdg", "²"),
    "--recipe": ("", "d2l", "²"),
}


def loaded(name: str) -> Command:
    command = onespec.get_command(click.Context(onespec), name)
    assert isinstance(command, Command)
    return command


def fields(name: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The options and arguments of a command: the spelling, how a message names it, and wrong values."""
    arguments = [parameter for parameter in loaded(name).params if isinstance(parameter, click.Argument)]
    for parameter in loaded(name).params:
        values = NAMED.get(parameter.opts[0]) if isinstance(parameter, click.Option) else None
        if values is None or not isinstance(parameter.type, (click.types.StringParamType, options.Names)):
            values = VALUES.get(type(parameter.type))
        if isinstance(parameter, click.Option) and not parameter.is_flag and values:
            yield parameter.opts[0], parameter.opts[0], values
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            yield f"{parameter.opts[-1]}=yes", parameter.opts[-1], ("",)
        elif parameter in arguments[:1] and values:
            yield "", str(parameter.metavar), values


REQUIRED = {
    "predict": {"--weights": "no.npz"},
    "import-weights": {"--net": "lenet", "--pixels": "raw", "--out": "out.npz"},
    "summary": {"--net": "lenet"},
    "plan": {"--out": "plan.json"},
    "merge": {"--out": "merged"},
    "port": {"--to": "torch", "--out": "ported"},
    "reproduce": {"--recipe": "d2l-lenet"},
}
ARGUMENTS = {"compare": ["A", "B"], "report": ["A"], "merge": ["A"], "import-weights": ["no.pth"], "port": ["lenet"]}


def every_case() -> Iterator[tuple[str, list[str], str]]:
    """Commands, their arguments with one wrong value, and the name that the message must hold."""
    for name in COMMANDS:
        for spelling, shown, values in fields(name):
            required = {key: value for key, value in REQUIRED.get(name, {}).items() if key != spelling}
            if name == "summary" and spelling == "--audit=yes":
                required = {}
            words = [word for pair in required.items() for word in pair]
            for wrong in values:
                if not spelling:
                    arguments = [*words, "--", wrong, *ARGUMENTS[name][1:]]
                elif spelling.endswith("=yes"):
                    arguments = [*words, *ARGUMENTS.get(name, []), spelling]
                else:
                    arguments = [*words, *ARGUMENTS.get(name, []), spelling, wrong]
                yield name, arguments, shown


def cases(count: int) -> list[tuple[str, list[str], str]]:
    every = list(every_case())
    return random.Random(21).sample(every, min(count, len(every)))


@pytest.mark.parametrize(("name", "arguments", "shown"), cases(CASES), ids=lambda value: ascii(value)[:60])
def test_a_wrong_value_is_refused_in_one_line(
    name: str, arguments: list[str], shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(onespec, [name, *arguments], prog_name="onespec")
    assert result.exit_code == ExitCode.BAD_INPUT, (result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not result.stdout and result.stderr.count("\n") == 1 and len(result.stderr) < 2000
    assert shown in result.stderr
    assert not list(tmp_path.iterdir()), "a refused command leaves nothing"
