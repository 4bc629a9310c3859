"""How planning, merging and reporting grow with the number of cells, and what the whole catalog costs.

    python -m research.scale --cells 1000,10000,100000 --write docs/scale.md
    python -m research.scale --cost --write docs/scale.md

The first command makes plans of 50 networks with as many seeds as give the number of cells, writes records of finished
shards through the record classes, and runs `onespec merge` and `onespec report` on them, each in a process of
its own. The second one computes: multiply-adds and memory come from the specs, the rates from the runs in `results/`.
"""

from __future__ import annotations

import json
import math
import os
import random
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

import frameworks
from benchmarks.cli import options
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.heartbeat import CURRENT
from benchmarks.datasets.registry import DATASETS
from benchmarks.records import events, plans
from benchmarks.records.events import AnyEvent, End, Epoch, Start
from benchmarks.records.plans import Plan
from benchmarks.records.runs import DataInfo, JobInfo, ShardInfo, TrainingRun
from benchmarks.records.store import FrozenRunFolder, RunFolder
from benchmarks.reporting.number_formats import count, counted
from benchmarks.reporting.run_report import jobs_with_records
from benchmarks.reporting.tables import markdown
from benchmarks.runtime.contention import Contention
from benchmarks.runtime.environments import cache_folder, requirements
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.machine import Machine
from benchmarks.training.plan import TrainingRequest
from benchmarks.training.shards import STEP, planned
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS, in_all
from research import command

ROOT = Path(frameworks.__file__).parents[1]
NETS = 50  # the first ones of the catalog, with as many seeds as give the number of cells
SLICES = 4  # of an epoch
MIB, GIB = 2**20, 2**30


# --- growth -----------------------------------------------------------------------------------------------------------


class Usage(NamedTuple):
    """What a command took."""

    seconds: float  # wall time
    cpu_seconds: float
    memory: int  # bytes, peak of the process


class Growth(NamedTuple):
    """The commands on a number of cells."""

    cells: int
    groups: int
    records: int  # bytes of all shards
    plan: Usage
    merge: Usage
    report: Usage


def growth(cells: int, shards: int, epochs: int, scratch: Path) -> Growth:
    """Plan, merge and report about this number of cells. scratch: a new folder."""
    scratch.mkdir()
    nets = list(NETWORKS)[:NETS]
    seeds = max(1, round(cells / (len(in_all()) * len(nets))))
    file = scratch / "plan.json"
    what = ["--net", ",".join(nets), "--fw", "all", "--quick", "--epochs", str(epochs), "--seed", f"0-{seeds - 1}"]
    setting = ["--device", "cpu", "--threads", "1"]
    plan_usage = measured("benchmarks.plan", *what, *setting, "-o", str(file), "-q")
    plan = plans.read(file)
    shards = min(shards, len(plan.groups))
    CURRENT.doing(f"writing the records of {len(plan.groups)} groups")
    folders = [write_shard(scratch / "shards" / str(number), plan, number, shards) for number in range(1, shards + 1)]
    size = sum((folder / name).stat().st_size for folder in folders for name in ("run.json", "cells.jsonl"))
    merged = scratch / "merged"
    merge_usage = measured("benchmarks.merge", *map(str, folders), "-o", str(merged), "-q")
    report_usage = measured("benchmarks.report", str(merged), "-q")
    total = len(plan.groups) * len(plan.frameworks)
    return Growth(total, len(plan.groups), size, plan_usage, merge_usage, report_usage)


def measured(module: str, *arguments: str) -> Usage:
    """Run a command in a process of its own. Raises BadInput if it fails."""
    CURRENT.doing(f"python -m {module}")
    began = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise BadInput(f"python -m {module} ends with {process.returncode}: {errors.read()[-300:].decode()}")
    scale = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return Usage(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale)


def write_shard(path: Path, plan: Plan, number: int, of: int) -> Path:
    """The folder of a finished shard: records with drawn times and losses, and a short log of each cell."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    groups = plans.of_shard(number, of, plan.group_infos)
    jobs = [job for group in groups for job in plan.jobs(group)]
    with folder.cells.open("w", encoding="utf-8") as file:
        for group in groups:
            for event in _events(plan.jobs(group), random.Random(f"{group.net} {group.seed}")):
                file.write(json.dumps(events.to_json(event)) + "\n")
    (path / "logs").mkdir()
    for job in jobs:
        folder.log(job.cell).write_text("a line of the framework\n")
    folder.write(plans.NAME, plan.text)
    run = TrainingRun(
        began="2026-11-29T00:00:00+00:00",
        command=["onespec", "run", "--plan", "plan.json", "--shard", f"{number}/{of}"],
        request=plan.request,
        machine=Machine.here(),
        commit="0" * 40,
        data={name: DataInfo(each.sha256, each.published, "here") for name, each in plan.data.items()},
        jobs=[msgspec.structs.replace(job, weights_sha256="0" * 64) for job in jobs],
        cpu_load=0.0,
        wall_seconds=60.0,
        plan_sha256=plan.sha256,
        shard=ShardInfo(number=number, count=of, code=dict.fromkeys(plan.frameworks, "0" * 64)),
    )
    folder.write_info(run)
    return path


def _events(jobs: Sequence[JobInfo], stream: random.Random) -> Iterator[AnyEvent]:
    """The events of a group: the frameworks agree except for rounding, and differ in speed."""
    launch = stream.randrange(2**60)
    for job in jobs:
        versions = {job.framework: "1.0", "numpy": "2.0"}
        yield Start(
            cell=job.cell,
            pid=1,
            versions=versions,
            settings={"mode": "compiled", "threads": "1", "layout": "NCHW"},
            verification="certified",
            params=1_000_000,
            buffers=0,
            import_seconds=1.0,
            import_memory=200 * MIB,
            build_seconds=0.5,
            load_seconds=0.1,
            compile_seconds=1.0,
        )
    accuracy = 0.0
    for number in range(1, jobs[0].epochs + 1):
        accuracy += (1 - accuracy) * stream.uniform(0.3, 0.5)
        loss = 2.3 * (1 - accuracy)
        for job in jobs:
            images = max(1, job.train_size // SLICES)
            yield Epoch(
                cell=job.cell,
                epoch=number,
                launch=launch,
                first_step_seconds=0.1 if number == 1 else None,
                slices=[(images, stream.uniform(0.9, 1.1)) for _ in range(SLICES)],
                contention=[_contention() for _ in range(SLICES)],
                train_loss=loss,
                train_accuracy=accuracy,
                test_loss=loss,
                test_accuracy=accuracy,
                evaluation_seconds=0.3,
                harness_seconds=0.01,
                first_losses=[2.3 * (1 + 1e-8 * stream.random()) for _ in range(8)] if number == 1 else [],
            )
    for job in jobs:
        yield End(cell=job.cell, status="ok", peak={"resident": 500 * MIB})


def _contention() -> Contention:
    return Contention(
        seconds=1.0,
        cpu_seconds=0.99,
        cores=1,
        waited_seconds=0.001,
        switches=10,
        busy_seconds=1.0,
        stolen_seconds=0.0,
        stalled_seconds=0.001,
    )


COMMANDS = ("plan", "merge", "report")
GROWTH_HEAD = (
    *("cells", "groups", "records (MB)"),
    *(f"{name} ({unit})" for name in COMMANDS for unit in ("s", "CPU s", "MiB")),
)


def growth_table(rows: Sequence[Growth]) -> str:
    """One row for each number of cells."""
    body = [
        (
            *(count(row.cells), count(row.groups), count(row.records / 1e6)),
            *(text for used in (row.plan, row.merge, row.report) for text in _usage(used)),
        )
        for row in rows
    ]
    return markdown(GROWTH_HEAD, body)


def _usage(used: Usage) -> tuple[str, str, str]:
    return f"{used.seconds:.1f}", f"{used.cpu_seconds:.1f}", count(used.memory / MIB)


# --- cost -------------------------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """A cell of a committed run."""

    framework: str
    macs: int
    threads: int
    rate: float  # multiply-adds per second and thread, in timed slices
    once: float  # seconds until the first slice
    evaluation: float  # seconds, over those of the slices, per image
    record: float  # bytes for each epoch
    peak: int  # bytes of memory


def committed(results: Path) -> list[Measured]:
    """The cells of all training runs in a folder that were trained to the end on a CPU."""
    found = []
    for path in sorted(results.glob("*/run.json")):
        folder = FrozenRunFolder(path.parent)
        if folder.info.kind != "run":
            continue
        cells = jobs_with_records(folder)
        epochs = sum(len(record.epochs) for _, record in cells)
        size = folder.cells.stat().st_size / max(1, epochs)
        for job, record in cells:
            images = sum(epoch.images for epoch in record.epochs)
            seconds = sum(epoch.slice_seconds for epoch in record.epochs)
            if record.start is None or record.end is None or record.end.status != "ok" or not seconds or not job.macs:
                continue
            start, first = record.start, record.epochs[0].first_step_seconds or 0.0
            tested = sum(epoch.evaluation_seconds for epoch in record.epochs)
            found.append(
                Measured(
                    framework=job.framework.partition("==")[0].partition(":")[0],
                    macs=job.macs,
                    threads=job.threads,
                    rate=STEP * job.macs * images / seconds / job.threads,
                    once=start.import_seconds + start.build_seconds + start.load_seconds + first,
                    evaluation=tested / (job.test_size * len(record.epochs)) / (seconds / images),
                    record=size,
                    peak=record.end.peak.get("resident", 0),
                )
            )
    return found


def rate(cells: Sequence[Measured], macs: int) -> float:
    """The median rate of the networks whose size is nearest: of small ones, calls take longer than arithmetic."""
    distance = min(_decades(cell.macs, macs) for cell in cells)
    return median(cell.rate for cell in cells if _decades(cell.macs, macs) <= distance + 0.5)


def _decades(a: int, b: int) -> float:
    return abs(math.log10(a / b))


class Cost(NamedTuple):
    """A framework's part of the cost."""

    framework: str
    measured: int  # cells on which the rates rest
    training: float  # core-seconds, evaluation included
    starting: float


def cost(plan: Plan, cells: Sequence[Measured]) -> tuple[list[Cost], list[float]]:
    """The core-seconds by framework, and those of each group. A framework without committed runs has the median."""
    groups = [0.0] * len(plan.groups)
    costs = []
    for label in plan.frameworks:
        own = [cell for cell in cells if cell.framework == label]
        used = own or list(cells)
        once = median(cell.once for cell in used)
        tested = median(cell.evaluation for cell in used)
        training = 0.0
        for index, group in enumerate(plan.groups):
            network = plan.networks[group.net]
            step = STEP * network.macs / rate(used, network.macs)
            seconds = network.epochs * step * (network.train_size + tested * network.test_size)
            training += seconds
            groups[index] += seconds + once
        costs.append(Cost(label, len(own), training, once * len(plan.groups)))
    return costs, groups


def cost_text(plan: Plan, cells: Sequence[Measured], weights: int) -> str:
    """The tables. weights: bytes of the weights of all cells."""
    costs, groups = cost(plan, cells)
    rows = [
        (
            each.framework,
            count(each.measured) if each.measured else "none",
            *map(_hours, (each.training, each.starting)),
        )
        for each in costs
    ]
    total = sum(each.training + each.starting for each in costs)
    rows.append(
        (
            "all",
            count(len(cells)),
            _hours(sum(each.training for each in costs)),
            _hours(total - sum(each.training for each in costs)),
        )
    )
    memory = sorted(group.memory for group in plan.groups)
    fits = [f"{sum(each <= size * GIB for each in memory):,} in {size} GiB" for size in (8, 16, 32, 64)]
    epochs = sum(plan.networks[group.net].epochs for group in plan.groups) * len(plan.frameworks)
    megabytes = sum(data.download_megabytes for data in plan.data.values())
    by_group = sorted(groups)
    facts = [
        ("groups, cells, epochs", f"{len(groups):,}, {len(groups) * len(plan.frameworks):,}, {epochs:,}"),
        ("core-hours in all", _hours(total)),
        (
            "core-hours of the median group, of the longest",
            f"{by_group[len(groups) // 2] / 3600:,.2f}, {_hours(by_group[-1])}",
        ),
        (
            "days on 1, 16, 256 machines of 16 cores",
            ", ".join(_days(total, by_group[-1], machines) for machines in (1, 16, 256)),
        ),
        (
            "memory of the median group, of the largest (GiB)",
            f"{memory[len(memory) // 2] / GIB:.1f}, {memory[-1] / GIB:.0f}",
        ),
        ("groups that fit", ", ".join(fits)),
        ("records (MB)", count(median(cell.record for cell in cells) * epochs / 1e6)),
        ("weights with `--save` (GB)", count(weights / 1e9)),
        ("data sets to download (MB)", count(megabytes)),
        *_environments(),
    ]
    head = ("framework", "measured cells", "training (core-hours)", "starting (core-hours)")
    return f"{markdown(head, rows)}\n\n{markdown(('amount', 'value'), facts)}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.0f}"


def _days(total: float, longest: float, machines: int, cores: int = 16) -> str:
    """Days if all cores are used as well as one; no machine is done before the longest group is."""
    return f"{max(total / machines, longest) / cores / 86400:,.1f}"


def _environments() -> Iterator[tuple[str, str]]:
    """The size on disk of each framework's environment, if it is in this user's cache."""
    for name in in_all():
        info = FRAMEWORKS[name]
        parts = [f"{each.name}-{next(iter(each.specifier)).version}" for each in requirements(info, None, "cpu")]
        for path in sorted((cache_folder() / "environments").glob(f"{'-'.join(parts)}-py3*/bin/python"))[:1]:
            files = (file.lstat() for file in path.parents[1].rglob("*"))
            size = sum(status.st_size for status in files if stat.S_ISREG(status.st_mode))
            yield f"environment of {name} on disk (MB)", count(size / 1e6)


# --- the command ------------------------------------------------------------------------------------------------------


@command.research_command("research.scale")
@options.option(
    "--cells",
    type=options.Numbers(1, 1_000_000),
    default="1000,10000,100000",
    metavar="N,...",
    heading=command.HOW,
    help="Numbers of cells; each is rounded to whole seeds.",
)
@options.option("--shards", type=options.Count(1, 1000), default=16, metavar="N", heading=command.HOW, help="Shards.")
@options.option(
    "--epochs", type=options.EPOCHS, default=2, metavar="N", heading=command.HOW, help="Epochs of each cell."
)
@options.option(
    "--cost", is_flag=True, show_default=False, heading=command.HOW, help="Compute the cost of the catalog instead."
)
@options.option(
    "--seed-count",
    "seeds",
    type=options.Count(1, 1000),
    default=5,
    metavar="N",
    heading=command.HOW,
    help="Seeds, with --cost.",
)
@command.write
def main(cells: tuple[int, ...], shards: int, epochs: int, cost: bool, seeds: int, write: Path | None) -> ExitCode:
    """Measure how merging and reporting grow, or compute what the whole catalog costs."""
    command.check_page(write, "cost" if cost else "growth")
    if cost:
        text = _cost_page(seeds)
    else:
        with tempfile.TemporaryDirectory(prefix="onespec-scale-") as scratch:
            rows = []
            for number in cells:
                rows.append(growth(number, shards, epochs, Path(scratch) / str(number)))
                command.progress(str(rows[-1]))
        listed = ",".join(map(str, cells))
        used = f"`python -m research.scale --cells {listed} --shards {shards} --epochs {epochs}`"
        text = f"{growth_table(rows)}\n\n{used}; {command.machine()}."
    command.publish(text, write, "cost" if cost else "growth")
    return ExitCode.OK


def _cost_page(seeds: int) -> str:
    from benchmarks.runtime.networks import network

    request = TrainingRequest(("all",), "all", seeds=tuple(range(seeds)), threads=1, device="cpu")
    plan = planned(request, command.progress)
    found = committed(ROOT / "results")
    classes = {name: len(DATASETS[net.dataset].class_names) for name, net in plan.networks.items()}
    params = {name: network(net.requested, classes=classes[name]).params for name, net in plan.networks.items()}
    weights = sum(params[group.net] * 4 * len(plan.frameworks) for group in plan.groups)
    used = f"`python -m research.scale --cost --seed-count {seeds}`"
    runs = len({path.parent for path in (ROOT / "results").glob("*/run.json")})
    return f"{cost_text(plan, found, weights)}\n\n{used}, from {counted(runs, 'folder')} in `results/`."


if __name__ == "__main__":
    main(prog_name="python -m research.scale")
