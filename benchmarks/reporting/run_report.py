"""The tables and the page of a run, made from its records. Rounding happens here alone.

    python -m benchmarks.report results/20261121-lenet

writes them again; `--readme README.md` puts the table between the marks of a README as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.markup import escape
from rich.table import Table

from benchmarks.records.store import Folder, History
from benchmarks.reporting import pages
from benchmarks.reporting.markers import put
from benchmarks.reporting.tables import per_second
from benchmarks.runtime.errors import BadInput
from benchmarks.timing.statistics import Estimate, geometric_mean, paired_ratio
from benchmarks.verification import certificates

COLUMNS = (
    "net framework version mode device precision dataset seed batch_size epochs status reason params buffers macs "
    "train_loss train_accuracy test_accuracy examples_per_second examples_per_second_low examples_per_second_high "
    "relative_speed relative_speed_low relative_speed_high build_seconds first_step_seconds train_seconds "
    "evaluation_seconds peak_memory_mib import_seconds import_memory_mib load_seconds certified certificate"
).split()


def write(folder: Folder) -> pd.DataFrame:
    """Write a run's tables and page into its folder; the table of cells is returned."""
    cells, curves = frame(folder), curve_frame(folder)
    folder.write("report.csv", cells.to_csv(index=False))
    folder.write("curves.csv", curves.to_csv(index=False))
    folder.write("report.md", markdown(folder, cells))
    folder.write("report.html", pages.html(folder.run, cells, curves, shown(cells), notes(folder)))
    return cells


def frame(folder: Folder) -> pd.DataFrame:
    """One row per cell, columns `COLUMNS`; what was not measured is None."""
    run, histories = folder.run, folder.histories()
    rows = [_row(job, histories, run["jobs"]) for job in run["jobs"]]
    table = pd.DataFrame(rows, columns=COLUMNS).astype(object)
    return table.where(table.notna(), None)


def curve_frame(folder: Folder) -> pd.DataFrame:
    """One row per cell and epoch."""
    rows = [
        {
            **{name: job[name] for name in ("net", "framework", "seed")},
            **{name: epoch[name] for name in ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy")},
            "examples_per_second": _speed(epoch),
            "evaluation_seconds": epoch["evaluation_seconds"],
        }
        for job, history in recorded(folder)
        for epoch in history.epochs
    ]
    return pd.DataFrame(rows)


def recorded(folder: Folder) -> list[tuple[dict[str, Any], History]]:
    """Every job of a run with what is recorded of it."""
    histories = folder.histories()
    return [(job, histories.get(job["cell"], History())) for job in folder.run["jobs"]]


def _row(job: dict[str, Any], histories: dict[str, History], jobs: list[dict[str, Any]]) -> dict[str, Any]:
    history = histories.get(job["cell"], History())
    start, end = history.start or {}, history.end or {"status": "unfinished", "reason": "stopped; --resume goes on"}
    peers = [other for other in jobs if (other["net"], other["seed"]) == (job["net"], job["seed"])]
    first = histories.get(peers[0]["cell"], History())
    speed = geometric_mean([value for value in map(_speed, history.epochs) if value])
    return {
        **{name: job[name] for name in COLUMNS if name in job},
        "version": next(iter(start.get("versions", {}).values()), job.get("version")),
        "mode": start.get("settings", {}).get("mode", job["mode"]),
        "status": end["status"],
        "reason": end["reason"],
        "params": start.get("params"),
        "buffers": start.get("buffers"),
        **_last(history),
        **_estimate("examples_per_second", speed),
        **_estimate("relative_speed", _relative(history, first)),
        "build_seconds": start.get("build_seconds"),
        "import_seconds": start.get("import_seconds"),
        "load_seconds": start.get("load_seconds"),
        "import_memory_mib": _mib(start.get("import_memory")),
        **certificates.columns(start.get("certificate")),
        "peak_memory_mib": _mib(end.get("peak", {}).get("device" if job["device"] == "cuda" else "resident")),
    }


def _last(history: History) -> dict[str, Any]:
    """What the epochs say together, and the last of them alone."""
    if not history.epochs:
        return {}
    last = history.epochs[-1]
    return {
        **{name: last[name] for name in ("train_loss", "train_accuracy", "test_accuracy")},
        "first_step_seconds": history.epochs[0]["first_step_seconds"],
        "train_seconds": sum(seconds for epoch in history.epochs for _, seconds in epoch["slices"]),
        "evaluation_seconds": sum(epoch["evaluation_seconds"] for epoch in history.epochs),
    }


def _speed(epoch: dict[str, Any]) -> float | None:
    """Pictures a second of an epoch's slices; the very first step is not among them."""
    seconds = sum(slice_[1] for slice_ in epoch["slices"])
    return float(sum(slice_[0] for slice_ in epoch["slices"]) / seconds) if seconds else None


def _relative(mine: History, first: History) -> Estimate | None:
    """Speed against the first framework, paired by round; no more than the two ran side by side in the same launch."""
    if mine is first:
        return Estimate(1.0) if mine.epochs else None
    theirs = {(epoch["launch"], epoch["epoch"]): _speed(epoch) for epoch in first.epochs}
    pairs = [(_speed(epoch), theirs.get((epoch["launch"], epoch["epoch"]))) for epoch in mine.epochs]
    both = [(a, b) for a, b in pairs if a and b]
    return paired_ratio([a for a, _ in both], [b for _, b in both])


def _estimate(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    value, low, high = estimate or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _mib(size: int | None) -> float | None:
    return None if size is None else size / 2**20


# --- for people -------------------------------------------------------------------------------------------------------


def shown(cells: pd.DataFrame) -> pd.DataFrame:
    """The columns that a person reads, rounded, as text."""
    table = pd.DataFrame([_shown(row) for row in cells.to_dict("records")])
    return table.drop(columns="seed") if table["seed"].nunique() == 1 else table


def _shown(row: dict[Hashable, Any]) -> dict[str, str]:
    return {
        "network": row["net"],
        "framework": f"{row['framework'].split('==')[0]} {row['version'] or ''}".strip(),
        "seed": str(row["seed"]),
        "parameters": _text(row["params"], ",.0f"),
        "train loss": _text(row["train_loss"], ".4f"),
        "test accuracy": _text(row["test_accuracy"], ".4f"),
        "examples/s": _interval(row, "examples_per_second", per_second(row["examples_per_second"])),
        "relative speed": _interval(row, "relative_speed", ".3f"),
        "first step s": _text(row["first_step_seconds"], ".2f"),
        "train s": _text(row["train_seconds"], ".1f"),
        "peak MiB": _text(row["peak_memory_mib"], ",.0f"),
        "proof": row["certified"],
        "status": row["status"] + (f": {row['reason']}" if row["reason"] else ""),
    }


def _text(value: Any, form: str) -> str:
    return "" if value is None or pd.isna(value) else format(value, form)


def _interval(row: dict[Hashable, Any], name: str, form: str) -> str:
    value, low, high = (_text(row[name + end], form) for end in ("", "_low", "_high"))
    return f"{value} ({low} to {high})" if low else value


def table(cells: pd.DataFrame, width: int) -> Table:
    """The same for a terminal of so many columns; a narrow one is spared what is in the file all the same."""
    text = shown(cells)
    text["examples/s"] = text["examples/s"].str.split(" ").str[0]
    if width < WIDE:
        spared = ["parameters", "train loss", "first step s", "train s", *["peak MiB"] * (width < WIDE * 0.7)]
        text = text.drop(columns=spared)
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in text.columns:
        words = name in ("network", "framework", "status")
        made.add_column(name, justify="left" if words else "right", no_wrap=name != "status")
    for row in text.astype(str).to_numpy().tolist():
        made.add_row(*map(escape, row))
    return made


BUSY = 0.05  # share of the cores' time that others may have without a word
WIDE = 150  # columns of a terminal that holds the whole table


def markdown(folder: Folder, cells: pd.DataFrame) -> str:
    """The table and what it rests on, fit to be pasted into a README."""
    table = shown(cells)
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([*rows, "", *notes(folder)]) + "\n"


def notes(folder: Folder) -> list[str]:
    """Under the table: the recipe, the machine, what the figures are."""
    run = folder.run
    jobs = run["jobs"]
    recipes: dict[str, list[str]] = {}
    for job in jobs:
        recipe = (
            f"{job['dataset']} ({job['train_size']:,} + {job['test_size']:,} pictures), batch {job['batch_size']}, "
            f"{job['optimizer']}, rate {job['rate']:g}, {_epochs(job['epochs'])}"
        )
        recipes.setdefault(recipe, []).append(job["net"])
    unpublished = {name for name, data in run["data"].items() if not data["published"]}
    return [
        *(f"- {', '.join(dict.fromkeys(nets))}: {recipe}." for recipe, nets in recipes.items()),
        *(f"- {name}: not the published bytes." for name in sorted(unpublished)),
        f"- {machine_line(run)}.",
        "- One run of each cell. Examples/s: geometric mean over the epochs, the first step left out, with its 95 % "
        "interval; relative speed: against the first framework, paired by round, with its 95 % interval.",
        *drawing(folder),
        *_company(run),
        *(
            [f"- Of the epochs' time {share:.1%} went to the harness."]
            if (share := _harness(folder)) is not None
            else []
        ),
    ]


def _company(run: dict[str, Any]) -> list[str]:
    """What the speeds are worth where other programs were at work as well."""
    share = run.get("others") or 0
    return [f"- Other programs had {share:.0%} of the cores' time: speeds are a busy machine's."] * (share >= BUSY)


def drawing(folder: Folder) -> list[str]:
    """What it took to draw changed pictures, a line for each network that trains on some."""
    drawn: dict[str, list[tuple[float, int]]] = {}  # seconds and pictures, epoch by epoch
    changes: dict[str, str] = {}
    for job, history in recorded(folder):
        if job.get("changes"):
            changes[job["net"]] = ", ".join(job["changes"])
            taken = [epoch["augment_seconds"] for epoch in history.epochs if epoch.get("augment_seconds")]
            drawn.setdefault(job["net"], []).extend((seconds, job["train_size"]) for seconds in taken)
    return [
        f"- {net}: {changes[net]} drawn anew for each epoch by the harness, the same for every framework and outside "
        f"the timed slices, at {sum(size for _, size in epochs) / sum(taken for taken, _ in epochs):,.0f} pictures/s."
        for net, epochs in drawn.items()
        if epochs
    ]


def _harness(folder: Folder) -> float | None:
    """The share of the epochs' wall time in which no worker was training or predicting."""
    epochs = [epoch for _, history in recorded(folder) for epoch in history.epochs]
    outside = sum(epoch["harness_seconds"] for epoch in epochs)
    inside = sum(
        sum(seconds for _, seconds in epoch["slices"])
        + (epoch["first_step_seconds"] or 0)
        + epoch["evaluation_seconds"]
        for epoch in epochs
    )
    return outside / (outside + inside) if epochs else None


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def machine_line(run: dict[str, Any]) -> str:
    """The machine and the date in one line."""
    machine, job = run["machine"], run["jobs"][0]
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        machine["gpu"] or "no GPU",
        machine["system"],
        f"{job['threads']} thread{'s' * (job['threads'] != 1)}, {job['precision']} on {job['device']}",
        run["began"][:10],
    ]
    return "; ".join(parts)


def into_readme(path: Path, folder: Folder) -> None:
    """Put the run's table between the marks of a README. BadInput where it has none."""
    put(path, "results", f"`{' '.join(folder.run['command'])}` gave:\n\n{markdown(folder, frame(folder))}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Write a run's tables again.")
    parser.add_argument("folder", type=Path, help="a folder that benchmarks.run has made")
    parser.add_argument("--readme", type=Path, help="a README whose results table is to be this run's")
    options = parser.parse_args(arguments)
    try:
        folder = Folder.open(options.folder, option="folder")
        write(folder)
        if options.readme:
            into_readme(options.readme, folder)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    print((folder.path / "report.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
