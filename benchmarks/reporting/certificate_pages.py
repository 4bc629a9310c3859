"""The tables of a certificate, made from its record, `certificate.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from benchmarks.reporting.number_formats import counted, day, machine_text, relative_error
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime.machine import Machine
from benchmarks.verification.cases import STAGES

Finding: TypeAlias = Mapping[str, Any]  # an entry of a certificate's `findings`

HEAD = ("network", "precision", "framework", *STAGES)


def row(finding: Finding) -> Row:
    """The largest relative error of each stage, with the verdict where it is not ok."""
    cells = [_cell(stage) for stage in finding["stages"]]
    if not cells:
        cells = ["failed", *("" for _ in STAGES[1:])]
    return (finding["net"], finding["precision"], finding["framework"], *cells)


def _cell(stage: Mapping[str, Any]) -> str:
    if stage["verdict"] == "none":
        return "-"
    if stage["place"] is None:
        return str(stage["verdict"])
    error = relative_error(stage["error"])
    return error if stage["verdict"] == "ok" else f"{stage['verdict']} {error}"


def brief(finding: Finding) -> str:
    """The verdict and the largest relative error of all stages."""
    if finding["reason"]:
        return f"failed: {finding['reason']}"
    seeds = f" ({finding['seeds']} seeds)" if finding["seeds"] > 1 else ""
    return f"{finding['verdict']} {max(stage['error'] for stage in finding['stages']):.0e}{seeds}"


def difference(finding: Finding) -> Iterator[str]:
    """The first place where a framework differs from the reference, and the number of later ones."""
    label = f"{finding['framework']} in {finding['precision']}"
    if finding["reason"]:
        yield f"{label}: {finding['net']}: {finding['reason']}"
    differing = [stage for stage in finding["stages"] if stage["verdict"] == "differs"]
    if not differing:
        return
    first, place = differing[0], differing[0]["place"]
    step = f", {place['case']}, step {place['step']}" if place["step"] else ""
    parts = [
        f"{label}: {finding['net']}.{place['tensor']} differs at stage {first['stage']}{step}: "
        f"relative error {first['error']:.1e}"
    ]
    if first["said"]:
        parts.append(first["said"])
    if finding["cause"]:
        parts.append(f"likely cause: {finding['cause']}")
    later = sum(stage["later"] + 1 for stage in differing) - 1
    if later:
        parts.append(f"{later} later places differ too")
    yield "; ".join(parts)


def summary(certificate: Mapping[str, Any]) -> str:
    """The verdicts by network and framework, and the setting in which they were reached."""
    findings = certificate["findings"]
    labels, nets, precisions = (_distinct(findings, name) for name in ("framework", "net", "precision"))
    verdicts = {(finding["net"], finding["framework"], finding["precision"]): brief(finding) for finding in findings}
    rows = [
        (
            net,
            *(
                " / ".join(verdicts.get((net, label, precision), "not verified") for precision in precisions)
                for label in labels
            ),
        )
        for net in nets
    ]
    machine = msgspec.convert(certificate["machine"], Machine)
    setting = (
        f"{_images(findings)}; seed {certificate['seed']}, and in float32 as many seeds as stated. "
        f"{', '.join(_distinct(findings, 'version'))}; {machine_text(machine)}; "
        f"{day(certificate['began'])}. Certificate {certificate['sha256'][:12]}."
    )
    introduction = (
        f"`{' '.join(certificate['command'])}` gives, in {' / '.join(precisions)}, the verdict and the largest "
        "relative error of any stage with respect to the NumPy reference in float64:"
    )
    return "\n\n".join([introduction, markdown(("network", *labels), rows), setting])


def _distinct(findings: Sequence[Finding], name: str) -> list[str]:
    return list(dict.fromkeys(finding[name] for finding in findings))


def _images(findings: Sequence[Finding]) -> str:
    """The numbers of images per step and in total; the networks that differ from the majority by name."""
    nets: dict[tuple[int, int], dict[str, None]] = {}
    for finding in findings:
        nets.setdefault(tuple(finding["pictures"]), {})[finding["net"]] = None
    majority, *others = sorted(nets, key=lambda images: -len(nets[images]))
    text = f"{counted(majority[0], 'image')} per step, {majority[1]} in total"
    return text + "".join(f" ({', '.join(nets[other])}: {other[0]}, {other[1]} in total)" for other in others)


def page(certificate: Mapping[str, Any]) -> str:
    """The certificate as a document: verdicts, explained and unexplained differences, every stage."""
    findings = certificate["findings"]
    explanations: dict[str, str] = {}
    for finding in findings:
        for stage in finding["stages"]:
            if stage["verdict"] == "explained":
                explanations.setdefault(finding["framework"], f"{finding['net']}, {stage['stage']}: {stage['said']}")
    parts = [
        summary(certificate),
        *(f"First explained difference in {framework}: {text}." for framework, text in explanations.items()),
        *(line for finding in findings for line in difference(finding)),
        "All stages:",
        markdown(HEAD, [row(finding) for finding in findings]),
    ]
    return "\n\n".join(parts) + "\n"
