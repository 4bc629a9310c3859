"""The tables of a certificate, generated from its record, `certificate.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.records.atomic import write_text
from benchmarks.records.certificates import Certificate, Finding, StageRecord, in_order, read
from benchmarks.reporting.markers import put
from benchmarks.reporting.number_formats import counted, day, machine_text, relative_error
from benchmarks.reporting.tables import Row, markdown, table
from benchmarks.verification.cases import STAGES
from benchmarks.verification.verify_run import Verification

HEAD = ("network", "precision", "framework", *STAGES)


def row(finding: Finding) -> Row:
    """The largest relative error of each stage, with the verdict where it is not ok."""
    cells = [_cell(stage) for stage in finding.stages]
    if not cells:
        cells = ["failed", *("" for _ in STAGES[1:])]
    return (finding.net, finding.precision, finding.framework, *cells)


def _cell(stage: StageRecord) -> str:
    if stage.verdict == "none":
        return "-"
    if stage.place is None:
        return str(stage.verdict)
    error = relative_error(stage.error)
    return error if stage.verdict == "ok" else f"{stage.verdict} {error}"


def brief(finding: Finding) -> str:
    """The verdict and the largest relative error of all stages."""
    if finding.reason:
        return f"failed: {finding.reason}"
    seeds = f" ({finding.seeds} seeds)" if finding.seeds > 1 else ""
    return f"{finding.verdict} {max((stage.error for stage in finding.stages), default=0.0):.0e}{seeds}"


def difference(finding: Finding) -> Iterator[str]:
    """The first place where a framework differs from the reference, and the number of later ones."""
    label = f"{finding.framework} in {finding.precision}"
    if finding.reason:
        yield f"{label}: {finding.net}: {finding.reason}"
    differing = [stage for stage in finding.stages if stage.verdict == "differs"]
    if not differing:
        return
    first, place = differing[0], differing[0].place
    assert place is not None, "a stage that differs has a place"
    step = f", {place.case}, step {place.step}" if place.step else ""
    parts = [
        f"{label}: {finding.net}.{place.tensor} differs at stage {first.stage}{step}: relative error {first.error:.1e}"
    ]
    if first.note:
        parts.append(first.note)
    if finding.cause:
        parts.append(f"likely cause: {finding.cause}")
    later = sum(stage.later + 1 for stage in differing) - 1
    if later:
        parts.append(f"{later} later places differ too")
    yield "; ".join(parts)


def summary(certificate: Certificate) -> str:
    """The verdicts by network and framework, and the setting in which they were reached."""
    findings = certificate.findings
    labels, nets, precisions = (in_order(findings, name) for name in ("framework", "net", "precision"))
    verdicts = {(finding.net, finding.framework, finding.precision): brief(finding) for finding in findings}
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
    setting = (
        f"{_images(findings)}; seed {certificate.seed}, and in float32 as many seeds as stated. "
        f"{', '.join(in_order(findings, 'version'))}; {machine_text(certificate.machine)}; "
        f"{day(certificate.began)}. Certificate {certificate.sha256[:12]}."
    )
    introduction = (
        f"`{' '.join(certificate.command)}` gives, in {' / '.join(precisions)}, the verdict and the largest "
        "relative error of any stage with respect to the NumPy reference in float64:"
    )
    return "\n\n".join([introduction, markdown(("network", *labels), rows), setting])


def _images(findings: Sequence[Finding]) -> str:
    """The numbers of images per step and in total; the networks that differ from the majority by name."""
    nets: dict[tuple[int, int], dict[str, None]] = {}
    for finding in findings:
        nets.setdefault(finding.images, {})[finding.net] = None
    if not nets:
        return "No network was verified"
    majority, *others = sorted(nets, key=lambda images: -len(nets[images]))
    text = f"{counted(majority[0], 'image')} per step, {majority[1]} in total"
    return text + "".join(f" ({', '.join(nets[other])}: {other[0]}, {other[1]} in total)" for other in others)


def page(certificate: Certificate) -> str:
    """The certificate as a document: verdicts, explained and unexplained differences, every stage."""
    findings = certificate.findings
    explanations: dict[str, str] = {}
    for finding in findings:
        for stage in finding.stages:
            if stage.verdict == "explained":
                explanations.setdefault(finding.framework, f"{finding.net}, {stage.stage}: {stage.note}")
    parts = [
        summary(certificate),
        *(f"First explained difference in {framework}: {text}." for framework, text in explanations.items()),
        *(line for finding in findings for line in difference(finding)),
        "All stages:",
        markdown(HEAD, [row(finding) for finding in findings]),
    ]
    return "\n\n".join(parts) + "\n"


def write_pages(certificate: Certificate, folder: Path) -> None:
    """Write certificate.md."""
    write_text(folder / "certificate.md", page(certificate))


def rewrite_pages(folder: Path, readme: Path | None = None) -> str:
    """Write certificate.md again from certificate.json, and the table of `readme`; returns the table. BadInput."""
    certificate = read(folder)
    write_pages(certificate, folder)
    if readme:
        put(readme, "certificates", summary(certificate))
    return summary(certificate)


def verification_text(verification: Verification) -> str:
    """The stages of every finding as a table, then every difference and every framework that was skipped."""
    findings = verification.findings
    lines = [table(HEAD, [row(finding) for finding in findings])]
    lines += [line for finding in findings for line in difference(finding)]
    lines += verification.skipped
    if verification.native_differences:
        lines.append(table(("framework", "setting", "aligned", "native"), list(verification.native_differences)))
    return "\n".join(lines)
