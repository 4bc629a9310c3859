"""The options that several commands share, each declared once, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import click

from benchmarks.cli.command import Command, CommandGroup, Option
from benchmarks.runtime.errors import BadInput
from frameworks.registry import FRAMEWORKS

WHAT, HOW, WHERE, RESULTS = "What", "How (defaults: the network's recipe)", "Where", "Results"


def option(*arguments: Any, heading: str = "Options", show_default: bool | str = True, **settings: Any) -> Any:
    """`click.option` with a heading in help and a visible default."""
    return click.option(*arguments, cls=Option, heading=heading, show_default=show_default, **settings)


def command(name: str, *, examples: tuple[str, ...] = (), **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command of `onespec`."""
    settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
    return click.command(name, cls=Command, examples=examples, **settings)


def command_group(name: str, *, examples: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], CommandGroup]:
    """Declare a command of `onespec` that works with and without a sub-command."""
    settings = {"help_option_names": ["-h", "--help"]}
    return click.group(
        name, cls=CommandGroup, examples=examples, context_settings=settings, invoke_without_command=True
    )


# --- types ------------------------------------------------------------------------------------------------------------


def _refuse(parameter: click.Parameter | None, value: Any, expected: str) -> NoReturn:
    raise BadInput(f"{parameter.opts[0] if parameter else ''} {value}: {expected}")


class Names(click.ParamType):
    """`a,b,c`, or a list in a configuration file: distinct names in their order."""

    name = "names"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else value
        return tuple(dict.fromkeys(str(item).strip() for item in items))


class Numbers(click.ParamType):
    """`1,32,256`, a number, or a list in a configuration file: distinct whole numbers in their order.

    ranges: whether `0-4` stands for 0,1,2,3,4.
    """

    name = "numbers"

    def __init__(self, ranges: bool = False) -> None:
        self.ranges = ranges

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, ...]:
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        return tuple(dict.fromkeys(number for item in items for number in self._numbers(str(item).strip(), parameter)))

    def _numbers(self, item: str, parameter: click.Parameter | None) -> range:
        if item.isdecimal():
            return range(int(item), int(item) + 1)
        ends = re.fullmatch(r"(\d+)-(\d+)", item) if self.ranges else None
        if not ends or int(ends[1]) > int(ends[2]):
            form = "such as 0,1,2 or 0-4" if self.ranges else "such as 1,32,256"
            _refuse(parameter, item, f"not a whole number of 0 or more; write numbers separated by commas, {form}")
        return range(int(ends[1]), int(ends[2]) + 1)


class Duration(click.ParamType):
    """`60s`, `5m`, `1h`, or a number of seconds."""

    name = "duration"
    UNITS: ClassVar = {"": 1, "s": 1, "m": 60, "h": 3600}

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", str(value).strip())
        if not parts:
            _refuse(parameter, value, "not a duration; write 60s, 5m or 1h")
        return float(parts[1]) * self.UNITS[parts[2]]


class Percentage(click.ParamType):
    """`5%` as a fraction, 0.05."""

    name = "percentage"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(value))
        if not parts or not 0 < float(parts[1]) < 100:
            _refuse(parameter, value, "not a percentage between 0 and 100; write it as 5%")
        return float(parts[1]) / 100


class InputShape(click.ParamType):
    """`3,224,224`: channels, height, width."""

    name = "shape"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, ...]:
        sizes = value.split(",") if isinstance(value, str) else list(map(str, value))
        if len(sizes) != 3 or not all(size.strip().isdecimal() for size in sizes):
            _refuse(parameter, value, "not channels, height, width; write it as 3,224,224")
        return tuple(map(int, sizes))


class Interpreters(click.ParamType):
    """`torch=/path/to/python`: a framework or label, and its interpreter."""

    name = "interpreter"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        from benchmarks.runtime.environments import parse_pythons

        ((name, path),) = parse_pythons([str(value)]).items()
        return name, path


def _as_mapping(context: click.Context, parameter: click.Parameter, pairs: Any) -> Mapping[str, str]:
    return dict(pairs)


# --- options ----------------------------------------------------------------------------------------------------------

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path)

nets = option(
    "--net",
    "nets",
    type=Names(),
    default="lenet",
    metavar="NAME,...",
    heading=WHAT,
    help="Networks, `all`, or FILE.py:FUNCTION; `onespec networks` lists them.",
)
frameworks = option(
    "--fw",
    "frameworks",
    default="all",
    metavar="NAME,...",
    heading=WHAT,
    help=f"Frameworks: {', '.join(FRAMEWORKS)}; torch==2.12.1 is a version, torch:compile a mode.",
)
seeds = option(
    "--seed",
    "seeds",
    type=Numbers(ranges=True),
    default="0",
    metavar="N,...",
    heading=HOW,
    help="Seeds of weights, order and dropout, such as 0,1,2 or 0-4; each seed is a run.",
)
batch_size = option("--batch-size", type=int, metavar="N", heading=HOW, help="Images per step.")
lr = option("--lr", type=float, metavar="LR", heading=HOW, help="Initial learning rate.")
device = option(
    "--device",
    type=click.Choice(("auto", "cpu", "cuda")),
    default="auto",
    heading=WHERE,
    help="auto: cuda if there is an NVIDIA GPU.",
)
threads = option(
    "--threads", type=int, metavar="N", show_default="all cores", heading=WHERE, help="Threads of each worker."
)
pythons = option(
    "--python",
    "pythons",
    type=Interpreters(),
    multiple=True,
    metavar="FW=PATH",
    callback=_as_mapping,
    heading=WHERE,
    help="Interpreter that has the framework; may be repeated.",
)
adapters = option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="FILE.py:CLASS",
    heading=WHERE,
    help="Adapter of another framework, in a file; may be repeated (docs/adapters.md).",
)
timeout = option(
    "--timeout",
    type=float,
    default=600.0,
    metavar="SECONDS",
    heading=WHERE,
    help="Seconds to wait for a worker before it counts as failed.",
)
out = option(
    "--out",
    type=FOLDER,
    default=Path("results"),
    metavar="FOLDER",
    heading=RESULTS,
    help="Folder in which the run's folder is created.",
)
save = option(
    "--save",
    is_flag=True,
    show_default=False,
    heading=RESULTS,
    help="Save the trained weights, for `onespec predict`.",
)
resume = option("--resume", type=FOLDER, metavar="FOLDER", heading=RESULTS, help="Continue a run that was stopped.")
as_json = option(
    "--json",
    "as_json",
    is_flag=True,
    show_default=False,
    heading=RESULTS,
    help="Print the result as JSON on standard output.",
)
quiet = option(
    "-q",
    "--quiet",
    is_flag=True,
    show_default=False,
    heading=RESULTS,
    help="Print the result only, without progress.",
)


def dataset(help_text: str, *, heading: str = HOW, show_default: bool | str = True) -> Any:
    """The option `--dataset`."""
    text = f"{help_text}; `onespec datasets` lists them."
    return option("--dataset", metavar="NAME", heading=heading, show_default=show_default, help=text)


def in_words(frameworks: str) -> str:
    """The value of `--fw` in a sentence."""
    return "all frameworks" if frameworks == "all" else frameworks.replace(",", ", ")
