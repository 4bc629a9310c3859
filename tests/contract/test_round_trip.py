"""A network that is written as source and imported again is the same network.

ONESPEC_PORTED=all does this with every network that the machine can compute, which takes hours.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.porting import network_import
from benchmarks.porting.between.report import compared
from benchmarks.porting.port_files import write_all
from benchmarks.porting.source.program import Lacking
from benchmarks.porting.sources import Side
from frameworks.networks import NETWORKS
from frameworks.spec import Network
from tests.conftest import Bench
from tests.contract.test_ported_source import LARGEST, mobile, weights_of

SMALL: dict[str, Callable[[], Network]] = {name: NETWORKS[name] for name in ("lenet_bn", "googlenet_fashion")}
SMALL["mobile"] = mobile
TARGETS = ("torch", "keras", "onnx")  # what can be imported; of Gluon only an exported symbol, of Flax nothing


def round_trip(bench: Bench, folder: Path, target: str, network: Network) -> None:
    weights = weights_of(network)
    path = write_all(network, [target], folder, weights, "drawn")[0]
    pythons = {} if target == "onnx" else {target: str(bench.python(target))}
    text = str(path) if target == "onnx" else f"{path}:{entry_of(path)}"
    found = network_import.imported(text, network.input, pythons, print, source=target)
    original = network_import.compared(found)
    assert original.agrees, original.text
    report = compared(Side("written", network), Side("imported", found.network))
    assert report.stages and report.parted is None, report.text
    if network.name in NETWORKS:  # `mobile` has layers that a framework writes as several
        assert report.same and not report.differences, report.text
    shapes = [sorted(each.shape for each in net.parameters) for net in (network, found.network)]
    assert shapes[0] == shapes[1]


def entry_of(path: Path) -> str:
    """The class or function of a source that gives the network: the last one before `load_weights`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    before = lines[: next(number for number, line in enumerate(lines) if line.startswith("def load_weights"))]
    heads = [line.split()[1] for line in before if line.startswith(("def ", "class "))]
    return heads[-1].partition("(")[0].rstrip(":")


# ONNX has no batch normalization without gamma, and a slice of Keras is no layer.
CASES = [(target, name) for target in TARGETS for name in SMALL if target == "torch" or name != "mobile"]


@pytest.mark.parametrize(("target", "name"), CASES)
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
