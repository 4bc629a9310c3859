"""What the adapters of Keras share on every engine: its defaults, and a model of the network's primitives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np
from keras import KerasTensor, layers
from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE

from frameworks import spec
from frameworks.adapter import LayerAdapter
from frameworks.channels_last import canonical
from frameworks.keras3.layers import LAYERS, Outputs, keras_name, padding_word
from frameworks.native import Default, Native
from frameworks.spec import Node, Shape

PROMOTED_FLOAT64 = BIT64_TO_BIT32_DTYPE["float64"]  # to what Keras promotes float64 on this engine

# What a role is called in Keras.
ROLES = {"weight": "kernel", "running_mean": "moving_mean", "running_var": "moving_variance"}

# Keras's defaults, on TensorFlow.
NATIVE = Native(
    lr_in_velocity=Default(True, "keras.optimizers.SGD", "TensorFlow's ResourceApplyMomentum"),
    epsilon=Default(1e-7, "keras.optimizers.Adam, epsilon", "given"),
    epsilon_hat=Default(True, "keras.optimizers.Adam", "ResourceApplyAdam's epsilon times sqrt(1 - beta2^t)"),
    rmsprop_epsilon=Default(1e-7, "keras.optimizers.RMSprop, epsilon", "given"),
    rmsprop_epsilon_inside=Default(True, "keras.optimizers.RMSprop", "written out"),
    rmsprop_lr_in_velocity=Default(True, "keras.optimizers.RMSprop, momentum", "written out"),
    rmsprop_rho=Default("0.9", "keras.optimizers.RMSprop, rho", "given"),
    adadelta_epsilon=Default(1e-7, "keras.optimizers.Adadelta, epsilon", "given"),
    adadelta_rho=Default("0.95", "keras.optimizers.Adadelta, rho", "given"),
    adadelta_lr=Default("0.001", "keras.optimizers.Adadelta, learning_rate", "given"),
    adamw_decay=Default("0.004", "keras.optimizers.AdamW, weight_decay", "given"),
    decoupled=Default(True, "keras.optimizers.Optimizer, weight_decay", "decay w is added to the gradient"),
    decay_all=Default(True, "keras.optimizers.Optimizer, exclude_from_weight_decay", "weights alone are decayed"),
    norm_epsilon=Default(1e-3, "keras.layers.BatchNormalization, epsilon", "given"),
    norm_momentum=Default(0.01, "keras.layers.BatchNormalization, 1 - momentum", "given"),
    norm_unbiased=Default(False, "keras.layers.BatchNormalization"),
    sum_squares=Default(True, "tensorflow.nn.local_response_normalization; Keras has none", "written out"),
    weights=Default("sqrt(6 / (fan_in + fan_out))", "keras.layers.Dense, kernel_initializer", "values from outside"),
    biases=Default("0", "keras.layers.Dense, bias_initializer", "values from outside"),
    same_padding=Default(
        "after", 'keras.layers.Conv2D, padding="same"', "the same word where it fits, or a padding layer"
    ),
    pool_rounding=Default(
        "down", 'keras.layers.MaxPooling2D, padding="valid"', "given as padding at the bottom and right"
    ),
    padding_counts=Default("not counted", 'keras.layers.AveragePooling2D, padding="same"', "a padding layer"),
    resize_positions=Default("half pixel", "keras.layers.Resizing", "a product of matrices"),
)
# On the other engines, whose optimizers have the forms of the spec.
NATIVE_ELSEWHERE = replace(
    NATIVE,
    lr_in_velocity=replace(NATIVE.lr_in_velocity, alignment="written out"),
    epsilon=replace(NATIVE.epsilon, alignment="given"),
    epsilon_hat=replace(NATIVE.epsilon_hat, alignment="written out"),
    sum_squares=Default(False, "neither Keras nor the engine has one for its layouts", "written out"),
)


class KerasModel(LayerAdapter):
    """A network as a Keras model. What computes, and what the optimizer's arrays are, is the engine's."""

    layers = LAYERS
    roles = ROLES

    @classmethod
    def pads(cls, node: Node) -> bool:
        """Where Keras has a word for the padding; with "same" an average does not count it."""
        counted = isinstance(node.layer, spec.AvgPool) and node.layer.count_padding
        return not counted and padding_word(node) != ""

    def _build(self) -> None:
        """Declare all variables; `_allocate` gives them memory."""
        precision = self.setting.precision
        keras.config.set_floatx(self.setting.arrays)
        # Created once from floatx, the policy does not follow it.
        keras.config.set_dtype_policy(f"mixed_{precision}" if self.setting.reduced else precision)
        # Keras promotes types as JAX does without float64, on PyTorch, too: several layers would compute in float32.
        BIT64_TO_BIT32_DTYPE["float64"] = "float64" if precision == "float64" else PROMOTED_FLOAT64
        with keras.StatelessScope(initialize_variables=False):
            self._build_model()
            self._declare_slots()
        # The session lists what was declared, and the next stateless scope to end would allocate all of it.
        keras.utils.clear_session(free_memory=False)
        self.allocated = False

    def _build_model(self) -> None:
        """A model that gives every layer's output by its path; of these a graph computes what is used."""
        channels, *size = self.network.input
        images = keras.Input((*size, channels))
        outputs: Outputs = {}
        self._connect(self.primitives, images, outputs)
        self.net = keras.Model(images, outputs)
        self.dropouts = [layer for layer in self.net.layers if isinstance(layer, layers.Dropout) and layer.rate]
        nodes = [node for _, node in self.network.walk() if node.parameters]
        self._map_variables({node.path: self.net.get_layer(keras_name(node)) for node in nodes})

    def _connect(self, nodes: Sequence[Node], x: KerasTensor, outputs: Outputs) -> KerasTensor:
        """The output of primitives in a row; `outputs` takes each layer's by its path."""
        for node in nodes:
            ends = [self._connect(branch, x, outputs) for branch in node.branches]
            x = self._builder(node)(node, node.layer, x, *ends)
            if node.reported:
                outputs[node.path] = x
        return x

    def _declared(self, variable: keras.Variable) -> tuple[Shape, bool]:
        return canonical(np.broadcast_to(0, variable.shape)).shape, variable.trainable

    def _declare_slots(self) -> None:
        """The optimizer's arrays by canonical name, and the averages."""
        self.slots: Mapping[str, keras.Variable] = {
            f"{name}/{slot}": keras.Variable("zeros", variable.shape, variable.dtype, trainable=False)
            for name, variable in self._trained().items()
            for slot in self.training.slots
        }

    def _allocate(self) -> None:
        """What the end of a stateless scope does, for the variables of this network alone."""
        if not self.allocated:
            for variable in self._declared_variables():
                variable._deferred_initialize()
            self.allocated = True

    def _declared_variables(self) -> list[keras.Variable]:
        return [*self.net.variables, *self.slots.values()]
