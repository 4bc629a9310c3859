"""Verification detects faults planted in an adapter and reports their place and likely cause.

One process per framework: it loads one faulty adapter after another.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.verification.cases import BATCH, TRAININGS, Case
from benchmarks.verification.comparison import ReferenceEvidence, StageVerdict, relative_errors, stage_verdicts
from benchmarks.verification.diagnosis import likely
from benchmarks.verification.evidence import EvidenceCollector, write_case_files
from frameworks.adapter import Setting
from frameworks.registry import FRAMEWORKS
from tests import faults
from tests.conftest import Bench, evidence_of_reference
from tests.faults import FAULTS, NETS, Fault


def named(fault: Fault) -> str:
    return f"{fault.framework}: {fault.adapter}"


def source(framework: str) -> Path:
    """The file with a framework's faulty adapters."""
    return Path(faults.__file__).parent / f"{FRAMEWORKS[framework].module.rpartition('.')[2]}.py"


SETTING = Setting(precision="float64")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], ReferenceEvidence]:
    """The reference evidence of a network in one training."""

    @cache
    def compute(net: str, training: str) -> ReferenceEvidence:
        case = Case.for_network(NETS[net], seed=0, batch_size=BATCH)
        case = replace(case, trainings={training: TRAININGS[training]}, curve=10)
        return ReferenceEvidence.from_evidence(case, evidence_of_reference(case, tmp_path_factory.mktemp("truth")))

    return compute


@pytest.fixture(scope="module")
def plant(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Fault], WorkerClient]]:
    """A worker with a faulty adapter of the framework."""
    with contextlib.ExitStack() as stack:

        @cache
        def worker(framework: str) -> WorkerClient:
            info = FRAMEWORKS[framework]
            log = tmp_path_factory.mktemp("log") / framework
            client = WorkerClient(bench.python(framework), info.module, info.adapter, threads=1, log=log, timeout=300)
            return stack.enter_context(client)

        def planted(fault: Fault) -> WorkerClient:
            info = FRAMEWORKS[fault.framework]
            sound = fault.adapter == info.adapter
            module = info.module if sound else str(source(fault.framework))
            worker(fault.framework).request("start", module=module, adapter=fault.adapter)
            return worker(fault.framework)

        yield planted


@dataclass(frozen=True)
class Answer:
    verdicts: list[StageVerdict]
    cause: str | None


@pytest.fixture
def examined(
    plant: Callable[[Fault], WorkerClient], known: Callable[[str, str], ReferenceEvidence], tmp_path: Path
) -> Callable[[Fault], Answer]:
    """The findings for an adapter with a fault."""

    def examine(fault: Fault) -> Answer:
        right = known(fault.net, fault.case)
        write_case_files(right.case, tmp_path)
        collector = EvidenceCollector(plant(fault), right.case, SETTING, tmp_path)
        found = relative_errors(collector.tensors(), right, collector.departures, "float64")
        verdicts = stage_verdicts({"it": found}, right.case, "float64")["it"]
        first = next((verdict for verdict in verdicts if verdict.verdict == "differs"), None)
        cause = first and first.place and likely(first.place, found.differing, right.evidence, right.case)
        return Answer(verdicts, cause or (first.note or None if first else None))

    return examine


Examined: TypeAlias = Callable[[Fault], Answer]


@pytest.mark.parametrize("fault", FAULTS, ids=named)
def test_a_planted_fault_is_reported_at_its_place(fault: Fault, examined: Examined) -> None:
    found = examined(fault)
    first = next((verdict for verdict in found.verdicts if verdict.verdict == "differs"), None)
    assert first is not None and first.place is not None, "not caught"
    assert (first.stage, first.place.tensor) == (fault.stage, fault.tensor)
    assert found.cause is None if fault.cause is None else fault.cause in str(found.cause)


def test_faults_are_many_and_in_every_framework() -> None:
    for framework, info in FRAMEWORKS.items():
        planted = [fault.adapter for fault in FAULTS if fault.framework == framework]
        assert len(planted) >= 8 and len(set(planted)) == len(planted)
        classes = [
            node for node in ast.parse(source(framework).read_text("utf-8")).body if isinstance(node, ast.ClassDef)
        ]
        adapters = {node.name for node in classes if info.adapter in map(ast.unparse, node.bases)}
        assert adapters == set(planted), "a class without its line in FAULTS, or the reverse"
    assert len(FAULTS) >= 73


SOUND = [Fault(name, info.adapter, net, "", "", None) for name, info in FRAMEWORKS.items() for net in NETS]


@pytest.mark.parametrize("sound", SOUND, ids=lambda sound: f"{sound.framework}: {sound.net}")
def test_an_unmodified_adapter_has_no_difference(sound: Fault, examined: Examined) -> None:
    assert [verdict for verdict in examined(sound).verdicts if verdict.verdict == "differs"] == []
