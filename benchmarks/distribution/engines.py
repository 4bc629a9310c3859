"""What the coordinator asks of an engine: start shards on nodes, and say which have ended."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from benchmarks.distribution.node import Outcome, ShardTask
from benchmarks.runtime import devices
from benchmarks.runtime.devices import Kind
from benchmarks.runtime.errors import BadInput


@dataclass(frozen=True)
class Needs:
    """What shards need of their nodes."""

    device: Kind
    cpus: int
    memory: Mapping[int, int]  # bytes, by the number of the shard
    files: Mapping[str, str] = field(default_factory=dict)  # texts by name, for nodes that do not share the folder


def device_of_nodes(device: str) -> Kind:
    """Where shards compute that run with `--device`. Raises BadInput for a GPU or a choice that a node may not have."""
    if device == "auto":
        raise BadInput("--device auto: nodes of --executor may differ; write cpu or cuda")
    if devices.number(device):
        raise BadInput(f"--device {device}: a shard has one GPU with --executor; write --device cuda")
    return devices.kind(device)


class Engine(ABC):
    """An engine with its running shards. The constructor starts nothing on a node."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where shards run and with which resources, in one line."""

    @abstractmethod
    def nodes(self, numbers: Sequence[int]) -> Mapping[int, str]:
        """For each shard, the node that would run it, as far as it is known before. Starts nothing."""

    @abstractmethod
    def places(self) -> int:
        """How many shards can be started now."""

    @abstractmethod
    def start(self, tasks: Sequence[ShardTask]) -> Mapping[int, str]:
        """Start shards, at most `places()`; returns where each one runs or waits."""

    @abstractmethod
    def ended(self) -> Sequence[tuple[ShardTask, Outcome]]:
        """The shards that have ended since the last call."""

    @abstractmethod
    def stop(self) -> None:
        """Cancel all shards that run or wait, and leave the cluster."""


def engine_module(name: str, option: str, requirement: str) -> ModuleType:
    """An engine's package, imported. Raises BadInput if it is missing; option: that needs it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise BadInput(f"{option}: the package {error.name} is missing; pip install '{requirement}'") from None
