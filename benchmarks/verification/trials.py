"""Puts trials to the frameworks: network after network, as many workers at a time as there are cores for.

The reference computes a network's truth once, for both precisions and all frameworks; while workers are examined on one
network it is at work on the next.
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

from benchmarks.runtime.errors import WorkerFailed
from benchmarks.runtime.worker_client import Session
from benchmarks.verification.cases import Examination, Trial, put, truth
from benchmarks.verification.comparison import Comparison, Truth, Verdict, compare, judge
from benchmarks.verification.diagnosis import likely
from frameworks.errors import Unavailable
from frameworks.native import Native


@dataclass
class Examinee:
    """A framework's living worker. One examination at a time."""

    label: str
    module: str
    mode: str
    session: Session
    versions: Mapping[str, str]
    native: Native | None = None
    lock: Lock = field(default_factory=Lock)


@dataclass(frozen=True)
class Finding:
    """What one framework shows in one precision on one network: a verdict at every stage, or why there is none."""

    net: str
    trial: Trial
    precision: str
    examinee: Examinee
    settings: Mapping[str, str]
    verdicts: Sequence[Verdict]
    failed: str | None = None
    cause: str | None = None  # likely, of the first difference
    seeds: int = 1

    def merged(self, later: Finding) -> Finding:
        """This and what a later seed shows: a stage that agrees there agrees."""
        if self.failed or later.failed:
            return self if self.failed else later
        verdicts = [two if one.verdict == "differs" else one for one, two in zip(self.verdicts, later.verdicts)]
        return replace(self, verdicts=verdicts, cause=later.cause or self.cause, seeds=self.seeds + 1)

    @property
    def verdict(self) -> str:
        """ok, explained, differs or failed: the worst of its stages."""
        if self.failed:
            return "failed"
        found = {verdict.verdict for verdict in self.verdicts}
        return next((each for each in ("differs", "explained") if each in found), "ok")

    @property
    def error(self) -> float:
        """The largest relative error of any stage."""
        return max((verdict.error for verdict in self.verdicts), default=float("inf"))

    @property
    def first(self) -> Verdict | None:
        """Where it differs first."""
        return next((verdict for verdict in self.verdicts if verdict.verdict == "differs"), None)


@dataclass
class _Answer:
    """What came of one examination."""

    comparison: Comparison
    settings: Mapping[str, str]
    failed: str | None = None


SEEDS = 5  # at which a difference in float32 must show to be one


def certify(
    trials: Mapping[str, Callable[[], Trial]],
    examinees: Sequence[Examinee],
    precisions: Sequence[str],
    *,
    threads: int,
    workers: int,
    native: bool = False,
) -> Iterator[list[Finding]]:
    """The findings, network by network and precision by precision, in the order of `trials`.

    trials: each is made when its turn comes, for all of them together have gigabytes of weights.
    native: every framework is put to the trial as its own users would get it, and held against a reference that
    computes so as well; what that changes is then `explained`.

    In float32 a ReLU or a max pool tips over in one framework and not in the others, and the step after it is another:
    that is rounding too. It tips elsewhere at another seed, where a fault shows again; so what differs is looked at
    with up to `SEEDS` seeds, and agrees where it does so once.
    """
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onespec-")))
        pool = ThreadPoolExecutor(workers)
        stack.callback(pool.shutdown, cancel_futures=True)
        for examinee in examinees:
            stack.callback(examinee.session.close)  # what a thread waits for then ends at once
        sitting = _Sitting(pool, examinees, threads, native, scratch)
        names = list(trials)
        if not names:
            return
        papers = {names[0]: sitting.paper(trials[names[0]]())}
        for name, after in zip(names, [*names[1:], None]):
            if after:  # First in, first out: a truth is begun before all that waits for it.
                papers[after] = sitting.paper(trials[after]())
            waiting = {precision: sitting.examine(papers[name], precision) for precision in precisions}
            for precision, answers in waiting.items():
                paper = papers[name]
                findings = sitting.findings(name, paper, precision, answers)
                while precision == "float32" and _differs(findings) and findings[0].seeds < SEEDS:
                    paper = sitting.paper(paper.trial.again())
                    later = sitting.findings(name, paper, precision, sitting.examine(paper, precision))
                    findings = [one.merged(two) for one, two in zip(findings, later)]
                    shutil.rmtree(paper.files)
                yield findings
            shutil.rmtree(papers.pop(name).files)


def _differs(findings: Sequence[Finding]) -> bool:
    return any(finding.first for finding in findings)


@dataclass(frozen=True)
class _Paper:
    """A trial and its truth, on the way; and by framework the truth of the trial as it is put to that one."""

    trial: Trial
    files: Path  # what every examination of it reads
    truth: Future[Truth]
    own: Mapping[str, Future[Truth]]


class _Sitting:
    """The pool, the workers and where they write."""

    def __init__(
        self, pool: ThreadPoolExecutor, examinees: Sequence[Examinee], threads: int, native: bool, scratch: Path
    ) -> None:
        self.pool, self.examinees, self.threads, self.native, self.scratch = pool, examinees, threads, native, scratch

    def paper(self, trial: Trial) -> _Paper:
        files = Path(tempfile.mkdtemp(dir=self.scratch))
        put(trial, files)
        plain = self.pool.submit(self._truth, trial, files)
        if not self.native:
            return _Paper(trial, files, plain, {each.label: plain for each in self.examinees})
        own = {each.label: trial.natively(each.native) for each in self.examinees if each.native}
        return _Paper(
            trial, files, plain, {label: self.pool.submit(self._truth, one, files) for label, one in own.items()}
        )

    def examine(self, paper: _Paper, precision: str) -> list[Future[_Answer]]:
        return [self.pool.submit(self._examine, paper, examinee, precision) for examinee in self.examinees]

    def findings(self, name: str, paper: _Paper, precision: str, waiting: Sequence[Future[_Answer]]) -> list[Finding]:
        answers = {each.label: answer.result() for each, answer in zip(self.examinees, waiting)}
        sound = {label: answer.comparison for label, answer in answers.items() if not answer.failed}
        judged = judge(sound, paper.trial, precision)
        findings = []
        for each in self.examinees:
            answer, verdicts = answers[each.label], judged.get(each.label, [])
            made = Finding(name, paper.trial, precision, each, answer.settings, verdicts, answer.failed)
            if made.first and made.first.place:
                own = paper.own[each.label].result()
                made = replace(made, cause=likely(made.first.place, answer.comparison.kept, own.evidence, own.trial))
            findings.append(made)
        return findings

    def _truth(self, trial: Trial, files: Path) -> Truth:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            known = Truth.of(trial, truth(trial, files, Path(folder)))
        return known  # what is mapped from its files stays readable until nobody holds it

    def _examine(self, paper: _Paper, examinee: Examinee, precision: str) -> _Answer:
        if examinee.label not in paper.own:
            return _Answer(Comparison(), {}, "it does not say what it natively does")
        plain, own = paper.truth.result(), paper.own[examinee.label].result()
        where = {"device": "cpu", "precision": precision, "threads": self.threads, "mode": examinee.mode}
        with examinee.lock, tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            examination = Examination(examinee.session.request, own.trial, where, paper.files, Path(folder))
            try:
                comparison = compare(examination.pieces(), plain, examination.departures, precision, own)
                return _Answer(comparison, examination.settings)
            except (WorkerFailed, Unavailable) as error:
                return _Answer(Comparison(), {}, str(error))
