"""Can `benchmarks.speed` tell a framework from itself, and from itself with 3 % more to do? A table in Markdown.

    python -m experiments.aa --pairs 40 --budget 60s --out docs/aa.md

Each pair is two runs, LeNet in PyTorch, training; meanwhile a second process loads one core at random. `A/A` runs are
PyTorch and its twin: they differ where the interval leaves out 1. `3 % slower` runs have an adapter beside them that
burns, without sleeping, 3 % of the time that its slice took.

Every run's finding is written to --kept as it is made, and a command that is given again goes on where it ended.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks import record, speed, speed_report
from benchmarks.environments import environment, parse_frameworks, parse_pythons
from benchmarks.progress import Show
from benchmarks.tables import Row, markdown
from benchmarks.timing.statistics import noise_floor, verdict
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
KINDS = {"A/A": "torch", "3 % slower": "torch,slower"}
COLUMNS = "threads budget kind pair ratio low high launches verdict commit".split()
NARROW = 1.5  # per cent to each side: the aim


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


def finding(request: speed.Request, out: Path) -> dict[str, object]:
    """One run: the ratio of the last framework or, for one alone, of its twin; and the report's verdict on it."""
    folder = speed.execute(request, Show(quiet=True), out)
    group = speed_report.comparisons(folder)[0]
    alone = len(group.jobs) == 1
    ratio = group.twins if alone else group.ratio(group.jobs[-1])
    if ratio is None or ratio.low is None or ratio.high is None:
        sys.exit(f"{folder.path}: no interval; its report says why")
    rows = speed_report.frame(folder)
    return {
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "launches": rows["launches"].iloc[-1],
        "verdict": verdict(ratio, noise_floor()) if alone else rows["verdict"].iloc[-1],
        "commit": (record.commit() or "none")[:12],
    }


HEAD = (
    "runs", "pairs", "median ratio", "half width in %", f"within {NARROW} %", "interval covers 1",
    "interval leaves 1 out", "called slower", "called faster",
)  # fmt: skip


def row(kind: str, found: pd.DataFrame) -> Row:
    """A line of the table."""
    widths = 100 * (found["high"] / found["low"] - 1) / 2
    covers = int(((found["low"] <= 1) & (found["high"] >= 1)).sum())
    verdicts = (str(int((found["verdict"] == each).sum())) for each in ("slower", "faster"))
    wide = f"{widths.median():.2f} ({widths.min():.2f} to {widths.max():.2f})"
    narrow = str(int((widths <= NARROW).sum()))
    counts = (wide, narrow, str(covers), str(len(found) - covers))
    return (kind, str(len(found)), f"{found['ratio'].median():.3f}", *counts, *verdicts)


def report(kept: pd.DataFrame, threads: int, budget: str) -> str:
    """The table of what is kept under these settings, and what it is about."""
    rows = [row(kind, kept[kept["kind"] == kind]) for kind in KINDS if (kept["kind"] == kind).any()]
    commits = ", ".join(dict.fromkeys(kept["commit"]))
    machine = record.machine()
    return (
        f"{markdown(HEAD, rows)}\n\nLeNet, training, batch 256, {threads} thread{'s' * (threads > 1)}, {budget} a run, "
        f"a second process loading one core at random; an A/A run is called slower or faster where its interval leaves "
        f"1 out. {machine['processor']}, {machine['cores']} cores, {machine['system']}; commit {commits}.\n"
    )


def read(path: Path, threads: int, budget: str) -> pd.DataFrame:
    """What is kept of runs under these settings."""
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    found = pd.read_csv(path, dtype={"commit": str})
    return found[(found["threads"] == threads) & (found["budget"] == budget)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--threads", type=int, default=speed.Request().threads[0])
    parser.add_argument("--dataset", default="fashion-mnist-mini")
    parser.add_argument("--python", action="append", default=[], metavar="FW=PATH")
    parser.add_argument("--kept", type=Path, default=Path("results/aa.csv"), metavar="FILE", help="[results/aa.csv]")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    pythons = parse_pythons(options.python)
    (torch,) = parse_frameworks("torch")
    pythons["slower"] = str(
        environment(torch, pythons, device="cpu", progress=print).python
    )  # there is no other for it
    kept = read(options.kept, options.threads, options.budget)
    done = set(zip(kept["pair"], kept["kind"]))
    with tempfile.TemporaryDirectory(prefix="onespec-aa-") as place:
        slower = Path(place) / "slower.py"
        slower.write_text(SLOWER.replace("SHARE", str(SHARE)))
        REALISATIONS["slower"] = Realisation("slower", "Slower", str(slower), "Slower", "torch", python=">=3.10")
        for number, (kind, frameworks) in ((n, each) for n in range(1, options.pairs + 1) for each in KINDS.items()):
            if (number, kind) in done:
                continue
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
                found = finding(request, Path(place) / "runs")
            line = {"threads": options.threads, "budget": options.budget, "kind": kind, "pair": number, **found}
            print(", ".join(f"{name} {value}" for name, value in line.items()), file=sys.stderr)
            _keep(options.kept, line)
    text = report(read(options.kept, options.threads, options.budget), options.threads, options.budget)
    print(text)
    if options.out:
        options.out.write_text(f"Written by `python -m experiments.aa`.\n\n{text}", encoding="utf-8")
    return 0


def _keep(path: Path, line: dict[str, object]) -> None:
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(line)


if __name__ == "__main__":
    sys.exit(main())
