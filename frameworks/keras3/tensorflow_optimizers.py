"""The optimizers of TensorFlow in the forms of the spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from frameworks.training import SGD, Adadelta, Adam, Optimizer, RMSprop

Update = Callable[..., Any]  # of a variable, its gradient and its slots, all but the gradient as TensorFlow's variables


def update_of(rule: Optimizer, lr: tf.Tensor, step: tf.Tensor) -> Update:
    """One array's step."""
    match rule:
        case SGD():
            return sgd(rule, lr)
        case Adam():
            return adam(rule, lr, step)
        case RMSprop():
            return rmsprop(rule, lr)
        case Adadelta():
            return adadelta(rule, lr)
    raise NotImplementedError(f"the adapter of Keras has no {type(rule).__name__}")


def sgd(rule: SGD, lr: tf.Tensor) -> Update:
    if not rule.momentum:
        return lambda w, g: tf.raw_ops.ResourceApplyGradientDescent(var=w.handle, alpha=lr, delta=g)
    options = {"lr": lr, "momentum": tf.constant(rule.momentum, lr.dtype), "use_nesterov": rule.nesterov}
    apply = tf.raw_ops.ResourceApplyKerasMomentum if rule.lr_in_velocity else tf.raw_ops.ResourceApplyMomentum
    return lambda w, g, velocity: apply(var=w.handle, accum=velocity.handle, grad=g, **options)


def adam(rule: Adam, lr: tf.Tensor, step: tf.Tensor) -> Update:
    """TensorFlow's w -= lr m / (sqrt(v) + epsilon) without its bias correction: lr and epsilon contain the spec's.

    In float32, 1 - beta2 is off by 1.3e-5 at 0.999, and so is the second moment; the correction and epsilon come from
    the same rounded betas, so it cancels in the step.
    """
    beta1, beta2 = (tf.constant(beta, lr.dtype) for beta in (rule.beta1, rule.beta2))
    count = tf.cast(step, tf.float64)
    first, second = (1 - tf.cast(beta, tf.float64) ** count for beta in (beta1, beta2))
    corrected = lr * tf.cast(tf.sqrt(second) / first, lr.dtype)
    exact = 1 - tf.constant(rule.beta2, tf.float64) ** count if rule.epsilon_hat else 1.0
    epsilon = tf.cast(rule.epsilon * tf.sqrt(second / exact), lr.dtype)
    none = tf.zeros_like(lr)
    bias = {"beta1_power": none, "beta2_power": none}
    options = {"lr": corrected, "beta1": beta1, "beta2": beta2, "epsilon": epsilon, **bias}
    apply = tf.raw_ops.ResourceApplyAdam
    return lambda w, g, m, v: apply(var=w.handle, m=m.handle, v=v.handle, grad=g, **options)


def rmsprop(rule: RMSprop, lr: tf.Tensor) -> Update:
    """Written out: ResourceApplyRMSProp has epsilon inside the root and the learning rate in the velocity alone."""

    def update(w: tf.Variable, g: tf.Tensor, square: tf.Variable, velocity: tf.Variable | None = None) -> None:
        mean = square.assign(rule.rho * square + (1 - rule.rho) * g * g)
        change = g / (tf.sqrt(mean + rule.epsilon) if rule.epsilon_inside else tf.sqrt(mean) + rule.epsilon)
        inside = velocity is not None and rule.lr_in_velocity
        if velocity is not None:
            change = velocity.assign(rule.momentum * velocity + (lr * change if inside else change))
        w.assign_sub(change if inside else lr * change)

    return update


def adadelta(rule: Adadelta, lr: tf.Tensor) -> Update:
    options = {"lr": lr, "rho": tf.constant(rule.rho, lr.dtype), "epsilon": tf.constant(rule.epsilon, lr.dtype)}
    apply = tf.raw_ops.ResourceApplyAdadelta
    return lambda w, g, square, change: apply(
        var=w.handle, accum=square.handle, accum_update=change.handle, grad=g, **options
    )


def clipped(gradients: Sequence[tf.Tensor], limit: float) -> list[tf.Tensor]:
    """The gradients times min(1, limit / norm), norm that of all of them together."""
    factor = limit / tf.maximum(tf.linalg.global_norm(gradients), limit)
    return [factor * gradient for gradient in gradients]
