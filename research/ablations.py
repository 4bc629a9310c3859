"""The effect of each choice in an adapter: the adapter with and without it, interleaved, as ratios.

    python -m research.ablations [--net all] [--fw all] [--launches 3] [--write docs/performance.md]

The adapters without a choice are in `research/ablated/`; choices about the process are made in its environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.reporting.number_formats import ratio
from benchmarks.reporting.tables import Row
from benchmarks.runtime.environments import FrameworkRequest
from benchmarks.runtime.worker_client import STEADY_ALLOCATOR, WAITING_THREADS
from frameworks.registry import FRAMEWORKS
from research import command, loop_timing
from research.loop_timing import TimedLoops, TimingOptions, TrainingLoop


@dataclass(frozen=True)
class Ablation:
    """A choice that is left out: by a class in `research/ablated/`, or by variables of the process."""

    choice: str
    adapter: str = ""
    steady: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


# Of every framework.
PROCESS_ABLATIONS = (
    Ablation("allocator that keeps freed memory", steady=False, environment=WAITING_THREADS),
    Ablation("threads that spin briefly, then sleep", steady=False, environment=STEADY_ALLOCATOR),
)
ADAPTER_ABLATIONS = {
    "torch": (
        Ablation("channels last in memory", "Contiguous"),
        Ablation("SGD array by array, not fused", "Fused"),
        Ablation("padding in the pooling layer", "PaddedBefore"),
    ),
    "mxnet": (
        Ablation("static_alloc and static_shape", "Unplanned"),
        Ablation("fused updates", "PlainOptimizer"),
    ),
    "keras": (
        Ablation("one graph per slice, not per step", "StepByStep"),
        Ablation("operations in parallel", "OneAtATime"),
    ),
    "jax": (
        Ablation("state donated to the step", "Undonated"),
        Ablation("padding in the layers", "PaddedBefore"),
        Ablation("gray images by blocks of columns", "WithoutBlocks"),
        Ablation("own forms of convolutions in groups", "WithoutGroups"),
    ),
}
HEAD = ("network", "framework", "choice", "training", "prediction", "memory")


def ablations(framework: str) -> tuple[Ablation, ...]:
    """Those of a framework, by name."""
    return (*ADAPTER_ABLATIONS.get(framework, ()), *PROCESS_ABLATIONS)


def loops(_: str, asked: FrameworkRequest, python: Path) -> dict[str, TrainingLoop]:
    """The adapter, and the adapter without each of its choices."""
    info = FRAMEWORKS[asked.name]
    file = loop_timing.file_of("ablated", asked)
    compared = {"adapter": loop_timing.adapter_loop(asked, python)}
    for ablation in ablations(asked.name):
        module, adapter = (str(file), ablation.adapter) if ablation.adapter else (info.module, info.adapter)
        compared[ablation.choice] = TrainingLoop(
            python, module, adapter, steady=ablation.steady, environment=ablation.environment
        )
    return compared


def rows(timed: TimedLoops) -> Iterator[Row]:
    """A row for each choice: the speed and memory with it, relative to those without it."""
    version = f"{timed.asked.name} {timed.launches[0]['adapter'].version}"
    for ablation in ablations(timed.asked.name):
        other = ablation.choice
        speeds = (
            ratio(loop_timing.ratio(timed.launches, "adapter", other, "train")),
            ratio(loop_timing.ratio(timed.launches, "adapter", other, "predict")),
        )
        yield (
            timed.network,
            version,
            other,
            *speeds,
            f"{loop_timing.memory_ratio(timed.launches, 'adapter', other):.2f}",
        )


@command.research_command("research.ablations")
@loop_timing.timing_options(nets="all")
@command.write
def main(timing: TimingOptions, write: Path | None) -> None:
    """Measure the effect of each choice in an adapter."""
    command.check_page(write, "ablations")
    lines = (row for timed in loop_timing.time_loops(timing, loops) for row in rows(timed))
    command.publish(f"{loop_timing.table(HEAD, lines)}\n\n{timing.description()}", write, "ablations")


if __name__ == "__main__":
    main(prog_name="python -m research.ablations")
