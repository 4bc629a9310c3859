"""Certificates: which code they cover, how a verification becomes a record, and how a run looks one up.

A certificate covers a network's layers, a framework's version, a precision and the code of the adapter. Its findings
are stored in the user's cache, each under the digest of what it covers, so a changed adapter has none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import msgspec

import frameworks
from benchmarks.records.atomic import write_text
from benchmarks.records.certificates import Certificate, Finding, PlaceRecord, StageRecord, read
from benchmarks.records.events import Certified
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import cache_folder
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import network
from benchmarks.verification.case_runner import NetworkVerdict
from benchmarks.verification.cases import Place, small
from benchmarks.verification.code_identity import files_sha256
from frameworks.adapter import Setting

CLASSES = 10  # of the verified networks
SHARED = ("adapter", "spec", "training", "arrays")  # modules that decide what an adapter computes


def case_sha256(name: str) -> str:
    """The identity of the network that is verified under this name: ten classes, a small input."""
    return small(network(name, classes=CLASSES)).sha256


@cache
def code_sha256(module: str) -> str:
    """The digest of an adapter's code, a module of the package or a file, and of what it computes from.

    Comments and docstrings do not count: see `code_identity`.
    """
    folder = Path(frameworks.__file__).parent
    shared = [path for name in SHARED for path in _sources(folder, name)]
    return files_sha256([*_adapter_sources(folder, module), *shared])


def _adapter_sources(folder: Path, module: str) -> list[Path]:
    if not module.endswith(".py"):
        return _sources(folder, module.removeprefix("frameworks.").partition(".")[0])
    path = Path(module)
    return _sources(folder, path.parent.name) if path.parent.parent == folder else [path]


def _sources(folder: Path, name: str) -> list[Path]:
    """The files of a module or package in `folder`."""
    return sorted(folder.glob(f"{name}.py")) or sorted(folder.glob(f"{name}/*.py"))


def version(versions: Mapping[str, str]) -> str:
    """The framework and its version, from the versions that a worker reports."""
    return " ".join(next(iter(versions.items())))


def finding(verdict: NetworkVerdict) -> Finding:
    """A verdict on a network as a record."""
    target, case = verdict.target, verdict.case
    return Finding(
        net=verdict.net,
        input=list(case.network.input),
        images=(case.batch_size, len(case.images)),
        case_sha256=case.spec.sha256,
        framework=target.label,
        version=version(target.versions),
        versions=dict(target.versions),
        mode=target.mode,
        code_sha256=code_sha256(target.module),
        precision=verdict.precision,
        seeds=verdict.seeds,
        device="cpu",
        settings=dict(verdict.settings),
        verdict=verdict.verdict,
        reason=verdict.failed,
        cause=verdict.cause,
        stages=[
            StageRecord(
                stage=stage.stage,
                verdict=stage.verdict,
                error=float(stage.error),
                place=_place(stage.place) if stage.place else None,
                note=stage.note,
                later=stage.later,
            )
            for stage in verdict.verdicts
        ],
        commit=checkout.commit(),
    )


def _place(place: Place) -> PlaceRecord:
    return PlaceRecord(place.stage, place.training, place.step, place.tensor)


# --- stored and looked up ---------------------------------------------------------------------------------------------

SHIPPED = Path(__file__).parents[2] / "results" / "certificate"  # in a checkout


def key(case_sha256: str, code_sha256: str, version: str, mode: str, precision: str, device: str) -> str:
    """What a finding is about, as the name of its file."""
    return hashlib.sha256("\n".join((case_sha256, code_sha256, version, mode, precision, device)).encode()).hexdigest()


def keep(certificate: Certificate) -> None:
    """Store each finding in the user's cache, where runs look it up."""
    folder = cache_folder() / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    for name, certified in _by_key(certificate):
        write_text(folder / f"{name}.json", json.dumps(msgspec.to_builtins(certified)))


def find(name: str) -> Certified | None:
    """The verdict that is stored under a key: in the user's cache, or else in this checkout."""
    path = cache_folder() / "certificates" / f"{name}.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Certified)
    return _shipped().get(name)


def covering(case_sha256: str, setting: Setting, adapter: str, versions: Mapping[str, str]) -> Certified | None:
    """The certificate that covers a network in a framework as it is installed here, or None.

    adapter: the module or file of the adapter. versions: of packages, the framework's own first.
    """
    about = case_sha256, code_sha256(adapter), version(versions), setting.mode, setting.precision, setting.device
    return find(key(*about))


def status(certificate: Certified | None) -> str:
    """What a report says of a cell with this certificate: certified, or not certified."""
    return "certified" if certificate and certificate.verdict in ("ok", "explained") else "not certified"


@cache
def _shipped() -> dict[str, Certified]:
    """The findings of the checkout's certificate by key; none if there is no certificate that can be read."""
    try:
        return dict(_by_key(read(SHIPPED)))
    except BadInput:
        return {}


def _by_key(certificate: Certificate) -> Iterator[tuple[str, Certified]]:
    digest = certificate.sha256
    for one in certificate.findings:
        name = key(one.case_sha256, one.code_sha256, one.version, one.mode, one.precision, one.device)
        yield name, Certified(digest, one.verdict)
