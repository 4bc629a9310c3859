"""What the model of a Keras file computes, in float64: the values of its layers and its logits.

    python keras_model.py FILE FOLDER    FOLDER/images.npy, N x C x H x W, gives FOLDER/values.npz

values.npz has the output of each layer by name, channels first, and `.output`. Only layers of Keras are built, none
from other modules, and no Lambda: a file may name any class or function of the interpreter. Initializers, regularizers
and the optimizer are left out. A softmax at the end is, too, as the spec's output is logits. A failure ends the script
with its reason in one line.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

import h5py
import keras
import numpy as np

LAYERS = {
    *("InputLayer Functional Model Sequential Conv2D Convolution2D DepthwiseConv2D SeparableConv2D Dense".split()),
    *("BatchNormalization LayerNormalization GroupNormalization UnitNormalization Normalization Rescaling".split()),
    *("Activation ReLU LeakyReLU PReLU ELU Softmax ThresholdedReLU Dropout SpatialDropout2D GaussianNoise".split()),
    *("GaussianDropout AlphaDropout MaxPooling2D AveragePooling2D GlobalAveragePooling2D GlobalMaxPooling2D".split()),
    *("ZeroPadding2D Cropping2D UpSampling2D Resizing Flatten Reshape Permute Add Multiply Concatenate".split()),
    *("Subtract Average Maximum Minimum Identity".split()),
}
ACTIVATIONS = {
    *("linear relu relu6 sigmoid hard_sigmoid tanh softmax softplus softsign elu selu gelu exponential".split()),
    *("swish silu hard_swish hard_silu mish leaky_relu log_softmax".split()),
}
SOFTMAX = ("softmax", "log_softmax")
# What a config holds besides layers: references to tensors, and the names of types.
DATA = {"__keras_tensor__", "DTypePolicy", "Policy"}


def checked(value: Any, key: str = "") -> Any:
    """A part of a config with known classes alone, in float64."""
    if key == "dtype":
        return "float64"
    if key.endswith(("_initializer", "_regularizer", "_constraint", "_quantizer")):
        return "zeros" if key.endswith("_initializer") else None
    if key.endswith("activation") and value is not None:
        name = value.get("config") if isinstance(value, dict) else value
        if str(name) not in ACTIVATIONS:
            sys.exit(f"{str(name)!r:.60} is no activation of Keras")
        return name
    if isinstance(value, dict):
        kind = value.get("class_name")
        own = f"{value.get('module') or 'keras'}.".startswith("keras.")
        if kind is not None and not (own and kind in LAYERS | DATA):
            name = ".".join(str(each) for each in (value.get("module"), kind) if each)
            sys.exit(f"{name:.80} is no layer of Keras that is run here")
        return {
            name: checked(each, name)
            for name, each in value.items()
            if name not in ("compile_config", "quantization_config")
        }
    return [checked(each) for each in value] if isinstance(value, list) else value


def without_softmax(model: dict[str, Any]) -> None:
    """Change the last layer of a config so that it gives logits."""
    config = model["config"]
    ends = config.get("output_layers") or [config["layers"][-1]["config"]["name"]]
    name = ends if isinstance(ends, str) else ends[0] if isinstance(ends[0], str) else ends[0][0]
    last = next(layer for layer in config["layers"] if layer["config"]["name"] == name)
    if "layers" in last["config"]:
        without_softmax(last)
    elif last["config"].get("activation") in SOFTMAX:
        last["config"]["activation"] = "linear"
    elif last["class_name"] == "Softmax":
        last["class_name"] = "Activation"
        last["config"] = {"name": name, "dtype": "float64", "activation": "linear"}
        for call in last.get("inbound_nodes", []):
            if isinstance(call, dict):
                call["kwargs"] = {}  # a softmax takes a mask, an activation does not


def changed(config: Any) -> str:
    model = checked(config)
    without_softmax(model)
    return json.dumps(model)


def copied(source: Path, folder: Path) -> Path:
    """The file with a changed config, for Keras to load."""
    if not zipfile.is_zipfile(source):
        target = folder / "model.h5"
        shutil.copyfile(source, target)
        with h5py.File(target, "r+") as file:
            config = file.attrs["model_config"]
            file.attrs["model_config"] = changed(json.loads(config))
            file.attrs.pop("training_config", None)
        return target
    target = folder / "model.keras"
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        copy.writestr("config.json", changed(json.loads(archive.read("config.json"))))
        copy.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))
        copy.writestr("model.weights.h5", archive.read("model.weights.h5"))
    return target


def recorded(model: Any, values: dict[str, Any]) -> None:
    """Let each layer write its output to `values`, and compute in float64."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            recorded(layer, values)
        if isinstance(layer, keras.layers.Rescaling):  # TensorFlow rounds numbers of Python to float32
            layer.scale, layer.offset = np.float64(layer.scale), np.float64(layer.offset)

        @functools.wraps(layer.call)  # Keras looks at its signature
        def call(*given: Any, name: str = layer.name, own: Any = layer.call, **options: Any) -> Any:
            values[name] = own(*given, **options)
            return values[name]

        layer.call = call


if __name__ == "__main__":
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    keras.config.set_floatx("float64")
    model = keras.saving.load_model(copied(source, folder), compile=False, safe_mode=True)
    images = np.load(folder / "images.npy").transpose(0, 2, 3, 1)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        sys.exit(f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs")
    if any(size not in (None, given) for size, given in zip(model.inputs[0].shape[1:], images.shape[1:])):
        sys.exit(f"the model takes images of {model.inputs[0].shape[1:]}, the network of {images.shape[1:]}")
    values: dict[str, Any] = {}
    recorded(model, values)
    values[".output"] = model(images, training=False)
    found = {name: np.asarray(value) for name, value in values.items() if hasattr(value, "shape")}
    first: dict[str, Any] = {name: np.moveaxis(each, -1, 1) if each.ndim == 4 else each for name, each in found.items()}
    np.savez(folder / "values.npz", **first)
