"""Files of Keras, as Keras writes them, give the logits of their models."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.checkpoint import command
from benchmarks.porting import weight_comparison
from benchmarks.porting.weight_import import imported
from benchmarks.runtime.errors import BadInput
from frameworks.adapter import Setting
from frameworks.numpy_reference import Reference
from frameworks.spec import (
    Add,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    Layer,
    LayerNorm,
    MaxPool,
    Multiply,
    Network,
    PReLU,
    ReLU,
    Residual,
    Scale,
    Sigmoid,
)
from frameworks.training import Training
from tests.command_line import exit_code_of
from tests.conftest import Bench

ROOT = Path(__file__).parents[2]
INPUT = (3, 8, 6)
SAME = partial(Conv, channels=4, kernel=3, padding=1)
main = exit_code_of(command)


def norm(name: str, gamma: bool = True) -> BatchNorm:
    """Batch normalization as Keras has it by default."""
    return BatchNorm(name, eps=1e-3, momentum=0.01, gamma=gamma)


def network(*layers: Layer) -> Network:
    return Network("net", INPUT, layers)


# The networks of `tests/third_parties/keras_files.py`, without names of layers that tell which is which.
NETWORKS = {
    "sequential": network(
        Conv("c1", 4, 3), ReLU(), MaxPool("p", 2, 2), Conv("c2", 5, 2), norm("n"), Flatten(), norm("f"), Dense("d1", 7),
        ReLU(), norm("g"), Dense("d2", 5),
    ),
    "residual": network(
        Conv("c1", 4, 3, bias=False), norm("n1"), ReLU(),
        Residual("r", [Conv("a", 6, 3, padding=1), norm("na"), ReLU(), Conv("b", 6, 3, padding=1), norm("nb")],
                 [Conv("s", 6, 1), norm("ns")]),
        ReLU(), GlobalAvgPool(), Flatten(), Dense("d", 5),
    ),
    "symmetric": network(
        Add("a", [[SAME("l1"), norm("l2"), ReLU()], [SAME("r1"), norm("r2"), Sigmoid()]]),
        Flatten(), Dense("d", 5),
    ),
    "concatenated": network(
        Concat("c", [[SAME("l1"), Conv("l2", 4, 1)], [SAME("r1"), Conv("r2", 4, 1)], []]),
        Conv("e", 3, 1), Flatten(), Dense("d", 5),
    ),
    "nested": network(
        Conv("c1", 4, 3), ReLU(), Residual("r", [Conv("a", 4, 3, padding=1), norm("n")]), Conv("c2", 4, 1), ReLU(),
        Conv("c3", 4, 1), Flatten(), Dense("d", 5),
    ),
    "depthwise": network(
        Conv("dw", 6, 3, groups=3, padding=1), ReLU(), Conv("s1", 6, 3, groups=6, bias=False), Conv("s2", 4, 1),
        Conv("g", 6, 3, groups=2), Flatten(), Dense("d", 5),
    ),
    "excitation": network(
        Conv("c", 4, 3), Multiply("m", [[], [GlobalAvgPool(), Conv("s", 2, 1), ReLU(), Conv("e", 4, 1), Sigmoid()]]),
        Flatten(), Dense("d", 5),
    ),
    "normalizations": network(
        Conv("c", 4, 3), LayerNorm("l", eps=1e-6), PReLU("p"), GroupNorm("g", 2, eps=1e-3), norm("b", gamma=True),
        Flatten(), Dense("d", 5, bias=False),
    ),
    "operators": network(
        Conv("c", 4, 3), Residual("r", [SAME("a"), ReLU()]), Multiply("m", [[], [Conv("s", 4, 1), Sigmoid()]]),
        Flatten(), Dense("d", 5),
    ),
    "rescaling": network(Scale("pixels", factor=1 / 255), Conv("c", 4, 3), Flatten(), Dense("d", 5)),
}  # fmt: skip
ATTRIBUTES = network(Conv("conv_2", 3, 1), Conv("conv_1", 3, 1), Flatten(), Dense("fc", 5))
WHOLE = ["keras", "h5"]
# Layers of equal shapes that are side by side, or in models inside, have no order in a file of weights alone.
UNDECIDED = {
    "residual": "which of its layers is r.na and which r.ns",
    "symmetric": "which of its layers is a.l1 and which a.r1",
    "concatenated": "which of its layers is c.l1 and which c.r1",
    "nested": "in which order conv2d_[0-9]+, conv2d_[0-9]+ are c2, c3; save the whole model, model.save",
    "depthwise": "in which order depthwise_conv2d, separable_conv2d.*/depthwise are dw, s1; save the whole model",
}


@pytest.fixture(scope="module")
def files(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of all models, `sequential.keras`, and their images and logits."""
    folder = tmp_path_factory.mktemp("keras")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [bench.python("keras"), "-m", "tests.third_parties.keras_files", str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def bare(name: str) -> Network:
    """A network without the layers that prepare pixels."""
    layers = NETWORKS[name].layers
    return network(*(layer for layer in layers if not isinstance(layer, Scale)))


def check_logits(files: Path, name: str, path: Path, spec: Network | None = None) -> None:
    """In float64 against Keras's float32: rounding of about ten layers."""
    found = imported(path, spec or bare(name), {}, print)
    whole = spec or NETWORKS[name]
    reference = Reference(whole, Training(), Setting(precision="float64"))
    reference.set_weights(found.weights)
    with np.load(files / f"{name}.npz") as saved:
        logits = reference.activations(saved["images"], training=False)[whole.nodes[-1].path]
        np.testing.assert_allclose(logits, saved["logits"], atol=2e-5 * np.abs(saved["logits"]).max())


# Keras cannot load the .h5 of a model with operators: it takes `x + y` for the layer `Add`.
@pytest.mark.parametrize(("name", "ending"), sorted({*product(NETWORKS, WHOLE)} - {("operators", "h5")}))
def test_a_whole_model(files: Path, name: str, ending: str) -> None:
    path = files / f"{name}.{ending}"
    check_logits(files, name, path)
    found = imported(path, bare(name), {}, print)
    line, comparison = weight_comparison.compared(path, bare(name), found, {}, print, prepared=NETWORKS[name])
    assert comparison is not None and comparison.agrees and comparison.difference < 1e-10, line


def test_a_network_that_takes_prepared_pixels(files: Path) -> None:
    """`port` adds no layers for pixels: the network gets what the original makes of them."""
    path, spec = files / "rescaling.keras", bare("rescaling")
    found = imported(path, spec, {}, print)
    line, comparison = weight_comparison.compared(path, spec, found, {}, print)
    assert comparison is not None and comparison.agrees, line
    other = network(Scale("pixels", factor=1 / 127), *spec.layers)
    line, comparison = weight_comparison.compared(path, spec, found, {}, print, prepared=other)
    assert comparison is not None and comparison.parted.startswith("c, by "), line


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_weights(files: Path, name: str) -> None:
    path = files / f"{name}.weights.h5"
    if name in UNDECIDED:
        with pytest.raises(BadInput, match=UNDECIDED[name]):
            imported(path, bare(name), {}, print)
    else:
        check_logits(files, name, path)
        found = imported(path, bare(name), {}, print)
        assert weight_comparison.compared(path, bare(name), found, {}, print) == (weight_comparison.ALONE, None)


def test_layers_with_the_names_of_the_network_need_no_graph(files: Path) -> None:
    check_logits(files, "residual", files / "named.weights.h5")


def test_an_earlier_file_of_weights_has_names_and_an_order(files: Path) -> None:
    """`named.h5` without the config is what Keras 2 wrote with `save_weights`."""
    check_logits(files, "residual", files / "earlier.h5")


def test_attributes_of_a_model_are_names(files: Path) -> None:
    path = files / "attributes.weights.h5"
    check_logits(files, "attributes", path, ATTRIBUTES)
    other = network(Conv("a", 3, 1), Conv("b", 3, 1), Flatten(), Dense("c", 5))
    with pytest.raises(BadInput, match=r"in which order conv2d.* are a, b; save the whole model"):
        imported(path, other, {}, print)


def wrong(name: str, old: Layer, new: Layer) -> Network:
    """A network with one other layer."""
    return network(*(new if layer == old else layer for layer in bare(name).layers))


@pytest.mark.parametrize(("old", "new", "message"), [
    (norm("n"), BatchNorm("n"), "batch_normalization has epsilon 0.001, n of net has 1e-05"),
    (Conv("c2", 5, 2), Conv("c2", 5, 2, bias=False), "which needs weight"),
    (Dense("d1", 7), Dense("d1", 8), r"none for d1 \(convolution or dense layer, 8x10\); unused in the file"),
], ids=["epsilon", "bias", "units"])  # fmt: skip
def test_another_network_is_refused(files: Path, old: Layer, new: Layer, message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        imported(files / "sequential.keras", wrong("sequential", old, new), {}, print)
    assert "\n" not in str(error.value)


def test_what_a_file_of_weights_does_not_say_is_said(files: Path) -> None:
    found = imported(files / "sequential.weights.h5", bare("sequential"), {}, print)
    assert found.notes == (
        "the file does not say the epsilon of normalizations: n has 0.001, the default of Keras is 0.001",
    )


def test_a_model_that_calls_a_layer_twice_is_refused(files: Path) -> None:
    with pytest.raises(BadInput, match="shared is called 2 times"):
        imported(files / "shared.keras", network(Conv("c", 3, 1), Flatten(), Dense("d", 5)), {}, print)


@pytest.mark.parametrize("ending", WHOLE)
def test_code_in_a_model_is_not_run(files: Path, ending: str) -> None:
    spec, path = network(Conv("c", 3, 1), Flatten(), Dense("d", 5)), files / f"lambda.{ending}"
    line, comparison = weight_comparison.compared(path, spec, imported(path, spec, {}, print), {}, print)
    assert comparison is None and "Lambda is no layer of Keras that is run here" in line


CONFIGS: dict[str, Callable[[Any], Any]] = {
    "a list": lambda config: [config],
    "no config": lambda config: {**config, "config": None},
    "a name that is a number": lambda config: changed(config, lambda layer: layer["config"].update(name=3)),
    "no layer": lambda config: changed(config, lambda layer: layer.pop("config")),
}


def changed(config: Any, change: Callable[[Any], Any]) -> Any:
    change(config["config"]["layers"][1])
    return config


@pytest.mark.parametrize("name", CONFIGS)
def test_a_damaged_config_is_one_line(files: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(files / "residual.keras") as whole, zipfile.ZipFile(tmp_path / "a.keras", "w") as copy:
        copy.writestr("config.json", json.dumps(CONFIGS[name](json.loads(whole.read("config.json")))))
        copy.writestr("model.weights.h5", whole.read("model.weights.h5"))
    with pytest.raises(BadInput, match="its config cannot be read") as error:
        imported(tmp_path / "a.keras", bare("residual"), {}, print)
    assert "\n" not in str(error.value)


def test_a_class_from_elsewhere_is_not_run(files: Path, tmp_path: Path) -> None:
    """A config may name any module."""
    with zipfile.ZipFile(files / "sequential.keras") as whole, zipfile.ZipFile(tmp_path / "a.keras", "w") as copy:
        config = json.loads(whole.read("config.json"))
        changed(config, lambda layer: layer.update(module="os.path"))
        copy.writestr("config.json", json.dumps(config))
        copy.writestr("model.weights.h5", whole.read("model.weights.h5"))
    path, spec = tmp_path / "a.keras", bare("sequential")
    line, comparison = weight_comparison.compared(path, spec, imported(path, spec, {}, print), {}, print)
    assert comparison is None and "os.path.Conv2D is no layer of Keras that is run here" in line


SPEC = """
from frameworks.spec import *
def good():
    return Network("net", (3, 8, 6), [
        Conv("c1", 4, 3), {activation}(), MaxPool("p", 2, 2), Conv("c2", 5, 2), BatchNorm("n", eps=1e-3), Flatten(),
        BatchNorm("f", eps=1e-3), Dense("d1", 7), ReLU(), BatchNorm("g", eps=1e-3), Dense("d2", 5)])
"""


@pytest.mark.parametrize(("activation", "code", "check"), [
    ("ReLU", 0, lambda result: result["difference"] < 1e-10 and result["parted"] == ""),
    ("Tanh", 4, lambda result: result["parted"].startswith("c1, by ")),
])  # fmt: skip
def test_the_command_compares_the_original(
    files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    activation: str,
    code: int,
    check: Callable[[dict[str, object]], bool],
) -> None:
    (tmp_path / "net.py").write_text(SPEC.format(activation=activation))
    arguments = [str(files / "sequential.keras"), "--net", f"{tmp_path / 'net.py'}:good", "--pixels", "raw", "--json"]
    assert main([*arguments, "--out", str(tmp_path / "out.npz")]) == code
    result = json.loads(capsys.readouterr().out)
    assert check(result), result
    assert any(
        "momentum counts in training alone, and 3 of the file differ: n has 0.1, the file 0.01" in note
        for note in result["notes"]
    )
