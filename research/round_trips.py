"""Is every network the same after it is written as source, run without onespec, and imported again?

    python -m research.round_trips --out docs/round-trips.md

Each network of the catalog, with the small input with which `verify` uses it, is written for every target of `port`.
The source runs in the bare interpreter of its framework in float64. Its logits in evaluation, and without dropout the
gradients of its loss by every trained array in training, are compared with those of the NumPy reference. What can be
imported is imported again, and its layers and arrays are compared with those of the network.

The results of a group of networks are appended to --results; a command that is given again continues there.
"""

from __future__ import annotations

import csv
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from benchmarks.certification.verified_networks import CLASSES, small
from benchmarks.cli import options
from benchmarks.cli.exit_codes import ExitCode
from benchmarks.porting import network_import, onnx_file
from benchmarks.porting.between.alignment import aligned
from benchmarks.porting.between.differences import of_layers
from benchmarks.porting.between.rows import rows
from benchmarks.porting.source.export import WRITERS, about, own_weights, ported, scales_pixels
from benchmarks.porting.source.onnx_model import model
from benchmarks.porting.source.program import Lacking
from benchmarks.reporting.number_formats import count
from benchmarks.reporting.tables import markdown
from benchmarks.runtime import checkout
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import network as load_network
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.verification.case_weights import revealing_weights, settled_weights
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.errors import OnespecError
from frameworks.networks import NETWORKS
from frameworks.numpy_reference import Pass, Reference, without_dropout
from frameworks.spec import Auxiliary, Conv, Network, pair
from frameworks.training import Training
from research import command

SCRIPT = Path(__file__).parents[1] / "tests" / "ported_source.py"
ONNX = "onnx"
FRAMEWORK = {"torch": "torch", "gluon": "mxnet", "keras": "keras", "flax": "jax"}
IMPORTED = ("torch", "keras", ONNX)  # Gluon's source has no file of a symbol; nothing imports Flax
# Layers that a file does not hold, because they are the identity in evaluation, or a further output.
ABSENT = {"keras": ("Auxiliary",), ONNX: ("Auxiliary", "StochasticDepth")}
AUXILIARY_WEIGHT = "weight"  # the only argument of a layer with this name
IMAGES = 4
TOLERANCE = 1e-10  # of the largest logit, and of the largest gradient of an array
# Of the largest gradient of the network: smaller ones, as of a bias before batch normalization, are sums of larger
# values that cancel, with the rounding of these.
FLOOR = 1e-3
# Why the gradients of a target's source may be off by more: a layer, the most that it explains, and the reason.
KNOWN = {
    "torch": ("HardSigmoid", 1e-7, "PyTorch has 1/6 in float32 in the gradient of Hardsigmoid"),
    "gluon": ("GELU", 1e-7, "MXNet has the root of pi in float32 in the gradient of erf"),
}
# XLA makes all kernels of convolutions in groups dense, at the same time. With more bytes of them, JAX runs operation
# by operation: EfficientNet-b6 has 12.7 GiB, and its program took 14 GB.
DENSE = 4 << 30
COLUMNS = ("network", "target", "input", "logits", "gradients", "imported", "problem", "commit")
HEAD = ("target", "networks", "logits equal", "largest error", "gradients equal", "largest error", "imported the same")
OTHER_HEAD = ("network", "target", "what is not equal")
SAME = "same"


@dataclass(frozen=True)
class Trip:
    """A network with weights, images and labels, and the folder of each target."""

    network: Network
    weights: Weights
    images: Array
    labels: Array
    folder: Path

    @staticmethod
    def of(name: str, folder: Path) -> Trip:
        network = small(load_network(name, classes=CLASSES))
        stream = np.random.default_rng(0)
        images = stream.uniform(0, 255 if scales_pixels(network) else 1, (IMAGES, *network.input))
        labels = stream.integers(0, network.classes, IMAGES)
        # With drawn running statistics, some deep networks amplify rounding until no digit of the logits is left.
        weights = settled_weights(network, revealing_weights(network, 0), images, 0)
        return Trip(network, weights, images, labels, folder)

    @property
    def parts(self) -> list[float]:
        """The weights of the losses of the logits and of the auxiliary classifiers."""
        return [1.0, *(head.layer.weight for head in self.network.heads if isinstance(head.layer, Auxiliary))]

    @cached_property  # for all targets
    def gradients(self) -> Weights:
        """Those of the reference, by canonical name."""
        reference = Reference(without_dropout(self.network), Training(), Setting("cpu", "float64", 1))
        reference.set_weights(self.weights)
        return reference.gradients(self.images, self.labels)[1]

    @cached_property
    def logits(self) -> Array:
        return Pass(self.network, self.weights, self.images, None, False).logits

    def write(self, target: str, what: str, network: Network) -> tuple[Path, str]:
        """The folder of a target's source with its input, and the class or function in it. Raises Lacking."""
        folder = self.folder / f"{target}.{what}"
        folder.mkdir(parents=True)
        made = ported(network, target, self.weights)  # dropout has no arrays
        (folder / "net.py").write_text(made.source, encoding="utf-8")
        np.savez(folder / "net.npz", **made.weights)  # type: ignore[arg-type]
        for key, array in {"x": self.images, "labels": self.labels, "parts": self.parts}.items():
            np.save(folder / f"{key}.npy", array)
        return folder, made.entry


def gradient_error(trip: Trip, target: str, expected: Weights, found: Mapping[str, Array]) -> float:
    """The largest relative error of an array's gradient."""
    network, writer = without_dropout(trip.network), WRITERS[target]()
    writer.source(network, about(network, target))
    own = own_weights(writer, network, trip.weights | expected)
    trained = {parameter.name for parameter in network.parameters if parameter.trainable}
    pairs = [(own[theirs], found[theirs]) for name, theirs, _ in writer.arrays() if name in trained]
    largest = max(np.abs(one).max() for one, _ in pairs)
    return max(
        float(np.abs(one - other.reshape(one.shape)).max() / max(np.abs(one).max(), FLOOR * largest))
        for one, other in pairs
    )


def logit_error(expected: Array, found: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def imported_again(trip: Trip, target: str, text: str, python: str) -> str:
    """`SAME`, or the first difference between the network and what is imported of its source."""
    pythons = {} if target == ONNX else {target: python}
    found = network_import.imported(text, trip.network.input, pythons, _silent, source=target)
    absent = ABSENT.get(target, ())
    # The weight of an auxiliary loss belongs to the training, of which a module says nothing.
    differences = [
        each
        for each in of_layers(aligned(rows(trip.network), rows(found.network)))
        if not (each.what == "layer" and each.in_a in absent) and each.what != AUXILIARY_WEIGHT
    ]
    if differences:
        first = differences[0]
        return (
            f"{len(differences)} differences, the first: {first.a or first.b} {first.what}: {first.in_a}, {first.in_b}"
        )
    comparison = network_import.compared(found)
    if not comparison.agrees:
        return f"beyond rounding from {comparison.parted}"
    if target != ONNX:  # a source draws its weights; those of the network are in a file beside it
        return SAME
    heads = [node for _, node in trip.network.walk() if isinstance(node.layer, Auxiliary)]
    left_out = {parameter.name for head in heads for _, node in head.walk() for parameter in node.parameters}
    written = {name: array for name, array in trip.weights.items() if name not in left_out}
    arrays = [sorted(_digest(each) for each in weights.values()) for weights in (written, found.weights)]
    return SAME if arrays[0] == arrays[1] else "other arrays"


def _digest(array: Array) -> tuple[int, float, float]:
    """What two orders of one array have in common."""
    values = array.astype(np.float64)
    return values.size, float(np.sort(values, axis=None).sum()), float(np.abs(values).max(initial=0))


def _silent(line: str) -> None:
    """No progress: the measurement has its own lines."""


def as_dense(network: Network) -> int:
    """Bytes in float64 of the kernels of all convolutions in groups, each as a dense one."""
    return sum(
        8 * prod(pair(node.layer.kernel)) * node.layer.channels * node.input[0]
        for _, node in network.walk()
        if isinstance(node.layer, Conv) and node.layer.groups > 1
    )


def execute(python: Path, what: str, target: str, entries: Mapping[Path, str], by_operation: bool = False) -> None:
    """Run the sources of some folders in one bare interpreter. Raises BadInput with its last line.

    by_operation: JAX compiles each operation, not the whole program.
    """
    arguments = [text for folder, entry in entries.items() for text in (str(folder), entry)]
    done = subprocess.run(
        [str(python), "-I", str(SCRIPT), what, target, *arguments],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | ({"JAX_DISABLE_JIT": "1"} if by_operation else {}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BadInput((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])


def _execute_all(
    python: Path, what: str, target: str, entries: Mapping[Path, str], by_operation: bool
) -> dict[str, str]:
    """Run the sources in one interpreter, or each in its own if that fails; the reasons of failures by network."""
    problems: dict[str, str] = {}
    try:
        if entries:
            execute(python, what, target, entries, by_operation)
    except BadInput:
        for folder, entry in entries.items():
            try:
                execute(python, what, target, {folder: entry}, by_operation)
            except BadInput as error:
                problems[folder.parent.name] = str(error)
    return problems


def of_sources(trips: Mapping[str, Trip], target: str, python: Path) -> Iterator[dict[str, Any]]:
    """The results of some networks in a framework, computed in one process for all."""
    entries: dict[str, dict[Path, str]] = {"predict": {}, "gradients": {}}
    problems: dict[str, str] = {}
    for name, trip in trips.items():
        try:
            for what, network in (("predict", trip.network), ("gradients", without_dropout(trip.network))):
                folder, entry = trip.write(target, what, network)
                entries[what][folder] = entry
        except Lacking as error:
            problems[name] = str(error)
    for what, of_work in entries.items():
        by_operation = any(as_dense(trip.network) > DENSE for trip in trips.values())
        problems |= _execute_all(python, what, target, of_work, by_operation)
    for name, trip in trips.items():
        if name in problems:
            yield {"network": name, "problem": problems[name]}
            continue
        result: dict[str, Any] = {"network": name}
        result["logits"] = logit_error(trip.logits, np.load(trip.folder / f"{target}.predict" / "y.npy"))
        with np.load(trip.folder / f"{target}.gradients" / "y.npz") as found:
            result["gradients"] = gradient_error(trip, target, trip.gradients, found)
        if target in IMPORTED:
            folder = trip.folder / f"{target}.predict"
            result |= _again(trip, target, f"{folder / 'net.py'}:{entries['predict'][folder]}", str(python))
        yield result


def of_onnx(trips: Mapping[str, Trip]) -> Iterator[dict[str, Any]]:
    """The results of some networks as ONNX models, computed by onnx.reference."""
    for name, trip in trips.items():
        path = trip.folder / "model.onnx"
        try:
            proto = model(trip.network, trip.weights, about(trip.network, ONNX), "float64")
            path.write_bytes(proto.SerializeToString())
            read = onnx_file.read(path, str(path), trip.network.input)
            found = onnx_file.values(read, trip.images, ["logits"])["logits"]
        except OnespecError as error:
            yield {"network": name, "problem": str(error).replace(f"{trip.folder}/", "")}
            continue
        yield {"network": name, "logits": logit_error(trip.logits, found), **_again(trip, ONNX, str(path), "")}


def _again(trip: Trip, target: str, text: str, python: str) -> dict[str, str]:
    try:
        return {"imported": imported_again(trip, target, text, python)}
    except OnespecError as error:
        return {"imported": f"refused: {error}".replace(f"{trip.folder}/", "")}


def read(path: Path) -> pd.DataFrame:
    """The results in a file."""
    text = {name: str for name in ("imported", "problem", "commit")}
    empty = pd.DataFrame(columns=list(COLUMNS))
    return pd.read_csv(path, keep_default_na=False, dtype=text) if path.exists() else empty


def _append(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(lines)


def _errors(results: pd.DataFrame, column: str) -> pd.Series:
    return pd.to_numeric(results[column][results[column] != ""])


def row(target: str, results: pd.DataFrame) -> tuple[str, ...]:
    """The row of a target."""
    texts: list[str] = []
    for column in ("logits", "gradients"):
        errors = _errors(results, column)
        texts += [f"{(errors <= TOLERANCE).sum()} of {len(errors)}", f"{errors.max():.1g}"] if len(errors) else ["", ""]
    again = results[results["imported"] != ""]
    same = f"{(again['imported'] == SAME).sum()} of {len(again)}" if len(again) else ""
    return (target, count(len(results)), *texts, same)


def not_equal(line: Mapping[str, Any]) -> str:
    """What of a result is not as it should be, in words; empty if nothing is."""
    errors = {name: float(line[name]) for name in ("logits", "gradients") if line[name] != ""}
    reason = f" ({reason_of(line)})" if reason_of(line) else ""
    parts = [
        f"{name}: {error:.1g}{reason if name == 'gradients' else ''}"
        for name, error in errors.items()
        if not error <= TOLERANCE
    ]
    again = line["imported"] if line["imported"] not in ("", SAME) else ""
    return "; ".join(filter(None, (line["problem"], *parts, again and f"imported: {again}")))


def reason_of(line: Mapping[str, Any]) -> str:
    """Why the gradients of a result are expected to be off; empty if they are not."""
    kind, most, reason = KNOWN.get(line["target"], ("", 0.0, ""))
    if line["gradients"] == "" or not TOLERANCE < float(line["gradients"]) <= most:
        return ""
    return reason if any(node.layer.kind == kind for _, node in NETWORKS[line["network"]]().walk()) else ""


def is_unexpected(line: Mapping[str, Any]) -> bool:
    """Whether something of a result is not equal that is expected to be."""
    return bool(not_equal({**line, "gradients": ""} if reason_of(line) else line))


def report(results: pd.DataFrame) -> str:
    """The table of all results, and the networks of which something is not equal."""
    text = markdown(HEAD, [row(str(name), group) for name, group in results.groupby("target", sort=False)])
    other = [(each["network"], each["target"], not_equal(each)) for _, each in results.iterrows() if not_equal(each)]
    rest = f"\n\n{markdown(OTHER_HEAD, other)}" if other else ""
    names = results["network"].nunique()
    commits = ", ".join(dict.fromkeys(results["commit"]))
    return (
        f"{text}{rest}\n\n{names} of {len(NETWORKS)} networks, small inputs, {CLASSES} classes, {IMAGES} images, "
        f"float64. Equal: at most {TOLERANCE:g} of the largest logit, or of the largest gradient of the array. "
        "Imported the same: no layer, argument or value differs; no source has the weight of an auxiliary loss, ONNX "
        "has no stochastic depth, and neither ONNX nor Keras' model has auxiliary classifiers. "
        f"{command.machine()}; commit {commits}.\n"
    )


@command.research_command("research.round_trips")
@options.option(
    "--net", "nets", type=options.Names(), default="all", metavar="NAME,...", heading=options.WHAT, help="The networks."
)
@options.option(
    "--largest",
    type=options.Number(0, 1e12),
    default=1e9,
    metavar="MACS",
    heading=options.WHAT,
    help="Leave out networks with more multiply-accumulates at their small input.",
)
@options.option(
    "--group", type=command.AT_LEAST_1, default=6, metavar="N", heading=command.HOW, help="Networks in one process."
)
@options.pythons
@options.option(
    "--results",
    type=options.FILE,
    default=Path("results/round_trips.csv"),
    metavar="FILE",
    heading=options.RESULTS,
    help="The results of all networks; finished ones are not repeated.",
)
@command.out_file
def main(
    nets: Sequence[str], largest: float, group: int, pythons: Mapping[str, str], results: Path, out: Path | None
) -> ExitCode:
    """Write networks as source, run it, import it again, and compare each result with the network."""
    known = read(results)
    with TemporaryFolder("compiled") as compiled:
        # Flax draws the arrays of every network, which are then replaced: its programs for that are the same.
        os.environ |= {"JAX_COMPILATION_CACHE_DIR": str(compiled), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        _run_all(nets, largest, group, pythons, results, known)
    table = read(results)
    text = report(table)
    click.echo(text)
    command.write_page(out, f"# Round trips\n\nWritten by `python -m research.round_trips`.\n\n{text}")
    return ExitCode.FAILED if any(is_unexpected(line) for _, line in table.iterrows()) else ExitCode.OK


def _run_all(
    nets: Sequence[str], largest: float, group: int, pythons: Mapping[str, str], results: Path, known: pd.DataFrame
) -> None:
    """Append the results of the networks that are not known."""
    places = {
        target: environment(FrameworkRequest(name), pythons, device="cpu", progress=command.progress).python
        for target, name in FRAMEWORK.items()
    }
    wanted = [name for name in (NETWORKS if list(nets) == ["all"] else nets) if name not in set(known["network"])]
    chosen = [name for name in wanted if small(load_network(name, classes=CLASSES)).macs <= largest]
    for start in range(0, len(chosen), group):
        with TemporaryFolder("trips") as folder:
            began, lines = time.monotonic(), []
            trips = {name: Trip.of(name, folder / name) for name in chosen[start : start + group]}
            commit = checkout.short(checkout.commit() or "none")
            for target, python in places.items():
                lines += [line | {"target": target} for line in of_sources(trips, target, python)]
            lines += [line | {"target": ONNX} for line in of_onnx(trips)]
            for line in lines:
                line |= {"input": "x".join(map(str, trips[line["network"]].network.input)), "commit": commit}
            _append(results, lines)
            command.progress(f"{', '.join(trips)}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(prog_name="python -m research.round_trips")
