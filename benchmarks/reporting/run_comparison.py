"""Compare two saved runs: what has become faster or slower, and what cannot be compared, each with its reason.

    python -m benchmarks.compare results/A results/B --fail-on 5%

A is what was, B is what is. The two were not interleaved, so their speeds are never set against each other directly:
each is first measured against a yardstick that ran beside it, the calibration worker and the common baseline, and what
both yardsticks say is the verdict. docs/statistics.md says how.
Exit status: 0 nothing is slower beyond the limit; 1 something is; 4 something computes something else; 5 something
could not be measured or compared, so that a slowdown might be hidden; 2 bad input. Where several apply: 4, 1, 5.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.records.store import short
from benchmarks.reporting import tables
from benchmarks.timing.rounds import Rounds, baseline_workers, paired
from benchmarks.timing.samples import KEY, Run, Work
from benchmarks.timing.statistics import (
    Estimate,
    NoiseFloor,
    equivalence,
    launches_ratio,
    noise_floor,
    runs_ratio,
    verdict,
)

MARGIN = 0.005  # half a point of accuracy

# Of a job, what may differ between two runs: names, what depends on the seed, and what is judged on its own.
FREE = set("cell framework version params macs costs seed weights_sha256 baseline twin".split())

# How far two curves of one computation may part, relative to the loss that they begin with. Rounding is amplified from
# step to step: two right frameworks' float32 LeNets parted by 5e-7 in ten epochs, single steps of networks with ReLU by
# 1e-2, which an epoch's mean levels out. A tenth of the steps left out moves the first epochs by more than that.
FOLLOWS = {"float64": 1e-4, "float32": 1e-2}
FOLLOWS_ELSE = 5e-2  # TF32 and 16-bit formats keep 8 to 11 bits


@dataclass(frozen=True)
class Row:
    """What became of one thing. Ratios are of speeds, B to A: above 1 it has become faster. Pairs are (A, B)."""

    net: str
    framework: str
    what: str
    verdict: str
    reason: str
    ratio: Estimate | None = None  # through the calibration worker, or else through the baseline
    baseline: Estimate | None = None  # through the common baseline, where both can be had
    absolute: float | None = None  # of the clocks alone: context, for the machine may have drifted
    visible: float | None = None  # the smallest difference that the twins say can be seen
    accuracy: tuple[float | None, float | None] = (None, None)
    same_accuracy: bool | None = None  # shown to be within half a point; None where there is one seed
    params: tuple[int | None, int | None] = (None, None)
    missing_before: bool = False  # only B has it


# --- what may be compared ---------------------------------------------------------------------------------------------


def incomparable(a: Run, b: Run, mine: Work, other: Work) -> Iterator[str]:
    """Why a number would mean nothing."""
    for run in (a, b):
        if run.kind == "report":
            yield f"{run.path.name} alone does not tell the machine, the threads, the data and the spec"
            return
    if a.kind != b.kind:
        yield f"records of benchmarks.{a.kind} and benchmarks.{b.kind}"
    for name in ("processor", "cores", "gpu", "governor"):
        yield from _parted(f"machine: {name}", *(run.facts["machine"].get(name) for run in (a, b)))
    for name in sorted({**a.facts.get("environment", {}), **b.facts.get("environment", {})}):
        yield from _parted(name, *(run.facts.get("environment", {}).get(name) for run in (a, b)))
    for name in sorted((mine.job.keys() | other.job.keys()) - FREE):
        yield from _parted(name.replace("_sha256", ""), mine.job.get(name), other.job.get(name))
    bytes_ = [run.facts.get("data", {}).get(mine.job.get("dataset"), {}).get("sha256") for run in (a, b)]
    if None not in bytes_:
        yield from _parted("bytes of the data", *(digests and sorted(digests.items()) for digests in bytes_))


def departed(mine: Work, other: Work) -> Iterator[str]:
    """Why the two are not the same computation, though the spec is the same."""
    for name, one, two in (
        ("parameters", mine.params, other.params),
        ("multiply-adds", mine.job.get("macs"), other.job.get("macs")),
        ("certificate", mine.certificate, other.certificate),
        ("departures", mine.departures, other.departures),
    ):
        if one is not None and two is not None:
            yield from _parted(name, one, two)
    for name, work in (("A", mine), ("B", other)):
        if work.reason and work.reason.startswith("another computation"):
            yield f"{name}: {work.reason}"
    limit = FOLLOWS.get(mine.job.get("precision", ""), FOLLOWS_ELSE)
    for seed in sorted(mine.losses.keys() & other.losses.keys()):
        losses = [np.array(work.losses[seed]) for work in (mine, other)]
        shared = min(map(len, losses))
        one, two = (curve[:shared] for curve in losses)
        apart = ~np.isclose(one, two, rtol=0, atol=limit * abs(one[0]), equal_nan=True)
        if apart.any():
            epoch = int(np.argmax(apart))
            yield (
                f"losses part in epoch {epoch + 1} of seed {seed}: {one[epoch]:.4g} and {two[epoch]:.4g}, "
                f"more than {limit:g} of the first"
            )


def _parted(name: str, one: Any, two: Any) -> Iterator[str]:
    if one != two:
        words = [_brief(value) for value in (one, two)]
        yield f"{name} {words[0]} and {words[1]}" if words[0] != words[1] else f"another {name}"


def _brief(value: Any) -> str:
    """Digests by their beginning, numbers with separators."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = "none" if value is None else ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
    return text[:8] if re.fullmatch(r"[0-9a-f]{64}", text) else text[:60]


# --- speed ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Baseline:
    """A work that both runs have, with the twins that ran beside it."""

    before: Work
    after: Work
    yardsticks: tuple[list[Rounds], list[Rounds]]  # its workers before and after
    floor: NoiseFloor


def baseline(a: Run, b: Run, work: Work) -> Baseline | None:
    """The first framework, or the one that was asked for, of the works beside this one."""
    beside = [one for one in a.works if _beside(one) == _beside(work)]
    first = next((one for one in beside if one.job.get("baseline")), beside[0])
    after = next((one for one in b.works if one.key == first.key), None)
    if after is None:
        return None
    both = [(base.rounds, _twin(run, base)) for run, base in ((a, first), (b, after))]
    ratios = [launches_ratio(*paired(twin, own)) for own, twin in both]
    before, now = (baseline_workers(own, twin) for own, twin in both)
    return Baseline(first, after, (before, now), noise_floor(*(ratio for ratio in ratios if ratio)))


def _twin(run: Run, base: Work) -> Rounds:
    """What the baseline's twin took; nothing where it had none."""
    return next((one.rounds for one in run.twins if one.key == base.key), {})


def _beside(work: Work) -> tuple[Any, ...]:
    """What works have in common that ran beside each other: all but the framework."""
    return tuple(part for name, part in zip(KEY, work.key) if name not in ("framework", "mode"))


def through(
    before: Rounds, after: Rounds, yardsticks_before: Sequence[Rounds], yardsticks_after: Sequence[Rounds]
) -> Estimate | None:
    """The ratio of speeds, each run's against its own yardsticks."""
    return runs_ratio(paired(after, *yardsticks_after), paired(before, *yardsticks_before))


def judged(a: Run, b: Run, mine: Work, other: Work, limit: float) -> dict[str, Any]:
    """Verdict, reason and ratios of two works that can be compared."""
    base = baseline(a, b, mine)
    floor = base.floor if base else NoiseFloor()
    same_work = a.facts.get("calibration") == b.facts.get("calibration")
    calibration = ([a.calibration], [b.calibration]) if same_work else ([{}], [{}])
    routes = {"the calibration worker": through(mine.rounds, other.rounds, *calibration)}
    if base and base.before is not mine and base.before.versions == base.after.versions:
        own = through(base.before.rounds, base.after.rounds, *calibration)
        if own is None or verdict(own, floor) in ("same", None):  # one that has moved is no yardstick
            routes[base.before.name] = through(mine.rounds, other.rounds, *base.yardsticks)
    found = {name: ratio for name, ratio in routes.items() if ratio}
    absolute = _absolute(mine, other)
    if not found:
        why = "no slices" if absolute is None else "the runs have no calibration worker and no other baseline in common"
        return {"verdict": "not measured", "reason": why, "absolute": absolute}
    said, reason = _said(found, floor, limit)
    ratios = list(found.values())
    return {
        "verdict": said,
        "reason": reason,
        "ratio": ratios[0],
        "baseline": ratios[1] if len(ratios) > 1 else None,
        "absolute": absolute,
        "visible": floor.visible,
    }


def _said(found: dict[str, Estimate], floor: NoiseFloor, limit: float) -> tuple[str, str]:
    """What every yardstick says; `same` where one does not see it, if that one could have seen the limit."""
    told = {name: verdict(ratio, floor) for name, ratio in found.items() if ratio.low is not None}
    if not told:
        return "not measured", "one launch, and launches differ: --seed 0,1,2 with run, or benchmarks.speed, makes more"
    verdicts = set(told.values())
    if len(verdicts) == 1 and verdicts != {"same"}:
        return str(verdicts.pop()), "by " + " and ".join(told)
    unseen = {name: found[name] for name, one in told.items() if one == "same"}
    if not unseen:
        return "not measured", "the yardsticks contradict each other: " + _listed({name: found[name] for name in told})
    name, ratio = min(unseen.items(), key=lambda item: item[1].high / item[1].low)  # type: ignore[operator]
    if ratio.low < 1 - limit or ratio.high > 1 / (1 - limit):  # type: ignore[operator]
        wide = f"{_interval(ratio)} by {name}: too wide to see {limit * 100:g} %"
        return "not measured", f"{wide}; more launches narrow it"
    moved = {name: found[name] for name, one in told.items() if one != "same"}
    reason = f"by {name}" + (f", {_interval(ratio)}" if len(found) > 1 else "")
    return "same", reason + (f"; only {_listed(moved)} sees a difference" if moved else "")


def _listed(ratios: dict[str, Estimate]) -> str:
    return ", ".join(f"{name} ({_interval(ratio)})" for name, ratio in ratios.items())


def _absolute(mine: Work, other: Work) -> float | None:
    medians = [
        float(np.median([seconds for launch in work.rounds.values() for seconds in launch.values()]))
        for work in (mine, other)
        if work.rounds
    ]
    return medians[0] / medians[1] if len(medians) == 2 else None


# --- all rows ---------------------------------------------------------------------------------------------------------


def compare(a: Run, b: Run, limit: float) -> list[Row]:
    """A row for each thing that either run has. limit: of the slowdown that must be seen, such as 0.05."""
    return [_row(a, b, mine, other, limit) if mine and other else _alone(mine, other) for mine, other in _matched(a, b)]


def _matched(a: Run, b: Run) -> Iterator[tuple[Work | None, Work | None]]:
    """Works of the same key; else of the same network, framework and what, if it is the only one in each run."""
    left = list(b.works)
    open_ = []
    pairs: dict[int, Work] = {}
    for mine in a.works:
        other = next((one for one in left if one.key == mine.key), None)
        if other:
            left.remove(other)
            pairs[id(mine)] = other
        else:
            open_.append(mine)
    for mine in open_:
        alike = [[one for one in works if _loosely(one) == _loosely(mine)] for works in (open_, left)]
        if [len(works) for works in alike] == [1, 1]:
            pairs[id(mine)] = alike[1][0]
            left.remove(alike[1][0])
    yield from ((mine, pairs.get(id(mine))) for mine in a.works)
    yield from ((None, other) for other in left)


def _loosely(work: Work) -> tuple[Any, ...]:
    """What makes a pair although its versions or settings differ."""
    return work.job["net"], re.sub(r"==[^:]*", "", work.job["framework"]), work.job["what"]


def _row(a: Run, b: Run, mine: Work, other: Work, limit: float) -> Row:
    facts: dict[str, Any]
    sides = (("A", mine), ("B", other))
    if reasons := list(incomparable(a, b, mine, other)):
        facts = {"verdict": "not comparable", "reason": "; ".join(reasons)}
    elif reasons := list(departed(mine, other)):
        facts = {"verdict": "different computation", "reason": "; ".join(reasons), "absolute": _absolute(mine, other)}
    elif reasons := [f"{name} {one.status}: {one.reason}" for name, one in sides if one.status != "ok"]:
        facts = {"verdict": "not measured", "reason": "; ".join(reasons)}
    else:
        facts = judged(a, b, mine, other, limit)
        facts["reason"] += _changes(mine, other)
    return Row(**_named(mine), **facts, **_accuracies(mine, other), params=(mine.params, other.params))


def _alone(mine: Work | None, other: Work | None) -> Row:
    work = mine or other
    assert work is not None
    reason = f"only in {'A' if mine else 'B'}"
    return Row(**_named(work), verdict="not measured", reason=reason, missing_before=mine is None)


def _named(work: Work) -> dict[str, Any]:
    """Network, framework (a label, which has the mode) and what, with what tells it from its neighbours."""
    job = work.job
    size = f", batch {job['batch_size']}" if job.get("batch_size") else ""
    threads = f", {job['threads']} thread{'s' * (job['threads'] > 1)}" if job.get("threads") else ""
    return {"net": job["net"], "framework": job["framework"], "what": job["what"] + size + threads}


def _changes(mine: Work, other: Work) -> str:
    """Versions and settings that differ: no obstacle, but perhaps the cause."""
    changed = [
        f"{name} {_brief(before.get(name))} to {_brief(after.get(name))}"
        for before, after in ((mine.versions, other.versions), (mine.settings, other.settings))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return f"; changed: {', '.join(changed)}" if changed else ""


def _accuracies(mine: Work, other: Work) -> dict[str, Any]:
    """Means over the seeds that both have, and whether they are shown to agree."""
    seeds = sorted(mine.accuracies.keys() & other.accuracies.keys())
    if not seeds:
        return {}
    one, two = ([work.accuracies[seed] for seed in seeds] for work in (mine, other))
    found = equivalence(two, one, MARGIN)
    return {"accuracy": (fmean(one), fmean(two)), "same_accuracy": None if found.p is None else found.equivalent}


def status(rows: Sequence[Row], limit: float) -> int:
    """The exit status. What only B has is new, not lost, and stops nothing, unless there is nothing else."""
    verdicts = {row.verdict for row in rows if not row.missing_before}
    if "different computation" in verdicts:
        return 4
    if any(beyond(row, limit) for row in rows):
        return 1
    return 5 if not verdicts or verdicts & {"not measured", "not comparable"} else 0


def beyond(row: Row, limit: float) -> bool:
    """Is it slower, and its ratio below what the limit allows?"""
    return row.verdict == "slower" and row.ratio is not None and row.ratio.value < 1 - limit


# --- for people and programs ------------------------------------------------------------------------------------------

HEAD = ("network", "framework", "what", "verdict", "speed B / A", "accuracy", "parameters", "clocks alone", "reason")


def body(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The rows in words."""
    return [
        (
            *(row.net, row.framework, row.what, row.verdict),
            _interval(row.ratio),
            _pair(row.accuracy, ".4f") + (" (within 0.5 points)" if row.same_accuracy else ""),
            _pair(row.params, ","),
            "" if row.absolute is None else f"{row.absolute:.2f}",
            row.reason,
        )
        for row in rows
    ]


def _interval(ratio: Estimate | None) -> str:
    if ratio is None:
        return ""
    value, low, high = ratio
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def _pair(values: tuple[Any, Any], form: str) -> str:
    one, two = ("?" if value is None else format(value, form) for value in values)
    return "" if values == (None, None) else one if one == two else f"{one} to {two}"


def notes(a: Run, b: Run, rows: Sequence[Row], limit: float) -> list[str]:
    """The verdict in a sentence, what can be seen, and what the two runs are."""
    counts = {name: sum(row.verdict == name for row in rows) for name in dict.fromkeys(row.verdict for row in rows)}
    slower = [f"{row.net} in {row.framework}, {row.what}" for row in rows if beyond(row, limit)]
    visible = max((row.visible for row in rows if row.visible is not None), default=None)
    told = [", ".join(f"{count} {name}" for name, count in counts.items()) or "Neither run has anything in it"]
    told[0] += f"; slower by more than {limit * 100:g} %: {'; '.join(slower) or 'nothing'}."
    if visible is not None:
        told.append(f"By the baseline's twin, differences under {visible:.1%} were invisible.")
    for name, run in (("A", a), ("B", b)):
        commit = run.facts.get("commit")
        parts = [run.path.name, *([f"commit {short(commit)}"] if commit else []), run.facts.get("began", "")[:10]]
        told.append(f"{name} is {', '.join(filter(None, parts))}.")
    return told


def rendered(a: Run, b: Run, rows: Sequence[Row], limit: float, form: str) -> str:
    """The comparison as table, markdown, json or csv."""
    if form == "json":
        facts = [asdict(row) for row in rows]
        whole = {"schema": 1, "a": str(a.path), "b": str(b.path), "fail_on": limit, "exit": status(rows, limit)}
        return json.dumps({**whole, "rows": [_plain(one) for one in facts]}, indent=1)
    if form == "csv":
        text = io.StringIO()
        flat = [dict(_columns(row)) for row in rows]
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        return text.getvalue().rstrip("\n")
    first, *others = notes(a, b, rows, limit)
    if form == "markdown":
        signs = ("**Different computation.** ", "**Slower.** ", "**Not measured.** ", "**Fine.** ")
        sign = dict(zip((4, 1, 5, 0), signs))[status(rows, limit)]
        return "\n".join([f"{sign}{first}", "", tables.markdown(HEAD, body(rows)), "", *(f"- {one}" for one in others)])
    return "\n".join([tables.table(HEAD, body(rows)), "", first, *others])


COLUMNS = (
    "net framework what verdict reason ratio ratio_low ratio_high baseline baseline_low baseline_high absolute visible "
    "accuracy_a accuracy_b same_accuracy params_a params_b"
).split()


def _columns(row: Row) -> Iterator[tuple[str, Any]]:
    for name, value in asdict(row).items():
        if name in ("ratio", "baseline"):
            yield from zip((name, f"{name}_low", f"{name}_high"), value or (None, None, None))
        elif name in ("accuracy", "params"):
            yield from zip((f"{name}_a", f"{name}_b"), value)
        elif name in COLUMNS:
            yield name, value


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Estimates by name."""
    return {
        name: dict(zip(Estimate._fields, value)) if name in ("ratio", "baseline") and value else value
        for name, value in facts.items()
    }
