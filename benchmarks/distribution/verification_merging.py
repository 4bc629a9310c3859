"""Merges the shards of a verification into one certificate.

The unit is a part: the framework checks, or one network in all frameworks and precisions. A part is taken as a whole
from its shard, so frameworks that are compared in float32 computed on one machine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.records import certificates, json_files, plans
from benchmarks.records.atomic import write_text
from benchmarks.records.certificates import Certificate, Finding
from benchmarks.runtime.errors import BadInput
from benchmarks.verification.native_effects import DefaultDifference
from benchmarks.verification.verify_run import COMMON, Verification, VerifyRequest, certificate_of, of_others

NAME = "shard.json"  # beside the certificate of a shard


class VerificationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification was asked for: what its shards must have in common."""

    parts: list[str]  # of all shards
    frameworks: str
    precision: str
    size: str
    semantics: str
    seed: int
    batch_size: int
    steps: int | None = None
    threads: int

    @staticmethod
    def of(request: VerifyRequest) -> VerificationInfo:
        """That of a request; its own shard does not matter."""
        return VerificationInfo(
            parts=request.parts(),
            frameworks=request.frameworks,
            precision=request.precision,
            size=request.size,
            semantics=request.semantics,
            seed=request.seed,
            batch_size=request.batch_size,
            steps=request.steps,
            threads=request.threads,
        )


class VerificationShard(msgspec.Struct, frozen=True, kw_only=True):
    """`shard.json`: written when a shard has ended, with what its certificate does not say."""

    number: int  # from 1
    count: int
    info: VerificationInfo
    skipped: list[str] = []  # as in `Verification`
    lacking: list[str] = []
    native_differences: list[DefaultDifference] = []

    @property
    def parts(self) -> list[str]:
        """The parts of this shard."""
        return plans.of_shard(self.number, self.count, self.info.parts)


def write_shard(request: VerifyRequest, verification: Verification) -> None:
    """Write `shard.json` of a verification that has ended, beside its certificate."""
    assert request.shard and request.out, "only a shard has this record"
    shard = VerificationShard(
        number=request.shard[0],
        count=request.shard[1],
        info=VerificationInfo.of(request),
        skipped=list(verification.skipped),
        lacking=list(verification.lacking),
        native_differences=list(verification.native_differences),
    )
    write_text(request.out / NAME, json.dumps(msgspec.to_builtins(shard)) + "\n")


def remove_shard(request: VerifyRequest) -> None:
    """Remove `shard.json` of an earlier verification, so that an interrupted one does not count as complete."""
    assert request.out, "a shard has a folder"
    (request.out / NAME).unlink(missing_ok=True)


def read_shard(folder: Path) -> VerificationShard:
    """The record of a shard. Raises BadInput if there is none, or if it is damaged."""
    path = folder / NAME
    if not path.is_file():
        raise BadInput(f"FOLDER {folder}: no {NAME} in it; `onespec verify --shard` writes it when the shard has ended")
    record = json_files.read_object(path)
    try:
        shard = msgspec.convert(record, VerificationShard)
    except (ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
        raise BadInput(f"{path}: not a record of onespec: {json_files.one_line(error)}") from None
    if not 1 <= shard.number <= shard.count <= len(shard.info.parts):
        raise BadInput(f"{path}: shard {shard.number}/{shard.count} of {len(shard.info.parts)} parts")
    return shard


@dataclass(frozen=True)
class _Folder:
    path: Path
    shard: VerificationShard
    certificate: Certificate


def merge(
    paths: Sequence[Path], request: VerifyRequest | None, command: Sequence[str]
) -> tuple[Verification, list[str]]:
    """The verification of all shards, and a line for each part that is in none of the folders.

    request: of all parts, whose folder `out` may have a certificate with findings on others; None: there is none.
    command: recorded, with the machine of the first shard; each finding has its own. Raises BadInput if the folders are
    not shards of one verification.
    """
    folders = [_Folder(path, read_shard(path), certificates.read(path)) for path in paths]
    first = folders[0]
    by_number: dict[int, _Folder] = {}
    for folder in folders:
        _check_same(first, folder)
        other = by_number.setdefault(folder.shard.number, folder)
        if other is not folder:
            raise BadInput(f"{other.path} and {folder.path}: both are shard {folder.shard.number}; leave one out")
    _check_same_code(folders)
    findings: dict[str, list[Finding]] = {}
    missing = []
    for index, part in enumerate(first.shard.info.parts):
        number = index % first.shard.count + 1
        if number in by_number:
            findings[part] = [each for each in by_number[number].certificate.findings if each.net == part]
        else:
            missing.append(f"{part}: in none of the folders")
    own = [finding for of_part in findings.values() for finding in of_part]
    subjects = {(each.framework, each.precision) for each in own}
    info = first.shard.info
    # A part that was not verified keeps its earlier findings only if the verification was to continue.
    parts = list(findings) if request and request.resume else info.parts
    remade = {(part, *subject) for part in parts for subject in subjects}
    asked = request or VerifyRequest(
        semantics=info.semantics, seed=info.seed, batch_size=info.batch_size, steps=info.steps
    )
    ordered = [by_number[number] for number in sorted(by_number)]
    commits = {folder.certificate.commit for folder in ordered}
    certificate = msgspec.structs.replace(
        certificate_of(asked, findings.values(), of_others(asked, remade), command),
        machine=ordered[0].certificate.machine,  # this one may have verified nothing
        commit=commits.pop() if len(commits) == 1 else None,
    )
    shards = [folder.shard for folder in ordered]
    verification = Verification(
        certificate,
        own,
        tuple(dict.fromkeys(line for shard in shards for line in shard.skipped)),
        tuple(difference for shard in shards for difference in shard.native_differences),
        tuple(dict.fromkeys(line for shard in shards for line in shard.lacking)),
    )
    return verification, missing


def _check_same(a: _Folder, b: _Folder) -> None:
    """Raise BadInput unless two folders are shards of one verification."""
    one, other = a.shard, b.shard
    places = list(plans.differences(one.info, other.info))
    if one.count != other.count:
        places.append("the number of shards")
    if places:
        raise BadInput(f"{a.path} and {b.path}: not one verification: {', '.join(places)} differ")
    for option in COMMON:
        if getattr(b.certificate, option) != getattr(other.info, option):
            raise BadInput(f"{b.path}: its certificate and its {NAME} differ: {option}; verify it again")


def _check_same_code(folders: Sequence[_Folder]) -> None:
    """Raise BadInput if a framework has other code or packages in another shard."""
    known: dict[str, tuple[_Folder, Finding]] = {}
    for folder in folders:
        for finding in folder.certificate.findings:
            first, other = known.setdefault(finding.framework, (folder, finding))
            if finding.code_sha256 != other.code_sha256 or finding.versions != other.versions:
                what = "its code" if finding.versions == other.versions else "its packages"
                raise BadInput(
                    f"{first.path} and {folder.path}: not one verification: {finding.framework}: {what} differ; "
                    "verify one of them again"
                )
