"""Is a worker faster after itself, or after somebody else? A table in Markdown, from the records of speed runs.

    python -m research.neighbours results/20261123-130550-speed-lenet

What ran just before a slice is told by `benchmarks.timing.schedule.turns`, so the run must be of this version, and all
of its cells whole. Each slice is held against the median of its worker in that launch.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from benchmarks.records.store import Folder
from benchmarks.reporting import speed_report
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime.errors import BadInput
from benchmarks.timing.samples import steady
from benchmarks.timing.schedule import rotated, turns
from benchmarks.timing.speed_run import CALIBRATION


def followed(group: speed_report.Comparison) -> dict[tuple[str, str], list[float]]:
    """By worker and who ran before it: the logarithms of the seconds of its slices, less its median in that launch."""
    jobs = [*group.jobs, *([group.twin] if group.twin else [])]
    names = {job["cell"]: job["framework"] + (" (twin)" if job["twin"] else "") for job in jobs}
    names[CALIBRATION] = CALIBRATION
    found = defaultdict(list)
    for number, launch in enumerate(sorted(group.of(group.baseline).rounds)):
        logs = {}
        for cell in names:
            rounds = group.measured[cell].rounds[launch]
            kept = {each: np.log(rounds[each]) for each in rounds if each >= steady(rounds)}
            middle = np.median(list(kept.values()))
            logs[cell] = {each: float(log - middle) for each, log in kept.items()}
        count = max(max(each) for each in logs.values()) + 1
        played = chain.from_iterable(
            ((each, cell) for cell in order) for each, order in turns(rotated(list(names), number), count)
        )
        for (_, before), (each, cell) in pairwise(played):
            if each in logs[cell]:
                found[names[cell], names[before]].append(logs[cell][each])
    return dict(found)


def rows(found: dict[tuple[str, str], list[float]]) -> list[Row]:
    """A line for each pair: how many slices, and how much longer they took than the worker's median, in per cent."""
    told = []
    for (mine, before), logs in sorted(found.items()):
        error = 1.2533 * np.std(logs) / np.sqrt(len(logs))  # of a median, if noise is normal
        told.append((mine, before, str(len(logs)), f"{100 * np.median(logs):+.1f} ± {100 * error:.1f}"))
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of benchmarks.speed")
    try:
        for path in parser.parse_args().runs:
            for group in speed_report.comparisons(Folder.open(path, option="neighbours")):
                print(f"{path}: {group.title}\n")
                print(markdown(("worker", "after", "slices", "takes longer by, %"), rows(followed(group))), "\n")
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
