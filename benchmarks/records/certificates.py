"""The record of a verification, `certificate.json`: its structs, written and read here alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from benchmarks.records.atomic import write_text
from benchmarks.records.json_files import one_line, read_object
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.machine import Machine

SCHEMA = 2
NAME = "certificate.json"
FRAMEWORK_CHECKS = "framework checks"  # the `net` of findings on a framework itself, independent of a network

# Verdicts from the worst to the best. A stage has one of them, or "none" if the network has nothing to compare; a
# verdict that is not in this list, such as "not distinguishable", is worse than "explained".
_ACCEPTED = ("explained", "ok", "none")


class PlaceRecord(msgspec.Struct, frozen=True):
    """Where a tensor belongs: the stage, the training case or nothing, the step or 0, and the tensor's name."""

    stage: str
    case: str
    step: int
    tensor: str


class StageRecord(msgspec.Struct, frozen=True):
    """The verdict of one stage: ok, explained, differs, not verified, not distinguishable, or none.

    none: the network has nothing to compare. not verified, not distinguishable: neither agrees nor differs, see `note`.
    """

    stage: str
    verdict: str
    error: float  # the largest relative error; for dropout, as `note` says
    place: PlaceRecord | None = None  # where it is, or where the framework first differs
    note: str = ""
    later: int = 0  # differing places after the first
    limit: float | UnsetType = UNSET  # of `error`, above which the stage differs; earlier versions did not record it

    @property
    def contradiction(self) -> str | None:
        """How the verdict contradicts the error and its limit; None if it follows from them."""
        if self.limit is UNSET or self.verdict not in ("ok", "explained", "differs"):
            return None
        within = self.error <= self.limit
        if within == (self.verdict != "differs"):
            return None
        above = "not above" if within else "above"
        return f"stage {self.stage} is {self.verdict!r}, but its error {self.error:.1e} is {above} {self.limit:.1e}"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one network, or on the framework checks, in one framework and precision.

    Fields that are `UNSET` belong to findings of earlier versions, which cover no run.
    """

    net: str  # as requested, or `FRAMEWORK_CHECKS`
    name: str | UnsetType = UNSET  # of the network
    input: list[int]
    images: tuple[int, int]  # per step, and in total
    case_sha256: str  # identity of the verified network
    framework: str  # its label
    version: str
    versions: dict[str, str]
    mode: str
    code_sha256: str  # of all parts of `code`
    code: dict[str, str] | UnsetType = UNSET  # digest of each part of the code that decides the numbers
    weaker: list[str] | UnsetType = UNSET  # options that ask less than the default verification
    precision: str
    seeds: int
    device: str
    settings: dict[str, str]
    verdict: str  # ok, explained, differs, failed, not verified or not distinguishable
    reason: str | None = None  # of a failure
    cause: str | None = None  # likely, of the first difference
    stages: list[StageRecord]
    commit: str | None = None
    machine: Machine | UnsetType = UNSET  # that verified it

    @property
    def certified(self) -> bool:
        """Whether the framework computes what the spec says, or differs only as its adapter declares."""
        return self.verdict in ("ok", "explained")

    @property
    def contradiction(self) -> str | None:
        """How the verdict contradicts the stages; None if it follows from them. A changed verdict is refused by it."""
        for stage in self.stages:
            if stage.contradiction:
                return stage.contradiction
        expected = worst_verdict([stage.verdict for stage in self.stages], failed=self.reason is not None)
        return (
            None if self.verdict == expected else f"the verdict is {self.verdict!r}, but its stages give {expected!r}"
        )


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """All findings of a verification. steps: None for the number that each network's size gives."""

    command: list[str]
    began: str  # ISO 8601, with the time zone
    semantics: str
    seed: int
    batch_size: int
    steps: int | None
    machine: Machine
    commit: str | None
    findings: list[Finding]

    @property
    def sha256(self) -> str:
        """The digest of the certificate."""
        return digest(msgspec.to_builtins(self))


class StoredFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding in the user's cache, with the digest of the certificate that it is from."""

    certificate: str
    semantics: str
    finding: Finding


Record = TypeVar("Record", Certificate, StoredFinding)


def worst_verdict(verdicts: Sequence[str], *, failed: bool = False) -> str:
    """The verdict of a finding, from those of its stages: failed, differs, explained or ok.

    A verdict with another name is that of the finding, too, unless a stage differs.
    """
    if failed or not verdicts:
        return "failed"
    if "differs" in verdicts:
        return "differs"
    other = next((verdict for verdict in verdicts if verdict not in _ACCEPTED), None)
    return other or ("explained" if "explained" in verdicts else "ok")


def digest(record: dict[str, Any]) -> str:
    """The digest of a record without its `schema` and its own digest, `sha256`."""
    content = {name: value for name, value in record.items() if name not in ("schema", "sha256")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def now() -> str:
    """The time of a certificate."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def text(certificate: Certificate) -> str:
    """A certificate as a file, a line for each finding."""
    header: dict[str, Any] = {"schema": SCHEMA, "sha256": certificate.sha256, **msgspec.to_builtins(certificate)}
    findings = ",\n".join(json.dumps(finding) for finding in header.pop("findings"))
    return f'{json.dumps(header, indent=1)[:-2]},\n "findings": [\n{findings}\n ]\n}}\n'


def write(certificate: Certificate, folder: Path) -> None:
    """Write certificate.json."""
    write_text(folder / NAME, text(certificate))


def read(folder: Path) -> Certificate:
    """The certificate in a folder.

    Raises BadInput if there is none, if it is damaged or of another schema, and if it was changed after the
    verification: its digest must be that of its content, and every verdict must follow from the errors of its stages.
    """
    path = folder / NAME
    if not path.is_file():
        run = " (it is the folder of a run: use `onespec report`)" if (folder / "run.json").is_file() else ""
        raise BadInput(f"{folder}: no certificate.json in it{run}; name the folder of a certificate")
    certificate = _checked(path, Certificate)
    for finding in certificate.findings:
        _check_verdict(path, finding)
    return certificate


def store(finding: StoredFinding, path: Path) -> None:
    """Write a finding and its digest to a file of its own."""
    record = msgspec.to_builtins(finding)
    write_text(path, json.dumps({"schema": SCHEMA, "sha256": digest(record), **record}))


def read_stored(path: Path) -> StoredFinding:
    """A finding that `store` wrote. Raises BadInput as `read` does."""
    stored = _checked(path, StoredFinding)
    _check_verdict(path, stored.finding)
    return stored


def _checked(path: Path, kind: type[Record]) -> Record:
    """The record in a file whose digest is that of its content. Raises BadInput."""
    record = read_object(path)
    if record.get("schema") != SCHEMA:
        raise BadInput(f"{path}: schema {record.get('schema')!r:.40}; this version reads {SCHEMA}: verify again")
    try:
        checked = msgspec.convert(record, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadInput(f"{path}: not a certificate: {one_line(error)}") from None
    if record.get("sha256") != digest(record):
        raise BadInput(f"{path}: its digest is not that of its content: it was changed after the verification{AGAIN}")
    return checked


AGAIN = "; verify again"


def _check_verdict(path: Path, finding: Finding) -> None:
    if finding.contradiction:
        subject = f"{finding.net} in {finding.framework}, {finding.precision}"
        raise BadInput(f"{path}: {subject}: {finding.contradiction}: it was changed after the verification{AGAIN}")


def in_order(findings: Sequence[Finding], name: str) -> list[str]:
    """The distinct values of a field, in the order of the findings."""
    return list(dict.fromkeys(getattr(finding, name) for finding in findings))
