"""Compares the claims of the articles about their networks with the specs: `onespec summary --audit`.

`claims.csv` has one claim per row: what the article prints, the value that it states, the query that gives the spec's
value (see `spec_queries`), and the reason where the two differ.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from importlib.resources import files

from benchmarks.articles.spec_queries import Value, evaluate
from benchmarks.reporting.tables import Row, markdown, table

HEAD = ("article", "about", "printed", "counted", "verdict", "reason")
INTRODUCTION = """\
# What the articles state, and what is counted

Written by `python -m benchmarks.summary --audit --out results/audit.md`. The articles: 000 LeNet; 001 from LeNet to
ResNet; 002 AlexNet, VGG, NiN and GoogLeNet on Fashion-MNIST; 003 AlexNet layer by layer; 004 LeNet in Gluon. "Printed"
is the figure as it stands there; "counted" is computed from the network's spec."""


@dataclass(frozen=True)
class Claim:
    """A figure of an article: as printed, as a value, and the value that follows from the spec."""

    article: str
    about: str
    printed: str
    stated: Value
    counted: Value
    reason: str  # the reason for a difference; empty where there is none

    @property
    def agrees(self) -> bool:
        return self.stated == self.counted


def claims() -> list[Claim]:
    """Every claim, by article and in reading order."""
    text = files("benchmarks.articles").joinpath("claims.csv").read_text(encoding="utf-8")
    return [_claim(row) for row in csv.DictReader(text.splitlines())]


def _claim(row: dict[str, str]) -> Claim:
    counted = evaluate(row["query"])
    return Claim(
        row["article"], row["about"], row["printed"], _parse_like(row["stated"], counted), counted, row["reason"]
    )


def _parse_like(text: str, value: Value) -> Value:
    """A stated value as the type of the spec's value, where it can be read as one."""
    if isinstance(value, int) and text.isdecimal():
        return int(text)
    if isinstance(value, tuple):
        parts = text.split(", ")
        return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else text
    return text


def report(form: str) -> str:
    """All claims as a table, markdown or json."""
    audited = claims()
    if form == "json":
        lines = [json.dumps({**asdict(claim), "agrees": claim.agrees}, ensure_ascii=False) for claim in audited]
        return "[\n" + ",\n".join(lines) + "\n]"
    differing = sum(not claim.agrees for claim in audited)
    counts = (
        f"{len(audited)} figures: {len(audited) - differing} agree with the specs; {differing} do not, each for the "
        "reason given."
    )
    body = [_row(claim) for claim in audited]
    if form == "table":
        return f"{table(HEAD, body)}\n\n{counts}"
    return f"{INTRODUCTION}\n\n{counts}\n\n{markdown(HEAD, body)}"


def _row(claim: Claim) -> Row:
    verdict = "agrees" if claim.agrees else "differs"
    return (claim.article, claim.about, claim.printed, _text(claim.counted), verdict, claim.reason)


def _text(value: Value) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else ", ".join(map(str, value))
