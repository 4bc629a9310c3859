"""Prove that the frameworks compute the same thing, or name the first place where they part.

    python -m benchmarks.verify --net lenet --fw all

Every framework builds the network, from the same weights, and is held against a NumPy reference in float64: its arrays,
every layer's output in evaluation and in training, the loss, every gradient, the steps of every optimiser, batch norm's
running statistics, dropout, and a curve of 50 losses.
Exit status: 0 every verdict is ok or explained; 1 one differs, or a framework that was named could not be had; 2 bad
input.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.certificate import Verdict, judge
from benchmarks.environments import environment, parse_frameworks, parse_pythons
from benchmarks.errors import BadInput, Parser
from benchmarks.evidence import BATCH, STAGES, Judge, Trial, gather, small
from benchmarks.networks import network
from benchmarks.session import Session, WorkerFailed
from benchmarks.tables import markdown, table
from frameworks.adapter import Unavailable
from frameworks.networks import NETWORKS
from frameworks.registry import REALISATIONS
from frameworks.spec import Dropout, Network

PRECISIONS = ("float64", "float32")


def certify(
    net: Network, sessions: Mapping[str, Session], precision: str, seed: int, threads: int, scratch: Path
) -> dict[str, list[Verdict]]:
    """The verdicts on a network in every framework that has a living session, by label; WorkerFailed as it comes."""
    trial = Trial.of(net, seed, BATCH)
    where = {"device": "cpu", "precision": precision, "threads": threads, "mode": ""}
    truth, _ = gather(Judge(), trial, where, scratch)
    found, departed = {}, {}
    for label, session in sessions.items():
        found[label], departures = gather(session.request, trial, where, scratch)
        if departures and trial.network.running:
            departed[label], _ = gather(Judge(departures), trial, where, scratch)
    rates = {node.path: node.layer.rate for _, node in trial.dropping.walk() if isinstance(node.layer, Dropout)}
    return judge(found, truth, departed, rates, precision)


def head() -> tuple[str, ...]:
    return ("network", "precision", "framework", *STAGES)


def rows(name: str, precision: str, verdicts: Mapping[str, Sequence[Verdict]]) -> list[tuple[str, ...]]:
    """A line a framework: at each stage the largest relative error, in words where it is not simply ok."""
    return [(name, precision, label, *map(_cell, found)) for label, found in verdicts.items()]


def _cell(verdict: Verdict) -> str:
    error = "0" if verdict.error == 0 else f"{verdict.error:.0e}"
    if verdict.place is None:
        return "-" if not verdict.said or verdict.said.endswith("network") else "ok"
    return error if verdict.verdict == "ok" else f"{verdict.verdict} {error}"


def differences(name: str, verdicts: Mapping[str, Sequence[Verdict]]) -> list[str]:
    """Where each framework first departs from the reference; what follows from it is only counted."""
    told = []
    for label, found in verdicts.items():
        differing = [verdict for verdict in found if verdict.verdict == "differs"]
        if differing:
            first = differing[0]
            place = first.place
            assert place is not None, "what differs is somewhere"
            step = f", {place.case}, step {place.step}" if place.step else ""
            after = sum(verdict.later + 1 for verdict in differing) - 1
            told.append(
                f"{label}: {name}.{place.tensor} differs at stage {first.stage}{step}: relative error {first.error:.1e}"
                + (f"; {first.said}" if first.said else "")
                + (f"; {after} later places differ too" if after else "")
            )
    return told


def parser() -> Parser:
    made = Parser(prog="python -m benchmarks.verify", description="Prove that the frameworks compute the same thing.")
    made.add_argument("--net", default="lenet", metavar="NAME,...", help="networks, `all`, or file.py:function [lenet]")
    made.add_argument("--fw", default="all", metavar="NAME,...", help="frameworks [all]")
    made.add_argument("--precision", choices=(*PRECISIONS, "both"), default="both", help="[both]")
    made.add_argument("--size", choices=("small", "full"), default="small", help="of the input [small]")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and pictures [0]")
    made.add_argument("--threads", type=int, default=2, metavar="N", help="of each worker [2]")
    made.add_argument("--python", action="append", default=[], metavar="FW=PATH", help="an interpreter that has it")
    made.add_argument("--out", type=Path, metavar="FOLDER", help="write certificate.md and certificate.json there")
    return made


def main(arguments: list[str] | None = None) -> int:
    try:
        options = parser().parse_args(arguments)
        if options.threads < 1 or options.seed < 0:
            raise BadInput(f"--threads {options.threads} --seed {options.seed}: at least 1, and 0 or more")
        names = list(NETWORKS) if options.net == "all" else options.net.split(",")
        nets = {name: network(name, classes=10) for name in names}
        nets = {name: small(net) if options.size == "small" else net for name, net in nets.items()}
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
        return _verify(nets, options)
    except BadInput as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"--out {options.out}: {error.strerror}; name a folder that can be written", file=sys.stderr)
    return 2


def _verify(nets: Mapping[str, Network], options: Any) -> int:
    precisions = PRECISIONS if options.precision == "both" else (options.precision,)
    lines: list[tuple[str, ...]] = []
    told: list[str] = []
    facts: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="onespec-") as place, contextlib.ExitStack() as stack:
        scratch = Path(place)
        sessions, missing = _sessions(options, scratch, stack)
        for name, net in nets.items():
            for precision in precisions:
                print(f"{name} in {precision}", file=sys.stderr)
                verdicts = certify(net, sessions, precision, options.seed, options.threads, scratch)
                lines += rows(name, precision, verdicts)
                told += differences(name, verdicts)
                facts += _records(name, net, precision, verdicts)
    print(table(head(), lines))
    print("\n".join([*told, *missing]))
    if options.out:
        text = [
            f"Written by `python -m benchmarks.verify`, seed {options.seed}.",
            "",
            markdown(head(), lines),
            "",
            *told,
        ]
        (options.out / "certificate.md").write_text("\n".join(text) + "\n", encoding="utf-8")
        whole = {"machine": record.machine(), "commit": record.commit(), "verdicts": facts}
        (options.out / "certificate.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return 1 if told or (missing and options.fw != "all") or not sessions else 0


def _sessions(options: Any, scratch: Path, stack: contextlib.ExitStack) -> tuple[dict[str, Session], list[str]]:
    """A living worker per framework, and a line for each that cannot be had."""
    pythons = parse_pythons(options.python)
    sessions, missing = {}, []
    for asked in parse_frameworks(options.fw):
        try:
            found = environment(asked, pythons, device="cpu", progress=lambda line: print(line, file=sys.stderr))
            realisation = REALISATIONS[asked.name]
            adapter = realisation.module, realisation.adapter
            log = scratch / f"{asked.label}.log"
            session = stack.enter_context(Session(found.python, *adapter, threads=options.threads, log=log))
            session.receive()
            sessions[asked.label] = session
        except (Unavailable, WorkerFailed) as error:
            missing.append(f"{asked.label}: unavailable: {error}")
    return sessions, missing


def _records(name: str, net: Network, precision: str, found: Mapping[str, Sequence[Verdict]]) -> list[dict[str, Any]]:
    return [
        {
            "net": name,
            "input": list(net.input),
            "spec_sha256": net.sha256,
            "precision": precision,
            "framework": label,
            "stage": verdict.stage,
            "verdict": verdict.verdict,
            "error": verdict.error,
            "place": verdict.place._asdict() if verdict.place else None,
            "said": verdict.said,
        }
        for label, verdicts in found.items()
        for verdict in verdicts
    ]


if __name__ == "__main__":
    sys.exit(main())
