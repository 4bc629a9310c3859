"""Every adapter against the bare loop of its framework, side by side, as ratios.

    python -m benchmarks.baselines.compare [--fw all] [--launches 3] [--rounds 6] [--threads 2] [--out results]

LeNet on Fashion-MNIST, batch 256, in slices of 40 steps that take turns; every worker is started anew for each launch,
for two launches of one program differ by more than two slices of it. The ratio of a launch is the geometric mean of
its rounds'; the interval is over launches.
"""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks import record
from benchmarks.data import DataError, Dataset, dataset
from benchmarks.environments import Requested, environment, parse_frameworks, parse_pythons
from benchmarks.errors import BadInput, Parser
from benchmarks.plan import fit
from benchmarks.recipes import RECIPES
from benchmarks.session import Session, WorkerFailed
from benchmarks.timing import schedule
from benchmarks.timing.statistics import Estimate, geometric_mean, paired_ratio
from frameworks.adapter import Unavailable
from frameworks.networks import NETWORKS
from frameworks.registry import REALISATIONS
from frameworks.spec import to_json
from frameworks.weights import initial

BATCH, STEPS = 256, 40  # pictures of a step, steps of a slice
Launch: TypeAlias = dict[str, dict[str, Any]]  # by loop


ARTICLES = {"torch": "torchvision"}  # whose loop an article has, and the companion that it needs


def launch(
    python: Path, article: Path | None, name: str, rounds: int, threads: int, data: Dataset, scratch: Path
) -> Launch:
    """One launch of all loops of a framework: by loop, seconds a picture of training, of predicting all, peak bytes."""
    realisation = REALISATIONS[name]
    bare = str(Path(__file__).parent / (realisation.module.rpartition(".")[2] + ".py"))
    loops = {"adapter": (realisation.module, realisation.adapter), "bare": (bare, "Bare")}
    if article:
        loops["article"] = (bare, "Article")
    net = fit(NETWORKS["lenet"](), RECIPES["lenet"], data)
    np.save(scratch / "order.npy", np.random.default_rng(0).permutation(data.train.count))
    np.savez(scratch / "weights.npz", **initial(net, 0))  # type: ignore[arg-type]
    found: dict[str, dict[str, Any]] = {loop: {"train": [], "predict": []} for loop in loops}
    with contextlib.ExitStack() as stack:
        workers = {}
        for loop, (module, adapter) in loops.items():
            log = scratch / f"{name}.{loop}.log"
            interpreter = article if article and loop == "article" else python
            steady = loop != "article"
            asked = Session(interpreter, module, adapter, threads=threads, log=log, steady=steady)
            workers[loop] = worker = stack.enter_context(asked)
            found[loop]["version"] = next(iter(worker.receive()["versions"].values()))
            where = {"device": "cpu", "precision": "float32", "threads": threads, "mode": ""}
            worker.request("build", network=to_json(net), training=RECIPES["lenet"].training.to_json(), setting=where)
            if loop == "adapter":
                worker.request("set_weights", path=str(scratch / "weights.npz"))
            for split, files in (("train", data.train), ("test", data.test)):
                paths = {"images": str(files.images), "labels": str(files.labels)}
                worker.request("load", split=split, count=files.count, **paths)
        for number, turn in schedule.turns(list(loops), rounds + 1):
            for loop in turn:
                # The article's loader starts its processes for every epoch: its slice is an epoch.
                count = data.train.count if loop == "article" else BATCH * STEPS
                slice_ = {"order": str(scratch / "order.npy"), "start": 0, "stop": count, "batch_size": BATCH}
                rates = [0.9] * -(-count // BATCH)
                trained = workers[loop].request("train", rates=rates, seed=number, **slice_)
                tested = workers[loop].request("evaluate", split="test", batch_size=BATCH)
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


def row(title: str, launches: list[Launch]) -> list[str]:
    """A framework's line of the table."""
    speeds = [1 / seconds for one in launches for seconds in one["adapter"]["train"]]
    peak = math.exp(np.mean([math.log(one["adapter"]["peak"] / one["bare"]["peak"]) for one in launches]))
    cells = [
        ratios(launches, loop, what) for loop, what in (("bare", "train"), ("bare", "predict"), ("article", "train"))
    ]
    return [title, launches[0]["adapter"]["version"], f"{np.median(speeds):,.0f}", *map(_text, cells), f"{peak:.2f}"]


def _text(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    interval = "" if estimate.low is None else f" ({estimate.low:.3f} to {estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}"


HEAD = [
    "framework",
    "version",
    "examples/s, median",
    "training / bare",
    "prediction / bare",
    "training / article's",
    "memory / bare",
]


def note(line: str) -> None:
    print(line, file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.baselines.compare", description="Adapters against bare loops.")
    parser.add_argument("--fw", default="all")
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--python", action="append", default=[], metavar="FW=PATH")
    parser.add_argument("--out", type=Path, default=None, help="also write the table there, as baselines.md")
    lines = [HEAD, ["---"] * len(HEAD)]
    try:
        options = parser.parse_args(arguments)
        pythons = parse_pythons(options.python)
        data = dataset("fashion-mnist", progress=note)
        for asked in parse_frameworks(options.fw):
            article = None
            if asked.name in ARTICLES:
                article = environment(Requested(ARTICLES[asked.name]), {}, device="cpu", progress=note).python
            place = environment(asked, pythons, device="cpu", progress=note)
            launches = []
            with tempfile.TemporaryDirectory(prefix="onespec-") as scratch:
                for number in range(options.launches):
                    print(f"{asked.label}: launch {number + 1} of {options.launches}", file=sys.stderr)
                    launches.append(
                        launch(place.python, article, asked.name, options.rounds, options.threads, data, Path(scratch))
                    )
            lines.append(row(REALISATIONS[asked.name].title, launches))
    except (BadInput, DataError, Unavailable, WorkerFailed) as error:
        print(error, file=sys.stderr)
        return 3 if isinstance(error, DataError) else 2 if isinstance(error, BadInput) else 1
    machine = record.machine()
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    text += (
        f"\n\nLeNet, Fashion-MNIST, batch {BATCH}; {options.launches} launches of {options.rounds} rounds of {STEPS} "
        f"steps, {options.threads} threads. {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}. Above 1 the adapter is faster; memory: peak resident, "
        "below 1 it needs less.\n"
    )
    print(text)
    if options.out:
        command = " ".join(sys.argv[1:] if arguments is None else arguments)
        told = f"Written by `python -m benchmarks.baselines.compare {command}`.\n\n{text}"
        (options.out / "baselines.md").write_text(told, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
