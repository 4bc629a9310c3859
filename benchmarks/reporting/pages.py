"""The page of a training run, `report.html`: the results as text, the table, the curves, and the settings of the run.

One file without scripts that loads nothing, so it opens from a folder, can be mailed and printed. It is well-formed XML
as well as HTML. The template is `page.html.j2`; every text passes its autoescape.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pandas as pd

from benchmarks.records.runs import TrainingRun
from benchmarks.reporting.charts import Chart, Curve, Style, finite, line_chart
from benchmarks.reporting.number_formats import count, day, number
from benchmarks.reporting.templates import render, stylesheet
from benchmarks.runtime import precisions
from frameworks.registry import FRAMEWORKS

MOST_CELLS = 2000  # of a run whose cells and curves the page shows; a browser needs seconds for that many
FEW = 6  # networks that the title names and whose results stand as text above the table

FIGURES = (  # a column of the curves, its title, whether its axis starts at zero
    ("test_accuracy", "Test accuracy", False),
    ("train_loss", "Training loss", False),
    ("examples_per_second", "Training examples per second", True),
)
HUES = 7  # the colors --c0 to --c6 of the stylesheet
DASHES = ("none", "7 5", "1 5", "9 5 1 5")  # curves that coincide stay visible in each other's gaps


class Speed(NamedTuple):
    """How many times as fast one framework trains as another. doubtful: the interval, as printed, includes 1."""

    faster: str
    slower: str
    value: str
    interval: str
    doubtful: bool


class Result(NamedTuple):
    """The results of one network."""

    net: str
    speeds: list[Speed]
    withheld: str | None  # why there are no speeds, or not all, because of other programs
    accuracy: str
    unfinished: int
    trials: int


class Cell(NamedTuple):
    """A cell of the table: its column, its text, and the interval that stands below it."""

    name: str
    text: str
    interval: str


class Bar(NamedTuple):
    """A relative speed as a bar of 100 units: its length, the place of 1, the interval; low is None where none is."""

    value: float
    one: float
    low: float | None
    high: float | None


class TableRow(NamedTuple):
    number: Hashable
    style: Style
    bar: Bar | None
    cells: list[Cell]
    ok: bool


class CurveFigure(NamedTuple):
    caption: str
    chart: Chart


class Failure(NamedTuple):
    number: Hashable
    name: str
    reason: str


def html(
    run: TrainingRun, cells: pd.DataFrame, curves: pd.DataFrame, formatted: pd.DataFrame, notes: Sequence[str]
) -> str:
    """The page of a run, as text.

    run: `run.json`. cells: a row per cell, columns `run_report.COLUMNS`. curves: a row per cell
    and epoch, raw numbers; empty where no epoch was finished. formatted: `run_report.formatted(cells)`; of a run with
    more than MOST_CELLS cells, whose page has only the results by network, that of any. notes: the Markdown items under
    the table.
    """
    styles = {label: _style(index, label, cells) for index, label in enumerate(cells["framework"].unique())}
    nets = {str(net): rows for net, rows in cells.groupby("net", sort=False)}
    names = listed(list(nets)) if len(nets) <= FEW else f"{len(nets)} networks"
    return render(
        "page.html.j2",
        stylesheet=stylesheet(),
        title=f"{names} in {listed([style.name for style in styles.values()])}",
        began=run.began,
        date=day(run.began),
        results=[_result(net, rows, styles) for net, rows in nets.items()],
        few=len(nets) <= FEW,
        columns=_columns(formatted),
        table={} if len(cells) > MOST_CELLS else _table(nets, formatted, styles),
        left_out=count(len(cells)) if len(cells) > MOST_CELLS else "",
        notes=[note.removeprefix("- ") for note in notes],
        figures={} if len(cells) > MOST_CELLS else _all_figures(curves, styles),
        failures=_failures(cells, styles)[:MOST_CELLS],
        facts=_facts(run, cells, styles),
    )


def _style(index: int, label: str, cells: pd.DataFrame) -> Style:
    """The title of a label such as `torch:compile==2.12.1`, and the color and dash of that index."""
    head, _, requested = label.partition("==")
    name, _, mode = head.partition(":")
    title = FRAMEWORKS[name].title if name in FRAMEWORKS else name
    versions = [*cells.loc[cells["framework"] == label, "version"].dropna(), requested]
    short, full = (" ".join(filter(None, (title, mode, version))) for version in (requested, versions[0]))
    return Style(short, full, f"--c:var(--c{index % HUES});--d:{DASHES[index % len(DASHES)]}")


def listed(words: Sequence[str]) -> str:
    """Words as an enumeration: a, b and c."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


# --- the results and the table ----------------------------------------------------------------------------------------


def _result(net: str, cells: pd.DataFrame, styles: dict[str, Style]) -> Result:
    """Which framework is faster, how accurate they are, how many cells did not finish."""
    first = cells["framework"].iloc[0]
    ok = cells[cells["status"] == "ok"]
    paired = ok["seed"].isin(ok.loc[ok["framework"] == first, "seed"]) & ok["relative_speed_low"].notna()
    others = ok[paired & (ok["framework"] != first)].groupby("framework", sort=False)
    speeds = [_speed(styles[first], styles[label], rows) for label, rows in others]
    accuracies = ok["test_accuracy"].dropna().astype(float)
    extremes = [number(each, ".4f") for each in (accuracies.min(), accuracies.max())] if len(accuracies) else []
    accuracy = " to ".join(dict.fromkeys(extremes))
    withheld = next((text for text in ok["withheld"] if text), None)
    return Result(net, speeds, withheld, accuracy, len(cells) - len(ok), len(cells))


def _speed(first: Style, other: Style, rows: pd.DataFrame) -> Speed:
    """The ratio of one pair of frameworks; rows: the other's, one per seed. Intervals of several seeds are joined."""
    ratio = rows["relative_speed"].iloc[0], rows["relative_speed_low"].min(), rows["relative_speed_high"].max()
    faster, slower = other, first
    if ratio[2] < 1:
        faster, slower, ratio = first, other, (1 / ratio[0], 1 / ratio[2], 1 / ratio[1])
    value, low, high = (number(part, ".2f") for part in ratio)
    interval = f"{low} to {high}"
    # Decided on the printed digits: the page claims no difference that its reader cannot see.
    doubtful = float(low) <= 1 <= float(high)
    if len(rows) > 1:
        value, interval = interval, f"{len(rows)} seeds"
    return Speed(faster.without_build, slower.without_build, value, interval, doubtful)


def _columns(formatted: pd.DataFrame) -> list[str]:
    return [name for name in formatted.columns if name not in ("network", "framework")]


def _table(
    nets: dict[str, pd.DataFrame], formatted: pd.DataFrame, styles: dict[str, Style]
) -> dict[str, list[TableRow]]:
    """The rows of the table by network."""
    scale = 1.2 * max([1.0, *(speed for cells in nets.values() for speed in cells["relative_speed"].dropna())])
    columns = _columns(formatted)
    table: dict[str, list[TableRow]] = {}
    for net, cells in nets.items():
        table[net] = [
            TableRow(
                index,
                styles[cell["framework"]],
                _bar(cell, scale),
                [_cell(name, str(cell[name] if name == "status" else formatted.at[index, name])) for name in columns],
                cell["status"] == "ok",
            )
            for index, cell in zip(cells.index, cells.to_dict("records"))
        ]
    return table


def _cell(name: str, text: str) -> Cell:
    """A cell with the interval, which the text has in brackets, apart."""
    value, bracket, interval = text.partition(" (")
    if not interval.endswith(")"):
        return Cell(name, text, "")
    return Cell(name, value, bracket.lstrip() + interval)


def _bar(cell: Mapping[Hashable, Any], scale: float) -> Bar | None:
    """A relative speed as a bar; an interval that leaves the scale ends beyond it."""
    value, low, high = (cell[f"relative_speed{end}"] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return None
    unit = 100 / scale
    if pd.isna(low):
        return Bar(value * unit, unit, None, None)
    return Bar(value * unit, unit, low * unit, min(high * unit, 101))


# --- the curves -------------------------------------------------------------------------------------------------------


def _all_figures(curves: pd.DataFrame, styles: dict[str, Style]) -> dict[str, list[CurveFigure]]:
    """The charts by network."""
    if not len(curves):
        return {}
    return {str(net): _figures(str(net), rows, styles) for net, rows in curves.groupby("net", sort=False)}


def _figures(net: str, curves: pd.DataFrame, styles: dict[str, Style]) -> list[CurveFigure]:
    """The charts of one network that have any value to draw."""
    figures = []
    for column, title, from_zero in FIGURES:
        drawn = []
        for (label, seed), rows in curves.groupby(["framework", "seed"], sort=False):
            points = [(int(epoch), finite(value)) for epoch, value in zip(rows["epoch"], rows[column])]
            if any(value is not None for _, value in points):
                drawn.append(Curve(styles[str(label)], seed, points))
        if drawn:
            diverged = ", \N{MULTIPLICATION SIGN} then not finite" if any(curve.diverged for curve in drawn) else ""
            figures.append(
                CurveFigure(title + diverged, line_chart(f"{net}: {title.lower()} by epoch", drawn, from_zero))
            )
    return figures


# --- failures and facts -----------------------------------------------------------------------------------------------


def _failures(cells: pd.DataFrame, styles: dict[str, Style]) -> list[Failure]:
    """The cells that did not finish, with the reasons."""
    failed = cells[cells["status"] != "ok"]
    return [
        Failure(
            index,
            f"{cell['net']}, {styles[cell['framework']].full}, seed {cell['seed']}: {cell['status']}",
            cell["reason"] or "no reason was recorded",
        )
        for index, cell in zip(failed.index, failed.to_dict("records"))
    ]


def _facts(run: TrainingRun, cells: pd.DataFrame, styles: dict[str, Style]) -> dict[str, str]:
    """Command, machine, versions, commit and hashes."""
    facts: dict[str, object] = {"command": " ".join(run.command), "began": run.began, "commit": run.commit}
    if len(run.machines) == 1:  # several are in the notes
        (machine,) = run.machines
        known = msgspec.to_builtins(machine)
        facts |= {name.replace("_gib", ", GiB"): value for name, value in known.items()}
    for label, mode, precision, tf32, device in cells[["framework", "mode", "precision", "tf32", "device"]].itertuples(
        index=False
    ):
        facts[styles[label].full] = ", ".join(filter(None, (mode, precisions.named(precision, tf32), device)))
    for job in run.jobs:
        facts[f"{job.net}: SHA-256 of the network"] = job.spec_sha256
        weights = job.weights_sha256 or "not started"
        facts[f"{job.net}, seed {job.seed}: SHA-256 of the initial weights"] = weights
    for name, data in run.data.items():
        facts |= {f"{name}: SHA-256 of {file}": digest for file, digest in data.sha256.items()}
    return {name: str(value or "none") for name, value in facts.items()}
