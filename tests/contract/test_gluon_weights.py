"""Files of Gluon, as Gluon writes them, give the logits of their networks."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.porting import weight_comparison
from benchmarks.porting.weight_import import imported
from benchmarks.runtime.errors import BadInput
from frameworks.adapter import Setting
from frameworks.errors import WeightFileError
from frameworks.networks import NETWORKS as CATALOGUE
from frameworks.numpy_reference import Reference
from frameworks.spec import (
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Network,
    PReLU,
    ReLU,
    Residual,
    Tanh,
)
from frameworks.training import Training
from frameworks.weight_files import gluon_names
from tests.conftest import Bench

ROOT = Path(__file__).parents[2]


SAME = partial(Conv, channels=6, kernel=3, padding=1)


def network(*layers: Layer) -> Network:
    return Network("net", (3, 8, 8), layers)


# The networks of `tests/third_parties/gluon_files.py`.
NETWORKS = {
    "sequential": network(
        Conv("c1", 4, 3), BatchNorm("n1"), ReLU(), MaxPool("p", 2, 2), Conv("c2", 4, 2, groups=2), PReLU("a"),
        Flatten(), Dense("d1", 7), BatchNorm("n2"), Dense("d2", 7), Dense("d3", 5),
    ),
    "fixed": network(Conv("c", 4, 3), BatchNorm("n"), Flatten(), Dense("d", 5)),
    "residual": network(
        Conv("c", 4, 3),
        Residual("r", [SAME("a"), BatchNorm("na"), ReLU(), SAME("b"), BatchNorm("nb")],
                 [Conv("s", 6, 1), BatchNorm("ns")]),
        ReLU(), GlobalAvgPool(), Flatten(), Dense("d", 5),
    ),
    "epsilon": network(Conv("c", 4, 3), BatchNorm("n", eps=2e-3), Flatten(), Dense("d", 5)),
    "named": network(Conv("conv2", 3, 1), Conv("conv1", 3, 1), Flatten(), Dense("fc", 5)),
    "resnet18": CATALOGUE["resnet18"](classes=5).with_input((3, 32, 32)),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gluon")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [bench.python("mxnet"), "-m", "tests.third_parties.gluon_files", str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def check_logits(files: Path, name: str, path: Path) -> None:
    """In float64 against MXNet's float32."""
    reference = Reference(NETWORKS[name], Training(), Setting(precision="float64"))
    reference.set_weights(imported(path, NETWORKS[name], {}, print).weights)
    with np.load(files / f"{name}.npz") as saved:
        logits = reference.activations(saved["images"], training=False)[NETWORKS[name].nodes[-1].path]
        np.testing.assert_allclose(logits, saved["logits"], atol=2e-5 * np.abs(saved["logits"]).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_with_its_graph(files: Path, name: str) -> None:
    path = files / f"{name}-0000.params"
    check_logits(files, name, path)
    found = imported(path, NETWORKS[name], {}, print)
    line, comparison = weight_comparison.compared(path, NETWORKS[name], found, {}, print)
    # MXNet rounds the slope of PReLU to float32.
    rounding = 1e-6 if name == "sequential" else 1e-10
    assert comparison is not None and comparison.agrees and comparison.difference < rounding, line


def test_a_fixed_gamma_is_one_whatever_the_file_says(files: Path) -> None:
    found = imported(files / "fixed-0000.params", NETWORKS["fixed"], {}, print)
    assert (found.weights["n.gamma"] == 1).all()
    assert "gamma is fixed: it is 1, and what the file holds is left out, in 1 layer" in found.notes


@pytest.mark.parametrize(("file", "name"), [
    ("sequential.alone", "sequential"), ("named.alone", "named"), ("epsilon.alone", "epsilon"),
    ("epsilon.old", "epsilon"),
])  # fmt: skip
def test_a_file_without_a_graph(files: Path, file: str, name: str) -> None:
    """Its name may be any: the content says what it is."""
    check_logits(files, name, files / file)


@pytest.mark.parametrize(("file", "name", "message"), [
    ("residual.alone", "residual", "which of its layers is r.na and which r.ns, side by side in net and"),
    ("named.old", "named", r"in which order .* are conv2, conv1; net.export\("),
    ("epsilon-0000.params", "fixed", "has epsilon 0.002, n of net has 1e-05"),
    ("named.alone", "fixed", "it has fewer layers than net: none for c"),
])  # fmt: skip
def test_what_the_file_does_not_say_is_refused(files: Path, file: str, name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        imported(files / file, NETWORKS[name], {}, print)
    assert "\n" not in str(error.value)


def test_a_network_that_computes_something_else_is_named_at_its_layer(files: Path) -> None:
    spec = network(Conv("c", 4, 3), Tanh(), BatchNorm("n"), Flatten(), Dense("d", 5))
    path = files / "fixed-0000.params"
    found = imported(path, spec, {}, print)
    line, comparison = weight_comparison.compared(path, spec, found, {}, print)
    assert comparison is not None and comparison.parted.startswith("n, by "), line


@pytest.mark.parametrize("symbol", [
    [1], {"nodes": 3}, {"nodes": [{}]}, {"nodes": [{"name": "x", "op": "Convolution", "inputs": [[9, 0, 0]]}]},
    {"nodes": [{"name": "c_weight", "op": "null", "inputs": []}, {"name": "x", "op": "BatchNorm", "inputs": [[0]]}]},
], ids=str)  # fmt: skip
def test_a_damaged_graph_is_one_line(symbol: object) -> None:
    about = {"names": ["c_weight"], "symbol": symbol, "graph": "a-symbol.json"}
    with pytest.raises(WeightFileError, match="its graph cannot be read") as error:
        gluon_names.converted(NETWORKS["fixed"], {"c_weight": np.ones(3)}, about)
    assert "\n" not in str(error.value)
