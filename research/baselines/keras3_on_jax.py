"""Networks in bare Keras on JAX: the guides' own training step under `jax.jit`, and `model.fit`."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "jax"
sys.path.insert(0, str(Path(__file__).parent))  # a worker imports this file by its path
import jax
import jax.numpy as jnp
import keras
from keras3_fit import FitLoop
from keras3_models import MODELS

from frameworks.adapter import Setting, Split, Trained, batches
from frameworks.arrays import Array
from frameworks.bare_loop import Loop
from frameworks.spec import Network
from frameworks.training import SGD, Training


def threads_of(setting: Setting) -> None:
    os.environ["NPROC"] = str(setting.threads)  # XLA reads it when it computes for the first time


class Bare(Loop):
    """`stateless_call` and `stateless_apply` in one jitted step, on arrays that are in memory."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        threads_of(setting)
        keras.utils.set_random_seed(0)
        self.net = MODELS[network.name]()
        self.arrays = {array.path: (tuple(array.shape), True) for array in self.net.trainable_variables}
        momentum = training.optimizer.momentum if isinstance(training.optimizer, SGD) else 0.0
        self.optimizer = keras.optimizers.SGD(0.9, momentum)
        self.optimizer.build(self.net.trainable_variables)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.data: dict[str, tuple[jax.Array, jax.Array]] = {}
        self.step = jax.jit(self._step, donate_argnums=0)
        self.infer = jax.jit(self._infer)

    @staticmethod
    def versions() -> dict[str, str]:
        return {"keras": keras.__version__, "jax": jax.__version__}

    def settings(self) -> dict[str, str]:
        return {"mode": "jax.jit", "threads": os.environ["NPROC"]}

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.data[split] = jnp.array(np.transpose(images, (0, 2, 3, 1))), jnp.array(labels)

    def _state(self) -> Any:
        groups = self.net.trainable_variables, self.net.non_trainable_variables, self.optimizer.variables
        return tuple([variable.value for variable in group] for group in groups)

    def _loss(self, trained: Any, others: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, Any]:
        logits, others = self.net.stateless_call(trained, others, x, training=True)
        return self.loss(y, logits), (logits, others)

    def _step(self, state: Any, images: jax.Array, labels: jax.Array, batch: jax.Array) -> Any:
        trained, others, slots = state
        x, y = images[batch].astype(jnp.float32) / 255, labels[batch]
        differentiate = jax.value_and_grad(self._loss, has_aux=True)
        (loss, (logits, others)), gradients = differentiate(trained, others, x, y)
        trained, slots = self.optimizer.stateless_apply(slots, gradients, trained)
        return (trained, others, slots), loss, (logits.argmax(1) == y).sum()

    def _infer(self, trained: Any, others: Any, images: jax.Array) -> jax.Array:
        return self.net.stateless_call(trained, others, images.astype(jnp.float32) / 255, training=False)[0]

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.optimizer.learning_rate = float(lrs[0])
        state, done = self._state(), []
        for batch in batches(order, batch_size):
            state, *result = self.step(state, *self.data["train"], batch)
            done.append(result)
        losses, correct = zip(*jax.device_get(done))  # waits for the device
        groups = self.net.trainable_variables, self.net.non_trainable_variables, self.optimizer.variables
        for variables, values in zip(groups, state):
            for variable, value in zip(variables, values):
                variable.assign(value)
        return Trained(np.array(losses, np.float64), int(sum(correct)))

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        infer = partial(self.infer, *self._state()[:2])
        starts = range(0, len(images), batch_size)
        logits: Array = np.concatenate(jax.device_get([infer(images[at : at + batch_size]) for at in starts]))
        return logits


class Fit(FitLoop):
    """`model.fit` and `model.predict`."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        threads_of(setting)
        super().__init__(network, training, setting)

    @staticmethod
    def versions() -> dict[str, str]:
        return Bare.versions()
