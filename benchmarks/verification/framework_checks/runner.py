"""Runs the framework checks of one framework and judges them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.records.certificates import FRAMEWORK_CHECKS
from benchmarks.runtime.errors import WorkerFailed
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.verification.case_runner import NetworkVerdict, Target
from benchmarks.verification.cases import BATCH, Case
from benchmarks.verification.comparison import ReferenceEvidence, RelativeErrors, relative_errors
from benchmarks.verification.framework_checks.checks import Check
from benchmarks.verification.framework_checks.judgment import judged
from benchmarks.verification.framework_checks.session import PROBE, Session
from benchmarks.verification.reference_client import ReferenceClient
from frameworks.adapter import Setting
from frameworks.errors import Unavailable
from frameworks.training import Training

THREADS = 2  # of the worker, at least: the cases of the networks have one by default


class FrameworkChecks:
    """The checks, with the evidence of the reference, which all frameworks share.

    seed: of weights, images and hyperparameters. doing: called with a line for each check that begins.
    """

    def __init__(self, checks: Sequence[Check], seed: int, doing: Callable[[str], None] = lambda line: None) -> None:
        self.checks, self.seed, self.doing = checks, seed, doing
        self._evidence: dict[tuple[tuple[str, ...], str, tuple[str, ...]], ReferenceEvidence] = {}

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that the checks belong to."""
        return tuple(stage for check in self.checks for stage in check.stages)

    @property
    def case(self) -> Case:
        """The network of most checks, as the case that a record names."""
        return Case.for_network(PROBE, self.seed, BATCH)

    def verdicts(self, target: Target, client: WorkerClient, setting: Setting) -> NetworkVerdict:
        """The verdict on a framework in one precision. client: a worker with `setting.threads` threads."""
        verdict = NetworkVerdict(FRAMEWORK_CHECKS, self.case, setting.precision, target, {}, [])
        try:
            session = Session(client, setting, self.seed)
            built = session.build(PROBE, Training())
            errors = self.errors(session, built.departures, target.label)
        except (WorkerFailed, Unavailable) as error:
            return replace(verdict, failed=str(error))
        return replace(verdict, settings=built.settings, verdicts=judged(errors, setting.precision, self.stages))

    def errors(self, session: Session, departures: Sequence[str], label: str = "") -> RelativeErrors:
        """The relative errors of all checks. departures: names of those that the framework declares."""
        errors = RelativeErrors()
        for check in self.checks:
            self.doing(f"{FRAMEWORK_CHECKS} {label} {session.setting.precision}: {check.stages[0]}")
            plain = self._expected(check, session.setting, ())
            departed = self._expected(check, session.setting, tuple(departures))
            found = relative_errors(check.script(session), plain, [], session.setting.precision, departed)
            errors.add(found)
        return errors

    def _expected(self, check: Check, setting: Setting, departures: tuple[str, ...]) -> ReferenceEvidence:
        key = check.stages, setting.precision if check.by_precision else "", departures
        if key not in self._evidence:
            with TemporaryFolder("reference") as scratch:
                session = Session(ReferenceClient(scratch, departures), setting, self.seed)
                evidence = dict(check.expected(session))
            self._evidence[key] = ReferenceEvidence.from_evidence(self.case, evidence)
        return self._evidence[key]
