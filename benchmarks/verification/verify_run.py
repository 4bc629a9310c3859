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
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.reporting.certificate_pages import HEAD, brief, difference, page, row, summary
from benchmarks.reporting.markers import put
from benchmarks.reporting.tables import table
from benchmarks.runtime.environments import environment, parse_frameworks, parse_pythons
from benchmarks.runtime.errors import BadInput, Parser, WorkerFailed
from benchmarks.runtime.networks import network
from benchmarks.runtime.plugins import register
from benchmarks.runtime.worker_client import Session
from benchmarks.verification import certificates
from benchmarks.verification.cases import BATCH, Trial, small
from benchmarks.verification.trials import Examinee, certify
from frameworks.errors import Unavailable
from frameworks.native import Native
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network

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
    read = "nothing is verified: write the pages of the certificate in this folder again"
    made.add_argument("--read", type=Path, metavar="FOLDER", help=read)
    readme = "a page whose table of certificates is to be this one"
    made.add_argument("--readme", type=Path, metavar="FILE", help=readme)
    made.add_argument("--out", type=Path, metavar="FOLDER", help="write certificate.md and certificate.json there")
    resume = "keep the networks that the certificate in --out proves already, for this very code"
    made.add_argument("--resume", action="store_true", help=resume)
    return made


def main(arguments: list[str] | None = None) -> int:
    try:
        options = parser().parse_args(arguments)
        register(options.adapter)
        if options.read:
            return _read(options)
        return _verify(options, _nets(options), ["python", "-m", "benchmarks.verify", *(arguments or sys.argv[1:])])
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _nets(options: argparse.Namespace) -> dict[str, Network]:
    """The networks by name, as they are put to the frameworks. BadInput for what cannot be."""
    for name, least in (("batch", 2), ("steps", 1), ("seed", 0), ("threads", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise BadInput(f"--{name} {value}: at least {least}")
    if options.resume and not options.out:
        raise BadInput("--resume: --out names the folder of the certificate to go on with")
    names = list(NETWORKS) if options.net == "all" else options.net.split(",")
    nets = {name: network(name, classes=certificates.CLASSES) for name in names}
    return {name: small(net) if options.size == "small" else net for name, net in nets.items()}


def _verify(options: argparse.Namespace, nets: Mapping[str, Network], command: Sequence[str]) -> int:
    precisions = PRECISIONS if options.precision == "both" else (options.precision,)
    if options.out:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--out {options.out}: {error.strerror}; name a folder that can be written") from None
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in nets}
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onespec-")))
        living, missing = examinees(options, logs, stack)
        if len(living) < 2 and "float32" in precisions:
            if precisions == ("float32",):
                raise BadInput("--precision float32: frameworks are judged by one another; --fw names two or more")
            missing.append("float32 left out: frameworks are judged by one another there, and this is one alone")
            precisions = ("float64",)
        if options.resume:
            found |= _kept(options, nets, living, precisions)
            print(f"kept: {', '.join(name for name in nets if found[name]) or 'nothing'}", file=sys.stderr)
        trials = {
            name: partial(Trial.of, net, options.seed, options.batch, options.steps)
            for name, net in nets.items()
            if not found[name]
        }
        workers = max(1, (os.cpu_count() or 1) // options.threads)
        native = options.semantics == "native"
        for findings in certify(trials, living, precisions, threads=options.threads, workers=workers, native=native):
            for fact in map(certificates.finding, findings):
                print(f"{fact['net']} {fact['framework']} {fact['precision']}: {brief(fact)}", file=sys.stderr)
                found[fact["net"]].append(fact)
            if options.out:  # also of a run that is stopped half-way
                _write(_certificate(options, found, command), options.out)
    whole = _certificate(options, found, command)
    if options.out:
        _write(whole, options.out)
    facts = whole["findings"]
    print(table(HEAD, list(map(row, facts))))
    told = [line for fact in facts for line in difference(fact)]
    print("\n".join([*told, *missing]))
    if native:
        print(ledger(living))
    else:
        certificates.keep(whole)
    if options.readme:
        put(options.readme, "certificates", summary(whole))
    return 1 if told or (missing and (options.fw != "all" or options.adapter)) or not facts else 0


def _certificate(
    options: argparse.Namespace, found: Mapping[str, list[dict[str, Any]]], command: Sequence[str]
) -> certificates.Certificate:
    """All findings so far, network by network in the order that was asked for."""
    facts = [fact for facts in found.values() for fact in facts]
    return certificates.certificate(facts, command, options.semantics, options.seed, options.batch, options.steps)


def _kept(
    options: argparse.Namespace, nets: Mapping[str, Network], living: Sequence[Examinee], precisions: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """By network, what the certificate in --out has proved already of this very network, code and version."""
    whole = certificates.read(options.out)
    asked = {name: getattr(options, name) for name in ("semantics", "seed", "batch", "steps")}
    for name, value in asked.items():
        if whole.get(name) != value:
            raise BadInput(f"--resume: the certificate in {options.out} was made with --{name} {whole.get(name)}")
    about = {
        (each.label, certificates.version(each.versions), certificates.code_sha256(each.module)) for each in living
    }
    wanted = {(*each, precision) for each in about for precision in precisions}
    kept = {}
    for name, net in nets.items():
        facts = [fact for fact in whole["findings"] if fact["net"] == name]
        there = {tuple(fact[key] for key in ("framework", "version", "code_sha256", "precision")) for fact in facts}
        sound = all(fact["verdict"] in ("ok", "explained") and fact["trial_sha256"] == net.sha256 for fact in facts)
        kept[name] = facts if sound and there == wanted else []
    return kept


def _write(whole: certificates.Certificate, folder: Path) -> None:
    (folder / "certificate.json").write_text(certificates.text(whole), encoding="utf-8")
    (folder / "certificate.md").write_text(page(whole), encoding="utf-8")


def _read(options: argparse.Namespace) -> int:
    """The pages of a certificate made before."""
    whole = certificates.read(options.read)
    (options.read / "certificate.md").write_text(page(whole), encoding="utf-8")
    if options.readme:
        put(options.readme, "certificates", summary(whole))
    print(summary(whole))
    return 0


def examinees(options: argparse.Namespace, logs: Path, stack: contextlib.ExitStack) -> tuple[list[Examinee], list[str]]:
    """A living worker per framework, and a line for each that cannot be had."""
    pythons = parse_pythons(options.python)
    found, missing = [], []
    for asked in parse_frameworks(options.fw):
        try:
            place = environment(asked, pythons, device="cpu", progress=lambda line: print(line, file=sys.stderr))
            info = FRAMEWORKS[asked.name]
            session = stack.enter_context(
                Session(
                    place.python,
                    info.module,
                    info.adapter,
                    threads=options.threads,
                    log=logs / f"{asked.label}.log",
                    steady=True,  # nothing is timed, and what a large network took is to be given back
                )
            )
            started = session.receive()
            native = started["native"] and Native.from_json(started["native"])
            found.append(Examinee(asked.label, started["file"], asked.mode, session, started["versions"], native))
        except (Unavailable, WorkerFailed) as error:
            missing.append(f"{asked.label}: unavailable: {error}")
    return found, missing


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


if __name__ == "__main__":
    sys.exit(main())
