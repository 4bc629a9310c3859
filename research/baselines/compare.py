"""Every adapter against the bare loops of its framework, side by side, as ratios.

    python -m research.baselines.compare [--net lenet] [--fw all] [--launches 3] [--out results]

LeNet on Fashion-MNIST, and larger networks on noise of their size, as `research/baselines/contest.py` has it. Where a
framework has several bare loops, the fastest is what the adapter is held against.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime.environments import FrameworkRequest, environment
from frameworks.registry import FRAMEWORKS
from research.baselines import contest
from research.baselines.contest import Contender, Launch

# Classes of a framework's file here, by what the loop is called; where nothing is said, `Bare`.
LOOPS = {"torch": {"bare": "Bare", "channels last": "ChannelsLast"}}
# Whose loop an article has, and the companion that it needs. It trains LeNet.
ARTICLES = {"torch": "torchvision"}
ARTICLE = "article"


def contenders(name: str, asked: FrameworkRequest, python: Path) -> dict[str, Contender]:
    """The adapter of a framework, first; the loops that it is held against; its modes, where there is an article's."""
    info = FRAMEWORKS[asked.name]
    own = str(Path(__file__).parent / (info.module.rpartition(".")[2] + ".py"))
    loops = {"adapter": Contender(python, info.module, info.adapter)}
    kinds = LOOPS.get(asked.name, {"bare": "Bare"})
    loops |= {loop: Contender(python, own, kind, bare=True) for loop, kind in kinds.items()}
    if asked.name in ARTICLES and name == "lenet":
        # In the environment as it is. Its loader starts its processes for every epoch, so a slice is one.
        article = environment(FrameworkRequest(ARTICLES[asked.name]), {}, device="cpu", progress=contest.note).python
        loops[ARTICLE] = Contender(article, own, "Article", bare=True, steady=False, whole=True)
        for mode in info.modes:
            loops[f":{mode}"] = Contender(python, info.module, info.adapter, mode=mode)
    return loops


def fastest(launches: list[Launch], what: str) -> str:
    """The bare loop that the adapter gains least on."""
    bare = launches[0].keys() & {"bare", *(loop for loops in LOOPS.values() for loop in loops)}
    return min(bare, key=lambda one: contest.ratio(launches, "adapter", one, what).value)  # type: ignore[union-attr]


def best_mode(launches: list[Launch]) -> str:
    """The adapter in the mode that gains most on the article's loop, with its ratio; nothing where there is no such."""
    modes = [loop for loop in launches[0] if loop.startswith(":")]
    ratios = {mode: contest.ratio(launches, mode, ARTICLE, "train") for mode in modes}
    best = max(modes, key=lambda mode: ratios[mode].value, default=None)  # type: ignore[union-attr]
    return f"{contest.told(ratios[best])}, {best}" if best else ""


def row(name: str, title: str, launches: list[Launch]) -> Row:
    """A framework's line of the table."""
    speeds = [1 / seconds for one in launches for seconds in one["adapter"]["train"]]
    train, predict = (fastest(launches, what) for what in ("train", "predict"))
    cells = []
    for loop, what in ((train, "train"), (predict, "predict"), (ARTICLE, "train")):
        ratio = contest.told(contest.ratio(launches, "adapter", loop, what))
        cells.append(ratio if loop in ("bare", ARTICLE) else f"{ratio}, {loop}")
    memory = f"{contest.memory(launches, 'adapter', train):.2f}"
    version = launches[0]["adapter"]["version"]
    return (name, f"{title} {version}", f"{np.median(speeds):,.0f}", *cells, best_mode(launches), memory)


HEAD = (
    "network",
    "framework",
    "examples/s, median",
    "training / bare",
    "prediction / bare",
    "training / article's",
    "best mode / article's",
    "memory / bare",
)


def main(arguments: list[str] | None = None) -> int:
    parser = contest.parser("research.baselines.compare", "Adapters against bare loops.", net="lenet")
    parser.add_argument("--out", type=Path, default=None, help="also write the table there, as baselines.md")
    try:
        options = parser.parse_args(arguments)
        found = contest.contests(options, contenders)
        rows = [row(name, FRAMEWORKS[asked.name].title, launches) for name, asked, launches in found]
    except contest.FAILURES as error:
        print(error, file=sys.stderr)
        return contest.status(error)
    sense = "Above 1 the adapter is faster; memory: peak resident, below 1 it needs less."
    text = f"{markdown(HEAD, rows)}\n\n{contest.described(options)} {sense}\n"
    print(text)
    if options.out:
        command = " ".join(sys.argv[1:] if arguments is None else arguments)
        told = f"Written by `python -m research.baselines.compare {command}`.\n\n{text}"
        (options.out / "baselines.md").write_text(told, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
