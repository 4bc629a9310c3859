"""The report of a speed run as text: speeds, times, roofline and settings, with notes on how to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

from benchmarks.records.runs import SpeedRun
from benchmarks.reporting import gpu_text
from benchmarks.reporting.contention_text import WITHHELD
from benchmarks.reporting.number_formats import (
    count,
    day,
    examples_per_second,
    machine_text,
    mebibytes,
    number,
    percent,
    percent_text,
    ratio,
)
from benchmarks.reporting.speed_cells import SpeedComparison, layer_costs
from benchmarks.reporting.speed_row import SpeedRow
from benchmarks.reporting.tables import Row, fitted, markdown, wrapped
from benchmarks.runtime import precisions
from benchmarks.runtime.contention import DISTURBED
from benchmarks.timing import sanity_checks

Form: TypeAlias = Callable[[Row, Sequence[Row]], str]
Comparisons: TypeAlias = "Sequence[tuple[SpeedComparison, Sequence[SpeedRow]]]"

SPEED_HEAD = (
    "framework",
    "version",
    "mode",
    "examples/s",
    "relative speed",
    "verdict",
    "of roofline",
    "MFU",
    "latency (ms)",
    "net memory (MiB)",
    "verification",
    "status",
    "reason",
)
# Columns that a narrow terminal does not show, the least important first.
OPTIONAL = (
    "version",
    "net memory (MiB)",
    "MFU",
    "mode",
    "of roofline",
    "verification",
    "status",
    "busy threads",
    "idle CPU",
    "slices",
    "warm-up slices",
    "launches",
    "CPU load",
    "data (s)",
    "evaluation (s)",
)
TIME_HEAD = (
    "framework",
    "import (s)",
    "build (s)",
    "data (s)",
    "first step (s)",
    "warm-up slices",
    "step (s)",
    "evaluation (s)",
    "launches",
    "slices",
    "disturbed",
    "CPU load",
    "busy threads",
    "idle CPU",
)
NOTES = (
    "Examples/s: median of the steady slices of each launch; geometric mean over launches with its 95 % interval. "
    "Relative speed: ratio within rounds, with a 95 % interval over launches. All slices are in cells.jsonl.",
    "Roofline: the speed that the framework's own matrix products and copies allow a program that runs layer by layer, "
    "computed from the spec. A program that fuses layers, or multiplies less often than the spec (Winograd), can "
    "exceed it. Fractions of layers are fractions of this bound. MFU: model FLOPs utilization.",
    "Net memory: peak memory without the memory that the import takes. First step: includes compilation, anew in every "
    "launch. Step: the steady one. Idle CPU: cores that a worker uses between its slices.",
    f"Disturbed: slices that lost more than {percent_text(DISTURBED)} of their time to other programs, which do not "
    f"count. CPU load: the fraction of the worker's cores that other programs had during its slices. {WITHHELD}: too "
    "few undisturbed slices. Empty: the system does not count the time that threads wait.",
)


def report(run: SpeedRun, comparisons: Comparisons, width: int | None = None) -> str:
    """The report of a run in plain text. comparisons: each with its rows; width: of the terminal; None: no limit."""
    form = partial(fitted, width=width, optional=OPTIONAL, below="reason")
    return "\n\n".join(part if is_table else wrapped(part, width) for part, is_table in _parts(run, comparisons, form))


def markdown_report(run: SpeedRun, comparisons: Comparisons) -> str:
    """The report of a run in Markdown."""
    return "\n\n".join(part for part, _ in _parts(run, comparisons, markdown))


def _parts(run: SpeedRun, comparisons: Comparisons, form: Form) -> Iterator[tuple[str, bool]]:
    """The parts of a report in their order, and whether each is a table."""
    for comparison, rows in comparisons:
        yield f"## {comparison.title}", False
        yield form(*_speeds(rows)), True
        yield detectable_difference(comparison), False
        yield form(*_times(rows)), True
        lines = [*_crossings(comparison), *_roofs(rows)]
        if lines:
            yield "\n".join(f"- {line}" for line in lines), False
        if run.request.layers:
            yield form(*_layers(comparison)), True
    yield "## Settings", False
    yield form(*_settings([comparison for comparison, _ in comparisons])), True
    uses = [
        (job.framework, slice_.gpu)
        for comparison, _ in comparisons
        for job in comparison.jobs
        for slice_ in comparison.of(job).timed_slices
    ]
    yield "\n".join(f"- {note}" for note in [*gpu_text.warnings(uses), *_notes(run)]), False


def detectable_difference(comparison: SpeedComparison) -> str:
    """The smallest difference that this run can show, from the A/A control."""
    floor, control_ratio = comparison.floor, comparison.control_ratio
    if floor is None or control_ratio is None:
        few = "fewer than two launches of the A/A control"
        return f"Minimum detectable difference unavailable: {comparison.floor_withheld or few}."
    return (
        f"A/A control: {comparison.baseline.framework} relative to itself is {ratio(control_ratio)}. On this "
        f"machine, in this run, differences under {percent(floor.high - 1)} cannot be detected, and differences under "
        f"{percent(floor.visible)} cannot be detected in a row whose interval is as wide as that of the control."
    )


def _speeds(rows: Sequence[SpeedRow]) -> tuple[Row, list[Row]]:
    """The speeds; columns without any value are left out."""
    body: list[Row] = [
        (
            row.framework.split("==")[0],
            row.version or "",
            row.mode,
            examples_per_second(row.speed),
            ratio(row.ratio),
            row.verdict or "",
            percent(row.roofline_fraction),
            percent(row.mfu),
            _latencies(row),
            mebibytes(row.net_memory_mib),
            row.certified,
            row.status,
            "; ".join(filter(None, (row.reason, row.withheld and f"{WITHHELD}: {row.withheld}"))),
        )
        for row in rows
    ]
    filled = [index for index in range(len(SPEED_HEAD)) if any(line[index] for line in body)]
    return tuple(SPEED_HEAD[index] for index in filled), [tuple(line[index] for index in filled) for line in body]


def _times(rows: Sequence[SpeedRow]) -> tuple[Row, list[Row]]:
    body: list[Row] = [
        (
            row.framework,
            number(row.import_seconds, ".3f"),
            number(row.build_seconds, ".3f"),
            number(row.load_seconds, ".3f"),
            number(row.first_step_seconds, ".3f"),
            number(row.warm_up_slices, "g"),
            number(row.step_seconds, ".4g"),
            number(row.evaluation_seconds, ".3f"),
            str(row.launches),
            str(row.slices),
            count(row.disturbed_slices),
            percent(row.cpu_load, 0),
            number(row.busy_threads, ".2f"),
            number(row.idle_fraction, ".4f"),
        )
        for row in rows
    ]
    return TIME_HEAD, body


def _crossings(comparison: SpeedComparison) -> Iterator[str]:
    """Which of two frameworks starts faster, and when the other one has caught up."""
    base = comparison.baseline
    base_time = comparison.training_time(base)
    for job in comparison.jobs:
        time = comparison.training_time(job)
        if job is base or job.what != "train" or not time or not base_time:
            continue
        late, early = (job, base) if time.start > base_time.start else (base, job)
        epochs = comparison.break_even_epochs(late, early)
        start = f"{early.framework} starts faster"
        if epochs is None:
            yield f"{start}, and {late.framework} never catches up."
        else:
            after = f"{epochs:,.1f} epochs of {count(job.train_size)} images"
            yield f"{start}; {late.framework} catches up after {after}."


def _roofs(rows: Sequence[SpeedRow]) -> Iterator[str]:
    """The measured rates that determine the rooflines."""
    roofs = [
        f"{row.framework} {count(row.matmul_gflops)} Gflop/s and {count(row.copy_gbs) or 'no'} GB/s"
        for row in rows
        if row.matmul_gflops
    ]
    if roofs:
        yield f"Fastest matrix product and fastest measurable copy: {'; '.join(roofs)}."


def _layers(comparison: SpeedComparison) -> tuple[Row, list[Row]]:
    """The fraction of the roofline bound that each layer takes, per framework."""
    roofs = {job.framework: comparison.roof(job) for job in comparison.jobs}
    measured = {name: roof for name, roof in roofs.items() if roof}
    costs = layer_costs(comparison.baseline)
    head = ("layer", "Mflop", "KiB", "flop/byte", *(f"fraction, {name}" for name in measured))
    totals = {name: sum(cost.seconds(roof) for cost in costs) for name, roof in measured.items()}
    body = [
        (
            cost.path,
            number(cost.flops / 1e6, ",.3f"),
            number(cost.moved / 1024, ",.1f"),
            number(cost.flops / cost.moved, ",.1f") if cost.moved else "",
            *(percent(cost.seconds(roof) / totals[name]) for name, roof in measured.items()),
        )
        for cost in costs
    ]
    return head, body


def _settings(comparisons: Sequence[SpeedComparison]) -> tuple[Row, list[Row]]:
    """Every version and setting that the workers reported: a row each, a column per framework."""
    settings: dict[str, dict[str, str]] = {}
    for comparison in comparisons:
        for job in comparison.jobs:
            launches = comparison.of(job).launches
            if launches and job.framework not in settings:
                cores = dict.fromkeys(" ".join(map(str, launch.cores)) or "any" for launch in launches)
                last = launches[-1]
                settings[job.framework] = {**last.versions, **last.settings, "cores": "; ".join(cores)}
    names = dict.fromkeys(name for of_framework in settings.values() for name in of_framework)
    body = [(name, *(of_framework.get(name, "") for of_framework in settings.values())) for name in names]
    return ("setting", *settings), body


def _notes(run: SpeedRun) -> list[str]:
    start, end = (number(run.load.get(moment), ".2f") or "not measured" for moment in ("start", "end"))
    environment = ", ".join(f"{name}={value}" for name, value in run.environment.items())
    return [
        f"{machine_text(run.machine)}; {day(run.began)}.",
        f"Load average of the machine over a minute: {start} at the start, {end} at the end.",
        f"Environment variables of the workers: {environment or 'those of the system'}.",
        *_precisions(run),
        *NOTES,
    ]


def _precisions(run: SpeedRun) -> Iterator[str]:
    """What is computed in precisions that round more than float32, and how far results may then differ."""
    for precision, tf32 in dict.fromkeys((job.precision, job.tf32) for job in run.jobs):
        if precisions.rounds_more(precision, tf32):
            yield (
                f"Precision: {precisions.described(precision, tf32)}. Before timing, results differ from those of the "
                f"reference by at most {percent(sanity_checks.limit(precision, tf32))} of the largest, or by what "
                "rounding changes in a network with batch normalization; a skipped step may go unnoticed."
            )


def _latencies(row: SpeedRow) -> str:
    quantiles = (row.latency_median_ms, row.latency_95_ms, row.latency_99_ms)
    median, high, highest = (number(milliseconds, ".3f") for milliseconds in quantiles)
    return f"{median} (95 %: {high}, 99 %: {highest})" if median else ""
