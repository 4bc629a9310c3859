"""Prove that the frameworks compute the same thing, or name the first place where they part.

    python -m benchmarks.verify --net lenet --fw all

Every framework builds the network, from the same weights, and is held against a NumPy reference in float64: its arrays,
every layer's output in evaluation and in training, the loss, every gradient, the steps of every optimiser, batch norm's
running statistics, dropout, and a curve of losses.
Exit status: 0 every verdict is ok or explained; 1 one differs, or a framework that was named could not be had; 2 bad
input; 130 stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import certified
from benchmarks.adapters import register
from benchmarks.certificate import Verdict
from benchmarks.certify import Examinee, Finding, certify
from benchmarks.environments import environment, parse_frameworks, parse_pythons
from benchmarks.errors import BadInput, Parser
from benchmarks.evidence import BATCH, STAGES, Trial, small
from benchmarks.networks import network
from benchmarks.session import Session, WorkerFailed
from benchmarks.tables import markdown, table
from frameworks.adapter import Unavailable
from frameworks.networks import NETWORKS
from frameworks.registry import REALISATIONS
from frameworks.semantics import Native

PRECISIONS = ("float64", "float32")


def parser() -> Parser:
    made = Parser(prog="python -m benchmarks.verify", description="Prove that the frameworks compute the same thing.")
    made.add_argument("--net", default="lenet", metavar="NAME,...", help="networks, `all`, or file.py:function [lenet]")
    made.add_argument("--fw", default="all", metavar="NAME,...", help="frameworks [all]")
    made.add_argument("--precision", choices=(*PRECISIONS, "both"), default="both", help="[both]")
    made.add_argument("--size", choices=("small", "full"), default="small", help="of the input [small]")
    made.add_argument("--batch", type=int, default=BATCH, metavar="N", help=f"pictures of a step [{BATCH}]")
    made.add_argument("--steps", type=int, metavar="N", help="of the curve of losses [50; of a large network 10]")
    told = "`aligned`: one definition for all; `native`: each framework's own defaults, and what they change [aligned]"
    made.add_argument("--semantics", choices=("aligned", "native"), default="aligned", help=told)
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and pictures [0]")
    made.add_argument("--threads", type=int, default=1, metavar="N", help="of each worker [1]")
    made.add_argument("--python", action="append", default=[], metavar="FW=PATH", help="an interpreter that has it")
    own = "a framework of your own, by its class; see docs/adapters.md"
    made.add_argument("--adapter", action="append", default=[], metavar="FILE.py:CLASS", help=own)
    made.add_argument("--out", type=Path, metavar="FOLDER", help="write certificate.md and certificate.json there")
    return made


def main(arguments: list[str] | None = None) -> int:
    try:
        options = parser().parse_args(arguments)
        register(options.adapter)
        return _verify(options, _trials(options), ["python", "-m", "benchmarks.verify", *(arguments or sys.argv[1:])])
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _trials(options: argparse.Namespace) -> dict[str, Trial]:
    """What is put to the frameworks, by the networks' names. BadInput for what cannot be."""
    for name, least in (("batch", 2), ("steps", 1), ("seed", 0), ("threads", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise BadInput(f"--{name} {value}: at least {least}")
    names = list(NETWORKS) if options.net == "all" else options.net.split(",")
    nets = {name: network(name, classes=certified.CLASSES) for name in names}
    nets = {name: small(net) if options.size == "small" else net for name, net in nets.items()}
    return {name: Trial.of(net, options.seed, options.batch, options.steps) for name, net in nets.items()}


def _verify(options: argparse.Namespace, trials: dict[str, Trial], command: Sequence[str]) -> int:
    precisions = PRECISIONS if options.precision == "both" else (options.precision,)
    if options.out:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--out {options.out}: {error.strerror}; name a folder that can be written") from None
    findings: list[Finding] = []
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onespec-")))
        examinees, missing = _examinees(options, logs, stack)
        if len(examinees) < 2 and "float32" in precisions:
            if precisions == ("float32",):
                raise BadInput("--precision float32: frameworks are judged by one another; --fw names two or more")
            missing.append("float32 left out: frameworks are judged by one another there, and this is one alone")
            precisions = ("float64",)
        workers = max(1, (os.cpu_count() or 1) // options.threads)
        native = options.semantics == "native"
        for batch in certify(trials, examinees, precisions, threads=options.threads, workers=workers, native=native):
            for finding in batch:
                print(progress(finding), file=sys.stderr)
            findings += batch
    print(table(HEAD, [row(finding) for finding in findings]))
    told = [line for finding in findings for line in difference(finding)]
    print("\n".join([*told, *missing]))
    whole = certified.certificate(findings, command, options.semantics, options.seed, options.batch)
    if native:
        print(ledger(examinees))
    else:
        certified.keep(whole)
    if options.out:
        (options.out / "certificate.json").write_text(certified.text(whole), encoding="utf-8")
        (options.out / "certificate.md").write_text(page(whole, findings, told), encoding="utf-8")
    return 1 if told or (missing and (options.fw != "all" or options.adapter)) or not findings else 0


def _examinees(
    options: argparse.Namespace, logs: Path, stack: contextlib.ExitStack
) -> tuple[list[Examinee], list[str]]:
    """A living worker per framework, and a line for each that cannot be had."""
    pythons = parse_pythons(options.python)
    found, missing = [], []
    for asked in parse_frameworks(options.fw):
        try:
            place = environment(asked, pythons, device="cpu", progress=lambda line: print(line, file=sys.stderr))
            realisation = REALISATIONS[asked.name]
            session = stack.enter_context(
                Session(
                    place.python,
                    realisation.module,
                    realisation.adapter,
                    threads=options.threads,
                    log=logs / f"{asked.label}.log",
                )
            )
            started = session.receive()
            native = started["native"] and Native.from_json(started["native"])
            found.append(Examinee(asked.label, started["file"], asked.mode, session, started["versions"], native))
        except (Unavailable, WorkerFailed) as error:
            missing.append(f"{asked.label}: unavailable: {error}")
    return found, missing


# --- for people -------------------------------------------------------------------------------------------------------

HEAD = ("network", "precision", "framework", *STAGES)


def row(finding: Finding) -> tuple[str, ...]:
    """At each stage the largest relative error, in words where it is not simply ok."""
    cells = [_cell(verdict) for verdict in finding.verdicts] or ["failed", *[""] * (len(STAGES) - 1)]
    return (finding.net, finding.precision, finding.examinee.label, *cells)


def _cell(verdict: Verdict) -> str:
    if verdict.verdict == "none":
        return "-"
    if verdict.place is None:
        return verdict.verdict
    error = "0" if verdict.error == 0 else f"{verdict.error:.0e}"
    return error if verdict.verdict == "ok" else f"{verdict.verdict} {error}"


def progress(finding: Finding) -> str:
    """A line as a finding comes."""
    return f"{finding.net} {finding.examinee.label} {finding.precision}: {brief(finding)}"


def brief(finding: Finding) -> str:
    """The verdict, and the largest error where there is one."""
    if finding.failed:
        return f"failed: {finding.failed}"
    seeds = f" ({finding.seeds} seeds)" if finding.seeds > 1 else ""
    return f"{finding.verdict} {finding.error:.0e}{seeds}"


def difference(finding: Finding) -> Iterator[str]:
    """Where a framework first departs from the reference; what follows from it is only counted."""
    label = f"{finding.examinee.label} in {finding.precision}"
    if finding.failed:
        yield f"{label}: {finding.net}: {finding.failed}"
    if first := finding.first:
        place = first.place
        assert place is not None, "what differs is somewhere"
        step = f", {place.case}, step {place.step}" if place.step else ""
        after = sum(verdict.later + 1 for verdict in finding.verdicts if verdict.verdict == "differs") - 1
        yield "; ".join(
            [
                f"{label}: {finding.net}.{place.tensor} differs at stage {first.stage}{step}: "
                f"relative error {first.error:.1e}",
                *([first.said] if first.said else []),
                *([f"likely: {finding.cause}"] if finding.cause else []),
                *([f"{after} later places differ too"] if after else []),
            ]
        )


def ledger(examinees: Sequence[Examinee]) -> str:
    """What each framework does where nobody says otherwise, where that is not the aligned choice."""
    rows = [
        (each.label, line.what, line.aligned, line.native)
        for each in examinees
        if each.native
        for line in each.native.ledger()
        if line.native != line.aligned
    ]
    return table(("framework", "what", "aligned", "natively"), rows)


def page(whole: certified.Certificate, findings: Sequence[Finding], told: Sequence[str]) -> str:
    """The certificate for people: network x framework, then every stage."""
    labels = list(dict.fromkeys(finding.examinee.label for finding in findings))
    lines = [
        (net, *(" / ".join(brief(each) for each in findings if (each.net, each.examinee.label) == (net, label))
                for label in labels))
        for net in dict.fromkeys(finding.net for finding in findings)
    ]  # fmt: skip
    precisions = " / ".join(dict.fromkeys(finding.precision for finding in findings))
    notes = [
        f"{label}: {verdict.said}"
        for label in labels
        for verdict in [
            next(
                (v for f in findings if f.examinee.label == label for v in f.verdicts if v.verdict == "explained"), None
            )
        ]
        if verdict
    ]
    parts = [
        f"Written by `{' '.join(whole['command'])}`; {whole['commit']}, {whole['began'][:10]}.",
        f"Verdict and largest relative error of any stage against the NumPy reference in float64, in {precisions}.",
        markdown(("network", *labels), lines),
        *([f"Explained, first: {note}." for note in notes]),
        *told,
        "Stage by stage:",
        markdown(HEAD, [row(finding) for finding in findings]),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
