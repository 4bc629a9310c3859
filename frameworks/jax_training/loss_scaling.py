"""The loss scale of float16, `frameworks.training.LossScale`, as functions of arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from frameworks.jax_training.optimizers import Arrays
from frameworks.training import FINITE_STEPS, LOSS_SCALE, SCALE

STEP = "step"  # the steps taken: how many a slice takes is known on the device alone


def scaling_of(scale: float, finite_steps: int, step: int) -> Arrays:
    """The state of the loss scale."""
    return {
        SCALE: jnp.array(scale, jnp.float32),
        FINITE_STEPS: jnp.array(finite_steps, jnp.int32),
        STEP: jnp.array(step, jnp.int32),
    }


def finite(gradients: Arrays) -> jax.Array:
    """Whether every value of every array is."""
    return jnp.stack([jnp.isfinite(gradient).all() for gradient in gradients.values()]).all()


def moved(scaling: Arrays, taken: jax.Array) -> Arrays:
    """The state after a step that was taken, or was not because of its gradients."""
    finite_steps = jnp.where(taken, scaling[FINITE_STEPS] + 1, 0)
    grown = finite_steps >= LOSS_SCALE.interval
    factor = jnp.where(taken, jnp.where(grown, LOSS_SCALE.growth, 1.0), LOSS_SCALE.backoff)
    return {
        SCALE: scaling[SCALE] * factor,
        FINITE_STEPS: jnp.where(grown, 0, finite_steps),
        STEP: scaling[STEP] + taken,
    }
