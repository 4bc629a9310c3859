"""The comparison of two runs as a table, Markdown, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.records.csv_cells import neutral
from benchmarks.records.runs import TrainingRun
from benchmarks.reporting import tables
from benchmarks.reporting.number_formats import change, counted, day, number, percent, percent_text, ratio
from benchmarks.reporting.run_comparison import ComparedRow, beyond, status
from benchmarks.runtime.checkout import short
from benchmarks.timing.samples import SavedRun
from benchmarks.timing.statistics import Estimate

HEAD = (
    "network",
    "framework",
    "workload",
    "verdict",
    "speed B / A",
    "accuracy",
    "parameters",
    "raw speed B / A",
    "reason",
)
OPTIONAL = ("parameters", "raw speed B / A", "accuracy", "workload", "speed B / A")  # left out in a narrow terminal
COLUMNS = (
    "net",
    "framework",
    "what",
    "verdict",
    "reason",
    "ratio",
    "ratio_low",
    "ratio_high",
    "baseline",
    "baseline_low",
    "baseline_high",
    "absolute",
    "visible",
    "accuracy_a",
    "accuracy_b",
    "same_accuracy",
    "params_a",
    "params_b",
)
SUMMARIES = {4: "Different computation", 1: "Slower", 5: "Not measured", 0: "Not slower"}  # by exit code


def rendered(
    a: SavedRun, b: SavedRun, rows: Sequence[ComparedRow], limit: float, form: str, width: int | None = None
) -> str:
    """The comparison in one of the forms table, markdown, json and csv. width: of the terminal; None: no limit."""
    if form == "json":
        return _json(a, b, rows, limit)
    if form == "csv":
        return _csv(rows)
    body = [_cells(row) for row in rows]
    first, *others = notes(a, b, rows, limit)
    if form == "markdown":
        summary = f"**{SUMMARIES[status(rows, limit)]}.** {first}"
        return "\n".join([summary, "", tables.markdown(HEAD, body), "", *(f"- {note}" for note in others)])
    table = tables.fitted(HEAD, body, width, optional=OPTIONAL, below="reason")
    return "\n".join([table, "", *(tables.wrapped(note, width) for note in (first, *others))])


def notes(a: SavedRun, b: SavedRun, rows: Sequence[ComparedRow], limit: float) -> list[str]:
    """The verdicts in a sentence, the detectable difference, and what the two runs are."""
    counts = Counter(row.verdict for row in rows)
    slower = [f"{row.net} in {row.framework}, {row.what}" for row in rows if beyond(row, limit)]
    visible = max((row.visible for row in rows if row.visible is not None), default=None)
    verdicts = ", ".join(f"{total} {name}" for name, total in counts.items()) or "Both runs are empty"
    lines = [f"{verdicts}; slower by more than {percent_text(limit)}: {'; '.join(slower) or 'nothing'}."]
    if visible is not None:
        lines.append(f"A/A control: differences under {percent(visible)} cannot be detected.")
    lines += [*_accuracy_note(rows), *_advice(a, b, rows)]
    return [*lines, _run_note("A (baseline run)", a), _run_note("B (candidate run)", b)]


def _accuracy_note(rows: Sequence[ComparedRow]) -> list[str]:
    """How far the accuracies of the runs are apart, in percentage points."""
    pairs = [row.accuracy for row in rows]
    changes = [100 * (after - before) for before, after in pairs if before is not None and after is not None]
    if not changes:
        return []
    where = f"in {counted(len(changes), 'row')}"
    if not any(changes):
        return [f"Test accuracy: identical {where}."]
    return [f"Test accuracy, B minus A: {min(changes):+.2f} to {max(changes):+.2f} points {where}."]


def _advice(a: SavedRun, b: SavedRun, rows: Sequence[ComparedRow]) -> list[str]:
    """How to measure what two training runs cannot show."""
    training = all(isinstance(run.info, TrainingRun) for run in (a, b))
    nets = dict.fromkeys(row.net for row in rows if row.verdict == "not measured")
    if not (training and nets):
        return []
    return [
        f"To measure the change of speed, run `onespec speed --net {','.join(nets)}` with both versions, and compare "
        "the two folders: a speed run has several launches and a control workload."
    ]


def _run_note(title: str, run: SavedRun) -> str:
    commit, began = (run.info.commit, run.info.began) if run.info else (None, "")
    parts = (run.path.name, f"commit {short(commit)}" if commit else "", day(began))
    return f"{title}: {', '.join(filter(None, parts))}."


def _cells(row: ComparedRow) -> tables.Row:
    accuracy = change(row.accuracy, ".4f")
    if row.same_accuracy:
        accuracy += " (within 0.5 points)"
    return (
        row.net,
        row.framework,
        row.what,
        row.verdict,
        ratio(row.ratio),
        accuracy,
        change(row.params, ","),
        number(row.absolute, ".2f"),
        row.reason,
    )


def _json(a: SavedRun, b: SavedRun, rows: Sequence[ComparedRow], limit: float) -> str:
    header = {"schema": 1, "a": str(a.path), "b": str(b.path), "fail_on": limit, "exit": status(rows, limit)}
    return json.dumps({**header, "rows": [_named_estimates(row) for row in rows]}, indent=1)


def _named_estimates(row: ComparedRow) -> dict[str, Any]:
    fields = asdict(row)
    for name in ("ratio", "baseline"):
        if fields[name]:
            fields[name] = dict(zip(Estimate._fields, fields[name]))
    return fields


def _csv(rows: Sequence[ComparedRow]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: neutral(value) for name, value in _flat(row).items()} for row in rows)
    return text.getvalue().rstrip("\n")


def _flat(row: ComparedRow) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(row).items() if name in COLUMNS}
    for name in ("ratio", "baseline"):
        fields |= dict(zip((name, f"{name}_low", f"{name}_high"), fields[name] or (None, None, None)))
    for name, pair in (("accuracy", row.accuracy), ("params", row.params)):
        fields |= dict(zip((f"{name}_a", f"{name}_b"), pair))
    return fields
