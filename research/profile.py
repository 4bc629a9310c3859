"""Where the time of a training step goes, by framework, as the framework's own profiler reports it.

    python -m research.profile [--net all] [--fw all] [--launches 3] [--write docs/performance.md]

Fractions of the operations' own time, by kind. A profiler slows down what it observes, short operations most:
fractions show where to look, `benchmarks.speed` measures the time. Work that the profiler does not see, such as Python
between two operations, is in no fraction.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.reporting.number_formats import percent, ratio
from benchmarks.reporting.tables import Row
from benchmarks.runtime.environments import FrameworkRequest
from research import command, loop_timing
from research.command import progress
from research.loop_timing import TimingOptions, TrainingLoop

# The kind of an operation, by its name in any of the frameworks; the first match counts.
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
SHOWN = 12  # operations in the progress


def kind(operation: str) -> str:
    """The kind of an operation."""
    return next((each for each, names in KINDS.items() if re.search(names, operation, re.IGNORECASE)), "other")


def row(name: str, framework: str, seconds: Mapping[str, float]) -> Row:
    """The fractions of one profile. seconds: by operation."""
    total = sum(seconds.values())
    fractions: defaultdict[str, float] = defaultdict(float)
    for operation, each in seconds.items():
        fractions[kind(operation)] += each / total
    others = {operation: each for operation, each in seconds.items() if kind(operation) == "other"}
    largest = max(others, key=lambda operation: others[operation], default="")
    return (name, framework, *(percent(fractions[each], 0) for each in (*KINDS, "other")), f"`{largest}`")


def loops(folder: Path, _: str, asked: FrameworkRequest, python: Path) -> dict[str, TrainingLoop]:
    """The adapter, and the adapter under its framework's profiler where there is one in `research/profiled/`."""
    adapter = {"adapter": loop_timing.adapter_loop(asked, python)}
    file = loop_timing.file_of("profiled", asked)
    if file is None:
        return adapter
    environment = {"ONESPEC_PROFILE": str(folder / "profile.json")}
    return adapter | {"profiled": TrainingLoop(python, str(file), "Profiled", environment=environment)}


def rows(timing: TimingOptions) -> Iterator[Row]:
    """The table; progress shows the longest operations of each profile."""
    with tempfile.TemporaryDirectory(prefix="onespec-") as folder:
        for timed in loop_timing.time_loops(timing, partial(loops, Path(folder))):
            label = timed.asked.label
            if not timed.launches:
                yield (timed.network, label, "no profiled adapter yet", *("" for _ in HEAD[3:]))
                continue
            seconds = json.loads((Path(folder) / "profile.json").read_text(encoding="utf-8"))
            slower = ratio(loop_timing.ratio(timed.launches, "adapter", "profiled", "train"))
            progress(f"{timed.network}, {label}: under the profiler a slice takes {slower} times as long")
            for operation in sorted(seconds, key=lambda operation: -seconds[operation])[:SHOWN]:
                progress(f"  {100 * seconds[operation] / sum(seconds.values()):5.1f} %  {operation}")
            yield row(timed.network, label, seconds)


@command.research_command("research.profile")
@loop_timing.timing_options(nets="all")
@command.write
def main(timing: TimingOptions, write: Path | None) -> None:
    """Show where the time of a training step goes."""
    command.check_page(write, "profile")
    command.publish(f"{loop_timing.table(HEAD, rows(timing))}\n\n{timing.description()}", write, "profile")


if __name__ == "__main__":
    main(prog_name="python -m research.profile")
