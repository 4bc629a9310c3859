"""The optimizers of MXNet in the forms of the spec."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mxnet import nd
from mxnet.ndarray import NDArray

from frameworks.training import Adadelta, Adam, Optimizer, RMSprop


def update_by_operators(
    rule: Optimizer, step: int, lr: float, decay: float, weight: NDArray, gradient: NDArray, *slots: NDArray
) -> None:
    """One array's step by the fused operators, where they have the spec's form. Overwrites the gradient."""
    if isinstance(rule, Adadelta) or (isinstance(rule, RMSprop) and (rule.momentum or not rule.epsilon_inside)):
        update_by_arithmetic(rule, step, lr, decay, weight, gradient, *slots)
        return
    if rule.decoupled:
        weight *= 1 - lr * decay
        decay = 0.0
    if isinstance(rule, RMSprop):
        options = {"gamma1": rule.rho, "epsilon": rule.epsilon, "wd": decay, "out": weight}
        nd.rmsprop_update(weight, gradient, *slots, lr=lr, **options)
    elif isinstance(rule, Adam):
        beta1, beta2 = float(np.float32(rule.beta1)), float(np.float32(rule.beta2))  # as the operator has them
        root = (1 - beta2**step) ** 0.5
        options = {"beta1": beta1, "beta2": beta2, "wd": decay, "out": weight}
        lr *= root / (1 - beta1**step)
        # The operator's epsilon stands inside the bias correction, beside the root of a moment as far off as `root`.
        epsilon = rule.epsilon * root / ((1 - rule.beta2**step) ** 0.5 if rule.epsilon_hat else 1)
        nd.adam_update(weight, gradient, *slots, lr=lr, epsilon=epsilon, **options)
    elif not slots:
        nd.sgd_update(weight, gradient, lr=lr, wd=decay, out=weight)
    elif rule.lr_in_velocity and rule.nesterov:
        if decay:  # the operator's own would enter the velocity with the new weight
            nd.sgd_update(gradient, weight, lr=-decay, out=gradient)
        nd.nag_mom_update(weight, gradient, *slots, momentum=rule.momentum, lr=lr, out=weight)
    elif rule.lr_in_velocity:
        nd.sgd_mom_update(weight, gradient, *slots, momentum=rule.momentum, lr=lr, wd=decay, out=weight)
    else:  # sgd_update(y, x, lr=a, wd=b) is y = (1 - a b) y - a x
        if decay:
            nd.sgd_update(gradient, weight, lr=-decay, out=gradient)
        nd.sgd_update(*slots, gradient, lr=-1, wd=rule.momentum - 1, out=slots[0])
        if rule.nesterov:
            nd.sgd_update(gradient, *slots, lr=-rule.momentum, out=gradient)
        nd.sgd_update(weight, *([gradient] if rule.nesterov else slots), lr=lr, out=weight)


def update_by_arithmetic(
    rule: Optimizer, step: int, lr: float, decay: float, weight: NDArray, gradient: NDArray, *slots: NDArray
) -> None:
    """One array's step as `frameworks/training.py` defines it, in doubles. Overwrites the gradient."""
    if rule.decoupled:
        weight *= 1 - lr * decay
    else:
        gradient += decay * weight
    if isinstance(rule, Adam):
        first, second = slots
        first *= rule.beta1
        first += (1 - rule.beta1) * gradient
        second *= rule.beta2
        second += (1 - rule.beta2) * gradient * gradient
        correction = 1 - rule.beta2**step
        epsilon = rule.epsilon / (correction**0.5 if rule.epsilon_hat else 1)
        root = nd.sqrt(second / correction) + epsilon
        weight -= lr / (1 - rule.beta1**step) * first / root
        return
    if isinstance(rule, Adadelta):
        square, change = slots
        mix(square, rule.rho, gradient * gradient)
        update = nd.sqrt(change + rule.epsilon) / nd.sqrt(square + rule.epsilon) * gradient
        mix(change, rule.rho, update * update)
        weight -= lr * update
        return
    if isinstance(rule, RMSprop):
        square, *velocities = slots
        mix(square, rule.rho, gradient * gradient)
        root = nd.sqrt(square + rule.epsilon) if rule.epsilon_inside else nd.sqrt(square) + rule.epsilon
        change = gradient / root
        for velocity in velocities:
            velocity *= rule.momentum
            velocity += lr * change if rule.lr_in_velocity else change
            change = velocity
        weight -= change if velocities and rule.lr_in_velocity else lr * change
        return
    if rule.lr_in_velocity:
        gradient *= -lr
        lr = -1.0
    for velocity in slots:
        velocity *= rule.momentum
        velocity += gradient
        gradient = gradient + rule.momentum * velocity if rule.nesterov else velocity
    weight -= lr * gradient


def mix(average: NDArray, decay: float, new: NDArray) -> None:
    """average = decay average + (1 - decay) new, in place."""
    average *= decay
    average += (1 - decay) * new


def clip(gradients: Sequence[NDArray], limit: float) -> None:
    """Multiply gradients by min(1, limit / norm), norm that of all of them together.

    gluon.utils.clip_global_norm multiplies by min(1, limit / (norm + 1e-8)).
    """
    norm = nd.sqrt(nd.add_n(*(nd.sum(nd.square(gradient)) for gradient in gradients)))
    factor = limit / nd.maximum(norm, limit)
    for gradient in gradients:
        gradient *= factor.reshape((1,) * gradient.ndim)
