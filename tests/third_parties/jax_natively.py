"""Prints the defaults of Flax NNX and Optax, initial values, and the arrays after steps of Optax's optimizers.

The argument is JSON: see `tests/contract/test_semantics.py`.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

# Each layer and the attribute of an array.
ATTRIBUTES = {
    "F.weight": ("F", "kernel"),
    "F.bias": ("F", "bias"),
    "B.gamma": ("B", "scale"),
    "B.beta": ("B", "bias"),
}


def points() -> dict[str, float]:
    """Defaults, read off or measured; Optax's optimizers are functions, whose parameters have the defaults."""
    norm, column = nnx.BatchNorm(1, rngs=nnx.Rngs(0)), jnp.array([[1.0], [3.0]])
    norm(column)
    fraction = 1 - norm.momentum
    resized = jax.image.resize(jnp.array([[0.0, 1.0]]), (1, 4), "linear")
    return {
        "epsilon": default_of(optax.adam, "eps"),
        "rmsprop_epsilon": default_of(optax.rmsprop, "eps"),
        "rmsprop_rho": default_of(optax.rmsprop, "decay"),
        "adadelta_epsilon": default_of(optax.adadelta, "eps"),
        "adadelta_rho": default_of(optax.adadelta, "rho"),
        "adamw_decay": default_of(optax.adamw, "weight_decay"),
        "norm_epsilon": norm.epsilon,
        "norm_momentum": fraction,
        "norm_variance": (norm.var[0].item() - 1 + fraction) / fraction,
        "first_window": first_window(),
        "windows": float(nnx.max_pool(jnp.ones((1, 6, 6, 1)), (3, 3), (2, 2)).shape[1]),
        "corner_mean": nnx.avg_pool(jnp.ones((1, 4, 4, 1)), (3, 3), (1, 1), "SAME")[0, 0, 0, 0].item(),
        "second_pixel": resized[0, 1].item(),
    }


def default_of(optimizer: Callable[..., Any], option: str) -> float:
    value: float = inspect.signature(optimizer).parameters[option].default
    return value


def first_window() -> float:
    """The first pixel of the first window at stride 2, if 6 pixels give 3."""
    convolution = nnx.Conv(1, 1, (3, 3), 2, use_bias=False, rngs=nnx.Rngs(0))
    convolution.kernel.set_value(jnp.array([0, 0, 0, 1.0, 0, 0, 0, 0, 0]).reshape(3, 3, 1, 1))
    pixels = jnp.broadcast_to(jnp.arange(1.0, 7)[None, None, :, None], (1, 6, 6, 1))
    return convolution(pixels)[0, 1, 0, 0].item() - 1


def drawn() -> dict[str, list[float]]:
    """Initial values by default, by array."""
    rngs = nnx.Rngs(0)
    layers = {"C": nnx.Conv(8, 32, (5, 5), feature_group_count=2, rngs=rngs), "F": nnx.Linear(300, 400, rngs=rngs)}
    return {
        f"{name}.{role}": np.array(array).ravel().tolist()
        for name, layer in layers.items()
        for role, array in (("weight", layer.kernel[...]), ("bias", layer.bias[...]))
    }


def optimizer(rule: dict[str, Any], lr: optax.Schedule) -> optax.GradientTransformation:
    """Optax's optimizer of a rule. Where Optax's has no decay, the decay is added at its place in `optax.adamw`."""
    decay = rule["weight_decay"]
    if rule["kind"] == "Adam":
        options = {"b1": rule["beta1"], "b2": rule["beta2"]}
        return optax.adamw(lr, weight_decay=decay, **options) if decay else optax.adam(lr, **options)
    if rule["kind"] == "Adadelta":
        return optax.adadelta(lr, rule["rho"])
    if rule["kind"] == "RMSprop":
        if not decay:
            return optax.rmsprop(lr, rule["rho"], momentum=rule["momentum"] or None)
        change = optax.scale_by_rms(rule["rho"])
    elif not decay:
        return optax.sgd(lr, rule["momentum"] or None, rule["nesterov"])
    else:
        change = optax.trace(rule["momentum"], rule["nesterov"])
    return optax.chain(change, optax.add_decayed_weights(decay), optax.scale_by_learning_rate(lr))


def loss_with(net: nnx.Dict, gradients: dict[str, jax.Array]) -> jax.Array:
    """A loss that has these gradients."""
    return sum((gradients[name] * getattr(net[layer], role)).sum() for name, (layer, role) in ATTRIBUTES.items())


def moved(case: dict[str, Any], start: dict[str, Any]) -> dict[str, Any]:
    """The arrays after the steps, in the default precision."""
    dtype, rngs = jnp.zeros(()).dtype, nnx.Rngs(0)
    net = nnx.Dict(F=nnx.Linear(2, 3, param_dtype=dtype, rngs=rngs), B=nnx.BatchNorm(3, param_dtype=dtype, rngs=rngs))
    arrays = {name: getattr(net[layer], role) for name, (layer, role) in ATTRIBUTES.items()}
    for name, array in arrays.items():
        array.set_value(jnp.array(np.transpose(start[name]), dtype))
    lrs = jnp.array(case["lrs"], dtype)
    steps = nnx.Optimizer(net, optimizer(case["rule"], lambda count: lrs[count]), wrt=nnx.Param)
    for gradients in case["gradients"]:
        given = {name: jnp.array(np.transpose(gradients[name]), dtype) for name in arrays}
        steps.update(net, nnx.grad(loss_with)(net, given))
    return {name: np.transpose(array[...]).tolist() for name, array in arrays.items()}


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    report: dict[str, Any] = {"points": points(), "drawn": drawn(), "steps": {}}
    for precision in ("float32", "float64"):
        jax.config.update("jax_enable_x64", precision == "float64")
        report["steps"][precision] = {name: moved(case, task["start"]) for name, case in task["cases"].items()}
    print(json.dumps(report))
