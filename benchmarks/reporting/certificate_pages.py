"""The tables of a certificate, generated from its record, `certificate.json`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from benchmarks.records.atomic import write_text
from benchmarks.records.certificates import FRAMEWORK_CHECKS, Certificate, Finding, StageRecord, in_order, read
from benchmarks.reporting.markers import put
from benchmarks.reporting.number_formats import count, counted, day, machine_text, relative_error, signed
from benchmarks.reporting.tables import Row, markdown, table
from benchmarks.runtime.machine import Machine
from benchmarks.verification.cases import STAGES
from benchmarks.verification.native_effects import Effect
from benchmarks.verification.verify_run import Verification
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS

HEAD = ("network", "precision", "framework", *STAGES)
VERDICTS = ("ok", "explained", "not distinguishable", "not verified", "differs", "failed")
ALWAYS = ("ok", "explained")  # columns of a summary, whether a network has this verdict or not
WITHHELD = ("not verified", "not distinguishable")  # verdicts that neither accept nor refuse


def row(finding: Finding) -> Row:
    """The largest relative error of each stage, with the verdict where it is not ok."""
    cells = [_cell(stage) for stage in finding.stages]
    if not cells:
        cells = ["failed", *("" for _ in STAGES[1:])]
    return (finding.net, finding.precision, finding.framework, *cells)


def framework_table(findings: Sequence[Finding]) -> tuple[Row, list[Row]] | None:
    """The framework checks: head and rows, a row for each stage and a column for each framework and precision."""
    checks = [finding for finding in findings if finding.net == FRAMEWORK_CHECKS]
    if not checks:
        return None
    cells = {(id(finding), stage.stage): _cell(stage) for finding in checks for stage in finding.stages}
    stages = dict.fromkeys(stage.stage for finding in checks for stage in finding.stages) or {"all": None}
    rows = [(stage, *(cells.get((id(finding), stage), "failed") for finding in checks)) for stage in stages]
    return ("framework check", *(f"{finding.framework}, {finding.precision}" for finding in checks)), rows


def of_networks(findings: Sequence[Finding]) -> list[Finding]:
    """The findings on networks."""
    return [finding for finding in findings if finding.net != FRAMEWORK_CHECKS]


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
    """The first place where a framework differs from the reference, and the number of later ones.

    Also the reason of each stage whose verdict is withheld.
    """
    label = f"{finding.framework} in {finding.precision}"
    if finding.reason:
        yield f"{label}: {finding.net}: {finding.reason}"
    withheld: dict[tuple[str, str], list[str]] = {}
    for stage in finding.stages:
        if stage.verdict in WITHHELD:
            withheld.setdefault((stage.verdict, stage.note), []).append(stage.stage)
    for (verdict, note), stages in withheld.items():
        yield f"{label}: {finding.net}: {verdict} at stage {', '.join(stages)}: {note}"
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


def hidden(finding: Finding) -> Iterator[str]:
    """What a stage that is ok does not show."""
    for stage in finding.stages:
        if stage.verdict == "ok" and stage.note and stage.place:
            yield f"{finding.framework} in {finding.precision}: {finding.net}: {stage.stage}: {stage.note}"


def summary(certificate: Certificate) -> str:
    """How many networks have which verdict, by framework and precision, and the setting in which they were reached."""
    findings = by_framework(certificate.findings)
    labels, nets, precisions = (in_order(findings, name) for name in ("framework", "net", "precision"))
    networks = of_networks(findings)
    verdicts = [each for each in VERDICTS if each in {*ALWAYS, *(finding.verdict for finding in networks)}]
    rows = []
    for label, precision in product(labels, precisions):
        own = [each for each in findings if (each.framework, each.precision) == (label, precision)]
        if not own:
            continue
        counts = Counter(each.verdict for each in of_networks(own))
        errors = [stage.error for each in of_networks(own) if each.certified for stage in each.stages]
        numbers = [counts.total(), *(counts[each] for each in verdicts)]
        largest = f"{max(errors):.0e}" if errors else "-"
        checks = next((each.verdict for each in own if each.net == FRAMEWORK_CHECKS), "-")
        rows.append((label, precision, *map(count, numbers), largest, checks))
    asked = _asked(certificate.command, nets, precisions, labels)
    machines, began = _machines(certificate), day(certificate.began)
    where = f"{machines}; {began}" if asked else f"the command above ran on {began}; the findings are from {machines}"
    setting = (
        f"{_images(networks)}; seed {certificate.seed}{_further_seeds(precisions)}. "
        f"{', '.join(in_order(findings, 'version'))}; {where}. "
        f"Certificate {certificate.sha256[:12]}."
    )
    earlier = "" if asked else ", with the findings that its folder held before,"
    introduction = (
        f"`{_in_short(certificate.command)}` gives{earlier} these numbers of networks by verdict. Largest error: of "
        "any stage of the networks that are ok or explained, relative to the reference in float64."
    )
    head = ("framework", "precision", "networks", *verdicts, "largest error", FRAMEWORK_CHECKS)
    return "\n\n".join([introduction, markdown(head, rows), setting])


def matrix(findings: Sequence[Finding]) -> str:
    """The verdict on every network in every framework, networks in the order of the catalog, others at the end."""
    labels, nets, precisions = (in_order(findings, name) for name in ("framework", "net", "precision"))
    verdicts = {(finding.net, finding.framework, finding.precision): brief(finding) for finding in findings}
    places = {name: place for place, name in enumerate([FRAMEWORK_CHECKS, *NETWORKS])}
    rows = [
        (net, *(" / ".join(verdicts.get((net, label, each), "-") for each in precisions) for label in labels))
        for net in sorted(nets, key=lambda name: places.get(name, len(places)))
    ]
    introduction = (
        f"In {' / '.join(precisions)}, the verdict and the largest error of any stage, relative to the NumPy reference "
        "in float64; -: not verified."
    )
    return f"{introduction}\n\n{markdown(('network', *labels), rows)}"


def _further_seeds(precisions: Sequence[str]) -> str:
    others = [precision for precision in precisions if precision != "float64"]
    return f", and in {' and '.join(others)} as many seeds as stated" if others else ""


def _machines(certificate: Certificate) -> str:
    """The machines of the findings, that of the command first."""
    named = [each.machine for each in certificate.findings if isinstance(each.machine, Machine)]
    texts = dict.fromkeys(map(machine_text, named))
    if len(named) < len(certificate.findings):
        own = machine_text(certificate.machine)
        texts = dict.fromkeys([own, *texts, "earlier ones do not name theirs"])
    return "; ".join(texts)


def by_framework(findings: Sequence[Finding]) -> list[Finding]:
    """The findings in the order of the built-in frameworks, those of others at the end."""
    places = list(FRAMEWORKS)

    def place(finding: Finding) -> int:
        name = re.split("[:=]", finding.framework)[0]
        return places.index(name) if name in places else len(places)

    return sorted(findings, key=place)


def _asked(command: Sequence[str], nets: Sequence[str], precisions: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether a command line asks for all of these networks, precisions and frameworks."""
    options = dict(zip(command, [*command[1:], ""]))
    named = options.get("--net", "lenet").split(",")
    frameworks = options.get("--fw", "all").split(",")
    everywhere = "all" in named or {*nets} - {FRAMEWORK_CHECKS} <= {*named}
    everyone = "all" in frameworks or {*labels} <= {*frameworks}
    return everywhere and everyone and ("float32" not in precisions or options.get("--precision") != "float64")


def _in_short(command: Sequence[str]) -> str:
    """A command line without the names of many networks, which are those of the table."""
    words = list(command)
    if "--net" in words[:-1]:
        place = words.index("--net") + 1
        if words[place].count(",") > 4:
            words[place] = "NAME,..."
    return " ".join(words)


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
    findings = by_framework(certificate.findings)
    checks = framework_table(findings)
    explanations: dict[str, str] = {}
    for finding in findings:
        for stage in finding.stages:
            if stage.verdict == "explained":
                explanations.setdefault(finding.framework, f"{finding.net}, {stage.stage}: {stage.note}")
    parts = [
        summary(certificate),
        matrix(findings),
        *(f"First explained difference in {framework}: {text}." for framework, text in explanations.items()),
        *(line for finding in findings for line in difference(finding)),
        *(line for finding in findings for line in hidden(finding)),
        *(["The framework itself:", markdown(*checks)] if checks else []),
        "All stages:",
        markdown(HEAD, [row(finding) for finding in of_networks(findings)]),
    ]
    return "\n\n".join(parts) + "\n"


def write_pages(certificate: Certificate, folder: Path) -> None:
    """Write certificate.md."""
    write_text(folder / "certificate.md", page(certificate))


def rewrite_pages(folder: Path, readme: Path | None = None) -> str:
    """Write certificate.md again from certificate.json, and the counts of `readme`; returns both tables. BadInput."""
    certificate = read(folder)
    write_pages(certificate, folder)
    if readme:
        put(readme, "certificates", summary(certificate))
    return f"{summary(certificate)}\n\n{matrix(by_framework(certificate.findings))}"


def verification_text(verification: Verification) -> str:
    """The stages of every finding as a table, then every difference and every framework that was skipped."""
    findings = verification.findings
    checks = framework_table(findings)
    lines = [table(*checks), ""] if checks else []
    lines.append(table(HEAD, [row(finding) for finding in of_networks(findings)]))
    lines += [line for finding in findings for line in (*difference(finding), *hidden(finding))]
    lines += [*verification.lacking, *verification.skipped]
    if verification.native_differences:
        lines.append("What each default alone changes, measured on the reference:")
        rows = [(*line[:-1], effect_text(line.effect)) for line in verification.native_differences]
        lines.append(table(("framework", "network", "setting", "aligned", "native", "effect"), rows))
    return "\n".join(lines)


def effect_text(effect: Effect) -> str:
    """The effect of a default on the loss, and on the weights as a fraction of the distance that they moved."""
    if effect.loss is None or effect.weights is None:
        return "layers of other shapes"
    steps = f"after {counted(effect.steps, 'step')} of {effect.optimizer}"
    if not math.isfinite(effect.loss):
        return f"the loss diverges {steps}"
    weights = relative_error(effect.weights)
    return f"loss {signed(effect.loss)}, weights {weights} {steps}"
