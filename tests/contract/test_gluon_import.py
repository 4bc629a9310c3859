"""Gluon networks that were exported become networks of the spec that compute the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.port import command
from benchmarks.porting import network_import
from benchmarks.porting.network_import import Imported
from benchmarks.runtime.errors import BadInput
from frameworks.networks import NETWORKS
from frameworks.spec import ELU, AvgPool, BatchNorm, Dropout, Network, Shape
from tests.command_line import exit_code_of
from tests.conftest import Bench

MODELS = Path(__file__).parents[1] / "third_parties" / "gluon_models.py"
SHAPES: dict[str, Shape] = {"resnet18_v1": (3, 32, 32), "mobilenet": (3, 32, 32), "mixed": (3, 10, 9)}


@pytest.fixture(scope="module")
def folder(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gluon")
    subprocess.run([bench.python("mxnet"), MODELS, path], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def found(bench: Bench, folder: Path) -> Callable[[str], Imported]:
    pythons, known = {"mxnet": str(bench.python("mxnet"))}, {}

    def load(name: str) -> Imported:
        if name not in known:
            text = str(folder / f"{name}-symbol.json")
            known[name] = network_import.imported(text, SHAPES[name], pythons, print)
        return known[name]

    return load


def layers(network: Network, kind: Any) -> list[Any]:
    return [node.layer for _, node in network.walk() if isinstance(node.layer, kind)]


@pytest.mark.parametrize("name", SHAPES)
def test_logits_and_counts(found: Callable[[str], Imported], name: str) -> None:
    result = found(name)
    comparison = network_import.compared(result)
    assert comparison.agrees, comparison.text
    fixed = 6 if name == "mixed" else 0  # the gamma that is 1
    slopes = 6 - 1 if name == "mixed" else 0  # one slope for all channels
    theirs = sum(array.size for array in result.original.arrays.values())
    assert sum(array.size for array in result.weights.values()) == theirs - fixed + slopes


def test_resnet18_is_that_of_the_catalogue(found: Callable[[str], Imported]) -> None:
    ours, network = NETWORKS["resnet18"](classes=10), found("resnet18_v1").network
    assert network.params == ours.params
    paths = [node.path for _, node in network.walk() if node.parameters]
    assert paths[:3] == ["conv0", "batchnorm0", "stage1_conv0"]


def test_arguments(found: Callable[[str], Imported]) -> None:
    network = found("mixed").network
    (norm,) = layers(network, BatchNorm)
    assert (norm.eps, norm.momentum, norm.gamma, norm.beta) == (1e-3, 0.2, False, True)
    assert layers(network, Dropout) == [Dropout(rate=0.4)]
    assert layers(network, ELU) == [ELU()]
    assert [each.ceil for each in layers(network, AvgPool)] == [True]
    notes = found("mixed").notes
    assert any("one slope of all channels becomes one for each" in note for note in notes)
    assert any(note.startswith("MXNet holds constants or values of LRN, LeakyReLU in float32") for note in notes)
    assert found("resnet18_v1").notes == ()


def test_what_is_refused(bench: Bench, folder: Path, tmp_path: Path) -> None:
    pythons = {"mxnet": str(bench.python("mxnet"))}
    with pytest.raises(BadInput, match=r"no layer for sin \(node \w*wave\)"):
        network_import.imported(str(folder / "odd-symbol.json"), (3, 8, 8), pythons, print)
    symbol = shutil.copy(folder / "mixed-symbol.json", tmp_path)
    with pytest.raises(BadInput, match=r"no mixed-0000\.params beside it"):
        network_import.imported(symbol, (3, 10, 9), pythons, print)
    with pytest.raises(BadInput, match="give --input C,H,W"):
        network_import.imported(str(folder / "mixed-symbol.json"), None, pythons, print)
    (tmp_path / "mixed-0000.params").write_bytes(b"damaged")
    with pytest.raises(BadInput, match="MXNet cannot read it"):
        network_import.imported(symbol, (3, 10, 9), pythons, print)
    Path(symbol).write_text("[]", encoding="utf-8")
    with pytest.raises(BadInput, match="no symbol of MXNet"):
        network_import.imported(symbol, (3, 10, 9), pythons, print)


def test_port(bench: Bench, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(folder / "mixed-symbol.json"), "--input", "3,10,9", "--to", "spec,torch", "-o", str(tmp_path)]
    assert exit_code_of(command)([*given, f"--python=mxnet={bench.python('mxnet')}"]) == 0
    assert "the logits differ by at most" in capsys.readouterr().out
    with np.load(tmp_path / "mixed_spec.npz") as arrays:
        assert "conv0.weight" in arrays.files


# --- the model zoo ----------------------------------------------------------------------------------------------------

FAST = ("mobilenet0_25", "squeezenet1_1")
# The smallest images that a network takes, where its pools need more than `SIDE`.
SIDES = {"alexnet": 63, "densenet": 221, "inception": 299, "squeezenet1_0": 213, "squeezenet1_1": 209}
SIDE = 32


def check_zoo(bench: Bench, folder: Path, name: str) -> None:
    """Its logits, and an array for each of Gluon's, the factors that are fixed at 1 aside."""
    python = bench.python("mxnet")
    side = next((side for start, side in SIDES.items() if name.startswith(start)), SIDE)
    subprocess.run([python, MODELS, folder, name, str(side)], check=True, capture_output=True)
    file = folder / f"{name}-symbol.json"
    result = network_import.imported(str(file), (3, side, side), {"mxnet": str(python)}, print)
    comparison = network_import.compared(result)
    assert comparison.agrees, f"{name}: {comparison.text}"
    nodes = json.loads(file.read_text(encoding="utf-8"))["nodes"]
    norms = [node for node in nodes if node["op"] == "BatchNorm" and node["attrs"]["fix_gamma"] == "True"]
    theirs = {key: array.size for key, array in result.original.arrays.items()}
    for norm in norms:
        del theirs[nodes[norm["inputs"][1][0]]["name"]]
    assert sorted(array.size for array in result.weights.values()) == sorted(theirs.values()), name


@pytest.mark.parametrize("name", FAST)
def test_small_networks_of_the_zoo(bench: Bench, tmp_path: Path, name: str) -> None:
    check_zoo(bench, tmp_path, name)


@pytest.mark.skipif(not os.environ.get("ONESPEC_SLOW"), reason="takes a quarter of an hour: set ONESPEC_SLOW=1")
@pytest.mark.timeout(7200)
def test_all_networks_of_the_zoo(bench: Bench, tmp_path: Path) -> None:
    printed = subprocess.run([bench.python("mxnet"), MODELS], check=True, capture_output=True, text=True).stdout
    names = printed.split()
    assert len(names) == 34
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        check_zoo(bench, folder, name)
        shutil.rmtree(folder)
