"""Is a worker faster after itself than after another worker? A table in Markdown, from the records of speed runs.

    python -m research.predecessors results/20261123-130550-speed-lenet

The predecessor of a slice follows from the order of the rounds (`benchmarks.runtime.interleaving`), so the run must be
of this version, and complete. Each slice is compared with the median of its worker in that launch. Slices that other
programs disturbed are left out.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain, pairwise
from pathlib import Path

import click
import numpy as np

from benchmarks.cli import options
from benchmarks.records.store import RunFolder
from benchmarks.reporting.speed_cells import SpeedComparison, comparisons
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime.interleaving import interleaved, rotated
from benchmarks.timing.rounds import steady
from benchmarks.timing.samples import CONTROL_WORKLOAD
from research import command


def by_predecessor(group: SpeedComparison) -> dict[tuple[str, str], list[float]]:
    """By worker and predecessor: log seconds of the slices, relative to the median of the worker in that launch."""
    jobs = [*group.jobs, *([group.control] if group.control else [])]
    names = {job.cell: job.framework + (" (A/A control)" if job.control else "") for job in jobs}
    names[CONTROL_WORKLOAD] = "control workload"
    relative = defaultdict(list)
    for number, launch in enumerate(sorted(group.of(group.baseline).rounds)):
        logs = {}
        for cell in names:
            quiet = {each: seconds for each, seconds in group.measured[cell].rounds[launch].items() if seconds}
            start = steady(quiet) if quiet else 0
            steady_logs = {each: np.log(seconds) for each, seconds in quiet.items() if each >= start}
            median = np.median(list(steady_logs.values())) if steady_logs else 0.0
            logs[cell] = {each: float(log - median) for each, log in steady_logs.items()}
        count = max(max(group.measured[cell].rounds[launch]) for cell in names) + 1
        sequence = chain.from_iterable(
            ((each, cell) for cell in order) for each, order in interleaved(rotated(list(names), number), count)
        )
        for (_, before), (each, cell) in pairwise(sequence):
            if each in logs[cell]:
                relative[names[cell], names[before]].append(logs[cell][each])
    return dict(relative)


def rows(relative: dict[tuple[str, str], list[float]]) -> list[Row]:
    """A row for each pair: the number of slices, and how much longer they took than the worker's median, in percent."""
    table: list[Row] = []
    for (worker, before), logs in sorted(relative.items()):
        error = 1.2533 * np.std(logs) / np.sqrt(len(logs))  # standard error of a median of normal noise
        table.append((worker, before, str(len(logs)), f"{100 * np.median(logs):+.1f} ± {100 * error:.1f}"))
    return table


@command.research_command("research.predecessors")
@click.argument("runs", type=options.FOLDER, nargs=-1, required=True)
def main(runs: tuple[Path, ...]) -> None:
    """Show the effect of the predecessor on the slices of speed runs. RUNS: folders written by `onespec speed`."""
    for path in runs:
        for group in comparisons(RunFolder.open(path, option="RUNS")):
            click.echo(f"{path}: {group.title}\n")
            click.echo(
                markdown(("worker", "after", "slices", "takes longer by, %"), rows(by_predecessor(group))) + "\n"
            )


if __name__ == "__main__":
    main(prog_name="python -m research.predecessors")
