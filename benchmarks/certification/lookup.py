"""Stored findings, and what a row of a report says of its verification.

A finding covers a run if it is about the same network, code (`covered_code`), package versions, mode, precision and
device, and if its verification asked at least what the default asks. Only the framework checks run the trainer, so it
is no part of the code of a finding on a network. The number of threads is not part of a finding, because the framework
checks repeat a case with two threads. A row needs the finding on its network and the one on the framework itself
(`FRAMEWORK_CHECKS`), both in float64; in float32 it needs both in that precision, too, and with layers in 16 bits the
one on the network. Float32 without these is certified in float64 only; 16 bits are not certified then, and TF32 never
is.
A framework that only predicts needs the finding on the network in its precision: evaluation is all that it does.

Findings are stored in the user's cache, each in a file of its own. The certificates of a checkout are read, too. A file
that was changed by hand covers nothing, and the row names it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from msgspec import UNSET

from benchmarks.certification.covered_code import PARTS, code_parts, of_network
from benchmarks.certification.verified_networks import verified_forms
from benchmarks.records import certificates
from benchmarks.records.certificates import FRAMEWORK_CHECKS, Certificate, Finding, StoredFinding
from benchmarks.records.events import NOT_CERTIFIED, Certified
from benchmarks.records.store import file_name
from benchmarks.runtime.environments import cache_folder
from benchmarks.runtime.errors import BadInput
from frameworks.adapter import Setting
from frameworks.registry import FRAMEWORKS, trains
from frameworks.spec import Network

# In a checkout; those of other precisions are beside it, with longer names.
SHIPPED = Path(__file__).parents[2] / "results" / "certificate"

CERTIFIED, ONLY_FLOAT64 = "certified", "certified in float64 only"


@dataclass(frozen=True)
class RowIdentity:
    """What a row of a report ran."""

    requested: str  # the network, as on the command line
    name: str  # of the network
    case_sha256: str  # of the form in which it is verified
    framework: str  # its label
    adapter: str  # the file of the adapter, as the worker reports it
    versions: Mapping[str, str]  # of packages, as the worker reports them, the framework's own first
    setting: Setting


@dataclass(frozen=True)
class Coverage:
    """What a row says of its verification, and the certificate that covers it or refuses it."""

    text: str  # certified, certified in float64 only, or not certified with the reason
    certificate: Certified | None = None


@dataclass(frozen=True)
class Subject:
    """What a finding is about: everything that decides its numbers."""

    network: str  # the digest of the verified network, or FRAMEWORK_CHECKS
    code: Mapping[str, str]  # digest by part, of those that decide the numbers
    versions: Mapping[str, str]
    mode: str
    precision: str
    device: str

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> str:
        """The digest of all of it, independent of the order of parts and packages."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @staticmethod
    def about(
        network: str, code: Mapping[str, str], versions: Mapping[str, str], mode: str, precision: str, device: str
    ) -> Subject:
        """The subject of a finding that is made with all this. code: digest of every part."""
        deciding = code if network == FRAMEWORK_CHECKS else of_network(code)
        return Subject(network, deciding, versions, mode, precision, device)

    @staticmethod
    def of(finding: Finding) -> Subject | None:
        """The subject of a finding; None if an earlier version made it, which did not record the code by part."""
        if finding.code is UNSET:
            return None
        network = FRAMEWORK_CHECKS if finding.net == FRAMEWORK_CHECKS else finding.case_sha256
        return Subject.about(network, finding.code, finding.versions, finding.mode, finding.precision, finding.device)


# --- stored -----------------------------------------------------------------------------------------------------------


def keep(certificate: Certificate) -> None:
    """Store each finding in the user's cache, where runs look it up. A weaker one does not replace a complete one."""
    for stored in _of_certificate(certificate):
        subject = Subject.of(stored.finding)
        if subject is None:
            continue
        folder = _folder(stored.finding.name or stored.finding.net, subject.network)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{subject.key}.json"
        if not (stored.finding.weaker and stored.finding.certified and path.exists()):
            certificates.store(stored, path)


def _folder(name: str, network: str) -> Path:
    """The folder of all findings on a network, or of the framework checks."""
    folder = FRAMEWORK_CHECKS if network == FRAMEWORK_CHECKS else f"{name}-{network[:12]}"
    return cache_folder() / "certificates" / file_name(folder)


def _of_certificate(certificate: Certificate) -> Iterator[StoredFinding]:
    digest = certificate.sha256
    for finding in certificate.findings:
        yield StoredFinding(certificate=digest, semantics=certificate.semantics, finding=finding)


# --- looked up --------------------------------------------------------------------------------------------------------


def covering_trained(
    network: Network, framework: str, setting: Setting, adapter: str, versions: Mapping[str, str]
) -> Coverage:
    """What a row with trained weights says: their network has layers in front that no certificate covers.

    framework: its label. adapter, versions: as the worker reports them.
    """
    rows = [
        RowIdentity(form.requested, network.name, form.case_sha256, framework, adapter, versions, setting)
        for form in verified_forms(network)
    ]
    coverages = [covering(row) for row in rows if _folder(row.name, row.case_sha256).is_dir()] or [covering(rows[0])]
    return next((each for each in coverages if each.text == CERTIFIED), coverages[0])


def covering(row: RowIdentity) -> Coverage:
    """What a row says of its verification."""
    if row.setting.tf32:  # verification computes in float32 itself
        return Coverage(f"{NOT_CERTIFIED}: never verified with TF32")
    code = code_parts(row.adapter, trains(row.framework))
    mode, device = row.setting.mode, row.setting.device
    network, checks = (
        Subject.about(identity, code, row.versions, mode, "float64", device)
        for identity in (row.case_sha256, FRAMEWORK_CHECKS)
    )
    if not trains(row.framework):  # it may lack float64, and its checks are those of training
        outcome = _outcome(replace(network, precision=row.setting.precision), row)
        return Coverage(f"{NOT_CERTIFIED}: {outcome.reason}" if outcome.reason else CERTIFIED, outcome.certificate)
    needed = [network, checks]
    outcomes = [_outcome(subject, row) for subject in needed]
    if failure := next((each for each in outcomes if each.reason), None):
        return Coverage(f"{NOT_CERTIFIED}: {failure.reason}", outcomes[0].certificate)
    if row.setting.precision != "float64":
        in_own = needed[:1] if row.setting.reduced else needed
        outcomes = [_outcome(replace(subject, precision=row.setting.precision), row) for subject in in_own]
        if failure := next((each for each in outcomes if each.refused), None):
            return Coverage(f"{NOT_CERTIFIED}: {failure.reason} in {row.setting.precision}", failure.certificate)
        if failure := next((each for each in outcomes if each.reason), None):
            if row.setting.reduced:  # it computes with other code than float64
                return Coverage(f"{NOT_CERTIFIED}: {failure.reason}", failure.certificate)
            return Coverage(ONLY_FLOAT64, outcomes[0].certificate)
    return Coverage(CERTIFIED, outcomes[0].certificate)


@dataclass(frozen=True)
class _Outcome:
    """Whether a finding covers a subject. reason: why none does. refused: the framework differs or fails."""

    certificate: Certified | None = None
    reason: str | None = None
    refused: bool = False


def _outcome(subject: Subject, row: RowIdentity) -> _Outcome:
    name = FRAMEWORK_CHECKS if subject.network == FRAMEWORK_CHECKS else row.name
    stored, damaged = _stored(name, subject.network)
    exact = [each for each in stored if Subject.of(each.finding) == subject]
    for each in exact:
        if each.finding.certified and not each.finding.weaker:
            return _Outcome(Certified(each.certificate, each.finding.verdict))
    if exact:
        certificate, finding = Certified(exact[0].certificate, exact[0].finding.verdict), exact[0].finding
        if not finding.certified:
            return _Outcome(
                certificate, _prefixed(name, _difference(finding)), finding.verdict in ("differs", "failed")
            )
        return _Outcome(certificate, _prefixed(name, f"weaker verification: {', '.join(finding.weaker or [])}"))
    if damaged:
        return _Outcome(reason=damaged[0])
    return _Outcome(reason=_prefixed(name, _nearest(subject, stored, row)))


def _prefixed(name: str, reason: str) -> str:
    return f"{FRAMEWORK_CHECKS}: {reason}" if name == FRAMEWORK_CHECKS else reason


def _difference(finding: Finding) -> str:
    """Why a finding refuses its subject."""
    if finding.reason:
        return f"failed: {finding.reason}"
    stage = next((stage.stage for stage in finding.stages if stage.verdict == finding.verdict), "")
    return f"{finding.verdict} at stage {stage}"


def _nearest(subject: Subject, stored: Sequence[StoredFinding], row: RowIdentity) -> str:
    """Why no finding covers a subject: the differences from the one that has the fewest."""
    own = [each.finding for each in stored if _framework(each.finding.framework) == _framework(row.framework)]
    differences = [_differences(subject, known) for known in map(Subject.of, own) if known]
    if differences:
        return min(("; ".join(each) for each in differences), key=lambda text: (text.count("; "), len(text)))
    command = f"onespec verify --net {row.requested} --fw {row.framework}{_adapter_option(row)}"
    if subject.network != FRAMEWORK_CHECKS and _other_networks(row):
        return f"the network changed since: {command}"
    return f"never verified: {command}"


def _differences(subject: Subject, known: Subject) -> list[str]:
    """In words, what distinguishes two subjects of one network: few and unimportant differences give a short list."""
    differences = []
    if known.mode != subject.mode:
        differences.append(f"never verified in mode {subject.mode or 'default'}")
    if known.device != subject.device:
        differences.append(f"verified on {known.device} only")
    if known.precision != subject.precision:
        differences.append(f"never verified in {subject.precision}")
    changed = [part for part in PARTS if known.code.get(part) != subject.code.get(part)]
    if changed:
        differences.append(f"{' and '.join(changed)} changed since")
    versions = [
        f"{package} {version}"
        for package, version in subject.versions.items()
        if known.versions.get(package) != version
    ]
    if versions or known.versions != subject.versions:
        differences.append(f"other versions: {', '.join(versions) or 'fewer packages'}")
    return differences


def _framework(label: str) -> str:
    """The name of a framework, from its label."""
    return label.partition("==")[0].partition(":")[0]


def _adapter_option(row: RowIdentity) -> str:
    info = FRAMEWORKS.get(_framework(row.framework))
    return f" --adapter {info.module}:{info.adapter}" if info and info.module.endswith(".py") else ""


def _other_networks(row: RowIdentity) -> bool:
    """Whether another network of this name was verified in this framework."""
    folders = (cache_folder() / "certificates").glob(f"{row.name}-*")
    cached = [stored for folder in folders for stored in _read_all(folder)[0]]
    others = [each.finding for each in [*cached, *_shipped()[0]] if each.finding.case_sha256 != row.case_sha256]
    return any(other.name == row.name and _framework(other.framework) == _framework(row.framework) for other in others)


def _stored(name: str, network: str) -> tuple[list[StoredFinding], list[str]]:
    """The findings on a network in the cache and in the checkout, and why files that may hold others are refused."""
    stored, damaged = _read_all(_folder(name, network))
    shipped, refused = _shipped()
    about = [each for each in shipped if (subject := Subject.of(each.finding)) and subject.network == network]
    return [*stored, *about], [*damaged, *refused]


def _read_all(folder: Path) -> tuple[list[StoredFinding], list[str]]:
    stored, damaged = [], []
    for path in sorted(folder.glob("*.json"), key=lambda path: -path.stat().st_mtime_ns):
        try:
            each = certificates.read_stored(path)
        except BadInput as error:
            damaged.append(str(error))
        else:
            if each.semantics == "aligned":
                stored.append(each)
    return stored, damaged


def _shipped() -> tuple[list[StoredFinding], list[str]]:
    """The findings of the checkout's certificates, and why some are refused."""
    paths = sorted(SHIPPED.parent.glob(f"{SHIPPED.name}*/{certificates.NAME}"))
    known = [_read_shipped(path.parent, path.stat().st_mtime_ns) for path in paths]
    return [each for findings, _ in known for each in findings], [reason for _, reasons in known for reason in reasons]


@cache
def _read_shipped(folder: Path, modified: int) -> tuple[list[StoredFinding], list[str]]:
    try:
        certificate = certificates.read(folder)
    except BadInput as error:
        return [], [str(error)]
    return (list(_of_certificate(certificate)) if certificate.semantics == "aligned" else []), []
