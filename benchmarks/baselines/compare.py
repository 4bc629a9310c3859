"""Every adapter against the bare loops of its framework, side by side, as ratios.

    python -m benchmarks.baselines.compare [--net lenet] [--fw all] [--launches 3] [--rounds 6] [--out results]

LeNet on Fashion-MNIST, and larger networks on noise of their size, in slices that take turns; every worker is started
anew for each launch, for two launches of one program differ by more than two slices of it. The ratio of a launch is the
geometric mean of its rounds'; the interval is over launches. Where a framework has several bare loops, the fastest is
what the adapter is held against.
"""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks import record
from benchmarks.data import DataError, Dataset, Split, dataset
from benchmarks.environments import Requested, environment, parse_frameworks, parse_pythons
from benchmarks.errors import BadInput, Parser
from benchmarks.session import Session, WorkerFailed
from benchmarks.tables import Row, markdown
from benchmarks.timing import schedule
from benchmarks.timing.statistics import Estimate, geometric_mean, paired_ratio
from frameworks.adapter import Unavailable
from frameworks.networks import NETWORKS
from frameworks.registry import REALISATIONS
from frameworks.spec import Scale, to_json
from frameworks.training import SGD, Training
from frameworks.weights import initial

Launch: TypeAlias = dict[str, dict[str, Any]]  # by loop


@dataclass(frozen=True)
class Case:
    """How a network is timed: pictures of a step, steps of a slice, the rate, and how it is trained."""

    input: tuple[int, int, int]
    batch: int
    steps: int
    rate: float
    training: Training


CASES = {
    "lenet": Case((1, 28, 28), 256, 40, 0.9, Training(SGD())),
    "vgg_small": Case((1, 224, 224), 64, 1, 0.01, Training(SGD(momentum=0.9))),
    "resnet18": Case((3, 32, 32), 128, 2, 0.01, Training(SGD(momentum=0.9))),
}

# Classes of a framework's file here, by what the loop is called; where nothing is said, `Bare`.
LOOPS = {"torch": {"bare": "Bare", "channels last": "ChannelsLast"}}
# Whose loop an article has, and the companion that it needs. It trains LeNet.
ARTICLES = {"torch": "torchvision"}


def pictures(name: str, scratch: Path) -> Dataset:
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
    name: str, python: Path, article: Path | None, framework: str, rounds: int, threads: int, data: Dataset,
    scratch: Path,
) -> Launch:  # fmt: skip
    """One launch of all loops of a framework: by loop, seconds a picture of training, of predicting all, peak bytes."""
    case, realisation = CASES[name], REALISATIONS[framework]
    bare = str(Path(__file__).parent / (realisation.module.rpartition(".")[2] + ".py"))
    loops = {"adapter": (realisation.module, realisation.adapter)}
    loops |= {loop: (bare, kind) for loop, kind in LOOPS.get(framework, {"bare": "Bare"}).items()}
    if article:
        loops["article"] = (bare, "Article")
    net = NETWORKS[name](classes=10).with_input(case.input).after(Scale("pixels"), input=case.input)
    np.save(scratch / "order.npy", np.random.default_rng(0).permutation(data.train.count))
    np.savez(scratch / "weights.npz", **initial(net, 0))  # type: ignore[arg-type]
    found: dict[str, dict[str, Any]] = {loop: {"train": [], "predict": []} for loop in loops}
    with contextlib.ExitStack() as stack:
        workers = {}
        for loop, (module, adapter) in loops.items():
            log = scratch / f"{framework}.{loop}.log"
            interpreter = article if article and loop == "article" else python
            steady = loop != "article"
            asked = Session(interpreter, module, adapter, threads=threads, log=log, steady=steady)
            workers[loop] = worker = stack.enter_context(asked)
            found[loop]["version"] = next(iter(worker.receive()["versions"].values()))
            where = {"device": "cpu", "precision": "float32", "threads": threads, "mode": ""}
            worker.request("build", network=to_json(net), training=case.training.to_json(), setting=where)
            if loop == "adapter":
                worker.request("set_weights", path=str(scratch / "weights.npz"))
            for split, files in (("train", data.train), ("test", data.test)):
                paths = {"images": str(files.images), "labels": str(files.labels)}
                worker.request("load", split=split, count=files.count, **paths)
        for number, turn in schedule.turns(list(loops), rounds + 1):
            for loop in turn:
                # The article's loader starts its processes for every epoch: its slice is an epoch.
                count = data.train.count if loop == "article" else case.batch * case.steps
                slice_ = {"order": str(scratch / "order.npy"), "start": 0, "stop": count, "batch_size": case.batch}
                rates = [case.rate] * -(-count // case.batch)
                trained = workers[loop].request("train", rates=rates, seed=number, **slice_)
                tested = workers[loop].request("evaluate", split="test", batch_size=case.batch)
                if number:  # the first round compiles and warms up
                    found[loop]["train"].append(trained["seconds"] / count)
                    found[loop]["predict"].append(tested["seconds"])
        for loop, worker in workers.items():
            found[loop]["peak"] = worker.request("memory")["peak"]["resident"]
    return found


def ratios(launches: list[Launch], against: str, what: str) -> Estimate | None:
    """How many times as fast the adapter is as another loop: per launch within rounds, then over launches."""
    per_launch = []
    for one in launches:
        if against in one:
            estimate = paired_ratio(one[against][what], one["adapter"][what])
            per_launch += [estimate.value] if estimate else []
    return geometric_mean(per_launch)


def fastest(launches: list[Launch], what: str) -> str:
    """The bare loop that the adapter gains least on."""
    found = {loop: ratios(launches, loop, what) for loop in launches[0] if loop not in ("adapter", "article")}
    return min(found, key=lambda loop: found[loop].value)  # type: ignore[union-attr]


def row(name: str, title: str, launches: list[Launch]) -> Row:
    """A framework's line of the table."""
    speeds = [1 / seconds for one in launches for seconds in one["adapter"]["train"]]
    best = {what: fastest(launches, what) for what in ("train", "predict")}
    peaks = [one["adapter"]["peak"] / one[best["train"]]["peak"] for one in launches]
    shown = [(best["train"], "train"), (best["predict"], "predict"), ("article", "train")]
    cells = [_text(ratios(launches, loop, what), loop) for loop, what in shown]
    version = launches[0]["adapter"]["version"]
    return (name, f"{title} {version}", f"{np.median(speeds):,.0f}", *cells, f"{math.exp(np.log(peaks).mean()):.2f}")


def _text(estimate: Estimate | None, loop: str) -> str:
    if estimate is None:
        return ""
    interval = "" if estimate.low is None else f" ({estimate.low:.3f} to {estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}" + (f", {loop}" if loop not in ("bare", "article") else "")


HEAD = (
    "network",
    "framework",
    "examples/s, median",
    "training / bare",
    "prediction / bare",
    "training / article's",
    "memory / bare",
)


def note(line: str) -> None:
    print(line, file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.baselines.compare", description="Adapters against bare loops.")
    parser.add_argument("--net", default="lenet", metavar="NAME,...", help=f"of {', '.join(CASES)}, or `all` [lenet]")
    parser.add_argument("--fw", default="all")
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--python", action="append", default=[], metavar="FW=PATH")
    parser.add_argument("--out", type=Path, default=None, help="also write the table there, as baselines.md")
    rows = []
    try:
        options = parser.parse_args(arguments)
        names = list(CASES) if options.net == "all" else options.net.split(",")
        if unknown := [name for name in names if name not in CASES]:
            raise BadInput(f"--net {unknown[0]}: no bare loop trains it; there are {', '.join(CASES)}")
        pythons = parse_pythons(options.python)
        for name, asked in product(names, parse_frameworks(options.fw)):
            article = None
            if asked.name in ARTICLES and name == "lenet":
                article = environment(Requested(ARTICLES[asked.name]), {}, device="cpu", progress=note).python
            place = environment(asked, pythons, device="cpu", progress=note)
            launches = []
            with tempfile.TemporaryDirectory(prefix="onespec-") as folder:
                scratch = Path(folder)
                data = pictures(name, scratch)
                for number in range(options.launches):
                    note(f"{name}, {asked.label}: launch {number + 1} of {options.launches}")
                    how = (options.rounds, options.threads, data, scratch)
                    launches.append(launch(name, place.python, article, asked.name, *how))
            rows.append(row(name, REALISATIONS[asked.name].title, launches))
    except (BadInput, DataError, Unavailable, WorkerFailed) as error:
        print(error, file=sys.stderr)
        return 3 if isinstance(error, DataError) else 2 if isinstance(error, BadInput) else 1
    machine = record.machine()
    slices = "; ".join(f"{name}: batch {CASES[name].batch}, slices of {CASES[name].steps} steps" for name in names)
    text = markdown(HEAD, rows) + (
        f"\n\n{slices}. {options.launches} launches of {options.rounds} rounds, {options.threads} threads. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}. Above 1 "
        "the adapter is faster; memory: peak resident, below 1 it needs less.\n"
    )
    print(text)
    if options.out:
        command = " ".join(sys.argv[1:] if arguments is None else arguments)
        told = f"Written by `python -m benchmarks.baselines.compare {command}`.\n\n{text}"
        (options.out / "baselines.md").write_text(told, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
