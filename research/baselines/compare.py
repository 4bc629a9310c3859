"""Every adapter against the bare loops of its framework, interleaved, as ratios.

    python -m research.baselines.compare [--net lenet] [--fw all] [--launches 3] [--out results/baselines.md]

LeNet on Fashion-MNIST, and larger networks on noise of their input size: `research.loop_timing`. Where a framework has
several bare loops, the adapter is compared with the fastest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.cli.command import command_line
from benchmarks.reporting import number_formats
from benchmarks.reporting.tables import Row
from benchmarks.runtime.environments import FrameworkRequest, environment
from frameworks.registry import FRAMEWORKS
from research import command, loop_timing
from research.loop_timing import Launch, Phase, TimedLoops, TimingOptions, TrainingLoop

# The classes of a framework's file by the name of the loop; without an entry, `Bare`.
LOOPS = {
    "torch": {"bare": "Bare", "channels last": "ChannelsLast"},
    "jax": {"bare": "Bare", "functional": "Functional"},
    "keras@jax": {"bare": "Bare", "fit": "Fit"},
    "keras@torch": {"bare": "Bare", "fit": "Fit"},
}
BARE = {"bare": "Bare"}
# Frameworks with an article's loop, and the companion that it needs. It trains LeNet.
ARTICLES = {"torch": "torchvision"}
ARTICLE = "article"


def loops(name: str, asked: FrameworkRequest, python: Path) -> dict[str, TrainingLoop]:
    """The adapter of a framework; the bare loops; with an article's loop, also the modes of the adapter."""
    compared = {"adapter": loop_timing.adapter_loop(asked, python)}
    file = loop_timing.file_of("baselines", asked)
    if file is None:
        return compared
    bare = LOOPS.get(asked.name, BARE)
    compared |= {loop: TrainingLoop(python, str(file), kind, bare=True) for loop, kind in bare.items()}
    if asked.name in ARTICLES and name == "lenet":
        # In the default environment. Its data loader starts processes for every epoch, so a slice is an epoch.
        companion = FrameworkRequest(ARTICLES[asked.name])
        article = environment(companion, {}, device="cpu", progress=command.progress).python
        compared[ARTICLE] = TrainingLoop(article, str(file), "Article", bare=True, steady=False, whole_epochs=True)
        info = FRAMEWORKS[asked.name]
        for mode in info.modes_on("cpu"):
            compared[f":{mode}"] = TrainingLoop(python, info.module, info.adapter, mode=mode)
    return compared


def fastest(launches: Sequence[Launch], phase: Phase) -> str:
    """The bare loop on which the adapter gains least."""
    bare = launches[0].keys() & {*BARE, *(loop for loops in LOOPS.values() for loop in loops)}
    return min(bare, key=lambda loop: loop_timing.ratio(launches, "adapter", loop, phase).value)  # type: ignore[union-attr]


def best_mode(launches: Sequence[Launch]) -> str:
    """The mode of the adapter that gains most on the article's loop, with its ratio; empty if no mode was timed."""
    modes = [loop for loop in launches[0] if loop.startswith(":")]
    ratios = {mode: loop_timing.ratio(launches, mode, ARTICLE, "train") for mode in modes}
    best = max(modes, key=lambda mode: ratios[mode].value, default=None)  # type: ignore[union-attr]
    return f"{number_formats.ratio(ratios[best])}, {best}" if best else ""


def row(timed: TimedLoops) -> Row:
    """The row of a framework."""
    launches, title = timed.launches, FRAMEWORKS[timed.asked.name].title
    if not launches:
        return (timed.network, title, "no bare loop yet", *("" for _ in HEAD[3:]))
    speeds = [1 / seconds for launch in launches for seconds in launch["adapter"].train]
    train, predict = fastest(launches, "train"), fastest(launches, "predict")
    return (
        timed.network,
        f"{title} {launches[0]['adapter'].version}",
        number_formats.count(np.median(speeds)),
        _ratio(launches, train, "train"),
        _ratio(launches, predict, "predict"),
        _ratio(launches, ARTICLE, "train"),
        best_mode(launches),
        f"{loop_timing.memory_ratio(launches, 'adapter', train):.2f}",
    )


def _ratio(launches: Sequence[Launch], loop: str, phase: Phase) -> str:
    """The adapter's speed relative to a loop, with the name of the loop unless it is in the head of the column."""
    text = number_formats.ratio(loop_timing.ratio(launches, "adapter", loop, phase))
    return text if loop in ("bare", ARTICLE) else f"{text}, {loop}"


HEAD = (
    "network",
    "framework",
    "examples/s, median",
    "training / bare",
    "prediction / bare",
    "training / article's",
    "best mode / article's",
    "memory / bare",
)


@command.research_command("research.baselines.compare")
@loop_timing.timing_options(nets="lenet", allowed=loop_timing.IN_ALL)
@command.out_file
def main(timing: TimingOptions, out: Path | None) -> None:
    """Compare the adapters with bare loops."""
    note = "Above 1 the adapter is faster. Memory: peak resident; below 1 the adapter needs less."
    written_by = " ".join(command_line())

    def text(table: str) -> str:
        return f"{table}\n\n{timing.description()} {note}\n"

    def write(table: str) -> None:
        command.write_page(out, f"Written by `{written_by}`.\n\n{text(table)}")

    rows: Iterator[Row] = (row(timed) for timed in loop_timing.time_loops(timing, loops))
    click.echo(text(loop_timing.table(HEAD, rows, on_row=write)))


if __name__ == "__main__":
    main(prog_name="python -m research.baselines.compare")
