"""Can `benchmarks.speed` tell a framework from itself, and from itself with 3 % more to do? A table in Markdown.

    python -m research.aa --pairs 40 --budget 60s --threads 1 --out docs/aa.md

Each pair is two runs, LeNet in PyTorch, training; meanwhile a second process loads one core at random. `A/A` runs are
PyTorch and its twin: they differ where the interval leaves out 1. `3 % slower` runs have an adapter beside them that
burns, without sleeping, 3 % of the time that its slice took.

Every run's finding is written to --kept as it is made, and a command that is given again goes on where it ended. The
table is of all that is kept, under whatever settings.
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
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.cli.progress import ProgressDisplay
from benchmarks.reporting import speed_cells, speed_report
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import environment, parse_frameworks, parse_pythons
from benchmarks.runtime.machine import Machine
from benchmarks.timing import speed_run
from benchmarks.timing.rounds import paired
from benchmarks.timing.speed_request import SpeedRequest
from benchmarks.timing.statistics import Launches, location, noise_floor, verdict
from frameworks.registry import FRAMEWORKS, FrameworkInfo

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
COLUMNS = "threads budget kind pair ratio low high launches spread explained verdict commit".split()
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


def finding(request: SpeedRequest, out: Path) -> dict[str, object]:
    """One run: the ratio of the last framework or, for one alone, of its twin; and the report's verdict on it."""
    folder = speed_run.execute(request, ProgressDisplay(quiet=True), out, write_report=speed_report.write)
    group = speed_cells.comparisons(folder)[0]
    alone = len(group.jobs) == 1
    last = group.control if alone and group.control else group.jobs[-1]
    ratio = group.control_ratio if alone else group.ratio(last)
    if ratio is None or ratio.low is None or ratio.high is None:
        sys.exit(f"{folder.path}: no interval; its report says why")
    others = [group.of(group.baseline).rounds] if alone else group.baseline_rounds
    rows = speed_report.frame(folder)
    return {
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "launches": rows["launches"].iloc[-1],
        **spreads(*paired(group.of(last).rounds, *others)),
        "verdict": verdict(ratio, noise_floor()) if alone else rows["verdict"].iloc[-1],
        "commit": checkout.short(checkout.commit() or "none"),
    }


def spreads(mine: Launches, *theirs: Launches) -> dict[str, float]:
    """The standard deviation of the launches' ratios in per cent, and what it would be if launches were alike.

    explained: from the bootstrap (Efron 1979) of each launch's rounds, the root of the launches' mean variance.
    """
    launches, stream = list(zip(mine, *theirs)), np.random.default_rng(0)
    how = {"paired": True, "vectorized": False, "n_resamples": 2_000, "method": "basic", "rng": stream}
    errors = [stats.bootstrap(launch, location, **how).standard_error for launch in launches]
    explained = np.sqrt(np.mean(np.square(errors)))
    return {
        "spread": round(100 * float(np.std([location(*launch) for launch in launches], ddof=1)), 3),
        "explained": round(100 * float(explained), 3),
    }


HEAD = (
    "runs", "threads", "budget", "pairs", "launches", "median ratio", "half width in %", f"within {NARROW} %",
    "interval covers 1", "interval leaves 1 out", "called slower", "called faster", "spread of launches in %",
    "by their rounds in %",
)  # fmt: skip


def row(settings: Row, found: pd.DataFrame) -> Row:
    """A line of the table: of the runs of one kind, under one setting."""
    widths = 100 * (found["high"] / found["low"] - 1) / 2
    covers = int(((found["low"] <= 1) & (found["high"] >= 1)).sum())
    verdicts = (str(int((found["verdict"] == each).sum())) for each in ("slower", "faster"))
    wide = f"{widths.median():.2f} ({widths.min():.2f} to {widths.max():.2f})"
    narrow = str(int((widths <= NARROW).sum()))
    counts = (wide, narrow, str(covers), str(len(found) - covers))
    spread = (f"{np.sqrt((found[name] ** 2).mean()):.1f}" for name in ("spread", "explained"))
    launches = f"{found['launches'].median():g}"
    return (*settings, str(len(found)), launches, f"{found['ratio'].median():.3f}", *counts, *verdicts, *spread)


def report(kept: pd.DataFrame) -> str:
    """The table of all that is kept, and what it is about."""
    groups = kept.groupby(["kind", "threads", "budget"], sort=False)
    rows = [row(tuple(map(str, settings)), found) for settings, found in groups]
    commits = ", ".join(dict.fromkeys(kept["commit"]))
    machine = Machine.here()
    return (
        f"{markdown(HEAD, rows)}\n\nLeNet, training, batch 256; a second process loads one core at random. A ratio "
        f"above 1: faster than PyTorch. A/A is called slower or faster where its interval leaves 1 out. The last "
        f"columns are root mean squares: how far the launches of a run are apart, and how far apart they would be if "
        f"only their rounds differed. {machine.processor}, {machine.cores} cores, {machine.system}; commit "
        f"{commits}.\n"
    )


def read(path: Path) -> pd.DataFrame:
    """What is kept."""
    return pd.read_csv(path, dtype={"commit": str}) if path.exists() else pd.DataFrame(columns=COLUMNS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--kind", choices=KINDS, help="only these runs [both kinds, in turn]")
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--threads", type=int, default=SpeedRequest().threads[0])
    parser.add_argument("--dataset", default="fashion-mnist-mini")
    parser.add_argument("--python", action="append", default=[], metavar="FW=PATH")
    parser.add_argument("--kept", type=Path, default=Path("results/aa.csv"), metavar="FILE", help="[results/aa.csv]")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    pythons = parse_pythons(options.python)
    (torch,) = parse_frameworks("torch")
    pythons["slower"] = str(environment(torch, pythons, device="cpu", progress=print).python)
    kept = read(options.kept)
    kept = kept[(kept["threads"] == options.threads) & (kept["budget"] == options.budget)]
    done = set(zip(kept["pair"], kept["kind"]))
    kinds = [options.kind] if options.kind else list(KINDS)
    with tempfile.TemporaryDirectory(prefix="onespec-aa-") as place:
        slower = Path(place) / "slower.py"
        slower.write_text(SLOWER.replace("SHARE", str(SHARE)))
        FRAMEWORKS["slower"] = FrameworkInfo("slower", "Slower", str(slower), "Slower", "torch", python=">=3.10")
        for number, kind in product(range(1, options.pairs + 1), kinds):
            if (number, kind) in done:
                continue
            frameworks = KINDS[kind]
            request = SpeedRequest(
                frameworks=frameworks,
                what=("train",),
                dataset=options.dataset,
                threads=(options.threads,),
                budget=speed_run.seconds(options.budget),
                device="cpu",
                pythons={name: path for name, path in pythons.items() if name in frameworks.split(",")},
            )
            with disturbed(number):
                found = finding(request, Path(place) / "runs")
            line = {"threads": options.threads, "budget": options.budget, "kind": kind, "pair": number, **found}
            print(", ".join(f"{name} {value}" for name, value in line.items()), file=sys.stderr)
            _keep(options.kept, line)
    text = report(read(options.kept))
    print(text)
    if options.out:
        options.out.write_text(f"Written by `python -m research.aa`.\n\n{text}", encoding="utf-8")
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
