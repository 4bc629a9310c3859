"""Verification detects faults planted in an adapter, the worker and the trainer, and reports their place.

One process per framework: it loads one faulty adapter after another. A fault of the worker has a process of its own.
"""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

import pytest

from benchmarks.records.certificates import FRAMEWORK_CHECKS, read
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.training.trainer import CellTrainer
from benchmarks.verification.cases import BATCH, TRAININGS, Case
from benchmarks.verification.comparison import ReferenceEvidence, StageVerdict, relative_errors, stage_verdicts
from benchmarks.verification.diagnosis import likely
from benchmarks.verification.evidence import EvidenceCollector, PlacedTensor, write_case_files
from benchmarks.verification.framework_checks import CHECKS, PROBE, STAGES, Check, Session, judged
from benchmarks.verification.framework_checks.optimizer_checks import OPTIMIZERS, hyperparameters
from benchmarks.verification.framework_checks.runner import FrameworkChecks
from benchmarks.verify import command
from frameworks.adapter import Setting
from frameworks.registry import FRAMEWORKS, in_all
from frameworks.training import Training
from tests import faults
from tests.command_line import exit_code_of
from tests.conftest import THREADS, Bench, evidence_of_reference
from tests.faults import CHECK_FAULTS, FAULTS, NETS, CheckFault, Fault, trainer, worker

main = exit_code_of(command)

ROOT = Path(faults.__file__).parents[2]
SETTING = Setting(precision="float64", threads=THREADS)


def named(fault: Fault) -> str:
    return f"{fault.framework}: {fault.adapter}"


def source(framework: str) -> Path:
    """The file with a framework's faulty adapters."""
    return ROOT / "tests" / "faults" / f"{FRAMEWORKS[framework].stem}.py"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, int], ReferenceEvidence]:
    """The reference evidence of a network in one training of some steps."""

    @cache
    def compute(net: str, training: str, curve: int) -> ReferenceEvidence:
        case = Case.for_network(NETS[net], seed=0, batch_size=BATCH)
        case = replace(case, trainings={training: TRAININGS[training]}, curve=curve)
        return ReferenceEvidence.from_evidence(case, evidence_of_reference(case, tmp_path_factory.mktemp("truth")))

    return compute


Plant: TypeAlias = Callable[[str, str], WorkerClient]  # of a framework and an adapter


@pytest.fixture(scope="module")
def plant(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """A worker with a faulty adapter of the framework, or with the framework's own."""
    with contextlib.ExitStack() as stack:

        @cache
        def worker(framework: str) -> WorkerClient:
            info, log = FRAMEWORKS[framework], tmp_path_factory.mktemp("log") / framework
            adapter = info.module, info.adapter
            options = {"threads": THREADS, "timeout": 300.0, "environment": {"PYTHONPATH": str(ROOT)}}
            return stack.enter_context(WorkerClient(bench.python(framework), *adapter, log=log, **options))

        def planted(framework: str, adapter: str) -> WorkerClient:
            info = FRAMEWORKS[framework]
            module = info.module if adapter == info.adapter else str(source(framework))
            worker(framework).request("start", module=module, adapter=adapter)
            return worker(framework)

        yield planted


@dataclass(frozen=True)
class Answer:
    verdicts: list[StageVerdict]
    cause: str | None


@pytest.fixture
def examined(
    plant: Plant, known: Callable[[str, str, int], ReferenceEvidence], tmp_path: Path
) -> Callable[[Fault], Answer]:
    """The findings for an adapter with a fault."""

    def examine(fault: Fault) -> Answer:
        right = known(fault.net, fault.case, fault.curve)
        write_case_files(right.case, tmp_path)
        collector = EvidenceCollector(plant(fault.framework, fault.adapter), right.case, SETTING, tmp_path)
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
    of_the_contract = classes(ROOT / "tests" / "faults" / "contract.py")
    for framework in in_all():
        planted = [fault.adapter for fault in FAULTS if fault.framework == framework]
        assert len(planted) >= 8 and len(set(planted)) == len(planted)
        checked = [fault.name for fault in CHECK_FAULTS if fault.framework == framework]
        assert len(checked) >= 20 and not set(planted) & set(checked) and len(set(checked)) == len(checked)
        adapters = classes(source(framework))
        assert adapters <= {*planted, *checked}, "a class without its line"
        assert {*planted, *checked} <= adapters | of_the_contract, "a line without its class"
    assert of_the_contract <= {fault.name for fault in CHECK_FAULTS}
    for place, module in (("worker", worker), ("trainer", trainer)):
        assert classes(Path(module.__file__)) == {fault.name for fault in CHECK_FAULTS if fault.framework == place}
    assert len(FAULTS) >= 73
    assert len({fault.name for fault in CHECK_FAULTS}) >= 45


def classes(file: Path) -> set[str]:
    """The faults in a file: its classes, but not those that others derive from or that are a part of an adapter."""
    defined = [node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
    sound = {"StepByStep", "OtherTraining", "LateTraining", "FaultyWorker"}
    sound |= {"InBlocks", "DropoutInTrain", "DecayOnItsOwn", "OtherCount"}
    parts = {"Loss", "Logits", "LogarithmOfSoftmax", "nnx.BatchNorm", "nnx.Dropout"}
    return {node.name for node in defined if not parts & set(map(ast.unparse, node.bases))} - sound


SOUND = [
    Fault(name, info.adapter, net, "", "", None) for name, info in FRAMEWORKS.items() if info.in_all for net in NETS
]


@pytest.mark.parametrize("sound", SOUND, ids=lambda sound: f"{sound.framework}: {sound.net}")
def test_an_unmodified_adapter_has_no_difference(sound: Fault, examined: Examined) -> None:
    assert [verdict for verdict in examined(sound).verdicts if verdict.verdict == "differs"] == []


# --- framework checks -------------------------------------------------------------------------------------------------


def as_far_as(what: str, check: Check) -> Check:
    """The check, ended after the tensors of one question: those of later questions count as missing."""

    def script(session: Session) -> Iterator[PlacedTensor]:
        reached = False
        for place, tensor in check.script(session):
            if reached and place.training != what:
                return
            reached |= place.training == what
            yield place, tensor

    return replace(check, script=script, reference=check.reference or check.script)


@cache
def checks_of(stage: str, what: str) -> FrameworkChecks:
    """The check of a stage, as far as a question; the reference answers once."""
    check = next(check for check in CHECKS if stage in check.stages)
    if stage == OPTIMIZERS:
        check = replace(check, script=partial(hyperparameters, names=[what]))
    return FrameworkChecks([as_far_as(what, check)], seed=0)


@pytest.fixture
def faulty(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[CheckFault], WorkerClient]]:
    """A worker in which, or in whose parent, a fault is planted."""
    with contextlib.ExitStack() as stack:

        def planted(fault: CheckFault) -> WorkerClient:
            if fault.framework in FRAMEWORKS:
                return plant(fault.framework, fault.name)
            name = "FaultyWorker" if fault.framework == "trainer" else fault.name
            if fault.framework == "trainer":
                for method in (each for each in vars(getattr(trainer, fault.name)) if not each.startswith("__")):
                    monkeypatch.setattr(CellTrainer, method, getattr(getattr(trainer, fault.name), method))
            client = WorkerClient(sys.executable, worker.__file__, name, threads=THREADS, log=tmp_path / "log")
            return stack.enter_context(client)

        yield planted


@pytest.mark.parametrize("fault", CHECK_FAULTS, ids=lambda fault: f"{fault.framework}: {fault.name}")
def test_a_fault_is_reported_by_the_framework_check_that_concerns_it(
    fault: CheckFault, faulty: Callable[[CheckFault], WorkerClient]
) -> None:
    session = Session(faulty(fault), SETTING, seed=0)
    departures = session.build(PROBE, Training()).departures
    errors = checks_of(fault.stage, fault.what).errors(session, departures)
    (verdict,) = judged(errors, "float64", [fault.stage])
    assert verdict.verdict == "differs" and verdict.place is not None, "not caught"
    assert verdict.place.training == fault.what


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("framework", in_all())
def test_an_unmodified_adapter_passes_the_framework_checks(plant: Plant, framework: str, precision: str) -> None:
    session = Session(plant(framework, FRAMEWORKS[framework].adapter), replace(SETTING, precision=precision), seed=0)
    departures = session.build(PROBE, Training()).departures
    verdicts = judged(all_checks().errors(session, departures), precision, STAGES)
    assert {verdict.stage: verdict for verdict in verdicts if verdict.verdict not in ("ok", "explained")} == {}


def test_an_unmodified_worker_and_trainer_pass_the_framework_checks(tmp_path: Path) -> None:
    with WorkerClient(sys.executable, worker.__file__, "FaultyWorker", threads=THREADS, log=tmp_path / "log") as client:
        verdicts = judged(all_checks().errors(Session(client, SETTING, seed=0), []), "float64", STAGES)
    assert {verdict.verdict for verdict in verdicts} == {"ok"}


@cache
def all_checks() -> FrameworkChecks:
    return FrameworkChecks(CHECKS, seed=0)


SMALL = """
from frameworks.spec import *

def small():
    return Network("small", (1, 6, 6), [Conv("conv", 2, 3), Tanh(), Flatten(), Dense("head", 5)])
"""


def test_the_command_refuses_what_only_a_framework_check_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`onespec verify` runs every framework check; one that differs refuses the framework, though its networks pass."""
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path))
    (tmp_path / "net.py").write_text(SMALL, encoding="utf-8")
    adapter = f"{worker.__file__}:TiesCountedInEvaluation"
    options = ["--net", f"{tmp_path / 'net.py'}:small", "--fw", "tiescountedinevaluation", "--adapter", adapter]
    assert main([*options, "--precision", "float64", "--out", str(tmp_path / "out")]) == 1
    checks, network = read(tmp_path / "out").findings
    assert (checks.net, checks.verdict, network.name, network.verdict) == (FRAMEWORK_CHECKS, "differs", "small", "ok")
    assert [stage.stage for stage in checks.stages] == list(STAGES)
    assert [stage.stage for stage in checks.stages if stage.verdict == "differs"] == ["counts"]
