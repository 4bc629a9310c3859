"""How far do honest frameworks stray from the reference where batch norm lets rounding grow? A table in Markdown.

    python -m research.rounding [--fw all] [--seeds 2]

ResNet-18 at 32 x 32, whose last batch norms take their statistics over one value a picture. The reference takes the
steps of the check that comes before a speed (`benchmarks.timing.sanity_checks`), and takes them again from weights that
are moved by some roundings of float32. Each framework's worst step is told against how far these draws went: the check
allows `MARGIN` of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.reporting.tables import Row, markdown
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import environment, parse_frameworks
from benchmarks.runtime.machine import Machine
from benchmarks.runtime.worker_client import Session
from benchmarks.timing import sanity_checks
from benchmarks.timing.sanity_checks import ReferenceCheck
from frameworks.arrays import Array, initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Scale, to_json
from frameworks.training import SGD, Adam, Training

PLAIN = NETWORKS["resnet18"](classes=10).with_input((3, 32, 32))
NETWORK = PLAIN.after(Scale("pixels"), input=PLAIN.input)
RULES = {"Adam": (Training(Adam()), (1e-4, 1e-3)), "momentum": (Training(SGD(momentum=0.9)), (1e-3, 1e-2))}
BATCHES = (32, 128)
# The draws that a margin may be held against: as many, each of so many roundings. The first is what the check does.
DRAWS = ((sanity_checks.DRAWS, sanity_checks.ROUNDINGS), (3, 64), (1, 1))


def checks(training: Training, batch: int, rate: float, seed: int) -> tuple[list[ReferenceCheck], Array, Array]:
    """The check under each kind of draw, and the pictures and labels that it takes: noise."""
    stream = np.random.default_rng(seed)
    images = stream.integers(0, 256, (2 * batch, *NETWORK.input), dtype=np.uint8)
    labels = stream.integers(0, NETWORK.classes, len(images))

    given = (NETWORK, training, "train", initial(NETWORK, seed), images, labels, batch, rate)
    return (
        [ReferenceCheck.compute(*given, draws=draws, roundings=roundings) for draws, roundings in DRAWS],
        images,
        labels,
    )


def losses(
    session: Session, training: Training, check: ReferenceCheck, images: Array, labels: Array, seed: int
) -> Array:
    """Of the check's steps, in a framework's worker."""
    with tempfile.TemporaryDirectory(prefix="onespec-rounding-") as place:
        files = {name: Path(place) / f"{name}.npy" for name in ("images", "labels", "order")}
        for path, array in zip(files.values(), (images, labels, check.order)):
            np.save(path, array)
        np.savez(Path(place) / "weights.npz", **initial(NETWORK, seed))  # type: ignore[arg-type]
        setting = {"device": "cpu", "precision": "float32", "threads": 2, "mode": ""}
        session.request("build", network=to_json(check.network), training=training.to_json(), setting=setting)
        session.request("set_weights", path=str(Path(place) / "weights.npz"))
        given = {name: str(files[name]) for name in ("images", "labels")}
        session.request("load", split="train", count=len(images), **given)
        slice_ = {"order": str(files["order"]), "start": 0, "stop": len(check.order), "batch_size": check.batch_size}
        found = session.request("train", lrs=[check.lr] * check.steps, seed=0, **slice_)["losses"]
    return np.asarray(found, np.float64)


def strayed(found: Array, check: ReferenceCheck) -> float:
    """The worst step's distance from the reference, in the draws' own; 0 where all are within the flat limit."""
    gaps = np.abs(found - check.expected)
    told = ~(gaps <= sanity_checks.LIMITS["float32"] * np.abs(check.expected).max())  # what is not a number, too
    return float(np.max(gaps[told] / check.rounding[told], initial=0.0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fw", default="all", metavar="NAME,...")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="onespec-rounding-") as place:
        sessions = {}
        for asked in parse_frameworks(options.fw):
            python, ours = environment(asked, {}, device="cpu", progress=print).python, FRAMEWORKS[asked.name]
            log = Path(place) / f"{asked.name}.log"
            sessions[asked.name] = Session(python, ours.module, ours.adapter, threads=2, log=log)
            sessions[asked.name].receive()
        try:
            for (rule, (training, rates)), batch, seed in product(RULES.items(), BATCHES, range(options.seeds)):
                for rate in rates:
                    kinds, images, labels = checks(training, batch, rate, seed)
                    own = kinds[0]
                    for name, session in sessions.items():
                        found = losses(session, training, own, images, labels, seed)
                        off = np.abs(found - own.expected).max() / np.abs(own.expected).max()
                        far = (f"{off:.1e}", *(f"{strayed(found, check):,.2g}" for check in kinds))
                        rows.append((rule, f"{rate:g}", str(batch), str(seed), str(own.steps), name, *far))
                        print(*rows[-1], file=sys.stderr)
        finally:
            for session in sessions.values():
                session.close()
    machine = Machine.here()
    head = ("rule", "rate", "batch", "seed", "steps", "framework", "off, of the largest loss")
    print(markdown((*head, *(f"of {draws} draws of {roundings}" for draws, roundings in DRAWS)), rows))
    print(f"\n{machine.processor}, {machine.cores} cores, {machine.system}; commit {checkout.commit()}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
