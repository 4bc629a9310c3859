"""Trains networks side by side in several frameworks, and reports.

All frameworks start from the same weights and train on the same images in the same order. Their workers are
interleaved epoch by epoch.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from benchmarks.datasets.registry import Dataset
from benchmarks.records import plans
from benchmarks.records.lock import locked
from benchmarks.records.runs import DataInfo, JobInfo, PartInfo, TrainingRun
from benchmarks.records.store import CellRecord, RunFolder
from benchmarks.runtime import checkout, cpu_load, devices, gpu_state
from benchmarks.runtime.environments import Environment, check_cache, environment, parse_frameworks
from benchmarks.runtime.errors import BadInput, WorkerFailed
from benchmarks.runtime.interleaving import interleaved
from benchmarks.runtime.machine import Machine
from benchmarks.runtime.plugins import register
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.training import code_references
from benchmarks.training.jobs import Job, describe, weights_sha256
from benchmarks.training.kept_states import AtAPrice
from benchmarks.training.plan import TrainingRequest, plan, too_large
from benchmarks.training.progress import Progress
from benchmarks.training.shards import Shard, data_infos, shard_groups, shard_of
from benchmarks.training.trainer import CellTrainer, checkpoint
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS


def environments(
    frameworks: str, pythons: Mapping[str, str], device: str, progress: Progress
) -> dict[str, Environment | str]:
    """Each framework's environment by its label, or the reason why there is none. Raises BadInput."""
    result: dict[str, Environment | str] = {}
    for framework in parse_frameworks(frameworks):
        progress.preparation(f"{framework.label}: locating the environment")
        try:
            result[framework.label] = environment(
                framework, pythons, device=devices.kind(device), progress=progress.message
            )
        except Unavailable as error:
            result[framework.label] = str(error)
            progress.message(f"{framework.label}: {error}")
    return result


def execute(
    request: TrainingRequest,
    progress: Progress,
    out: Path,
    resume: Path | None = None,
    command: Sequence[str] = ("run(...)",),
    *,
    shard: Shard | None = None,
    write_report: Callable[[RunFolder], object],
    on_folder: Callable[[RunFolder], object] = lambda folder: None,
) -> RunFolder:
    """Train all cells of a request and write the report, also when the run is stopped.

    out: where the run's folder is created. resume: the folder of a run to continue instead. command: recorded.
    shard: the part of a plan that is run; None: the whole request, or what the folder of `resume` holds.
    write_report: called with the folder at the end, also when the run is stopped. on_folder: called with the folder
    when it holds what a later `resume` needs.
    Raises BadInput and DataError. A framework that is unavailable or fails becomes a row with its reason.
    """
    register(request.adapters)
    check_cache()
    shard = shard_of(RunFolder.open(resume)) if resume else shard
    groups, data = shard_groups(shard, request, progress.message) if shard else plan(request, progress.message)
    code_references.register(code_references.references(request.net, request.adapters, request.pythons))
    name = request.experiment or "-".join(request.net)
    if shard:
        name = f"shard-{shard.number}-of-{shard.count}-{name}"
    folder = RunFolder.open(resume) if resume else RunFolder.create(out, name)
    try:
        with locked(folder.path):
            _train(request, shard, groups, data, folder, resume, progress, command, write_report, on_folder)
    finally:
        if not resume and not (folder.path / "run.json").exists():
            folder.discard()
    return folder


def _train(
    request: TrainingRequest,
    shard: Shard | None,
    groups: Sequence[Sequence[Job]],
    data: Mapping[str, Dataset],
    folder: RunFolder,
    resume: Path | None,
    progress: Progress,
    command: Sequence[str],
    write_report: Callable[[RunFolder], object],
    on_folder: Callable[[RunFolder], object],
) -> None:
    """Train the planned cells that the folder does not hold yet. The lock on the folder is held."""
    processes = cpu_load.process_times()
    jobs = [describe(job) for group in groups for job in group]
    if resume:
        _check_same_data(folder, data)
        _check_same_jobs(folder, jobs)
        recorded = folder.training_run.jobs
        jobs = [msgspec.structs.replace(job, weights_sha256=then.weights_sha256) for job, then in zip(jobs, recorded)]
        _check_checkpoints(folder)
        folder.repair()
        on_folder(folder)
    device = groups[0][0].device
    places = environments(request.frameworks, request.pythons, device, progress)
    machine = Machine.here(device)
    if hint := cpu_load.hint_since(processes, machine.cores or 1):
        progress.message(hint)
    if hint := gpu_state.hint(device):
        progress.message(hint)
    earlier = folder.training_run if resume else None
    described = {name: DataInfo(one.sha256, one.published, one.source, one.images) for name, one in data.items()}
    if shard:
        described = data_infos(shard) | described
        folder.write(plans.NAME, shard.plan.text)
    info = TrainingRun(
        began=earlier.began if earlier else datetime.now().astimezone().isoformat(timespec="seconds"),
        command=earlier.command if earlier else list(command),
        request=request.info,
        machine=machine,
        commit=checkout.commit(),
        data=described,
        jobs=jobs,
        wall_seconds=earlier.wall_seconds if earlier else None,
        plan_sha256=shard.plan.sha256 if shard else None,
        shard=shard.info if shard else None,
        parts=_earlier_parts(folder, earlier, machine) if earlier else [],
    )
    folder.write_info(info)
    if not resume:
        on_folder(folder)
    try:
        began, before = time.monotonic(), cpu_load.cpu_times()
        for group in groups:
            info = _with_weights(info, group)
            folder.write_info(info)
            _run_group(group, data, folder, places, request, progress)
        load = cpu_load.load_of_others(before, cpu_load.cpu_times(), info.machine.cores or 1)
        seconds = (info.wall_seconds or 0.0) + time.monotonic() - began
        folder.write_info(msgspec.structs.replace(info, cpu_load=load, wall_seconds=seconds))
    finally:
        write_report(folder)


def _earlier_parts(folder: RunFolder, earlier: TrainingRun, machine: Machine) -> list[PartInfo]:
    """The cells that other machines than this one have finished, before the run is resumed here."""
    known = {cell for part in earlier.parts for cell in part.cells}
    finished = [cell for cell, record in folder.records().items() if record.finished and cell not in known]
    if earlier.machine == machine or not finished:
        return earlier.parts
    part = PartInfo(machine=earlier.machine, began=earlier.began, commit=earlier.commit, cells=finished)
    return [*earlier.parts, part]


def _with_weights(info: TrainingRun, group: Sequence[Job]) -> TrainingRun:
    """The record with the digest of the group's initial weights, which are the same in every framework.

    Nothing is drawn for a group that does not fit into memory: its cells will be unavailable.
    """
    if too_large(group):
        return info
    digest, cells = weights_sha256(group[0]), {job.cell for job in group}
    jobs = [msgspec.structs.replace(job, weights_sha256=digest) if job.cell in cells else job for job in info.jobs]
    return msgspec.structs.replace(info, jobs=jobs)


def _run_group(
    group: Sequence[Job],
    data: Mapping[str, Dataset],
    folder: RunFolder,
    places: Mapping[str, Environment | str],
    request: TrainingRequest,
    progress: Progress,
) -> None:
    """Train the cells of a network and a seed side by side."""
    records = folder.records()
    with TemporaryFolder("train") as scratch, contextlib.ExitStack() as stack:
        cells = []
        for job in group:
            record = records.get(job.cell, CellRecord())
            _remove_other_states(folder, job.cell, record)
            keeping = AtAPrice(job.network, job.training)
            cell = CellTrainer(job, data[job.dataset], folder, scratch, record, request.save, keeping)
            cells.append(stack.enter_context(cell))
        unfinished = [cell for cell in cells if not cell.ended]
        if reason := too_large([cell.job for cell in unfinished]):
            for cell in unfinished:
                cell.fail("unavailable", reason)
                progress.cell_failed(cell.job.cell, reason)
        elif unfinished:
            side_by_side(unfinished, places, request.timeout, progress)


def _remove_other_states(folder: RunFolder, cell: str, record: CellRecord) -> None:
    """Remove the states of a cell but the one from which it goes on: a stop may leave one that no event names."""
    kept = 0 if record.finished else record.kept
    first = checkpoint(folder, cell, 0)
    start = first.stem.removesuffix("0")
    for path in first.parent.glob("*.npz"):
        epoch = path.stem.removeprefix(start)
        if epoch != path.stem and epoch.isdecimal() and int(epoch) != kept:
            path.unlink()


def side_by_side(
    cells: Sequence[CellTrainer], places: Mapping[str, Environment | str], timeout: float, progress: Progress
) -> None:
    """Open the cells, interleave them epoch by epoch, finish them. A cell that fails does not stop the others."""
    launch = time.time_ns()
    for cell in cells:
        with _failure_recorded(cell, progress):
            progress.preparation(f"{cell.job.cell}: starting the worker")
            place = places[cell.job.framework]
            if isinstance(place, str):
                raise Unavailable(place)
            cell.open(place.python, FRAMEWORKS[parse_frameworks(cell.job.framework)[0].name], timeout)
    epochs = cells[0].job.epochs
    with progress.start_cells([cell.job.cell for cell in cells], epochs, [cell.epoch for cell in cells]):
        for number, order in interleaved(cells, epochs):
            for cell in order:
                if not cell.ended and cell.epoch == number:
                    with _failure_recorded(cell, progress):
                        progress.epoch_finished(cell.train_epoch(launch, progress.advance))
    for cell in cells:
        if not cell.ended:
            with _failure_recorded(cell, progress):
                cell.finish()


@contextlib.contextmanager
def _failure_recorded(cell: CellTrainer, progress: Progress) -> Iterator[None]:
    """Record an error that ends a cell, and go on."""
    try:
        yield
    except (Unavailable, WorkerFailed) as error:
        cell.fail("unavailable" if isinstance(error, Unavailable) else "failed", str(error))
        progress.cell_failed(cell.job.cell, str(error))


def _check_same_jobs(folder: RunFolder, jobs: Sequence[JobInfo]) -> None:
    """Raise BadInput unless the jobs of the folder are those that would run now."""
    recorded = folder.training_run.jobs
    if [job.cell for job in recorded] != [job.cell for job in jobs]:
        raise BadInput(f"--resume {folder.path}: its request no longer gives the cells that it records; run it again")
    for then, now in zip(recorded, jobs):
        then = msgspec.structs.replace(then, weights_sha256=None, version=None)
        changed = [name for name in now.__struct_fields__ if getattr(then, name) != getattr(now, name)]
        if changed:
            raise BadInput(
                f"--resume {folder.path}: {now.cell} would now be trained differently: {', '.join(changed)} changed"
            )


def _check_same_data(folder: RunFolder, data: Mapping[str, Dataset]) -> None:
    """Raise BadInput unless the data sets have the digests that the folder records."""
    for name, recorded in folder.training_run.data.items():
        if name in data and (changed := _changed(recorded.sha256, data[name].sha256)):
            raise BadInput(f"--resume {folder.path}: {name} changed since the run began ({changed}); start a new run")


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    return ", ".join(sorted(name for name in {*then, *now} if then.get(name) != now.get(name)))


def _check_checkpoints(folder: RunFolder) -> None:
    """Raise BadInput unless every unfinished cell has the state that was kept last."""
    for cell, record in folder.records().items():
        path = checkpoint(folder, cell, record.kept)
        if record.kept and not record.finished and not path.is_file():
            raise BadInput(
                f"--resume {folder.path}: {path.relative_to(folder.path)} is missing, without which {cell} cannot "
                "continue; put it back, or start a new run"
            )
