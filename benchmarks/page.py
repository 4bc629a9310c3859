"""A run's page, `report.html`: what was found, the table, the curves, and what they rest on.

One file without scripts that loads nothing, so it opens from a folder, can be mailed and printed. It is well-formed XML
besides HTML. Every text from outside passes `_safe`; every figure is the text of `report.shown`, or passes `_number`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd

from frameworks.registry import REALISATIONS

FIGURES = (  # a column of the curves, its title, whether its axis starts at zero
    ("test_accuracy", "Test accuracy", False),
    ("train_loss", "Training loss", False),
    ("examples_per_second", "Training speed, examples/s", True),
)
HUES = 7  # the colours --c0 to --c6 of STYLE
DASHES = ("none", "7 4", "1 5", "9 4 1 4")  # curves that coincide stay visible in each other's gaps
WIDTH, HEIGHT, TOP, BOTTOM = 360, 230, 12, 204  # of a chart and of its plot, in SVG units
LETTER, LINE = 6.4, 14  # what a letter of a chart's text takes at most, and a line of it


class Look(NamedTuple):
    """How a framework appears: its name, its name with the version, the style of its curves."""

    name: str
    full: str
    style: str


def html(
    run: dict[str, Any], cells: pd.DataFrame, curves: pd.DataFrame, shown: pd.DataFrame, notes: Sequence[str]
) -> str:
    """The page of a run, as text.

    run: the content of run.json. cells: a row per cell, columns `report.COLUMNS`. curves: a row per cell and epoch, raw
    numbers, empty where no epoch was finished. shown: `cells` rounded for people, row by row. notes: lines of text.
    """
    looks = {label: _look(k, label, cells) for k, label in enumerate(cells["framework"].unique())}
    nets = [_safe(net) for net in cells["net"].unique()]
    title = f"{_listed(nets)} in {_listed([_safe(look.name) for look in looks.values()])}"
    groups = [(net, group, shown.loc[group.index]) for net, group in cells.groupby("net", sort=False)]
    results = "".join(f'<p class="result">{_result(net, *tables, looks)}</p>' for net, *tables in groups)
    figures = "".join(_figures(net, curves[curves["net"] == net], looks) for net in cells["net"].unique() if len(curves))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>{title}, {_safe(run["began"][:10])}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<p class="when">onespec · <time datetime="{_safe(run["began"])}">{_safe(run["began"][:10])}</time></p>
<h1>{title}</h1>
{results}
</header>
{_table(groups, looks)}
{figures}
{_failures(cells, looks)}
<section>
<h2>What it rests on</h2>
<ul>{"".join(f"<li>{_safe(note.removeprefix('- '))}</li>" for note in notes)}</ul>
{_details(run, looks)}
</section>
</main>
</body>
</html>
"""


def _look(k: int, label: str, cells: pd.DataFrame) -> Look:
    """`torch:compile==2.12.1` in people's words, and the k-th colour and dash."""
    name, mode, version = re.fullmatch(r"([^:=]*):?(.*?)(?:==(.*))?", label, re.DOTALL).groups()  # type: ignore[union-attr]
    title = REALISATIONS[name].title if name in REALISATIONS else name
    ran = cells.loc[cells["framework"] == label, "version"].dropna()
    short, full = (" ".join(filter(None, (title, mode, end))) for end in (version, ran.iloc[0] if len(ran) else version))
    return Look(short, full, f"--c:var(--c{k % HUES});--d:{DASHES[k % len(DASHES)]}")


def _safe(text: object) -> str:
    """Text made fit for the page: escaped, without a terminal's colours, control characters or halves of pairs."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", str(text))
    return escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]", "\ufffd", plain))


def _number(value: float, form: str = ",.10g") -> str:
    return format(value, form)


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


# --- the result and the table -----------------------------------------------------------------------------------------


def _result(net: Any, cells: pd.DataFrame, shown: pd.DataFrame, looks: dict[str, Look]) -> str:
    """One network's main result in a sentence; the cells are those of this network."""
    first = cells["framework"].iloc[0]
    ok = cells[cells["status"] == "ok"]
    told = ok["seed"].isin(ok.loc[ok["framework"] == first, "seed"]) & ok["relative_speed_low"].notna()
    others = ok[told & (ok["framework"] != first)].groupby("framework", sort=False)
    clauses = [_compared(looks[first], looks[label], rows) for label, rows in others]
    text = f"<b>{_safe(net)}</b>: " + ("; ".join(clauses) or "no speeds to compare: it takes two frameworks side by side "
                                        "for two epochs") + "."  # fmt: skip
    accuracy = ok["test_accuracy"].dropna().astype(float)
    if len(accuracy):
        ends = dict.fromkeys(shown["test accuracy"][[accuracy.idxmin(), accuracy.idxmax()]])
        text += f" Test accuracy at the end: {_safe(' to '.join(ends))}."
    lost = len(cells) - len(ok)
    return text + (f' <a href="#failures">{lost} of {len(cells)} did not finish.</a>' if lost else "")


def _compared(first: Look, other: Look, rows: pd.DataFrame) -> str:
    """Who is faster, by how much; the intervals of several seeds are joined. A row per seed, speeds relative to first."""
    value, low, high = rows["relative_speed"].iloc[0], rows["relative_speed_low"].min(), rows["relative_speed_high"].max()
    if high < 1:
        first, other, value, low, high = other, first, 1 / value, 1 / high, 1 / low
    ends = [_number(end, ",.2f") for end in (low, high)]
    interval = " to ".join(ends)
    estimate = f"{interval} (over {len(rows)} seeds)"
    if len(rows) == 1:
        estimate = f"<strong>{_number(value, ',.2f')}</strong> ({interval})"
    faster, slower = (re.sub(r"\+\S*$", "", look.full) for look in (other, first))
    # A difference that the printed digits do not show is none either.
    if float(ends[0].replace(",", "")) <= 1 <= float(ends[1].replace(",", "")):
        return f"{_safe(faster)} against {_safe(slower)} is {estimate}, which covers 1: no difference shown"
    return f"{_safe(faster)} trains {estimate} times as fast as {_safe(slower)}"


def _table(groups: Sequence[tuple[Any, pd.DataFrame, pd.DataFrame]], looks: dict[str, Look]) -> str:
    ...
