"""Shards as jobs of Slurm, or as local processes, through submitit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.distribution import node
from benchmarks.distribution.engines import Engine, Needs, engine_module
from benchmarks.distribution.node import Outcome, ShardTask
from benchmarks.runtime.errors import BadInput

REQUIREMENT = "submitit>=1.5"
JOBS = "jobs"  # folder of submitit's files
TIME_LIMIT = 240  # minutes; a job that reaches it is queued again and goes on
TIME_LIMITS = 100  # of one job
GIB = 2**30
HARNESS = 1.0  # GiB beside the frameworks

# Parameters that submitit has for every cluster, and for Slurm beside the options of sbatch.
OF_SUBMITIT = {"name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node"}
OF_SUBMITIT_FOR_SLURM = {"array_parallelism", "signal_delay_s", "setup", "use_srun"}
FIXED = {"nodes", "tasks_per_node"}  # a shard is one process on one node


class SubmittedJob:
    """A shard as submitit pickles it. At a time limit, submitit calls `checkpoint` and queues the result."""

    def __init__(self, task: ShardTask) -> None:
        self.task = task

    def __call__(self) -> Outcome:
        return node.run_shard(self.task)

    def checkpoint(self) -> Any:
        """Save the work of the shard; the next job resumes it."""
        from submitit.helpers import DelayedSubmission  # only within a job

        node.stop()
        return DelayedSubmission(self)


class SubmititEngine(Engine):
    """Jobs of one cluster: `slurm`, or `local` for processes of this machine, one after the other.

    options: of submitit and sbatch. check: that Slurm is here. Raises BadInput if it is not, or an option is wrong.
    """

    def __init__(self, cluster: str, options: Mapping[str, str], needs: Needs, *, check: bool = True) -> None:
        self.cluster = cluster
        self.option = "--executor submitit" if cluster == "slurm" else f"--executor submitit:{cluster}"
        self.submitit = engine_module("submitit", self.option, REQUIREMENT)
        if check and cluster == "slurm" and self.submitit.SlurmExecutor.affinity() < 0:
            raise BadInput(f"{self.option}: no Slurm here, srun is missing; run it on a login node, or submitit:local")
        self.parameters = _parameters(cluster, options, needs)
        self.needs = needs
        self.executor: Any = None
        self.jobs: dict[int, tuple[ShardTask, Any]] = {}

    @property
    def where(self) -> str:
        flat = {**self.parameters, **self.parameters.get("slurm_additional_parameters", {})}
        flat.pop("slurm_additional_parameters", None)
        what = ", ".join(f"{key.removeprefix('slurm_')} {value}" for key, value in flat.items())
        place = "a job of Slurm" if self.cluster == "slurm" else "a process of this machine, one at a time"
        memory = "" if "mem_gb" in self.parameters else ", memory as it needs"
        return f"Each shard is {place}: {what}{memory}"

    def nodes(self, numbers: Sequence[int]) -> Mapping[int, str]:
        return dict.fromkeys(numbers, "Slurm" if self.cluster == "slurm" else "this machine")

    def places(self) -> int:
        if self.cluster == "slurm":
            return 1_000_000  # Slurm has the queue
        return 1 - len(self.jobs)  # shards beside each other would disturb each other's speeds

    def start(self, tasks: Sequence[ShardTask]) -> Mapping[int, str]:
        if self.executor is None:
            limits = {f"{self.cluster}_max_num_timeout": TIME_LIMITS}
            folder = Path(tasks[0].home) / JOBS / tasks[0].token  # pickles of this process only
            self.executor = self.submitit.AutoExecutor(folder, cluster=self.cluster, **limits)
        errors, started = self.submitit.core.utils, dict[int, str]()
        try:
            for memory, alike in self._by_memory(tasks).items():  # the jobs of an array are alike
                self.executor.update_parameters(**{**self.parameters, "mem_gb": memory})
                with self.executor.batch():
                    jobs = [self.executor.submit(SubmittedJob(task)) for task in alike]
                self.jobs |= {task.number: (task, job) for task, job in zip(alike, jobs)}
                started |= {task.number: f"job {job.job_id}" for task, job in zip(alike, jobs)}
        except (errors.UncompletedJobError, errors.FailedSubmissionError) as error:  # what sbatch says
            raise BadInput(f"{self.option}: {' '.join(str(error).split())[:300]}") from None
        return started

    def _by_memory(self, tasks: Sequence[ShardTask]) -> dict[int, list[ShardTask]]:
        """Shards by the GiB that their jobs ask for: powers of two, unless the user has named a number."""
        classes: dict[int, list[ShardTask]] = {}
        for task in tasks:
            needed = self.needs.memory[task.number] / GIB + HARNESS
            memory = self.parameters.get("mem_gb", 2 ** math.ceil(math.log2(needed)))
            classes.setdefault(memory, []).append(task)
        return classes

    def ended(self) -> Sequence[tuple[ShardTask, Outcome]]:
        done = [number for number, (_, job) in self.jobs.items() if job.done()]
        return [(task, self._outcome(job)) for task, job in map(self.jobs.pop, done)]

    def _outcome(self, job: Any) -> Outcome:
        error = job.exception()
        if error is None:
            outcome = job.result()
            assert isinstance(outcome, Outcome)
            return outcome
        if isinstance(error, self.submitit.core.utils.FailedJobError):  # our function raised
            return Outcome(1, _raised(str(error)), f"job {job.job_id}")
        return Outcome(None, f"job {job.job_id} ended without a result ({job.state})", f"job {job.job_id}")

    def stop(self) -> None:
        for _, job in self.jobs.values():
            job.cancel(check=False)
        self.jobs.clear()


def _parameters(cluster: str, options: Mapping[str, str], needs: Needs) -> dict[str, Any]:
    """The parameters of submitit's executor: what shards need, and the options. Raises BadInput."""
    parameters: dict[str, Any] = {
        "name": "onespec",
        "timeout_min": TIME_LIMIT,
        "cpus_per_task": needs.cpus,
    }
    if needs.device == "cuda":
        parameters["gpus_per_node"] = 1
    additional: dict[str, Any] = {}
    for key, text in options.items():
        name = key.replace("-", "_")
        value: Any = int(text) if text.isascii() and text.isdecimal() else text
        if name in FIXED:
            raise BadInput(f"--executor-option {key}={text}: a shard is one process on one node; leave the option out")
        if name in OF_SUBMITIT:
            if name != "name" and not isinstance(value, int):
                raise BadInput(f"--executor-option {key}={text}: must be a whole number")
            parameters[name] = value
        elif cluster == "slurm" and name in OF_SUBMITIT_FOR_SLURM:
            parameters[f"slurm_{name}"] = [text] if name == "setup" else value
        elif cluster == "slurm":
            additional[key] = value if text else True
        else:
            raise BadInput(
                f"--executor-option {key}={text}: submitit:local has {', '.join(sorted(OF_SUBMITIT - FIXED))}"
            )
    if additional:
        parameters["slurm_additional_parameters"] = additional
    return parameters


def _raised(text: str) -> str:
    """The last line of a traceback, which submitit puts between two rules."""
    lines = [line.strip() for line in text.split("-" * 22)[1].splitlines() if line.strip()]
    return lines[-1]
