"""The options that several commands share, each declared once, and the types of their values."""

from __future__ import annotations

import errno
import functools
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeAlias, TypeVar

import click

from benchmarks.cli.command import Command, CommandGroup, Option
from benchmarks.datasets.image_options import FITS, LARGEST, ImageOptions
from benchmarks.runtime import devices, user_files
from benchmarks.runtime.errors import BadInput
from frameworks.registry import FRAMEWORKS

MACHINES = "Several machines"
WHAT, HOW, WHERE, RESULTS = "What", "How (defaults: the network's recipe)", "Where", "Results"
IMAGES_HEADING = "Images of your own (--dataset PATH)"


T = TypeVar("T")
Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


def option(*arguments: Any, heading: str = "Options", show_default: bool | str = True, **settings: Any) -> Decorator:
    """`click.option` with a heading in help and a visible default."""
    return click.option(*arguments, cls=Option, heading=heading, show_default=show_default, **settings)


def command(name: str, *, examples: tuple[str, ...] = (), **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command of `onespec`."""
    settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
    return click.command(name, cls=Command, examples=examples, **settings)


def command_group(
    name: str, *, examples: tuple[str, ...] = (), default: str = ""
) -> Callable[[Callable[..., Any]], CommandGroup]:
    """Declare a command of `onespec` that works with and without a sub-command.

    default: the sub-command for arguments that name none.
    """
    settings = {"help_option_names": ["-h", "--help"]}
    return click.group(
        name,
        cls=CommandGroup,
        examples=examples,
        default=default,
        context_settings=settings,
        invoke_without_command=True,
    )


# --- types ------------------------------------------------------------------------------------------------------------


LONGEST_SHOWN = 80  # characters of a refused value


def _refuse(parameter: click.Parameter | None, value: Any, expected: str) -> NoReturn:
    name = ""
    if parameter is not None:
        name = parameter.opts[0] if isinstance(parameter, click.Option) else str(parameter.metavar)
    text = str(value)
    shown = text if text.strip() and len(text) <= LONGEST_SHOWN else repr(text[:LONGEST_SHOWN])
    raise BadInput(f"{name} {' '.join(shown.split())}: {expected}")


def _distinct(parameter: click.Parameter | None, value: Any, items: list[T]) -> tuple[T, ...]:
    """The items of a list; one that is listed twice is refused, because its rows would be one or count twice."""
    for index, item in enumerate(items):
        if item in items[:index]:
            _refuse(parameter, value, f"{item!s:.40} is listed twice")
    return tuple(items)


class Names(click.ParamType):
    """`a,b,c`, or a list in a configuration file: distinct names in order. A comma in parentheses separates none."""

    name = "names"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        items = user_files.listed(value) if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not items:
            _refuse(parameter, value, "not a list of names; write them separated by commas")
        return _distinct(parameter, value, [str(item).strip() for item in items])


class Count(click.ParamType):
    """A whole number from `least` to `most`, in ASCII digits."""

    name = "number"

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        number = _whole(value)
        if number is None or not self.least <= number <= self.most:
            _refuse(parameter, value, f"must be a whole number from {self.least:,} to {self.most:,}")
        return number


class Seed(Count):
    """A seed of NumPy: from 0."""

    def __init__(self) -> None:
        super().__init__(0, 2**32 - 1)


class Channels(Count):
    """`1` for gray or `3` for RGB."""

    def __init__(self) -> None:
        super().__init__(1, 3)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        number = super().convert(value, parameter, context)
        if number == 2:
            _refuse(parameter, value, "must be 1 for gray or 3 for RGB")
        return number


class Number(click.ParamType):
    """A finite number above `above` and up to `most`, or `below` it."""

    name = "number"

    def __init__(self, above: float, most: float, *, below: bool = False) -> None:
        self.above, self.most, self.below = above, most, below

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        try:
            number = float(value) if str(value).isascii() and not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        if not self.above < number <= self.most or (self.below and number == self.most):  # refuses nan, too
            last = "less than" if self.below else "at most"
            _refuse(parameter, value, f"must be a number that is more than {self.above:,g} and {last} {self.most:,g}")
        return number


class Numbers(click.ParamType):
    """`1,32,256`, a number, or a list in a configuration file: distinct whole numbers in their order.

    ranges: whether `0-4` stands for 0,1,2,3,4.
    """

    name = "numbers"
    MOST = 1000  # values of one option

    def __init__(self, least: int, most: int, ranges: bool = False) -> None:
        self.least, self.most, self.ranges = least, most, ranges

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, ...]:
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        numbers: list[int] = []
        for item in items:
            numbers += self._numbers(item, parameter)
            if len(numbers) > self.MOST:
                break
        if not 0 < len(numbers) <= self.MOST:
            _refuse(parameter, value, f"write 1 to {self.MOST:,} numbers")
        return _distinct(parameter, value, numbers)

    def _numbers(self, item: Any, parameter: click.Parameter | None) -> range:
        first, dash, last = str(item).strip().partition("-") if self.ranges else (item, "", "")
        low, high = _whole(first), _whole(last if dash else first)
        if low is None or high is None or not self.least <= low <= high <= self.most:
            form = "such as 0,1,2 or 0-4" if self.ranges else "such as 1,32,256"
            limits = f"whole numbers from {self.least:,} to {self.most:,}"
            _refuse(parameter, item, f"write {limits} separated by commas, {form}")
        if high - low >= self.MOST:
            _refuse(parameter, item, f"write 1 to {self.MOST:,} numbers")
        return range(low, high + 1)


def _whole(value: Any) -> int | None:
    """A value of the command line or a configuration file as a whole number, or None if it is not one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    parts = re.fullmatch(r"\s*([+-]?[0-9]{1,18})\s*", value) if isinstance(value, str) else None
    return int(parts[1]) if parts else None


class Duration(click.ParamType):
    """`60s`, `5m`, `1h`, or a number of seconds."""

    name = "duration"
    UNITS: ClassVar = {"": 1, "s": 1, "m": 60, "h": 3600}

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        parts = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|)", str(value).strip())
        if not parts:
            _refuse(parameter, value, "not a duration; write 60s, 5m or 1h")
        seconds = float(parts[1]) * self.UNITS[parts[2]]
        if not 0 < seconds <= MOST_SECONDS:
            _refuse(parameter, value, f"must be more than 0 and at most {MOST_SECONDS // 3600} h; write 60s, 5m or 1h")
        return seconds


class ShardNumber(click.ParamType):
    """`3/16`: the third of sixteen shards."""

    name = "shard"
    MOST = 1_000_000

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[int, int] | None:
        items = value.split("/") if isinstance(value, str) else value if isinstance(value, tuple) else [value]
        numbers = [number for number in map(_whole, items) if number is not None]
        if len(items) != 2 or len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1] <= self.MOST:
            _refuse(parameter, value, f"write I/N, such as 3/16: shard I, from 1 to N, of at most {self.MOST:,}")
        return numbers[0], numbers[1]


class KeyValue(click.ParamType):
    """`partition=cpu`, or `exclusive` without a value."""

    name = "key"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[str, str] | None:
        if isinstance(value, tuple):
            return value[0], value[1]
        key, _, text = str(value).partition("=")
        if not re.fullmatch(r"[A-Za-z][\w-]*", key, re.ASCII) or not text.isprintable():
            _refuse(parameter, value, "write KEY=VALUE, such as partition=cpu")
        return key, text


class Quantity(click.ParamType):
    """`500k`, `5M`, `1.5G`, or a whole number."""

    name = "quantity"
    UNITS: ClassVar = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        parts = re.fullmatch(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?([kMG]?)", str(value).strip(), re.ASCII)
        if not parts:
            _refuse(parameter, value, "write a number such as 800, 500k, 5M or 1.5G")
        whole, decimals, unit = parts[1], parts[2] or "", parts[3]
        return int(whole + decimals) * self.UNITS[unit] // 10 ** len(decimals)


class Percentage(click.ParamType):
    """`5%` as a fraction, 0.05."""

    name = "percentage"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        if isinstance(value, float) and 0 < value < 1:
            return value
        parts = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", str(value))
        if not parts or not 0 < float(parts[1]) < 100:
            _refuse(parameter, value, "not a percentage between 0 and 100; write it as 5%")
        return float(parts[1]) / 100


class InputShape(click.ParamType):
    """`3,224,224`: channels, height, width."""

    name = "shape"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, ...]:
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        sizes = tuple(size for size in map(_whole, items) if size is not None and 0 <= size <= MOST_SIZE)
        if len(items) != 3 or len(sizes) != 3:
            expected = "not channels, height, width; write it as 3,224,224"
            _refuse(parameter, value, f"{expected}, each at most {MOST_SIZE:,}")
        return sizes


class ImageSize(click.ParamType):
    """`64` or `48x64`: height and width."""

    name = "size"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[int, int] | None:
        items = value.lower().split("x") if isinstance(value, str) else value if isinstance(value, tuple) else [value]
        sides = tuple(side for side in map(_whole, items) if side is not None and 1 <= side <= LARGEST)
        if len(items) not in (1, 2) or len(sides) != len(items):
            _refuse(parameter, value, f"write 64, or height and width as 48x64, each from 1 to {LARGEST:,}")
        return sides[0], sides[-1]


class OutputPath(click.Path):
    """The path of a file or folder, which need not exist.

    kind: `file` or `folder`. written: whether the command writes it; whether it can is then checked before the work.
    """

    def __init__(self, kind: str, *, written: bool = False) -> None:
        super().__init__(path_type=Path)
        self.kind, self.written = kind, written

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        if not isinstance(value, (str, Path)) or not str(value).strip():
            _refuse(parameter, value, f"name a {self.kind}")
        try:
            os.lstat(value)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                _refuse(parameter, value, f"{error.strerror}; name another {self.kind}")
        except ValueError as error:  # a null character
            _refuse(parameter, value, f"{error}; name another {self.kind}")
        if self.written and (reason := self._obstacle(Path(value))):
            _refuse(parameter, value, f"{reason}; name a {self.kind} that can be written")
        return Path(value)

    def _obstacle(self, path: Path) -> str | None:
        """Why the file or folder cannot be written, or None. Missing folders above it will be created."""
        try:
            return self._obstacle_at(path.absolute())
        except OSError as error:  # a folder above it cannot be searched
            return error.strerror

    def _obstacle_at(self, path: Path) -> str | None:
        if path.exists() and path.is_dir() != (self.kind == "folder"):
            return "it is a folder" if path.is_dir() else "it is a file"
        there = path if path.exists() else next((above for above in path.parents if above.exists()), Path())
        if there != path and not there.is_dir():
            return f"{there} is not a folder"
        if not os.access(there, os.W_OK):
            return f"{there} cannot be written"
        return None


class Device(click.ParamType):
    """`cuda:1`: auto, cpu, cuda with or without the number of a GPU, or mps."""

    name = "device"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        if not devices.is_device(str(value)):
            _refuse(parameter, value, devices.FORMS)
        return str(value)


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

FOLDER = OutputPath("folder")
FILE = OutputPath("file")
NEW_FOLDER = OutputPath("folder", written=True)
NEW_FILE = OutputPath("file", written=True)

# The largest values are far beyond any use and small enough to be refused before memory or days are spent.
MOST_SECONDS = 1_000_000
MOST_SIZE = 100_000  # channels, height or width of an input
EPOCHS = Count(1, 100_000)
IMAGES = Count(1, 1_000_000_000)
CLASSES = Count(1, 1_000_000)
THREADS = Count(1, 1024)
SEEDS = Numbers(0, 2**32 - 1, ranges=True)
BATCH_SIZE = Count(1, 1_000_000)

PIXELS = ("raw", "unit", "imagenet", "half", "caffe")  # names of `benchmarks.porting.weight_import.PIXELS`

nets = option(
    "--net",
    "nets",
    type=Names(),
    default="lenet",
    metavar="NAME,...",
    heading=WHAT,
    help="Networks, `all`, or a file: FILE.py:FUNCTION, FILE.onnx, ...; `onespec networks` lists them.",
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
    type=SEEDS,
    default="0",
    metavar="N,...",
    heading=HOW,
    help="Seeds of weights, order and dropout, such as 0,1,2 or 0-4; each seed is a run.",
)
batch_size = option("--batch-size", type=BATCH_SIZE, metavar="N", heading=HOW, help="Images per step.")
lr = option("--lr", type=Number(0, 1e6), metavar="LR", heading=HOW, help="Initial learning rate.")
clip_norm = option(
    "--clip-norm",
    type=Number(0, 1e9),
    metavar="NORM",
    heading=HOW,
    help="Scale the gradients down to this norm, that of all of them together.",
)
weight_average = option(
    "--weight-average",
    type=Number(0, 1, below=True),
    metavar="DECAY",
    heading=HOW,
    help="Test with an exponential moving average of the weights, such as 0.999.",
)


def device_from(default: str) -> Decorator:
    """The option `--device`."""
    return option(
        "--device",
        type=Device(),
        default=default,
        metavar="NAME",
        heading=WHERE,
        help="cpu, cuda, cuda:1 (the second GPU), mps (Apple's GPU), or auto: cuda if there is an NVIDIA GPU.",
    )


device = device_from("auto")
tf32 = option(
    "--tf32",
    is_flag=True,
    show_default=False,
    heading=HOW,
    help="Let NVIDIA GPUs round the factors of float32 products to TF32.",
)
threads = option(
    "--threads", type=THREADS, metavar="N", show_default="all cores", heading=WHERE, help="Threads of each worker."
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
    type=Number(0, MOST_SECONDS),
    default=600.0,
    metavar="SECONDS",
    heading=WHERE,
    help="Seconds to wait for a worker before it counts as failed.",
)
out = option(
    "--out",
    type=NEW_FOLDER,
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


def executor(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that run a command's groups on the nodes of a cluster."""
    declared = function
    for decorate in reversed(
        (
            option(
                "--executor",
                type=click.Choice(("submitit", "submitit:local", "ray")),
                heading=MACHINES,
                help="Run each part of the work on a node of Slurm or Ray, and merge.",
            ),
            option(
                "--executor-option",
                "executor_options",
                type=KeyValue(),
                multiple=True,
                metavar="KEY=VALUE",
                callback=_as_mapping,
                heading=MACHINES,
                help="Option of submitit or sbatch, such as partition=cpu; may be repeated.",
            ),
            option(
                "--ray-address",
                metavar="ADDRESS",
                show_default="this machine",
                heading=MACHINES,
                help="Cluster of Ray, such as auto or ray://HOST:10001.",
            ),
            option(
                "--dry-run",
                is_flag=True,
                show_default=False,
                heading=MACHINES,
                help="Print what would run where; run nothing.",
            ),
        )
    ):
        declared = decorate(declared)
    return declared


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


def dataset(help_text: str, *, heading: str = HOW, show_default: bool | str = True) -> Decorator:
    """The option `--dataset`."""
    text = f"{help_text}; a PATH is images of your own; `onespec datasets` lists the names."
    return option("--dataset", metavar="NAME|PATH", heading=heading, show_default=show_default, help=text)


def images(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options for images of one's own, which the function gets as one argument, `images`."""

    @functools.wraps(function)
    def with_images(*arguments: Any, **values: Any) -> Any:
        given = {name: values.pop(name) for name in (item.name for item in fields(ImageOptions))}
        return function(*arguments, images=ImageOptions(**given), **values)

    declared: Callable[..., Any] = with_images
    for decorate in reversed(
        (
            option(
                "--image-size",
                type=ImageSize(),
                metavar="N",
                heading=IMAGES_HEADING,
                help="Height and width of all images, such as 64 or 48x64.",
            ),
            option(
                "--image-fit",
                type=click.Choice(FITS),
                default=ImageOptions().image_fit,
                heading=IMAGES_HEADING,
                help="Cut a centered window, add black borders, or change the aspect ratio.",
            ),
            option(
                "--channels",
                type=Channels(),
                metavar="1|3",
                heading=IMAGES_HEADING,
                help="Gray or RGB; default: gray if all files are gray.",
            ),
            option(
                "--test-fraction",
                type=Percentage(),
                default="20%",
                metavar="PERCENT",
                heading=IMAGES_HEADING,
                help="Test images of each class, if the files have no split.",
            ),
            option(
                "--split-seed",
                type=Seed(),
                default=0,
                metavar="N",
                heading=IMAGES_HEADING,
                help="Seed of the split and of the stored order.",
            ),
            option(
                "--skip-broken",
                is_flag=True,
                show_default=False,
                heading=IMAGES_HEADING,
                help="Leave out files that cannot be decoded, and record them.",
            ),
        )
    ):
        declared = decorate(declared)
    return declared


def training(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that decide what a training run computes: those of `run`, and of `plan`."""
    declared = function
    for decorate in reversed(
        (
            nets,
            frameworks,
            option(
                "--quick",
                is_flag=True,
                show_default=False,
                heading=WHAT,
                help="At most 2,000 images that come with onespec; 2 epochs, or 4 with 100 images or fewer.",
            ),
            dataset("Data set"),
            option("--epochs", type=EPOCHS, metavar="N", heading=HOW, help="Epochs."),
            batch_size,
            lr,
            option("--optimizer", metavar="NAME", heading=HOW, help="SGD, Adam, ...; an unknown name lists all."),
            clip_norm,
            weight_average,
            seeds,
            option("--train-size", type=IMAGES, metavar="N", heading=HOW, help="Use the first N training images."),
            option("--test-size", type=IMAGES, metavar="N", heading=HOW, help="Use the first N test images."),
            images,
            option(
                "--precision",
                type=click.Choice(("float32", "bfloat16", "float16")),
                default="float32",
                heading=HOW,
                help="In which layers compute; arrays and the loss stay in float32.",
            ),
            tf32,
            device,
            threads,
            adapters,
        )
    ):
        declared = decorate(declared)
    return declared


def in_words(frameworks: str) -> str:
    """The value of `--fw` in a sentence."""
    return "all frameworks" if frameworks == "all" else frameworks.replace(",", ", ")
