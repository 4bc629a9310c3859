"""Does `benchmarks.speed` give a wrong verdict on a busy machine? A framework against itself, beside busy processes.

    python -m research.busy --runs 20 --budget 90s --out docs/busy.md

Each run compares a framework with the same adapter under another name, so the true ratio is 1: `faster` and `slower`
are wrong, and so is an interval that leaves out 1, except for 5 % of them. `not measured` is never wrong; the table
says how often it occurs. The command starts and ends the busy processes: an odd one computes in Python, an even one
multiplies matrices with NumPy.

The result of every run is appended to --results at once; a command that is given again continues there. The table
covers all results in that file with the same framework.
"""

from __future__ import annotations

import contextlib
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import pandas as pd

from benchmarks.cli import options
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.progress import ProgressDisplay
from benchmarks.reporting import speed_report
from benchmarks.reporting.contention_text import WITHHELD
from benchmarks.reporting.number_formats import percent
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import BadInput
from benchmarks.timing import speed_run
from benchmarks.timing.speed_request import SpeedRequest
from benchmarks.training.plan import MINI
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from research import command

AGAIN = "again"  # the framework a second time
# Each burner ends with the process that started it, however that ends.
BURNERS = (
    """
import os
parent = os.getppid()
while os.getppid() == parent:
    sum(range(100_000))
""",
    """
import os
import numpy as np
parent, block = os.getppid(), np.ones((512, 512), np.float32)
while os.getppid() == parent:
    block @ block
""",
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
COLUMNS = (
    "framework",
    "version",
    "busy",
    "threads",
    "budget",
    "run",
    "verdict",
    "ratio",
    "low",
    "high",
    "launches",
    "slices",
    "disturbed",
    "load",
    "commit",
)
HEAD = (
    "busy processes",
    "threads",
    "budget",
    "runs",
    "not measured",
    "same",
    "wrong verdict",
    "interval leaves 1 out",
    "median half width in %",
    "load of others",
    "disturbed slices",
)


@contextlib.contextmanager
def burning(count: int) -> Iterator[list[int]]:
    """Run beside this many processes that never rest; yields their process ids."""
    with contextlib.ExitStack() as stack:
        burners = []
        for number in range(count):
            program = [sys.executable, "-c", BURNERS[number % len(BURNERS)]]
            burners.append(subprocess.Popen(program, env=os.environ | ONE_THREAD))
            stack.callback(burners[-1].wait)
            stack.callback(burners[-1].kill)
        yield [burner.pid for burner in burners]


def result(request: SpeedRequest, out: Path) -> dict[str, Any]:
    """One run: the row of the framework that is compared with itself."""
    folder = speed_run.execute(request, ProgressDisplay(), out, write_report=speed_report.write)
    rows = speed_report.frame(folder).set_index("framework")
    row = rows.loc[AGAIN]
    if row["status"] != "ok" or row["verdict"] is None:
        raise BadInput(f"{folder.path}: {AGAIN} {row['status']}: {row['reason'] or 'no verdict'}")
    return {
        "version": row["version"],
        "verdict": row["verdict"],
        "ratio": row["relative_speed"],
        "low": row["relative_speed_low"],
        "high": row["relative_speed_high"],
        "launches": row["launches"],
        "slices": rows["slices"].sum(),
        "disturbed": rows["disturbed_slices"].sum(),
        "load": row["cpu_load"],
        "commit": checkout.short(checkout.commit() or "none"),
    }


def wrong(results: pd.DataFrame) -> int:
    """The number of wrong verdicts."""
    return int(results["verdict"].isin(("faster", "slower")).sum())


def row(settings: Sequence[object], results: pd.DataFrame) -> Row:
    """A row of the table: the runs with the same number of busy processes and the same settings."""
    measured = results[results["low"].notna()]
    widths = 100 * (measured["high"] / measured["low"] - 1) / 2
    return (
        *map(str, settings),
        str(len(results)),
        str(int((results["verdict"] == WITHHELD).sum())),
        str(int((results["verdict"] == "same").sum())),
        str(wrong(results)),
        str(int(((measured["low"] > 1) | (measured["high"] < 1)).sum())),
        f"{widths.median():.2f}" if len(widths) else "",
        percent(results["load"].median(), 0),
        percent(results["disturbed"].sum() / results["slices"].sum(), 0),
    )


def report(results: pd.DataFrame) -> str:
    """The table of these results, and what it covers."""
    groups = results.groupby(["busy", "threads", "budget"], sort=True)
    rows = [row(list(settings), of_kind) for settings, of_kind in groups]
    versions = ", ".join(
        f"{name} {version}" for name, version in dict.fromkeys(zip(results.framework, results.version))
    )
    commits = ", ".join(dict.fromkeys(results["commit"]))
    return (
        f"{markdown(HEAD, rows)}\n\nLeNet, training, batch 256, {versions} against itself: the true ratio is 1, and "
        "`faster` and `slower` are wrong. A 95 % interval leaves out the true ratio in 5 % of runs; a verdict also "
        "requires that it is beyond the noise floor. Load of others: of the worker's cores during its slices, median "
        "over runs. A run is not in the table if `speed` refuses its budget because the workers start too slowly. "
        f"{command.machine()}; commit {commits}.\n"
    )


def read(path: Path) -> pd.DataFrame:
    """The results in a file."""
    text = {"commit": str, "version": str}
    return pd.read_csv(path, dtype=text) if path.exists() else pd.DataFrame(columns=list(COLUMNS))


def _append(path: Path, line: Mapping[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(line)


def register_again(framework: str) -> None:
    """The adapter of this framework under the name `again`."""
    info = FRAMEWORKS[framework]
    FRAMEWORKS[AGAIN] = FrameworkInfo(AGAIN, info.title, info.module, info.adapter, info.package, python=info.python)


@command.research_command("research.busy")
@command.one_framework
@options.option(
    "--runs", type=command.AT_LEAST_1, default=20, metavar="N", heading=command.HOW, help="Runs of each kind."
)
@options.option(
    "--busy",
    type=options.Numbers(0, 64),
    default="0,1,2",
    metavar="N,...",
    heading=command.HOW,
    help="Numbers of busy processes.",
)
@options.option(
    "--threads",
    type=options.Numbers(1, 1024),
    default="1,2",
    metavar="N,...",
    heading=command.HOW,
    help="Threads of each worker.",
)
@options.option("--budget", default="90s", metavar="TIME", heading=command.HOW, help="Time of each run, such as 5m.")
@options.option("--dataset", default=MINI, metavar="NAME", heading=command.HOW, help="The data.")
@options.pythons
@options.option(
    "--results",
    type=options.FILE,
    default=Path("results/busy.csv"),
    metavar="FILE",
    heading=options.RESULTS,
    help="The results of all runs; finished runs are not repeated.",
)
@command.out_file
def main(
    framework: str,
    runs: int,
    busy: Sequence[int],
    threads: Sequence[int],
    budget: str,
    dataset: str,
    pythons: Mapping[str, str],
    results: Path,
    out: Path | None,
) -> ExitCode:
    """Test whether speed runs on a busy machine give a verdict that is wrong."""
    seconds = options.Duration().convert(budget, None, None)
    python = environment(FrameworkRequest(framework), pythons, device="cpu", progress=command.progress).python
    register_again(framework)
    known = read(results)
    known = known[(known["framework"] == framework) & (known["budget"] == budget)]
    done = set(zip(known["run"], known["busy"], known["threads"]))
    for number, count, cores in product(range(1, runs + 1), busy, threads):
        if (number, count, cores) in done:
            continue
        request = SpeedRequest(
            frameworks=f"{framework},{AGAIN}",
            what=("train",),
            dataset=dataset,
            threads=(cores,),
            budget=seconds,
            device="cpu",
            pythons={**pythons, AGAIN: str(python)},
        )
        with tempfile.TemporaryDirectory(prefix="onespec-busy-") as folder, burning(count):
            measured = result(request, Path(folder) / "runs")
        settings = {"framework": framework, "busy": count, "threads": cores, "budget": budget, "run": number}
        line = settings | measured
        command.progress(", ".join(f"{name} {value}" for name, value in line.items()))
        _append(results, line)
    table = read(results)
    table = table[table["framework"] == framework]
    text = report(table)
    click.echo(text)
    if out:
        given = "with `--busy`, `--threads`, `--budget` and `--runs` as in the table"
        head = f"# Verdicts on a busy machine\n\nWritten by `python -m research.busy --fw {framework}`, {given}."
        more = "[How speed is measured](statistics.md#busy-machines) says when a verdict is withheld."
        out.write_text(f"{head} {more}\n\n{text}", encoding="utf-8")
    return ExitCode.FAILED if wrong(table) else ExitCode.OK


if __name__ == "__main__":
    main(prog_name="python -m research.busy")
