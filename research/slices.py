"""How long should a slice be, and which statistic should summarize a launch? A/A pairs, timed in four slice lengths.

    python -m research.slices [--out docs/slices.md]

One framework trains LeNet in two workers. The true ratio is 1, so the distance of a measured ratio from 1 is its error,
caused by differences between launches and by noise of slices. Within a launch, blocks of rounds with different lengths
alternate; each block takes the same time. "Loaded" runs beside a second process that loads a core at random.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import TypeAlias

import click
import numpy as np
from scipy import stats

from benchmarks.cli import options
from benchmarks.records.store import RunFolder
from benchmarks.reporting.tables import markdown
from benchmarks.runtime.environments import Environment, parse_frameworks
from benchmarks.runtime.interleaving import Limit, Measurement, measure
from benchmarks.timing.launches import RUNNERS, TimedJob, WorkloadFiles, WorkloadRunner
from benchmarks.timing.speed_request import SpeedRequest, comparisons
from benchmarks.timing.statistics import location
from benchmarks.training.plan import MINI
from benchmarks.training.progress import Progress
from benchmarks.training.runner import environments
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS
from research import command
from research.aa import disturbed
from research.coverage import quieter

STEPS = (1, 2, 4, 8)  # of a slice
# The length of the slices by round, repeated: as many steps in each length, in whole pairs of rounds.
CYCLE = tuple(steps for steps in STEPS for _ in range(2 * max(STEPS) // steps))
RATIO_SECONDS = 2.0  # seconds of slices from which a ratio is computed

Seconds: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.float64]]"  # of slices: rounds x workers
LaunchTimes: TypeAlias = Mapping[int, Seconds]  # by steps of a slice

LOCATIONS: dict[str, Callable[[Seconds], float]] = {
    "median": lambda pairs: location(*pairs.T.tolist()),
    "mean without the outer fifths": lambda pairs: float(stats.trim_mean(np.log(pairs[:, 1] / pairs[:, 0]), 0.2)),
    "mean": lambda pairs: float(np.log(pairs[:, 1] / pairs[:, 0]).mean()),
    "median, quieter half": lambda pairs: float(np.median(quieter(*pairs.T))),
    "lower quartiles, unpaired": lambda pairs: float(-np.subtract(*np.log(np.quantile(pairs, 0.25, axis=0)))),
}


class SliceLengths(Measurement[WorkloadRunner]):
    """Launches of some cells, whose slices have the lengths of `CYCLE`; the times are in `launches`.

    loaded: run beside a process that loads a core at random. Raises `Unavailable`, `WorkerFailed` and `Refused`.
    """

    def __init__(
        self,
        cells: Sequence[TimedJob],
        files: WorkloadFiles,
        environments: Mapping[str, Environment | str],
        folder: RunFolder,
        *,
        count: int,
        seconds: float,
        loaded: bool,
    ) -> None:
        self.cells, self.files, self.environments, self.folder = cells, files, environments, folder
        self.count, self.seconds, self.loaded = count, seconds, loaded
        self.launches: list[LaunchTimes] = []

    def wants_launch(self, launch: int) -> bool:
        return launch < self.count

    def open(self, launch: int, stack: contextlib.ExitStack) -> Sequence[WorkloadRunner]:
        if self.loaded:
            stack.enter_context(disturbed(launch))
        workers = [
            RUNNERS[cell.what](cell, self.files, launch + 1, self.folder, timeout=600.0, steady=True)
            for cell in self.cells
        ]
        for worker in workers:
            stack.callback(worker.close)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._open, workers))
        return workers

    def limit(self) -> Limit:
        return Limit(until=time.monotonic() + self.seconds, least=len(CYCLE))

    def play(self, worker: WorkloadRunner, number: int) -> bool:
        worker.units = CYCLE[number % len(CYCLE)]
        worker.slice(number)
        return True

    def finish(self, launch: int, workers: Sequence[WorkloadRunner]) -> None:
        by_cell = {worker.timed: [timed.seconds for timed in worker.slices] for worker in workers}
        seconds = np.array([by_cell[cell] for cell in self.cells]).T
        steps = np.resize(CYCLE, len(seconds))
        self.launches.append({each: seconds[steps == each] for each in STEPS})

    def _open(self, worker: WorkloadRunner) -> None:
        label = worker.timed.job.framework
        environment = self.environments[label]
        if isinstance(environment, str):
            raise Unavailable(f"{label}: {environment}")
        info = FRAMEWORKS[parse_frameworks(label)[0].name]
        worker.open(environment.python, info, max(STEPS), alone=False)


def row(title: Sequence[str], steps: int, launches: Sequence[LaunchTimes]) -> tuple[str, ...]:
    """A row of the table: for each location, how far from 1 its ratios were (root mean square)."""
    middle = float(np.median(np.concatenate([times[steps] for times in launches])))
    rounds = max(2, round(RATIO_SECONDS / (2 * middle)))  # of a ratio
    parts = [
        times[steps][start : start + rounds]
        for times in launches
        for start in range(0, len(times[steps]) - rounds + 1, rounds)
    ]
    spread = float(np.std(np.concatenate([np.log(times[steps][:, 1] / times[steps][:, 0]) for times in launches])))
    errors = [np.sqrt(np.mean([locate(part) ** 2 for part in parts])) for locate in LOCATIONS.values()]
    figures = (f"{1000 * middle:.0f}", str(rounds), str(len(parts)), f"{100 * spread:.1f}")
    return (*title, str(steps), *figures, *(f"{100 * error:.1f}" for error in errors))


HEAD = ("threads", "machine", "steps", "slice, ms", "rounds of a ratio", "ratios", "spread of a round, %")
TEXT = """# Slices

Written by `{command}`. LeNet, training, batch 256, {launches} launches of everything. {where}.

## How far from 1 is the ratio of an A/A pair?

{title} against itself, each ratio from {ratio:g} s of slices. The last columns are root mean square errors, by the
statistic that summarizes the rounds.

{slices}

## The cost of short slices

A slice is one call, with a beginning and an end. A framework that runs ahead of its caller must wait at the end, and
the caches hold the data of the previous worker. The time of a step, relative to that in the longest slices; {threads}
threads.

{costs}
"""


def costs(frameworks: Sequence[str], launches: Sequence[LaunchTimes]) -> str:
    """The time of a step in short slices, relative to that in the longest ones."""
    rows = []
    for place, framework in enumerate(frameworks):
        steps = {n: np.mean([np.median(times[n][:, place]) / n for times in launches]) for n in STEPS}
        rows.append(
            (framework, f"{1000 * steps[max(STEPS)]:.1f}", *(f"{steps[n] / steps[max(STEPS)]:.3f}" for n in STEPS))
        )
    head = ("framework", f"step in slices of {max(STEPS)}, ms", *(f"in slices of {n}" for n in STEPS))
    return markdown(head, rows)


def timed(
    frameworks: Sequence[str], threads: int, loaded: bool, *, count: int, seconds: float, pythons: Mapping[str, str]
) -> list[LaunchTimes]:
    """Launches of several frameworks side by side, or of a single one beside its A/A control."""
    request = SpeedRequest(
        frameworks=",".join(frameworks),
        what=("train",),
        dataset=MINI,
        threads=(threads,),
        device="cpu",
        pythons={name: path for name, path in pythons.items() if name in frameworks},
    )
    progress = Progress()
    (cells,), data = comparisons(request, progress)
    available = environments(request.labels, request.pythons, "cpu", progress)
    with tempfile.TemporaryDirectory(prefix="onespec-slices-") as scratch:
        measurement = SliceLengths(
            cells.all if len(frameworks) == 1 else cells.frameworks,
            WorkloadFiles(cells.baseline, data[cells.baseline.job.dataset], Path(scratch) / "work"),
            available,
            RunFolder.create(Path(scratch), "slices"),
            count=count,
            seconds=seconds,
            loaded=loaded,
        )
        measure(measurement)
    return measurement.launches


@command.research_command("research.slices")
@command.one_framework
@command.launches
@options.option(
    "--seconds", type=float, default=17.0, metavar="S", heading=command.HOW, help="Seconds of slices in each launch."
)
@options.pythons
@command.out_file
def main(framework: str, launches: int, seconds: float, pythons: Mapping[str, str], out: Path | None) -> None:
    """Measure the error of A/A ratios by the length of slices, and the cost of short slices."""
    all_cores = SpeedRequest().threads[0]
    rows = []
    for threads, loaded in product(dict.fromkeys((1, all_cores)), (False, True)):
        pairs = timed([framework], threads, loaded, count=launches, seconds=seconds, pythons=pythons)
        rows += [row((str(threads), "loaded" if loaded else "idle"), steps, pairs) for steps in STEPS]
    frameworks = list(FRAMEWORKS)
    side_by_side = timed(frameworks, all_cores, False, count=launches, seconds=seconds, pythons=pythons)
    text = TEXT.format(
        command=f"python -m research.slices --launches {launches} --seconds {seconds:g}",
        title=FRAMEWORKS[framework].title,
        slices=markdown((*HEAD, *(f"{name}, %" for name in LOCATIONS)), rows),
        costs=costs(frameworks, side_by_side),
        ratio=RATIO_SECONDS,
        launches=launches,
        where=command.machine(),
        threads=all_cores,
    )
    click.echo(text)
    command.write_page(out, text)


if __name__ == "__main__":
    main(prog_name="python -m research.slices")
