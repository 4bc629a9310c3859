"""A verdict as a record: the finding of a certificate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from benchmarks.certification.covered_code import code_parts, code_sha256
from benchmarks.certification.verified_networks import BATCH
from benchmarks.records.certificates import FRAMEWORK_CHECKS, Finding, PlaceRecord, StageRecord
from benchmarks.runtime import checkout
from benchmarks.runtime.machine import Machine
from benchmarks.verification.case_runner import NetworkVerdict
from benchmarks.verification.cases import STAGES, Case, Place, default_curve
from benchmarks.verification.framework_checks import STAGES as CHECK_STAGES
from benchmarks.verification.inference import STAGES as INFERENCE_STAGES
from frameworks.registry import trains


def version(versions: Mapping[str, str]) -> str:
    """The framework and its version, from the versions that a worker reports."""
    return " ".join(next(iter(versions.items())))


def recorded(verdict: NetworkVerdict) -> Finding:
    """A verdict on a network as a record."""
    target, case = verdict.target, verdict.case
    code = code_parts(target.module, trains(target.label))
    stages = [
        StageRecord(
            stage=stage.stage,
            verdict=stage.verdict,
            error=float(stage.error),
            limit=float(stage.limit),
            place=_place(stage.place) if stage.place else None,
            note=stage.note,
            later=stage.later,
        )
        for stage in verdict.verdicts
    ]
    present = {stage.stage for stage in stages}
    return Finding(
        net=verdict.net,
        name=case.spec.name,
        input=list(case.network.input),
        images=(case.batch_size, len(case.images)),
        case_sha256=case.spec.sha256,
        framework=target.label,
        version=version(target.versions),
        versions=dict(target.versions),
        mode=target.mode,
        code_sha256=code_sha256(code),
        code=code,
        weaker=list(_weaker(verdict, present)),
        precision=verdict.precision,
        seeds=verdict.seeds,
        device=target.device,
        settings=dict(verdict.settings),
        verdict=verdict.verdict,
        reason=verdict.failed,
        cause=verdict.cause,
        stages=stages,
        commit=checkout.commit(),
        machine=this_machine(),
    )


@cache
def this_machine() -> Machine:
    """The machine, asked once: the name of a GPU takes a process."""
    return Machine.here()


def _weaker(verdict: NetworkVerdict, present: set[str]) -> Iterator[str]:
    """What a verification asks less than the default."""
    if verdict.net == FRAMEWORK_CHECKS:
        return _missing(CHECK_STAGES, present)
    if trains(verdict.target.label):
        return weaker(verdict.case, present)
    return _missing(INFERENCE_STAGES, present)


def weaker(case: Case, stages: set[str]) -> Iterator[str]:
    """The options with which a case asks less than the default, and the stages that are missing."""
    if case.batch_size < BATCH:
        yield f"--batch-size {case.batch_size}"
    if case.curve < default_curve(case.network):
        yield f"--steps {case.curve}"
    yield from _missing(STAGES, stages)


def _missing(expected: Sequence[str], stages: set[str]) -> Iterator[str]:
    """The stages that were not judged, unless there is no verdict at all."""
    missing = [stage for stage in expected if stage not in stages]
    if stages and missing:
        yield f"no stage {', '.join(missing)}"


def _place(place: Place) -> PlaceRecord:
    return PlaceRecord(place.stage, place.training, place.step, place.tensor)
