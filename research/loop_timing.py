"""Time several training loops of one framework on one network, interleaved, and compare any two of them.

Every worker is started anew for each launch, because two launches of one program differ by more than two slices of one
launch. The ratio of a launch is the median over its rounds, the interval is over launches: `launches_ratio`. Slices
are short where steps are short, because many short rounds give a more precise ratio than few long ones: docs/slices.md.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from benchmarks.cli import options
from benchmarks.datasets.registry import Dataset, Split, dataset
from benchmarks.reporting.number_formats import counted
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime.environments import FrameworkRequest, environment, parse_frameworks
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.interleaving import Limit, Measurement, measure
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.timing.statistics import Estimate, launches_ratio
from frameworks.adapter import Setting
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network, Scale
from frameworks.training import SGD, Training
from research import command
from research.command import progress


@dataclass(frozen=True)
class TimedCase:
    """How a network is timed and trained."""

    input: tuple[int, int, int]
    batch_size: int
    steps: int  # of a slice
    rounds: int  # of a launch, after the warm-up round
    lr: float
    training: Training


CASES = {
    "lenet": TimedCase((1, 28, 28), 256, 4, 40, 0.9, Training(SGD())),
    "vgg_small": TimedCase((1, 224, 224), 64, 1, 8, 0.01, Training(SGD(momentum=0.9))),
    "resnet18": TimedCase((3, 32, 32), 128, 1, 16, 0.01, Training(SGD(momentum=0.9))),
    # With convolutions in groups, which some choices are about: by name only.
    "cifar_mobilenet_v2": TimedCase((3, 32, 32), 32, 1, 8, 0.01, Training(SGD(momentum=0.9))),
    "cifar_resnext29_32x4d": TimedCase((3, 32, 32), 4, 1, 4, 0.01, Training(SGD(momentum=0.9))),
}
IN_ALL = ("lenet", "vgg_small", "resnet18")  # what `--net all` names; these have bare loops too

PREDICTED_BATCHES = 10  # of test images in a round, at most
EPOCH_ROUNDS = 4  # rounds of a loop whose slice is an epoch


@dataclass(frozen=True)
class TrainingLoop:
    """A class that trains: an adapter or a bare loop, the interpreter that runs it, and its process's environment."""

    python: Path
    module: str  # or the path of a file
    adapter: str  # the class
    bare: bool = False  # draws its own initial weights; an adapter gets those of the spec
    steady: bool = True  # as in `WorkerClient`
    environment: Mapping[str, str] = field(default_factory=dict)
    whole_epochs: bool = False  # a slice of training is an epoch
    mode: str = ""  # of an adapter


@dataclass
class LoopSamples:
    """The samples of a loop in one launch."""

    version: str  # of the framework
    train: list[float]  # seconds per image, by round
    predict: list[float]  # seconds per image, by round
    peak: int = 0  # bytes of resident memory


Launch: TypeAlias = dict[str, LoopSamples]  # by the name of the loop
Phase: TypeAlias = Literal["train", "predict"]


@dataclass(frozen=True)
class RunningLoop:
    """A loop in its worker."""

    name: str
    loop: TrainingLoop
    client: WorkerClient
    samples: LoopSamples


class LoopTiming(Measurement[RunningLoop]):
    """Launches of several loops on one network; the samples are in `launches`."""

    def __init__(
        self, name: str, loops: Mapping[str, TrainingLoop], scratch: Path, launches: int, rounds: int, threads: int
    ) -> None:
        self.case, self.loops, self.scratch, self.threads = CASES[name], loops, scratch, threads
        self.network = timed_network(name)
        self.data = images_of(name, scratch)
        self.count, self.rounds = launches, rounds
        self.weights, self.order = scratch / "weights.npz", scratch / "order.npy"
        np.save(self.order, np.random.default_rng(0).permutation(self.data.train.count))
        np.savez(self.weights, **initial(self.network, 0))  # type: ignore[arg-type]
        self.predicted = min(self.data.test.count, PREDICTED_BATCHES * self.case.batch_size)
        self.launches: list[Launch] = []

    def wants_launch(self, launch: int) -> bool:
        return launch < self.count

    def open(self, launch: int, stack: contextlib.ExitStack) -> Sequence[RunningLoop]:
        progress(f"launch {launch + 1} of {self.count}")
        return [self._start(name, loop, stack) for name, loop in self.loops.items()]

    def limit(self) -> Limit:
        return Limit(rounds=self.rounds + 1)

    def play(self, worker: RunningLoop, number: int) -> bool:
        whole, batch_size = worker.loop.whole_epochs, self.case.batch_size
        count = self.data.train.count if whole else batch_size * self.case.steps
        lrs = [self.case.lr] * -(-count // batch_size)
        trained = worker.client.train(self.order, batch_size, lrs, stop=count, seed=number)
        predicted = worker.client.evaluate("test", batch_size)
        if number:  # the first round compiles and warms up
            worker.samples.train.append(trained.seconds / count)
            worker.samples.predict.append(predicted.seconds / self.predicted)
        return not whole or number < EPOCH_ROUNDS

    def finish(self, launch: int, workers: Sequence[RunningLoop]) -> None:
        for worker in workers:
            worker.samples.peak = worker.client.peak_memory()["resident"]
        self.launches.append({worker.name: worker.samples for worker in workers})

    def _start(self, name: str, loop: TrainingLoop, stack: contextlib.ExitStack) -> RunningLoop:
        client = stack.enter_context(
            WorkerClient(
                loop.python,
                loop.module,
                loop.adapter,
                threads=self.threads,
                log=self.scratch / f"{name.replace('/', '_')}.log",
                steady=loop.steady,
                environment=loop.environment,
            )
        )
        client.build(self.network, self.case.training, Setting("cpu", "float32", self.threads, loop.mode))
        if not loop.bare:
            client.set_weights(self.weights)
        client.load("train", Path(self.data.train.images), Path(self.data.train.labels), self.data.train.count)
        client.load("test", Path(self.data.test.images), Path(self.data.test.labels), self.predicted)
        return RunningLoop(name, loop, client, LoopSamples(next(iter(client.started.versions.values())), [], []))


def timed_network(name: str) -> Network:
    """A network with ten classes on the input of its case, behind the scaling of pixels."""
    shape = CASES[name].input
    return NETWORKS[name](classes=10).with_input(shape).after(Scale("pixels"), input=shape)


def images_of(name: str, scratch: Path) -> Dataset:
    """Fashion-MNIST for LeNet; for the others noise, two slices long."""
    if name == "lenet":
        return dataset("fashion-mnist", progress=progress)
    case, stream = CASES[name], np.random.default_rng(0)
    count = 2 * case.batch_size * case.steps
    split = Split(scratch / f"{name}_images.npy", scratch / f"{name}_labels.npy", count)
    np.save(split.images, stream.integers(0, 256, (count, *case.input), dtype=np.uint8))
    np.save(split.labels, stream.integers(0, 10, count))
    return Dataset("noise", case.input, 10, (), split, split, {}, True, "")


def adapter_loop(asked: FrameworkRequest, python: Path) -> TrainingLoop:
    """The adapter of a framework."""
    info = FRAMEWORKS[asked.name]
    return TrainingLoop(python, info.module, info.adapter)


def file_of(folder: str, asked: FrameworkRequest) -> Path | None:
    """The file of a framework in a folder of this package, named like its adapter's module; None if there is none."""
    file = Path(__file__).parent / folder / f"{FRAMEWORKS[asked.name].stem}.py"
    return file if file.exists() else None


def ratio(launches: Sequence[Launch], loop: str, other: str, phase: Phase) -> Estimate | None:
    """How many times faster one loop is than another, over launches; None if no launch has both."""
    sides: tuple[list[list[float]], list[list[float]]] = ([], [])
    for launch in launches:
        if loop in launch and other in launch:
            # A loop with fewer rounds took part in the first ones.
            shared = list(zip(getattr(launch[loop], phase), getattr(launch[other], phase)))
            for side, seconds in zip(sides, zip(*shared)):
                side.append(list(seconds))
    return launches_ratio(*sides)


def memory_ratio(launches: Sequence[Launch], loop: str, other: str) -> float:
    """The peak resident memory of a loop relative to another: the geometric mean over launches."""
    return math.exp(np.log([launch[loop].peak / launch[other].peak for launch in launches]).mean())


# --- what the commands share ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TimingOptions:
    """Options of a command that times loops. BadInput for a network that is not timed here."""

    nets: tuple[str, ...]
    frameworks: str
    launches: int
    rounds: int | None  # of each launch; None: those of the case
    threads: int
    pythons: Mapping[str, str]
    allowed: tuple[str, ...]  # networks

    def __post_init__(self) -> None:
        if unknown := [name for name in self.names if name not in self.allowed]:
            raise BadInput(f"--net {unknown[0]}: not timed here; allowed are {', '.join(self.allowed)} and all")

    @property
    def names(self) -> tuple[str, ...]:
        """The networks."""
        return IN_ALL if self.nets == ("all",) else self.nets

    def description(self) -> str:
        """What was timed and on which machine."""
        cases = []
        for name in self.names:
            case = CASES[name]
            rounds, steps = self.rounds or case.rounds, counted(case.steps, "step")
            cases.append(f"{name}: batch {case.batch_size}, {rounds} rounds of {steps}")
        return f"{'; '.join(cases)}. {self.launches} launches, {self.threads} threads, float32. {command.machine()}."


def timing_options(
    nets: str, allowed: tuple[str, ...] = tuple(CASES)
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the options of `TimingOptions` for a command, which receives them as `timing`.

    nets: the default. allowed: the networks that the command can time.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def with_timing(
            nets: tuple[str, ...],
            frameworks: str,
            launches: int,
            rounds: int | None,
            threads: int,
            pythons: Mapping[str, str],
            **others: Any,
        ) -> Any:
            timing = TimingOptions(nets, frameworks, launches, rounds, threads, pythons, allowed)
            return function(timing, **others)

        of_nets = options.option(
            "--net",
            "nets",
            type=options.Names(),
            default=nets,
            metavar="NAME,...",
            heading=options.WHAT,
            help=f"Networks: {', '.join(allowed)}, or all, which are {', '.join(IN_ALL)}.",
        )
        for declare in (command.threads, options.pythons, command.rounds, command.launches, options.frameworks):
            with_timing = declare(with_timing)
        return of_nets(with_timing)  # type: ignore[no-any-return]

    return decorate


@dataclass(frozen=True)
class TimedLoops:
    """The launches of the loops of one framework on one network; none if the framework has no loops to compare."""

    network: str
    asked: FrameworkRequest
    launches: Sequence[Launch]


def time_loops(
    timing: TimingOptions, loops_of: Callable[[str, FrameworkRequest, Path], Mapping[str, TrainingLoop]]
) -> Iterator[TimedLoops]:
    """Time every network in every framework. loops_of: the loops by name, of a network and an interpreter.

    Nothing is timed if there are fewer than two loops. Raises `Unavailable`, `WorkerFailed` and `DataError`.
    """
    for name, asked in product(timing.names, parse_frameworks(timing.frameworks)):
        python = environment(asked, timing.pythons, device="cpu", progress=progress).python
        loops = loops_of(name, asked, python)
        launches: list[Launch] = []
        if len(loops) > 1:
            progress(f"{name}, {asked.label}")
            with tempfile.TemporaryDirectory(prefix="onespec-") as scratch:
                rounds = timing.rounds or CASES[name].rounds
                loop_timing = LoopTiming(name, loops, Path(scratch), timing.launches, rounds, timing.threads)
                measure(loop_timing)
                launches = loop_timing.launches
        yield TimedLoops(name, asked, launches)


def table(head: Row, rows: Iterator[Row], on_row: Callable[[str], object] = lambda table: None) -> str:
    """The table in Markdown; each row is also shown as progress. on_row: called with the table after each row."""
    body = []
    for row in rows:
        body.append(row)
        progress(markdown(head, [row]).splitlines()[-1])
        on_row(markdown(head, body))
    return markdown(head, body)
