"""Can `benchmarks.speed` tell a framework from itself, and from itself with 3 % more to do? A table in Markdown.

    python -m experiments.aa --pairs 40 --budget 60s --out docs/aa.md

Each pair is a run of its own, LeNet in PyTorch, training; meanwhile a second process loads one core at random. `A/A`
runs are PyTorch and its twin: they differ where the interval leaves out 1. `3 % slower` runs have an adapter beside
them that burns, without sleeping, 3 % of the time that its slice took.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import record, speed, speed_report
from benchmarks.environments import parse_pythons
from benchmarks.progress import Show
from benchmarks.tables import markdown
from benchmarks.timing.statistics import Estimate
from frameworks.registry import REALISATIONS, Realisation

SHARE = 0.03
SLOWER = """
import time
import numpy as np
from frameworks.pytorch import PyTorch

class Slower(PyTorch):
    def train(self, order, batch_size, rates, seed):
        began = time.perf_counter()
        trained = super().train(order, batch_size, rates, seed)
        until = time.perf_counter() + SHARE * (time.perf_counter() - began)
        block = np.ones((64, 64), np.float32)
        while time.perf_counter() < until:
            block @ block
        return trained
"""


@contextlib.contextmanager
def disturbed(seed: int) -> Iterator[None]:
    """A process that loads a core for up to two seconds, and rests as long, at random."""
    process = multiprocessing.Process(target=_load, args=(seed,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _load(seed: int) -> None:
    chance = random.Random(seed)
    while True:
        until = time.monotonic() + chance.uniform(0, 2)
        while time.monotonic() < until:
            pass
        time.sleep(chance.uniform(0, 2))


def pair(frameworks: str, request: speed.Request, out: Path) -> tuple[Estimate | None, str | None]:
    """One run: the ratio of the last framework or, for one alone, of its twin; and the report's verdict."""
    folder = speed.execute(request, Show(quiet=True), out)
    group = speed_report.comparisons(folder)[0]
    if len(group.jobs) == 1:
        return group.twins, None
    rows = speed_report.frame(folder)
    return group.ratio(group.jobs[-1]), rows["verdict"].iloc[-1]


def row(title: str, found: list[tuple[Estimate | None, str | None]]) -> tuple[str, ...]:
    """A line of the table."""
    ratios = [(one, said) for one, said in found if one and one.low and one.high]
    widths = [100 * (one.high / one.low - 1) / 2 for one, _ in ratios if one.low and one.high]
    covers = sum(one.low <= 1 <= one.high for one, _ in ratios if one.low and one.high)
    slower = sum(said == "slower" if said else (one.high or 2) < 1 for one, said in ratios)
    middle = f"{np.median([one.value for one, _ in ratios]):.3f}" if ratios else ""
    wide = f"{np.median(widths):.2f} ({min(widths):.2f} to {max(widths):.2f})" if widths else ""
    narrow = str(sum(width <= 1.5 for width in widths))
    return (title, str(len(found)), middle, wide, narrow, str(covers), str(len(ratios) - covers), str(slower))


HEAD = (
    "runs", "pairs", "median ratio", "half width in %", "within 1.5 %", "interval covers 1", "interval leaves 1 out",
    "called slower",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--threads", type=int, default=speed.Request().threads[0])
    parser.add_argument("--dataset", default="fashion-mnist-mini")
    parser.add_argument("--python", action="append", default=[], metavar="FW=PATH")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    found: dict[str, list[tuple[Estimate | None, str | None]]] = {"A/A": [], "3 % slower": []}
    with tempfile.TemporaryDirectory(prefix="onespec-aa-") as place:
        slower = Path(place) / "slower.py"
        slower.write_text(SLOWER.replace("SHARE", str(SHARE)))
        REALISATIONS["slower"] = Realisation("slower", "Slower", str(slower), "Slower", "torch", python=">=3.10")
        pythons = parse_pythons(options.python)
        if "torch" in pythons:
            pythons["slower"] = pythons["torch"]
        for number in range(options.pairs):
            for title, frameworks in (("A/A", "torch"), ("3 % slower", "torch,slower")):
                request = speed.Request(
                    frameworks=frameworks,
                    what=("train",),
                    dataset=options.dataset,
                    threads=(options.threads,),
                    budget=speed.seconds(options.budget),
                    device="cpu",
                    pythons={name: path for name, path in pythons.items() if name in frameworks.split(",")},
                )
                with disturbed(number):
                    found[title].append(pair(frameworks, request, Path(place) / "runs"))
                print(f"{number + 1} of {options.pairs}, {title}: {found[title][-1]}", file=sys.stderr)
    machine = record.machine()
    text = markdown(HEAD, [row(title, pairs) for title, pairs in found.items()])
    text += (
        f"\n\nLeNet, training, batch 256, {options.threads} threads, {options.budget} a pair, a second process loading "
        f"one core at random. {machine['processor']}, {machine['cores']} cores, {machine['system']}.\n"
    )
    print(text)
    if options.out:
        options.out.write_text(f"Written by `python -m experiments.aa`.\n\n{text}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
