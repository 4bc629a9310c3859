"""Checkpoints can be saved and loaded; damaged files are refused; files of other programs are converted."""

from __future__ import annotations

import json
import pickle
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.checkpoint import command
from benchmarks.porting.port_files import write_all
from benchmarks.porting.weight_import import PIXELS, import_weights, imported
from benchmarks.runtime.errors import BadInput
from benchmarks.training import checkpoints
from benchmarks.training.checkpoints import ABOUT, FORMAT, load, save
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights, initial
from frameworks.errors import WeightFileError
from frameworks.networks import NETWORKS
from frameworks.numpy_reference import Reference
from frameworks.spec import (
    Affine,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Network,
    ReLU,
    Scale,
    Select,
    to_json,
)
from frameworks.training import SGD, Training
from frameworks.weight_files import keras_names
from tests.command_line import exit_code_of
from tests.conftest import Bench

ROOT = Path(__file__).parents[2]
main = exit_code_of(command)
REMEDY = "in the program that made it, torch.save(model.state_dict(), 'weights.pth')"
SMALL = Network(
    "small",
    (3, 8, 8),
    [
        Conv("conv1", 4, 3),
        BatchNorm("bn1"),
        ReLU(),
        MaxPool("pool", 2, 2),
        Conv("conv2", 6, 2),
        ReLU(),
        Flatten(),
        Dense("fc1", 7),
        ReLU(),
        Dense("fc2", 5),
    ],
)
TRAINING = {"framework": "torch", "dataset": "mnist", "permutation": None}


def weights(network: Network = SMALL) -> Weights:
    """Arrays of distinct values."""
    stream = np.random.default_rng(0)
    return {p.name: stream.uniform(0.5, 1.5, p.shape).astype(np.float32) for p in network.parameters}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "small.npz", SMALL, weights(), TRAINING)
    return tmp_path / "small.npz"


# --- saving and loading -----------------------------------------------------------------------------------------------


def test_loading_returns_what_was_saved(saved: Path) -> None:
    checkpoint = load(saved)
    assert checkpoint.network.sha256 == SMALL.sha256 and checkpoint.about["framework"] == "torch"
    assert checkpoint.weights.keys() == weights().keys()
    for name, array in weights().items():
        np.testing.assert_array_equal(checkpoint.weights[name], array)
        assert checkpoint.weights[name].dtype == array.dtype


@pytest.mark.parametrize("name", ["lenet", "lenet5", "vgg_cifar", "resnet9", "googlenet_fashion", "inception_v3_aux"])
def test_every_kind_of_network_can_be_loaded(tmp_path: Path, name: str) -> None:
    network = NETWORKS[name]().after(Scale("pixels", factor=1 / 255), input=NETWORKS[name]().input)
    zeros = {p.name: np.zeros(p.shape, np.float32) for p in network.parameters}
    save(tmp_path / "a.npz", network, zeros, {})
    assert load(tmp_path / "a.npz").network.sha256 == network.sha256


def test_saving_leaves_no_temporary_file(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["small.npz"]


# --- damaged files ----------------------------------------------------------------------------------------------------


def rewritten(path: Path, change: Callable[[dict[str, Any], Weights], None]) -> None:
    """Change the content of a checkpoint."""
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(arrays.pop(ABOUT).tobytes())
    change(about, arrays)
    content = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(path, **{ABOUT: content}, **arrays)  # type: ignore[arg-type]


CHANGES: dict[str, tuple[Callable[[dict[str, Any], Weights], Any], str]] = {
    "an older format": (lambda about, _: about.update(format=FORMAT - 1), f"format {FORMAT - 1}"),
    "a newer format": (lambda about, _: about.update(format=FORMAT + 1), f"this version reads {FORMAT}"),
    "another hash": (lambda about, _: about.update(spec_sha256="0" * 64), "does not match its hash"),
    "another network": (lambda about, _: about["network"]["layers"].pop(), "does not match its hash"),
    "an unknown layer": (lambda about, _: about["network"]["layers"][0].update(kind="Spline"), "cannot be built"),
    "no format": (lambda about, _: about.pop("format"), "cannot be read"),
    "no hash": (lambda about, _: about.pop("spec_sha256"), "does not match its hash"),
    "a network that is a string": (lambda about, _: about.update(network="lenet"), "cannot be built"),
    "layers that are a string": (lambda about, _: about["network"].update(layers="abc"), "cannot be built"),
    "no network": (lambda about, _: about.pop("network"), "cannot be built"),
    "a missing array": (lambda _, arrays: arrays.pop("fc1.bias"), "missing fc1.bias"),
    "an unexpected array": (lambda _, arrays: arrays.update(fc9=np.zeros(1)), "unexpected fc9"),
    "another shape": (lambda _, arrays: arrays.update({"fc1.bias": np.zeros(8)}), "fc1.bias is float64 (8,)"),
    "integers": (lambda _, arrays: arrays.update({"fc1.bias": np.zeros(7, int)}), "fc1.bias is int64"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_refused(saved: Path, change: str) -> None:
    alter, message = CHANGES[change]
    rewritten(saved, lambda about, arrays: (alter(about, arrays), None)[1])
    with pytest.raises(BadInput) as error:
        load(saved)
    assert message in str(error.value) and str(saved) in str(error.value) and "\n" not in str(error.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def no_json(path: Path) -> None:
    np.savez(path, **{ABOUT: np.frombuffer(b"{", np.uint8)})  # type: ignore[arg-type]


def without_about(path: Path) -> None:
    np.savez(path, a=np.zeros(3))


def missing(path: Path) -> None:
    path.unlink()


class Trap:
    """Prints a line if it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("unpickled",))


def pickled(path: Path) -> None:
    np.savez(path, a=np.array([Trap()], object))


def pickle_alone(path: Path) -> None:
    path.write_bytes(pickle.dumps(Trap()))


DAMAGES = [
    (cut, "incomplete"),
    (flip_a_bit, "damaged"),
    (empty, "incomplete"),
    (no_json, "cannot be read"),
    (without_about, "not a checkpoint of onespec"),
    (missing, "no such file"),
    (pickled, "holds pickled Python objects"),
    (pickle_alone, "not an .npz file"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_file_is_refused(
    saved: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], message: str
) -> None:
    damage(saved)
    with pytest.raises(BadInput) as error:
        load(saved)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert "unpickled" not in capsys.readouterr().out


def test_a_flipped_bit_is_detected_or_harmless(saved: Path) -> None:
    """In the arrays and in the directory of the zip file, where a bit indicates encryption."""
    content, intact, detected = saved.read_bytes(), load(saved), 0
    for bit in np.random.default_rng(0).choice(8 * len(content), 400, replace=False).tolist():
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(changed)
        try:
            checkpoint = load(saved)
        except BadInput:
            detected += 1
        else:
            assert all((checkpoint.weights[name] == array).all() for name, array in intact.weights.items())
    assert detected > 200


# --- files of other programs ------------------------------------------------------------------------------------------

TORCH_NAMES = {
    **{name: name for name in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight", "fc1.bias")},
    **{name: name for name in ("fc2.weight", "fc2.bias", "bn1.running_mean", "bn1.running_var")},
    "bn1.gamma": "bn1.weight",
    "bn1.beta": "bn1.bias",
}


def run(python: Path, program: str, *arguments: str) -> None:
    done = subprocess.run([python, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def state_dict(bench: Bench, path: Path, arrays: Weights, scratch: Path) -> None:
    """Save arrays as a state dict with PyTorch."""
    np.savez(scratch / "arrays.npz", **arrays)  # type: ignore[arg-type]
    program = (
        "import sys, numpy, torch\n"
        "state = {name: torch.from_numpy(array) for name, array in numpy.load(sys.argv[1]).items()}\n"
        "torch.save(state | {'bn1.num_batches_tracked': torch.tensor(3)}, sys.argv[2])"
    )
    run(bench.python("torch"), program, str(scratch / "arrays.npz"), str(path))


def quiet(_: str) -> None:
    pass


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_state_dict(bench: Bench, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"small{suffix}"
    state_dict(bench, path, {TORCH_NAMES[name]: array for name, array in weights().items()}, tmp_path)
    imported = import_weights(path, SMALL, {}, quiet)
    for name, array in weights().items():
        np.testing.assert_array_equal(imported[name], array)


def test_a_state_dict_of_another_network(bench: Bench, tmp_path: Path) -> None:
    named = {TORCH_NAMES[name]: array for name, array in weights().items() if name != "fc2.bias"}
    state_dict(bench, tmp_path / "a.pth", named, tmp_path)
    with pytest.raises(BadInput, match=r"missing fc2\.bias"):
        import_weights(tmp_path / "a.pth", SMALL, {}, quiet)


# What is done to the state dict `state` before it is saved as `saved`, and what the import says.
READ = {
    "saved = {'module.' + name: tensor for name, tensor in state.items()}": [
        "removed from the names of 12 arrays: module."
    ],
    "saved = {'module._orig_mod.' + name: tensor for name, tensor in state.items()}": [
        "removed from the names of 12 arrays: module.",
        "removed from the names of 12 arrays: module._orig_mod.",
    ],
    "saved = {name: torch.nn.Parameter(tensor) for name, tensor in state.items()}": [],
    "saved = {name: tensor.bfloat16() for name, tensor in state.items()}": [
        "converted to float32: 12 arrays of bfloat16"
    ],
    "saved = {name: tensor.half() if 'conv' in name else tensor for name, tensor in state.items()}": [
        "converted to float32: 4 arrays of float16"
    ],
    "saved = {'state_dict': state, 'epoch': 3, 'best': torch.tensor(1.0), 'optimizer': optimizer.state_dict()}": [
        "the weights are those in 'state_dict'",
        "left out, no weights: epoch, optimizer, best",
    ],
    "saved = {'model': state}": ["the weights are those in 'model'"],
    "saved = {'net': {'module.' + name: tensor for name, tensor in state.items()}, 'acc': 93.1}": [
        "the weights are those in 'net'",
        "left out, no weights: acc",
        "removed from the names of 12 arrays: module.",
    ],
    "saved = {'model_state_dict': state, 'model_ema': {name: 0 * each for name, each in state.items()}}": [
        "the weights are those in 'model_state_dict'",
        "'model_ema' is an average of weights, and not chosen",
    ],
    "saved = {'ema': {'model': state}}": ["the weights are those in 'ema'", "the weights are those in 'ema/model'"],
    "saved = {'pytorch-lightning_version': '2.4', 'hyper_parameters': {'lr': 0.1}, 'callbacks': {'Best': {'score': "
    "torch.tensor(1.0)}}, 'state_dict': {'model.' + name: tensor for name, tensor in state.items()}}": [
        "the weights are those in 'state_dict'",
        "left out, no weights: pytorch-lightning_version, hyper_parameters, callbacks",
        "removed from the names of 12 arrays: model.",
    ],
    "saved = {'net._orig_mod.' + name: tensor for name, tensor in state.items()}": [
        "removed from the names of 12 arrays: net._orig_mod.",
        "removed from the names of 12 arrays: net.",
    ],
    "saved = {name.replace('conv1.', 'conv1.module.'): tensor for name, tensor in state.items()}": [
        "removed from the names of 2 arrays: conv1.module."
    ],
    "saved = {'n_averaged': torch.tensor(5)} | {'module.' + name: each for name, each in state.items()}": [
        "removed from the names of 12 arrays: module.",
        "left out, no weights: n_averaged, 1 times",
    ],
    "saved = state | {'total_ops': torch.zeros(1), 'conv1.total_params': torch.zeros(1), 'epoch': 3}": [
        "left out, no weights: epoch",
        "left out, no weights: total_ops, 1 times",
        "left out, no weights: total_params, 1 times",
    ],
}
REFUSED = {
    "saved = {'generator': state, 'discriminator': state}": "several state dicts, 'generator', 'discriminator'; save",
    "saved = list(state.values())": f"it holds list and no state dict; {REMEDY}",
    "saved = {}": "it holds dict and no state dict",
    "saved = {'epoch': 3}": "it holds no tensors",
    "saved = state | {'ema.weight': state['fc2.bias']}": "unexpected ema.weight; the names and shapes in the file must",
    "saved = state | {'module.fc2.bias': state['fc2.bias']}": "unexpected module.fc2.bias",
    "saved = {'module.' * (name == 'fc2.bias') + name: state[name] for name in state}": "missing fc2.bias; unexpected",
    "saved = {name: tensor.int() for name, tensor in state.items()}": "is int32 ",
    "saved = torch.nn.Linear(3, 5)": f"an object of torch.nn.modules.linear.Linear, and to load such an object can run "
    f"code of the file; {REMEDY}",
    "saved = {'state_dict': state, 'args': __import__('argparse').Namespace(lr=0.1)}": "object of argparse.Namespace",
    "saved = torch.jit.script(torch.nn.Linear(3, 5))": f"a TorchScript program, whose code is not run here; {REMEDY}",
}
# How PyTorch has written files.
WRITTEN = {
    "a.pth": {},
    "a.pth.tar": {},
    "a.bin": {},
    "a.ckpt": {},
    "weights": {},
    "legacy.pth": {"_use_new_zipfile_serialization": False},
    "legacy.ckpt": {"_use_new_zipfile_serialization": False},
}


@pytest.fixture(scope="module")
def changed_state_dicts(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files with the weights, in values that bfloat16 holds exactly, after each change and in each form."""
    folder = tmp_path_factory.mktemp("state_dicts")
    arrays = {TORCH_NAMES[name]: np.round(array * 64) / 64 for name, array in weights().items()}
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
    lines = [
        "import sys, numpy, torch",
        "state = {name: torch.from_numpy(array) for name, array in numpy.load(sys.argv[1]).items()}",
        "optimizer = torch.optim.Adam([torch.nn.Parameter(state['fc1.weight'].clone())])",
        "optimizer.param_groups[0]['params'][0].sum().backward()",
        "optimizer.step()",
        *(f"torch.save(state, {str(folder / name)!r}, **{options})" for name, options in WRITTEN.items()),
    ]
    files = {change: folder / f"{number}.pth" for number, change in enumerate([*READ, *REFUSED])}
    for change, file in files.items():
        save = "torch.jit.save" if "torch.jit" in change else "torch.save"
        lines += [change, f"{save}(saved, {str(file)!r})"]
    run(bench.python("torch"), "\n".join(lines), str(folder / "arrays.npz"))
    return files | {name: folder / name for name in WRITTEN}


@pytest.mark.parametrize("change", [*READ, *WRITTEN])
def test_a_state_dict_in_other_forms_is_read_exactly(changed_state_dicts: dict[str, Path], change: str) -> None:
    found = imported(changed_state_dicts[change], SMALL, {}, quiet)
    for name, array in weights().items():
        np.testing.assert_array_equal(found.weights[name], np.round(array * 64) / 64)
    assert list(found.notes) == READ.get(change, [])


@pytest.mark.parametrize("change", REFUSED)
def test_what_is_no_state_dict_of_the_network_is_refused(changed_state_dicts: dict[str, Path], change: str) -> None:
    with pytest.raises(BadInput, match=re.escape(REFUSED[change])) as error:
        import_weights(changed_state_dicts[change], SMALL, {}, quiet)
    assert "\n" not in str(error.value) and "weights_only" not in str(error.value)


def test_code_in_a_pth_file_is_not_run(bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bench.python("torch")
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadInput, match="PyTorch cannot read its weights"):
        import_weights(tmp_path / "trap.pth", SMALL, {}, quiet)
    assert "unpickled" not in capfd.readouterr().out


def test_an_npz_file_with_the_names_of_pytorch(tmp_path: Path) -> None:
    named = {TORCH_NAMES[name]: array for name, array in weights().items()}
    np.savez(tmp_path / "a.npz", **named)  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        import_weights(tmp_path / "a.npz", SMALL, {}, quiet)["bn1.gamma"], weights()["bn1.gamma"]
    )


def test_safetensors_of_16_bits(tmp_path: Path) -> None:
    """bfloat16 is the upper half of float32. The file is written by hand: NumPy has no bfloat16."""
    pytest.importorskip("safetensors")
    header: dict[str, Any] = {}
    data = b""
    for name, array in weights().items():
        values = np.round(array * 64) / 64
        upper = (values.astype("<f4").view("<u4") >> 16).astype("<u2")
        kind, short = ("F16", values.astype("<f2")) if name.startswith("fc") else ("BF16", upper)
        place = [len(data), len(data) + short.nbytes]
        header[TORCH_NAMES[name]] = {"dtype": kind, "shape": array.shape, "data_offsets": place}
        data += short.tobytes()
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    found = imported(tmp_path / "a.safetensors", SMALL, {}, quiet)
    for name, array in weights().items():
        np.testing.assert_array_equal(found.weights[name], np.round(array * 64) / 64)
    assert found.notes == ("converted to float32: 8 arrays of bfloat16", "converted to float32: 4 arrays of float16")


def test_safetensors(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({TORCH_NAMES[name]: array for name, array in weights().items()}, tmp_path / "a.safetensors")
    imported = import_weights(tmp_path / "a.safetensors", SMALL, {}, quiet)
    np.testing.assert_array_equal(imported["fc1.weight"], weights()["fc1.weight"])


def test_a_spec_has_its_weights_as_safetensors(tmp_path: Path) -> None:
    """Under the names of PyTorch, and the values, not the memory, of transposed arrays."""
    numpy = pytest.importorskip("safetensors.numpy")
    given = {name: np.asfortranarray(array) for name, array in weights().items()}
    *_, path = write_all(SMALL, ("spec",), tmp_path, given, "x")
    assert path.name == "small_spec.safetensors"
    assert numpy.load_file(path).keys() == set(TORCH_NAMES.values())
    for name, array in import_weights(path, SMALL, {}, quiet).items():
        np.testing.assert_array_equal(array, weights()[name])


def test_damaged_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(BadInput, match="cannot be read as safetensors"):
        import_weights(tmp_path / "a.safetensors", SMALL, {}, quiet)


KERAS = """
import sys, numpy, keras
from keras import layers
model = keras.Sequential([
    layers.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(epsilon=1e-5), layers.ReLU(),
    layers.MaxPooling2D(2), layers.Conv2D(6, 2), layers.ReLU(), layers.Flatten(), layers.Dense(7), layers.ReLU(),
    layers.Dense(5)])
stream = numpy.random.default_rng(1)
for variable in model.weights:
    variable.assign(stream.uniform(0.5, 1.5, variable.shape))
model.save_weights(sys.argv[1])
images = numpy.load(sys.argv[2]).transpose(0, 2, 3, 1).astype("float32")
numpy.save(sys.argv[3], model(images, training=False).numpy())
"""


def logits(bench: Bench, network: Network, arrays: Weights, images: Array) -> Array:
    """The logits of the PyTorch adapter."""
    bench.build("torch", network, weights=arrays)
    bench.load("torch", "test", images, np.zeros(len(images), np.int64))
    _, values = bench.arrays("torch", "predict", split="test", batch_size=8)
    return np.asarray(values)


def test_imported_keras_weights_give_the_logits_of_keras(bench: Bench, tmp_path: Path) -> None:
    """In float32, rounding of 1e-7 per layer in six layers."""
    images = np.random.default_rng(0).integers(0, 3, (8, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    paths = [str(tmp_path / name) for name in ("small.weights.h5", "images.npy", "logits.npy")]
    run(bench.python("keras"), KERAS, *paths)
    imported = import_weights(tmp_path / "small.weights.h5", SMALL, {}, quiet)
    expected = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(logits(bench, SMALL, imported, images), expected, rtol=1e-5)
    fewer = Network("fewer", SMALL.input, [*SMALL.layers[:-2]])
    with pytest.raises(BadInput, match="more layers than fewer"):
        import_weights(tmp_path / "small.weights.h5", fewer, {}, quiet)
    more = Network("more", SMALL.input, [*SMALL.layers, Dense("fc3", 5)])
    with pytest.raises(BadInput, match="none for fc3"):
        import_weights(tmp_path / "small.weights.h5", more, {}, quiet)
    with pytest.raises(BadInput, match=r"fewer layers than resnet18: none for conv1 \(convolution"):
        import_weights(tmp_path / "small.weights.h5", NETWORKS["resnet18"](), {}, quiet)


# Builds the Keras models of generated networks: a layer of Keras for each layer of the spec.
KERAS_MODELS = """
import json, sys, numpy, keras
from keras import layers
from frameworks.spec import from_json

class Affine(layers.Layer):
    def build(self, shape):
        self.gamma, self.beta = (self.add_weight(shape=shape[-1:], name=name) for name in ("gamma", "beta"))
    def call(self, x):
        return self.gamma * x + self.beta

KINDS = {
    "Conv": lambda layer: layers.Conv2D(layer.channels, layer.kernel, use_bias=layer.bias),
    "BatchNorm": lambda layer: layers.BatchNormalization(epsilon=layer.eps, scale=layer.gamma, center=layer.beta),
    "Dense": lambda layer: layers.Dense(layer.units, use_bias=layer.bias),
    "Affine": lambda layer: Affine(), "ReLU": lambda layer: layers.ReLU(), "Flatten": lambda layer: layers.Flatten(),
    "Dropout": lambda layer: layers.Dropout(layer.rate),
}
stream = numpy.random.default_rng(1)
for path in sys.argv[1:]:
    with open(path + ".json") as file:
        network = from_json(json.load(file))
    channels, height, width = network.input
    model = keras.Sequential([
        layers.Input((height, width, channels)), *(KINDS[layer.kind](layer) for layer in network.layers)])
    for variable in model.weights:
        if "seed" not in variable.name:
            variable.assign(stream.uniform(0.5, 1.5, variable.shape))
    model.save_weights(path + ".weights.h5")
    images = numpy.load(path + ".images.npy").transpose(0, 2, 3, 1).astype("float32")
    numpy.save(path + ".logits.npy", model(images, training=False).numpy())
"""
ISSUE = [Conv("c", 4, 3), ReLU(), Flatten(), BatchNorm("b"), Dense("d", 5)]


def flattening_networks() -> dict[str, Network]:
    """Networks with per-channel layers before and after `Flatten`, on images that are not square."""
    stream = random.Random(13)
    networks = {"issue": Network("issue", (1, 8, 8), ISSUE)}
    for number in range(12):
        layers: list[Layer] = []
        for position in range(stream.randint(0, 2)):
            layers += [Conv(f"c{position}", stream.randint(2, 4), 2, bias=stream.random() < 0.5)]
            layers += stream.sample([BatchNorm(f"cb{position}"), Affine(f"ca{position}"), ReLU()], 2)
        layers += [Flatten()]
        for position in range(stream.randint(1, 3)):
            norm = BatchNorm(f"fb{position}", gamma=stream.random() < 0.7, beta=stream.random() < 0.7)
            layers += stream.sample([norm, Affine(f"fa{position}"), ReLU(), Dropout(), Flatten()], stream.randint(2, 5))
            layers += [Dense(f"d{position}", stream.randint(3, 6), bias=stream.random() < 0.7)]
        networks[f"net{number}"] = Network(f"net{number}", (stream.randint(1, 3), 6, 5), layers)
    return networks


def test_keras_weights_on_both_sides_of_flatten_give_the_logits_of_keras(bench: Bench, tmp_path: Path) -> None:
    """In float32, rounding of 1e-7 per layer, against the reference in float64."""
    networks = flattening_networks()
    for name, network in networks.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(to_json(network)))
        images = np.random.default_rng(0).integers(0, 3, (4, *network.input), dtype=np.uint8)
        np.save(tmp_path / f"{name}.images.npy", images)
    run(bench.python("keras"), KERAS_MODELS, *(str(tmp_path / name) for name in networks))
    for name, network in networks.items():
        reference = Reference(network, Training(SGD()), Setting(precision="float64"))
        reference.set_weights(import_weights(tmp_path / f"{name}.weights.h5", network, {}, quiet))
        images = np.load(tmp_path / f"{name}.images.npy")
        reference.load("test", images, np.zeros(len(images), np.int64))
        expected = np.load(tmp_path / f"{name}.logits.npy")
        np.testing.assert_allclose(reference.predict("test", 4), expected, rtol=1e-5, err_msg=name)


def test_flat_values_in_an_unknown_order_are_refused() -> None:
    network = Network("n", (2, 2, 2), [Flatten(), Select("s", (3, 0)), Dense("d", 2)])
    arrays = {"layers/dense/vars/0": np.ones((2, 2)), "layers/dense/vars/1": np.ones(2)}
    with pytest.raises(WeightFileError, match="s selects flat values, whose order"):
        keras_names.canonical(network, arrays)


TORCHVISION = """
import sys, numpy, torch
from frameworks.networks import NETWORKS
from tests.third_parties.torchvision_results import drawn, holding
from tests.third_parties.torchvision_nets import model
network = NETWORKS["resnet18"]()
weights = {name: array.astype("float32") for name, array in drawn(network).items()}
net = holding(model("resnet18"), network, weights).eval()
torch.save(net.state_dict(), sys.argv[1])
x = torch.from_numpy(numpy.load(sys.argv[2])).float() / 255
x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
with torch.no_grad():
    numpy.save(sys.argv[3], net(x).numpy())
"""


def test_imported_torchvision_weights_give_the_logits_of_torchvision(bench: Bench, tmp_path: Path) -> None:
    """Imported with the command, preprocessing included; float32 rounding of eighteen layers is 1e-6 of the largest."""
    python = bench.python("torchvision")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    paths = [str(tmp_path / name) for name in ("resnet18.pth", "images.npy", "logits.npy")]
    run(python, TORCHVISION, *paths)
    out = tmp_path / "resnet18.npz"
    assert main([paths[0], "--net", "resnet18", "--pixels", "imagenet", "--out", str(out)]) == 0
    checkpoint = load(out)
    expected = np.load(tmp_path / "logits.npy")
    actual = logits(bench, checkpoint.network.with_input((3, 64, 64)), checkpoint.weights, images)
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.pth", "--net", "lenet"], "no such file"),
        (["{small}", "--net", "lennet"], "Did you mean lenet?"),
        (["{small}", "--net", "lenet"], "not the arrays of lenet"),
        (["{text}", "--net", "lenet"], "unknown file type"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gives_one_line_and_exit_code_2(
    saved: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (saved.parent / "a.txt").write_text("weights")
    given = [argument.format(small=saved, text=saved.parent / "a.txt") for argument in arguments]
    assert main([*given, "--pixels", "unit", "--out", str(saved.parent / "out.npz")]) == 2
    stderr = capsys.readouterr().err
    assert message in stderr and len(stderr.splitlines()) == 1
    assert not (saved.parent / "out.npz").exists()


def test_caffe_preprocessing_puts_blue_first() -> None:
    network = Network("one", (3, 2, 2), [*PIXELS["caffe"], Flatten(), Dense("fc", 2)])
    assert [node.layer.kind for node in network.nodes[:2]] == ["Select", "Normalize"]


def test_initial_weights_can_be_saved(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "a.npz", SMALL, initial(SMALL, 0), {})
    assert load(tmp_path / "a.npz").weights["fc1.weight"].dtype == np.float64
