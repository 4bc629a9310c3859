"""The tables of a speed run, made from its records. Rounding happens here alone.

    python -m benchmarks.report results/20261121-speed-lenet

writes them again. A ratio is taken within rounds, to the baseline and to its twin, and its interval over launches; a
launch's first slices, up to the point that `samples.steady` finds, count for neither.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.records.store import Folder
from benchmarks.reporting.number_formats import examples_per_second
from benchmarks.reporting.tables import Row, markdown, table
from benchmarks.runtime.errors import BadInput
from benchmarks.timing import roofline, sanity_checks
from benchmarks.timing.roofline import LayerCost, Roof
from benchmarks.timing.rounds import Rounds, TimedSlice, baseline_workers, paired, speed, steady
from benchmarks.timing.statistics import (
    Estimate,
    NoiseFloor,
    break_even,
    launches_ratio,
    noise_floor,
    quantile,
    verdict,
)
from benchmarks.verification import certificates

COLUMNS = (
    "net framework version mode device precision dataset what batch_size threads status reason params macs launches "
    "slices examples_per_second examples_per_second_low examples_per_second_high relative_speed relative_speed_low "
    "relative_speed_high verdict visible_difference import_seconds build_seconds load_seconds first_step_seconds "
    "warm_up_slices step_seconds evaluation_seconds break_even_epochs latency_median_ms latency_95_ms latency_99_ms "
    "peak_memory_mib import_memory_mib net_memory_mib matmul_gflops copy_gbs mfu roofline_examples_per_second "
    "roofline_share busy_threads idle_share certified certificate cell"
).split()

UNFINISHED = {"status": "unfinished", "reason": "stopped before its end"}


@dataclass
class Measured:
    """All that was recorded of a cell."""

    launches: list[dict[str, Any]] = field(default_factory=list)
    slices: dict[int, dict[int, dict[str, Any]]] = field(default_factory=dict)  # by launch and round
    evaluation: dict[str, Any] | None = None
    roofline: dict[str, Any] | None = None
    end: dict[str, Any] = field(default_factory=lambda: dict(UNFINISHED))

    def add(self, line: dict[str, Any]) -> None:
        match line["event"]:
            case "launch":
                self.launches.append(line)
            case "slice":
                self.slices.setdefault(line["launch"], {})[line["round"]] = line
            case "evaluation":
                self.evaluation = line
            case "roofline":
                self.roofline = line
            case "end":
                self.end = line

    @property
    def all_slices(self) -> list[dict[str, Any]]:
        return [each for rounds in self.slices.values() for each in rounds.values()]

    @property
    def timed_slices(self) -> list[TimedSlice]:
        return [TimedSlice.from_record(each) for each in self.all_slices]

    @cached_property
    def rounds(self) -> Rounds:
        """Seconds a picture, by launch and round."""
        return {
            launch: {number: each["seconds"] / each["pictures"] for number, each in rounds.items()}
            for launch, rounds in self.slices.items()
        }

    @property
    def warm_ups(self) -> list[int]:
        """Of each launch, the first steady round."""
        return [steady(rounds) for rounds in self.rounds.values()]

    @property
    def speed(self) -> Estimate | None:
        """Pictures a second: the median of each launch, and over launches their geometric mean."""
        return speed(self.rounds)

    def typical(self, name: str) -> float | None:
        """The median of a figure that each launch has one of, over those that were made ready alone."""
        values = [each[name] for each in self.launches if each.get("alone", True) and each.get(name) is not None]
        return float(np.median(values)) if values else None


def read(folder: Folder) -> dict[str, Measured]:
    """What was measured of each cell, in the order in which they were begun."""
    cells: dict[str, Measured] = {}
    for line in folder.lines():
        cells.setdefault(line["cell"], Measured()).add(line)
    return cells


@dataclass(frozen=True)
class Comparison:
    """The cells that took turns, with what was measured of each; the baseline's twin is apart."""

    jobs: list[dict[str, Any]]
    baseline: dict[str, Any]
    twin: dict[str, Any] | None
    measured: dict[str, Measured]

    def of(self, job: dict[str, Any]) -> Measured:
        return self.measured.get(job["cell"]) or Measured()

    @property
    def yardsticks(self) -> list[Rounds]:
        """What the baseline's workers took: its own, and its twin."""
        return baseline_workers(self.of(self.baseline).rounds, self.of(self.twin).rounds if self.twin else {})

    def ratio(self, job: dict[str, Any]) -> Estimate | None:
        """How many times faster than the baseline, from the rounds in which both were steady; None for no such."""
        if job is self.baseline:
            return Estimate(1.0)
        return launches_ratio(*paired(self.of(job).rounds, *self.yardsticks))

    @property
    def twins(self) -> Estimate | None:
        """How many times faster the baseline is than itself."""
        if self.twin is None:
            return None
        return launches_ratio(*paired(self.of(self.twin).rounds, self.of(self.baseline).rounds))

    @property
    def floor(self) -> NoiseFloor | None:
        twins = self.twins
        return noise_floor(twins) if twins and twins.low is not None else None

    @property
    def title(self) -> str:
        job = self.jobs[0]
        what = {"train": "training", "infer": "inference"}[job["what"]]
        return (
            f"{job['net']}, {what}, batch {job['batch_size']}, {job['threads']} "
            f"thread{'s' * (job['threads'] > 1)}, {job['precision']}, {job['device']}"
        )


def comparisons(folder: Folder, measured: dict[str, Measured] | None = None) -> list[Comparison]:
    """All of a run; BadInput where it is no speed run."""
    run = folder.run
    if run.get("kind") != "speed":
        raise BadInput(f"{folder.path}: a run of another kind; name a folder that benchmarks.speed has made")
    measured = read(folder) if measured is None else measured
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for job in run["jobs"]:
        alike = tuple(job[name] for name in ("net", "what", "batch_size", "threads", "precision"))
        groups.setdefault(alike, []).append(job)
    return [
        Comparison(
            [job for job in jobs if not job["twin"]],
            next(job for job in jobs if job["baseline"]),
            next((job for job in jobs if job["twin"]), None),
            measured,
        )
        for jobs in groups.values()
    ]


# --- one row a cell ---------------------------------------------------------------------------------------------------


def frame(folder: Folder) -> pd.DataFrame:
    """A row per cell, twins and calibration left out, columns `COLUMNS`; what was not measured is None."""
    rows = [_row(group, job) for group in comparisons(folder) for job in group.jobs]
    made = pd.DataFrame(rows, columns=COLUMNS).astype(object)
    return made.where(made.notna(), None)


def _row(group: Comparison, job: dict[str, Any]) -> dict[str, Any]:
    measured, floor = group.of(job), group.floor
    last = measured.launches[-1] if measured.launches else {}
    relative = group.ratio(job) if measured.slices else None
    speed = measured.speed
    return {
        **{name: job[name] for name in COLUMNS if name in job},
        "version": next(iter(last.get("versions", {}).values()), job.get("version")),
        "mode": last.get("settings", {}).get("mode", job["mode"]),
        "status": measured.end["status"],
        "reason": measured.end["reason"],
        "launches": len(measured.slices),
        "slices": len(measured.all_slices),
        **_estimate("examples_per_second", speed),
        **_estimate("relative_speed", relative),
        "verdict": _verdict(group, job, relative),
        "visible_difference": floor.visible if floor else None,
        **{f"{name}_seconds": measured.typical(f"{name}_seconds") for name in ("import", "build", "load")},
        "first_step_seconds": measured.typical("first_step_seconds"),
        "warm_up_slices": float(np.median(measured.warm_ups)) if measured.slices else None,
        "step_seconds": job["batch_size"] / speed.value if speed else None,
        "evaluation_seconds": _evaluation(job, measured),
        "break_even_epochs": _break_even(group, job),
        **_latency(job, measured),
        **_memory(job, measured),
        **_roofline(group, job),
        "busy_threads": sanity_checks.busy_threads(measured.timed_slices) if measured.slices else None,
        "idle_share": sanity_checks.idle_use(measured.timed_slices) if measured.slices else None,
        **certificates.columns(last.get("certificate")),
    }


def _estimate(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    value, low, high = estimate or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _verdict(group: Comparison, job: dict[str, Any], relative: Estimate | None) -> str | None:
    if job is group.baseline:
        return "baseline"
    floor = group.floor
    return verdict(relative, floor) if relative and floor else None


def _evaluation(job: dict[str, Any], measured: Measured) -> float | None:
    """Seconds of predicting all test pictures, from those that were."""
    found = measured.evaluation
    return float(found["seconds"] / found["pictures"] * job["test_size"]) if found else None


def _break_even(group: Comparison, job: dict[str, Any]) -> float | None:
    """Epochs after which it has caught up with the baseline, start and compilation included."""
    if job is group.baseline or job["what"] != "train":
        return None
    mine, theirs = (_line(each, group.of(each)) for each in (job, group.baseline))
    return break_even(mine, theirs) if mine and theirs else None


def _line(job: dict[str, Any], measured: Measured) -> tuple[float, float] | None:
    """(seconds before the first epoch, seconds an epoch)."""
    start = [measured.typical(f"{name}_seconds") for name in ("import", "build", "load", "first_step")]
    speed = measured.speed
    if speed is None or None in start:
        return None
    return sum(part for part in start if part), job["train_size"] / speed.value


def _latency(job: dict[str, Any], measured: Measured) -> dict[str, float | None]:
    calls = [seconds for each in measured.all_slices for seconds in each.get("calls", ())]
    shares = {"median": 0.5, "95": 0.95, "99": 0.99}
    found = {name: quantile(calls, share) for name, share in shares.items()}
    return {f"latency_{name}_ms": 1e3 * estimate.value for name, estimate in found.items() if estimate}


def _memory(job: dict[str, Any], measured: Measured) -> dict[str, float | None]:
    """Peak of a launch, in the middle of all launches; on a CPU also less what importing the framework took."""
    peak = measured.end.get("peak", {}).get("device" if job["device"] == "cuda" else "resident")
    imported = measured.typical("import_memory")
    net = peak - imported if peak and imported and job["device"] == "cpu" else peak
    return {
        "peak_memory_mib": peak / 2**20 if peak else None,
        "import_memory_mib": imported / 2**20 if imported else None,
        "net_memory_mib": net / 2**20 if net else None,
    }


def roof_of(job: dict[str, Any], measured: dict[str, Measured]) -> Roof | None:
    """That of the job's framework at this precision and number of threads, whichever cell it was measured with."""
    for each in measured.values():
        raw = each.roofline
        if raw and all(raw[name] == job[name] for name in ("framework", "threads", "precision")):
            return roofline.roof(raw)
    return None


def costs_of(job: dict[str, Any]) -> list[LayerCost]:
    return [LayerCost(*each) for each in job["costs"]]


def _roofline(group: Comparison, job: dict[str, Any]) -> dict[str, float | None]:
    own, speed = roof_of(job, group.measured), group.of(job).speed
    if own is None:
        return {}
    costs = costs_of(job)
    bound = roofline.bound(costs, own)
    flops = sum(cost.flops for cost in costs)
    return {
        "matmul_gflops": own.flops / 1e9,
        "copy_gbs": own.bandwidth / 1e9 if own.bandwidth else None,
        "mfu": speed.value * flops / own.flops if speed else None,
        "roofline_examples_per_second": bound,
        "roofline_share": speed.value / bound if speed else None,
    }


# --- for people -------------------------------------------------------------------------------------------------------


def write(folder: Folder) -> pd.DataFrame:
    """Write a run's tables into its folder; the table of cells is returned."""
    cells = frame(folder)
    folder.write("report.csv", cells.to_csv(index=False))
    folder.write("report.md", told(folder, markdown) + "\n")
    return cells


def told(folder: Folder, form: Any = table) -> str:
    """The whole report in words and tables; `form` is `tables.table` or `tables.markdown`."""
    run, parts = folder.run, []
    for group in comparisons(folder):
        rows = [_row(group, job) for job in group.jobs]
        parts += [f"## {group.title}", form(*_speeds(rows)), floor_in_words(group), form(*_times(rows))]
        parts += ["\n".join(lines)] if (lines := [*_crossings(group), *_rates(rows)]) else []
        if run["request"].get("layers"):
            parts.append(form(*_layers(group)))
    return "\n\n".join([*parts, "## Ledger", form(*_ledger(folder)), *_notes(run)])


def floor_in_words(group: Comparison) -> str:
    """What this machine could show today."""
    floor, twins = group.floor, group.twins
    if floor is None or twins is None:
        return "The baseline's twin did not run in two launches: what difference could be seen is not known."
    return (
        f"{group.baseline['framework']} against its own twin gave {_text(twins, '.3f')}. So on this machine, today, "
        f"differences under {floor.high - 1:.1%} are invisible, and under {floor.visible:.1%} to a row whose interval "
        "is as wide as the twin's."
    )


def _speeds(rows: Sequence[dict[str, Any]]) -> tuple[Row, list[Row]]:
    head = (
        "framework", "version", "mode", "examples/s", "relative speed", "verdict", "of its roofline", "MFU",
        "latency ms", "net MiB", "proof", "status",
    )  # fmt: skip
    body = [
        (
            row["framework"].split("==")[0],
            row["version"] or "",
            row["mode"],
            examples_per_second(tuple(row[f"examples_per_second{end}"] for end in ("", "_low", "_high"))),
            _interval(row, "relative_speed", ".3f"),
            row["verdict"] or "",
            _number(row.get("roofline_share"), ".1%"),
            _number(row.get("mfu"), ".1%"),
            _latencies(row),
            _number(row.get("net_memory_mib"), ",.0f"),
            row["certified"],
            row["status"] + (f": {row['reason']}" if row["reason"] else ""),
        )
        for row in rows
    ]
    kept = [place for place in range(len(head)) if any(line[place] for line in body)]
    return tuple(head[place] for place in kept), [tuple(line[place] for place in kept) for line in body]


def _times(rows: Sequence[dict[str, Any]]) -> tuple[Row, list[Row]]:
    head = (
        "seconds", "import", "build", "data", "first step", "warm-up slices", "step", "evaluation", "launches",
        "slices", "busy threads", "idle cores",
    )  # fmt: skip
    names = "import_seconds build_seconds load_seconds first_step_seconds".split()
    body = [
        (
            row["framework"],
            *(_number(row[name], ".3f") for name in names),
            _number(row["warm_up_slices"], "g"),
            _number(row["step_seconds"], ".4g"),
            _number(row["evaluation_seconds"], ".3f"),
            str(row["launches"]),
            str(row["slices"]),
            _number(row["busy_threads"], ".2f"),
            _number(row["idle_share"], ".4f"),
        )
        for row in rows
    ]
    return head, body


def _crossings(group: Comparison) -> Iterator[str]:
    """Who overtakes whom, and when: start and compilation against the speed of an epoch."""
    base = group.baseline
    theirs = _line(base, group.of(base))
    for job in group.jobs:
        mine = _line(job, group.of(job))
        if job is base or job["what"] != "train" or not mine or not theirs:
            continue
        late, early = (job, base) if mine[0] > theirs[0] else (base, job)
        after = break_even(*((mine, theirs) if late is job else (theirs, mine)))
        when = "never" if after is None else f"after {after:,.1f} epochs of {job['train_size']:,} pictures"
        yield f"- {early['framework']} starts sooner; {late['framework']} overtakes it {when}."


def _rates(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What the rooflines are made of."""
    rates = [
        f"{row['framework']} {row['matmul_gflops']:,.0f} Gflop/s and {_number(row['copy_gbs'], ',.0f') or 'no'} GB/s"
        for row in rows
        if row.get("matmul_gflops")
    ]
    if rates:
        yield f"- Best matrix product, and best copy that could be told: {'; '.join(rates)}."


def _layers(group: Comparison) -> tuple[Row, list[Row]]:
    """Each layer's part of the bound, per framework: what the spec's operations and bytes take on its roofline."""
    roofs = {job["framework"]: roof_of(job, group.measured) for job in group.jobs}
    known = {name: roof for name, roof in roofs.items() if roof}
    costs = costs_of(group.baseline)
    head = ("layer", "Mflop", "KiB", "flop/byte", *(f"share, {name}" for name in known))
    totals = {name: sum(cost.seconds(roof) for cost in costs) for name, roof in known.items()}
    body = [
        (
            cost.path,
            f"{cost.flops / 1e6:,.3f}",
            f"{cost.moved / 1024:,.1f}",
            f"{cost.flops / cost.moved:,.1f}" if cost.moved else "",
            *(f"{cost.seconds(roof) / totals[name]:.1%}" for name, roof in known.items()),
        )
        for cost in costs
    ]
    return head, body


def _ledger(folder: Folder) -> tuple[Row, list[Row]]:
    """Every setting as found, one line each; a column per framework."""
    found: dict[str, dict[str, str]] = {}
    for group in comparisons(folder):
        for job in group.jobs:
            launches = group.of(job).launches
            if launches and job["framework"] not in found:
                kept = "; ".join(dict.fromkeys(" ".join(map(str, each.get("cores", ()))) or "any" for each in launches))
                found[job["framework"]] = {**launches[-1]["versions"], **launches[-1]["settings"], "cores": kept}
    names = dict.fromkeys(name for settings in found.values() for name in settings)
    body = [(name, *(settings.get(name, "") for settings in found.values())) for name in names]
    return ("setting", *found), body


def _notes(run: dict[str, Any]) -> list[str]:
    machine, load = run["machine"], run["load"]
    environment = ", ".join(f"{name}={value}" for name, value in run["environment"].items())
    lines = [
        f"- {machine['processor']}, {machine['cores']} cores, governor {machine['governor'] or 'not told'}, "
        f"{machine['memory_gib']} GiB, {machine['gpu'] or 'no GPU'}; {machine['system']}; {run['began'][:10]}.",
        f"- Load of the machine (runnable processes, mean of a minute): {load['start']:.2f} at the start, "
        f"{'not known' if load['end'] is None else format(load['end'], '.2f')} at the end.",
        f"- Workers' environment: {environment or 'as the system has it'}.",
        "- Examples/s: median of each launch's steady slices, geometric mean over launches with its 95 % interval. "
        "Relative speed: within rounds, with a 95 % interval over launches and rounds. All slices are in cells.jsonl.",
        "- Roofline: what the framework's own matrix products and copies allow a program that runs layer by layer; "
        "shares of layers are shares of that bound, from the spec. What fuses layers, or multiplies less often than "
        "the spec (Winograd's filters for 3 x 3 windows), can pass it. Net MiB: the peak less that of importing.",
        "- First step: of the built network, with what it compiles, anew in every launch. Step: the steady one.",
    ]
    return ["\n".join(lines)]


def _number(value: Any, form: str) -> str:
    return "" if value is None or pd.isna(value) else format(value, form)


def _interval(row: dict[str, Any], name: str, form: str) -> str:
    return _text(Estimate(*(row[name + end] for end in ("", "_low", "_high"))), form)


def _text(estimate: Estimate, form: str) -> str:
    value, low, high = (_number(part, form) for part in estimate)
    return f"{value} ({low} to {high})" if low else value


def _latencies(row: dict[str, Any]) -> str:
    found = [_number(row.get(f"latency_{name}_ms"), ".3f") for name in ("median", "95", "99")]
    return f"{found[0]} (95 %: {found[1]}, 99 %: {found[2]})" if found[0] else ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Write the tables again.")
    parser.add_argument("folder", type=Path, help="a folder that benchmarks.speed has made")
    try:
        folder = Folder.open(parser.parse_args(arguments).folder, option="folder")
        write(folder)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    print(told(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
