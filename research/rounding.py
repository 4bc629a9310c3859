"""How far are correct frameworks off the reference where batch norm amplifies rounding? A table in Markdown.

    python -m research.rounding [--fw all] [--seed 0,1]

ResNet-18 at 32 x 32, whose last batch norms compute their statistics over one value per image. The reference runs the
steps of the check that precedes a speed (`benchmarks.timing.sanity_checks`), and runs them again from weights that are
perturbed by some roundings of float32. The error of each framework's worst step is given in units of the largest of
these draws; the check allows `MARGIN` of them.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import click
import numpy as np

from benchmarks.cli import options
from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import environment, parse_frameworks
from benchmarks.runtime.worker_client import Commands, WorkerClient
from benchmarks.timing import sanity_checks
from benchmarks.timing.sanity_checks import ReferenceCheck
from frameworks.adapter import Setting
from frameworks.arrays import Array, initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Scale
from frameworks.training import SGD, Adam, Training
from research import command

PLAIN = NETWORKS["resnet18"](classes=10).with_input((3, 32, 32))
NETWORK = PLAIN.after(Scale("pixels"), input=PLAIN.input)
# Training and learning rates by the name of the optimizer.
OPTIMIZERS = {"Adam": (Training(Adam()), (1e-4, 1e-3)), "momentum": (Training(SGD(momentum=0.9)), (1e-3, 1e-2))}
BATCH_SIZES = (32, 128)
THREADS = 2
# (draws, roundings of each): the check's own first, then others that a margin could be based on.
DRAWS = ((sanity_checks.DRAWS, sanity_checks.ROUNDINGS), (3, 64), (1, 1))


def checks(training: Training, batch_size: int, lr: float, seed: int) -> tuple[list[ReferenceCheck], Array, Array]:
    """The check under each kind of draw, and its images and labels, which are noise."""
    stream = np.random.default_rng(seed)
    images = stream.integers(0, 256, (2 * batch_size, *NETWORK.input), dtype=np.uint8)
    labels = stream.integers(0, NETWORK.classes, len(images))
    given = (NETWORK, training, "train", initial(NETWORK, seed), images, labels, batch_size, lr)
    by_draws = [ReferenceCheck.compute(*given, draws=draws, roundings=roundings) for draws, roundings in DRAWS]
    return by_draws, images, labels


def losses(
    worker: Commands, training: Training, check: ReferenceCheck, images: Array, labels: Array, seed: int
) -> Array:
    """The losses of the check's steps in a framework."""
    worker.build(check.network, training, Setting("cpu", "float32", THREADS))
    worker.set_weights(initial(NETWORK, seed))
    worker.load("train", images, labels)
    lrs = [check.lr] * check.steps
    trained = worker.train(check.order, check.batch_size, lrs, stop=len(check.order), seed=0)
    return np.asarray(trained.losses, np.float64)


def error_in_draws(results: Array, check: ReferenceCheck) -> float:
    """The largest error of a step in units of its draws; 0 if all steps are within the constant limit."""
    errors = np.abs(results - check.expected)
    beyond = ~(errors <= sanity_checks.LIMITS["float32"] * np.abs(check.expected).max())  # NaN is beyond it, too
    return float(np.max(errors[beyond] / check.rounding[beyond], initial=0.0))


HEAD = ("optimizer", "lr", "batch", "seed", "steps", "framework", "error, of the largest loss")


@command.research_command("research.rounding")
@options.frameworks
@options.option(
    "--seed",
    "seeds",
    type=options.SEEDS,
    default="0,1",
    metavar="N,...",
    help="Seeds of weights and noise.",
)
@options.pythons
def main(frameworks: str, seeds: tuple[int, ...], pythons: Mapping[str, str]) -> None:
    """Measure the errors of correct frameworks where batch norm amplifies rounding."""
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onespec-rounding-")))
        workers = {}
        for asked in parse_frameworks(frameworks):
            python = environment(asked, pythons, device="cpu", progress=command.progress).python
            info = FRAMEWORKS[asked.name]
            client = WorkerClient(python, info.module, info.adapter, threads=THREADS, log=logs / f"{asked.name}.log")
            workers[asked.name] = stack.enter_context(client)
        for (optimizer, (training, lrs)), batch_size, seed in product(OPTIMIZERS.items(), BATCH_SIZES, seeds):
            for lr in lrs:
                by_draws, images, labels = checks(training, batch_size, lr, seed)
                check = by_draws[0]
                for name, worker in workers.items():
                    results = losses(worker, training, check, images, labels, seed)
                    error = np.abs(results - check.expected).max() / np.abs(check.expected).max()
                    in_draws = (f"{error_in_draws(results, each):,.2g}" for each in by_draws)
                    setting = (optimizer, f"{lr:g}", str(batch_size), str(seed), str(check.steps), name)
                    rows.append((*setting, f"{error:.1e}", *in_draws))
                    command.progress(" ".join(rows[-1]))
    columns = (f"in {draws} draws of {roundings}" for draws, roundings in DRAWS)
    click.echo(markdown((*HEAD, *columns), rows))
    click.echo(f"\n{command.machine()}; commit {checkout.commit()}.")


if __name__ == "__main__":
    main(prog_name="python -m research.rounding")
