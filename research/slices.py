"""How long should a slice be, and where does a launch lie? Twins of one program, timed in slices of several lengths.

    python -m research.slices [--out docs/slices.md]

PyTorch trains LeNet. The truth is 1, so what a ratio is off by is its error: launches that differ, and the noise of
their slices. Lengths take turns of a second within every launch, with one and with all threads; "loaded" is with a
second process that loads a core at random.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np
from scipy import stats

from benchmarks.cli.progress import ProgressDisplay
from benchmarks.records import store
from benchmarks.records.store import Folder
from benchmarks.reporting.tables import markdown
from benchmarks.runtime.environments import Environment, parse_pythons
from benchmarks.timing import speed_run
from benchmarks.timing.launches import RUNNERS, Runner, Work
from benchmarks.timing.statistics import location
from benchmarks.training.plan import MINI
from benchmarks.training.plan import Request as Planned
from benchmarks.training.runner import environments
from frameworks.registry import FRAMEWORKS
from research.aa import disturbed
from research.coverage import quieter

STEPS = (1, 2, 4, 8)  # of a slice
TURN = 1.0  # seconds that a length has before the next one
RATIO = 2.0  # seconds of slices from which a ratio is taken

Rounds: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.float64]]"  # rounds x workers: seconds of a slice


LOCATIONS: dict[str, Callable[[Rounds], float]] = {
    "median": lambda pairs: location(*pairs.T.tolist()),
    "mean without the outer fifths": lambda pairs: float(stats.trim_mean(np.log(pairs[:, 1] / pairs[:, 0]), 0.2)),
    "mean": lambda pairs: float(np.log(pairs[:, 1] / pairs[:, 0]).mean()),
    "median, quieter half": lambda pairs: float(np.median(quieter(*pairs.T))),
    "lower quartiles, unpaired": lambda pairs: float(-np.subtract(*np.log(np.quantile(pairs, 0.25, axis=0)))),
}


def launch(request: speed_run.Request, seconds: float, folder: Folder, scratch: Path, twins: bool) -> dict[int, Rounds]:
    """Slices of fresh workers that take turns, by their steps: a pair of twins, or every framework of the request."""
    groups, data = speed_run.comparisons(request, ProgressDisplay(quiet=True))
    asked = Planned(frameworks=request.labels, pythons=request.pythons)
    found = environments(asked, "cpu", ProgressDisplay(quiet=True))
    cells = groups[0] if twins else groups[0][:-1]
    work = Work(cells[0], data[cells[0].job.dataset], scratch)
    rounds: dict[int, list[list[float]]] = {steps: [] for steps in STEPS}
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        workers: list[Runner] = [RUNNERS["train"](one, work, 1, folder, 600.0, True) for one in cells]
        for worker in workers:
            stack.callback(worker.close)
        list(pool.map(lambda worker: _open(worker, found), workers))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for steps in STEPS:
                turn = time.monotonic() + TURN
                while time.monotonic() < turn:
                    rounds[steps].append(_round(workers, steps, len(rounds[steps])))
    return {steps: np.array(found) for steps, found in rounds.items()}


def _open(worker: Runner, found: Mapping[str, Environment | str]) -> None:
    name = worker.timed.job.framework
    place = found[name]
    if isinstance(place, str):
        sys.exit(f"{name}: {place}")
    worker.open(place.python, FRAMEWORKS[name], max(STEPS), False)


def _round(workers: Sequence[Runner], steps: int, number: int) -> list[float]:
    for worker in workers if number % 2 == 0 else reversed(workers):
        worker.units = steps
        worker.slice(number % 50)
    return [worker.slices[-1]["seconds"] for worker in workers]


def row(title: Sequence[str], steps: int, launches: Sequence[dict[int, Rounds]]) -> tuple[str, ...]:
    """A line of the table: for each location, how far from 1 its ratios were (root of the mean square)."""
    middle = float(np.median(np.concatenate([one[steps] for one in launches])))
    each = max(2, round(RATIO / (2 * middle)))
    parts = [
        one[steps][start : start + each] for one in launches for start in range(0, len(one[steps]) - each + 1, each)
    ]
    spread = float(np.std(np.concatenate([np.log(one[steps][:, 1] / one[steps][:, 0]) for one in launches])))
    errors = [np.sqrt(np.mean([find(part) ** 2 for part in parts])) for find in LOCATIONS.values()]
    figures = (f"{1000 * middle:.0f}", str(each), str(len(parts)), f"{100 * spread:.1f}")
    return (*title, str(steps), *figures, *(f"{100 * error:.1f}" for error in errors))


HEAD = ("threads", "machine", "steps", "slice, ms", "rounds of a ratio", "ratios", "spread of a round, %")
TEXT = """# Slices

Written by `{command}`. LeNet, training, batch 256, {launches} launches of everything. {where}.

## How far from 1 is the ratio of twins?

PyTorch and PyTorch, each ratio from {ratio:g} s of slices. The last columns are the root of the mean square error, by
what is taken of the rounds.

{slices}

## What a short slice costs

A slice is one call, which begins and ends; a framework that works ahead of its caller must wait at its end, and caches
hold what the worker before left there. The time of a step, against that in the longest slices; {threads} threads.

{costs}
"""


def costs(frameworks: Sequence[str], launches: Sequence[dict[int, Rounds]]) -> str:
    """What a step costs in a short slice, as a ratio to one of the longest: a call begins and ends in each slice."""
    rows = []
    for place, framework in enumerate(frameworks):
        steps = {n: np.mean([np.median(one[n][:, place]) / n for one in launches]) for n in STEPS}
        rows.append(
            (framework, f"{1000 * steps[max(STEPS)]:.1f}", *(f"{steps[n] / steps[max(STEPS)]:.3f}" for n in STEPS))
        )
    head = ("framework", f"step in slices of {max(STEPS)}, ms", *(f"in slices of {n}" for n in STEPS))
    return markdown(head, rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=17.0, help="of slices in each launch")
    parser.add_argument("--python", action="append", default=[], metavar="FW=PATH")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    everyone = speed_run.Request().threads[0]

    def launches(frameworks: str, threads: int, loaded: bool) -> list[dict[int, Rounds]]:
        request = speed_run.Request(
            frameworks=frameworks,
            what=("train",),
            dataset=MINI,
            threads=(threads,),
            device="cpu",
            pythons={n: path for n, path in parse_pythons(options.python).items() if n in frameworks.split(",")},
        )
        made = []
        for number in range(options.launches):
            with tempfile.TemporaryDirectory(prefix="onespec-slices-") as place:
                folder = Folder.create(Path(place), "slices")
                with disturbed(number) if loaded else contextlib.nullcontext():
                    made.append(launch(request, options.seconds, folder, Path(place) / "work", frameworks == "torch"))
        return made

    rows = []
    for threads, loaded in product(dict.fromkeys((1, everyone)), (False, True)):
        found = launches("torch", threads, loaded)
        rows += [row((str(threads), "loaded" if loaded else "left alone"), steps, found) for steps in STEPS]
    slices = markdown((*HEAD, *(f"{name}, %" for name in LOCATIONS)), rows)
    costly = costs(list(FRAMEWORKS), launches(",".join(FRAMEWORKS), everyone, loaded=False))
    machine = store.machine()
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    command = f"python -m research.slices --launches {options.launches} --seconds {options.seconds:g}"
    text = TEXT.format(
        command=command,
        slices=slices,
        costs=costly,
        ratio=RATIO,
        launches=options.launches,
        where=where,
        threads=everyone,
    )
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
