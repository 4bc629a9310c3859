"""Verify that the frameworks compute the same function, or report the first difference.

    python -m benchmarks.verify --net lenet --fw all

Every framework builds the network with the same weights and is compared with a NumPy reference in float64: its arrays,
the output of every layer in evaluation and in training, the loss, every gradient, the steps of every optimizer, the
running statistics of batch normalization, dropout, and a sequence of training losses.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.records.certificates import Certificate, Finding, now, read, write
from benchmarks.records.lock import locked
from benchmarks.records.store import file_name
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import environment, parse_frameworks
from benchmarks.runtime.errors import BadInput, WorkerFailed
from benchmarks.runtime.machine import Machine
from benchmarks.runtime.networks import network
from benchmarks.runtime.plugins import register
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.verification import certificates
from benchmarks.verification.case_runner import Target, verify_cases
from benchmarks.verification.cases import BATCH, Case, small
from frameworks.errors import Unavailable
from frameworks.native import Native
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network

PRECISIONS = ("float64", "float32")
PRECISION_CHOICES = (*PRECISIONS, "both")
SIZES = ("small", "full")
SEMANTICS = ("aligned", "native")

Note = Callable[[str], None]


@dataclass(frozen=True)
class VerifyRequest:
    """What to verify: the options of the command. BadInput for a value that cannot be used."""

    net: Sequence[str] = ("lenet",)  # names, file.py:function, or `all`
    frameworks: str = "all"
    precision: str = "both"  # in PRECISION_CHOICES
    size: str = "small"  # in SIZES: the smallest input that every layer accepts, or the input of the paper
    batch_size: int = BATCH
    steps: int | None = None  # length of the sequence of training losses; None: 50, for a large network 10
    semantics: str = "aligned"  # in SEMANTICS
    seed: int = 0  # of weights and images
    threads: int = 1  # of each worker
    pythons: Mapping[str, str] = field(default_factory=dict)  # interpreter by framework name or label
    adapters: Sequence[str] = ()  # file.py:Class
    out: Path | None = None  # folder of certificate.json and certificate.md; None: nothing is written
    resume: bool = False  # keep the networks that the certificate in `out` already covers

    def __post_init__(self) -> None:
        for option, value, choices in (
            ("precision", self.precision, PRECISION_CHOICES),
            ("size", self.size, SIZES),
            ("semantics", self.semantics, SEMANTICS),
        ):
            if value not in choices:
                raise BadInput(f"--{option} {value}: choose from {', '.join(choices)}")
        for option, number, least in (
            ("batch-size", self.batch_size, 2),
            ("steps", self.steps, 1),
            ("seed", self.seed, 0),
            ("threads", self.threads, 1),
        ):
            if number is not None and number < least:
                raise BadInput(f"--{option} {number}: at least {least}")
        if self.resume and not self.out:
            raise BadInput("--resume: --out names the folder of the certificate to continue")

    @property
    def precisions(self) -> tuple[str, ...]:
        return PRECISIONS if self.precision == "both" else (self.precision,)

    def networks(self) -> dict[str, Network]:
        """The networks by name, at the size and with the number of classes that are verified."""
        names = list(NETWORKS) if list(self.net) == ["all"] else list(self.net)
        networks = {name: network(name, classes=certificates.CLASSES) for name in names}
        return {name: small(net) if self.size == "small" else net for name, net in networks.items()}


@dataclass(frozen=True)
class Verification:
    """The outcome of `execute`."""

    certificate: Certificate
    skipped: tuple[str, ...]  # a line for each framework or precision that was not verified, with the reason
    native_differences: tuple[DefaultDifference, ...] = ()  # with semantics="native"

    @property
    def findings(self) -> list[Finding]:
        """One per network, framework and precision."""
        return self.certificate.findings

    @property
    def same(self) -> bool:
        """Whether every framework computes the same function on every network that was verified."""
        return bool(self.findings) and all(finding.certified for finding in self.findings)


class DefaultDifference(NamedTuple):
    """A default of a framework that differs from the spec."""

    framework: str
    setting: str
    aligned: str
    native: str


def execute(
    request: VerifyRequest,
    progress: Note,
    command: Sequence[str] = ("verify(...)",),
    *,
    on_finding: Callable[[Finding], object] = lambda finding: None,
    write_pages: Callable[[Certificate, Path], object] = lambda certificate, folder: None,
) -> Verification:
    """Verify the networks and store the findings where later runs look for them.

    progress: called with a line while workers start. on_finding: called with each finding. write_pages: called with
    the certificate and `request.out`, after each network; certificate.json is written there too, so an interrupted
    verification can be continued. Raises BadInput.
    """
    register(request.adapters)
    networks = request.networks()
    precisions = request.precisions
    if request.out:
        try:
            request.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--out {request.out}: {error.strerror}; name a folder that can be written") from None
    findings: dict[str, list[Finding]] = {name: [] for name in networks}
    native = request.semantics == "native"
    with contextlib.ExitStack() as stack:
        if request.out:
            stack.enter_context(locked(request.out))
        earlier = _earlier(request) if request.resume else None  # before the workers start
        logs = stack.enter_context(TemporaryFolder("logs"))
        targets, skipped = start_targets(request, logs, stack, progress)
        if len(targets) < 2 and "float32" in precisions:
            if precisions == ("float32",):
                raise BadInput("--precision float32: frameworks are compared with one another; name two or more (--fw)")
            skipped.append(
                "float32: not verified, because frameworks are compared with one another and there is only one"
            )
            precisions = ("float64",)
        if earlier:
            findings |= _covered(earlier, networks, targets, precisions)
            progress(f"already certified: {', '.join(name for name in networks if findings[name]) or 'none'}")
        cases = {
            name: partial(Case.for_network, net, request.seed, request.batch_size, request.steps)
            for name, net in networks.items()
            if not findings[name]
        }
        workers = max(1, (os.cpu_count() or 1) // request.threads)
        for verdicts in verify_cases(
            cases, targets, precisions, threads=request.threads, workers=workers, native=native
        ):
            for finding in map(certificates.finding, verdicts):
                on_finding(finding)
                findings[finding.net].append(finding)
            if request.out:
                _write(_certificate(request, findings, command), request.out, write_pages)
        differences = tuple(ledger(targets)) if native else ()
        certificate = _certificate(request, findings, command)
        if request.out:
            _write(certificate, request.out, write_pages)
    if not native:
        certificates.keep(certificate)
    return Verification(certificate, tuple(skipped), differences)


def _certificate(request: VerifyRequest, findings: Mapping[str, list[Finding]], command: Sequence[str]) -> Certificate:
    """All findings so far, in the order of the request."""
    return Certificate(
        command=list(command),
        began=now(),
        semantics=request.semantics,
        seed=request.seed,
        batch_size=request.batch_size,
        steps=request.steps,
        machine=Machine.here(),
        commit=checkout.commit(),
        findings=[finding for of_network in findings.values() for finding in of_network],
    )


def _write(certificate: Certificate, folder: Path, write_pages: Callable[[Certificate, Path], object]) -> None:
    write(certificate, folder)
    write_pages(certificate, folder)


def _earlier(request: VerifyRequest) -> Certificate:
    """The certificate in `request.out`. Raises BadInput if it was made with other options."""
    assert request.out is not None, "VerifyRequest checks this"
    certificate = read(request.out)
    for option in ("semantics", "seed", "batch_size", "steps"):
        value = getattr(certificate, option)
        if value != getattr(request, option):
            name = option.replace("_", "-")
            raise BadInput(f"--resume: the certificate in {request.out} was made with --{name} {value}")
    return certificate


def _covered(
    certificate: Certificate, networks: Mapping[str, Network], targets: Sequence[Target], precisions: Sequence[str]
) -> dict[str, list[Finding]]:
    """By network, the findings of a certificate that hold for this network, adapter code and framework version."""
    code = {
        (each.label, certificates.version(each.versions), certificates.code_sha256(each.module)) for each in targets
    }
    wanted = {(*each, precision) for each in code for precision in precisions}
    covered = {}
    for name, net in networks.items():
        findings = [finding for finding in certificate.findings if finding.net == name]
        present = {(each.framework, each.version, each.code_sha256, each.precision) for each in findings}
        valid = all(finding.certified and finding.case_sha256 == net.sha256 for finding in findings)
        covered[name] = findings if valid and present == wanted else []
    return covered


def start_targets(
    request: VerifyRequest, logs: Path, stack: contextlib.ExitStack, progress: Note
) -> tuple[list[Target], list[str]]:
    """A running worker for each framework, and a line for each framework that is not available."""
    targets, skipped = [], []
    for requested in parse_frameworks(request.frameworks):
        progress(f"{requested.label}: starting the worker")
        try:
            place = environment(requested, request.pythons, device="cpu", progress=progress)
            info = FRAMEWORKS[requested.name]
            client = stack.enter_context(
                WorkerClient(
                    place.python,
                    info.module,
                    info.adapter,
                    threads=request.threads,
                    log=logs / f"{file_name(requested.label)}.log",
                    steady=True,  # nothing is timed; memory of a large network must be released
                )
            )
            started = client.started
            native = Native.from_json(started.native) if started.native else None
            targets.append(Target(requested.label, started.file, requested.mode, client, started.versions, native))
        except (Unavailable, WorkerFailed) as error:
            skipped.append(f"{requested.label}: unavailable: {error}")
    return targets, skipped


def ledger(targets: Sequence[Target]) -> list[DefaultDifference]:
    """The defaults of each framework that differ from the spec."""
    return [
        DefaultDifference(target.label, line.what, line.aligned, line.native)
        for target in targets
        if target.native
        for line in target.native.ledger()
        if line.native != line.aligned
    ]
