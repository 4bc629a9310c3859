"""Merges the folders of shards into the folder of one run, if they are parts of one experiment.

The unit is a group: all frameworks of one network and one seed. A group is taken as a whole from one folder, so what is
compared within it ran on one machine.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.records import events, plans
from benchmarks.records.events import AnyEvent, End, Epoch, Start
from benchmarks.records.lock import NAME as LOCK
from benchmarks.records.lock import locked
from benchmarks.records.plans import Plan
from benchmarks.records.runs import DataInfo, GroupInfo, JobInfo, PartInfo, ShardInfo, TrainingRun
from benchmarks.records.store import RunFolder, file_name
from benchmarks.runtime.errors import BadInput

NAMED = 3  # differences in a message
KEPT = (("logs", "log"), ("weights", "npz"))  # files of a cell: folder and ending


@dataclass(frozen=True)
class ShardFolder:
    """The folder of a shard, read."""

    folder: RunFolder
    run: TrainingRun
    shard: ShardInfo
    plan: Plan
    events: Mapping[str, Sequence[AnyEvent]]  # by cell

    @property
    def path(self) -> Path:
        return self.folder.path

    def has_results(self, cells: Sequence[str]) -> bool:
        """Whether one of the cells has finished an epoch, or ended."""
        return any(isinstance(event, (Epoch, End)) for cell in cells for event in self.events.get(cell, ()))


def merge(
    paths: Sequence[Path], out: Path, command: Sequence[str], *, write_report: Callable[[RunFolder], object]
) -> tuple[RunFolder, list[str]]:
    """Write the run of these shards into a new folder; returns it with the groups that no shard has finished.

    command: recorded. write_report: called with the folder when it is complete. Raises BadInput if the folders are not
    shards of one experiment, if two of them have results of the same group, or if `out` is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise BadInput(f"--out {out}: it is not empty; name a new folder")
    for index, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:index]]:
            raise BadInput(f"FOLDER {path}: it is listed twice")
    shards = sorted(map(_read, paths), key=lambda shard: (shard.shard.count, shard.shard.number))
    for other in shards[1:]:
        _check_same_experiment(shards[0], other)
    _check_same_data(shards)
    _check_same_versions(shards)
    sources = _sources(shards)
    target = out.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    scratch.mkdir()
    try:
        folder = RunFolder(scratch)
        _write(folder, shards, sources, command)
        write_report(folder)
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return RunFolder(out), list(_unfinished(shards[0].plan, sources))


# --- what is refused --------------------------------------------------------------------------------------------------


def _read(path: Path) -> ShardFolder:
    """The folder of a shard. Raises BadInput if it is something else, is being written, or does not fit its plan."""
    folder = RunFolder.open(path, option="FOLDER")
    run = folder.training_run
    if run.shard is None:
        kind = "it was merged already; name its shards" if run.merged else "`onespec run --plan` makes one"
        raise BadInput(f"FOLDER {path}: not a shard of a plan; {kind}")
    if (path / LOCK).exists():
        with locked(path):
            pass  # a shard that is still running is refused
    plan = plans.read(path / plans.NAME)
    by_cell: dict[str, list[AnyEvent]] = {}
    for event in folder.events():
        by_cell.setdefault(event.cell, []).append(event)
    shard = ShardFolder(folder, run, run.shard, plan, by_cell)
    if found := list(itertools.islice(_departures(shard), NAMED)):
        raise BadInput(f"FOLDER {path}: not a shard of its {plans.NAME}: {', '.join(found)}")
    return shard


def _departures(shard: ShardFolder) -> Iterator[str]:
    """What a folder records otherwise than its plan says."""
    plan, run, part = shard.plan, shard.run, shard.shard
    if run.plan_sha256 != plan.sha256:
        yield "the digest of the plan differs"
    if part.groups != plan.group_infos:
        yield "its groups differ"
    own = plans.of_shard(part.number, part.count, plan.group_infos)
    expected = [job for group in own for job in plan.jobs(group)]
    if [job.cell for job in run.jobs] != [job.cell for job in expected]:
        yield "its cells differ"
    else:
        for job, planned in zip(run.jobs, expected):
            recorded = msgspec.structs.replace(job, weights_sha256=None, version=None)
            yield from (f"{job.cell}.{place}" for place in plans.differences(recorded, planned))
    if unknown := shard.events.keys() - {job.cell for job in expected}:
        yield f"results of {min(unknown):.80}, which is not one of its cells"
    images = {name: data for name, data in run.data.items() if data.images}
    for name, data in images.items():
        if name not in plan.data or plan.data[name].sha256 != data.sha256:
            yield f"data.{name}"


def _check_same_experiment(a: ShardFolder, b: ShardFolder) -> None:
    """Raise BadInput if two shards have different plans or ran different code."""
    places = [
        *(f"plan: {place}" for place in plans.differences(a.plan, b.plan)),
        *(f"code: {place}" for place in plans.differences(a.shard.code, b.shard.code)),
    ]
    if places:
        more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
        raise BadInput(f"{a.path} and {b.path}: not one experiment: {', '.join(places[:NAMED])}{more} differ")


def _check_same_data(shards: Sequence[ShardFolder]) -> None:
    """Raise BadInput if two shards read different bytes of a data set. Without a source, a shard has read none."""
    known: dict[str, tuple[ShardFolder, DataInfo]] = {}
    for shard in shards:
        for name, data in shard.run.data.items():
            if data.source:
                first, other = known.setdefault(name, (shard, data))
                if data.sha256 != other.sha256:
                    raise BadInput(f"{first.path} and {shard.path}: not one experiment: data: {name} differ")


def _check_same_versions(shards: Sequence[ShardFolder]) -> None:
    """Raise BadInput if a framework reported other package versions in another shard."""
    known: dict[str, tuple[ShardFolder, Mapping[str, str]]] = {}
    for shard in shards:
        for job in shard.run.jobs:
            for event in shard.events.get(job.cell, ()):
                if isinstance(event, Start):
                    first, versions = known.setdefault(job.framework, (shard, event.versions))
                    if differing := list(plans.differences(dict(versions), dict(event.versions))):
                        name = differing[0]
                        raise BadInput(
                            f"{first.path} and {shard.path}: not one experiment: {job.framework} ran with {name} "
                            f"{versions.get(name, 'missing')} and {event.versions.get(name, 'missing')}"
                        )


# --- the merged run ---------------------------------------------------------------------------------------------------


def _sources(shards: Sequence[ShardFolder]) -> dict[GroupInfo, ShardFolder | None]:
    """The folder from which each group of the plan is taken; None if no folder has the group.

    Raises BadInput if two folders have results of a group.
    """
    plan, sources = shards[0].plan, dict[GroupInfo, ShardFolder | None]()
    for group in plan.group_infos:
        cells = _cells(plan, group)
        having = [shard for shard in shards if cells[0] in {job.cell for job in shard.run.jobs}]
        results = [shard for shard in having if shard.has_results(cells)]
        if len(results) > 1:
            raise BadInput(f"{results[0].path} and {results[1].path}: both have results of {group}; leave one out")
        sources[group] = next(iter([*results, *having]), None)
    return sources


def _cells(plan: Plan, group: GroupInfo) -> list[str]:
    return [job.cell for job in plan.jobs(group)]


def _write(
    folder: RunFolder,
    shards: Sequence[ShardFolder],
    sources: Mapping[GroupInfo, ShardFolder | None],
    command: Sequence[str],
) -> None:
    """Write the records of the merged run, and copy the files of its cells."""
    first, plan = shards[0], shards[0].plan
    jobs: list[JobInfo] = []
    lines: list[str] = []
    for group, source in sources.items():
        if source is None:
            jobs += plan.jobs(group)
            continue
        recorded = {job.cell: job for job in source.run.jobs}
        for cell in _cells(plan, group):
            jobs.append(recorded[cell])
            lines += [json.dumps(events.to_json(event)) + "\n" for event in source.events.get(cell, ())]
            _copy_files(cell, source.path, folder.path)
    parts = list(_parts(shards, sources))
    seconds = [shard.run.wall_seconds for shard in shards if shard.run.wall_seconds is not None]
    loads = [part.cpu_load for part in parts if part.cpu_load is not None]
    commits = {shard.run.commit for shard in shards}
    folder.write("cells.jsonl", "".join(lines))
    folder.write(plans.NAME, plan.text)
    folder.write_info(
        TrainingRun(
            began=first.run.began,
            command=list(command),
            request=first.run.request,
            machine=parts[0].machine if parts else first.run.machine,
            commit=commits.pop() if len(commits) == 1 else None,
            data=_data(shards),
            jobs=jobs,
            cpu_load=max(loads, default=None),
            wall_seconds=sum(seconds) if len(seconds) == len(shards) else None,
            plan_sha256=plan.sha256,
            parts=parts,
        )
    )


def _data(shards: Sequence[ShardFolder]) -> dict[str, DataInfo]:
    """The data sets of all shards, each from a shard that has read it, if there is one."""
    data: dict[str, DataInfo] = {}
    for shard in shards:
        for name, info in shard.run.data.items():
            if name not in data or not data[name].source:
                data[name] = info
    return data


def _parts(shards: Sequence[ShardFolder], sources: Mapping[GroupInfo, ShardFolder | None]) -> Iterator[PartInfo]:
    """The cells with results by shard and machine, in the order of the plan."""
    for shard in shards:
        own = [group for group, source in sources.items() if source is shard]
        cells = [cell for group in own for cell in _cells(shard.plan, group) if shard.has_results([cell])]
        machines = {cell: shard.run.machine_of(cell) for cell in cells}
        for machine in dict.fromkeys(machines.values()):
            yield PartInfo(
                machine=machine,
                began=shard.run.began,
                commit=shard.run.commit,
                cpu_load=shard.run.cpu_load,
                cells=[cell for cell in cells if machines[cell] == machine],
            )


def _copy_files(cell: str, source: Path, target: Path) -> None:
    """Copy the log and the weights of a cell, where there are some. Links are not followed: a folder is data."""
    for folder, ending in KEPT:
        name = Path(folder) / f"{file_name(cell)}.{ending}"
        if (source / name).is_file() and not (source / name).is_symlink():
            (target / folder).mkdir(exist_ok=True)
            shutil.copyfile(source / name, target / name)


def _unfinished(plan: Plan, sources: Mapping[GroupInfo, ShardFolder | None]) -> Iterator[str]:
    """The groups that are missing or not finished, in words."""
    for group, source in sources.items():
        cells = _cells(plan, group)
        if source is None:
            yield f"{group}: in none of the folders"
        else:
            ended = [
                cell for cell in cells if any(isinstance(event, End) for event in source.events.get(cell, ())[-1:])
            ]
            if len(ended) < len(cells):
                yield f"{group}: unfinished in {source.path}"
