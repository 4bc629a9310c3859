"""`plan.json`: what a training run consists of, so that several machines can run its groups and get one run.

A plan holds no date and no path of a machine: the same options give the same bytes. Digests are SHA-256 in hexadecimal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from benchmarks.records import json_files
from benchmarks.records.events import Count, Size
from benchmarks.records.runs import GroupInfo, JobInfo, RecipeInfo, TrainingRequestInfo
from benchmarks.runtime.errors import BadInput

SCHEMA = 1
NAME = "plan.json"  # in the folder of a shard

T = TypeVar("T")


class PlannedFramework(msgspec.Struct, frozen=True, kw_only=True):
    """A framework, by its label in `--fw`."""

    mode: str = ""
    version: str | None = None  # requested or pinned; None: the adapter does not say
    code: dict[str, str] = {}  # the digest of each part of the code that decides numbers and verdicts


class PlannedData(msgspec.Struct, frozen=True, kw_only=True):
    """A data set, and how much of it a machine without it downloads."""

    sha256: dict[str, str]
    published: bool
    download_megabytes: Size = 0


class PlannedNetwork(RecipeInfo, frozen=True, kw_only=True):
    """A network and how it is trained, which is the same in all of its groups."""

    requested: str  # in `--net`
    device: str
    precision: str
    tf32: bool = False
    epochs: Count
    train_size: Count  # images
    test_size: Count
    threads: Count
    macs: Size
    spec_sha256: str


class PlannedGroup(GroupInfo, frozen=True, kw_only=True):
    """A group with estimates of all of its frameworks together."""

    memory: Size  # bytes, side by side
    multiply_adds: Size  # of training and testing; a training step counts as three forward passes


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`plan.json`."""

    kind: ClassVar[str] = "plan"
    request: TrainingRequestInfo
    frameworks: Annotated[dict[str, PlannedFramework], msgspec.Meta(min_length=1)]
    data: dict[str, PlannedData]
    networks: dict[str, PlannedNetwork]
    groups: Annotated[list[PlannedGroup], msgspec.Meta(min_length=1)]

    def jobs(self, group: GroupInfo) -> list[JobInfo]:
        """The cells of a group, as the run that trains them records them."""
        network = msgspec.structs.asdict(self.networks[group.net])
        same = {name: value for name, value in network.items() if name in JobInfo.__struct_fields__}
        return [
            JobInfo(
                cell=cell,
                net=group.net,
                framework=label,
                mode=framework.mode,
                seed=group.seed,
                **same,
            )
            for cell, (label, framework) in zip(self.cells(group), self.frameworks.items())
        ]

    def cells(self, group: GroupInfo) -> list[str]:
        """The names of the cells of a group."""
        return [f"{group.net}.{label}.{group.seed}" for label in self.frameworks]

    @property
    def group_infos(self) -> list[GroupInfo]:
        """The groups without their estimates."""
        return [GroupInfo(group.net, group.seed) for group in self.groups]

    @property
    def text(self) -> str:
        """The content of `plan.json`."""
        return json_files.indented({"schema": SCHEMA, "kind": self.kind, **msgspec.to_builtins(self)})

    @property
    def sha256(self) -> str:
        """The plan's identity: the digest of its text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


def of_shard(number: int, count: int, groups: Sequence[T]) -> list[T]:
    """The groups of shard `number`, from 1, of `count`: every `count`-th one, so that the seeds of a large network are
    spread over the shards.
    """
    return list(groups[number - 1 :: count])


def read(path: Path) -> Plan:
    """The plan in a file. Raises BadInput."""
    record = json_files.read_object(path)
    if record.get("kind") != Plan.kind:
        raise BadInput(f"{path}: not a plan of onespec; `onespec plan -o {NAME}` writes one")
    if record.get("schema") != SCHEMA:
        raise BadInput(f"{path}: schema {record.get('schema')!r:.40}; this version reads {SCHEMA}")
    try:
        plan = msgspec.convert(record, Plan)
        _check(plan)
    except (ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
        raise BadInput(f"{path}: not a plan of onespec: {json_files.one_line(error)}") from None
    return plan


def _check(plan: Plan) -> None:
    """Raise ValueError unless the parts of a plan fit each other."""
    groups = plan.group_infos
    if len(set(groups)) < len(groups):
        raise ValueError("a group is listed twice")
    if missing := {group.net for group in groups} - plan.networks.keys():
        raise ValueError(f"the network {min(missing)!r:.40} of a group is not in `networks`")
    if missing := {network.dataset for network in plan.networks.values()} - plan.data.keys():
        raise ValueError(f"the data set {min(missing)!r:.40} of a network is not in `data`")


def differences(a: Any, b: Any, place: str = "") -> Iterator[str]:
    """The places in which two plans differ, such as `networks.lenet.lr`."""
    if isinstance(a, msgspec.Struct) and isinstance(b, msgspec.Struct):
        a, b = msgspec.structs.asdict(a), msgspec.structs.asdict(b)
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            inner = f"{place}.{key}" if place else str(key)
            if key in a and key in b:
                yield from differences(a[key], b[key], inner)
            else:
                yield inner
    elif a != b:
        yield place
