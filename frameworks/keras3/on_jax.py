"""The adapter of Keras on JAX."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is imported

from functools import partial, reduce
from typing import Any

import jax
import keras
from keras import KerasTensor, layers, ops

from frameworks import spec
from frameworks.jax_training.adapter import JaxAdapter
from frameworks.jax_training.optimizers import Arrays
from frameworks.keras3.engine_layers import ENGINE_LAYERS
from frameworks.keras3.layers import conv, dense, widened
from frameworks.keras3.model import NATIVE_ELSEWHERE, KerasModel
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Node


class Biased(layers.Layer):
    """A layer that adds its bias in float32 where it computes in 16 bits.

    The gradient by a bias is a sum over the batch and all places, which JAX computes in the precision of the sum.
    """

    def add_weight(self, *arguments: Any, **options: Any) -> keras.Variable:
        return super().add_weight(*arguments, **options, autocast=options["name"] != "bias")

    def call(self, x: jax.Array) -> jax.Array:
        return ops.cast(super().call(x), self.compute_dtype)


class Conv2D(Biased, layers.Conv2D):
    pass


class Dense(Biased, layers.Dense):
    pass


def multiply(node: Node, layer: spec.Multiply, x: KerasTensor, *chains: KerasTensor) -> KerasTensor:
    return ops.cast(reduce(ops.multiply, map(widened, chains)), chains[0].dtype)


class KerasOnJax(KerasModel, JaxAdapter):
    title, modes = FRAMEWORKS["keras@jax"].title, FRAMEWORKS["keras@jax"].modes
    native = NATIVE_ELSEWHERE
    layers = ENGINE_LAYERS | {
        spec.Conv: partial(conv, whole=Conv2D, grouped=Conv2D),
        spec.Dense: partial(dense, kind=Dense),
        spec.Multiply: multiply,
    }

    @staticmethod
    def versions() -> dict[str, str]:
        return {"keras": keras.version(), **JaxAdapter.versions()}

    def _value(self, variable: keras.Variable) -> jax.Array:
        return variable.value

    def _put(self, variable: keras.Variable, array: jax.Array) -> None:
        variable.assign(array)

    def _forward(
        self, arrays: Arrays, images: jax.Array, training: bool, key: jax.Array | None = None
    ) -> tuple[Arrays, Arrays]:
        variables = self._variables()
        values = [(variables[name], array) for name, array in arrays.items()]
        if key is not None:  # a key for each layer, in place of the seed and the counter that it has as a variable
            keys = [jax.random.key_data(jax.random.fold_in(key, number)) for number in range(len(self.dropouts))]
            values += [(layer.seed_generator.state, data) for layer, data in zip(self.dropouts, keys)]
        with keras.StatelessScope(values) as scope:
            outputs = self.net(images, training=training)
        running = [name for name, (_, trained) in self.arrays.items() if not trained]
        return outputs, {name: scope.get_current_value(variables[name]) for name in running}
