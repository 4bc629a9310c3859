"""A run's page, `report.html`: what was found, the table, the curves, and what they rest on.

One file without scripts that loads nothing, so it opens from a folder, can be mailed and printed. It is well-formed XML
besides HTML. Every text from outside passes `_safe`; every figure is the text of `report.shown` or passes `_number`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd

from frameworks.registry import FRAMEWORKS

FEW = 6  # networks that a page names in its title, each with its result in words; of more there is a table first

FIGURES = (  # a column of the curves, its title, whether its axis starts at zero
    ("test_accuracy", "Test accuracy", False),
    ("train_loss", "Training loss", False),
    ("examples_per_second", "Training examples per second", True),
)
HUES = 7  # the colours --c0 to --c6 of STYLE
DASHES = ("none", "7 5", "1 5", "9 5 1 5")  # curves that coincide stay visible in each other's gaps
WIDTH, HEIGHT, TOP, BOTTOM = 360, 216, 8, 188  # of a chart and of its plot, in SVG units
LETTER, LINE = 7.0, 14  # a bold letter's width and a line's height in a chart's text, in the same units
TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r(?=\n)")  # colours and line ends, from the last words of a worker
UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")  # neither XML nor UTF-8 can hold these


class Look(NamedTuple):
    """How a framework appears: its name, its name with the version, the colour and dash of its curves."""

    name: str
    full: str
    style: str

    @property
    def label(self) -> str:
        """The name, no longer than a chart has room for."""
        return self.name if len(self.name) <= 24 else f"{self.name[:23]}\N{HORIZONTAL ELLIPSIS}"


class Curve(NamedTuple):
    """One cell's figure, epoch by epoch; what is no finite number is None, but not all of it."""

    look: Look
    seed: Any
    points: list[tuple[int, float | None]]

    @property
    def end(self) -> tuple[int, float]:
        """The last epoch that has a number, and the number."""
        return [(epoch, value) for epoch, value in self.points if value is not None][-1]

    @property
    def lost(self) -> bool:
        """Whether epochs without a number follow: a loss that diverged."""
        return self.points[-1][1] is None

    def __str__(self) -> str:
        epoch, value = self.end
        after = ", then no number" if self.lost else ""
        return f"{self.look.name}, seed {self.seed}: {_number(value, ',.4g')} after epoch {epoch}{after}"


def html(
    run: dict[str, Any], cells: pd.DataFrame, curves: pd.DataFrame, shown: pd.DataFrame, notes: Sequence[str]
) -> str:
    """The page of a run, as text.

    run: the content of run.json. cells: a row per cell, columns `report.COLUMNS`. curves: a row per cell and epoch, raw
    numbers; empty where no epoch was finished. shown: `report.shown(cells)`. notes: lines of text under the table.
    """
    looks = {label: _look(k, label, cells) for k, label in enumerate(cells["framework"].unique())}
    nets = dict(list(cells.groupby("net", sort=False)))
    what = _listed(list(nets)) if len(nets) <= FEW else f"{len(nets)} networks"
    title = f"{what} in {_listed([look.name for look in looks.values()])}"
    date = _safe(run["began"][:10])
    results = "".join(_result(net, rows, shown, looks) for net, rows in nets.items())
    if len(nets) > FEW:
        results = f"<details>\n<summary>Each network in words</summary>\n{results}</details>\n"
    figures = [_figures(net, curves[curves["net"] == net], looks) for net in nets if len(curves)]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>{title}, {date}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<p class="faint">onespec, <time datetime="{_safe(run["began"])}">{date}</time></p>
<h1>{title}</h1>
{results}</header>
{_table(nets, shown, looks)}
<ul class="faint">{"".join(f"<li>{_safe(note.removeprefix('- '))}</li>" for note in notes)}</ul>
{"".join(figures)}{_failures(cells, looks)}{_details(run, cells, looks)}
</main>
</body>
</html>
"""


def _look(k: int, label: str, cells: pd.DataFrame) -> Look:
    """A label such as `torch:compile==2.12.1` in people's words; the k-th colour and dash."""
    head, _, asked = label.partition("==")
    name, _, mode = head.partition(":")
    title = FRAMEWORKS[name].title if name in FRAMEWORKS else name
    ran = [*cells.loc[cells["framework"] == label, "version"].dropna(), asked]
    short, full = (" ".join(filter(None, (title, mode, version))) for version in (asked, ran[0]))
    return Look(short, full, f"--c:var(--c{k % HUES});--d:{DASHES[k % len(DASHES)]}")


def _safe(text: object) -> str:
    """Text from outside, fit for the page."""
    return escape(UNFIT.sub("\ufffd", TERMINAL.sub("", str(text))))


def _number(value: float, form: str = ",.10g") -> str:
    """The one place where the page rounds; ticks are round already and lose only what binary fractions add."""
    return format(value, form)


def _listed(words: Sequence[Any]) -> str:
    """Words in a row, made safe: a, b and c."""
    *others, last = map(_safe, words)
    return f"{', '.join(others)} and {last}" if others else last


# --- the result and the table -----------------------------------------------------------------------------------------


def _result(net: Any, cells: pd.DataFrame, shown: pd.DataFrame, looks: dict[str, Look]) -> str:
    """One network's result in plain words: who is faster, how accurate they are, what is missing."""
    first = cells["framework"].iloc[0]
    ok = cells[cells["status"] == "ok"]
    paired = ok["seed"].isin(ok.loc[ok["framework"] == first, "seed"]) & ok["relative_speed_low"].notna()
    others = ok[paired & (ok["framework"] != first)].groupby("framework", sort=False)
    speeds = [_compared(looks[first], looks[label], rows) for label, rows in others]
    none = "no speeds to compare, which takes two frameworks that trained side by side for two epochs or more"
    sentences = [f"<b>{_safe(net)}</b>: {'; '.join(speeds) or none}."]
    accuracy = ok["test_accuracy"].dropna().astype(float)
    if len(accuracy):
        ends = dict.fromkeys(shown.loc[[accuracy.idxmin(), accuracy.idxmax()], "test accuracy"])
        sentences.append(f"Test accuracy at the end: {_safe(' to '.join(ends))}.")
    if len(ok) < len(cells):
        sentences.append(f'<a href="#failures">{len(cells) - len(ok)} of {len(cells)} did not finish.</a>')
    return f'<p class="result">{" ".join(sentences)}</p>\n'


def _compared(first: Look, other: Look, rows: pd.DataFrame) -> str:
    """Who trains how many times as fast; rows: the other's, one per seed. The intervals of several seeds are joined."""
    speeds = rows["relative_speed"].iloc[0], rows["relative_speed_low"].min(), rows["relative_speed_high"].max()
    if speeds[2] < 1:
        first, other, speeds = other, first, (1 / speeds[0], 1 / speeds[2], 1 / speeds[1])
    value, low, high = (_number(speed, ".2f") for speed in speeds)
    ratio = f"<strong>{value}</strong> ({low} to {high})"
    if len(rows) > 1:
        ratio = f"<strong>{low} to {high}</strong> ({len(rows)} seeds)"
    faster, slower = (_safe(look.full.partition("+")[0]) for look in (other, first))
    # As printed: a difference that cannot be seen is not claimed.
    doubt = ": the interval covers 1, so no difference is shown" if float(low) <= 1 <= float(high) else ""
    return f"{faster} trains {ratio} times as fast as {slower}{doubt}"


def _table(nets: dict[Any, pd.DataFrame], shown: pd.DataFrame, looks: dict[str, Look]) -> str:
    """The table of cells, a body per network: as shown, with a bar for the relative speed, reasons left to the end."""
    columns = [name for name in shown.columns if name not in ("network", "framework")]
    scale = 1.2 * max([1.0, *(speed for cells in nets.values() for speed in cells["relative_speed"].dropna())])
    rows = []
    for net, cells in nets.items():
        rows.append("<tbody>\n")
        if len(nets) > 1:
            rows.append(f'<tr><th class="net" scope="rowgroup" colspan="{len(columns) + 1}">{_safe(net)}</th></tr>\n')
        for number, cell in cells.iterrows():
            look = looks[cell["framework"]]
            content = {name: _safe(shown.at[number, name]) for name in columns}
            content |= {name: re.sub(r" (\(.+\))$", r" <small>\1</small>", text) for name, text in content.items()}
            content["relative speed"] = _bar(cell, look, scale) + content["relative speed"]
            if cell["status"] != "ok":
                content["status"] = f'<a href="#failure-{number}">{_safe(cell["status"])}</a>'
            swatch = f'<svg viewBox="0 0 26 8" aria-hidden="true"><path style="{look.style}" d="M2 4H24" /></svg>'
            data = (f'<td data-name="{_safe(name)}">{content[name]}</td>' for name in columns)
            rows.append(f'<tr><th scope="row">{swatch} {_safe(look.full)}</th>{"".join(data)}</tr>\n')
        rows.append("</tbody>\n")
    heads = "".join(f'<th scope="col">{_safe(name)}</th>' for name in ("framework", *columns))
    caption = "In brackets: the 95 % interval. The bar is the relative speed, the line across it the interval."
    return f"<table>\n<caption>{caption}</caption>\n<thead><tr>{heads}</tr></thead>\n{''.join(rows)}</table>"


def _bar(cell: pd.Series, look: Look, scale: float) -> str:
    """A relative speed as a bar, a mark at 1, its interval across; one that leaves the scale has no end drawn."""
    value, low, high = (cell[f"relative_speed{end}"] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return ""
    drawn = f'<rect style="{look.style}" y="3" width="{value / scale:.1%}" height="8" />'
    drawn += f'<path class="one" d="M{100 / scale:.1f} 0V14" />'
    if pd.notna(low):
        left, right = 100 * low / scale, min(100 * high / scale, 101)
        drawn += f'<path d="M{left:.1f} 4v6m0-3H{right:.1f}{"m0-3v6" if right <= 100 else ""}" />'
    return f'<svg class="bar" viewBox="0 0 100 14" aria-hidden="true">{drawn}</svg>'


# --- the curves -------------------------------------------------------------------------------------------------------


def _figures(net: Any, curves: pd.DataFrame, looks: dict[str, Look]) -> str:
    """One network's charts, those that have anything to draw."""
    charts = []
    for column, title, from_zero in FIGURES:
        drawn = []
        for (label, seed), rows in curves.groupby(["framework", "seed"], sort=False):
            points = [(int(epoch), _finite(value)) for epoch, value in zip(rows["epoch"], rows[column])]
            if any(value is not None for _, value in points):
                drawn.append(Curve(looks[str(label)], seed, points))
        if drawn:
            caption = title + (", \N{MULTIPLICATION SIGN} then no number" if any(curve.lost for curve in drawn) else "")
            chart = _chart(f"{net}: {title.lower()} by epoch", drawn, from_zero)
            charts.append(f"<figure>\n<figcaption>{caption}</figcaption>\n{chart}\n</figure>\n")
    head = f"<h2>{_safe(net)}, epoch by epoch</h2>"
    return f'<section>\n{head}\n<div class="charts">\n{"".join(charts)}</div>\n</section>\n' if charts else ""


def _finite(value: Any) -> float | None:
    return float(value) if pd.notna(value) and math.isfinite(value) else None


def _chart(title: str, curves: Sequence[Curve], from_zero: bool) -> str:
    """Curves over the epochs as SVG; each framework is named once, beside the ends of its longest curves."""
    values = [value for curve in curves for _, value in curve.points if value is not None]
    ticks = _ticks(min([*values, 0.0] if from_zero else values), max(values))
    until = max(epoch for curve in curves for epoch, _ in curve.points)
    left = LETTER * max(len(_number(tick)) for tick in ticks) + 8
    right = WIDTH - LETTER * max(len(curve.look.label) for curve in curves) - 18

    def x(epoch: float) -> float:
        return left + (right - left) * ((epoch - 1) / (until - 1) if until > 1 else 1)

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    drawn = [f"<title>{_safe(title)}</title>", f"<desc>{_safe('; '.join(map(str, curves)))}</desc>"]
    for tick in ticks:
        drawn.append(f'<path class="grid" d="M{left:.1f} {y(tick):.1f}H{right:.1f}" />')
        drawn.append(f'<text class="tick" x="{left - 6:.1f}" y="{y(tick):.1f}">{_number(tick)}</text>')
    for epoch in [1, *(int(tick) for tick in _ticks(1, until) if 1 < tick <= until and tick == int(tick))]:
        drawn.append(f'<text class="epoch" x="{x(epoch):.1f}" y="{BOTTOM + 18}">{epoch}</text>')
    drawn.append(f'<text x="{right + 16:.1f}" y="{BOTTOM + 18}">epoch</text>')
    ends: dict[Look, list[tuple[int, float]]] = {}
    for curve in curves:
        path, pen = "", "M"
        for epoch, value in curve.points:
            if value is not None:  # h0 makes a dot of a point that stands alone
                path += f"{pen}{x(epoch):.1f} {y(value):.1f}{'h0' if pen == 'M' else ''}"
            pen = "M" if value is None else "L"
        end = f"M{x(curve.end[0]):.1f} {y(curve.end[1]):.1f}{'m-4-4l8 8m0-8l-8 8' if curve.lost else 'h0'}"
        words = f"<title>{_safe(curve)}</title>"
        drawn.append(f'<path class="curve" style="{curve.look.style}" d="{path}">{words}</path>')
        drawn.append(f'<path class="{"lost" if curve.lost else "end"}" style="{curve.look.style}" d="{end}" />')
        ends.setdefault(curve.look, []).append(curve.end)
    ends = {look: [end for end in each if end[0] == max(each)[0]] for look, each in ends.items()}
    heights = _apart([fmean(y(value) for _, value in each) for each in ends.values()])
    for (look, each), height in zip(ends.items(), heights):
        leaders = "".join(f"M{x(epoch):.1f} {y(value):.1f}L{right + 12:.1f} {height:.1f}" for epoch, value in each)
        name = f'<text x="{right + 16:.1f}" y="{height:.1f}">{_safe(look.label)}</text>'
        drawn.append(f'<g style="{look.style}"><path class="leader" d="{leaders}" />{name}</g>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n{chr(10).join(drawn)}\n</svg>'


def _ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, around low to high, in at most `most` steps and the ends'."""
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    power = 10 ** math.floor(math.log10((high - low) / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if high - low <= power * factor * most)
    first, last = math.floor(round(low / step, 6)), math.ceil(round(high / step, 6))  # 0.15 / 0.05 is more than 3
    return [step * number for number in range(first, last + 1)]


def _apart(wanted: Sequence[float]) -> list[float]:
    """Heights for labels, a line apart or more: pushed down in turn, then up again from the bottom of the plot."""
    order = sorted(range(len(wanted)), key=lambda label: wanted[label])
    heights, limit = list(wanted), float(BOTTOM)
    for upper, label in pairwise(order):
        heights[label] = max(heights[label], heights[upper] + LINE)
    for label in reversed(order):
        heights[label] = min(heights[label], limit)
        limit = heights[label] - LINE
    return heights


# --- what is missing, and what it rests on ----------------------------------------------------------------------------


def _failures(cells: pd.DataFrame, looks: dict[str, Look]) -> str:
    """The cells that did not finish, with their reasons."""
    items = []
    for number, cell in cells[cells["status"] != "ok"].iterrows():
        name = f"{cell['net']}, {looks[cell['framework']].full}, seed {cell['seed']}: {cell['status']}"
        reason = cell["reason"] or "no reason was recorded"
        items.append(f'<dt id="failure-{number}">{_safe(name)}</dt><dd>{_safe(reason)}</dd>\n')
    return f'<section id="failures">\n<h2>Not finished</h2>\n<dl>\n{"".join(items)}</dl>\n</section>\n' if items else ""


def _details(run: dict[str, Any], cells: pd.DataFrame, looks: dict[str, Look]) -> str:
    """The machine, versions, commit and hashes, folded away."""
    machine = {name.replace("_gib", ", GiB"): fact for name, fact in run["machine"].items()}
    facts = {"command": " ".join(run["command"]), "began": run["began"], "commit": run["commit"], **machine}
    for _, cell in cells.iterrows():
        how = filter(None, (cell["mode"], cell["precision"], cell["device"]))
        facts[looks[cell["framework"]].full] = ", ".join(how)
    for job in run["jobs"]:
        facts[f"{job['net']}: SHA-256 of the network"] = job["spec_sha256"]
        facts[f"{job['net']}, seed {job['seed']}: SHA-256 of the initial weights"] = job.get(
            "weights_sha256", "not begun"
        )
    for name, data in run["data"].items():
        facts |= {f"{name}: SHA-256 of {file}": digest for file, digest in data["sha256"].items()}
    items = (f"<dt>{_safe(name)}</dt><dd>{_safe(fact or 'none')}</dd>\n" for name, fact in facts.items())
    return f"<details>\n<summary>Machine, versions, hashes</summary>\n<dl>\n{''.join(items)}</dl>\n</details>"


# Colours: Okabe and Ito 2008, told apart with any colour vision; on a dark ground the lighter of them come first.
STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --faint: #5d6670; --rule: #dde1e5; --link: #0060a8;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #e69f00; --c5: #56b4e9; --c6: #000 }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171a; --ink: #e8eaec; --faint: #9aa4ae; --rule: #333a41; --link: #7cc4f5;
    --c0: #56b4e9; --c1: #e69f00; --c2: #009e73; --c3: #cc79a7; --c4: #f0e442; --c5: #0072b2; --c6: #fff }
}
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: break-word }
main { max-width: 72rem; margin: auto; padding: 2rem 1.25rem 4rem }
h1 { margin: 0 0 1rem; font-size: 1.9rem; line-height: 1.2 }
h2 { margin: 2.5rem 0 1rem; font-size: 1.2rem }
a { color: var(--link) }
.faint { margin: 0; color: var(--faint); font-size: .875rem }
ul.faint { padding-left: 1.1rem }
.result { max-width: 50rem; margin: 0 0 .75rem; font-size: 1.15rem; text-wrap: pretty }
table { width: 100%; margin: 2rem 0 1rem; border-collapse: collapse; font-size: .875rem }
table, svg { font-variant-numeric: tabular-nums }
caption { padding-bottom: .5rem; color: var(--faint); text-align: left }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; vertical-align: top }
th:first-child, th:last-child, td:last-child { text-align: left }
th:first-child { padding-left: 0 }
tbody th:not(.net) { padding-left: 32px; text-indent: -32px }
thead th { color: var(--faint); font-weight: normal }
.net { padding-top: 1.5rem; font-size: 1rem }
small { display: block; color: var(--faint); font-size: .9em; white-space: nowrap }
svg { display: block; overflow: visible }
path { fill: none; stroke: var(--c, var(--ink)); stroke-width: 2; stroke-linecap: round; stroke-linejoin: round }
th svg { display: inline-block; width: 26px; height: 8px }
.curve, th path { stroke-dasharray: var(--d) }
.end { stroke-width: 5 }
.leader { stroke-width: 1; opacity: .5 }
.grid, .bar path { stroke-width: 1; stroke-linecap: butt }
.grid { stroke: var(--rule) }
td:has(.bar) { position: relative; padding-left: 5.8rem }
.bar { position: absolute; top: .6rem; left: .6rem; width: 5rem; height: 14px }
.bar rect { fill: var(--c); opacity: .6 }
.bar .one { stroke: var(--faint); stroke-dasharray: 2 2 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1.5rem }
figure { margin: 0; break-inside: avoid; font-size: 11px }
figcaption { margin-bottom: .5rem; font-size: .875rem; font-weight: 600 }
text { fill: var(--faint); dominant-baseline: central }
g text { fill: var(--ink); fill: color-mix(in srgb, var(--c) 65%, var(--ink)); font-weight: 600 }
.tick { text-anchor: end }
.epoch { text-anchor: middle }
dl { font-size: .875rem; overflow-wrap: anywhere }
dt { font-weight: 600 }
dd { margin: 0 0 .75rem; white-space: pre-wrap }
details dl { display: grid; grid-template-columns: fit-content(45%) 1fr; gap: .25rem 1.5rem }
details dt { font-weight: normal; color: var(--faint) }
details dd { margin: 0 }
details { margin-top: 2.5rem }
summary { cursor: pointer; font-weight: 600 }
@media screen and (max-width: 64rem) {
  table, caption, tr, th, td { display: block; padding: 0; border: 0 }
  thead, td:empty { display: none }
  caption { margin-bottom: 1rem }
  tbody { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1.25rem 2.5rem }
  tr:has(.net) { grid-column: 1 / -1; margin-top: 1.5rem }
  td, td:last-child, td:has(.bar) { display: flow-root; padding: .1rem 0; text-align: right }
  td { border-top: 1px solid var(--rule) }
  td::before { content: attr(data-name); float: left; color: var(--faint) }
  small { display: inline }
  .bar { position: static; display: inline-block; margin-right: .25rem; vertical-align: -2px }
}
@media print {
  main { padding: 0 }
  table, dl, .faint { font-size: .65rem }
  .charts { grid-template-columns: repeat(3, 1fr) }
  details::details-content { content-visibility: visible; block-size: auto }
}
"""
