"""Networks in bare JAX with Flax NNX: `Bare`, with `nnx.jit`, and the loop of Flax's guide on speed, `Functional`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from frameworks.adapter import Setting, Split, Trained, batches
from frameworks.arrays import Array
from frameworks.bare_loop import Loop
from frameworks.spec import Network
from frameworks.training import SGD, Training

max_pool = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))
avg_pool = partial(nnx.avg_pool, window_shape=(2, 2), strides=(2, 2))


def flatten(x: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1)


def lenet(rngs: nnx.Rngs) -> nnx.Module:
    return nnx.Sequential(
        nnx.Conv(1, 6, (5, 5), padding="SAME", rngs=rngs),
        nnx.sigmoid,
        avg_pool,
        nnx.Conv(6, 16, (5, 5), padding="VALID", rngs=rngs),
        nnx.sigmoid,
        avg_pool,
        flatten,
        nnx.Linear(400, 120, rngs=rngs),
        nnx.sigmoid,
        nnx.Linear(120, 84, rngs=rngs),
        nnx.sigmoid,
        nnx.Linear(84, 10, rngs=rngs),
    )


def vgg_small(rngs: nnx.Rngs) -> nnx.Module:
    layers: list[Callable[..., Any]] = []
    channels = 1
    for convolutions, width in ((1, 8), (1, 16), (2, 32), (2, 64), (2, 64)):
        for _ in range(convolutions):
            layers += [nnx.Conv(channels, width, (3, 3), rngs=rngs), nnx.relu]
            channels = width
        layers.append(max_pool)
    layers.append(flatten)
    for inputs in (64 * 7 * 7, 512):
        layers += [nnx.Linear(inputs, 512, rngs=rngs), nnx.relu, nnx.Dropout(0.5, rngs=rngs)]
    return nnx.Sequential(*layers, nnx.Linear(512, 10, rngs=rngs))


class ConvNorm(nnx.Module):
    def __init__(self, channels: int, width: int, kernel: int, stride: int, rngs: nnx.Rngs) -> None:
        window = {"kernel_size": (kernel, kernel), "strides": stride, "padding": kernel // 2}
        self.conv = nnx.Conv(channels, width, **window, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class Block(nnx.Module):
    """A basic residual block."""

    def __init__(self, channels: int, width: int, stride: int, rngs: nnx.Rngs) -> None:
        self.first = ConvNorm(channels, width, 3, stride, rngs)
        self.second = ConvNorm(width, width, 3, 1, rngs)
        self.shortcut = ConvNorm(channels, width, 1, stride, rngs) if stride > 1 else None

    def __call__(self, x: jax.Array) -> jax.Array:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return nnx.relu(self.second(nnx.relu(self.first(x))) + shortcut)


def resnet18(rngs: nnx.Rngs) -> nnx.Module:
    pool = partial(nnx.max_pool, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    ways = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2))
    blocks = [Block(*way, rngs) for way in (*ways, (512, 512, 1))]
    head = [partial(jnp.mean, axis=(1, 2)), nnx.Linear(512, 10, rngs=rngs)]
    return nnx.Sequential(ConvNorm(3, 64, 7, 2, rngs), nnx.relu, pool, *blocks, *head)


MODELS = {"lenet": lenet, "vgg_small": vgg_small, "resnet18": resnet18}


def pixels(images: jax.Array) -> jax.Array:
    return images.astype(jnp.float32) / 255


def loss_of(net: nnx.Module, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    logits = net(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits


def step_of(
    net: nnx.Module, optimizer: nnx.Optimizer, images: jax.Array, labels: jax.Array, batch: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Update the network in place; the loss before, and the number of correct images."""
    x, y = pixels(images[batch]), labels[batch]
    (loss, logits), gradients = nnx.value_and_grad(loss_of, has_aux=True)(net, x, y)
    optimizer.update(net, gradients)
    return loss, (logits.argmax(1) == y).sum()


class Bare(Loop):
    """The tutorials' training step under `nnx.jit`, on arrays that are in memory."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        os.environ["NPROC"] = str(setting.threads)  # XLA reads it when it computes for the first time
        self.net = MODELS[network.name](nnx.Rngs(0))
        trained = nnx.to_flat_state(nnx.state(self.net, nnx.Param))
        self.arrays = {".".join(map(str, path)): (array.shape, True) for path, array in trained}
        momentum = training.optimizer.momentum if isinstance(training.optimizer, SGD) else 0.0
        rule = optax.inject_hyperparams(optax.sgd, static_args=("momentum",))
        self.optimizer = nnx.Optimizer(self.net, rule(learning_rate=0.9, momentum=momentum or None), wrt=nnx.Param)
        self.data: dict[str, tuple[jax.Array, jax.Array]] = {}
        self.step = nnx.jit(step_of)
        self.infer = nnx.jit(lambda net, images: net(pixels(images)))

    @staticmethod
    def versions() -> dict[str, str]:
        return {"jax": jax.__version__, "flax": flax.__version__, "optax": optax.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "nnx.jit", "threads": os.environ["NPROC"]}

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.data[split] = jnp.array(np.transpose(images, (0, 2, 3, 1))), jnp.array(labels)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.net.train()
        self.optimizer.opt_state.hyperparams["learning_rate"].set_value(jnp.array(lrs[0], jnp.float32))
        done = self.steps(batches(order, batch_size))
        losses, correct = zip(*jax.device_get(done))  # waits for the device
        return Trained(np.array(losses, np.float64), int(sum(correct)))

    def steps(self, order: Any) -> list[tuple[jax.Array, jax.Array]]:
        """The loss and the number of correct images of each batch."""
        return [self.step(self.net, self.optimizer, *self.data["train"], batch) for batch in order]

    def predict(self, split: Split, batch_size: int) -> Array:
        self.net.eval()
        images, _ = self.data[split]
        parts = [
            self.infer(self.net, images[start : start + batch_size]) for start in range(0, len(images), batch_size)
        ]
        logits: Array = np.concatenate(jax.device_get(parts))
        return logits


class Functional(Bare):
    """Without the cost of `nnx.jit` in each step: modules are split once a slice, and `jax.jit` takes their state."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.functional_step = jax.jit(self._step, static_argnums=0, donate_argnums=1)

    def settings(self) -> dict[str, str]:
        return super().settings() | {"mode": "jax.jit"}

    def steps(self, order: Any) -> list[tuple[jax.Array, jax.Array]]:
        modules, state = nnx.split((self.net, self.optimizer))
        done = []
        for batch in order:
            state, result = self.functional_step(modules, state, *self.data["train"], batch)
            done.append(result)
        nnx.update((self.net, self.optimizer), state)
        return done

    @staticmethod
    def _step(modules: Any, state: Any, images: jax.Array, labels: jax.Array, batch: jax.Array) -> Any:
        net, optimizer = nnx.merge(modules, state)
        result = step_of(net, optimizer, images, labels, batch)
        return nnx.state((net, optimizer)), result
