"""Loops of one framework take turns on one network: launches, each of several rounds, and the ratios of two loops.

Every worker is started anew for each launch, for two launches of one program differ by more than two slices of it. The
ratio of a launch is the median of its rounds, the interval is over launches: `statistics.launches_ratio`. Slices are
short where steps are, for many short rounds tell more than few long ones: docs/slices.md.
"""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.datasets.registry import Dataset, Split, dataset
from benchmarks.reporting import markers
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime.environments import FrameworkRequest, environment, parse_frameworks, parse_pythons
from benchmarks.runtime.errors import BadInput, DataError, Parser, WorkerFailed
from benchmarks.runtime.interleaving import interleaved
from benchmarks.runtime.machine import Machine
from benchmarks.runtime.worker_client import Session
from benchmarks.timing.statistics import Estimate, launches_ratio
from frameworks.arrays import initial
from frameworks.errors import Unavailable
from frameworks.networks import NETWORKS
from frameworks.spec import Scale, to_json
from frameworks.training import SGD, Training

Launch: TypeAlias = dict[str, dict[str, Any]]  # by loop


@dataclass(frozen=True)
class Case:
    """How a network is timed: pictures of a step, steps of a slice, rounds, the rate, and how it is trained."""

    input: tuple[int, int, int]
    batch: int
    steps: int
    rounds: int  # of a launch, after the one in which everybody warms up
    rate: float
    training: Training


CASES = {
    "lenet": Case((1, 28, 28), 256, 4, 40, 0.9, Training(SGD())),
    "vgg_small": Case((1, 224, 224), 64, 1, 8, 0.01, Training(SGD(momentum=0.9))),
    "resnet18": Case((3, 32, 32), 128, 1, 16, 0.01, Training(SGD(momentum=0.9))),
}


TESTED = 10  # batches of the test pictures that are predicted in a round, at most
WHOLE = 4  # rounds in which a loop takes part whose slice is an epoch


@dataclass(frozen=True)
class Contender:
    """Who trains: a class in a module or a file, run by an interpreter, and the environment of its process."""

    python: Path
    module: str
    adapter: str
    bare: bool = False  # draws its own weights; an adapter is given the description's
    steady: bool = True  # as `Session` has it
    environment: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False  # a slice of training is an epoch
    mode: str = ""  # of an adapter, beside the one that its framework teaches


def pictures(name: str, scratch: Path, note: Callable[[str], None]) -> Dataset:
    """Fashion-MNIST for LeNet; noise for the others, as much as two slices take."""
    if name == "lenet":
        return dataset("fashion-mnist", progress=note)
    case, stream = CASES[name], np.random.default_rng(0)
    count = 2 * case.batch * case.steps
    split = Split(scratch / f"{name}_images.npy", scratch / f"{name}_labels.npy", count)
    np.save(split.images, stream.integers(0, 256, (count, *case.input), dtype=np.uint8))
    np.save(split.labels, stream.integers(0, 10, count))
    return Dataset("noise", case.input, 10, (), split, split, {}, True, "")


def launch(
    name: str, loops: Mapping[str, Contender], data: Dataset, scratch: Path, *, rounds: int, threads: int
) -> Launch:
    """All loops, started anew: by loop, seconds a picture of training, of predicting all, and the peak in bytes.

    Raises WorkerFailed, and Unavailable where a framework cannot be had.
    """
    case = CASES[name]
    net = NETWORKS[name](classes=10).with_input(case.input).after(Scale("pixels"), input=case.input)
    order, weights = scratch / "order.npy", scratch / "weights.npz"
    np.save(order, np.random.default_rng(0).permutation(data.train.count))
    np.savez(weights, **initial(net, 0))  # type: ignore[arg-type]
    tested = min(data.test.count, TESTED * case.batch)
    found: Launch = {loop: {"train": [], "predict": []} for loop in loops}
    with contextlib.ExitStack() as stack:
        workers = {}
        for number, (loop, who) in enumerate(loops.items()):
            how = {"threads": threads, "steady": who.steady, "environment": who.environment}
            asked = Session(who.python, who.module, who.adapter, log=scratch / f"{number}.log", **how)  # type: ignore
            workers[loop] = worker = stack.enter_context(asked)
            found[loop]["version"] = next(iter(worker.receive()["versions"].values()))
            where = {"device": "cpu", "precision": "float32", "threads": threads, "mode": who.mode}
            worker.request("build", network=to_json(net), training=case.training.to_json(), setting=where)
            if not who.bare:
                worker.request("set_weights", path=str(weights))
            for split, files, count in (("train", data.train, data.train.count), ("test", data.test, tested)):
                paths = {"images": str(files.images), "labels": str(files.labels)}
                worker.request("load", split=split, count=count, **paths)
        for number, turn in interleaved(list(loops), rounds + 1):
            for loop in turn:
                if loops[loop].whole and number > WHOLE:
                    continue
                count = data.train.count if loops[loop].whole else case.batch * case.steps
                slice_ = {"order": str(order), "start": 0, "stop": count, "batch_size": case.batch}
                rates = [case.rate] * -(-count // case.batch)
                trained = workers[loop].request("train", lrs=rates, seed=number, **slice_)
                predicted = workers[loop].request("evaluate", split="test", batch_size=case.batch)
                if number:  # the first round compiles and warms up
                    found[loop]["train"].append(trained["seconds"] / count)
                    found[loop]["predict"].append(predicted["seconds"] / tested)
        for loop, worker in workers.items():
            found[loop]["peak"] = worker.request("memory")["peak"]["resident"]
    return found


def ratio(launches: Sequence[Launch], mine: str, theirs: str, what: str) -> Estimate | None:
    """How many times as fast one loop is as another, over launches; None where the other was in none."""
    sides: tuple[list[list[float]], list[list[float]]] = ([], [])
    for one in launches:
        if mine in one and theirs in one:
            shared = list(zip(one[mine][what], one[theirs][what]))  # a loop with fewer rounds was in the first ones
            for side, seconds in zip(sides, zip(*shared)):
                side.append(list(seconds))
    return launches_ratio(*sides)


def memory(launches: Sequence[Launch], mine: str, theirs: str) -> float:
    """One loop's peak of resident memory over another's: the geometric mean over launches."""
    return math.exp(np.log([one[mine]["peak"] / one[theirs]["peak"] for one in launches]).mean())


def told(estimate: Estimate | None) -> str:
    """A ratio with its interval."""
    if estimate is None:
        return ""
    interval = "" if estimate.low is None else f" ({estimate.low:.3f} to {estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}"


# --- what the commands share ------------------------------------------------------------------------------------------


def parser(module: str, description: str, net: str) -> Parser:
    """The options of a command that holds contests; `net` is what `--net` is where it is not given."""
    made = Parser(prog=f"python -m {module}", description=description)
    made.add_argument("--net", default=net, metavar="NAME,...", help=f"of {', '.join(CASES)}, or `all` [{net}]")
    made.add_argument("--fw", default="all")
    made.add_argument("--launches", type=int, default=3)
    made.add_argument("--rounds", type=int, help="of each launch [as many as suit the network]")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--python", action="append", default=[], metavar="FW=PATH")
    return made


def contests(
    options: Namespace, loops: Callable[[str, FrameworkRequest, Path], Mapping[str, Contender]]
) -> Iterator[tuple[str, FrameworkRequest, list[Launch]]]:
    """The launches of each network in each framework; `loops` of a network and an interpreter. Raises BadInput."""
    names = networks(options)
    if min(options.launches, options.threads, 1 if options.rounds is None else options.rounds) < 1:
        raise BadInput("--launches, --rounds and --threads are at least 1")
    pythons = parse_pythons(options.python)
    for name, asked in product(names, parse_frameworks(options.fw)):
        python = environment(asked, pythons, device="cpu", progress=note).python
        who = loops(name, asked, python)
        how = {"rounds": options.rounds or CASES[name].rounds, "threads": options.threads}
        launches = []
        with tempfile.TemporaryDirectory(prefix="onespec-") as folder:
            data = pictures(name, Path(folder), note)
            for number in range(options.launches):
                note(f"{name}, {asked.label}: launch {number + 1} of {options.launches}")
                launches.append(launch(name, who, data, Path(folder), **how))
        yield name, asked, launches


def tabulate(
    made: Parser, arguments: Sequence[str] | None, head: Row, lines: Callable[[Namespace], Iterator[Row]], mark: str
) -> int:
    """The whole of a command that prints a table of contests, and puts it between a page's marks; its exit status."""
    made.add_argument("--write", type=Path, metavar="FILE", help="put the table between this file's marks")
    found: list[Row] = []
    try:
        options = made.parse_args(arguments)
        if options.write:  # what takes half an hour is not to fail at its end
            markers.around(options.write, mark, "--write")
        for line in lines(options):
            found.append(line)
            note(markdown(head, [line]).splitlines()[-1])
        text = f"{markdown(head, found)}\n\n{described(options)}"
        print(text)
        if options.write:
            markers.put(options.write, mark, f"\n{text}\n", "--write")
    except FAILURES as error:
        print(error, file=sys.stderr)
        return status(error)
    return 0


def networks(options: Namespace) -> list[str]:
    """The networks that are asked for. Raises BadInput."""
    names = list(CASES) if options.net == "all" else options.net.split(",")
    if unknown := [name for name in names if name not in CASES]:
        raise BadInput(f"--net {unknown[0]}: it is not timed here; there are {', '.join(CASES)}")
    return names


def described(options: Namespace) -> str:
    """What was timed and on which machine, in a sentence each."""
    machine = Machine.here()
    cases = []
    for name in networks(options):
        case = CASES[name]
        steps = f"{case.steps} step{'s' * (case.steps > 1)}"
        cases.append(f"{name}: batch {case.batch}, {options.rounds or case.rounds} rounds of {steps}")
    return (
        f"{'; '.join(cases)}. {options.launches} launches, {options.threads} threads, "
        f"float32. {machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.system}."
    )


def status(error: Exception) -> int:
    """What a command ends with that such an error has stopped."""
    return 3 if isinstance(error, DataError) else 2 if isinstance(error, BadInput) else 1


def note(line: str) -> None:
    print(line, file=sys.stderr)


FAILURES = (BadInput, DataError, Unavailable, WorkerFailed)
