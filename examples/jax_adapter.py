"""JAX, an array library, as a framework of your own: a whole adapter, to read and to copy (see docs/adapters.md).

A network is a pure function of its arrays and a batch: `_forward` follows the spec, `jax.grad` and `jax.jit` do the
rest. XLA reads the number of its threads once, from NPROC; -expm1(t log beta) is 1 - beta^t with all its digits.
"""

from __future__ import annotations

import os
from math import log, prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

from frameworks import spec
from frameworks.adapter import Adapter, Setting, Split, Trained, batches
from frameworks.arrays import Array, Weights, resize_matrix, window_counts
from frameworks.errors import Unavailable
from frameworks.spec import Network, pair, sides
from frameworks.training import SGD, Training


def pool(reduce, start, at, x):
    kernel, stride, around = pair(at.kernel), pair(at.stride), sides(at.padding)
    return lax.reduce_window(x, start, reduce, (1, 1, *kernel), (1, 1, *stride), ((0, 0), (0, 0), *around))


def average(at, w, x):
    inside = window_counts(x.shape[1:], at.kernel, at.stride, at.padding)
    return pool(lax.add, 0.0, at, x) / (prod(pair(at.kernel)) if at.count_padding else inside)


def convolve(at, w, x):
    options = {"padding": sides(at.padding), "feature_group_count": at.groups}
    return lax.conv_general_dilated(x, w["weight"], pair(at.stride), **options) + w.get("bias", 0)


def response_norm(at, w, x):
    around = ((0, 0), (at.size // 2, (at.size - 1) // 2), (0, 0), (0, 0))
    sums = lax.reduce_window(x * x, 0.0, lax.add, (1, at.size, 1, 1), (1, 1, 1, 1), around)
    return x / (at.k + at.alpha / at.size * sums) ** at.beta


# What a layer makes of its arrays `w` by role, of `x`, and of what its branches make of x.
LAYERS = {
    spec.Conv: convolve,
    spec.Dense: lambda at, w, x: x @ w["weight"].T + w.get("bias", 0),
    spec.MaxPool: lambda at, w, x: pool(lax.max, -jnp.inf, at, x),
    spec.AvgPool: average,
    spec.GlobalAvgPool: lambda at, w, x: x.mean((2, 3), keepdims=True),
    spec.LocalResponseNorm: response_norm,
    spec.BatchNorm: lambda at, w, x: (
        (x - w["running_mean"]) * lax.rsqrt(w["running_var"] + at.eps) * w.get("gamma", 1) + w.get("beta", 0)
    ),
    spec.Affine: lambda at, w, x: w["gamma"] * x + w["beta"],
    spec.Dropout: lambda at, w, x: x * w.get("mask", 1),
    spec.ReLU: lambda at, w, x: jax.nn.relu(x),  # jnp.maximum(x, 0) has the gradient 1/2 at 0
    spec.Sigmoid: lambda at, w, x: jax.nn.sigmoid(x),
    spec.Tanh: lambda at, w, x: at.amplitude * jnp.tanh(at.slope * x),
    spec.Flatten: lambda at, w, x: x.reshape(len(x), -1),
    spec.Scale: lambda at, w, x: at.factor * x,
    spec.Normalize: lambda at, w, x: ((x.swapaxes(1, -1) - np.array(at.mean)) / np.array(at.std)).swapaxes(1, -1),
    spec.Resize: lambda at, w, x: resize_matrix(x.shape[2], at.height) @ x @ resize_matrix(x.shape[3], at.width).T,
    spec.Select: lambda at, w, x: x[:, np.array(at.maps)],
    spec.Concat: lambda at, w, x, *ends: jnp.concatenate(ends, axis=1),
    spec.Residual: lambda at, w, x, body, shortcut: body + shortcut,
    spec.Auxiliary: lambda at, w, x, *head: x,
}


class Jax(Adapter):
    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        threads = os.environ.setdefault("NPROC", str(setting.threads))
        if (setting.device, setting.mode, str(setting.threads)) != ("cpu", "", threads):
            raise Unavailable(f"JAX is used here on a CPU, without modes, with {threads} threads in this process")
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", setting.precision == "float64")
        self.arrays = {parameter.name: (parameter.shape, parameter.trainable) for parameter in network.parameters}
        self.trained = [parameter.name for parameter in network.parameters if parameter.trainable]
        self.data: dict[str, tuple[jax.Array, jax.Array]] = {}
        self.forward = jax.jit(self._forward, static_argnums=2)
        self.gradient = jax.jit(jax.value_and_grad(self._loss, (0, 1), has_aux=True))
        self.step = jax.jit(self._step, donate_argnums=0)

    @staticmethod
    def versions() -> dict[str, str]:
        return {"jax": jax.__version__, "numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "jit of a step", "threads": os.environ["NPROC"], "platform": jax.default_backend()}

    def get_weights(self) -> Weights:
        return {name: np.array(array) for name, array in self.state.items()} | {"step": np.array(self.steps)}

    def set_weights(self, weights: Weights) -> None:
        slots = {f"{name}/{slot}": name for name in self.trained for slot in self.training.optimizer.slots}
        known = {slot: np.zeros(self.arrays[name][0]) for slot, name in slots.items()} | weights
        self.state = {name: jnp.array(known[name], self.setting.precision) for name in (*self.arrays, *slots)}
        self.steps = int(weights.get("step", 0))

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.data[split] = jnp.array(images), jnp.array(labels)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        told = []
        for batch, rate in zip(batches(order, batch_size), lrs):
            self.steps += 1
            self.state, *one = self.step(self.state, *self.data["train"], batch, rate, self.steps, seed)
            told.append(one)
        losses, correct = zip(*jax.device_get(told))
        return Trained(np.array(losses, np.float64), int(sum(correct)))

    def predict(self, split: Split, batch_size: int) -> Array:
        images, last = self.data[split][0], self.network.nodes[-1].path
        parts = batches(np.arange(len(images)), batch_size)
        return np.concatenate([self.forward(self.state, images[part], False)[0][last] for part in parts])

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        (loss, _), (found, by_input) = self.gradient(self.state, jnp.array(images, self.setting.precision), labels, 0)
        return float(loss), {name: np.array(found[name]) for name in self.trained} | {"input": np.array(by_input)}

    def activations(self, images: Array, training: bool) -> Weights:
        return jax.device_get(self.forward(self.state, images, training)[0])

    def _forward(self, state, images, training, seed=0):
        """Every layer's output by path, and the running statistics as this pass moves them."""
        seen, moved = {}, {}

        def chain(nodes, x):
            for node in nodes:
                at, wide = node.layer, (-1, *[1] * (len(node.output) - 1))  # one value a channel, in front of a batch
                w = {p.role: state[p.name].reshape(p.shape if p.role == "weight" else wide) for p in node.parameters}
                if training and isinstance(at, spec.BatchNorm):
                    for role, statistic in (("running_mean", x.mean), ("running_var", x.var)):
                        new = statistic((0, *range(2, x.ndim)), keepdims=True)
                        moved[f"{node.path}.{role}"] = ((1 - at.momentum) * w[role] + at.momentum * new).ravel()
                        w[role] = new
                if training and isinstance(at, spec.Dropout):
                    kept = random.bernoulli(random.fold_in(random.key(seed), len(seen)), 1 - at.rate, x.shape)
                    w["mask"] = kept / (1 - at.rate)
                live = training or not isinstance(at, spec.Auxiliary)
                ends = [chain(branch, x) for branch in node.branches if live]
                x = seen[node.path] = LAYERS[type(at)](at, w, x, *ends)
            return x

        chain(self.network.nodes, images.astype(self.setting.precision))
        return seen, moved

    def _loss(self, state, x, labels, seed):
        (seen, moved), smoothing, loss = self._forward(state, x, True, seed), self.training.label_smoothing, 0.0
        logits = seen[self.network.nodes[-1].path]
        heads = [(head.layer.weight, seen[head.branches[0][-1].path]) for head in self.network.heads]
        for weight, each in [(1.0, logits), *heads]:
            logs = jax.nn.log_softmax(each)
            picked = jnp.take_along_axis(logs, labels[:, None], 1).mean()
            loss -= weight * ((1 - smoothing) * picked + smoothing * logs.mean())
        return loss, (logits, moved)

    def _step(self, state, images, labels, batch, rate, t, seed):
        rule, x, y = self.training.optimizer, images[batch].astype(self.setting.precision), labels[batch]
        (loss, (logits, new)), gradients = jax.value_and_grad(self._loss, has_aux=True)(state, x, y, seed + t)
        for name in self.trained:
            w, g, decay = state[name], gradients[name], self.training.decay(name)
            w, g = (w - rate * decay * w, g) if rule.decoupled else (w, g + decay * w)
            old = [state[f"{name}/{slot}"] for slot in rule.slots]
            if isinstance(rule, SGD):
                inside, outside = (rate, 1.0) if rule.lr_in_velocity else (1.0, rate)
                g = inside * g
                kept = [rule.momentum * velocity + g for velocity in old]
                move = outside * (g + rule.momentum * kept[0] if rule.nesterov else [g, *kept][-1])
            else:
                betas, powers = (rule.beta1, rule.beta2), (g, g * g)
                kept = [beta * moment + (1 - beta) * power for beta, moment, power in zip(betas, old, powers)]
                first, second = (-jnp.expm1(t * log(beta)) for beta in betas)
                epsilon = rule.epsilon / jnp.sqrt(second) if rule.epsilon_hat else rule.epsilon
                move = rate * kept[0] / first / (jnp.sqrt(kept[1] / second) + epsilon)
            new |= {name: w - move} | {f"{name}/{slot}": array for slot, array in zip(rule.slots, kept)}
        return state | new, loss, (logits.argmax(1) == y).sum()
