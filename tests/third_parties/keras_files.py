"""Writes models of Keras in all its formats, with images and logits, for `tests/contract/test_keras_weights.py`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}

import h5py
import keras
import numpy as np
from keras import layers as L

SHAPE = (8, 6, 3)


def sequential() -> Any:
    return keras.Sequential([
        keras.Input(SHAPE), L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(2), L.Conv2D(5, 2),
        L.BatchNormalization(), L.Flatten(), L.BatchNormalization(), L.Dense(7, activation="relu"),
        L.BatchNormalization(), L.Dropout(0.5), L.Dense(5, activation="softmax"),
    ])  # fmt: skip


def residual(named: bool = False) -> Any:
    def name(text: str) -> dict[str, str]:
        return {"name": text} if named else {}

    x = given = keras.Input(SHAPE)
    x = L.Conv2D(4, 3, use_bias=False, **name("c1"))(x)
    x = L.ReLU()(L.BatchNormalization(**name("n1"))(x))
    short = L.BatchNormalization(**name("r_ns"))(L.Conv2D(6, 1, **name("r_s"))(x))
    y = L.ReLU()(L.BatchNormalization(**name("r.na"))(L.Conv2D(6, 3, padding="same", **name("r_a"))(x)))
    y = L.BatchNormalization(**name("r_nb"))(L.Conv2D(6, 3, padding="same", **name("r_b"))(y))
    x = L.GlobalAveragePooling2D()(L.ReLU()(L.Add()([short, y])))
    return keras.Model(given, L.Softmax()(L.Dense(5, **name("d"))(x)))


def symmetric() -> Any:
    given = keras.Input(SHAPE)
    right = L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(given))
    left = L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(given))
    x = L.Add()([L.Activation("relu")(left), L.Activation("sigmoid")(right)])
    return keras.Model(given, L.Dense(5)(L.Flatten()(x)))


def concatenated() -> Any:
    given = keras.Input(SHAPE)
    right = L.Conv2D(4, 3, padding="same")(given)
    left = L.Conv2D(4, 1)(L.Conv2D(4, 3, padding="same")(given))
    x = L.Concatenate()([left, L.Conv2D(4, 1)(right), given])
    return keras.Model(given, L.Dense(5)(L.Flatten()(L.Conv2D(3, 1)(x))))


def nested() -> Any:
    inside = keras.Input((6, 4, 4))
    block = keras.Model(inside, L.Add()([L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(inside)), inside]))
    tail = keras.Sequential([L.Conv2D(4, 1), L.ReLU(), keras.Sequential([L.Conv2D(4, 1)])])
    given = keras.Input(SHAPE)
    x = tail(block(L.Conv2D(4, 3, activation="relu")(given)))
    return keras.Model(given, L.Dense(5)(L.Flatten()(x)))


def depthwise() -> Any:
    return keras.Sequential([
        keras.Input(SHAPE), L.DepthwiseConv2D(3, padding="same", depth_multiplier=2), L.ReLU(), L.SeparableConv2D(4, 3),
        L.Conv2D(6, 3, groups=2), L.Flatten(), L.Dense(5),
    ])  # fmt: skip


def excitation() -> Any:
    given = keras.Input(SHAPE)
    x = L.Conv2D(4, 3)(given)
    s = L.Reshape((1, 1, 4))(L.GlobalAveragePooling2D()(x))
    s = L.Conv2D(4, 1, activation="sigmoid")(L.Conv2D(2, 1, activation="relu")(s))
    return keras.Model(given, L.Dense(5)(L.Flatten()(L.multiply([s, x]))))


def normalizations() -> Any:
    return keras.Sequential([
        keras.Input(SHAPE), L.Conv2D(4, 3), L.LayerNormalization(epsilon=1e-6), L.PReLU(shared_axes=[1, 2]),
        L.GroupNormalization(2), L.BatchNormalization(), L.Flatten(), L.Dense(5, use_bias=False),
    ])  # fmt: skip


def rescaling() -> Any:
    return keras.Sequential([
        keras.Input(SHAPE), L.Rescaling(1 / 255), L.Conv2D(4, 3), L.Flatten(), L.Dense(5),
    ])  # fmt: skip


def operators() -> Any:
    given = keras.Input(SHAPE)
    x = L.Conv2D(4, 3)(given)
    x = x + L.ReLU()(L.Conv2D(4, 3, padding="same")(x))
    x = x * L.Activation("sigmoid")(L.Conv2D(4, 1)(x))
    return keras.Model(given, L.Dense(5)(L.Flatten()(x)))


def shared() -> Any:
    given, layer = keras.Input(SHAPE), L.Conv2D(3, 1, name="shared")
    return keras.Model(given, L.Dense(5)(L.Flatten()(layer(layer(given)))))


class Attributes(keras.Model):  # type: ignore[misc]
    """Its attributes say which layer is which, their order does not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1, self.conv_2, self.flat, self.fc = L.Conv2D(3, 1), L.Conv2D(3, 1), L.Flatten(), L.Dense(5)

    def call(self, x: Any) -> Any:
        return self.fc(self.flat(self.conv_1(self.conv_2(x))))


def attributes() -> Any:
    model = Attributes()
    model(np.zeros((1, *SHAPE)))
    return model


def with_lambda() -> Any:
    return keras.Sequential([
        keras.Input(SHAPE), L.Conv2D(3, 1), L.Lambda(lambda x: 2 * x), L.Flatten(), L.Dense(5),
    ])  # fmt: skip


MODELS = {
    **{each.__name__: each for each in (sequential, residual, symmetric, concatenated, nested, depthwise, excitation)},
    **{each.__name__: each for each in (normalizations, rescaling, operators, shared)},
    "attributes": attributes,
    "lambda": with_lambda,
    "named": lambda: residual(named=True),
}


def logits(model: Any, images: Any) -> Any:
    """The output before a softmax at the end."""
    last = model.layers[-1]
    if isinstance(last, L.Softmax):
        model = keras.Model(model.inputs, model.layers[-2].output)
    elif getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
    return model(images.transpose(0, 2, 3, 1), training=False).numpy()


def values(array: Any, stream: np.random.Generator) -> Any:
    """Values that differ and keep the outputs near 1."""
    if len(array.shape) == 1:
        return stream.uniform(0.5, 1.5, array.shape)
    return stream.normal(0, np.prod(array.shape[:-1]) ** -0.5, array.shape)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    stream = np.random.default_rng(0)
    drawn: dict[str, list[Any]] = {}
    for name, make in MODELS.items():
        model = make()
        arrays = [array for array in model.weights if "seed" not in array.path]
        drawn[name] = drawn["residual"] if name == "named" else [values(array, stream) for array in arrays]
        for array, value in zip(arrays, drawn[name]):
            array.assign(value)
        for ending in ("keras", "h5", "weights.h5"):
            path = folder / f"{name}.{ending}"
            if ending == "weights.h5":
                model.save_weights(path)
            elif name != "attributes":
                model.save(path)
        images = stream.uniform(0, 255, (3, 3, 8, 6)).astype(np.float32) / (1 if name == "rescaling" else 255)
        if name not in ("lambda", "shared", "named"):
            np.savez(folder / f"{name}.npz", images=images, logits=logits(model, images))
    # What Keras 2 wrote with `save_weights`.
    with h5py.File(folder / "named.h5") as whole, h5py.File(folder / "earlier.h5", "w") as alone:
        for key in whole["model_weights"]:
            whole.copy(f"model_weights/{key}", alone)
        alone.attrs["layer_names"] = whole["model_weights"].attrs["layer_names"]
