"""How fast each framework trains and predicts a network, measured side by side.

    python -m benchmarks.speed --net lenet --fw all --budget 60s

Living workers take turns, slice by slice, in balanced order; each framework is launched several times, for two launches
of one program differ by more than two slices of it. The baseline runs beside its own twin, which shows what difference
this machine can tell today. What is slower to start, to compile, or in memory stands beside what is faster in a step.
Exit status: 0 done; 1 a framework that was named could not be had, failed, or was refused; 2 bad input; 3 data missing
or corrupt; 130 stopped.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, get_args, get_type_hints

import numpy as np

from benchmarks.cli.progress import ProgressDisplay
from benchmarks.datasets.registry import DATASETS, Dataset, Split
from benchmarks.records import store
from benchmarks.records.store import Folder
from benchmarks.reporting import speed_report
from benchmarks.runtime import worker_client
from benchmarks.runtime.environments import Environment, parse_frameworks, parse_pythons
from benchmarks.runtime.errors import BadInput, DataError, Parser, Refused, WorkerFailed
from benchmarks.runtime.plugins import register
from benchmarks.timing import roofline
from benchmarks.timing.launches import RUNNERS, Runner, Timed, Work, round_seconds
from benchmarks.timing.schedule import launches_to_come, rotated, take_turns
from benchmarks.training.plan import Request as Planned
from benchmarks.training.plan import plan, too_large
from benchmarks.training.runner import environments
from benchmarks.training.trainer import Job
from frameworks.adapter import Setting
from frameworks.errors import Unavailable
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS, FrameworkInfo
from frameworks.training import Training

WHAT = tuple(RUNNERS)
PRECISIONS: tuple[str, ...] = get_args(get_type_hints(Setting)["precision"])

LAUNCHES = 3  # of each comparison at least: with fewer nothing is known about the spread of launches
ROUNDS = 2  # of each launch at least: forth and back

# Half of an interval's width, as a share, from which on more launches would tell nothing that anybody asks; but of a
# few launches an interval can be narrow by luck, and then it misses the truth more often (docs/statistics.md).
NARROW, ENOUGH = 0.01, 5


@dataclass(frozen=True)
class Request:
    """What is to be timed: the command's options. BadInput for what cannot be."""

    net: Sequence[str] = ("lenet",)
    frameworks: str = "all"
    what: Sequence[str] = WHAT
    batches: Sequence[int] = ()  # none: the recipe's
    threads: Sequence[int] = (Planned().threads,)
    precision: Sequence[str] = ("float32",)
    budget: float = 60.0  # seconds of each comparison
    baseline: str | None = None  # a label; None: the first framework
    modes: str = ""  # all: every mode of every framework
    layers: bool = False
    dataset: str | None = None
    device: str = "auto"
    steady: bool = True  # the allocator, the waiting threads and the cores
    timeout: float = 600.0
    pythons: Mapping[str, str] = field(default_factory=dict)
    adapters: Sequence[str] = ()  # of the user's own: file.py:Class

    def __post_init__(self) -> None:
        register(self.adapters)
        for option, given, there_is in (("what", self.what, WHAT), ("precision", self.precision, PRECISIONS)):
            for one in given:
                if one not in there_is:
                    raise BadInput(f"--{option} {one}: no such {option}; there are {', '.join(there_is)}")
        for option, numbers in (("batch", self.batches), ("threads", self.threads)):
            if wrong := [number for number in numbers if number < 1]:
                raise BadInput(f"--{option} {wrong[0]}: it is at least 1")
        if not self.budget > 0:
            raise BadInput(f"--budget {self.budget:g}: it is more than 0; write 60s, 5m or 1h")
        if self.modes not in ("", "all"):
            raise BadInput(f"--modes {self.modes}: only `all`; a single one goes with its framework: --fw torch:NAME")
        _modes(self)
        labels = self.labels.split(",")
        if self.baseline and self.baseline not in labels:
            raise BadInput(f"--baseline {self.baseline}: --fw has no such framework; it has {', '.join(labels)}")

    @property
    def labels(self) -> str:
        """The frameworks as `--fw` takes them, with every mode where all are asked for."""
        made = []
        for one in parse_frameworks(self.frameworks):
            modes = ("", *FRAMEWORKS[one.name].modes) if self.modes == "all" else (one.mode,)
            made += [replace(one, mode=mode).label for mode in modes]
        return ",".join(made)


def _modes(request: Request) -> None:
    """BadInput for a mode that is none, or that is named where all are asked for."""
    for one in parse_frameworks(request.frameworks):
        known = FRAMEWORKS[one.name].modes
        if one.mode and request.modes == "all":
            raise BadInput(f"--modes all contradicts --fw {one.label}; write --fw {one.name}, or leave out --modes")
        if one.mode and one.mode not in known:
            there = f"there are {', '.join(known)}" if known else "it has only its own, without a suffix"
            raise BadInput(f"--fw {one.label}: {one.name} has no mode {one.mode}; {there}")


def comparisons(request: Request, progress: ProgressDisplay) -> tuple[list[list[Timed]], dict[str, Dataset]]:
    """The cells that take turns with each other, the baseline's twin last; and the data that they need."""
    planned = Planned(
        net=request.net,
        frameworks=request.labels,
        dataset=request.dataset,
        device=request.device,
        timeout=request.timeout,
        pythons=request.pythons,
    )
    groups, data = plan(planned, progress)
    made = []
    for jobs, precision, threads in product(groups, request.precision, request.threads):
        for batch, what in product(request.batches or (jobs[0].batch_size,), request.what):
            there_are = jobs[0].train_size if what == "train" else jobs[0].test_size
            if batch > there_are:
                raise BadInput(f"--batch {batch}: {jobs[0].dataset} has {there_are} pictures to {what} with")
            own = [replace(job, precision=precision, threads=threads, batch_size=batch) for job in jobs]
            cells = [Timed(job, what) for job in own]
            made.append([*cells, replace(_baseline(cells, request), twin=True)])
            if reason := too_large([timed.job for timed in made[-1]]):
                raise BadInput(f"--net {own[0].name} --batch {batch}: {reason}")
    return made, data


def _baseline(cells: Sequence[Timed], request: Request) -> Timed:
    return next(timed for timed in cells if request.baseline in (None, timed.job.framework) and not timed.twin)


# --- the run ----------------------------------------------------------------------------------------------------------


def execute(request: Request, progress: ProgressDisplay, out: Path, command: Sequence[str] = ("speed(...)",)) -> Folder:
    """Time all that is asked for and write the report; also when stopped half-way."""
    groups, data = comparisons(request, progress)
    names = dict.fromkeys(group[0].job.name for group in groups)
    folder = Folder.create(out, "-".join(["speed", *names]))
    try:
        found = environments(Planned(frameworks=request.labels, pythons=request.pythons), _device(groups), progress)
        run: dict[str, Any] = {
            "kind": "speed",
            "began": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": command,
            "request": asdict(request),
            "machine": store.machine(),
            "load": {"start": os.getloadavg()[0], "end": None},
            "environment": worker_client.settings(request.steady),
            "commit": store.commit(),
            "data": {name: {"sha256": one.sha256, "published": one.published} for name, one in data.items()},
            "calibration": {"cell": CALIBRATION, **_described_calibration()},
            "jobs": [_described(timed, group, request) for group in groups for timed in group],
        }
        folder.write_run(run)
        Speed(request, folder, found, data, progress).all(groups)
        folder.write_run({**run, "load": {**run["load"], "end": os.getloadavg()[0]}})
    except BadInput:
        folder.discard()
        raise
    finally:
        if (folder.path / "run.json").exists():
            speed_report.write(folder)
    return folder


class Speed:
    """A run while it goes on: what has been found out about the cells, and which of them are over."""

    def __init__(
        self,
        request: Request,
        folder: Folder,
        found: Mapping[str, Environment | str],
        data: Mapping[str, Dataset],
        progress: ProgressDisplay,
    ) -> None:
        self.request, self.folder, self.found, self.data, self.progress = request, folder, found, data, progress
        self.launches = 0  # of the whole run
        self.units: dict[str, int] = {}  # of a slice, as the first launch found them
        self.over: set[str] = set()
        self.peaks: dict[str, list[dict[str, int]]] = {}
        self.roofs: set[tuple[str, int, str]] = set()  # measured: framework, threads, precision

    def all(self, groups: Sequence[Sequence[Timed]]) -> None:
        with tempfile.TemporaryDirectory(prefix="onespec-") as place:
            for number, group in enumerate(groups, 1):
                self.progress.message(
                    f"{number} of {len(groups)}: {group[0].cell.replace(group[0].job.framework + '.', '')}"
                )
                self.compare(group, Path(place) / str(number), first=number == 1)

    def compare(self, group: Sequence[Timed], scratch: Path, first: bool) -> None:
        """Launch after launch, until every interval is narrow or the budget is spent."""
        start = time.monotonic()
        work = Work(group[0], self.data[group[0].job.dataset], scratch)
        calibration = _calibration(group[0].job, scratch)
        played: list[float] = []  # seconds of each launch's turns
        openings: list[float] = []  # and until it was ready, where it was opened side by side
        ready = round_ = 0.0  # seconds that another opening, and a round, take, as far as is known
        while True:
            number = len(played)
            began = time.monotonic()
            left = self.request.budget - (began - start)
            coming = launches_to_come(left, ready, round_, played, LAUNCHES - number) if number else LAUNCHES
            if not coming or (number >= ENOUGH and self.narrow(group)):
                break
            with contextlib.ExitStack() as stack:
                runners = self.open(group, work, calibration, stack, alone=number == 0)
                frameworks = [runner for runner in runners if runner.timed.cell != CALIBRATION]
                if not frameworks:
                    break
                opened = time.monotonic()
                openings += [opened - began] if number else []
                ready, round_ = fmean(openings) if openings else _ready_again(runners), round_seconds(runners)
                if first and number == 0:
                    self.affordable(runners, opened - start, ready)
                if number == 0:  # it opened one by one, so it began earlier than the launches to come would have
                    left = self.request.budget - (opened - ready - start)
                    coming = launches_to_come(left, ready, round_, played, LAUNCHES)
                # A slow opening takes from what is left for all, not from its own turns.
                until = opened + left / coming - ready if coming > 1 else start + self.request.budget
                take_turns(rotated(runners, number), self.guarded(Runner.slice), until=until, least=ROUNDS)
                played.append(time.monotonic() - opened)
                self.finish(runners)
                if number == 0:  # what is measured once is no part of the comparison, and comes on top of its budget
                    began = time.monotonic()
                    self.evaluate(frameworks)
                    self.measure_roofs(frameworks, scratch)
                    start += time.monotonic() - began
        self.end(group)

    def open(
        self,
        group: Sequence[Timed],
        work: Work,
        calibration: tuple[Timed, Work],
        stack: contextlib.ExitStack,
        alone: bool,
    ) -> list[Runner]:
        """The launch's workers, made ready; those that could not be are over.

        alone: one framework after the other, so that what each takes to get ready is a figure. Side by side it is none,
        but all cores are at work, and the budget holds more launches. Of the twin and the calibration it never is one.
        """
        self.launches += 1
        request, runners = self.request, []
        for timed, own in [*((timed, work) for timed in group), calibration]:
            if timed.cell not in self.over:
                kind = RUNNERS[timed.what]
                runner = kind(timed, own, self.launches, self.folder, request.timeout, request.steady)
                stack.callback(runner.close)
                runners.append(runner)
        told = [runner for runner in runners if alone and not runner.timed.twin and runner.timed.cell != CALIBRATION]
        ready = {id(runner): self.guarded(self._ready)(runner, True) for runner in told}
        others = [runner for runner in runners if id(runner) not in ready]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ready |= zip(map(id, others), pool.map(lambda runner: self.guarded(self._ready)(runner, False), others))
        return [runner for runner in runners if ready[id(runner)]]

    def _ready(self, runner: Runner, alone: bool) -> None:
        cell = runner.timed.cell
        if cell == CALIBRATION:
            runner.open(Path(sys.executable), REFERENCE, units=1, alone=alone)
            return
        label = runner.timed.job.framework
        place = self.found[label]
        if isinstance(place, str):
            raise Unavailable(place)
        original = cell.removesuffix(".twin")  # slices of one length, so that the twins run the same program
        info = FRAMEWORKS[parse_frameworks(label)[0].name]
        self.units[original] = runner.open(place.python, info, self.units.get(original), alone)

    def guarded(self, act: Callable[..., object]) -> Callable[..., bool]:
        """The same, but a runner that fails is over, and recorded as such: then False."""

        def play(runner: Runner, *arguments: Any) -> bool:
            try:
                act(runner, *arguments)
            except (Unavailable, WorkerFailed, Refused) as error:
                status = {Unavailable: "unavailable", WorkerFailed: "failed", Refused: "refused"}[type(error)]
                self.finished(runner.timed.cell, status, str(error))
                return False
            return True

        return play

    def finished(self, cell: str, status: str, reason: str | None) -> None:
        """The cell's last line."""
        self.over.add(cell)
        peaks = self.peaks.get(cell, [])
        names = peaks[0] if peaks else {}
        middle = {name: int(np.median([peak[name] for peak in peaks])) for name in names}
        self.folder.append(cell, "end", status=status, reason=reason, peak=middle, peaks=peaks)
        if reason:
            self.progress.cell_failed(cell, reason)

    def affordable(self, runners: Sequence[Runner], spent: float, again: float) -> None:
        """BadInput where the budget is too small for what is least.

        spent: seconds until the first launch is ready; again: about what the next one takes.
        """
        round_ = round_seconds(runners)
        least = spent + (LAUNCHES - 1) * again + LAUNCHES * ROUNDS * round_
        if least > self.request.budget:
            raise BadInput(
                f"--budget {self.request.budget:g}s: the first launch was ready after {spent:.1f} s, another one takes "
                f"about {again:.1f} s and a round {round_:.1f} s, so {LAUNCHES} launches of {ROUNDS} rounds take about "
                f"{least:.0f} s; give --budget {least * 1.2:.0f}s, or name fewer frameworks"
            )

    def finish(self, runners: Sequence[Runner]) -> None:
        """The launch is over: its memory, and whether everyone kept to their turns."""
        for runner in runners:
            if runner.timed.cell not in self.over:
                self.guarded(lambda one: self.peaks.setdefault(one.timed.cell, []).append(one.finish()))(runner)

    def evaluate(self, runners: Sequence[Runner]) -> None:
        """In the workers of a launch that is over; not in the twin's, which would say the same."""
        for runner in runners:
            if not runner.timed.twin and runner.timed.cell not in self.over:
                self.guarded(Runner.evaluate)(runner)

    def measure_roofs(self, runners: Sequence[Runner], scratch: Path) -> None:
        """In the workers of a launch that is over, once for every framework, number of threads and precision."""
        for runner in runners:
            job = runner.timed.job
            key = (job.framework, job.threads, job.precision)
            if key not in self.roofs and not runner.timed.twin and runner.timed.cell not in self.over:
                self.roofs.add(key)
                self.guarded(self._measure_roof)(runner, scratch)

    def _measure_roof(self, runner: Runner, scratch: Path) -> None:
        raw = roofline.measure(runner.ask, runner.setting, scratch)
        job = runner.timed.job
        named = {"framework": job.framework, "threads": job.threads, "precision": job.precision}
        self.folder.append(runner.timed.cell, "roofline", launch=runner.launch, **named, **raw)

    def narrow(self, group: Sequence[Timed]) -> bool:
        """Is every ratio to the baseline known well enough?"""
        cells = {timed.cell for timed in group}
        found = next(each for each in speed_report.comparisons(self.folder) if each.baseline["cell"] in cells)
        others = [job for job in found.jobs if job is not found.baseline and job["cell"] not in self.over]
        twins = [] if found.twin is None or found.twin["cell"] in self.over else [found.twins]
        ratios = [*map(found.ratio, others), *twins]
        return bool(ratios) and all(
            one and one.low and one.high and one.high / one.low <= (1 + NARROW) ** 2 for one in ratios
        )

    def end(self, group: Sequence[Timed]) -> None:
        """The last line of every cell that has not had its own; refused where it is faster than the machine allows."""
        measured = speed_report.read(self.folder)
        roofs = [roofline.roof(each.roofline) for each in measured.values() if each.roofline]
        for timed in group:
            if timed.cell not in self.over:
                speed = measured[timed.cell].speed
                most = roofline.reachable(_costs(timed), roofs) if roofs else float("inf")
                if speed and speed.value > most:
                    reason = f"a clock that lies: {speed.value:,.0f} examples/s, where the roofline allows {most:,.0f}"
                    self.finished(timed.cell, "refused", reason)
                else:
                    self.finished(timed.cell, "ok", None)
        self.over.discard(CALIBRATION)


def _ready_again(runners: Sequence[Runner]) -> float:
    """Seconds to make them ready side by side, after one by one: at best what all cores together take."""
    ready = [runner.ready_seconds for runner in runners]
    return max(*ready, sum(ready) / (os.cpu_count() or 1))


def _costs(timed: Timed) -> list[roofline.Cost]:
    job = timed.job
    return roofline.costs(job.network, timed.what, job.batch_size, np.dtype(job.precision).itemsize)


def _device(groups: Sequence[Sequence[Timed]]) -> str:
    return groups[0][0].job.device


def _described(timed: Timed, group: Sequence[Timed], request: Request) -> dict[str, Any]:
    """A cell as `run.json` keeps it."""
    job = timed.job
    kept = "framework mode batch_size threads precision device dataset train_size test_size".split()
    return {
        "cell": timed.cell,
        "net": job.name,
        "what": timed.what,
        **{name: getattr(job, name) for name in kept},
        "spec_sha256": job.network.sha256,
        "macs": job.network.macs,
        "params": job.network.params,
        "version": parse_frameworks(job.framework)[0].version,
        "baseline": timed == _baseline(group, request),
        "twin": timed.twin,
        "costs": [(cost.path, cost.flops, cost.moved, cost.least) for cost in _costs(timed)],
    }


# --- the calibration worker -------------------------------------------------------------------------------------------

# A fixed piece of work, interleaved like the others: what two runs, on one machine or on two, have in common. The NumPy
# reference trains LeNet, which is matrix products and passes over memory: one step, 20 ms here, is a slice.
CALIBRATION = "calibration"
REFERENCE = FrameworkInfo("numpy", "NumPy", "frameworks.numpy_reference", "Reference", "numpy", python=">=3.10")
PICTURES, BATCH = 32, 32


def _calibration(like: Job, scratch: Path) -> tuple[Timed, Work]:
    """Its cell, with as many threads as the others have, and its own pictures: noise."""
    stream = np.random.default_rng(0)
    split = Split(scratch / "noise_images.npy", scratch / "noise_labels.npy", PICTURES)
    place = scratch / CALIBRATION
    job = replace(
        like,
        name=CALIBRATION,
        network=NETWORKS["lenet"](),
        framework="numpy",
        mode="",
        batch_size=BATCH,
        training=Training(),
        initial="xavier_uniform",
        train_size=PICTURES,
        test_size=PICTURES,
        device="cpu",
        precision="float64",
        dataset="noise",
    )
    data = Dataset("noise", (1, 28, 28), 10, (), split, split, {}, True, "")
    np.save(split.images, stream.integers(0, 256, (PICTURES, 1, 28, 28), dtype=np.uint8))
    np.save(split.labels, stream.integers(0, 10, PICTURES))
    timed = Timed(job, "train", name=CALIBRATION)
    return timed, Work(timed, data, place, checked=False)


def _described_calibration() -> dict[str, Any]:
    network = NETWORKS["lenet"]()
    return {
        "net": "lenet",
        "what": "train",
        "framework": "numpy",
        "version": np.__version__,
        "batch_size": BATCH,
        "precision": "float64",
        "spec_sha256": network.sha256,
    }


# --- the command ------------------------------------------------------------------------------------------------------


def seconds(text: str) -> float:
    """60s, 5m, 1h, or a number of seconds. BadInput for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", text.strip())
    if not found:
        raise BadInput(f"--budget {text}: not a time; write 60s, 5m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _numbers(option: str, text: str) -> tuple[int, ...]:
    for item in text.split(","):
        if not item.strip().isdigit():
            raise BadInput(f"--{option} {text}: whole numbers with commas between, such as 1,32,256")
    return tuple(dict.fromkeys(map(int, text.split(","))))


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(",")))


def parser() -> Parser:
    made = Parser(prog="python -m benchmarks.speed", description="Time the frameworks side by side.")
    what = made.add_argument_group("what")
    what.add_argument("--net", default="lenet", metavar="NAME,...", help="networks, `all`, or file.py:function [lenet]")
    what.add_argument("--fw", default="all", metavar="NAME,...", help=f"{', '.join(FRAMEWORKS)}, NAME:MODE; [all]")
    what.add_argument("--modes", default="", metavar="all", help="every mode of every framework")
    what.add_argument("--baseline", metavar="NAME", help="whom all are compared with [the first]")
    what.add_argument("--what", default=",".join(WHAT), metavar="WHAT,...", help=f"[{','.join(WHAT)}]")
    what.add_argument("--batch", metavar="N,...", help="batch sizes [the recipe's]; inference at 1 is a latency")
    what.add_argument("--precision", default="float32", metavar="NAME,...", help=f"{', '.join(PRECISIONS)} [float32]")
    what.add_argument("--dataset", metavar="NAME", help=f"{', '.join(DATASETS)} [the recipe's]")
    where = made.add_argument_group("where")
    where.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="[auto: cuda if there is]")
    where.add_argument("--threads", metavar="N,...", help="of each worker [all cores]")
    where.add_argument("--python", action="append", default=[], metavar="FW=PATH", help="an interpreter that has it")
    where.add_argument(
        "--adapter", action="append", default=[], metavar="FILE.py:CLASS", help="a framework of your own, by its class"
    )
    where.add_argument(
        "--system-allocator", action="store_true", help="memory, waiting threads and cores as the system has them"
    )
    how = made.add_argument_group("how long")
    how.add_argument(
        "--budget", default="60s", metavar="TIME", help="of each comparison: 60s, 5m; rooflines come on top [60s]"
    )
    how.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="a worker silent for so long has failed [600]"
    )
    kept = made.add_argument_group("results")
    kept.add_argument("--layers", action="store_true", help="each layer's share of the roofline bound")
    kept.add_argument("--out", type=Path, default=Path("results"), metavar="FOLDER", help="where the run's folder goes")
    kept.add_argument("--quiet", action="store_true", help="no progress, only the tables")
    return made


def _request(options: Any) -> Request:
    return Request(
        net=_words(options.net),
        frameworks=options.fw,
        what=_words(options.what),
        batches=_numbers("batch", options.batch) if options.batch else (),
        threads=_numbers("threads", options.threads) if options.threads else (Planned().threads,),
        precision=_words(options.precision),
        budget=seconds(options.budget),
        baseline=options.baseline,
        modes=options.modes,
        layers=options.layers,
        dataset=options.dataset,
        device=options.device,
        steady=not options.system_allocator,
        timeout=options.timeout,
        pythons=parse_pythons(options.python),
        adapters=tuple(options.adapter),
    )


def main(arguments: list[str] | None = None) -> int:
    progress = ProgressDisplay()
    try:
        options = parser().parse_args(arguments)
        progress = ProgressDisplay(options.quiet)
        command = ["python", "-m", "benchmarks.speed", *(sys.argv[1:] if arguments is None else arguments)]
        folder = execute(_request(options), progress, options.out, command)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except DataError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        progress.message("stopped; what was measured is kept")
        return 130
    print(speed_report.told(folder))
    print(folder.path)
    wrong = {"failed", "refused", "unfinished"} | ({"unavailable"} if options.fw != "all" else set())
    return 1 if set(speed_report.frame(folder)["status"]) & wrong else 0


if __name__ == "__main__":
    sys.exit(main())
