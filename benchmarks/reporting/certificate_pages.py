"""The tables of a certificate, made from its record: what `benchmarks.verification.certificates` keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from benchmarks.reporting.tables import markdown
from benchmarks.verification.cases import STAGES

Finding: TypeAlias = Mapping[str, Any]  # one of a certificate's `findings`

HEAD = ("network", "precision", "framework", *STAGES)


def row(finding: Finding) -> tuple[str, ...]:
    """At each stage the largest relative error, in words where it is not simply ok."""
    cells = [_cell(stage) for stage in finding["stages"]] or ["failed", *[""] * (len(STAGES) - 1)]
    return (finding["net"], finding["precision"], finding["framework"], *cells)


def _cell(stage: Mapping[str, Any]) -> str:
    if stage["verdict"] == "none":
        return "-"
    if stage["place"] is None:
        return str(stage["verdict"])
    error = "0" if stage["error"] == 0 else f"{stage['error']:.0e}"
    return error if stage["verdict"] == "ok" else f"{stage['verdict']} {error}"


def brief(finding: Finding) -> str:
    """The verdict, and the largest error of any stage where there is one."""
    if finding["reason"]:
        return f"failed: {finding['reason']}"
    seeds = f" ({finding['seeds']} seeds)" if finding["seeds"] > 1 else ""
    return f"{finding['verdict']} {max(stage['error'] for stage in finding['stages']):.0e}{seeds}"


def difference(finding: Finding) -> Iterator[str]:
    """Where a framework first departs from the reference; what follows from it is only counted."""
    label = f"{finding['framework']} in {finding['precision']}"
    if finding["reason"]:
        yield f"{label}: {finding['net']}: {finding['reason']}"
    differing = [stage for stage in finding["stages"] if stage["verdict"] == "differs"]
    if differing:
        first, place = differing[0], differing[0]["place"]
        step = f", {place['case']}, step {place['step']}" if place["step"] else ""
        after = sum(stage["later"] + 1 for stage in differing) - 1
        yield "; ".join(
            [
                f"{label}: {finding['net']}.{place['tensor']} differs at stage {first['stage']}{step}: "
                f"relative error {first['error']:.1e}",
                *([first["said"]] if first["said"] else []),
                *([f"likely: {finding['cause']}"] if finding["cause"] else []),
                *([f"{after} later places differ too"] if after else []),
            ]
        )


def summary(whole: Mapping[str, Any]) -> str:
    """Network x framework, and what it rests on."""
    findings, machine = whole["findings"], whole["machine"]
    labels, nets, precisions = (
        list(dict.fromkeys(finding[name] for finding in findings)) for name in ("framework", "net", "precision")
    )
    found = {(each["net"], each["framework"], each["precision"]): brief(each) for each in findings}
    lines = [
        (
            net,
            *(
                " / ".join(found.get((net, label, precision), "not done") for precision in precisions)
                for label in labels
            ),
        )
        for net in nets
    ]
    given: dict[tuple[int, int], dict[str, None]] = {}  # which networks have how many pictures
    for each in findings:
        given.setdefault(tuple(each["pictures"]), {})[each["net"]] = None
    usual, *others = sorted(given, key=lambda pictures: -len(given[pictures]))
    pictures = f"{usual[0]} pictures a step, {usual[1]} in all"
    pictures += "".join(f" ({', '.join(given[other])}: {other[0]}, {other[1]} in all)" for other in others)
    seeds = f"seed {whole['seed']}, and in float32 as many seeds as are named"
    versions = ", ".join(dict.fromkeys(each["version"] for each in findings))
    return "\n\n".join(
        [
            f"`{' '.join(whole['command'])}` gave, in {' / '.join(precisions)}, the verdict and the largest relative "
            "error of any stage against the NumPy reference in float64:",
            markdown(("network", *labels), lines),
            f"{pictures}, {seeds}. {versions}; {machine['processor']}, {machine['cores']} cores; "
            f"{whole['began'][:10]}. Certificate {whole['sha256'][:12]}.",
        ]
    )


def page(whole: Mapping[str, Any]) -> str:
    """The certificate for people: network x framework, then every stage."""
    findings = whole["findings"]
    explained: dict[str, str] = {}
    for finding in findings:
        for stage in finding["stages"]:
            if stage["verdict"] == "explained":
                explained.setdefault(finding["framework"], f"{finding['net']}, {stage['stage']}: {stage['said']}")
    parts = [
        summary(whole),
        *(f"Explained, first in {framework}: {said}." for framework, said in explained.items()),
        *(line for finding in findings for line in difference(finding)),
        "Stage by stage:",
        markdown(HEAD, [row(finding) for finding in findings]),
    ]
    return "\n\n".join(parts) + "\n"
