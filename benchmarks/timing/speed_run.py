"""How fast each framework trains and predicts a network, measured with interleaved slices.

    python -m benchmarks.speed --net lenet --fw all --budget 60s

Workers run their slices in interleaved rounds. Each framework is launched several times, because two launches of one
program differ by more than two slices of one launch. The baseline runs twice, as itself and as an A/A control, which
shows the smallest difference that can be detected. The costs of start-up, compilation and memory are reported, too.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.datasets.registry import Dataset
from benchmarks.records.events import End, Roofline, TimedSlice
from benchmarks.records.runs import DataInfo, SpeedJobInfo, SpeedRun
from benchmarks.records.store import RunFolder
from benchmarks.runtime import checkout, cpu_load, gpu_state, precisions, worker_client
from benchmarks.runtime.environments import Environment, check_cache, parse_frameworks
from benchmarks.runtime.errors import BadInput, Refused, WorkerFailed
from benchmarks.runtime.interleaving import Limit, Measurement, measure
from benchmarks.runtime.machine import Machine
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.timing import control_workload, roofline
from benchmarks.timing.budget import LAUNCHES, ROUNDS, LaunchBudget
from benchmarks.timing.launches import RUNNERS, TimedJob, WorkloadFiles, WorkloadRunner, round_seconds
from benchmarks.timing.rounds import paired, relative_speed, rounds_of, speed
from benchmarks.timing.samples import CONTROL_WORKLOAD
from benchmarks.timing.speed_request import ComparedCells, SpeedRequest, comparisons
from benchmarks.timing.statistics import Estimate, launches_ratio
from benchmarks.training.progress import Progress
from benchmarks.training.runner import environments
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS

# Half the width of an interval, as a fraction, below which more launches are not worth their time; with few launches
# an interval can be narrow by chance, and then it misses the truth more often (docs/statistics.md).
NARROW, ENOUGH = 0.01, 5


def execute(
    request: SpeedRequest,
    progress: Progress,
    out: Path,
    command: Sequence[str] = ("speed(...)",),
    *,
    write_report: Callable[[RunFolder], object],
    on_folder: Callable[[RunFolder], object] = lambda folder: None,
) -> RunFolder:
    """Time all cells of a request and write the report, also if the run is stopped early.

    out: the folder in which the folder of the run is created. on_folder: called with it when it has its run.json.
    BadInput, DataError: nothing is left behind.
    """
    check_cache()
    processes = cpu_load.process_times()
    compared, data = comparisons(request, progress)
    names = dict.fromkeys(cells.baseline.job.name for cells in compared)
    folder = RunFolder.create(out, "-".join(["speed", *names]))
    try:
        device = compared[0].baseline.job.device
        available = environments(request.labels, request.pythons, device, progress)
        machine = Machine.here(device)
        if hint := cpu_load.hint_since(processes, machine.cores or 1):
            progress.message(hint)
        if hint := gpu_state.hint(device):
            progress.message(hint)
        info = SpeedRun(
            began=datetime.now().astimezone().isoformat(timespec="seconds"),
            command=list(command),
            request=request.info,
            machine=machine,
            load={"start": os.getloadavg()[0], "end": None},
            environment=worker_client.settings(request.steady),
            commit=checkout.commit(),
            data={name: DataInfo(each.sha256, each.published, each.source, each.images) for name, each in data.items()},
            control_workload=control_workload.description(),
            jobs=[_description(timed, cells) for cells in compared for timed in cells.all],
        )
        folder.write_info(info)
        on_folder(folder)
        SpeedRunner(request, folder, available, data, progress).time_all(compared)
        folder.write_info(msgspec.structs.replace(info, load={**info.load, "end": os.getloadavg()[0]}))
    except BadInput:
        folder.discard()
        raise
    finally:
        if (folder.path / "run.json").exists():
            write_report(folder)
        elif folder.path.exists():
            folder.discard()
    return folder


class SpeedRunner:
    """The state that the comparisons of a run share. environments: by label, or why the framework is unavailable."""

    def __init__(
        self,
        request: SpeedRequest,
        folder: RunFolder,
        environments: Mapping[str, Environment | str],
        data: Mapping[str, Dataset],
        progress: Progress,
    ) -> None:
        self.request, self.folder, self.environments, self.data, self.progress = (
            request,
            folder,
            environments,
            data,
            progress,
        )
        self.launches = 0
        self.stopped = False  # the user stops the run: a worker that ends now has not failed
        self.over: set[str] = set()  # cells that have ended
        self.peaks: defaultdict[str, list[dict[str, int]]] = defaultdict(list)  # bytes, by cell and launch
        self.roofs: dict[tuple[str, int, str], roofline.Roof | None] = {}  # by framework, threads, precision

    def time_all(self, compared: Sequence[ComparedCells]) -> None:
        """One comparison after the other."""
        with TemporaryFolder("speed") as scratch:
            for number, cells in enumerate(compared, 1):
                baseline = cells.frameworks[0]
                title = baseline.cell.replace(f"{baseline.job.framework}.", "")
                self.progress.message(f"{number} of {len(compared)}: {title}")
                comparison = SpeedMeasurement(self, cells, scratch / str(number), check_budget=number == 1)
                measure(comparison)
                comparison.end()

    def attempt(self, cell: str, act: Callable[[], object]) -> bool:
        """Whether an action on the worker of a cell succeeds; if not, the cell ends with the reason."""
        try:
            act()
        except (Unavailable, WorkerFailed, Refused) as error:
            if self.stopped:
                return False
            status = {Unavailable: "unavailable", WorkerFailed: "failed", Refused: "refused"}[type(error)]
            self.end(cell, status, str(error))
            return False
        return True

    def end(self, cell: str, status: str, reason: str | None) -> None:
        """Write the last line of a cell."""
        self.over.add(cell)
        peaks = self.peaks[cell]
        names = peaks[0] if peaks else {}
        median = {name: int(np.median([peak[name] for peak in peaks])) for name in names}
        self.folder.record(End(cell=cell, status=status, reason=reason, peak=median, peaks=peaks))
        if reason:
            self.progress.cell_failed(cell, reason)


class SpeedMeasurement(Measurement[WorkloadRunner]):
    """One comparison: launch after launch, until every interval is narrow or the budget is spent.

    check_budget: raise BadInput if the budget is too small for the fewest launches and rounds.
    """

    def __init__(self, run: SpeedRunner, cells: ComparedCells, scratch: Path, check_budget: bool) -> None:
        self.run, self.cells, self.check_budget = run, cells, check_budget
        self.budget = LaunchBudget(run.request.budget)
        like = cells.frameworks[0]
        files = WorkloadFiles(like, run.data[like.job.dataset], scratch)
        self.timed: list[tuple[TimedJob, WorkloadFiles]] = [(timed, files) for timed in cells.all]
        self.timed.append(control_workload.control_workload(like.job, scratch))
        self.units: dict[str, int] = {}  # of a slice, by cell, as determined in the first launch
        self.slices: defaultdict[str, dict[int, dict[int, TimedSlice]]] = defaultdict(dict)  # by cell, launch, round

    def wants_launch(self, launch: int) -> bool:
        return self.budget.begin_launch() and not (launch >= ENOUGH and self.is_narrow())

    def open(self, launch: int, stack: contextlib.ExitStack) -> Sequence[WorkloadRunner]:
        """The workers that became ready; none if no framework's did.

        In the first launch the frameworks start one after the other, so that their start-up times can be reported. Side
        by side all cores are busy and the budget holds more launches, but the times mean nothing.
        """
        self.run.launches += 1
        runners = [self._runner(timed, files, stack) for timed, files in self.timed if timed.cell not in self.run.over]
        alone = [runner for runner in runners if launch == 0 and runner.timed in self.cells.frameworks]
        ready = {id(runner): self._make_ready(runner, True) for runner in alone}
        side_by_side = [runner for runner in runners if id(runner) not in ready]
        pool = ThreadPoolExecutor(os.cpu_count())
        with contextlib.ExitStack() as stopped:
            stopped.callback(pool.shutdown, cancel_futures=True)
            for runner in side_by_side:
                stopped.callback(runner.close)  # ends the request that a thread of the pool waits for
            stopped.callback(setattr, self.run, "stopped", True)
            ready |= zip(map(id, side_by_side), pool.map(lambda runner: self._make_ready(runner, False), side_by_side))
            stopped.pop_all()
        pool.shutdown()
        runners = [runner for runner in runners if ready[id(runner)]]
        if all(runner.timed.cell == CONTROL_WORKLOAD for runner in runners):
            return []
        self.budget.workers_ready(_opening_side_by_side(runners), round_seconds(runners))
        if launch == 0 and self.check_budget:
            self._check_budget()
        return runners

    def limit(self) -> Limit:
        return self.budget.limit()

    def play(self, worker: WorkloadRunner, number: int) -> bool:
        cell = worker.timed.cell
        if not self.run.attempt(cell, partial(worker.slice, number)):
            return False
        self.slices[cell].setdefault(worker.launch, {})[number] = worker.slices[-1]
        return True

    def finish(self, launch: int, workers: Sequence[WorkloadRunner]) -> None:
        """Read the peak memory, and once per comparison what is measured outside of its budget."""
        self.budget.rounds_done()
        for worker in self._alive(workers):
            self.run.attempt(worker.timed.cell, partial(self._read_peak, worker))
        if launch == 0:
            with self.budget.paused():
                for worker in self._alive(workers, self.cells.frameworks):
                    self.run.attempt(worker.timed.cell, worker.evaluate)
                for worker in self._alive(workers, self.cells.frameworks):
                    self._measure_roof(worker)

    def is_narrow(self) -> bool:
        """Whether the interval of every ratio to the baseline is narrow."""
        baseline, control = (rounds_of(self.slices[each.cell]) for each in (self.cells.baseline, self.cells.control))
        ratios = [
            relative_speed(rounds_of(self.slices[timed.cell]), baseline, control)
            for timed in self.cells.frameworks
            if timed != self.cells.baseline and timed.cell not in self.run.over
        ]
        if self.cells.control.cell not in self.run.over:
            ratios.append(launches_ratio(*paired(control, baseline)))
        return bool(ratios) and all(map(_is_narrow, ratios))

    def end(self) -> None:
        """End every cell that has not ended yet; `refused` if it is faster than the machine allows."""
        roofs = [roof for roof in self.run.roofs.values() if roof]
        for timed in self.cells.all:
            if timed.cell in self.run.over:
                continue
            estimate = speed(rounds_of(self.slices[timed.cell]))
            most = roofline.reachable(_costs(timed), roofs) if roofs else float("inf")
            if estimate and estimate.value > most:
                reason = (
                    f"implausible timing: {estimate.value:,.0f} examples/s exceeds the roofline, {most:,.0f} examples/s"
                )
                self.run.end(timed.cell, "refused", reason)
            else:
                self.run.end(timed.cell, "ok", None)
        self.run.over.discard(CONTROL_WORKLOAD)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _runner(self, timed: TimedJob, files: WorkloadFiles, stack: contextlib.ExitStack) -> WorkloadRunner:
        request = self.run.request
        kind = RUNNERS[timed.what]
        runner = kind(timed, files, self.run.launches, self.run.folder, request.timeout, request.steady)
        stack.callback(runner.close)
        return runner

    def _make_ready(self, runner: WorkloadRunner, alone: bool) -> bool:
        return self.run.attempt(runner.timed.cell, partial(self._open, runner, alone))

    def _open(self, runner: WorkloadRunner, alone: bool) -> None:
        if runner.timed.cell == CONTROL_WORKLOAD:
            runner.open(Path(sys.executable), control_workload.REFERENCE, units=1, alone=alone)
            return
        label = runner.timed.job.framework
        environment = self.run.environments[label]
        if isinstance(environment, str):
            raise Unavailable(environment)
        # The A/A control has the slices of the baseline, so that the two run the same program.
        same_units = (self.cells.baseline if runner.timed.control else runner.timed).cell
        info = FRAMEWORKS[parse_frameworks(label)[0].name]
        self.units[same_units] = runner.open(environment.python, info, self.units.get(same_units), alone)

    def _alive(self, workers: Sequence[WorkloadRunner], of: Sequence[TimedJob] = ()) -> list[WorkloadRunner]:
        """The workers whose cells are not over; `of`: only those of these cells."""
        return [
            worker for worker in workers if worker.timed.cell not in self.run.over and (not of or worker.timed in of)
        ]

    def _read_peak(self, worker: WorkloadRunner) -> None:
        self.run.peaks[worker.timed.cell].append(worker.finish())

    def _measure_roof(self, worker: WorkloadRunner) -> None:
        """Measure the roofline of a framework, once for every number of threads and every precision."""
        job = worker.timed.job
        key = (job.framework, job.threads, job.precision)
        if key in self.run.roofs:
            return
        self.run.roofs[key] = None

        def measure_roof() -> None:
            raw = roofline.measure(worker.running, job.setting)
            event = Roofline(
                cell=worker.timed.cell,
                launch=worker.launch,
                framework=job.framework,
                threads=job.threads,
                precision=job.precision,
                tf32=job.tf32,
                products=raw.products,
                convolutions=raw.convolutions,
                copies=raw.copies,
            )
            self.run.folder.record(event)
            self.run.roofs[key] = roofline.roof(event)

        self.run.attempt(worker.timed.cell, measure_roof)

    def _check_budget(self) -> None:
        budget, least = self.budget, self.budget.least_seconds
        if least > budget.seconds:
            raise BadInput(
                f"--budget {budget.seconds:g}s: the first launch was ready after {budget.ready - budget.started:.1f} "
                f"s, another one takes about {budget.opening:.1f} s and a round {budget.round_seconds:.1f} s, so "
                f"{LAUNCHES} launches of {ROUNDS} rounds take about {least:.0f} s; give --budget {least * 1.2:.0f}s, "
                "or name fewer frameworks"
            )


def _is_narrow(ratio: Estimate | None) -> bool:
    return bool(ratio and ratio.low and ratio.high and ratio.high / ratio.low <= (1 + NARROW) ** 2)


def _opening_side_by_side(runners: Sequence[WorkloadRunner]) -> float:
    """Estimated seconds to make workers ready side by side, from the times of each: at best, all cores share them."""
    ready = [runner.ready_seconds for runner in runners]
    return max(*ready, sum(ready) / (os.cpu_count() or 1))


def _costs(timed: TimedJob) -> list[roofline.LayerCost]:
    job = timed.job
    return roofline.costs(job.network, timed.what, job.batch_size, precisions.ITEMSIZE[job.precision])


def _description(timed: TimedJob, cells: ComparedCells) -> SpeedJobInfo:
    """A cell as `run.json` records it."""
    job = timed.job
    return SpeedJobInfo(
        cell=timed.cell,
        net=job.name,
        what=timed.what,
        framework=job.framework,
        mode=job.mode,
        batch_size=job.batch_size,
        threads=job.threads,
        precision=job.precision,
        tf32=job.tf32,
        device=job.device,
        dataset=job.dataset,
        train_size=job.train_size,
        test_size=job.test_size,
        spec_sha256=job.network.sha256,
        macs=job.network.macs,
        params=job.network.params,
        version=parse_frameworks(job.framework)[0].version,
        baseline=timed == cells.baseline,
        control=timed.control,
        costs=[(cost.path, cost.flops, cost.moved, cost.least) for cost in _costs(timed)],
    )
