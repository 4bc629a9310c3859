"""The optimizers of the spec as functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp

from frameworks.training import SGD, Adadelta, Adam, Optimizer, RMSprop

Arrays: TypeAlias = dict[str, jax.Array]
Step: TypeAlias = tuple[jax.Array, Sequence[jax.Array]]  # what is subtracted from a weight, and the slots after it


def change_of(rule: Optimizer, lr: jax.Array, step: jax.Array, gradient: jax.Array, slots: Sequence[jax.Array]) -> Step:
    """One array's step, decay aside; `step` counts from 1."""
    match rule:
        case SGD():
            return sgd(rule, lr, gradient, *slots)
        case Adam():
            return adam(rule, lr, step, gradient, *slots)
        case RMSprop():
            return rmsprop(rule, lr, gradient, *slots)
        case Adadelta():
            return adadelta(rule, lr, gradient, *slots)
    raise NotImplementedError(f"the adapter of JAX has no {type(rule).__name__}")


def sgd(rule: SGD, lr: jax.Array, gradient: jax.Array, velocity: jax.Array | None = None) -> Step:
    if rule.lr_in_velocity:
        gradient = lr * gradient
    change, slots = gradient, []
    if velocity is not None:
        velocity = rule.momentum * velocity + gradient
        change, slots = gradient + rule.momentum * velocity if rule.nesterov else velocity, [velocity]
    return change if rule.lr_in_velocity else lr * change, slots


def adam(rule: Adam, lr: jax.Array, step: jax.Array, gradient: jax.Array, first: jax.Array, second: jax.Array) -> Step:
    first = rule.beta1 * first + (1 - rule.beta1) * gradient
    second = rule.beta2 * second + (1 - rule.beta2) * gradient * gradient
    corrections = [remainder(beta, step).astype(first.dtype) for beta in (rule.beta1, rule.beta2)]
    epsilon = rule.epsilon / jnp.sqrt(corrections[1]) if rule.epsilon_hat else rule.epsilon
    return lr * (first / corrections[0]) / (jnp.sqrt(second / corrections[1]) + epsilon), [first, second]


def remainder(beta: float, step: jax.Array) -> jax.Array:
    """1 - beta^step without cancellation: in float32, 1 - 0.999 is off by 1.3e-5."""
    return -jnp.expm1(step * math.log(beta)) if beta else jnp.ones(())


def rmsprop(
    rule: RMSprop, lr: jax.Array, gradient: jax.Array, square: jax.Array, velocity: jax.Array | None = None
) -> Step:
    square = rule.rho * square + (1 - rule.rho) * gradient * gradient
    change = gradient / (jnp.sqrt(square + rule.epsilon) if rule.epsilon_inside else jnp.sqrt(square) + rule.epsilon)
    if velocity is None:
        return lr * change, [square]
    velocity = rule.momentum * velocity + (lr * change if rule.lr_in_velocity else change)
    return velocity if rule.lr_in_velocity else lr * velocity, [square, velocity]


def adadelta(rule: Adadelta, lr: jax.Array, gradient: jax.Array, square: jax.Array, moved: jax.Array) -> Step:
    square = rule.rho * square + (1 - rule.rho) * gradient * gradient
    change = jnp.sqrt(moved + rule.epsilon) / jnp.sqrt(square + rule.epsilon) * gradient
    return lr * change, [square, rule.rho * moved + (1 - rule.rho) * change * change]


def clipped(gradients: Arrays, limit: float) -> Arrays:
    """The gradients times min(1, limit / norm), norm that of all of them together."""
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients.values()))
    factor = limit / jnp.maximum(norm, limit)
    return {name: factor * gradient for name, gradient in gradients.items()}
