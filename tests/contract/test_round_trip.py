"""A network that is written as source and imported again is the same network: its values, and its spec.

ONESPEC_PORTED=all does this with every network that the machine can compute, which takes hours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest

from benchmarks.porting import network_import
from benchmarks.porting.between.report import compared
from benchmarks.porting.port_files import write_all
from benchmarks.porting.source.export import WRITERS, about
from benchmarks.porting.source.program import Lacking
from benchmarks.porting.sources import Side
from benchmarks.runtime.errors import BadInput
from frameworks.networks import NETWORKS
from frameworks.spec import (
    GELU,
    AdaptiveAvgPool,
    Add,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Multiply,
    Network,
    Node,
    Residual,
    Select,
    StochasticDepth,
    pair,
    sides,
    to_json,
)
from frameworks.spec.windowed import extent, gaps
from tests.conftest import Bench
from tests.contract.test_ported_source import LARGEST, mobile, weights_of, windows


def operations() -> Network:
    """Layers that a file has as several operations, stochastic depth, and a mean of windows that overlap."""
    layers: list[Layer] = [
        *(Conv("stage.conv", 6, 3, 2, padding=1), LocalResponseNorm("norm", 3, alpha=0.3), GELU()),
        Residual("block", [Conv("conv", 6, 3, padding=1), BatchNorm("bn"), StochasticDepth(rate=0.25)]),
        *(AdaptiveAvgPool("pool", 3, 2), Flatten(), Dense("fc", 5)),
    ]
    return Network("operations", (3, 8, 8), layers)


SMALL: dict[str, Callable[[], Network]] = {name: NETWORKS[name] for name in ("lenet5", "lenet_bn", "googlenet_fashion")}
SMALL |= {"mobile": mobile, "operations": operations, "windows": windows}
TARGETS = ("torch", "keras", "onnx")  # what can be imported; of Gluon only an exported symbol, of Flax nothing
# Layers that a file does not have: they are absent in evaluation. In Keras, auxiliary classifiers are further outputs.
ABSENT: dict[str, tuple[type[Layer], ...]] = {"torch": (), "keras": (Auxiliary,), "onnx": (Auxiliary, StochasticDepth)}
# Networks that are refused, and by which message.
REFUSED: dict[tuple[str, str], str] = {
    ("onnx", "windows"): "MatMul .*: no interpolation of the spec gives these pixels",  # the matrices are in float32
}


# --- the form in which specs are compared -----------------------------------------------------------------------------


def normal(network: Network, names: Mapping[str, str], absent: tuple[type[Layer], ...] = ()) -> Network:
    """A spec with what a file of another program holds, each function in one form.

    Without the names of the network, of joins and of layers without arrays, prose and printed shapes. Names of layers
    with arrays are whole paths, which a file has under `names`. Windows have the padding that they use; a mean over the
    whole image is `GlobalAvgPool`; what changes nothing is left out; the terms of a sum or product are in the order of
    their JSON, and a `Residual` is a sum.
    """
    layers = _normal(network.nodes, names, absent)
    return Network("net", network.input, layers, as_printed=False)


def _normal(nodes: Sequence[Node], names: Mapping[str, str], absent: tuple[type[Layer], ...]) -> list[Layer]:
    kept = [node for node in nodes if not isinstance(node.layer, absent)]
    layers = []
    for node in kept:
        chains = [_normal(branch, names, absent) for branch in node.branches]
        name = f"net.{names.get(node.path, node.path)}" if node.parameters else ""
        layers += _in_one_form(replace(node.layer, name=name, out=None), node, chains)
    return layers


def _in_one_form(layer: Layer, node: Node, chains: list[list[Layer]]) -> Iterator[Layer]:
    match layer:
        case Flatten() if len(node.input) == 1:
            return
        case Select() if layer.maps == tuple(range(node.input[0])):
            return
        case AvgPool() if node.output[1:] == (1, 1) and pair(layer.kernel) == node.input[1:]:
            yield GlobalAvgPool()
        case Conv() | MaxPool() | AvgPool():
            whole: Any = {"kernel": pair(layer.kernel), "stride": pair(layer.stride), "padding": used(layer, node)}
            if isinstance(layer, AvgPool):
                padded = whole["padding"] != ((0, 0), (0, 0))
                whole |= {"ceil": False, "count_padding": layer.count_padding and not layer.ceil and padded}
            else:
                whole["dilation"] = pair(layer.dilation)
            yield replace(layer, **whole)
        case BatchNorm():
            yield replace(layer, momentum=round(layer.momentum, 12))  # some programs have 1 - momentum
        case Add() | Residual() | Multiply():
            kind = Multiply if isinstance(layer, Multiply) else Add
            yield kind("", sorted(chains, key=lambda chain: json.dumps(to_json(chain))))
        case Auxiliary():
            yield replace(layer, head=chains[0])
        case _:
            yield replace(layer, chains=chains) if chains else layer  # type: ignore[call-arg]


def used(layer: Conv | MaxPool | AvgPool, node: Node) -> tuple[tuple[int, int], ...]:
    """The padding that the windows reach."""
    spans = [extent(*way) for way in zip(pair(layer.kernel), pair(gaps(layer)))]
    ways = zip(node.input[1:], node.output[1:], spans, pair(layer.stride), sides(layer.padding))
    return tuple((before, max(0, (to - 1) * step + span - size - before)) for size, to, span, step, (before, _) in ways)


def names_in_file(target: str, network: Network) -> dict[str, str]:
    """The names of the layers with arrays in a file, by path; those that differ are no identifiers, such as `1x1`."""
    if target not in WRITERS:
        return {}
    writer = WRITERS[target]()
    writer.source(network, about(network, target))
    own = {name.rpartition(".")[0]: theirs for name, theirs, _ in writer.arrays()}
    if target == "keras":
        return {path: theirs.partition("/")[0].replace("-", ".") for path, theirs in own.items()}
    return {path: theirs.rpartition(".")[0] for path, theirs in own.items()}


def difference(one: Network, other: Network) -> str:
    texts = [json.dumps(to_json(each), indent=1).splitlines() for each in (one, other)]
    return "\n".join(unified_diff(*texts, "written", "imported", lineterm="", n=6))[:4000]


# --- the round trip ---------------------------------------------------------------------------------------------------


def round_trip(bench: Bench, folder: Path, target: str, network: Network) -> None:
    weights = weights_of(network)
    path = write_all(network, [target], folder, weights, "drawn")[0]
    pythons = {} if target == "onnx" else {target: str(bench.python(target))}
    text = str(path) if target == "onnx" else f"{path}:{entry_of(path)}"
    if message := REFUSED.get((target, network.name)):
        with pytest.raises(BadInput, match=message):
            network_import.imported(text, network.input, pythons, print, source=target)
        return
    found = network_import.imported(text, network.input, pythons, print, source=target)
    original = network_import.compared(found)
    assert original.agrees, original.text
    one = normal(network, names_in_file(target, network), ABSENT[target])
    other = normal(found.network, {})
    assert one.sha256 == other.sha256, difference(one, other)
    if not any(isinstance(node.layer, ABSENT[target]) for _, node in network.walk()):
        report = compared(Side("written", network), Side("imported", found.network))
        assert report.same and not report.differences, report.text


def entry_of(path: Path) -> str:
    """The class or function of a source that gives the network: the last one before `load_weights`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    before = lines[: next(number for number, line in enumerate(lines) if line.startswith("def load_weights"))]
    heads = [line.split()[1] for line in before if line.startswith(("def ", "class "))]
    return heads[-1].partition("(")[0].rstrip(":")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("target", TARGETS)
def test_a_written_network_is_imported_as_the_same(bench: Bench, tmp_path: Path, target: str, name: str) -> None:
    round_trip(bench, tmp_path, target, SMALL[name]())


@pytest.mark.skipif(os.environ.get("ONESPEC_PORTED") != "all", reason="on demand: ONESPEC_PORTED=all")
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in SMALL])
@pytest.mark.parametrize("target", TARGETS)
def test_every_network(bench: Bench, tmp_path: Path, target: str, name: str) -> None:
    network = NETWORKS[name]()
    if network.macs > LARGEST:
        pytest.skip(f"{network.macs / 1e9:.1f} G multiply-adds in the reference")
    try:
        round_trip(bench, tmp_path, target, network)
    except Lacking as error:
        pytest.skip(str(error))
