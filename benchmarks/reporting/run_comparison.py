"""Compare two saved runs: what is faster or slower, and what cannot be compared, each with its reason.

A is the baseline run, B the candidate run. They were not interleaved, so their speeds are never compared directly: each
speed is first divided by that of a control of its own run, the control workload and the common baseline, and the
verdict is what both controls show. docs/statistics.md describes the method.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import msgspec
import numpy as np

from benchmarks.records.runs import SpeedRun
from benchmarks.reporting import contention_text
from benchmarks.reporting.comparability import different_computation, incomparable, short_value
from benchmarks.reporting.number_formats import counted, percent_text, ratio
from benchmarks.runtime.contention import disturbance
from benchmarks.timing.rounds import Rounds, baseline_workers, paired, too_disturbed
from benchmarks.timing.samples import SavedRun, TimedSeries
from benchmarks.timing.statistics import (
    Estimate,
    NoiseFloor,
    equivalence,
    launches_ratio,
    noise_floor,
    runs_ratio,
    verdict,
)

MARGIN = 0.005  # accuracies closer than this count as equal: half a point

CONTROL_WORKLOAD = "the control workload"


@dataclass(frozen=True)
class ComparedRow:
    """The comparison of one workload. Ratios are of speeds, B over A: above 1, B is faster. Pairs are (A, B)."""

    net: str
    framework: str
    what: str
    verdict: str
    reason: str
    ratio: Estimate | None = None  # relative to the control workload, or else to the baseline
    baseline: Estimate | None = None  # relative to the common baseline, where there are both
    absolute: float | None = None  # of the raw seconds: context only, for the machine may have drifted
    visible: float | None = None  # the smallest difference that the A/A controls can show
    accuracy: tuple[float | None, float | None] = (None, None)
    same_accuracy: bool | None = None  # whether it is shown to be within half a point; None for a single seed
    params: tuple[int | None, int | None] = (None, None)
    missing_before: bool = False  # only B has it


def compare(a: SavedRun, b: SavedRun, limit: float) -> list[ComparedRow]:
    """One row for each workload of either run. limit: the slowdown that must be detectable, such as 0.05."""
    return [
        _row(a, b, before, after, limit) if before and after else _single_row(before, after)
        for before, after in _matched(a, b)
    ]


def status(rows: Sequence[ComparedRow], limit: float) -> int:
    """The exit code. A row that only B has changes nothing, unless there are no other rows."""
    verdicts = {row.verdict for row in rows if not row.missing_before}
    if "different computation" in verdicts:
        return 4
    if any(beyond(row, limit) for row in rows):
        return 1
    return 5 if not verdicts or verdicts & {"not measured", "not comparable"} else 0


def beyond(row: ComparedRow, limit: float) -> bool:
    """Whether B is slower by more than the limit."""
    return row.verdict == "slower" and row.ratio is not None and row.ratio.value < 1 - limit


# --- which workloads are compared -------------------------------------------------------------------------------------


def _matched(a: SavedRun, b: SavedRun) -> Iterator[tuple[TimedSeries | None, TimedSeries | None]]:
    """Workloads with the same key; else those with the same network, framework and task, if each run has only one."""
    left_in_b = list(b.series)
    left_in_a = []
    pairs: dict[int, TimedSeries] = {}
    for before in a.series:
        after = next((work for work in left_in_b if work.key == before.key), None)
        if after:
            left_in_b.remove(after)
            pairs[id(before)] = after
        else:
            left_in_a.append(before)
    for before in left_in_a:
        similar = [[work for work in works if _similar(work) == _similar(before)] for works in (left_in_a, left_in_b)]
        if [len(works) for works in similar] == [1, 1]:
            after = similar[1][0]
            pairs[id(before)] = after
            left_in_b.remove(after)
    yield from ((before, pairs.get(id(before))) for before in a.series)
    yield from ((None, after) for after in left_in_b)


def _similar(work: TimedSeries) -> tuple[str, ...]:
    """Equal for workloads that differ only in versions or settings."""
    return work.key.net, re.sub(r"==[^:]*", "", work.key.framework), work.key.what


def _row(a: SavedRun, b: SavedRun, before: TimedSeries, after: TimedSeries, limit: float) -> ComparedRow:
    row = replace(_with_accuracies(_named_row(before), before, after), params=(before.params, after.params))
    unfinished = [
        f"{name} {work.status}: {work.reason}" for name, work in (("A", before), ("B", after)) if work.status != "ok"
    ]
    if reasons := list(incomparable(a, b, before, after)):
        return replace(row, verdict="not comparable", reason="; ".join(reasons))
    if reasons := list(different_computation(before, after)):
        absolute = _raw_ratio(before, after)
        return replace(row, verdict="different computation", reason="; ".join(reasons), absolute=absolute)
    if unfinished:
        return replace(row, verdict="not measured", reason="; ".join(unfinished))
    row = _with_speeds(row, a, b, before, after, limit)
    return replace(row, reason=row.reason + _changed_settings(before, after))


def _single_row(before: TimedSeries | None, after: TimedSeries | None) -> ComparedRow:
    work = before or after
    assert work is not None
    return replace(_named_row(work), reason=f"only in {'A' if before else 'B'}", missing_before=before is None)


def _named_row(work: TimedSeries) -> ComparedRow:
    """A row without results: network, framework (a label, which includes the mode), task, batch size and threads."""
    key = work.key
    task = [key.what]
    if key.batch_size:
        task.append(f"batch size {key.batch_size}")
    if key.threads:
        task.append(counted(key.threads, "thread"))
    return ComparedRow(key.net, key.framework, ", ".join(task), verdict="not measured", reason="")


def _changed_settings(before: TimedSeries, after: TimedSeries) -> str:
    """Versions and settings that differ: they do not prevent a comparison, but may be the cause of a difference."""
    changed = [
        f"{name} {short_value(old.get(name))} to {short_value(new.get(name))}"
        for old, new in ((before.versions, after.versions), (before.settings, after.settings))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    return f"; changed: {', '.join(changed)}" if changed else ""


def _with_accuracies(row: ComparedRow, before: TimedSeries, after: TimedSeries) -> ComparedRow:
    """The row with the mean accuracies over the seeds that both have, and whether they are shown to be equivalent."""
    seeds = sorted(before.accuracies.keys() & after.accuracies.keys())
    if not seeds:
        return row
    old, new = ([work.accuracies[seed] for seed in seeds] for work in (before, after))
    result = equivalence(new, old, MARGIN)
    same = None if result.p is None else result.equivalent
    return replace(row, accuracy=(fmean(old), fmean(new)), same_accuracy=same)


# --- speed ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CommonBaseline:
    """A workload of both runs, with the samples of its workers: the baseline itself and its A/A control."""

    before: TimedSeries
    after: TimedSeries
    workers_before: list[Rounds]
    workers_after: list[Rounds]
    floor: NoiseFloor


def common_baseline(a: SavedRun, b: SavedRun, work: TimedSeries) -> CommonBaseline | None:
    """The baseline of the workloads that were interleaved with this one: the chosen one, or else the first."""
    interleaved = [other for other in a.series if other.key.interleaved == work.key.interleaved]
    before = next((other for other in interleaved if getattr(other.job, "baseline", False)), interleaved[0])
    after = next((other for other in b.series if other.key == before.key), None)
    if after is None:
        return None
    samples = [(base.rounds, _control_rounds(run, base)) for run, base in ((a, before), (b, after))]
    ratios = [launches_ratio(*paired(control, own)) for own, control in samples]
    workers_before, workers_after = (baseline_workers(own, control) for own, control in samples)
    floor = noise_floor(*(ratio for ratio in ratios if ratio))
    return CommonBaseline(before, after, workers_before, workers_after, floor)


def _control_rounds(run: SavedRun, base: TimedSeries) -> Rounds:
    """The samples of the baseline's A/A control, empty where it had none."""
    return next((control.rounds for control in run.controls if control.key == base.key), {})


def speed_ratio(
    before: Rounds, after: Rounds, controls_before: Sequence[Rounds], controls_after: Sequence[Rounds]
) -> Estimate | None:
    """The ratio of speeds, B over A, each relative to the controls of its own run."""
    return runs_ratio(paired(after, *controls_after), paired(before, *controls_before))


def _with_speeds(
    row: ComparedRow, a: SavedRun, b: SavedRun, before: TimedSeries, after: TimedSeries, limit: float
) -> ComparedRow:
    """The row with the verdict, its reason and the ratios of two workloads that can be compared."""
    base = common_baseline(a, b, before)
    floor = base.floor if base else NoiseFloor()
    controls = ([a.control_workload], [b.control_workload]) if _same_control_workload(a, b) else ([{}], [{}])
    ratios = {CONTROL_WORKLOAD: speed_ratio(before.rounds, after.rounds, *controls)}
    if base and base.before is not before and base.before.versions == base.after.versions:
        change = speed_ratio(base.before.rounds, base.after.rounds, *controls)
        if change is None or verdict(change, floor) in ("same", None):  # a baseline that has changed is no control
            workers = (base.workers_before, base.workers_after)
            ratios[base.before.name] = speed_ratio(before.rounds, after.rounds, *workers)
    measured = {name: ratio for name, ratio in ratios.items() if ratio}
    absolute = _raw_ratio(before, after)
    if not measured:
        no_control = "the runs share neither a control workload nor another baseline"
        reason = _disturbance((a, before), (b, after)) or ("no slices" if absolute is None else no_control)
        return replace(row, reason=reason, absolute=absolute)
    joint, reason = _joint_verdict(measured, floor, limit)
    values = list(measured.values())
    return replace(
        row,
        verdict=joint,
        reason=reason,
        ratio=values[0],
        baseline=values[1] if len(values) > 1 else None,
        absolute=absolute,
        visible=floor.visible,
    )


def _disturbance(*sides: tuple[SavedRun, TimedSeries]) -> str | None:
    """What other programs did to the slices of A or B, if they left too few; None if they did not."""
    parts = [
        f"{name}: {contention_text.reason(disturbance(work.contention))}"
        for name, (run, work) in zip("AB", sides)
        if too_disturbed(work.rounds) or too_disturbed(work.rounds, run.control_workload)
    ]
    return "; ".join(parts) or None


def _same_control_workload(a: SavedRun, b: SavedRun) -> bool:
    """Whether two speed runs have the same control workload, whatever its cell is called."""
    workloads = [run.info.control_workload if isinstance(run.info, SpeedRun) else None for run in (a, b)]
    return len({workload and msgspec.structs.replace(workload, cell="") for workload in workloads}) == 1


def _joint_verdict(ratios: dict[str, Estimate], floor: NoiseFloor, limit: float) -> tuple[str, str]:
    """The joint verdict of all controls, and its reason: `same` if one could show the limit but no difference."""
    verdicts = {name: verdict(ratio, floor) for name, ratio in ratios.items() if ratio.low is not None}
    if not verdicts:
        return "not measured", "a single launch has no interval; `run --seed 0,1,2` or `speed` gives several"
    kinds = set(verdicts.values())
    if len(kinds) == 1 and kinds != {"same"}:
        return str(kinds.pop()), f"relative to {' and '.join(verdicts)}"
    same = {name: ratios[name] for name, kind in verdicts.items() if kind == "same"}
    if not same:
        return (
            "not measured",
            f"the controls contradict each other: {_listed({name: ratios[name] for name in verdicts})}",
        )
    name, narrowest = min(same.items(), key=lambda item: (item[1].high or 1) / (item[1].low or 1))
    low, high = narrowest.low or 1, narrowest.high or 1
    if low < 1 - limit or high > 1 / (1 - limit):
        wide = f"{ratio(narrowest)} relative to {name}: too wide to detect {percent_text(limit)}"
        return "not measured", f"{wide}; more launches narrow it"
    different = {name: ratios[name] for name, kind in verdicts.items() if kind != "same"}
    reason = f"relative to {name}"
    if len(ratios) > 1:
        reason += f", {ratio(narrowest)}"
    if different:
        reason += f"; only {_listed(different)} shows a difference"
    return "same", reason


def _listed(ratios: dict[str, Estimate]) -> str:
    return ", ".join(f"{name} ({ratio(estimate)})" for name, estimate in ratios.items())


def _raw_ratio(before: TimedSeries, after: TimedSeries) -> float | None:
    """The ratio of the median speeds, B over A, without any control."""
    medians = [
        float(np.median(seconds))
        for work in (before, after)
        if (seconds := [value for launch in work.rounds.values() for value in launch.values() if value is not None])
    ]
    return medians[0] / medians[1] if len(medians) == 2 else None
