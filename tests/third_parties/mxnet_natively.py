"""Prints the defaults of MXNet Gluon, its initial values, and the arrays after steps of its optimizers.

The argument is JSON: see `tests/contract/test_semantics.py`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


def points() -> dict[str, float]:
    """Defaults, read off or measured."""
    norm, column = nn.BatchNorm(in_channels=1), nd.array([[1.0], [3.0]])
    norm.initialize()
    with autograd.record():
        loss = norm(column).sum()
    loss.backward()
    fraction = 1 - norm._kwargs["momentum"]
    window = nd.LRN(nd.ones((1, 3, 1, 1)), nsize=3, alpha=1, beta=1, knorm=0)
    resized = nd.contrib.BilinearResize2D(nd.array([[[[0.0, 1]]]]), height=1, width=4)
    return {
        "epsilon": mx.optimizer.Adam().epsilon,
        "rmsprop_epsilon": mx.optimizer.RMSProp().epsilon,
        "rmsprop_rho": mx.optimizer.RMSProp().gamma1,
        "adadelta_epsilon": mx.optimizer.AdaDelta().epsilon,
        "adadelta_rho": mx.optimizer.AdaDelta().rho,
        "norm_epsilon": norm._kwargs["eps"],
        "norm_momentum": fraction,
        "norm_variance": (norm.running_var.data().asscalar().item() - 1 + fraction) / fraction,
        "window": 1 / window[0, 1, 0, 0].asscalar().item(),
        "first_window": first_window(),
        "windows": float(nn.MaxPool2D(3, 2)(nd.ones((1, 1, 6, 6))).shape[-1]),
        "corner_mean": nn.AvgPool2D(3, 1, 1)(nd.ones((1, 1, 4, 4)))[0, 0, 0, 0].asscalar().item(),
        "second_pixel": resized[0, 0, 0, 1].asscalar().item(),
    }


def first_window() -> float:
    """The first pixel of the first window at stride 2, if 6 pixels give 3: padding is always symmetric."""
    convolution = nn.Conv2D(1, 3, 2, 1, use_bias=False, in_channels=1)
    convolution.initialize()
    convolution.weight.set_data(nd.array([0, 0, 0, 1, 0, 0, 0, 0, 0]).reshape((1, 1, 3, 3)))
    pixels = nd.broadcast_to(nd.arange(1, 7).reshape((1, 1, 1, 6)), (1, 1, 6, 6))
    return convolution(pixels)[0, 0, 1, 0].asscalar().item() - 1


def drawn() -> dict[str, list[float]]:
    """Initial values by default, by array."""
    mx.random.seed(0)
    layers = {"C": nn.Conv2D(32, 5, groups=2, in_channels=8), "F": nn.Dense(400, in_units=300)}
    for layer in layers.values():
        layer.initialize()
    return {
        f"{name}.{role}": getattr(layer, role).data().reshape(-1).asnumpy().tolist()
        for name, layer in layers.items()
        for role in ("weight", "bias")
    }


def trainer(rule: dict[str, Any], arrays: dict[str, gluon.Parameter]) -> gluon.Trainer:
    if rule["kind"] == "Adam":
        kind, options = "adam", {name: rule[name] for name in ("beta1", "beta2")}
    elif rule["kind"] == "RMSprop":
        kind, options = "rmsprop", {"gamma1": rule["rho"]}
    elif rule["kind"] == "Adadelta":
        kind, options = "adadelta", {"rho": rule["rho"]}
    else:
        kind, options = "nag" if rule["nesterov"] else "sgd", {"momentum": rule["momentum"]}
    return gluon.Trainer(list(arrays.values()), kind, options | {"wd": rule["weight_decay"]})


def moved(case: dict[str, Any], precision: str, start: dict[str, Any]) -> dict[str, Any]:
    """The arrays after the steps."""
    dense, norm = nn.Dense(3, in_units=2), nn.BatchNorm(in_channels=3)
    arrays = {"F.weight": dense.weight, "F.bias": dense.bias, "B.gamma": norm.gamma, "B.beta": norm.beta}
    for layer in (dense, norm):
        layer.initialize()
        layer.cast(precision)
    for name, array in arrays.items():
        array.set_data(nd.array(start[name], dtype=precision))
    steps = trainer(case["rule"], arrays)
    for gradients, rate in zip(case["gradients"], case["lrs"]):
        with autograd.record():  # a loss that has these gradients
            loss = sum((nd.array(gradients[n], dtype=precision) * array.data()).sum() for n, array in arrays.items())
        loss.backward()
        steps.set_learning_rate(rate)
        steps.step(1)
    return {name: array.data().asnumpy().tolist() for name, array in arrays.items()}


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    cases = {name: case for name, case in task["cases"].items() if not case["rule"]["decoupled"]}  # it has no AdamW
    narrow = ("RMSprop", "Adadelta")  # their state is in float32, and the operators refuse two types
    steps = {
        precision: {
            name: moved(case, precision, task["start"])
            for name, case in cases.items()
            if precision == "float32" or case["rule"]["kind"] not in narrow
        }
        for precision in ("float32", "float64")
    }
    print(json.dumps({"points": points(), "drawn": drawn(), "steps": steps}))
