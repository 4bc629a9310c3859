"""Certificates as records: what a verification leaves, where it is kept, and how a run finds the one that covers it.

A certificate speaks of a network's layers, a framework's version, a precision and the very code of the adapter. It is
kept in the user's cache, each under its own digest; one that speaks of other code is never found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

import frameworks
from benchmarks.records.events import Certified
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import cache_folder
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.machine import Machine
from benchmarks.runtime.networks import network
from benchmarks.verification.case_runner import Finding
from benchmarks.verification.cases import Place, small
from benchmarks.verification.code_identity import files_sha256
from frameworks.adapter import Setting

Certificate: TypeAlias = dict[str, Any]

SCHEMA = 1
CLASSES = 10  # of the network that is put to the frameworks
SHARED = ("adapter", "spec", "training", "arrays")  # modules that decide what an adapter computes


def trial_sha256(name: str) -> str:
    """The digest of the network that a certificate of this name is about: ten classes, a small input."""
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
    """The framework's own of the versions that a worker tells, with its name."""
    return " ".join(next(iter(versions.items())))


def certificate(
    findings: Sequence[dict[str, Any]], command: Sequence[str], semantics: str, seed: int, batch: int, steps: int | None
) -> Certificate:
    """All that was found, as it is kept; `sha256` is the digest of the rest. steps: None for the networks' own."""
    whole = {
        "schema": SCHEMA,
        "command": list(command),
        "began": datetime.now().astimezone().isoformat(timespec="seconds"),
        "semantics": semantics,
        "seed": seed,
        "batch": batch,
        "steps": steps,
        "machine": msgspec.to_builtins(Machine.here()),
        "commit": checkout.commit(),
        "findings": list(findings),
    }
    return {"sha256": hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest(), **whole}


def finding(finding: Finding) -> dict[str, Any]:
    """What was found of one network in one framework and precision, as it is kept."""
    network = finding.case.network
    return {
        "net": finding.net,
        "input": list(network.input),
        "pictures": [finding.case.batch_size, len(finding.case.images)],  # of a step, in all
        "trial_sha256": finding.case.spec.sha256,
        "framework": finding.target.label,
        "commit": checkout.commit(),
        "version": version(finding.target.versions),
        "versions": finding.target.versions,
        "mode": finding.target.mode,
        "code_sha256": code_sha256(finding.target.module),
        "precision": finding.precision,
        "seeds": finding.seeds,
        "device": "cpu",
        "settings": dict(finding.settings),
        "verdict": finding.verdict,
        "reason": finding.failed,
        "cause": finding.cause,
        "stages": [
            {
                "stage": verdict.stage,
                "verdict": verdict.verdict,
                "error": verdict.error,
                "place": _place(verdict.place) if verdict.place else None,
                "said": verdict.note,
                "later": verdict.later,
            }
            for verdict in finding.verdicts
        ],
    }


def _place(place: Place) -> dict[str, Any]:
    return {"stage": place.stage, "case": place.training, "step": place.step, "tensor": place.tensor}


def text(whole: Certificate) -> str:
    """A certificate as a file: a line a finding."""
    lines = ",\n".join(json.dumps(one) for one in whole["findings"])
    rest = json.dumps({name: value for name, value in whole.items() if name != "findings"}, indent=1)
    return f'{rest[:-2]},\n "findings": [\n{lines}\n ]\n}}\n'


def read(folder: Path) -> Certificate:
    """The certificate in a folder. BadInput where there is none, or another schema's."""
    try:
        whole: Certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BadInput(f"{folder}: no certificate.json that can be read: {error}") from None
    if whole.get("schema") != SCHEMA:
        raise BadInput(f"{folder}: written with schema {whole.get('schema')}, this version reads {SCHEMA}")
    return whole


# --- kept and found ---------------------------------------------------------------------------------------------------

SHIPPED = Path(__file__).parents[2] / "results" / "certificate" / "certificate.json"  # in a checkout


def key(trial_sha256: str, code_sha256: str, version: str, mode: str, precision: str, device: str) -> str:
    """What a finding is about, as the name of its file."""
    return hashlib.sha256("\n".join((trial_sha256, code_sha256, version, mode, precision, device)).encode()).hexdigest()


def keep(whole: Certificate) -> None:
    """Put each finding where runs look for it."""
    folder = cache_folder() / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    for name, brief in _briefs(whole):
        aside = folder / f"{name}.part"
        aside.write_text(json.dumps(brief), encoding="utf-8")
        aside.replace(folder / f"{name}.json")


def find(name: str) -> dict[str, str] | None:
    """The verdict kept under a key and the digest of the certificate that it is from; the user's own before ours."""
    path = cache_folder() / "certificates" / f"{name}.json"
    if path.exists():
        brief: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return brief
    return _shipped().get(name)


def covering(trial_sha256: str, setting: Setting, adapter: str, versions: Mapping[str, str]) -> Certified | None:
    """The certificate that covers a network in a framework as it is installed here, or None.

    adapter: the module or file of the adapter. versions: of packages, the framework's own first.
    """
    about = trial_sha256, code_sha256(adapter), version(versions), setting.mode, setting.precision, setting.device
    verdict = find(key(*about))
    return Certified(**verdict) if verdict else None


def columns(certificate: Certified | None) -> dict[str, str | None]:
    """A certificate as columns of a report: whether it certifies the network, and its digest."""
    if certificate is None:
        return {"certified": "not certified", "certificate": None}
    certified = certificate.verdict in ("ok", "explained")
    return {"certified": "certified" if certified else "not certified", "certificate": certificate.certificate}


@cache
def _shipped() -> dict[str, dict[str, str]]:
    return dict(_briefs(json.loads(SHIPPED.read_text(encoding="utf-8")))) if SHIPPED.exists() else {}


def _briefs(whole: Certificate) -> Iterator[tuple[str, dict[str, str]]]:
    for one in whole["findings"]:
        names = (one[name] for name in ("trial_sha256", "code_sha256", "version", "mode", "precision", "device"))
        yield key(*names), {"certificate": whole["sha256"], "verdict": one["verdict"]}
