"""Tables and page of a training run, generated from its records: report.csv, curves.csv, report.md, report.html.

`python -m benchmarks.report results/20261121-lenet` writes them again; `--readme README.md` also puts the table between
the markers of a README.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.records.csv_cells import csv_text, valid_frame
from benchmarks.records.events import NOT_CERTIFIED, End, Epoch
from benchmarks.records.runs import DataInfo, JobInfo, TrainingRequestInfo, TrainingRun
from benchmarks.records.store import CellRecord, FrozenRunFolder, RunFolder, collector_paused
from benchmarks.reporting import gpu_text, pages, tables
from benchmarks.reporting.contention_text import WITHHELD
from benchmarks.reporting.markers import put
from benchmarks.reporting.number_formats import (
    count,
    counted,
    day,
    examples_per_second,
    machine_text,
    mebibytes,
    number,
    percent,
    percent_text,
    ratio,
)
from benchmarks.reporting.run_agreement import disagreements, first_limit, smooth_limit
from benchmarks.reporting.training_speed import TimedEpochs, TrainingSpeed, training_speed
from benchmarks.runtime import precisions, user_files
from benchmarks.runtime.contention import DISTURBED, disturbance
from benchmarks.timing.statistics import Estimate
from frameworks.spec import times

COLUMNS = (
    "net",
    "framework",
    "version",
    "mode",
    "device",
    "precision",
    "tf32",
    "dataset",
    "seed",
    "batch_size",
    "epochs",
    "status",
    "reason",
    "params",
    "buffers",
    "macs",
    "train_loss",
    "train_accuracy",
    "test_accuracy",
    "examples_per_second",
    "examples_per_second_low",
    "examples_per_second_high",
    "relative_speed",
    "relative_speed_low",
    "relative_speed_high",
    "withheld",
    "slices",
    "disturbed_slices",
    "cpu_load",
    "build_seconds",
    "compile_seconds",
    "first_step_seconds",
    "train_seconds",
    "evaluation_seconds",
    "energy_joules",
    "peak_memory_mib",
    "import_seconds",
    "import_memory_mib",
    "load_seconds",
    "certified",
    "certificate",
    "warning",
)
OF_JOB = tuple(name for name in COLUMNS if name in JobInfo.__struct_fields__)
EPOCH_COLUMNS = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
UNFINISHED = End(cell="", status="unfinished", reason="stopped; --resume continues the run")
UNMERGED = End(cell="", status="unfinished", reason="not finished in the merged shards")

BUSY = 0.05  # fraction of CPU time that other programs may use before the report mentions it
NARROW = 105  # columns of a terminal below which the table has no intervals
# Columns that a narrow terminal does not show, the least important first.
OPTIONAL = (
    "compile (s)",
    "first step (s)",
    "training (s)",
    "parameters",
    "train loss",
    "peak (MiB)",
    "verification",
    "examples/s",
    "test accuracy",
    "relative speed",
)


@collector_paused()
def write(folder: RunFolder) -> pd.DataFrame:
    """Write a run's tables and page into its folder; returns the table of cells."""
    saved = FrozenRunFolder(folder.path)
    cells, curves = frame(saved), curve_frame(saved)
    below = notes(saved, {cell: text for cell, text in zip(_cells(saved), cells["warning"]) if text})
    text = formatted(cells.head(1) if _is_large(cells) else cells)
    folder.write("report.csv", csv_text(cells, index=False))
    folder.write("curves.csv", csv_text(curves, index=False))
    folder.write("report.md", _markdown(cells, text, below))
    folder.write("report.html", pages.html(saved.training_run, cells, curves, text, below))
    return cells


# --- tables of numbers ------------------------------------------------------------------------------------------------


def frame(folder: RunFolder) -> pd.DataFrame:
    """One row per cell, columns `COLUMNS`; None where a value was not measured."""
    run, records = folder.training_run, folder.records()
    listed = [(job, records.get(job.cell, CellRecord())) for job in run.jobs]
    warnings = disagreements(listed)
    missing = UNMERGED if run.merged else UNFINISHED
    first: dict[tuple[str, int], TimedEpochs] = {}  # of each network and seed

    def row(job: JobInfo, record: CellRecord) -> dict[str, object]:
        timed = TimedEpochs.of(record)
        speed = training_speed(timed, first.setdefault((job.net, job.seed), timed))
        return {**_row(job, record, speed, missing), "warning": warnings.get(job.cell)}

    rows = (row(job, record) for job, record in listed)
    table = valid_frame(rows, COLUMNS).astype(object)
    return table.where(table.notna(), None)


def has_failed(cells: pd.DataFrame, request: TrainingRequestInfo) -> bool:
    """Whether a run has not done what was requested: a cell failed or is unfinished, or a named framework is missing.

    A framework that only `all` names may be missing; an adapter from a file is always named.
    """
    from_files = [user_files.split(text)[1].lower() for text in request.adapters]
    named = cells if request.frameworks != "all" else cells[cells["framework"].isin(from_files)]
    return bool(set(cells["status"]) & {"failed", "unfinished"}) or "unavailable" in set(named["status"])


def curve_frame(folder: RunFolder) -> pd.DataFrame:
    """One row per cell and epoch."""
    rows = (
        {
            **{name: getattr(job, name) for name in ("net", "framework", "seed")},
            **{name: getattr(epoch, name) for name in EPOCH_COLUMNS},
            "examples_per_second": epoch.examples_per_second,
            "evaluation_seconds": epoch.evaluation_seconds,
        }
        for job, record in jobs_with_records(folder)
        for epoch in record.epochs
    )
    return valid_frame(rows)


def jobs_with_records(folder: RunFolder) -> list[tuple[JobInfo, CellRecord]]:
    """Every job of a run with what is recorded of it, which is empty if it has not started."""
    records = folder.records()
    return [(job, records.get(job.cell, CellRecord())) for job in folder.training_run.jobs]


def _row(job: JobInfo, record: CellRecord, speed: TrainingSpeed, missing: End) -> dict[str, object]:
    """The values of `COLUMNS`; a column that is missing has not been measured. missing: stands for an end."""
    end = record.end or missing
    certificate = record.start.certificate if record.start else None
    found = disturbance(epoch.contention for epoch in record.epochs)
    return {
        **{name: getattr(job, name) for name in OF_JOB},
        "status": end.status,
        "reason": end.reason,
        **_start(record),
        **_results(record.epochs),
        **_columns_of("examples_per_second", speed.examples_per_second),
        **_columns_of("relative_speed", speed.relative),
        "withheld": speed.withheld,
        "disturbed_slices": found.disturbed if found.slices else None,
        "cpu_load": found.load,
        "certified": record.start.verified if record.start else NOT_CERTIFIED,
        "certificate": certificate.certificate if certificate else None,
        "peak_memory_mib": _mebibytes(end.peak_on(job.device)),
    }


def _start(record: CellRecord) -> dict[str, object]:
    """What is known once the worker has built the network."""
    start = record.start
    if start is None:
        return {}
    return {
        "version": next(iter(start.versions.values())),
        "mode": start.settings.get("mode", ""),
        "params": start.params,
        "buffers": start.buffers,
        "build_seconds": start.build_seconds,
        "compile_seconds": start.compile_seconds,
        "import_seconds": start.import_seconds,
        "load_seconds": start.load_seconds,
        "import_memory_mib": _mebibytes(start.import_memory),
    }


def _results(epochs: Sequence[Epoch]) -> dict[str, object]:
    """Losses and accuracies after the last epoch, and the seconds of all epochs together."""
    if not epochs:
        return {}
    last = epochs[-1]
    return {
        "train_loss": last.train_loss,
        "train_accuracy": last.train_accuracy,
        "test_accuracy": last.test_accuracy,
        "first_step_seconds": epochs[0].first_step_seconds,
        "train_seconds": sum(epoch.slice_seconds for epoch in epochs),
        "slices": sum(len(epoch.slices) for epoch in epochs),
        "evaluation_seconds": sum(epoch.evaluation_seconds for epoch in epochs),
        "energy_joules": _energy(epochs),
    }


def _energy(epochs: Sequence[Epoch]) -> float | None:
    """What the GPU took for the training steps of all epochs; None if that of an epoch is not known."""
    joules = [epoch.gpu.joules for epoch in epochs if epoch.gpu and epoch.gpu.joules is not None]
    return sum(joules) if len(joules) == len(epochs) else None


def _columns_of(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    value, low, high = estimate or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _mebibytes(size: int | None) -> float | None:
    return None if size is None else size / 2**20


# --- tables for people ------------------------------------------------------------------------------------------------


def formatted(cells: pd.DataFrame) -> pd.DataFrame:
    """The columns that people read, as text; the seed is left out where there is only one, warnings where none is.

    Since runs record the seconds of compiling, their first step is a step like any other.
    """
    table = pd.DataFrame([_formatted_row(row) for row in _records(cells)])
    compiled = cells["compile_seconds"].notna().any()
    table = table.drop(columns="first step (s)" if compiled else "compile (s)")
    if not table["warning"].any():
        table = table.drop(columns="warning")
    return table.drop(columns="seed") if table["seed"].nunique() == 1 else table


def _records(cells: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """The rows of a table; `to_dict` takes several times as long."""
    return [dict(zip(cells.columns, row)) for row in zip(*(cells[name].tolist() for name in cells.columns))]


def _formatted_row(row: dict[Hashable, Any]) -> dict[str, str]:
    unmeasured = WITHHELD if row["withheld"] else ""
    return {
        "network": row["net"],
        "framework": f"{row['framework'].split('==')[0]} {row['version'] or ''}".strip(),
        "seed": str(row["seed"]),
        "parameters": count(row["params"]),
        "train loss": number(row["train_loss"], ".4f"),
        "test accuracy": number(row["test_accuracy"], ".4f"),
        "examples/s": examples_per_second(_estimate(row, "examples_per_second")) or unmeasured,
        "relative speed": ratio(_estimate(row, "relative_speed")) or unmeasured,
        "compile (s)": number(row["compile_seconds"], ".2f"),
        "first step (s)": number(row["first_step_seconds"], ".2f"),
        "training (s)": number(row["train_seconds"], ".1f"),
        "peak (MiB)": mebibytes(row["peak_memory_mib"]),
        "verification": row["certified"] or "",
        "warning": row["warning"] or "",
        "status": ": ".join(filter(None, (row["status"], _reason(row)))),
    }


def _reason(row: dict[Hashable, Any]) -> str:
    """Why a cell ended as it did, and why it has no speed or ratio."""
    return "; ".join(filter(None, (row["reason"], row["withheld"] and f"speed {WITHHELD}: {row['withheld']}")))


def _estimate(row: dict[Hashable, Any], name: str) -> Estimate:
    return Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])


def table(cells: pd.DataFrame, width: int | None) -> str:
    """The table for a terminal of this many columns, None for a pipe; reasons of failures stand below the table."""
    if _is_large(cells):
        return tables.wrapped(_in_short(cells), width)
    text = formatted(cells)
    text["examples/s"] = text["examples/s"].str.split(" (", regex=False).str[0]
    if width is not None and width < NARROW:
        text["relative speed"] = text["relative speed"].str.split(" (", regex=False).str[0]
    text["status"] = list(cells["status"])
    verification = text["verification"].str.partition(": ")
    text["verification"] = verification[0]
    text["reason"] = [
        "; ".join(filter(None, (_reason(row), why and f"{status}: {why}", warning and f"warning: {warning}")))
        for row, status, why, warning in zip(_records(cells), verification[0], verification[2], cells["warning"])
    ]
    text = text.drop(columns="warning", errors="ignore")
    return tables.fitted(tuple(text.columns), _rows(text), width, optional=OPTIONAL, below="reason")


def text(folder: RunFolder, cells: pd.DataFrame, width: int | None) -> str:
    """The table and the notes under it in plain text. width: of the terminal; None: no limit."""
    return "\n\n".join([table(cells, width), tables.wrapped("\n".join(notes(folder)), width)])


def markdown(folder: RunFolder, cells: pd.DataFrame) -> str:
    """The table and the notes under it, for a README."""
    return _markdown(cells, formatted(cells), notes(folder))


def _markdown(cells: pd.DataFrame, text: pd.DataFrame, below: Sequence[str]) -> str:
    rows = _in_short(cells) if _is_large(cells) else tables.markdown(tuple(text.columns), _rows(text))
    return "\n".join([rows, "", *below]) + "\n"


def _is_large(cells: pd.DataFrame) -> bool:
    """Whether nobody would read a table of these cells."""
    return len(cells) > pages.MOST_CELLS


def _in_short(cells: pd.DataFrame) -> str:
    """What stands for the table of a large run."""
    states = ", ".join(f"{count(number)} {status}" for status, number in cells["status"].value_counts().items())
    return f"{count(len(cells))} cells: {states}. Their rows are in report.csv."


def _rows(text: pd.DataFrame) -> list[tables.Row]:
    return [tuple(row) for row in text.astype(str).to_numpy().tolist()]


# --- notes under the table --------------------------------------------------------------------------------------------


def _cells(folder: RunFolder) -> list[str]:
    return [job.cell for job in folder.training_run.jobs]


def notes(folder: RunFolder, warnings: Mapping[str, str] | None = None) -> list[str]:
    """The recipes, the machine, the meaning of the figures, and whatever limits them: one Markdown item each.

    warnings: of the cells, if they are known.
    """
    folder = FrozenRunFolder(folder.path) if not isinstance(folder, FrozenRunFolder) else folder
    warnings = disagreements(jobs_with_records(folder)) if warnings is None else warnings
    run = folder.training_run
    unpublished = sorted(name for name, data in run.data.items() if not (data.published or data.images))
    lines = [
        *_recipes(run.jobs),
        *(f"{name}: the files differ from the published ones." for name in unpublished),
        *(_own_images(name, data) for name, data in run.data.items() if data.images),
        f"{run_text(run)}.",
        *_precision(run.jobs[0]),
        *_machines(run),
        "Each row is one run. Examples/s: geometric mean over epochs, without the first step, and its 95 % interval. "
        "Relative speed: ratio to the first framework, paired by round, and its 95 % interval.",
        *augmentation_notes(folder),
        *(f"Warning: {cell}: {warning}." for cell, warning in warnings.items()),
    ]
    listed = jobs_with_records(folder)
    lines += gpu_text.warnings((job.framework, epoch.gpu) for job, record in listed for epoch in record.epochs)
    epochs = [epoch for _, record in listed for epoch in record.epochs]
    found = disturbance(epoch.contention for epoch in epochs)
    if found.disturbed:
        lines.append(
            f"Other programs took more than {percent_text(DISTURBED)} of the time of {count(found.disturbed)} of "
            f"{count(found.slices)} slices; these do not count in speeds."
        )
    elif any(None in epoch.contention for epoch in epochs):
        lines.append("The system does not count the time that threads wait, so disturbed slices are not recognized.")
    load = run.cpu_load or 0.0
    if load >= BUSY:
        lines.append(f"Other programs used {percent(load, 0)} of CPU time: the speeds are those of a busy machine.")
    overhead = _harness_overhead(folder)
    if overhead is not None:
        lines.append(f"Harness overhead: {percent(overhead)} of epoch time.")
    return [f"- {line}" for line in lines]


def _recipes(jobs: Sequence[JobInfo]) -> list[str]:
    """One line per recipe, with the networks that it trains."""
    nets: dict[str, dict[str, None]] = {}
    for job in jobs:
        recipe = (
            f"{job.dataset} ({job.train_size:,} + {job.test_size:,} images), batch size {job.batch_size}, "
            f"{job.optimizer}, lr {job.lr:g}, {counted(job.epochs, 'epoch')}{''.join(_changes_of_training(job))}"
        )
        nets.setdefault(recipe, {})[job.net] = None
    return [f"{', '.join(names)}: {recipe}." for recipe, names in nets.items()]


def _changes_of_training(job: JobInfo) -> Iterator[str]:
    """What changes the steps and the test of a job, for most jobs nothing."""
    if job.clip_norm is not None:
        yield f", gradients clipped at norm {job.clip_norm:g}"
    if job.weight_average is not None:
        yield f", tested with an average of the weights of decay {job.weight_average:g}"
    if job.lr_factors:
        yield f", learning rate times {', '.join(f'{factor:g} for {pattern}' for pattern, factor in job.lr_factors)}"


def _own_images(name: str, data: DataInfo) -> str:
    """How image files were read, and what may mislead: files that were left out, and duplicates."""
    info = data.images
    assert info
    parts = [
        f"{info.layout}, {times(info.input)}, {len(info.class_names)} classes",
        f"split: {info.split}",
        f"SHA-256 of the listing: {data.sha256.get('listing', '')[:8]}",
        *([f"{counted(len(info.broken), 'file')} that cannot be decoded left out"] if info.broken else []),
        *([f"{counted(info.duplicates, 'test image')} also for training"] if info.duplicates else []),
        *([f"{counted(info.ambiguous, 'image')} in more than one class"] if info.ambiguous else []),
    ]
    return f"{name}: {'; '.join(parts)}."


def augmentation_notes(folder: RunFolder) -> list[str]:
    """The augmentations of each network and the speed at which the harness draws them."""
    augmentations: dict[str, str] = {}
    images: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for job, record in jobs_with_records(folder):
        if not job.augmentations:
            continue
        net = job.net
        augmentations[net] = ", ".join(job.augmentations)
        for epoch in record.epochs:
            if epoch.augment_seconds:
                images[net] = images.get(net, 0) + job.train_size
                seconds[net] = seconds.get(net, 0.0) + epoch.augment_seconds
    return [
        f"{net}: {augmentations[net]}, drawn anew for each epoch by the harness, identical for all frameworks and "
        f"outside the timed slices, at {count(images[net] / seconds[net])} images/s."
        for net in seconds
    ]


def _harness_overhead(folder: RunFolder) -> float | None:
    """The fraction of the epochs' time during which no worker trained or predicted."""
    epochs = [epoch for _, record in jobs_with_records(folder) for epoch in record.epochs]
    if not epochs:
        return None
    overhead = sum(epoch.harness_seconds for epoch in epochs)
    work = sum(epoch.training_seconds + epoch.evaluation_seconds for epoch in epochs)
    return overhead / (overhead + work) if overhead + work else None


def run_text(run: TrainingRun) -> str:
    """The machine, the setting and the date of a run in one line."""
    job, machines = run.jobs[0], run.machines
    setting = f"{counted(job.threads, 'thread')}, {precisions.named(job.precision, job.tf32)} on {job.device}"
    where = machine_text(run.machine) if len(machines) == 1 else f"{len(machines)} machines"
    return "; ".join([where, setting, day(run.began)])


def _precision(job: JobInfo) -> list[str]:
    """What is computed in a precision that rounds more than float32, and how far losses may then differ."""
    if not precisions.rounds_more(job.precision, job.tf32):
        return []
    first, later = percent(first_limit(job)), percent(smooth_limit(job))
    return [
        f"Precision: {precisions.described(job.precision, job.tf32)}. Losses of two frameworks count as equal within "
        f"its rounding: {first} of their value in the first step, at least {later} in later ones."
    ]


def _machines(run: TrainingRun) -> list[str]:
    """Of a run on several machines, what each one ran. Ratios compare the frameworks of a group on its machine."""
    if len(run.machines) == 1:
        return []
    return [f"{machine_text(machine)}: {_groups(jobs)}." for machine, jobs in run.machines.items()]


def _groups(jobs: Sequence[JobInfo]) -> str:
    """Networks and seeds in words."""
    seeds: dict[str, dict[str, None]] = {}
    for job in jobs:
        seeds.setdefault(job.net, {})[str(job.seed)] = None
    return ", ".join(f"{net} ({'seed' if len(of) == 1 else 'seeds'} {', '.join(of)})" for net, of in seeds.items())


def into_readme(path: Path, folder: RunFolder) -> None:
    """Put the run's table between the markers of a README. Raises BadInput if it has none."""
    put(path, "results", f"`{' '.join(folder.training_run.command)}` gives:\n\n{markdown(folder, frame(folder))}")
