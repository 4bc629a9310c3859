"""Shards of a verification: each has one part or more, and `onespec verify --shard` verifies them on a node.

The folder of the certificate holds `distribution.json` and `shards/<number>/certificate/`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import msgspec

from benchmarks.certification import lookup
from benchmarks.certification.covered_code import code_parts
from benchmarks.distribution import coordinator, verification_merging
from benchmarks.distribution.coordinator import RECORD, Distribution, shard_count
from benchmarks.distribution.engines import Engine, Needs, device_of_nodes
from benchmarks.distribution.node import SHARDS, ShardCommand, folder_of
from benchmarks.distribution.verification_merging import VerificationInfo, merge
from benchmarks.distribution.work import Work
from benchmarks.records import certificates, json_files, plans
from benchmarks.records.atomic import write_text
from benchmarks.records.certificates import FRAMEWORK_CHECKS, Certificate, Finding
from benchmarks.runtime.environments import FrameworkRequest, parse_frameworks, pinned_version
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.plugins import register
from benchmarks.verification.framework_checks import PROBE
from benchmarks.verification.framework_checks.runner import THREADS
from benchmarks.verification.memory_budget import GIB, MOST, memory_of_network
from benchmarks.verification.time_left import CHECKS as CHECK_SECONDS
from benchmarks.verification.time_left import cost
from benchmarks.verification.verify_run import (
    COMMON,
    FLOAT32_ALONE,
    Verification,
    VerifyRequest,
    check_common,
    earlier_certificate,
)
from frameworks.registry import FRAMEWORKS, trains
from frameworks.spec import Network

CERTIFICATE = "certificate"  # the folder of a shard's certificate, in the folder of the shard
IDLE = GIB // 2  # bytes of a worker at rest


@dataclass(frozen=True)
class VerifyCommand(ShardCommand):
    """`onespec verify` of a shard."""

    name: ClassVar[str] = "verify"
    options: tuple[str, ...]  # beside the shard

    def arguments(self, home: Path, number: int, count: int) -> list[str]:
        out = certificate_folder(home, number)
        resume = ["--resume"] if (out / certificates.NAME).is_file() else []
        return [*self.options, "--shard", f"{number}/{count}", "--out", str(out), *resume]

    def started(self, home: Path, number: int) -> Path | None:
        """The folder of the certificate, once it is complete."""
        out = certificate_folder(home, number)
        return out if (out / verification_merging.NAME).is_file() else None

    def has_run(self, home: Path, number: int) -> bool:
        return self.started(home, number) is not None  # differences are recorded


def certificate_folder(home: Path, number: int) -> Path:
    """The folder of a shard's certificate."""
    return folder_of(home, number) / CERTIFICATE


@dataclass
class VerificationDistribution(Distribution):
    """A verification whose parts are verified on nodes. Raises BadInput if it cannot be made anywhere."""

    request: VerifyRequest  # with `out`; its shard is None
    given: Sequence[str]  # the command that the certificate records

    head: ClassVar[tuple[str, ...]] = ("shard", "part", "where", "memory (MiB)", "estimate (s)")

    @staticmethod
    def of(request: VerifyRequest, given: Sequence[str]) -> VerificationDistribution:
        """The shards of a request: one for each part, up to a limit. Writes nothing."""
        assert request.out, "the certificate needs a folder"
        register(request.adapters)
        asked = parse_frameworks(request.frameworks)
        training = {each.name for each in asked if trains(each.label)}
        if request.precision == "float32" and len(training) == 1:
            raise BadInput(FLOAT32_ALONE)
        return VerificationDistribution(request.out.absolute(), shard_count(len(request.parts())), request, given)

    @cached_property
    def info(self) -> VerificationInfo:
        """What `distribution.json` records."""
        return VerificationInfo.of(self.request)

    @cached_property
    def networks(self) -> dict[str, Network]:
        """The networks of all parts; that of the framework checks stands for them."""
        return {FRAMEWORK_CHECKS: PROBE, **self.request.sized}

    @cached_property
    def frameworks(self) -> list[FrameworkRequest]:
        return parse_frameworks(self.request.frameworks)

    @cached_property
    def code(self) -> dict[str, dict[str, str]]:
        """The code of each framework by part; empty where only a worker knows it: an installed distribution."""
        found: dict[str, dict[str, str]] = {}
        for asked in self.frameworks:
            info = FRAMEWORKS[asked.name]
            known = not info.outside or info.module.endswith(".py")
            found[asked.label] = code_parts(info.module, trains(asked.label)) if known else {}
        return found

    def parts(self, number: int) -> list[str]:
        """The parts of a shard."""
        return plans.of_shard(number, self.count, self.info.parts)

    @property
    def command(self) -> VerifyCommand:
        """`onespec verify` on a node, with the options of the request."""
        asked = self.request
        pythons = [word for name, path in asked.pythons.items() for word in ("--python", f"{name}={path}")]
        options = (
            *("--net", ",".join(asked.net), "--fw", asked.frameworks),
            *(word for text in asked.adapters for word in ("--adapter", text)),
            *("--precision", asked.precision, "--semantics", asked.semantics, "--size", asked.size),
            *("--batch-size", str(asked.batch_size), "--seed", str(asked.seed), "--threads", str(asked.threads)),
            *("--device", asked.device),
            *(() if asked.steps is None else ("--steps", str(asked.steps))),
            *pythons,
        )
        return VerifyCommand(options)

    @property
    def needs(self) -> Needs:
        """A core or more for each framework: they compute at the same time while their memory is within a limit."""
        cpus = max(THREADS, len(self.frameworks) * self.request.threads)
        memory = {number: self.memory(number) for number in range(1, self.count + 1)}
        return Needs(device_of_nodes(self.request.device), cpus, memory)

    def memory(self, number: int) -> int:
        """The bytes that a shard takes: its largest network in the frameworks that compute at the same time."""
        networks = (self.networks[part] for part in self.parts(number))
        one = max(memory_of_network(network, self.request.batch_size, "float64") for network in networks)
        workers = len(self.frameworks)
        return max(one, min(MOST, workers * one)) + workers * IDLE

    def label(self, number: int) -> str:
        """A shard in words: its part, or how many it has."""
        parts = self.parts(number)
        return parts[0] if len(parts) == 1 else f"shard {number}/{self.count} ({len(parts)} parts)"

    def work(self) -> Work:
        return VerificationWork(self)

    def findings(self, number: int) -> int:
        """How many findings a shard has if every framework is available."""
        training = sum(trains(each.label) for each in self.frameworks)
        predicting = len(self.frameworks) - training
        of_training = training * len(self.request.precisions)
        of_network = of_training + predicting * len(self.request.precisions_of_inference)
        return sum(of_training if part == FRAMEWORK_CHECKS else of_network for part in self.parts(number))

    def seconds(self, number: int) -> float:
        """A rough estimate of the time of a shard."""
        costs = [
            CHECK_SECONDS if part == FRAMEWORK_CHECKS else cost(self.networks[part]) for part in self.parts(number)
        ]
        return sum(costs) / len(costs) * max(1, self.findings(number))

    def estimates(self, number: int) -> tuple[str, ...]:
        """The memory, and the seconds of all findings one after the other."""
        return f"{self.memory(number) / 2**20:,.0f}", f"{self.seconds(number):,.0f}"

    # --- what is left -------------------------------------------------------------------------------------------------

    def unfinished(self) -> list[int]:
        """The shards without valid findings; all of them unless the verification is resumed."""
        numbers = range(1, self.count + 1)
        if not self.request.resume or self._recorded() != self.info:
            return list(numbers)
        return [number for number in numbers if not self._finished(number)]

    def _finished(self, number: int) -> bool:
        """Whether every framework has certified findings by today's code on today's networks."""
        folder = self.command.started(self.home, number)
        if folder is None:
            return False
        findings = certificates.read(folder).findings
        found = {(each.net, each.framework) for each in findings}
        return all(map(self._is_current, findings)) and all(
            (part, each.label) in found
            for part in self.parts(number)
            for each in self.frameworks
            if part != FRAMEWORK_CHECKS or trains(each.label)
        )

    def _is_current(self, finding: Finding) -> bool:
        asked = next((each for each in self.frameworks if each.label == finding.framework), None)
        if asked is None or not finding.certified or finding.net not in self.networks:
            return False
        info, code = FRAMEWORKS[asked.name], self.code[asked.label]
        version = asked.version or pinned_version(info)
        installed, *_ = *finding.versions.values(), ""  # such as 2.13.0+cpu
        return (
            finding.code == code
            and (version is None or version in (installed, installed.partition("+")[0]))
            and (finding.net == FRAMEWORK_CHECKS or finding.case_sha256 == self.networks[finding.net].sha256)
        )

    def _recorded(self) -> VerificationInfo | None:
        """What the shards in the folder were asked for; None if there are none. Raises BadInput for another record."""
        path = self.home / RECORD
        if not path.is_file():
            return None
        record = json_files.read_object(path)
        try:
            return msgspec.convert(record, VerificationInfo)
        except (ValueError, RecursionError):  # msgspec.ValidationError is a ValueError
            raise BadInput(
                f"--out {self.home}: its {RECORD} is not that of a verification; name another folder"
            ) from None

    # --- the folders of the shards ------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Remove the shards of an earlier verification, or continue it."""
        recorded, shards = self._recorded(), self.home / SHARDS
        if recorded is None and shards.exists():
            raise BadInput(f"--out {self.home}: {SHARDS} in it is not that of a verification; name another folder")
        if self.request.resume:
            if recorded:
                check_common(self.request, {option: getattr(recorded, option) for option in COMMON})
            if not recorded or (self.home / certificates.NAME).is_file():
                earlier_certificate(self.request)
        if not self.request.resume or recorded != self.info:
            ended = [path.parent for path in shards.glob(f"*/{CERTIFICATE}/{verification_merging.NAME}")]
            if self.request.resume and ended:  # of other parts, of which there were another number
                verification, _ = merge(ended, self.request, self.given)
                certificates.write(verification.certificate, self.home)
            shutil.rmtree(shards, ignore_errors=True)
        write_text(self.home / RECORD, json.dumps(msgspec.to_builtins(self.info), indent=1) + "\n")
        if self.request.resume:
            self._continue()

    def _continue(self) -> None:
        """Give each shard the findings that its parts have in the folder, and mark what is left."""
        earlier = earlier_certificate(self.request) if (self.home / certificates.NAME).is_file() else None
        labels = {each.label for each in self.frameworks}
        for number in range(1, self.count + 1):
            folder, parts = certificate_folder(self.home, number), self.parts(number)
            if earlier and not (folder / certificates.NAME).is_file():
                own = [finding for finding in earlier.findings if finding.net in parts and finding.framework in labels]
                if own:
                    folder.mkdir(parents=True, exist_ok=True)
                    certificates.write(msgspec.structs.replace(earlier, findings=own), folder)
        for number in self.unfinished():  # a shard that is given up must not be merged with what it had before
            (certificate_folder(self.home, number) / verification_merging.NAME).unlink(missing_ok=True)


def execute(
    run: VerificationDistribution, engine: Engine, *, write_pages: Callable[[Certificate, Path], object]
) -> tuple[Verification, list[str]]:
    """Verify the parts that are left on nodes, and write the certificate of all into the folder of the request.

    Returns the verification, and what is missing in it, in words. Findings are also stored where later runs look for
    them. write_pages: called with the certificate and its folder. Raises WorkerFailed if no shard has ended, and
    BadInput as `prepare` and `merge` do.
    """
    try:
        run.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--out {run.request.out}: {error.strerror}; name a folder that can be written") from None

    def merged(folders: Sequence[Path]) -> tuple[Verification, list[str]]:
        verification, absent = merge(folders, run.request, run.given)
        certificates.write(verification.certificate, run.home)
        write_pages(verification.certificate, run.home)
        if run.request.checks_frameworks:
            lookup.keep(verification.certificate)
        return verification, absent

    (verification, absent), missing = coordinator.execute(run, engine, merged)
    return verification, [*missing, *absent]


class VerificationWork(Work):
    """The work of a verification in seconds by a rough estimate; its steps are findings."""

    def __init__(self, run: VerificationDistribution) -> None:
        super().__init__({number: run.seconds(number) for number in range(1, run.count + 1)})
        self.run = run
        self.made: dict[int, int] = {}

    def read(self, number: int) -> None:
        path = certificate_folder(self.run.home, number) / certificates.NAME
        if path.is_file():
            self.made[number] = len(json_files.read_object(path)["findings"])

    def steps(self, number: int) -> int:
        return self.made.get(number, 0)

    def done(self, number: int) -> float:
        return self.sizes[number] * min(1.0, self.steps(number) / max(1, self.run.findings(number)))
