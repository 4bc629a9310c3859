"""JAX without Flax: a complete adapter from outside onespec in one file, to be read and copied (see docs/adapters.md).

The built-in adapter of JAX is `frameworks/flax_nnx`, whose layers are Flax modules.

A network is a pure function of its arrays and a batch. `PlainJax._forward` builds the primitives of the network in
turn, `jax.grad` differentiates it, and `jax.jit` compiles a whole training step. How JAX differs from the spec:

ReLU       jnp.maximum(x, 0) has the gradient 1/2 at 0; jax.nn.relu has 0, as the spec.
threads    XLA reads their number once in a process, from NPROC.
optimizer  written out: 1 - beta^t is computed as -expm1(t log beta), which keeps all its digits.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from frameworks import spec
from frameworks.adapter import Adapter, Setting, Split, Trained, batches
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.spec import Layer, Network, Node, lowering, pair, sides
from frameworks.training import AVERAGE, SGD, Adadelta, Adam, Optimizer, RMSprop, Training

Arrays: TypeAlias = dict[str, jax.Array]  # by canonical name, or by role within a layer

# --- layers -----------------------------------------------------------------------------------------------------------


def pad(layer: spec.Pad, arrays: Arrays, x: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), (0, 0), *layer.padding), constant_values=layer.value)


def conv(layer: spec.Conv, arrays: Arrays, x: jax.Array) -> jax.Array:
    y = lax.conv_general_dilated(
        x,
        arrays["weight"],
        window_strides=pair(layer.stride),
        padding=sides(layer.padding),
        rhs_dilation=pair(layer.dilation),
        feature_group_count=layer.groups,
    )
    return y + by_channel(arrays["bias"], y) if layer.bias else y


def dense(layer: spec.Dense, arrays: Arrays, x: jax.Array) -> jax.Array:
    y = x @ arrays["weight"].T
    return y + arrays["bias"] if layer.bias else y


def max_pool(layer: spec.MaxPool, arrays: Arrays, x: jax.Array) -> jax.Array:
    return pool(layer, x, lax.max, -jnp.inf, (1, 1, *pair(layer.dilation)))


def avg_pool(layer: spec.AvgPool, arrays: Arrays, x: jax.Array) -> jax.Array:
    return pool(layer, x, lax.add, 0.0) / math.prod(pair(layer.kernel))


def pool(
    layer: spec.Pool, x: jax.Array, reduce: Callable[..., Any], initial: float, dilation: Sequence[int] = (1, 1, 1, 1)
) -> jax.Array:
    window, strides = (1, 1, *pair(layer.kernel)), (1, 1, *pair(layer.stride))
    padding = ((0, 0), (0, 0), *sides(layer.padding))
    return lax.reduce_window(x, initial, reduce, window, strides, padding, window_dilation=dilation)


def batch_norm(layer: spec.BatchNorm, arrays: Arrays, x: jax.Array) -> jax.Array:
    """In training, `running_mean` and `running_var` are the batch's statistics."""
    inverse = lax.rsqrt(arrays["running_var"] + layer.eps)
    y = (x - by_channel(arrays["running_mean"], x)) * by_channel(inverse, x)
    if layer.gamma:
        y = by_channel(arrays["gamma"], y) * y
    return y + by_channel(arrays["beta"], y) if layer.beta else y


def affine(layer: spec.Affine, arrays: Arrays, x: jax.Array) -> jax.Array:
    y = by_channel(arrays["gamma"], x) * x
    return y + by_channel(arrays["beta"], y) if layer.beta else y


def constant_affine(layer: lowering.ConstantAffine, arrays: Arrays, x: jax.Array) -> jax.Array:
    gamma, beta = jnp.asarray(layer.gamma, x.dtype), jnp.asarray(layer.beta, x.dtype)
    return by_channel(gamma, x) * x + by_channel(beta, x)


def local_response_norm(layer: spec.LocalResponseNorm, arrays: Arrays, x: jax.Array) -> jax.Array:
    window = (1, layer.size, 1, 1)
    padding = ((0, 0), (layer.size // 2, (layer.size - 1) // 2), (0, 0), (0, 0))
    squares = lax.reduce_window(x * x, 0.0, lax.add, window, (1, 1, 1, 1), padding)
    return x / (layer.k + layer.alpha / layer.size * squares) ** layer.beta


def select(layer: spec.Select, arrays: Arrays, x: jax.Array) -> jax.Array:
    taken = np.array([[number == each for number in range(x.shape[1])] for each in layer.maps])
    return jnp.moveaxis(jnp.tensordot(jnp.asarray(taken, x.dtype), x, (1, 1)), 0, 1)


def interpolate(layer: lowering.Interpolate, arrays: Arrays, x: jax.Array) -> jax.Array:
    return jnp.asarray(layer.rows, x.dtype) @ x @ jnp.asarray(layer.columns, x.dtype).T


def by_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """One value for each channel, in the shape in which it is combined with the batch x."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


# The output of each primitive, of its layer, its arrays by role, its input and the outputs of its branches.
LAYERS: dict[type[Layer], Callable[..., jax.Array]] = {
    spec.Pad: pad,
    spec.Conv: conv,
    spec.MaxPool: max_pool,
    spec.AvgPool: avg_pool,
    spec.GlobalAvgPool: lambda layer, arrays, x: x.mean((2, 3), keepdims=True),
    spec.Dense: dense,
    spec.BatchNorm: batch_norm,
    spec.Affine: affine,
    lowering.ConstantAffine: constant_affine,
    spec.LocalResponseNorm: local_response_norm,
    **dict.fromkeys(
        (spec.Dropout, spec.StochasticDepth), lambda layer, arrays, x: x * arrays["mask"] if "mask" in arrays else x
    ),
    spec.ReLU: lambda layer, arrays, x: jax.nn.relu(x),
    spec.Sigmoid: lambda layer, arrays, x: jax.nn.sigmoid(x),
    spec.Tanh: lambda layer, arrays, x: jnp.tanh(x),
    spec.Flatten: lambda layer, arrays, x: x.reshape(len(x), -1),
    lowering.ConstantMultiply: lambda layer, arrays, x: jnp.asarray(layer.factor, x.dtype) * x,
    lowering.Interpolate: interpolate,
    spec.Select: select,
    spec.Concat: lambda layer, arrays, x, *branches: jnp.concatenate(branches, axis=1),
    spec.Add: lambda layer, arrays, x, *branches: sum(branches),
    spec.Auxiliary: lambda layer, arrays, x, *head: x,
}


# --- optimizers -------------------------------------------------------------------------------------------------------


def sgd(rule: SGD, lr: jax.Array, gradient: jax.Array, slots: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
    """What is subtracted from a weight, and the new slots."""
    if rule.lr_in_velocity:
        gradient = lr * gradient
    if not slots:
        change = gradient
    else:
        velocity = rule.momentum * slots[0] + gradient
        change = gradient + rule.momentum * velocity if rule.nesterov else velocity
        slots = [velocity]
    return (change if rule.lr_in_velocity else lr * change), slots


def adam(
    rule: Adam, lr: jax.Array, step: jax.Array, gradient: jax.Array, slots: list[jax.Array]
) -> tuple[jax.Array, list[jax.Array]]:
    """What is subtracted from a weight, and the new slots."""
    first = rule.beta1 * slots[0] + (1 - rule.beta1) * gradient
    second = rule.beta2 * slots[1] + (1 - rule.beta2) * gradient * gradient
    first_correction = -jnp.expm1(step * math.log(rule.beta1))
    second_correction = -jnp.expm1(step * math.log(rule.beta2))
    epsilon = rule.epsilon / jnp.sqrt(second_correction) if rule.epsilon_hat else rule.epsilon
    change = lr * (first / first_correction) / (jnp.sqrt(second / second_correction) + epsilon)
    return change, [first, second]


def rmsprop(
    rule: RMSprop, lr: jax.Array, gradient: jax.Array, slots: list[jax.Array]
) -> tuple[jax.Array, list[jax.Array]]:
    """What is subtracted from a weight, and the new slots."""
    square = rule.rho * slots[0] + (1 - rule.rho) * gradient * gradient
    change = gradient / (jnp.sqrt(square + rule.epsilon) if rule.epsilon_inside else jnp.sqrt(square) + rule.epsilon)
    if not rule.momentum:
        return lr * change, [square]
    velocity = rule.momentum * slots[1] + (lr * change if rule.lr_in_velocity else change)
    return (velocity if rule.lr_in_velocity else lr * velocity), [square, velocity]


def adadelta(
    rule: Adadelta, lr: jax.Array, gradient: jax.Array, slots: list[jax.Array]
) -> tuple[jax.Array, list[jax.Array]]:
    """What is subtracted from a weight, and the new slots."""
    square = rule.rho * slots[0] + (1 - rule.rho) * gradient * gradient
    change = jnp.sqrt(slots[1] + rule.epsilon) / jnp.sqrt(square + rule.epsilon) * gradient
    return lr * change, [square, rule.rho * slots[1] + (1 - rule.rho) * change * change]


def changed(
    rule: Optimizer, lr: jax.Array, step: jax.Array, gradient: jax.Array, slots: list[jax.Array]
) -> tuple[jax.Array, list[jax.Array]]:
    """What is subtracted from a weight, and the new slots."""
    match rule:
        case SGD():
            return sgd(rule, lr, gradient, slots)
        case Adam():
            return adam(rule, lr, step, gradient, slots)
        case RMSprop():
            return rmsprop(rule, lr, gradient, slots)
        case Adadelta():
            return adadelta(rule, lr, gradient, slots)
    raise Unavailable(f"this adapter has no {type(rule).__name__}")


def clipped(gradients: Arrays, limit: float | None) -> Arrays:
    """The gradients times min(1, limit / norm), norm that of all of them together; None is no limit."""
    if limit is None:
        return gradients
    norm = jnp.sqrt(sum(jnp.sum(gradient * gradient) for gradient in gradients.values()))
    factor = limit / jnp.maximum(norm, limit)
    return {name: factor * gradient for name, gradient in gradients.items()}


# --- adapter ----------------------------------------------------------------------------------------------------------


class PlainJax(Adapter):
    title = "JAX without Flax"

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        for node in (inner for primitive in self.primitives for _, inner in primitive.walk()):
            if type(node.layer) not in LAYERS:
                raise NotImplementedError(f"{node.path}: this adapter has no {node.layer.kind}")
        if setting.device != "cpu":
            raise Unavailable("this adapter runs JAX on a CPU only")
        threads = os.environ.setdefault("NPROC", str(setting.threads))
        if str(setting.threads) != threads:
            raise Unavailable(f"JAX has started with {threads} threads in this process, not {setting.threads}")
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", setting.precision == "float64")
        self.arrays = {parameter.name: (parameter.shape, parameter.trainable) for parameter in network.parameters}
        self.trained = [parameter.name for parameter in network.parameters if parameter.trainable]
        self.slots = {name: [f"{name}/{slot}" for slot in training.optimizer.slots] for name in self.trained}
        averaged = training.average is not None
        self.averages = {name: f"{name}/{AVERAGE}" for name in self.trained} if averaged else {}
        self.state: Arrays = {}  # all arrays and the optimizer's slots; set with the first weights
        self.steps = 0
        self.data: dict[str, tuple[jax.Array, jax.Array]] = {}
        self.forward = jax.jit(self._forward, static_argnames="training")
        self.loss_and_gradients = jax.jit(jax.value_and_grad(self._loss, argnums=(0, 1), has_aux=True))
        self.step = jax.jit(self._step, donate_argnums=0)

    @staticmethod
    def versions() -> dict[str, str]:
        return {"jax": jax.__version__, "numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "jit of a step", "threads": os.environ["NPROC"], "platform": jax.default_backend()}

    def get_weights(self) -> Weights:
        return {name: np.array(array) for name, array in self.state.items()} | {"step": np.array(self.steps)}

    def set_weights(self, weights: Weights) -> None:
        state: Weights = {name: weights[name] for name in self.arrays}
        for name, slots in self.slots.items():
            for slot in slots:
                state[slot] = weights.get(slot, np.zeros(self.arrays[name][0]))
        for name, average in self.averages.items():
            state[average] = weights.get(average, weights[name])
        self.state = {name: jnp.array(array, self.setting.precision) for name, array in state.items()}
        self.steps = int(weights.get("step", 0))

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.data[split] = jnp.array(images), jnp.array(labels)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        images, labels = self.data["train"]
        results = []
        for batch, lr in zip(batches(order, batch_size), lrs):
            self.steps += 1
            self.state, loss, correct = self.step(self.state, images, labels, batch, lr, self.steps, seed)
            results.append((loss, correct))
        losses, correct_counts = zip(*jax.device_get(results))  # waits for the device
        return Trained(np.array(losses, np.float64), int(sum(correct_counts)))

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        parts = batches(np.arange(len(images)), batch_size)
        state = self.state | {name: self.state[average] for name, average in self.averages.items()}
        logits = [self.forward(state, images[part], training=False)[0][self._logits_path] for part in parts]
        return np.concatenate(logits)

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        x = jnp.array(images, self.setting.precision)
        (loss, _), (by_array, by_input) = self.loss_and_gradients(self.state, x, labels, seed=0)
        gradients = {name: np.array(by_array[name]) for name in self.trained}
        return float(loss), gradients | {"input": np.array(by_input)}

    def activations(self, images: Array, training: bool) -> Weights:
        outputs, _ = self.forward(self.state, images, training=training)
        return jax.device_get(outputs)

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _logits_path(self) -> str:
        return self.network.nodes[-1].path

    def _forward(self, state: Arrays, images: jax.Array, training: bool, seed: int = 0) -> tuple[Arrays, Arrays]:
        """Every layer's output by its path, and the running statistics after this pass."""
        outputs: Arrays = {}
        running: Arrays = {}

        def chain(nodes: Sequence[Node], x: jax.Array) -> jax.Array:
            for node in nodes:
                arrays = {parameter.role: state[parameter.name] for parameter in node.parameters}
                if training and isinstance(node.layer, spec.BatchNorm):
                    axes = (0, *range(2, x.ndim))
                    for role, statistic in (("running_mean", x.mean(axes)), ("running_var", x.var(axes))):
                        momentum = node.layer.momentum
                        running[f"{node.path}.{role}"] = (1 - momentum) * arrays[role] + momentum * statistic
                        arrays[role] = statistic
                if training and isinstance(node.layer, spec.Dropout):
                    key = jax.random.fold_in(jax.random.key(seed), len(outputs))  # another one for each layer
                    by_image = isinstance(node.layer, spec.StochasticDepth)
                    shape = (len(x), *[1] * (x.ndim - 1)) if by_image else x.shape
                    mask = jax.random.bernoulli(key, 1 - node.layer.rate, shape)
                    arrays["mask"] = mask / (1 - node.layer.rate)
                skipped = isinstance(node.layer, spec.Auxiliary) and not training
                branches = [] if skipped else [chain(branch, x) for branch in node.branches]
                x = LAYERS[type(node.layer)](node.layer, arrays, x, *branches)
                if node.reported:
                    outputs[node.path] = x
            return x

        chain(self.primitives, images.astype(self.setting.precision))
        return outputs, running

    def _loss(
        self, state: Arrays, images: jax.Array, labels: jax.Array, seed: int
    ) -> tuple[jax.Array, tuple[jax.Array, Arrays]]:
        """The loss, auxiliary classifiers included; the main logits and the running statistics."""
        outputs, running = self._forward(state, images, training=True, seed=seed)
        logits = outputs[self._logits_path]
        loss = self._cross_entropy(logits, labels)
        for head in self.network.heads:
            head_logits = outputs[head.branches[0][-1].path]
            loss += head.layer.weight * self._cross_entropy(head_logits, labels)
        return loss, (logits, running)

    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        smoothing = self.training.label_smoothing
        logarithms = jax.nn.log_softmax(logits)
        of_label = jnp.take_along_axis(logarithms, labels[:, None], axis=1).mean()
        return -(1 - smoothing) * of_label - smoothing * logarithms.mean()

    def _step(
        self,
        state: Arrays,
        images: jax.Array,
        labels: jax.Array,
        batch: jax.Array,
        lr: jax.Array,
        step: jax.Array,
        seed: jax.Array,
    ) -> tuple[Arrays, jax.Array, jax.Array]:
        """The state after one step, the loss before it, and the number of correct images."""
        x, targets = images[batch].astype(self.setting.precision), labels[batch]
        differentiate = jax.value_and_grad(self._loss, has_aux=True)
        (loss, (logits, running)), gradients = differentiate(state, x, targets, seed + step)
        state = state | running
        trained = {name: gradients[name] for name in self.trained}
        for name, gradient in clipped(trained, self.training.clip_norm).items():
            state |= self._updated(state, name, gradient, lr, step)
        return state, loss, (logits.argmax(1) == targets).sum()

    def _updated(self, state: Arrays, name: str, gradient: jax.Array, lr: jax.Array, step: jax.Array) -> Arrays:
        """An array, its slots and its average after one step of the optimizer."""
        rule, decay = self.training.optimizer, self.training.decay(name)
        lr = lr * self.training.lr_factor(name)
        weight, slots = state[name], [state[slot] for slot in self.slots[name]]
        if rule.decoupled:
            weight = weight - lr * decay * weight
        else:
            gradient = gradient + decay * weight
        change, slots = changed(rule, lr, step, gradient, slots)
        weight = weight - change
        updated = {name: weight} | dict(zip(self.slots[name], slots))
        if name in self.averages:
            decay, average = self.training.average, self.averages[name]
            updated[average] = decay * state[average] + (1 - decay) * weight
        return updated
