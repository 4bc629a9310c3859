"""Prints the defaults of Keras, its initial values, and the arrays after steps of its optimizers.

The argument is JSON: see `tests/contract/test_semantics.py`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}

import keras
import numpy as np
import tensorflow as tf
from keras import layers, optimizers


def points() -> dict[str, float]:
    """Defaults, read off or measured."""
    norm, column = layers.BatchNormalization(), tf.constant([[1.0], [3.0]])
    norm(column, training=True)
    fraction = 1 - norm.momentum
    window = tf.nn.local_response_normalization(tf.ones((1, 1, 1, 3)), depth_radius=1, alpha=1, beta=1, bias=0)
    return {
        "epsilon": optimizers.Adam().epsilon,
        "rmsprop_epsilon": optimizers.RMSprop().epsilon,
        "rmsprop_rho": optimizers.RMSprop().rho,
        "adadelta_epsilon": optimizers.Adadelta().epsilon,
        "adadelta_rho": optimizers.Adadelta().rho,
        "adadelta_lr": float(optimizers.Adadelta().learning_rate),
        "adamw_decay": optimizers.AdamW().weight_decay,
        "norm_epsilon": norm.epsilon,
        "norm_momentum": fraction,
        "norm_variance": (float(norm.moving_variance[0]) - 1 + fraction) / fraction,
        "window": 1 / float(window[0, 0, 0, 1]),
        "first_window": first_window(),
        "windows": float(layers.MaxPooling2D(3, 2)(tf.ones((1, 6, 6, 1))).shape[1]),
        "corner_mean": float(layers.AveragePooling2D(3, 1, "same")(tf.ones((1, 4, 4, 1)))[0, 0, 0, 0]),
        "second_pixel": float(layers.Resizing(1, 4)(tf.constant([[[[0.0], [1.0]]]]))[0, 0, 1, 0]),
    }


def first_window() -> float:
    """The first pixel of the first window at stride 2, if 6 pixels give 3."""
    convolution = layers.Conv2D(1, 3, 2, "same", use_bias=False)
    pixels = np.broadcast_to(np.arange(1.0, 7)[None, None, :, None], (1, 6, 6, 1))
    convolution.build(pixels.shape)
    convolution.kernel.assign(np.array([0, 0, 0, 1.0, 0, 0, 0, 0, 0]).reshape(3, 3, 1, 1))
    return float(convolution(pixels)[0, 1, 0, 0]) - 1


def drawn() -> dict[str, list[float]]:
    """Initial values by default, by array."""
    keras.utils.set_random_seed(0)
    own = {"C": layers.Conv2D(32, 5, groups=2), "F": layers.Dense(400)}
    own["C"].build((1, 9, 9, 8))
    own["F"].build((1, 300))
    return {
        f"{name}.{role}": variable.numpy().ravel().tolist()
        for name, layer in own.items()
        for role, variable in (("weight", layer.kernel), ("bias", layer.bias))
    }


def optimizer(rule: dict[str, Any]) -> optimizers.Optimizer:
    decay = rule["weight_decay"] or None
    if rule["kind"] == "SGD":
        return optimizers.SGD(0.0, rule["momentum"], rule["nesterov"], weight_decay=decay)
    if rule["kind"] == "RMSprop":
        return optimizers.RMSprop(0.0, rule["rho"], rule["momentum"], weight_decay=decay)
    if rule["kind"] == "Adadelta":
        return optimizers.Adadelta(0.0, rule["rho"], weight_decay=decay)
    kind = optimizers.AdamW if rule["decoupled"] else optimizers.Adam
    return kind(0.0, beta_1=rule["beta1"], beta_2=rule["beta2"], weight_decay=decay)


def moved(case: dict[str, Any], precision: str, start: dict[str, Any]) -> dict[str, Any]:
    """The arrays after the steps."""
    dense, norm = layers.Dense(3, dtype=precision), layers.BatchNormalization(dtype=precision)
    dense.build((1, 2))
    norm.build((1, 3))
    arrays = {"F.weight": dense.kernel, "F.bias": dense.bias, "B.gamma": norm.gamma, "B.beta": norm.beta}
    for name, array in arrays.items():
        array.assign(np.transpose(start[name]))
    steps = optimizer(case["rule"])
    for gradients, rate in zip(case["gradients"], case["lrs"]):
        steps.learning_rate = rate
        given = [tf.constant(np.transpose(gradients[name]), precision) for name in arrays]
        steps.apply(given, list(arrays.values()))
    return {name: np.transpose(array.numpy()).tolist() for name, array in arrays.items()}


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    steps = {
        precision: {name: moved(case, precision, task["start"]) for name, case in task["cases"].items()}
        for precision in ("float32", "float64")
    }
    print(json.dumps({"points": points(), "drawn": drawn(), "steps": steps}))
