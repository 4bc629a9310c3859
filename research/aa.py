"""Can `benchmarks.speed` distinguish a framework from itself with 3 % more work? And does it, without more work?

    python -m research.aa --pairs 40 --budget 60s --threads 1 --out docs/aa.md

Each pair is two runs of LeNet's training in one framework, beside a process that loads one core at random. `A/A` runs
compare the framework with its A/A control: they differ where the interval leaves out 1. `3 % slower` runs compare it
with an adapter that, after each slice, computes for another 3 % of the time that the slice took.

The result of every run is appended to --results at once; a command that is given again continues there. The table
covers all results in that file, whatever their settings.
"""

from __future__ import annotations

import contextlib
import csv
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.cli import options
from benchmarks.records.events import End
from benchmarks.records.store import RunFolder
from benchmarks.reporting import speed_cells, speed_report
from benchmarks.reporting.contention_text import WITHHELD
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import WorkerFailed
from benchmarks.timing import speed_run
from benchmarks.timing.rounds import paired
from benchmarks.timing.speed_request import SpeedRequest
from benchmarks.timing.statistics import Launches, location, noise_floor, verdict
from benchmarks.training.plan import MINI
from benchmarks.training.progress import Progress
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from research import command

SLOWDOWN = 0.03
SLOWER = """
import time
import numpy as np
from MODULE import ADAPTER

class Slower(ADAPTER):
    def train(self, order, batch_size, *arguments):
        began = time.perf_counter()
        trained = super().train(order, batch_size, *arguments)
        until = time.perf_counter() + SLOWDOWN * (time.perf_counter() - began)
        block = np.ones((64, 64), np.float32)
        while time.perf_counter() < until:
            block @ block
        return trained
"""
KINDS = ("A/A", "3 % slower")
COLUMNS = (
    "threads",
    "budget",
    "kind",
    "pair",
    "ratio",
    "low",
    "high",
    "launches",
    "spread",
    "explained",
    "verdict",
    "commit",
)
NARROW = 1.5  # percent to each side: the aim


@contextlib.contextmanager
def disturbed(seed: int) -> Iterator[None]:
    """Run beside a process that loads a core and rests in turn, each for up to two seconds, at random."""
    process = multiprocessing.Process(target=_load, args=(seed,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _load(seed: int) -> None:
    stream = random.Random(seed)
    while True:
        until = time.monotonic() + stream.uniform(0, 2)
        while time.monotonic() < until:
            pass
        time.sleep(stream.uniform(0, 2))


def result(request: SpeedRequest, out: Path) -> dict[str, Any]:
    """One run: the ratio of the last framework or, if there is only one, of its A/A control, and the verdict on it."""
    folder = speed_run.execute(request, Progress(), out, write_report=speed_report.write)
    group = speed_cells.comparisons(folder)[0]
    alone = len(group.jobs) == 1
    last = group.control if alone and group.control else group.jobs[-1]
    ratio = group.control_ratio if alone else group.ratio(last)
    rows = speed_report.frame(folder)
    own = {"launches": rows["launches"].iloc[-1], "commit": checkout.short(checkout.commit() or "none")}
    if group.floor_withheld or group.withheld(group.jobs[-1]):
        return {**dict.fromkeys(COLUMNS[4:]), **own, "verdict": WITHHELD}
    if ratio is None or ratio.low is None or ratio.high is None:
        raise WorkerFailed(f"{folder.path}: no interval; {_reasons(folder)}")
    baseline = [group.of(group.baseline).rounds] if alone else group.baseline_rounds
    return {
        **own,
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        **spreads(*paired(group.of(last).rounds, *baseline)),
        "verdict": verdict(ratio, noise_floor()) if alone else rows["verdict"].iloc[-1],
    }


def _reasons(folder: RunFolder) -> str:
    """Why cells of a run ended early."""
    reasons = [event.reason for event in folder.events() if isinstance(event, End) and event.reason]
    return "; ".join(reasons) or "fewer than two launches"


def spreads(worker: Launches, *baseline: Launches) -> dict[str, float]:
    """The standard deviation of the launches' ratios in percent, and its expectation if launches did not differ.

    explained: from the bootstrap (Efron 1979) of each launch's rounds, the root of the launches' mean variance.
    """
    launches, stream = list(zip(worker, *baseline)), np.random.default_rng(0)
    how = {"paired": True, "vectorized": False, "n_resamples": 2_000, "method": "basic", "rng": stream}
    errors = [stats.bootstrap(launch, location, **how).standard_error for launch in launches]
    explained = np.sqrt(np.mean(np.square(errors)))
    return {
        "spread": round(100 * float(np.std([location(*launch) for launch in launches], ddof=1)), 3),
        "explained": round(100 * float(explained), 3),
    }


HEAD = (
    "runs",
    "threads",
    "budget",
    "pairs",
    "not measured",
    "launches",
    "median ratio",
    "half width in %",
    f"within {NARROW} %",
    "interval covers 1",
    "interval leaves 1 out",
    "called slower",
    "called faster",
    "spread of launches in %",
    "by their rounds in %",
)


def row(settings: Row, results: pd.DataFrame) -> Row:
    """A row of the table: the runs of one kind with the same settings."""
    pairs, results = len(results), results[results["verdict"] != WITHHELD]
    widths = 100 * (results["high"] / results["low"] - 1) / 2
    covers = int(((results["low"] <= 1) & (results["high"] >= 1)).sum())
    spread, explained = (f"{np.sqrt((results[name] ** 2).mean()):.1f}" for name in ("spread", "explained"))
    return (
        *settings,
        str(pairs),
        str(pairs - len(results)),
        f"{results['launches'].median():g}",
        f"{results['ratio'].median():.3f}",
        f"{widths.median():.2f} ({widths.min():.2f} to {widths.max():.2f})",
        str(int((widths <= NARROW).sum())),
        str(covers),
        str(len(results) - covers),
        str(int((results["verdict"] == "slower").sum())),
        str(int((results["verdict"] == "faster").sum())),
        spread,
        explained,
    )


def report(results: pd.DataFrame) -> str:
    """The table of all results, and what it covers."""
    groups = results.groupby(["kind", "threads", "budget"], sort=False)
    rows = [row(tuple(map(str, settings)), of_kind) for settings, of_kind in groups]
    commits = ", ".join(dict.fromkeys(results["commit"]))
    return (
        f"{markdown(HEAD, rows)}\n\nLeNet, training, batch 256; a second process loads one core at random. Ratios "
        "above 1 are faster than the baseline. A/A is called slower or faster where its interval leaves 1 out. Not "
        "measured: the second process disturbed too many slices; the other columns are about the rest. "
        "The last two columns are root mean squares: the spread of the launches of a run, and the spread that the "
        f"noise of their rounds alone would cause. {command.machine()}; commit {commits}.\n"
    )


def read(path: Path) -> pd.DataFrame:
    """The results in a file."""
    return pd.read_csv(path, dtype={"commit": str}) if path.exists() else pd.DataFrame(columns=list(COLUMNS))


def _append(path: Path, line: Mapping[str, Any]) -> None:
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(line)


def _register_slower(framework: str, folder: Path) -> None:
    """A framework `slower`, which computes 3 % longer than this one."""
    info = FRAMEWORKS[framework]
    file = folder / "slower.py"
    text = SLOWER.replace("MODULE", info.module).replace("ADAPTER", info.adapter)
    file.write_text(text.replace("SLOWDOWN", str(SLOWDOWN)), encoding="utf-8")
    FRAMEWORKS["slower"] = FrameworkInfo("slower", "Slower", str(file), "Slower", info.package, python=info.python)


@command.research_command("research.aa")
@command.one_framework
@options.option("--pairs", type=command.AT_LEAST_1, default=40, metavar="N", heading=command.HOW, help="Runs per kind.")
@options.option("--kind", type=click.Choice(KINDS), show_default="both", heading=command.HOW, help="Only these runs.")
@options.option("--budget", default="60s", metavar="TIME", heading=command.HOW, help="Time of each run, such as 5m.")
@options.option("--dataset", default=MINI, metavar="NAME", heading=command.HOW, help="The data.")
@command.threads
@options.pythons
@options.option(
    "--results",
    type=options.NEW_FILE,
    default=Path("results/aa.csv"),
    metavar="FILE",
    heading=options.RESULTS,
    help="The results of all runs; finished runs are not repeated.",
)
@command.out_file
def main(
    framework: str,
    pairs: int,
    kind: str | None,
    budget: str,
    dataset: str,
    threads: int,
    pythons: Mapping[str, str],
    results: Path,
    out: Path | None,
) -> None:
    """Test whether speed runs detect a slowdown of 3 %, and report none where there is none."""
    seconds = options.Duration().convert(budget, None, None)
    python = environment(FrameworkRequest(framework), pythons, device="cpu", progress=command.progress).python
    pythons = {**pythons, "slower": str(python)}
    known = read(results)
    known = known[(known["threads"] == threads) & (known["budget"] == budget)]
    done = set(zip(known["pair"], known["kind"]))
    with tempfile.TemporaryDirectory(prefix="onespec-aa-") as folder:
        _register_slower(framework, Path(folder))
        for number, each in product(range(1, pairs + 1), (kind,) if kind else KINDS):
            if (number, each) in done:
                continue
            compared = (framework,) if each == "A/A" else (framework, "slower")
            request = SpeedRequest(
                frameworks=",".join(compared),
                what=("train",),
                dataset=dataset,
                threads=(threads,),
                budget=seconds,
                device="cpu",
                pythons={name: path for name, path in pythons.items() if name in compared},
            )
            with disturbed(number):
                measured = result(request, Path(folder) / "runs")
            line = {"threads": threads, "budget": budget, "kind": each, "pair": number, **measured}
            command.progress(", ".join(f"{name} {value}" for name, value in line.items()))
            _append(results, line)
    text = report(read(results))
    click.echo(text)
    command.write_page(out, f"Written by `python -m research.aa`.\n\n{text}")


if __name__ == "__main__":
    main(prog_name="python -m research.aa")
