"""Verification names the cause of a fault in every framework, and no other cause."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.verification.cases import BATCH, TRAININGS, Case
from benchmarks.verification.comparison import ReferenceEvidence, relative_errors, stage_verdicts
from benchmarks.verification.diagnosis import likely
from benchmarks.verification.evidence import EvidenceCollector, write_case_files
from frameworks.adapter import Setting
from frameworks.registry import FRAMEWORKS, in_all
from tests import cause_faults
from tests.cause_faults import FAULTS, NETS, CauseFault
from tests.conftest import Bench, evidence_of_reference


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ReferenceEvidence]:
    """The reference evidence of a network."""

    @cache
    def compute(net: str) -> ReferenceEvidence:
        case = Case.for_network(NETS[net], seed=0, batch_size=BATCH)
        case = replace(case, trainings={"momentum, decay": TRAININGS["momentum, decay"]}, curve=10)
        return ReferenceEvidence.from_evidence(case, evidence_of_reference(case, tmp_path_factory.mktemp("truth")))

    return compute


@pytest.fixture(scope="module")
def worker(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], WorkerClient]]:
    """A worker of a framework that loads one faulty adapter after another."""
    with contextlib.ExitStack() as stack:

        @cache
        def opened(framework: str) -> WorkerClient:
            info = FRAMEWORKS[framework]
            log = tmp_path_factory.mktemp("log") / framework
            client = WorkerClient(bench.python(framework), info.module, info.adapter, threads=1, log=log, timeout=300)
            return stack.enter_context(client)

        yield opened


PLANTED = [(framework, fault) for framework in in_all() for fault in FAULTS if framework not in fault.missing]


@pytest.mark.parametrize(
    "framework, fault", PLANTED, ids=[f"{framework}: {fault.adapter}" for framework, fault in PLANTED]
)
def test_the_cause_of_a_fault_is_named(
    framework: str,
    fault: CauseFault,
    known: Callable[[str], ReferenceEvidence],
    worker: Callable[[str], WorkerClient],
    tmp_path: Path,
) -> None:
    right, client = known(fault.net), worker(framework)
    file = Path(cause_faults.__file__).parent / f"{FRAMEWORKS[framework].stem}.py"
    client.request("start", module=str(file), adapter=fault.adapter)
    write_case_files(right.case, tmp_path)
    collector = EvidenceCollector(client, right.case, Setting(precision="float64"), tmp_path)
    errors = relative_errors(collector.tensors(), right, collector.departures, "float64")
    verdicts = stage_verdicts({"it": errors}, right.case, "float64")["it"]
    first = next((verdict for verdict in verdicts if verdict.verdict == "differs"), None)
    assert first is not None and first.place is not None, "not detected"
    assert (first.stage, first.place.tensor) == (fault.stage, fault.tensor)
    assert likely(first.place, errors.differing, right.evidence, right.case) == fault.cause
