"""How often unmodified adapters are refused a certificate, with new seeds, over several networks in turn.

    python -m research.false_alarms --count 200 --out results/false_alarms.md

A certificate is one network with one seed, in all frameworks and both precisions. Exit code 1 if one was refused.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import click

from benchmarks.cli import options
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.reporting.tables import markdown
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import network
from benchmarks.verification.case_runner import NetworkVerdict, verify_cases
from benchmarks.verification.cases import BATCH, Case, small
from benchmarks.verification.verify_run import PRECISIONS, VerifyRequest, start_targets
from research import command

NETS = ("mlp", "cnn", "lenet", "lenet_relu", "lenet_cifar", "lenet_bn", "lenet5", "vgg_small")
STEPS = 12  # of the sequence of losses: more seeds reveal more than more steps


def passed(finding: NetworkVerdict) -> bool:
    """Whether a finding does not prevent a certificate."""
    return finding.verdict in ("ok", "explained")


def table(by_network: Mapping[str, Sequence[NetworkVerdict]]) -> str:
    """By network: the certificates, those refused, the float32 findings at several seeds, the largest errors."""
    rows = []
    for net, findings in by_network.items():
        by = {precision: [each for each in findings if each.precision == precision] for precision in PRECISIONS}
        refused = {each.case.seed for each in findings if not passed(each)}
        several = sum(each.seeds > 1 for each in by["float32"])
        worst = [f"{max(each.error for each in by[precision]):.0e}" for precision in PRECISIONS]
        seeds = len({each.case.seed for each in findings})
        rows.append((net, str(seeds), str(len(refused)), f"{several} of {len(by['float32'])}", *worst))
    head = (
        "network",
        "certificates",
        "refused",
        "float32 at more than one seed",
        *(f"largest, {p}" for p in PRECISIONS),
    )
    return markdown(head, rows)


@command.research_command("research.false_alarms")
@options.option(
    "--count", type=command.AT_LEAST_1, default=200, metavar="N", heading=command.HOW, help="Number of certificates."
)
@options.option("--first", type=int, default=1000, metavar="SEED", heading=command.HOW, help="The first seed.")
@command.out_file
def main(count: int, first: int, out: Path | None) -> ExitCode:
    """Count the certificates that unchanged adapters are refused."""
    nets = {name: small(network(name, classes=10)) for name in NETS}
    cases = {
        f"{(name := NETS[number % len(NETS)])} {first + number}": partial(
            Case.for_network, nets[name], first + number, BATCH, STEPS
        )
        for number in range(count)
    }
    by_network: dict[str, list[NetworkVerdict]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onespec-")))
        targets, missing = start_targets(VerifyRequest(), logs, stack, command.progress)
        if missing:
            raise BadInput("; ".join(missing))
        for findings in verify_cases(cases, targets, PRECISIONS, threads=1, workers=os.cpu_count() or 1):
            for finding in findings:
                command.progress(f"{finding.net} {finding.target.label} {finding.precision}: {finding.verdict}")
                by_network[finding.net.split()[0]].append(finding)
        versions = ", ".join(" ".join(next(iter(each.versions.items()))) for each in targets)
    conditions = f"{versions}; {command.machine()}; seeds from {first} on."
    text = f"`python -m research.false_alarms --count {count}` gave:\n\n{table(by_network)}\n\n{conditions}\n"
    click.echo(text)
    command.write_page(out, f"# Certificates of unchanged adapters\n\n{text}")
    all_passed = all(passed(finding) for findings in by_network.values() for finding in findings)
    return ExitCode.OK if all_passed else ExitCode.FAILED


if __name__ == "__main__":
    main(prog_name="python -m research.false_alarms")
