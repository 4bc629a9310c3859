"""Train networks side by side in every framework, and report.

    python -m benchmarks.run --net lenet --fw all

The frameworks' workers take turns epoch by epoch on the same pictures in the same order, from the same weights.
From Python: `frame = run(net="lenet", frameworks=["torch", "mxnet"])` gives the table of cells as a DataFrame.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.cli.progress import ProgressDisplay
from benchmarks.datasets.registry import Dataset
from benchmarks.records import store
from benchmarks.records.store import Folder
from benchmarks.reporting import run_report
from benchmarks.runtime import cpu_load
from benchmarks.runtime.environments import Environment, environment, parse_frameworks
from benchmarks.runtime.errors import BadInput, WorkerFailed
from benchmarks.runtime.interleaving import interleaved
from benchmarks.runtime.plugins import register
from benchmarks.training.plan import Request, described, plan, too_large
from benchmarks.training.trainer import Cell, Job, weights_sha256
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS


def environments(request: Request, device: str, progress: ProgressDisplay) -> dict[str, Environment | str]:
    """Each framework's interpreter by label, or why it cannot be had."""
    found: dict[str, Environment | str] = {}
    for one in parse_frameworks(request.frameworks):
        progress.preparation(f"{one.label}: looking for its environment")
        try:
            found[one.label] = environment(one, request.pythons, device=device, progress=progress.message)  # type: ignore[arg-type]
        except Unavailable as error:
            found[one.label] = str(error)
            progress.message(f"{one.label}: {error}")
    return found


def side_by_side(
    cells: Sequence[Cell], found: Mapping[str, Environment | str], timeout: float, progress: ProgressDisplay
) -> None:
    """Open the cells, let them take turns epoch by epoch, finish them. A cell that fails does not stop the others."""
    launch = time.time_ns()
    for cell in cells:
        with _recorded(cell, progress):
            progress.preparation(f"{cell.job.cell}: starting the worker")
            place = found[cell.job.framework]
            if isinstance(place, str):
                raise Unavailable(place)
            cell.open(place.python, FRAMEWORKS[parse_frameworks(cell.job.framework)[0].name], timeout)
    epochs = cells[0].job.epochs
    with progress.start_cells([cell.job.cell for cell in cells], epochs, [cell.epoch for cell in cells]):
        for number, order in interleaved(cells, epochs):
            for cell in order:
                if not cell.over and cell.epoch == number:
                    with _recorded(cell, progress):
                        progress.epoch_finished(cell.job.cell, cell.train_epoch(launch, progress.advance))
    for cell in cells:
        if not cell.over:
            with _recorded(cell, progress):
                cell.finish()


@contextlib.contextmanager
def _recorded(cell: Cell, progress: ProgressDisplay) -> Iterator[None]:
    """What ends a cell before its time becomes its record."""
    try:
        yield
    except (Unavailable, WorkerFailed) as error:
        cell.fail("unavailable" if isinstance(error, Unavailable) else "failed", str(error))
        progress.cell_failed(cell.job.cell, str(error))


def execute(
    request: Request,
    progress: ProgressDisplay,
    out: Path,
    resume: Path | None = None,
    command: Sequence[str] = ("run(...)",),
) -> Folder:
    """Run all that is asked for and write the report; also when stopped half-way."""
    register(request.adapters)
    groups, data = plan(request, progress)
    jobs = [described(job) for group in groups for job in group]
    folder = _resumed(resume, jobs) if resume else Folder.create(out, request.experiment or "-".join(request.net))
    try:
        found = environments(request, groups[0][0].device, progress)
    except BadInput:
        if not resume:
            folder.discard()
        raise
    run: dict[str, Any] = folder.run if resume else {"began": datetime.now().astimezone().isoformat(timespec="seconds")}
    run |= {
        "command": run.get("command") or command,
        "request": dataclasses.asdict(request),
        "machine": store.machine(),
        "commit": store.commit(),
        "data": {name: {"sha256": found.sha256, "published": found.published, "source": found.source}
                 for name, found in data.items()},
        "jobs": jobs,
    }  # fmt: skip
    folder.write_run(run)
    try:
        began, before = time.monotonic(), cpu_load.now()
        for group in groups:
            digest = weights_sha256(group[0])  # the same in every framework
            for entry in run["jobs"]:
                if entry["cell"] in {job.cell for job in group}:
                    entry["weights_sha256"] = digest
            folder.write_run(run)
            _run_group(group, data, folder, found, request, progress)
        run["others"] = cpu_load.share(before, cpu_load.now(), run["machine"]["cores"])
        folder.write_run({**run, "wall_seconds": run.get("wall_seconds", 0) + time.monotonic() - began})
    finally:
        run_report.write(folder)
    return folder


def _run_group(
    group: Sequence[Job],
    data: Mapping[str, Dataset],
    folder: Folder,
    found: Mapping[str, Environment | str],
    request: Request,
    progress: ProgressDisplay,
) -> None:
    histories = folder.histories()
    with tempfile.TemporaryDirectory(prefix="onespec-") as scratch, contextlib.ExitStack() as stack:
        cells = [
            Cell(job, data[job.dataset], folder, Path(scratch), histories.get(job.cell, store.History()), request.save)
            for job in group
        ]
        for cell in cells:
            stack.callback(cell.close)
        living = [cell for cell in cells if not cell.over]
        if reason := too_large([cell.job for cell in living]):
            for cell in living:
                cell.fail("unavailable", reason)
                progress.cell_failed(cell.job.cell, reason)
        elif living:
            side_by_side(living, found, request.timeout, progress)


def _resumed(path: Path, jobs: Sequence[dict[str, Any]]) -> Folder:
    """The folder to go on with, if what it describes is what would be run now."""
    folder = Folder.open(path)
    for then, now in zip(folder.run["jobs"], jobs, strict=True):
        changed = [name for name in now if then.get(name) != now[name]]
        if changed:
            raise BadInput(f"--resume {path}: {now['cell']} is another computation now: {', '.join(changed)} changed")
    folder.mend()
    return folder


def run(
    net: str | Sequence[str] = "lenet",
    frameworks: str | Sequence[str] = "all",
    *,
    out: str | Path = "results",
    quiet: bool = True,
    seeds: int | Sequence[int] = (0,),
    **options: Any,
) -> pd.DataFrame:
    """What the command does, from Python: the table of cells, a row per network, framework and seed.

    Options are those of `Request`. BadInput, DataError: as the command's exit status 2 and 3. An unavailable framework
    or a failed cell is a row with its reason.
    """
    request = Request(
        net=(net,) if isinstance(net, str) else tuple(net),
        frameworks=frameworks if isinstance(frameworks, str) else ",".join(frameworks),
        seeds=(seeds,) if isinstance(seeds, int) else tuple(seeds),
        **options,
    )
    return run_report.frame(execute(request, ProgressDisplay(quiet), Path(out)))
