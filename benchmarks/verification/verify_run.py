"""Verify that the frameworks compute the same function, or report the first difference.

    python -m benchmarks.verify --net lenet --fw all

Every framework builds the network with the same weights and is compared with a NumPy reference in float64: its arrays,
the output of every layer in evaluation and in training, the loss, every gradient, the steps of every optimizer, the
running statistics of batch normalization, dropout, and a sequence of training losses.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path

from msgspec import UNSET

from benchmarks.certification import lookup
from benchmarks.certification.covered_code import code_parts
from benchmarks.certification.verified_networks import BATCH, CLASSES, small
from benchmarks.records import plans
from benchmarks.records.certificates import FRAMEWORK_CHECKS, Certificate, Finding, now, read, write
from benchmarks.records.lock import locked
from benchmarks.records.store import file_name
from benchmarks.runtime import checkout, devices, machine
from benchmarks.runtime.environments import check_cache, environment, parse_frameworks
from benchmarks.runtime.errors import BadInput, WorkerFailed
from benchmarks.runtime.machine import Machine
from benchmarks.runtime.networks import networks
from benchmarks.runtime.plugins import register
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.verification.case_runner import NetworkVerdict, Target, verify_cases
from benchmarks.verification.cases import Case
from benchmarks.verification.findings import recorded
from benchmarks.verification.framework_checks import CHECKS, PROBE
from benchmarks.verification.framework_checks.runner import THREADS, FrameworkChecks
from benchmarks.verification.inference import verify_inference
from benchmarks.verification.memory_budget import memory_of_network
from benchmarks.verification.native_effects import DefaultDifference, default_differences
from benchmarks.verification.reduced import REDUCED
from benchmarks.verification.time_left import CHECKS as CHECK_SECONDS
from benchmarks.verification.time_left import WorkEstimate, WorkLeft, cost
from frameworks.errors import Unavailable
from frameworks.native import Native
from frameworks.registry import FRAMEWORKS, FrameworkInfo, trains
from frameworks.spec import Network
from frameworks.training import Training

PRECISIONS = ("float64", "float32")
PRECISION_CHOICES = (*PRECISIONS, "both", *REDUCED)
SIZES = ("small", "full")
SEMANTICS = ("aligned", "native")
# Options that all findings of a certificate have in common.
COMMON = ("semantics", "seed", "batch_size", "steps")
NAMED = 3  # parts in a message
FLOAT32_ALONE = (
    "--precision float32: frameworks are compared with one another, and all modes and versions of one count as one; "
    "name two or more (--fw)"
)

Note = Callable[[str], None]


@dataclass(frozen=True)
class VerifyRequest:
    """What to verify: the options of the command. BadInput for a value that cannot be used."""

    net: Sequence[str] = ("lenet",)  # names, file.py:function, or `all`
    frameworks: str = "all"
    precision: str = "both"  # in PRECISION_CHOICES
    size: str = "small"  # in SIZES: the smallest input that every layer accepts, or the input of the paper
    batch_size: int = BATCH
    steps: int | None = None  # length of the sequence of training losses; None: 50, for a large network 4
    semantics: str = "aligned"  # in SEMANTICS
    seed: int = 0  # of weights and images
    threads: int = 1  # of each worker
    device: str = "cpu"  # as in --device
    pythons: Mapping[str, str] = field(default_factory=dict)  # interpreter by framework name or label
    adapters: Sequence[str] = ()  # file.py:Class
    out: Path | None = None  # folder of certificate.json and certificate.md; None: nothing is written
    resume: bool = False  # keep the networks that the certificate in `out` already covers
    shard: tuple[int, int] | None = None  # verify this one, from 1, of so many shards of `parts`; None: all parts

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
        devices.check(self.device)
        if self.resume and not self.out:
            raise BadInput("--resume: --out names the folder of the certificate to continue")
        if self.shard and not self.out:
            raise BadInput(f"--shard {self.shard[0]}/{self.shard[1]}: --out is missing; name the folder of the shard")

    @property
    def precisions(self) -> tuple[str, ...]:
        """The others rest on float64: a verdict in them needs the float64 verdict of the same code."""
        if self.precision in REDUCED:
            return "float64", self.precision
        return ("float64",) if self.precision == "float64" else PRECISIONS

    @property
    def precisions_of_inference(self) -> tuple[str, ...]:
        """Those of a framework that only predicts, whose float32 verdict rests on no other."""
        return PRECISIONS if self.precision == "both" else (self.precision,)

    @property
    def checks_frameworks(self) -> bool:
        """Whether the frameworks themselves are checked: with defaults of their own, there is nothing to compare."""
        return self.semantics == "aligned"

    def parts(self) -> list[str]:
        """What is verified, each independent of the others: the framework checks, and every network."""
        return [*([FRAMEWORK_CHECKS] if self.checks_frameworks else []), *self.sized]

    def own_parts(self) -> list[str]:
        """The parts of the shard, which is every so many-th one. Raises BadInput for a shard without parts."""
        parts = self.parts()
        if not self.shard:
            return parts
        number, count = self.shard
        if count > len(parts):
            raise BadInput(
                f"--shard {number}/{count}: there are {len(parts)} parts, {', '.join(parts[:NAMED])}"
                f"{' ...' if len(parts) > NAMED else ''}; write at most {len(parts)} shards"
            )
        return plans.of_shard(number, count, parts)

    def networks(self) -> dict[str, Network]:
        """The networks by name, at the size and with the number of classes that are verified.

        Those of other shards are left out, and, of all networks, those for which this machine has too little memory.
        BadInput for any other.
        """
        too_large = self.too_large()
        if too_large and "all" not in self.net:
            name, line = next(iter(too_large.items()))
            raise BadInput(f"--net {name}: {line}; choose a smaller network or --batch-size")
        return {name: net for name, net in self._own().items() if name not in too_large}

    def too_large(self) -> dict[str, str]:
        """Why a network does not fit into the memory of this machine, by its name."""
        return {name: reason for name, net in self._own().items() if (reason := self._too_large(net))}

    def _own(self) -> dict[str, Network]:
        own = set(self.own_parts())
        return {name: net for name, net in self.sized.items() if name in own}

    @cached_property
    def sized(self) -> dict[str, Network]:
        """The networks of all shards by name, whether they fit into this machine or not."""
        requested = networks(self.net, classes=CLASSES)
        return {name: small(net) if self.size == "small" else net for name, net in requested.items()}

    def _too_large(self, network: Network) -> str:
        needed, total = memory_of_network(network, self.batch_size, "float64"), machine.total_memory()
        if needed <= total:
            return ""
        return f"verification needs about {needed / 2**30:,.1f} GiB, and this machine has {total / 2**30:,.1f} GiB"


@dataclass(frozen=True)
class Verification:
    """The outcome of `execute`."""

    certificate: Certificate  # as written to `out`, with findings of earlier verifications
    findings: list[Finding]  # of this request: one per network, framework and precision
    skipped: tuple[str, ...]  # a line for each framework or network that was not verified, with the reason
    native_differences: tuple[DefaultDifference, ...] = ()  # with semantics="native"
    lacking: tuple[str, ...] = ()  # a line for each precision in which frameworks were not verified, though in another

    @property
    def same(self) -> bool:
        """Whether every framework computes the same function on every network that was verified."""
        return bool(self.findings) and all(finding.certified for finding in self.findings)


def execute(
    request: VerifyRequest,
    progress: Note,
    command: Sequence[str] = ("verify(...)",),
    *,
    on_finding: Callable[[Finding, WorkLeft], object] = lambda finding, left: None,
    doing: Note = lambda line: None,
    write_pages: Callable[[Certificate, Path], object] = lambda certificate, folder: None,
) -> Verification:
    """Verify the frameworks and the networks, and store the findings where later runs look for them.

    progress: called with a line while workers start. doing: called with what begins, which is shown if it takes long.
    on_finding: called with each finding, and what is left. write_pages: called with the certificate and `request.out`,
    after each network; certificate.json is written there too, so an interrupted verification can be continued. Raises
    BadInput.
    """
    register(request.adapters)
    check_cache()
    parse_frameworks(request.frameworks)  # refuses what cannot be verified before a folder is made
    networks = request.networks()
    precisions = request.precisions
    if request.out:
        try:
            request.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--out {request.out}: {error.strerror}; name a folder that can be written") from None
    native = request.semantics == "native"
    verified = {FRAMEWORK_CHECKS: PROBE, **networks} if FRAMEWORK_CHECKS in request.own_parts() else networks
    findings: dict[str, list[Finding]] = {name: [] for name in verified}
    with contextlib.ExitStack() as stack:
        if request.out:
            stack.enter_context(locked(request.out))
        earlier = earlier_certificate(request) if request.resume else None  # before the workers start
        logs = stack.enter_context(TemporaryFolder("logs"))
        started, skipped = start_targets(request, logs, stack, progress)
        lacking: list[str] = []
        targets = [target for target in started if trains(target.label)]
        predicting = [target for target in started if not trains(target.label)]
        if native and predicting:
            skipped += [f"{target.label}: inference only: it has no defaults of training" for target in predicting]
            predicting = []
        skipped += [f"{name}: not verified: {reason}" for name, reason in request.too_large().items()]
        if targets and "float32" in precisions and len({target.package for target in targets}) < 2:
            if request.precision == "float32":
                raise BadInput(FLOAT32_ALONE)
            lacking.append(
                "float32: not verified, because frameworks are compared with one another and there is only one"
                + (" that trains" if predicting else "")
            )
            precisions = ("float64",)
        remade = [
            *(
                (name, target.label, precision)
                for name, target in product(verified, targets)
                for precision in (in_checks(precisions) if name == FRAMEWORK_CHECKS else precisions)
            ),
            *product(networks, (target.label for target in predicting), request.precisions_of_inference),
        ]
        others = of_others(request, remade)
        if earlier:
            findings |= _covered(earlier, verified, targets, precisions)
            progress(f"already certified: {sum(map(bool, findings.values()))} of {len(verified)}")
        costs = {name: CHECK_SECONDS if net is PROBE else cost(net) for name, net in verified.items()}
        costs = {name: seconds for name, seconds in costs.items() if not findings[name]}
        estimate = WorkEstimate(
            costs, len(targets) * len(precisions) + len(predicting) * len(request.precisions_of_inference)
        )
        if targets and FRAMEWORK_CHECKS in verified and not findings[FRAMEWORK_CHECKS]:
            checks = FrameworkChecks(CHECKS, request.seed, doing)
            for verdict in _framework_verdicts(checks, targets, in_checks(precisions), request.threads):
                finding = recorded(verdict)
                on_finding(finding, estimate.finished(FRAMEWORK_CHECKS))
                findings[FRAMEWORK_CHECKS].append(finding)
        cases = {
            name: partial(Case.for_network, net, request.seed, request.batch_size, request.steps)
            for name, net in networks.items()
            if not findings[name]
        }
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = max(1, cores // request.threads)
        parts = (f"verifying {name} in {precision}" for name, precision in product(cases, precisions))
        doing(next(parts, ""))
        to_train = cases if targets else {}
        for verdicts in verify_cases(
            to_train, targets, precisions, threads=request.threads, workers=workers, native=native
        ):
            for finding in map(recorded, verdicts):
                on_finding(finding, estimate.finished(finding.net))
                findings[finding.net].append(finding)
            doing(next(parts, "writing the certificate"))
            if request.out:
                _write(certificate_of(request, findings.values(), others, command), request.out, write_pages)
        for name, verdict in _inference_verdicts(
            request, networks if predicting else {}, predicting, logs, skipped, lacking
        ):
            finding = recorded(verdict)
            on_finding(finding, estimate.finished(name))
            findings[name].append(finding)
            doing(f"verifying {name} in evaluation")
            if request.out:
                _write(certificate_of(request, findings.values(), others, command), request.out, write_pages)
        differences: tuple[DefaultDifference, ...] = ()
        if native:
            progress("measuring the effect of each default on the reference")
            all_cases = (
                (name, Case.for_network(net, request.seed, request.batch_size)) for name, net in networks.items()
            )
            natives = {target.label: target.native for target in targets if target.native}
            differences = tuple(default_differences(all_cases, natives))
        certificate = certificate_of(request, findings.values(), others, command)
        if request.out:
            _write(certificate, request.out, write_pages)
    if not native:
        lookup.keep(certificate)
    own = [finding for of_network in findings.values() for finding in of_network]
    return Verification(certificate, own, tuple(skipped), differences, tuple(lacking))


def _inference_verdicts(
    request: VerifyRequest,
    networks: Mapping[str, Network],
    targets: Sequence[Target],
    scratch: Path,
    skipped: list[str],
    lacking: list[str],
) -> Iterator[tuple[str, NetworkVerdict]]:
    """The verdicts on frameworks that only predict, with the name of the network.

    lacking: gets a line for each precision that a framework has not got for a network; skipped: if it has none at all.
    """
    for name, net in networks.items():
        case = Case.for_network(net, request.seed, request.batch_size, request.steps)
        lines: list[tuple[str, str]] = []
        verified: set[str] = set()

        def lacks(target: Target, precision: str, reason: str, lines: list[tuple[str, str]] = lines) -> None:
            lines.append((target.label, f"{target.label}: {precision}: unavailable: {reason}"))

        for verdict in verify_inference(
            case, name, targets, request.precisions_of_inference, scratch, threads=request.threads, unavailable=lacks
        ):
            verified.add(verdict.target.label)
            yield name, verdict
        for label, line in lines:
            (lacking if label in verified else skipped).append(f"{name}: {line}")


def _framework_verdicts(
    checks: FrameworkChecks, targets: Sequence[Target], precisions: Sequence[str], threads: int
) -> Iterator[NetworkVerdict]:
    """The verdicts on the frameworks themselves, each in a worker of its own with at least `THREADS` threads."""
    threads = max(THREADS, threads)
    for target in targets:
        assert target.open_worker, "start_targets sets it"
        with target.open_worker(threads) as client:
            for precision in precisions:
                yield checks.verdicts(target, client, target.setting(precision, threads))


def in_checks(precisions: Sequence[str]) -> list[str]:
    """Those in which the frameworks themselves are checked: their limits are those of exact formulas."""
    return [precision for precision in precisions if precision in PRECISIONS]


def certificate_of(
    request: VerifyRequest, findings: Iterable[Sequence[Finding]], others: Sequence[Finding], command: Sequence[str]
) -> Certificate:
    """All findings so far, in the order of the request, and those of earlier verifications in the same folder.

    findings: by part. others: as `of_others` gives them. command: recorded.
    """
    return Certificate(
        command=list(command),
        began=now(),
        semantics=request.semantics,
        seed=request.seed,
        batch_size=request.batch_size,
        steps=request.steps,
        machine=Machine.here(),
        commit=checkout.commit(),
        findings=[*(finding for of_part in findings for finding in of_part), *others],
    )


def _write(certificate: Certificate, folder: Path, write_pages: Callable[[Certificate, Path], object]) -> None:
    write(certificate, folder)
    write_pages(certificate, folder)


def of_others(request: VerifyRequest, remade: Collection[tuple[str, str, str]]) -> list[Finding]:
    """The findings in `request.out` other than those on `remade`: network, framework and precision.

    Several verifications with the same options, one after the other, so make one certificate. A certificate with other
    options, or of an earlier version, is replaced.
    """
    try:
        certificate = earlier_certificate(request) if request.out else None
    except BadInput:
        return []
    return [
        finding
        for finding in (certificate.findings if certificate else [])
        if finding.code is not UNSET and (finding.net, finding.framework, finding.precision) not in remade
    ]


def earlier_certificate(request: VerifyRequest) -> Certificate:
    """The certificate in `request.out`. Raises BadInput if it was made with other options."""
    assert request.out is not None, "VerifyRequest checks this"
    certificate = read(request.out)
    check_common(request, {option: getattr(certificate, option) for option in COMMON})
    return certificate


def check_common(request: VerifyRequest, recorded: Mapping[str, object]) -> None:
    """Raise BadInput if the certificate in `request.out` has another value of an option in `COMMON`."""
    for option, value in recorded.items():
        if value != getattr(request, option):
            name = option.replace("_", "-")
            raise BadInput(f"--resume: the certificate in {request.out} was made with --{name} {value}")


def _covered(
    certificate: Certificate, networks: Mapping[str, Network], targets: Sequence[Target], precisions: Sequence[str]
) -> dict[str, list[Finding]]:
    """By network, the findings of a certificate that hold for this network, adapter code and these package versions."""
    code = {target.label: code_parts(target.module) for target in targets}
    covered = {}
    for name, net in networks.items():
        identity = FRAMEWORK_CHECKS if name == FRAMEWORK_CHECKS else net.sha256
        wanted = {
            (
                target.label,
                lookup.Subject.about(
                    identity, code[target.label], target.versions, target.mode, precision, target.device
                ),
            )
            for target in targets
            for precision in (in_checks(precisions) if name == FRAMEWORK_CHECKS else precisions)
        }
        of_network = (finding for finding in certificate.findings if finding.net == name)
        present = {
            key: finding
            for finding in of_network
            if finding.certified and (key := (finding.framework, lookup.Subject.of(finding))) in wanted
        }
        covered[name] = list(present.values()) if set(present) == wanted else []
    return covered


def start_targets(
    request: VerifyRequest, logs: Path, stack: contextlib.ExitStack, progress: Note
) -> tuple[list[Target], list[str]]:
    """A running worker for each framework, and a line for each framework that is not available."""
    targets, skipped = [], []
    device = devices.resolved(request.device)
    for requested in parse_frameworks(request.frameworks):
        progress(f"{requested.label}: starting the worker")
        try:
            place = environment(requested, request.pythons, device=devices.kind(device), progress=progress)
            info, log = FRAMEWORKS[requested.name], logs / f"{file_name(requested.label)}.log"
            open_worker = partial(_worker, place.python, info, log, devices.environment(device))
            client = stack.enter_context(open_worker(request.threads))
            started = client.started
            native = Native.from_json(started.native) if started.native else None
            target = Target(requested.label, started.file, requested.mode, client, started.versions, native)
            target = replace(target, open_worker=open_worker, device=devices.kind(device))
            if request.precision in REDUCED or device != "cpu":  # what every adapter has is not tried
                client.build(PROBE, Training(), target.setting(request.precisions[-1], request.threads))
            targets.append(target)
        except (Unavailable, WorkerFailed) as error:
            skipped.append(f"{requested.label}: unavailable: {error}")
    return targets, skipped


def _worker(python: Path, info: FrameworkInfo, log: Path, environment: Mapping[str, str], threads: int) -> WorkerClient:
    return WorkerClient(python, info.module, info.adapter, threads=threads, log=log, environment=environment)
