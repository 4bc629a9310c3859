"""Keras models, of files and of functions, become networks of the spec that compute the same."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.port import command
from benchmarks.porting import network_import, spec_source, weight_comparison, weight_import
from benchmarks.porting.network_import import Imported
from benchmarks.runtime import networks
from benchmarks.runtime.errors import BadInput
from frameworks.spec import (
    Affine,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    LeakyReLU,
    Multiply,
    Network,
    Residual,
    Select,
    StochasticDepth,
)
from tests.command_line import exit_code_of
from tests.conftest import Bench

MODELS = Path(__file__).parents[1] / "third_parties" / "keras_models.py"
SAVED = ("sequential", "branched", "nested", "bottleneck", "selected", "small_mobilenet")
REFUSED = {
    "with_lambda": r"no layer for Lambda \(lambda\)",
    "called_twice": "the layer again is called twice",
    "transposed": r"no layer for Conv2DTranspose \(layer up\)",
    "of_some_images": r"no layer for GetItem \(operation get_item\): it takes some of the images",
    "custom": r"no layer for .*Doubled \(own\): only Keras' own classes",
    "of_any_size": "the model takes images of any size with 3 channels; give --input C,H,W",
}


@pytest.fixture(scope="module")
def folder(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models as files, saved by Keras."""
    path = tmp_path_factory.mktemp("keras")
    subprocess.run([bench.python("keras"), MODELS, path, *SAVED, *REFUSED], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def found(bench: Bench, folder: Path) -> Callable[[str], Imported]:
    pythons, known = {"keras": str(bench.python("keras"))}, {}

    def load(name: str) -> Imported:
        if name not in known:
            known[name] = network_import.imported(str(folder / f"{name}.keras"), None, pythons, print)
        return known[name]

    return load


def layers(network: Network, kind: Any) -> list[Any]:
    return [node.layer for _, node in network.walk() if isinstance(node.layer, kind)]


@pytest.mark.parametrize("name", SAVED)
def test_logits_and_counts(found: Callable[[str], Imported], name: str) -> None:
    result = found(name)
    comparison = network_import.compared(result)
    assert comparison.agrees, comparison.text
    assert comparison.scale > 1e-6
    theirs = sum(array.size for key, array in result.original.arrays.items() if "#" not in key)
    assert theirs == sum(array.size for array in result.weights.values())


@pytest.mark.parametrize("name", SAVED)
def test_the_printed_file_is_the_network(found: Callable[[str], Imported], tmp_path: Path, name: str) -> None:
    network, file = found(name).network, tmp_path / "spec.py"
    file.write_text(spec_source.text(network, origin=name), encoding="utf-8")
    assert networks.network(f"{file}:{network.name}").sha256 == network.sha256


def test_arguments_are_those_of_the_file(found: Callable[[str], Imported]) -> None:
    """Keras' own defaults: epsilon 1e-3, momentum 0.99, slope 0.3; zeros of "same" at the bottom and the right."""
    network = found("sequential").network
    assert [(each.eps, each.momentum) for each in layers(network, BatchNorm)] == [(1e-3, 0.01)]
    assert [each.padding for each in layers(network, Conv)] == [((0, 1), (1, 1))]
    assert layers(network, Dropout) == [Dropout(rate=0.3)]
    network = found("branched").network
    assert [(each.eps, each.momentum) for each in layers(network, BatchNorm)] == [(1e-5, 0.1)]
    assert layers(network, Conv)[0].padding == ((0, 1), (1, 0)), "that of ZeroPadding2D before it"
    assert [each.slope for each in layers(network, LeakyReLU)] == [0.3]
    assert len(layers(network, Residual)) == 1
    assert layers(found("bottleneck").network, StochasticDepth) == [StochasticDepth(rate=0.1)]


def test_parts_of_channels_are_selections(found: Callable[[str], Imported]) -> None:
    network = found("selected").network
    halves = [(0, 1, 2, 3), (4, 5, 6, 7)]
    shuffle, odd, middle = (0, 4, 1, 5, 2, 6, 3, 7), (1, 3, 5, 7), (2, 3, 4, 5)
    chosen, zeros = (7, 0, 5, 2), (0, None, None, 1, 2, 3)
    assert [each.maps for each in layers(network, Select)] == [*halves, shuffle, odd, middle, chosen, zeros]
    assert [each.stride for each in layers(network, AvgPool)] == [(2, 1)]
    assert layers(network, Conv)[0].name == "stage.0.conv", "a hyphen of Keras is a dot of the spec"


def test_names(found: Callable[[str], Imported]) -> None:
    paths = [node.path for _, node in found("nested").network.walk() if node.parameters]
    assert paths[:3] == ["backbone.conv", "backbone.block.conv2d", "backbone.block.group_normalization"]
    assert [each.name for each in layers(found("branched").network, Dense)] == ["logits"]


def test_what_is_cut_off_is_said(found: Callable[[str], Imported]) -> None:
    assert found("sequential").notes == ("the final softmax is cut off: the network gives logits",)
    assert found("branched").notes == ()


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_layer_is_refused(bench: Bench, folder: Path, name: str) -> None:
    path = folder / f"{name}.keras"
    with pytest.raises(BadInput, match=REFUSED[name]) as error:
        network_import.imported(str(path), None, {"keras": str(bench.python("keras"))}, print)
    assert "\n" not in str(error.value) and "safe_mode" not in str(error.value)


def test_an_image_of_any_size(bench: Bench, folder: Path) -> None:
    pythons = {"keras": str(bench.python("keras"))}
    result = network_import.imported(str(folder / "of_any_size.keras"), (3, 9, 7), pythons, print)
    assert result.network.input == (3, 9, 7) and network_import.compared(result).agrees
    with pytest.raises(BadInput, match="an input of 1x9x7: the model takes images of any size"):
        network_import.imported(str(folder / "of_any_size.keras"), (1, 9, 7), pythons, print)


@pytest.mark.parametrize("ending", [".keras", ".json"])
@pytest.mark.parametrize(
    ("module", "kind", "message"),
    [
        ("evil", "Layer", r"no layer for evil\.Layer"),
        ("keras.utils", "get_file", r"no layer for keras\.utils\.get_file"),
        ("builtins", "exec", r"no layer for builtins\.exec"),
        ("builtins", "function", "no layer for a function .*: it is code"),
    ],
)
def test_a_file_is_never_executed(
    bench: Bench, folder: Path, tmp_path: Path, module: str, kind: str, message: str, ending: str
) -> None:
    """A config that names code, which Keras might import."""
    mark = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Layer: pass\n", encoding="utf-8")
    path = tmp_path / "evil.keras"
    with zipfile.ZipFile(folder / "sequential.keras") as archive, zipfile.ZipFile(path, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1] |= {"module": module, "class_name": kind}
                content = json.dumps(config).encode()
            changed.writestr(name, content)
    with pytest.raises(BadInput, match=message):
        network_import.imported(str(with_ending(path, ending)), None, {"keras": str(bench.python("keras"))}, print)
    assert not mark.exists()


@pytest.mark.parametrize("name", SAVED)
def test_a_config_is_the_same_network(
    bench: Bench, found: Callable[[str], Imported], folder: Path, tmp_path: Path, name: str
) -> None:
    path = with_ending(folder / f"{name}.keras", ".json", tmp_path)
    result = network_import.imported(str(path), None, {"keras": str(bench.python("keras"))}, print)
    assert result.network == found(name).network and network_import.compared(result).agrees
    assert network_import.CONFIG in result.notes and not network_import.is_network_file(str(path))


def with_ending(file: Path, ending: str, folder: Path | None = None) -> Path:
    """A .keras file, or its config in a file of its own."""
    if ending == file.suffix:
        return file
    with zipfile.ZipFile(file) as archive:
        path = (folder or file.parent) / f"{file.stem}{ending}"
        path.write_bytes(archive.read("config.json"))
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", "no JSON: JSONDecodeError"),
        ("[" * 100_000, "no JSON: RecursionError"),
        ("[]", r"no config of Keras: write model.to_json\(\) to the file"),
        ('{"schema": 3}', "no config of Keras"),
        ('{"class_name": "Dense", "module": "keras.layers", "config": {"units": 3}}', "gives Dense and no keras.Model"),
        ('{"class_name": "Absent", "module": "keras.layers", "config": {}}', "Keras cannot read it"),
    ],
)
def test_a_file_that_is_no_config(bench: Bench, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=message) as error:
        network_import.imported(str(tmp_path / "model.json"), None, {"keras": str(bench.python("keras"))}, print)
    assert "\n" not in str(error.value)


def test_a_damaged_file(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "damaged.keras").write_bytes(b"no zip")
    with pytest.raises(BadInput, match=r"damaged\.keras: no file of Keras 3"):
        network_import.imported(str(tmp_path / "damaged.keras"), None, {"keras": str(bench.python("keras"))}, print)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("kind", ["UpSampling2D", "Resizing"])
def test_an_interpolation_in_float32_is_rounding(bench: Bench, kind: str, interpolation: str) -> None:
    """TensorFlow interpolates in float32; what Keras does in float64 keeps the bound of float64."""
    pythons, text = {"keras": str(bench.python("keras"))}, f"{MODELS}:resized({kind!r}, {interpolation!r})"
    result = network_import.imported(text, None, pythons, print, source="keras")
    comparison, single = network_import.compared(result), interpolation == "bilinear"
    assert comparison.agrees, comparison.text
    assert (comparison.difference > network_import.ROUNDING * comparison.scale) == single
    assert result.original.rounding == (network_import.SINGLE if single else network_import.ROUNDING)
    note = f"Keras computes values of {kind} in float32: a difference of 1e-06 is rounding"
    assert result.notes == ((note,) if single else ())


@pytest.mark.parametrize("kind", ["ReLU", "LeakyReLU"])
def test_a_slope_is_not_rounded_to_float32(bench: Bench, kind: str) -> None:
    pythons, text = {"keras": str(bench.python("keras"))}, f"{MODELS}:sloped({kind!r})"
    result = network_import.imported(text, None, pythons, print, source="keras")
    comparison = network_import.compared(result)
    assert comparison.agrees and not result.notes, comparison.text


@pytest.mark.parametrize(("call", "layer"), [("frozen", "bn"), ("frozen(own=True)", "scaled"), ("", "bn")])
def test_frozen_layers_are_named(bench: Bench, tmp_path: Path, call: str, layer: str) -> None:
    """In a function, and without a call in a file."""
    python, text = bench.python("keras"), f"{MODELS}:{call}"
    if not call:
        subprocess.run([python, MODELS, tmp_path, "frozen"], check=True, capture_output=True)
        text = str(tmp_path / "frozen.keras")
    result = network_import.imported(text, None, {"keras": str(python)}, print, source="keras")
    names = f"backbone.conv, backbone.{layer}, fixed"
    assert result.notes == (f"not trained in the original (trainable=False), trained in the port: {names}",)


def test_a_final_sigmoid_is_compared_before_it(bench: Bench) -> None:
    pythons, text = {"keras": str(bench.python("keras"))}, f"{MODELS}:with_sigmoid"
    result = network_import.imported(text, None, pythons, print, source="keras")
    assert result.notes == ("the final sigmoid is kept: the network gives its values in place of logits",)
    comparison = network_import.compared(result)
    assert comparison.agrees and comparison.scale > 1e3, comparison.text
    changed = {**result.weights, "fc.weight": result.weights["fc.weight"] * np.float64(1 + 1e-4)}
    assert network_import.compared(replace(result, weights=changed)).parted.startswith("fc, by ")


def test_arrays_that_are_not_finite(bench: Bench, tmp_path: Path) -> None:
    """A model, and the file of its weights."""
    python = bench.python("keras")
    subprocess.run([python, MODELS, tmp_path, "with_nan"], check=True, capture_output=True)
    file, pythons = tmp_path / "with_nan.keras", {"keras": str(python)}
    result = network_import.imported(str(file), None, pythons, print)
    line = "values that are not finite (NaN, infinity) in conv.weight"
    assert result.notes == (f"{file}: {line}",)
    comparison = network_import.compared(result)
    assert comparison.agrees and comparison.unbounded == "conv"
    found = weight_import.imported(file, result.network, pythons, print)
    assert found.notes[-1] == f"with_nan.keras: {line}"
    _, checked = weight_comparison.compared(file, result.network, found, pythons, print)
    assert checked and checked.agrees and checked.unbounded


def test_the_line_names_the_arrays_that_are_compared(
    bench: Bench, folder: Path, tmp_path: Path, found: Callable[[str], Imported], capsys: pytest.CaptureFixture[str]
) -> None:
    network, weights = found("sequential").network, dict(found("sequential").weights)
    weights["dense.bias"] = weights["dense.bias"] * np.nan
    names = network_import.own_names(network)
    np.savez(tmp_path / "given.npz", **{names[key]: each for key, each in weights.items()})
    text = str(folder / "sequential.keras")
    given = [text, "--weights", str(tmp_path / "given.npz"), "--to", "torch", "-o", str(tmp_path)]
    assert exit_code_of(command)([*given, f"--python=keras={bench.python('keras')}"]) == 0
    printed = capsys.readouterr().out
    assert f"{text} and the spec, the arrays of {text} and not of given.npz, the same images" in printed
    assert "given.npz: values that are not finite (NaN, infinity) in dense.bias" in printed


# --- layers that compute something else in training ------------------------------------------------------------------


def test_layers_that_augment_are_left_out(bench: Bench, tmp_path: Path) -> None:
    """Keras has `training=True` as the default of these layers."""
    python = bench.python("keras")
    subprocess.run([python, MODELS, tmp_path, "augmented"], check=True, capture_output=True)
    for text in (str(tmp_path / "augmented.keras"), f"{MODELS}:augmented"):
        result = network_import.imported(text, None, {"keras": str(python)}, print, source="keras")
        comparison = network_import.compared(result)
        assert comparison.agrees, comparison.text
        assert [type(each.layer).__name__ for each in result.network.nodes] == ["Conv", "Flatten", "Dense"]
        ends = " augments images in training: left out"
        kinds = {note.removesuffix(ends).partition(" (")[0] for note in result.notes if note.endswith(ends)}
        assert {"RandomFlip", "RandomZoom", "RandomRotation", "RandomContrast", "MixUp"} <= kinds
        assert "RandomFlip (again)" + ends in result.notes
        assert len(result.notes) == len(set(result.notes)) == 1 + len(kinds)


def test_a_layer_of_ones_own_that_augments(bench: Bench) -> None:
    pythons = {"keras": str(bench.python("keras"))}
    result = network_import.imported(f"{MODELS}:with_layer('Flipped')", None, pythons, print, source="keras")
    assert network_import.compared(result).agrees
    assert "RandomFlip (own.flip) augments images in training: left out" in result.notes


def test_evaluation_whatever_the_calls_say(bench: Bench) -> None:
    """`predict` replaces `training=True` in the calls of a graph."""
    code = (
        f"import sys; sys.path.insert(0, {str(MODELS.parent)!r}); import numpy as np, keras_models as models\n"
        "model, x = models.in_training(), np.random.default_rng(0).uniform(size=(4, 8, 8, 2))\n"
        "assert (model.predict(x, verbose=0) == model.predict(x, verbose=0)).all()"
    )
    python = bench.python("keras")
    subprocess.run([python, "-c", code], check=True, capture_output=True)
    result = network_import.imported(f"{MODELS}:in_training", None, {"keras": str(python)}, print, source="keras")
    assert network_import.compared(result).agrees


# --- functions of a user's file ---------------------------------------------------------------------------------------


def test_a_function_that_gives_a_model(bench: Bench) -> None:
    pythons = {"keras": str(bench.python("keras"))}
    result = network_import.imported(f"{MODELS}:nested", None, pythons, print, source="keras")
    assert result.network.name == "nested"
    assert network_import.compared(result).agrees


def test_layers_of_ones_own_are_traced(bench: Bench) -> None:
    pythons = {"keras": str(bench.python("keras"))}
    result = network_import.imported(f"{MODELS}:own_layers", None, pythons, print, source="keras")
    assert network_import.compared(result).agrees
    (affine,) = layers(result.network, Affine)
    assert affine == Affine("scaled") and result.weights["scaled.beta"].any()
    names = [node.path for _, node in result.network.walk() if node.parameters]
    assert names == ["conv", "scaled", "excited.squeeze", "excited.expand", "fc"]
    assert len(layers(result.network, Multiply)) == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("OfTraining", r"no layer for OfTraining \(layer own\): in training its call computes something else"),
        ("OnValues", r"keras_models\.py:\d+: OperatorNotAllowedInGraphError: .* OnValues\.call"),
        ("OfTensorFlow", r"no layer for OfTensorFlow \(layer own\): its call is not traced: "),
        ("InFunction", r"no layer for InFunction \(layer own\): its variable size is no operand of an operation"),
        ("OfPixels", r"no layer for Multiply \(operation own\.multiply\): the variable map of own is 6x6x4, not one"),
        ("Summand", r"no layer for Add \(operation own\.add\): the summand of own belongs to no layer"),
    ],
)
def test_layers_of_ones_own_that_have_no_layer(bench: Bench, kind: str, message: str) -> None:
    pythons = {"keras": str(bench.python("keras"))}
    with pytest.raises(BadInput, match=message) as error:
        network_import.imported(f"{MODELS}:with_layer({kind!r})", None, pythons, print, source="keras")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("hook", [False, True])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too_small", "ValueError: Computed output size would be zero or negative. .*"),
        ("with_list", "ValueError: one two"),
    ],
)
def test_an_error_of_several_lines_is_one(bench: Bench, name: str, message: str, hook: bool) -> None:
    """Keras adds a list of the arguments. hook: the error ends the script, as one in a layer of Keras does."""
    python = bench.python("keras")
    if hook:
        folders = [str(network_import.KERAS_SCRIPT.parent), str(MODELS.parent)]
        code = (
            f"import sys; sys.path += {folders}; import keras_model, keras_models; sys.excepthook = keras_model.fail\n"
            f"keras_models.{name}()"
        )
        given = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True).stderr.splitlines()[
            -1
        ]
    else:
        with pytest.raises(BadInput) as error:
            network_import.imported(f"{MODELS}:{name}", None, {"keras": str(python)}, print, source="keras")
        given = str(error.value).partition(": keras_models.py:")[2].partition(": ")[2]
    assert re.fullmatch(message, given), given
    assert given.isprintable() and "Arguments received" not in given and "\u2022" not in given


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", r"keras_models\.py:\d+: ZeroDivisionError"),
        ("absent", "it has no function 'absent'"),
        ("Subclassed", "is a subclass of keras.Model; only functional and sequential models are imported"),
        ("Path", "gives PosixPath and no keras.Model"),
    ],
)
def test_functions_that_give_no_model(bench: Bench, name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        network_import.imported(f"{MODELS}:{name}", None, {"keras": str(bench.python("keras"))}, print, source="keras")


def test_port(bench: Bench, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = f"--python=keras={bench.python('keras')}"
    given = [str(folder / "sequential.keras"), "--to", "spec,torch", "-o", str(tmp_path), python]
    assert exit_code_of(command)(given) == 0
    assert "the logits differ by at most" in capsys.readouterr().out
    assert (
        exit_code_of(command)([f"{MODELS}:nested", "--from", "keras", "--to", "spec", "-o", str(tmp_path), python]) == 0
    )
    network = networks.network(f"{tmp_path}/nested_spec.py:nested")
    assert network.input == (1, 8, 8)
    with np.load(tmp_path / "nested_spec.npz") as arrays:
        assert {each.name for each in network.parameters} <= set(arrays.files)
