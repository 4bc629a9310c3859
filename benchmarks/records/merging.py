"""Merges the folders of shards into the folder of one run, if they are parts of one experiment.

The unit is a group: all frameworks of one network and one seed. A group is taken as a whole from one folder, so what is
compared within it ran on one machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.records import json_files, plans
from benchmarks.records.events import AnyEvent, End, Epoch, Start
from benchmarks.records.lock import NAME as LOCK
from benchmarks.records.lock import locked
from benchmarks.records.plans import Plan
from benchmarks.records.runs import DataInfo, GroupInfo, JobInfo, PartInfo, ShardInfo, TrainingRun
from benchmarks.records.store import RunFolder, collector_paused, file_name
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.machine import Machine

NAMED = 3  # differences in a message
KEPT = (("logs", "log"), ("weights", "npz"))  # files of a cell: folder and ending


@dataclass
class CellLines:
    """The lines of a cell in `cells.jsonl`, and what they say of its state."""

    lines: list[str] = field(default_factory=list)
    has_results: bool = False  # it has finished an epoch, or ended
    ended: bool = False
    finished: bool = False  # ended as requested: it will not run again
    versions: Mapping[str, str] = field(default_factory=dict)  # of packages, when it last started

    def add(self, line: str, event: AnyEvent) -> None:
        """Take the next line and its event."""
        self.lines.append(line if line.endswith("\n") else f"{line}\n")
        self.ended = isinstance(event, End)
        self.finished = isinstance(event, End) and event.status == "ok"
        self.has_results |= isinstance(event, (Epoch, End))
        if isinstance(event, Start):
            self.versions = event.versions


@dataclass(frozen=True)
class ShardFolder:
    """The folder of a shard, read."""

    path: Path
    run: TrainingRun
    shard: ShardInfo
    plan: Plan
    plan_sha256: str
    cells: Mapping[str, CellLines]  # those that have started

    def has_results(self, cells: Sequence[str]) -> bool:
        """Whether one of the cells has finished an epoch, or ended."""
        return any(self.cells[cell].has_results for cell in cells if cell in self.cells)

    def has_ended(self, cells: Sequence[str]) -> bool:
        """Whether all of the cells have ended."""
        return all(cell in self.cells and self.cells[cell].ended for cell in cells)


class _Plans:
    """Plans by the bytes of their files: the shards of an experiment have the same plan, which is read once."""

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[Plan, str]] = {}

    def read(self, path: Path) -> tuple[Plan, str]:
        """The plan in a file, and its digest. Raises BadInput."""
        try:
            key = hashlib.sha256(path.read_bytes()).digest()
        except OSError as error:
            raise BadInput(f"{path}: cannot be read: {json_files.one_line(error)}") from None
        if key not in self.known:
            plan = plans.read(path)
            self.known[key] = plan, plan.sha256
        return self.known[key]


@collector_paused()
def merge(
    paths: Sequence[Path], out: Path, command: Sequence[str], *, write_report: Callable[[RunFolder], object]
) -> tuple[RunFolder, list[str]]:
    """Write the run of these shards into a new folder; returns it with the groups that no shard has finished.

    command: recorded. write_report: called with the folder when it is complete. Raises BadInput if the folders are not
    shards of one experiment, if two of them have results of the same group, or if `out` is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise BadInput(f"--out {out}: it is not empty; name a new folder")
    listed: set[Path] = set()
    for path in paths:
        if path.resolve() in listed:
            raise BadInput(f"FOLDER {path}: it is listed twice")
        listed.add(path.resolve())
    known = _Plans()
    shards = sorted((_read(path, known) for path in paths), key=lambda shard: (shard.shard.count, shard.shard.number))
    for other in shards[1:]:
        if other.plan is not shards[0].plan or other.shard.code != shards[0].shard.code:
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
        unfinished = list(_unfinished(shards[0].plan, sources))
        shards.clear()  # their records are written; the report reads them again
        sources.clear()
        write_report(folder)
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return RunFolder(out), unfinished


# --- what is refused --------------------------------------------------------------------------------------------------


def _read(path: Path, known: _Plans) -> ShardFolder:
    """The folder of a shard. Raises BadInput if it is something else, is being written, or does not fit its plan."""
    folder = RunFolder.open(path, option="FOLDER")
    run = folder.training_run
    if run.shard is None:
        kind = "it was merged already; name its shards" if run.merged else "`onespec run --plan` makes one"
        raise BadInput(f"FOLDER {path}: not a shard of a plan; {kind}")
    if (path / LOCK).exists():
        with locked(path):
            pass  # a shard that is still running is refused
    plan, digest = known.read(path / plans.NAME)
    cells: dict[str, CellLines] = {}
    for line, event in folder.lines():
        cells.setdefault(event.cell, CellLines()).add(line, event)
    shard = ShardFolder(path, run, run.shard, plan, digest, cells)
    if found := list(itertools.islice(_departures(shard), NAMED)):
        raise BadInput(f"FOLDER {path}: not a shard of its {plans.NAME}: {', '.join(found)}")
    return shard


def _departures(shard: ShardFolder) -> Iterator[str]:
    """What a folder records otherwise than its plan says."""
    plan, run, part = shard.plan, shard.run, shard.shard
    if run.plan_sha256 != shard.plan_sha256:
        yield "the digest of the plan differs"
    own = plans.of_shard(part.number, part.count, plan.groups)
    expected = [job for group in own for job in plan.jobs(group)]
    if [job.cell for job in run.jobs] != [job.cell for job in expected]:
        yield "its cells differ"
    else:
        for job, planned in zip(run.jobs, expected):
            recorded = msgspec.structs.replace(job, weights_sha256=None, version=None)
            if recorded != planned:
                yield from (f"{job.cell}.{place}" for place in plans.differences(recorded, planned))
    if unknown := shard.cells.keys() - {job.cell for job in expected}:
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
            own = shard.cells[job.cell].versions if job.cell in shard.cells else {}
            if not own:
                continue
            first, versions = known.setdefault(job.framework, (shard, own))
            if own != versions:
                name = next(plans.differences(dict(versions), dict(own)))
                raise BadInput(
                    f"{first.path} and {shard.path}: not one experiment: {job.framework} ran with {name} "
                    f"{versions.get(name, 'missing')} and {own.get(name, 'missing')}"
                )


# --- the merged run ---------------------------------------------------------------------------------------------------


def _sources(shards: Sequence[ShardFolder]) -> dict[GroupInfo, ShardFolder | None]:
    """The folder from which each group of the plan is taken; None if no folder has the group.

    Raises BadInput if two folders have results of a group.
    """
    plan, sources = shards[0].plan, dict[GroupInfo, ShardFolder | None]()
    having: dict[str, list[ShardFolder]] = {}
    for shard in shards:
        for job in shard.run.jobs:
            having.setdefault(job.cell, []).append(shard)
    for group in plan.group_infos:
        cells = plan.cells(group)
        candidates = having.get(cells[0], [])
        results = [shard for shard in candidates if shard.has_results(cells)]
        if len(results) > 1:
            raise BadInput(f"{results[0].path} and {results[1].path}: both have results of {group}; leave one out")
        sources[group] = next(iter([*results, *candidates]), None)
    return sources


def _write(
    folder: RunFolder,
    shards: Sequence[ShardFolder],
    sources: Mapping[GroupInfo, ShardFolder | None],
    command: Sequence[str],
) -> None:
    """Write the records of the merged run, and copy the files of its cells."""
    first, plan = shards[0], shards[0].plan
    recorded = {shard.path: {job.cell: job for job in shard.run.jobs} for shard in shards}
    files = {shard.path: _files(shard.path) for shard in shards}
    jobs: list[JobInfo] = []
    for name, _ in KEPT:
        if any(path.startswith(f"{name}/") for own in files.values() for path in own):
            (folder.path / name).mkdir()
    with folder.cells.open("w", encoding="utf-8", newline="\n") as file:
        for group, source in sources.items():
            if source is None:
                jobs += plan.jobs(group)
                continue
            for cell in plan.cells(group):
                jobs.append(recorded[source.path][cell])
                own = source.cells.get(cell, CellLines())
                file.writelines(own.lines)
                for name in _names(cell):
                    if name in files[source.path]:
                        _copy(f"{source.path}/{name}", f"{folder.path}/{name}", link=own.finished)
    parts = list(_parts(shards, sources))
    seconds = [shard.run.wall_seconds for shard in shards if shard.run.wall_seconds is not None]
    loads = [part.cpu_load for part in parts if part.cpu_load is not None]
    commits = {shard.run.commit for shard in shards}
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
            plan_sha256=first.plan_sha256,
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
    groups: dict[Path, list[GroupInfo]] = {}
    for group, source in sources.items():
        if source is not None:
            groups.setdefault(source.path, []).append(group)
    for shard in shards:
        known = shard.run.machine_by_cell
        cells: dict[Machine, list[str]] = {}
        for cell in (cell for group in groups.get(shard.path, ()) for cell in shard.plan.cells(group)):
            if shard.has_results([cell]):
                cells.setdefault(known.get(cell, shard.run.machine), []).append(cell)
        for machine, own in cells.items():
            yield PartInfo(
                machine=machine,
                began=shard.run.began,
                commit=shard.run.commit,
                cpu_load=shard.run.cpu_load,
                cells=own,
            )


def _names(cell: str) -> list[str]:
    """The log and the weights of a cell, relative to the folder of a run."""
    return [f"{folder}/{file_name(cell)}.{ending}" for folder, ending in KEPT]


def _copy(source: str, target: str, *, link: bool) -> None:
    """Copy a file. link: nobody will write it, so both folders may hold the same file, where one disk has both."""
    if link:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def _files(path: Path) -> set[str]:
    """The logs and weights in a shard's folder. Links are left out: a folder is data."""
    found: set[str] = set()
    for name, _ in KEPT:
        if (path / name).is_dir() and not (path / name).is_symlink():
            with os.scandir(path / name) as entries:
                found |= {f"{name}/{entry.name}" for entry in entries if entry.is_file(follow_symlinks=False)}
    return found


def _unfinished(plan: Plan, sources: Mapping[GroupInfo, ShardFolder | None]) -> Iterator[str]:
    """The groups that are missing or not finished, in words."""
    for group, source in sources.items():
        if source is None:
            yield f"{group}: in none of the folders"
        elif not source.has_ended(plan.cells(group)):
            yield f"{group}: unfinished in {source.path}"
