"""Verifies networks one after another, with as many workers at a time as there are cores.

The reference evidence of a network is computed once, for both precisions and all frameworks. While the frameworks
compute one network, the reference computes the next one.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from benchmarks.records.certificates import worst_verdict
from benchmarks.runtime.errors import WorkerFailed
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.verification.cases import Case, Place, is_large
from benchmarks.verification.comparison import (
    STEP_SIZE,
    ReferenceEvidence,
    RelativeErrors,
    StageVerdict,
    relative_errors,
    stage_verdicts,
)
from benchmarks.verification.conditioning import calm_evidence
from benchmarks.verification.diagnosis import likely
from benchmarks.verification.evidence import EvidenceCollector, reference_evidence
from benchmarks.verification.memory_budget import MemoryBudget, memory_of
from benchmarks.verification.reduced import REDUCED
from frameworks.adapter import Setting
from frameworks.allocator import return_free_memory
from frameworks.errors import Unavailable
from frameworks.native import Native


@dataclass
class Target:
    """A framework that is verified: its running worker, which computes one case at a time.

    open_worker: starts another worker with so many threads.
    """

    label: str
    module: str
    mode: str
    client: WorkerClient
    versions: Mapping[str, str]
    native: Native | None = None
    lock: Lock = field(default_factory=Lock)
    open_worker: Callable[[int], WorkerClient] | None = None
    device: str = "cpu"  # kind of the device

    def setting(self, precision: str, threads: int) -> Setting:
        """Where and how the framework is verified."""
        return Setting(self.device, precision, threads, self.mode)  # type: ignore[arg-type]

    @property
    def package(self) -> str:
        """The package that computes: what all modes and versions of a framework have in common."""
        return next(iter(self.versions), self.label)

    def close(self) -> None:
        """End the worker that runs now."""
        self.client.close()

    def restart_if_dead(self, threads: int) -> None:
        """Start another worker in place of one that has ended, so that only one network fails."""
        if self.open_worker and self.client.process.poll() is not None:
            self.client.close()
            self.client = self.open_worker(threads)


@dataclass(frozen=True)
class NetworkVerdict:
    """One framework in one precision on one network: the verdict of each stage, or the reason why there is none."""

    net: str
    case: Case
    precision: str
    target: Target
    settings: Mapping[str, str]
    verdicts: Sequence[StageVerdict]
    failed: str | None = None
    cause: str | None = None  # likely cause of the first difference
    seeds: int = 1

    def merged(self, later: NetworkVerdict) -> NetworkVerdict:
        """This finding combined with that of a later seed: a stage that agrees at the later seed agrees."""
        if self.failed or later.failed:
            return self if self.failed else later
        verdicts = [
            second if first.verdict == "differs" else first for first, second in zip(self.verdicts, later.verdicts)
        ]
        return replace(self, verdicts=verdicts, cause=later.cause or self.cause, seeds=self.seeds + 1)

    def without_float64(self) -> NetworkVerdict:
        """This finding in another precision, of code whose float64 finding does not agree: it does not agree either."""
        note = f"a {self.precision} verdict rests on the float64 verdict, which is neither ok nor explained"
        verdicts = [
            replace(stage, verdict="not verified", note=note) if stage.verdict in ("ok", "explained") else stage
            for stage in self.verdicts
        ]
        return replace(self, verdicts=verdicts)

    @property
    def verdict(self) -> str:
        """The worst of all stages; `not verified` or `not distinguishable` certifies no more than `differs`."""
        return worst_verdict([stage.verdict for stage in self.verdicts], failed=self.failed is not None)

    @property
    def error(self) -> float:
        """The largest relative error of any stage."""
        return max((stage.error for stage in self.verdicts), default=float("inf"))

    @property
    def first(self) -> StageVerdict | None:
        """The first stage that differs."""
        return next((stage for stage in self.verdicts if stage.verdict == "differs"), None)


@dataclass
class _Answer:
    """The errors of one framework in one case."""

    errors: RelativeErrors
    settings: Mapping[str, str]
    failed: str | None = None


SEEDS = 5  # a difference in float32 or 16 bits counts only if it appears at all of them


def verify_cases(
    cases: Mapping[str, Callable[[], Case]],
    targets: Sequence[Target],
    precisions: Sequence[str],
    *,
    threads: int,
    workers: int,
    native: bool = False,
) -> Iterator[list[NetworkVerdict]]:
    """Yield the findings of all targets, network by network and precision by precision, in the order of `cases`.

    cases: functions that create a case when it is needed, because all cases together have gigabytes of weights.
    native: build each framework with its default settings and compare it with a reference that has the same settings;
    their effect is then `explained`.

    In float32 and 16 bits, rounding can switch a ReLU or a maximum in one framework and not in the others, after which
    every step differs. This happens elsewhere at another seed, but a fault appears again. Therefore a stage that
    differs is repeated with up to `SEEDS` seeds and agrees if it agrees once.
    """
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(TemporaryFolder("cases"))
        pool = ThreadPoolExecutor(workers)
        stack.callback(pool.shutdown, cancel_futures=True)
        for target in targets:
            stack.callback(target.close)  # ends the request that a thread of the pool waits for
        runner = _CaseRunner(pool, targets, precisions, threads, native, scratch)
        names = list(cases)
        if not names:
            return
        prepared = {names[0]: runner.prepare(cases[names[0]]())}
        for name, following in zip(names, [*names[1:], None]):
            if following:  # the pool is first in, first out: the reference starts before the work that waits for it
                prepared[following] = runner.prepare(cases[following]())
            answers = {precision: runner.run(prepared[name], precision) for precision in precisions}
            for precision in precisions:
                current = prepared[name]
                findings = runner.findings(name, current, precision, answers[precision])
                while precision != "float64" and _any_differs(findings) and findings[0].seeds < SEEDS:
                    current = runner.prepare(current.case.with_next_seed())
                    later = runner.findings(name, current, precision, runner.run(current, precision))
                    findings = [finding.merged(repeated) for finding, repeated in zip(findings, later)]
                    shutil.rmtree(current.files)
                if precision == "float64":
                    agreeing = {each.target.label for each in findings if each.verdict in ("ok", "explained")}
                elif "float64" in precisions:
                    findings = [each if each.target.label in agreeing else each.without_float64() for each in findings]
                yield findings
            shutil.rmtree(prepared.pop(name).files)


def _return_memory_of(case: Case) -> None:
    """What a small network has taken is left to the allocator, which uses it again."""
    if is_large(case.network):
        return_free_memory()


def _any_differs(findings: Sequence[NetworkVerdict]) -> bool:
    return any(finding.first for finding in findings)


@dataclass(frozen=True)
class _PreparedCase:
    """A case with its reference evidence, which may still be computed."""

    files: Path  # input of every framework, when the reference is computed
    reference: Future[ReferenceEvidence]
    target_references: Mapping[str, Future[ReferenceEvidence]]  # with the settings of each target, by label
    narrow: Mapping[str, Future[Mapping[Place, float]]]  # by precision: errors of the reference with layers in 16 bits

    @property
    def case(self) -> Case:
        """The case that is verified, which may be calmer than the requested one; waits for the reference."""
        return self.reference.result().case


class _CaseRunner:
    """The pool of threads, the targets and the folder for files."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        targets: Sequence[Target],
        precisions: Sequence[str],
        threads: int,
        native: bool,
        scratch: Path,
    ) -> None:
        self.pool, self.targets, self.threads, self.native, self.scratch = pool, targets, threads, native, scratch
        self.reduced = [precision for precision in precisions if precision in REDUCED]
        self.memory = MemoryBudget.of_machine()

    def prepare(self, case: Case) -> _PreparedCase:
        """Start the computation of the reference evidence of a case, or of a calmer one."""
        files = Path(tempfile.mkdtemp(dir=self.scratch))
        reference = self.pool.submit(self._reference, case, files)
        narrow = {precision: self.pool.submit(self._narrow, reference, precision, files) for precision in self.reduced}
        if not self.native:
            return _PreparedCase(files, reference, {target.label: reference for target in self.targets}, narrow)
        references = {
            target.label: self.pool.submit(self._native_reference, reference, target.native, files)
            for target in self.targets
            if target.native
        }
        return _PreparedCase(files, reference, references, narrow)

    def run(self, prepared: _PreparedCase, precision: str) -> list[Future[_Answer]]:
        """Start the case in all targets."""
        return [self.pool.submit(self._answer, prepared, target, precision) for target in self.targets]

    def findings(
        self, name: str, prepared: _PreparedCase, precision: str, waiting: Sequence[Future[_Answer]]
    ) -> list[NetworkVerdict]:
        """Wait for all targets and judge them together."""
        answers = {target.label: answer.result() for target, answer in zip(self.targets, waiting)}
        errors = {label: answer.errors for label, answer in answers.items() if not answer.failed}
        reference = prepared.reference.result()
        packages = {target.label: target.package for target in self.targets}
        verdicts = stage_verdicts(
            errors,
            reference.case,
            precision,
            amplification=reference.amplification,
            narrow=prepared.narrow[precision].result() if precision in REDUCED else None,
            packages=packages,
        )
        findings = []
        for target in self.targets:
            answer = answers[target.label]
            finding = NetworkVerdict(
                net=name,
                case=reference.case,
                precision=precision,
                target=target,
                settings=answer.settings,
                verdicts=verdicts.get(target.label, []),
                failed=answer.failed,
            )
            # Causes are found by exact formulas, which 16 bits do not show.
            derived = finding.first and finding.first.place and finding.first.place.tensor == STEP_SIZE
            if finding.first and finding.first.place and not derived and precision not in REDUCED:
                settled = prepared.target_references[target.label].result()
                place, differing = finding.first.place, answer.errors.differing
                finding = replace(finding, cause=likely(place, differing, settled.evidence, settled.case))
            findings.append(finding)
        return findings

    def _reference(self, case: Case, files: Path) -> ReferenceEvidence:
        with self.memory.hold(memory_of(case, "float64")):
            evidence = calm_evidence(case, files, self.scratch)
            _return_memory_of(case)
            return evidence

    def _narrow(self, reference: Future[ReferenceEvidence], precision: str, files: Path) -> Mapping[Place, float]:
        known = reference.result()  # the pool is first in, first out: this waits for no later work
        case, needed = known.case, memory_of(known.case, "float64")
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder, self.memory.hold(needed):
            evidence = reference_evidence(case, files, Path(folder), kind=REDUCED[precision])
            return relative_errors(iter(evidence.items()), known, (), precision).plain

    def _native_reference(self, reference: Future[ReferenceEvidence], native: Native, files: Path) -> ReferenceEvidence:
        case = reference.result().case.natively(native)  # the pool is first in, first out: this waits for no later work
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder, self.memory.hold(memory_of(case, "float64")):
            return ReferenceEvidence.from_evidence(case, reference_evidence(case, files, Path(folder)))

    def _answer(self, prepared: _PreparedCase, target: Target, precision: str) -> _Answer:
        if target.label not in prepared.target_references:
            return _Answer(RelativeErrors(), {}, "the adapter does not declare its default settings (Adapter.native)")
        reference = prepared.reference.result()
        target_reference = prepared.target_references[target.label].result()
        setting = target.setting(precision, self.threads)
        case = target_reference.case
        with target.lock, self.memory.hold(memory_of(case, precision)):
            collector = EvidenceCollector(target.client, case, setting, prepared.files)
            try:
                errors = relative_errors(
                    collector.tensors(), reference, collector.departures, precision, target_reference
                )
                if is_large(case.network):
                    target.client.release()  # it would keep the memory while other frameworks compute
                    _return_memory_of(case)
                return _Answer(errors, collector.settings)
            except (WorkerFailed, Unavailable) as error:
                target.restart_if_dead(self.threads)
                return _Answer(RelativeErrors(), {}, str(error))
