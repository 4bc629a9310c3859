"""Plans a training run for several machines, and selects the groups of a shard.

The unit of work is a group: all frameworks of one network and one seed. They are interleaved on one machine, so their
ratios of speed never compare two machines. A shard runs only if this checkout, its files and its images give exactly
the cells of the plan, computed by the same code.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.certification.covered_code import code_parts, code_sha256
from benchmarks.datasets.registry import DATASETS, Dataset, dataset
from benchmarks.records import plans
from benchmarks.records.plans import Plan, PlannedData, PlannedFramework, PlannedGroup, PlannedNetwork
from benchmarks.records.runs import DataInfo, ShardInfo, TrainingRequestInfo
from benchmarks.records.store import RunFolder
from benchmarks.runtime import devices, user_files
from benchmarks.runtime.environments import parse_frameworks, pinned_version
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.plugins import register
from benchmarks.training import code_references
from benchmarks.training.jobs import Job, describe
from benchmarks.training.plan import TrainingRequest, cell_bytes, check_memory, plan
from benchmarks.training.recipes import Recipe
from frameworks.registry import FRAMEWORKS

STEP = 3  # multiply-adds of a training step over those of a forward pass: forward, and two gradients
NAMED = 3  # differences in a message


@dataclass(frozen=True)
class Shard:
    """A part of a plan. source: where the plan comes from, as the start of messages."""

    plan: Plan
    number: int  # from 1
    count: int
    source: str

    @property
    def info(self) -> ShardInfo:
        """The shard as `run.json` records it."""
        code = {label: code_sha256(framework.code) for label, framework in self.plan.frameworks.items()}
        return ShardInfo(number=self.number, count=self.count, code=code)


def planned(request: TrainingRequest, note: Callable[[str], None]) -> Plan:
    """The plan of a request. Reads no published data and starts no framework. Raises BadInput and DataError."""
    register(request.adapters)
    groups, data = plan(request, note, elsewhere=True)
    code_references.register(code_references.references(request.net, request.adapters, {}))
    return Plan(
        request=msgspec.structs.replace(request.info, device=groups[0][0].device),
        frameworks=_frameworks(request),
        data={name: _data(each) for name, each in data.items()},
        networks=_networks(groups),
        groups=_groups(groups),
    )


# Options of `run` beside a plan; `nets` and `adapters` may repeat those of the plan that name files.
BESIDE_PLAN = {
    *("plan", "shard", "out", "pythons", "timeout", "save", "as_json", "quiet"),
    *("executor", "executor_options", "ray_address", "dry_run"),
}


def check_planned_options(path: Path, given: Mapping[str, tuple[str, Any]]) -> None:
    """Raise BadInput for an option that the plan decides.

    given: the options of the command line, each with its name and value, by parameter.
    """
    for parameter, (option, value) in given.items():
        files = parameter in ("nets", "adapters") and any(map(user_files.is_file, value))
        if parameter not in BESIDE_PLAN and not files:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            raise BadInput(f"{option} {text}: --plan {path} decides it; leave the option out, or make another plan")


def shard_request(
    path: Path,
    shard: tuple[int, int],
    pythons: Mapping[str, str],
    *,
    timeout: float,
    save: bool,
    nets: Sequence[str] = (),
    adapters: Sequence[str] = (),
    recipe_of: Callable[[TrainingRequestInfo, str], Recipe | None] = lambda request, source: None,
) -> tuple[TrainingRequest, Shard]:
    """The request of a plan, and one of its shards. shard: its number, from 1, and the number of shards.

    pythons, timeout, save: of this machine. nets, adapters: given on the command line; they repeat those of the plan,
    and thereby allow its code. recipe_of: finds the recipe of a plan's experiment, which the plan names, and gets the
    source of the plan for its messages; networks and recipes are compared with those of the plan before they are
    trained. Raises BadInput for others, for a plan that cannot be read, for code that this user has
    neither run nor given, and for a shard without groups.
    """
    read, source, (number, count) = plans.read(path), f"--plan {path}", shard
    if not plans.of_shard(number, count, read.groups):
        groups = f"{len(read.groups)} groups" if len(read.groups) > 1 else "1 group"
        raise BadInput(f"--shard {number}/{count}: {path} has {groups}; write at most {len(read.groups)} shards")
    given = code_references.references(nets, adapters, pythons)
    code_references.check_repeated("--net", nets, read.request.net, source)
    code_references.check_repeated("--adapter", adapters, read.request.adapters, source)
    options = msgspec.structs.replace(read.request, pythons=dict(pythons), timeout=timeout, save=save)
    recorded = code_references.references(options.net, options.adapters, pythons)
    code_references.check_known(f"{source}: it", recorded, given)
    recipe = recipe_of(options, source)
    try:
        return TrainingRequest.from_info(options, recipe), Shard(read, number, count, source)
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None


def shard_of(folder: RunFolder) -> Shard | None:
    """The shard that a folder holds; None if it is not part of a plan. Raises BadInput."""
    run = folder.training_run
    if run.shard is None:
        return None
    read = plans.read(folder.path / plans.NAME)
    if read.sha256 != run.plan_sha256:
        raise BadInput(f"{folder.path / plans.NAME}: not the plan that run.json names")
    return Shard(read, run.shard.number, run.shard.count, f"--resume {folder.path}")


def shard_groups(
    shard: Shard, request: TrainingRequest, note: Callable[[str], None]
) -> tuple[list[list[Job]], dict[str, Dataset]]:
    """The jobs of a shard by group, and the data sets of these groups.

    Raises BadInput if code, versions, networks, recipes or images are not those of the plan, and as `plan` does.
    """
    try:
        _refuse("frameworks", plans.differences(shard.plan.frameworks, _frameworks(request)))
        devices.resolved(request.device)
        every, read = plan(request, note, elsewhere=True)
        _check_jobs(shard.plan, every)
        own = {name: _data(each) for name, each in read.items() if each.images}
        _refuse("data", plans.differences({name: shard.plan.data.get(name) for name in own}, own))
    except BadInput as error:
        raise BadInput(f"{shard.source}: {error}") from None
    groups = plans.of_shard(shard.number, shard.count, every)
    data: dict[str, Dataset] = {}
    for job, *_ in groups:
        if list(request.net) != ["all"]:
            check_memory(job)
        if job.dataset not in data:
            data[job.dataset] = dataset(request.dataset or job.dataset, note, images=request.images)
    return groups, data


def data_infos(shard: Shard) -> dict[str, DataInfo]:
    """The data sets of a plan as `run.json` records them, without where they were found."""
    return {name: DataInfo(each.sha256, each.published) for name, each in shard.plan.data.items()}


# --- the parts of a plan ----------------------------------------------------------------------------------------------


def _frameworks(request: TrainingRequest) -> dict[str, PlannedFramework]:
    found = {}
    for framework in parse_frameworks(request.frameworks):
        info = FRAMEWORKS[framework.name]
        version, code = framework.version or pinned_version(info), {}
        if not info.outside or info.module.endswith(".py"):
            code = code_parts(info.module)
        elif version is None:  # an installed distribution, whose version identifies its code
            version = importlib.metadata.version(info.package)
        found[framework.label] = PlannedFramework(mode=framework.mode, version=version, code=code)
    return found


def _data(data: Dataset) -> PlannedData:
    about = DATASETS.get(data.name)
    megabytes = about.megabytes if about else 0
    return PlannedData(sha256=data.sha256, published=data.published, download_megabytes=megabytes)


def _networks(groups: Sequence[Sequence[Job]]) -> dict[str, PlannedNetwork]:
    """Each network once: its groups differ in the seed only."""
    firsts: dict[str, Job] = {}
    for job, *_ in groups:
        firsts.setdefault(job.name, job)
    return {name: _network(job) for name, job in firsts.items()}


def _network(job: Job) -> PlannedNetwork:
    described = msgspec.structs.asdict(describe(job))
    same = {name: value for name, value in described.items() if name in PlannedNetwork.__struct_fields__}
    return PlannedNetwork(requested=job.requested, **same)


def _groups(groups: Sequence[Sequence[Job]]) -> list[PlannedGroup]:
    """The groups with their estimates, which are the same for all seeds of a network."""
    estimates: dict[str, dict[str, int]] = {}
    for job, *others in groups:
        if job.name not in estimates:
            images = job.epochs * (STEP * job.train_size + job.test_size)
            count = 1 + len(others)
            work = job.network.macs * images * count
            estimates[job.name] = {"memory": cell_bytes(job) * count, "multiply_adds": work}
    return [PlannedGroup(net=job.name, seed=job.seed, **estimates[job.name]) for job, *_ in groups]


# --- whether this checkout gives the same cells -----------------------------------------------------------------------


def _check_jobs(expected: Plan, groups: Sequence[Sequence[Job]]) -> None:
    """Raise BadInput unless these are the groups of the plan, with its networks and recipes."""
    _refuse("networks", plans.differences(expected.networks, _networks(groups)))
    recorded = [job for group in expected.groups for job in expected.jobs(group)]
    if [describe(job) for group in groups for job in group] != recorded:
        raise BadInput("its options do not give its groups; make a new plan")


def _refuse(part: str, places: Iterable[str]) -> None:
    """Raise BadInput if there are places in which the plan and what is here differ."""
    listed = [f"{part}.{place}" for place in places]
    if listed:
        more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
        raise BadInput(
            f"not the same here as in the plan: {', '.join(listed[:NAMED])}{more}; make a new plan, or use the code, "
            "files and images of the plan"
        )
