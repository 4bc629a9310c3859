"""What each choice in an adapter is worth: the adapter beside itself without it, in turns, as ratios.

    python -m research.changes [--net all] [--fw all] [--launches 3] [--write docs/performance.md]

`research/without/` has the adapters that lack a choice; choices about the process are made in its environment.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.reporting.tables import Row
from benchmarks.runtime.environments import FrameworkRequest
from benchmarks.runtime.worker_client import STEADY_ALLOCATOR, WAITING_THREADS
from frameworks.registry import FRAMEWORKS
from research.baselines import contest
from research.baselines.contest import Contender


@dataclass(frozen=True)
class Without:
    """A choice that is left out: by a class in `research/without/`, or by the variables that a process keeps."""

    choice: str
    adapter: str = ""
    steady: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


ALL = (
    Without("an allocator that keeps what it has", steady=False, environment=WAITING_THREADS),
    Without("threads that spin briefly, then sleep", steady=False, environment=STEADY_ALLOCATOR),
)
CHOICES = {
    "torch": (
        Without("channels last in memory", "Contiguous"),
        Without("SGD array by array, not fused", "Fused"),
        Without("padding by the pooling layer", "PaddedBefore"),
        *ALL,
    ),
    "mxnet": (
        Without("static_alloc and static_shape", "Unplanned"),
        Without("fused updates", "PlainOptimizer"),
        *ALL,
    ),
    "keras": (
        Without("a graph for a slice, not for a step", "StepByStep"),
        Without("operations side by side", "OneAtATime"),
        *ALL,
    ),
}
HEAD = ("network", "framework", "choice", "training", "prediction", "memory")


def contenders(_: str, asked: FrameworkRequest, python: Path) -> dict[str, Contender]:
    """The adapter as it is, and without each of its choices."""
    ours = FRAMEWORKS[asked.name]
    file = str(Path(__file__).parent / "without" / f"{ours.module.rpartition('.')[2]}.py")
    loops = {"adapter": Contender(python, ours.module, ours.adapter)}
    for without in CHOICES[asked.name]:
        who = (file, without.adapter) if without.adapter else (ours.module, ours.adapter)
        loops[without.choice] = Contender(python, *who, steady=without.steady, environment=without.environment)
    return loops


def rows(name: str, framework: str, launches: list[contest.Launch]) -> list[Row]:
    """A line for each choice: how many times as fast, and with how much of the memory, the adapter is with it."""
    version = f"{framework} {launches[0]['adapter']['version']}"
    made = []
    for without in CHOICES[framework]:
        other = without.choice
        train, predict = (contest.told(contest.ratio(launches, "adapter", other, w)) for w in ("train", "predict"))
        made.append((name, version, other, train, predict, f"{contest.memory(launches, 'adapter', other):.2f}"))
    return made


def lines(options: Namespace) -> Iterator[Row]:
    """The whole table, as its rows come."""
    for name, asked, launches in contest.contests(options, contenders):
        yield from rows(name, asked.name, launches)


def main(arguments: list[str] | None = None) -> int:
    parser = contest.parser("research.changes", "Adapters beside themselves without a choice.", net="all")
    return contest.tabulate(parser, arguments, HEAD, lines, mark="changes")


if __name__ == "__main__":
    sys.exit(main())
