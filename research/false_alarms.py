"""How often are unchanged adapters refused a certificate? With fresh seeds, network after network in turn.

    python -m research.false_alarms --count 200 --out results/false_alarms.md

A certificate is one network with one seed, in all frameworks and both precisions. Exit status 1 where one was refused.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path

from benchmarks.reporting.tables import markdown
from benchmarks.runtime.errors import BadInput, Parser
from benchmarks.runtime.machine import Machine
from benchmarks.runtime.networks import network
from benchmarks.verification.case_runner import Finding, verify_cases
from benchmarks.verification.cases import BATCH, Case, small
from benchmarks.verification.verify_run import PRECISIONS, VerifyRequest, start_targets

NETS = ("mlp", "cnn", "lenet", "lenet_relu", "lenet_cifar", "lenet_bn", "lenet5", "vgg_small")
STEPS = 12  # of the curve: a seed more says more than steps more


def table(found: dict[str, list[Finding]]) -> str:
    """Network by network: certificates, how many were refused, how many needed another seed, the largest errors."""
    lines = []
    for net, findings in found.items():
        by = {precision: [one for one in findings if one.precision == precision] for precision in PRECISIONS}
        refused = {one.case.seed for one in findings if one.verdict not in ("ok", "explained")}
        again = sum(one.seeds > 1 for one in by["float32"])
        worst = [f"{max(one.error for one in by[precision]):.0e}" for precision in PRECISIONS]
        seeds = len({one.case.seed for one in findings})
        lines.append((net, str(seeds), str(len(refused)), f"{again} of {len(by['float32'])}", *worst))
    head = (
        "network",
        "certificates",
        "refused",
        "float32 at more than one seed",
        *(f"largest, {p}" for p in PRECISIONS),
    )
    return markdown(head, lines)


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m research.false_alarms", description="Certificates of unchanged adapters.")
    parser.add_argument("--count", type=int, default=200, metavar="N", help="certificates [200]")
    parser.add_argument("--first", type=int, default=1000, metavar="SEED", help="the first seed [1000]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there")
    try:
        options = parser.parse_args(arguments)
        nets = {name: small(network(name, classes=10)) for name in NETS}
        cases = {
            f"{(name := NETS[number % len(NETS)])} {options.first + number}": partial(
                Case.for_network, nets[name], options.first + number, BATCH, STEPS
            )
            for number in range(options.count)
        }
        with contextlib.ExitStack() as stack:
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onespec-")))
            living, missing = start_targets(VerifyRequest(), logs, stack, print)
            if missing:
                raise BadInput("; ".join(missing))
            found: dict[str, list[Finding]] = defaultdict(list)
            for findings in verify_cases(cases, living, PRECISIONS, threads=1, workers=os.cpu_count() or 1):
                for one in findings:
                    print(f"{one.net} {one.target.label} {one.precision}: {one.verdict}", file=sys.stderr)
                    found[one.net.split()[0]].append(one)
            versions = ", ".join(" ".join(next(iter(each.versions.items()))) for each in living)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    machine = Machine.here()
    rests = f"{versions}; {machine.processor}, {machine.cores} cores; seeds from {options.first} on."
    text = f"`python -m research.false_alarms --count {options.count}` gave:\n\n{table(found)}\n\n{rests}\n"
    print(text)
    if options.out:
        options.out.write_text(f"# Certificates of unchanged adapters\n\n{text}", encoding="utf-8")
    return int(any(one.verdict not in ("ok", "explained") for each in found.values() for one in each))


if __name__ == "__main__":
    sys.exit(main())
