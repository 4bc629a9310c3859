"""Shards as tasks of Ray: one at a time on each node with all of its CPUs, or on each GPU."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.distribution import node
from benchmarks.distribution.engines import Engine, Needs, engine_module
from benchmarks.distribution.node import Outcome, ShardTask
from benchmarks.runtime.errors import BadInput

REQUIREMENT = "ray[client]>=2.40"
CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class RayNode:
    """Resources of a node for one shard at a time."""

    node: str  # its identity in Ray
    number: int  # of the places of a node with several GPUs
    name: str
    cpus: float
    gpus: int


class RayEngine(Engine):
    """The nodes of a Ray cluster.

    address: as `ray.init` takes it; None: a cluster that runs on this machine or that RAY_ADDRESS names, else a new Ray
    of this machine alone. Raises BadInput if it cannot be reached.
    """

    def __init__(self, address: str | None, needs: Needs, *, connect: bool = True) -> None:
        self.ray = engine_module("ray", "--executor ray", REQUIREMENT)
        self.address, self.needs = address, needs
        self.tasks: dict[RayNode, tuple[ShardTask, Any]] = {}
        self.connected = False
        if connect or address:
            self._connect()

    def _connect(self) -> None:
        if self.address:
            _check_answers(self.address)
        earlier = signal.getsignal(signal.SIGTERM)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a Ray that is started here sends nothing
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "WARNING"}
        if self.address is None:
            quiet["include_dashboard"] = False
        try:
            self.ray.init(self.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError, ImportError, OSError) as error:
            name = f"--ray-address {self.address}" if self.address else "--executor ray"
            raise BadInput(f"{name}: Ray cannot be reached: {' '.join(str(error).split())[:300]}") from None
        finally:
            signal.signal(signal.SIGTERM, earlier)  # Ray sets one of its own, which saves nothing
        self.connected = True
        self.files = self.ray.put(dict(self.needs.files))
        self.function = self.ray.remote(node.run_shard)

    @property
    def where(self) -> str:
        if not self.connected:
            return "Ray is started on this machine: each shard has all CPUs, or one GPU"
        return f"Ray with {len(self._places())} places: each shard has all CPUs of a node, or one GPU"

    def nodes(self, numbers: Sequence[int]) -> Mapping[int, str]:
        names = [place.name for place in self._places()] if self.connected else ["this machine"]
        return {number: names[index] if index < len(names) else "the next free" for index, number in enumerate(numbers)}

    def _places(self) -> list[RayNode]:
        """The places of the nodes that are alive, in a fixed order."""
        gpu = self.needs.device == "cuda"
        places = []
        for found in self.ray.nodes():
            resources = found.get("Resources", {})
            cpus, gpus = resources.get("CPU", 0.0), int(resources.get("GPU", 0))
            if not found["Alive"] or cpus < 1 or (gpu and not gpus):
                continue
            for number in range(gpus if gpu else 1):
                share = max(1.0, cpus // gpus) if gpu else cpus
                name = f"{found['NodeManagerHostname']} ({found['NodeID'][:6]})"
                places.append(RayNode(found["NodeID"], number, name, share, 1 if gpu else 0))
        return sorted(places, key=lambda place: (place.name, place.number))

    def places(self) -> int:
        return len(self._free())

    def _free(self) -> list[RayNode]:
        return [place for place in self._places() if place not in self.tasks]

    def start(self, tasks: Sequence[ShardTask]) -> Mapping[int, str]:
        affinity = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        started = {}
        for task, place in zip(tasks, self._free()):
            options = {
                "num_cpus": place.cpus,
                "num_gpus": place.gpus,
                "max_retries": 0,  # the coordinator decides
                "scheduling_strategy": affinity(place.node, soft=False),
                "name": f"onespec shard {task.number}/{task.count}",
            }
            self.tasks[place] = task, self.function.options(**options).remote(task, self.files)
            started[task.number] = place.name
        return started

    def ended(self) -> Sequence[tuple[ShardTask, Outcome]]:
        references = [reference for _, reference in self.tasks.values()]
        if not references:
            return []
        ready, _ = self.ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
        done = [place for place, (_, reference) in self.tasks.items() if reference in ready]
        return [
            (task, self._outcome(reference, place)) for place in done for task, reference in [self.tasks.pop(place)]
        ]

    def _outcome(self, reference: Any, place: RayNode) -> Outcome:
        errors = self.ray.exceptions
        try:
            outcome = self.ray.get(reference)
        except errors.RayTaskError as error:  # the function raised: no onespec there, or a full disk
            return Outcome(1, str(error).strip().splitlines()[-1], place.name)
        except errors.RayError as error:
            return Outcome(None, f"{place.name}: {type(error).__name__}", place.name)
        assert isinstance(outcome, Outcome)
        return outcome

    def stop(self) -> None:
        if self.connected:
            for _, reference in self.tasks.values():
                self.ray.cancel(reference, force=True)
            self.tasks.clear()
            self.ray.shutdown()
            self.connected = False


def _check_answers(address: str) -> None:
    """Raise BadInput if nothing listens at an address with a port: Ray itself tries for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"--ray-address {address}: Ray cannot be reached: {reason}") from None
