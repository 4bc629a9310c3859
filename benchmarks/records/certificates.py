"""The record of a verification, `certificate.json`: its structs, written and read here alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.records.atomic import write_text
from benchmarks.records.json_files import one_line, read_object
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.machine import Machine

SCHEMA = 2


class PlaceRecord(msgspec.Struct, frozen=True):
    """Where a tensor belongs: the stage, the training case or nothing, the step or 0, and the tensor's name."""

    stage: str
    case: str
    step: int
    tensor: str


class StageRecord(msgspec.Struct, frozen=True):
    """The verdict of one stage: ok, explained, differs, or none if the network has nothing to compare."""

    stage: str
    verdict: str
    error: float  # the largest relative error
    place: PlaceRecord | None = None  # where it is, or where the framework first differs
    note: str = ""
    later: int = 0  # differing places after the first


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one network in one framework and precision."""

    net: str
    input: list[int]
    images: tuple[int, int]  # per step, and in total
    case_sha256: str  # identity of the verified network
    framework: str  # its label
    version: str
    versions: dict[str, str]
    mode: str
    code_sha256: str  # of the adapter and what it computes from
    precision: str
    seeds: int
    device: str
    settings: dict[str, str]
    verdict: str  # ok, explained, differs or failed
    reason: str | None = None  # of a failure
    cause: str | None = None  # likely, of the first difference
    stages: list[StageRecord]
    commit: str | None = None

    @property
    def certified(self) -> bool:
        """Whether the framework computes what the spec says, or differs only as its adapter declares."""
        return self.verdict in ("ok", "explained")


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
        return hashlib.sha256(json.dumps(msgspec.to_builtins(self), sort_keys=True).encode()).hexdigest()


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
    write_text(folder / "certificate.json", text(certificate))


def read(folder: Path) -> Certificate:
    """The certificate in a folder. Raises BadInput if there is none, or if it is damaged or of another schema."""
    path = folder / "certificate.json"
    if not path.is_file():
        run = " (it is the folder of a run: use `onespec report`)" if (folder / "run.json").is_file() else ""
        raise BadInput(f"{folder}: no certificate.json in it{run}; name the folder of a certificate")
    record = read_object(path)
    if record.get("schema") != SCHEMA:
        raise BadInput(f"{path}: schema {record.get('schema')!r:.40}; this version reads {SCHEMA}: verify again")
    try:
        return msgspec.convert(record, Certificate)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadInput(f"{path}: not a certificate: {one_line(error)}") from None


def in_order(findings: Sequence[Finding], name: str) -> list[str]:
    """The distinct values of a field, in the order of the findings."""
    return list(dict.fromkeys(getattr(finding, name) for finding in findings))
