"""Where the time of a training step goes, framework by framework, as each framework's own profiler has it.

    python -m research.profile [--net all] [--fw all] [--launches 3] [--write docs/performance.md]

Shares of the operations' own time, by what they do. A profiler slows down what it watches, short operations most:
shares tell where to look, `benchmarks.speed` tells the time. What the profiler does not see, such as Python between two
operations, is in no share.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.reporting.tables import Row
from benchmarks.runtime.environments import FrameworkRequest
from frameworks.registry import FRAMEWORKS
from research.baselines import contest
from research.baselines.contest import Contender

# What an operation does, by its name in any of the frameworks; the first that fits.
KINDS = {
    "convolution": r"conv",
    "matrix product": r"matmul|addmm|aten::mm|fullyconnected|biasadd",
    "pooling": r"pool",
    "batch norm": r"batch_?norm",
    "activation": r"sigmoid|relu|tanh|threshold|activation|dropout",
    "update": r"sgd|adam|applygradient|applymomentum|resourceapply|assign",
    "loss": r"soft_?max|nll|cross_?entropy|log|pick|argmax|mean",
    "batch and pixels": r"gather|index|take|copy|to_copy|cast|mul|div",
}
HEAD = ("network", "framework", *KINDS, "other", "largest other")


def kind(operation: str) -> str:
    """What an operation does."""
    return next((each for each, names in KINDS.items() if re.search(names, operation, re.IGNORECASE)), "other")


def row(name: str, framework: str, seconds: Mapping[str, float]) -> Row:
    """The shares of one profile."""
    shares: defaultdict[str, float] = defaultdict(float)
    for operation, each in seconds.items():
        shares[kind(operation)] += each / sum(seconds.values())
    others = {operation: each for operation, each in seconds.items() if kind(operation) == "other"}
    largest = max(others, key=lambda one: others[one], default="")
    return (name, framework, *(f"{100 * shares[each]:.0f} %" for each in (*KINDS, "other")), f"`{largest}`")


def contenders(folder: Path, _: str, asked: FrameworkRequest, python: Path) -> dict[str, Contender]:
    """The adapter under its framework's profiler, and as it is."""
    ours = FRAMEWORKS[asked.name]
    file = str(Path(__file__).parent / "profiled" / f"{ours.module.rpartition('.')[2]}.py")
    # MXNet runs a graph in bulk, which its profiler would show as one operation.
    environment = {"ONESPEC_PROFILE": str(folder / "profile.json"), "MXNET_EXEC_BULK_EXEC_TRAIN": "0"}
    return {
        "adapter": Contender(python, ours.module, ours.adapter),
        "profiled": Contender(python, file, "Profiled", environment=environment),
    }


def lines(options: Namespace) -> Iterator[Row]:
    """The whole table, as its rows come; the longest operations of each beside the progress."""
    with tempfile.TemporaryDirectory(prefix="onespec-") as place:
        for name, asked, launches in contest.contests(options, partial(contenders, Path(place))):
            seconds = json.loads((Path(place) / "profile.json").read_text(encoding="utf-8"))
            slowed = contest.ratio(launches, "adapter", "profiled", "train")
            contest.note(
                f"{name}, {asked.label}: under the profiler a slice takes {contest.told(slowed)} times as long"
            )
            for operation in sorted(seconds, key=lambda one: -seconds[one])[:12]:
                contest.note(f"  {100 * seconds[operation] / sum(seconds.values()):5.1f} %  {operation}")
            yield row(name, asked.label, seconds)


def main(arguments: list[str] | None = None) -> int:
    parser = contest.parser("research.profile", "Where the time of a training step goes.", net="all")
    return contest.tabulate(parser, arguments, HEAD, lines, mark="profile")


if __name__ == "__main__":
    sys.exit(main())
