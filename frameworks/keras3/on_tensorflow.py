"""The adapter of Keras on TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"  # read when Keras is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only: notes on the processor's instructions fill the log
# By default TensorFlow uses oneDNN on some processors only, and is several times as slow on the others.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # read when TensorFlow is imported

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from tensorflow.python.util._pywrap_util_port import IsMklEnabled

from frameworks import spec
from frameworks.adapter import Setting, Split, Trained
from frameworks.arrays import Array, Weights
from frameworks.channels_last import canonical, channels_last
from frameworks.errors import Unavailable
from frameworks.keras3.layers import LAYERS, GroupedConv2D, conv
from frameworks.keras3.model import NATIVE, KerasModel
from frameworks.keras3.tensorflow_optimizers import clipped, update_of
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network
from frameworks.training import AVERAGE, FINITE_STEPS, LOSS_SCALE, SCALE, Training

# For a loop over batches: it is no faster when the next ones begin early, but each takes its memory.
ONE_BY_ONE = {"parallel_iterations": 1}


def configure(setting: Setting) -> None:
    """Threads and devices of the process: they cannot be changed once TensorFlow has computed anything."""
    gpus = tf.config.list_physical_devices("GPU") if setting.device == "cuda" else []
    if setting.device == "cuda" and not gpus:
        reason = "is with CUDA, but sees no device" if tf.test.is_built_with_cuda() else "is without CUDA"
        raise Unavailable(f"this build of TensorFlow, {tf.__version__}, {reason}")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(setting.threads)
        tf.config.threading.set_inter_op_parallelism_threads(setting.threads)
        tf.config.set_visible_devices(gpus[:1], "GPU")
        for gpu in gpus[:1]:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        raise Unavailable(f"Keras: TensorFlow has started with other settings in this process: {error}") from None
    tf.config.experimental.enable_tensor_float_32_execution(setting.tf32)


class Keras3(KerasModel):
    title, modes = FRAMEWORKS["keras"].title, FRAMEWORKS["keras"].modes
    native = NATIVE
    layers = LAYERS | {spec.Conv: partial(conv, grouped=GroupedConv2D)}
    velocity_is_update = True
    precisions = ("float64", "float32", "bfloat16", "float16")

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        configure(setting)
        self.dtype = tf.as_dtype(setting.arrays)
        self.device = "GPU:0" if setting.device == "cuda" else "CPU:0"
        # TensorFlow 2.21 gathers no uint8 on a GPU; float16 holds 0 to 255 exactly.
        self.pixel = tf.float16 if setting.device == "cuda" else tf.uint8
        self._build()
        nodes = [node for _, node in self.network.walk()]
        self.heads = {n.branches[0][-1].path: n.layer.weight for n in nodes if isinstance(n.layer, spec.Auxiliary)}
        self.trained: dict[str, keras.Variable] = self._trained()
        self.data: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        self._train, self._predict = self._compiled()
        self._loss_and_gradients = self._differentiated
        if setting.reduced and setting.mode != "eager":  # a graph rounds to 16 bits at fewer places
            options = {"jit_compile": setting.mode == "xla", "autograph": False}
            self._loss_and_gradients = tf.function(self._differentiated, **options)

    @staticmethod
    def versions() -> dict[str, str]:
        versions = {"keras": keras.version(), "tensorflow": tf.__version__, "numpy": np.__version__}
        cuda = tf.sysconfig.get_build_info().get("cuda_version")
        return versions | ({"cuda": cuda} if cuda else {})

    def settings(self) -> dict[str, str]:
        return {
            "mode": "tf.function" if hasattr(self._train, "function_spec") else "eager",
            "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "operations at once": str(tf.config.threading.get_inter_op_parallelism_threads()),
            "layout": "NHWC",
            "tf32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
            "xla": "each step" if hasattr(self._step, "function_spec") else tf.config.optimizer.get_jit() or "off",
            "onednn": "on" if IsMklEnabled() else "off",
        }

    def load(self, split: Split, images: Array, labels: Array) -> None:
        with tf.device(self.device):
            pixels = tf.cast(tf.constant(np.moveaxis(images, 1, -1)), self.pixel)
            self.data[split] = pixels, tf.constant(labels, tf.int64)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        for number, layer in enumerate(self.dropouts):  # each has its stream, which each slice restarts
            layer.seed_generator.state.assign([seed % 2**31 * len(self.dropouts) + number, 0])
        with tf.device(self.device):
            losses, correct = self._train(*self.data["train"], tf.constant(order), batch_size, tf.constant(lrs))
        return Trained(losses.numpy().astype(np.float64), int(correct))

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        with self._averaged():
            return self._predict(images, batch_size).numpy()

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        x = tf.constant(np.moveaxis(images, 1, -1), self.dtype)
        loss, (*gradients, by_input) = self._loss_and_gradients(x, tf.constant(labels, tf.int64))
        named = {name: canonical(gradient.numpy()) for name, gradient in zip(self.trained, gradients)}
        return float(loss), named | {"input": np.moveaxis(by_input.numpy(), -1, 1)}

    def activations(self, images: Array, training: bool) -> Weights:
        with keras.StatelessScope():
            outputs = self.net(tf.constant(np.moveaxis(images, 1, -1), self.dtype), training=training)
        return {path: np.moveaxis(tf.cast(output, self.dtype).numpy(), -1, 1) for path, output in outputs.items()}

    def peak_memory(self) -> dict[str, int]:
        peak = super().peak_memory()
        if self.setting.device == "cuda":
            peak["device"] = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        return peak

    # --- variables ----------------------------------------------------------------------------------------------------

    def _read(self, variable: keras.Variable) -> Array:
        return canonical(variable.numpy())

    def _write(self, variable: keras.Variable, array: Array) -> None:
        variable.assign(channels_last(array))

    def _declare_slots(self) -> None:
        super()._declare_slots()
        self.steps = keras.Variable("zeros", (), "int64", trainable=False)
        self.scaling: dict[str, keras.Variable] = {}  # the state of the loss scale; empty without one
        if self.setting.precision == "float16":
            kinds = {SCALE: "float32", FINITE_STEPS: "int64"}
            self.scaling = {name: keras.Variable("zeros", (), kind, trainable=False) for name, kind in kinds.items()}

    def _declared_variables(self) -> list[keras.Variable]:
        return [*super()._declared_variables(), self.steps, *self.scaling.values()]

    def get_weights(self) -> Weights:
        return super().get_weights() | {name: np.array(variable) for name, variable in self.scaling.items()}

    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights)
        first = {SCALE: LOSS_SCALE.first, FINITE_STEPS: 0}
        for name, variable in self.scaling.items():
            variable.assign(weights.get(name, first[name]))

    # --- loss and steps -----------------------------------------------------------------------------------------------

    def _compiled(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """A slice of training and of evaluation as one graph each, for batches of any size; except in mode eager."""
        if self.setting.mode == "eager":
            return self._steps, self._logits
        if self.setting.mode == "xla":
            options = {"jit_compile": True, "autograph": False}
            self._step = tf.function(self._step, **options)  # type: ignore[method-assign]
            self._evaluate = tf.function(self._evaluate, **options)  # type: ignore[method-assign]
        images, indices = tf.TensorSpec((None, *self.net.input_shape[1:]), self.pixel), tf.TensorSpec((None,), tf.int64)
        number, lrs = tf.TensorSpec((), tf.int32), tf.TensorSpec((None,), tf.float64)
        train = tf.function(self._steps, (images, indices, indices, number, lrs), autograph=False)
        return train, tf.function(self._logits, (images, number), autograph=False)

    def _steps(
        self, images: tf.Tensor, labels: tf.Tensor, order: tf.Tensor, batch_size: tf.Tensor, lrs: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss of each step and the number of correct images."""

        def step(number: tf.Tensor, losses: tf.TensorArray, correct: tf.Tensor) -> tuple[Any, ...]:
            batch = order[number * batch_size : (number + 1) * batch_size]
            loss, right = self._step(tf.gather(images, batch), tf.gather(labels, batch), lrs[number])
            return number + 1, losses.write(number, loss), correct + right

        steps = tf.size(lrs)
        start = tf.constant(0), tf.TensorArray(self.dtype, steps), tf.constant(0, tf.int64)
        _, losses, correct = tf.while_loop(lambda number, *_: number < steps, step, start, **ONE_BY_ONE)
        return losses.stack(), correct

    def _step(self, images: tf.Tensor, labels: tf.Tensor, lr: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss of a batch, before the update, and the number of its images that are correct."""
        with tf.GradientTape() as tape:
            loss, logits = self._forward(images, labels)
            scaled = self._scaled(loss)
        gradients = self._unscaled(tape.gradient(scaled, list(self.trained.values())))
        update = partial(self._update, gradients, tf.cast(lr, self.dtype))
        if self.scaling:
            self._update_if_finite(gradients, update)
        else:
            update()
        return loss, tf.math.count_nonzero(tf.argmax(logits, 1) == labels)

    def _differentiated(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The loss of a batch, and its gradients by the trained arrays and by the images."""
        with keras.StatelessScope(), tf.GradientTape() as tape:  # changes of variables stay in the scope
            tape.watch(images)
            loss, _ = self._forward(images, labels)
            scaled = self._scaled(loss)
        return loss, self._unscaled(tape.gradient(scaled, [*self.trained.values(), images]))

    def _logits(self, images: tf.Tensor, batch_size: tf.Tensor) -> tf.Tensor:
        def batch(number: tf.Tensor, logits: tf.TensorArray) -> tuple[Any, ...]:
            batch_images = images[number * batch_size : (number + 1) * batch_size]
            return number + 1, logits.write(number, self._evaluate(batch_images))

        batches = -(-tf.shape(images)[0] // batch_size)
        start = tf.constant(0), tf.TensorArray(self.dtype, batches, infer_shape=False)
        _, logits = tf.while_loop(lambda number, _: number < batches, batch, start, **ONE_BY_ONE)
        return logits.concat()

    def _evaluate(self, images: tf.Tensor) -> tf.Tensor:
        logits = self.net(tf.cast(images, self.dtype), training=False)[self.network.nodes[-1].path]
        return tf.cast(logits, self.dtype)

    def _forward(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss, auxiliary classifiers included, and the main logits."""
        outputs = self.net(tf.cast(images, self.dtype), training=True)
        logits = outputs[self.network.nodes[-1].path]
        loss = self._cross_entropy(logits, labels)
        for head, weight in self.heads.items():
            loss += weight * self._cross_entropy(outputs[head], labels)
        return loss, logits

    def _cross_entropy(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = tf.cast(logits, self.dtype)
        smoothing, classes = self.training.label_smoothing, logits.shape[-1]
        targets = (1 - smoothing) * ops.one_hot(labels, classes, dtype=logits.dtype) + smoothing / classes
        return ops.mean(ops.categorical_crossentropy(targets, logits, from_logits=True))

    def _scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """The loss times its scale, if it has one."""
        return self.scaling[SCALE].value * loss if self.scaling else loss

    def _unscaled(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients of the loss, of those of the scaled one."""
        return [gradient / self.scaling[SCALE].value for gradient in gradients] if self.scaling else list(gradients)

    def _update_if_finite(self, gradients: Sequence[tf.Tensor], update: Callable[[], None]) -> None:
        """Update and count the step where every gradient is finite; move the scale."""
        scale, finite_steps = (self.scaling[name].value for name in (SCALE, FINITE_STEPS))

        def taken() -> tuple[tf.Tensor, tf.Tensor]:
            update()
            count = finite_steps + 1
            grown = count >= LOSS_SCALE.interval
            return tf.where(grown, LOSS_SCALE.growth, 1.0), tf.where(grown, tf.zeros_like(count), count)

        def skipped() -> tuple[tf.Tensor, tf.Tensor]:
            return tf.constant(LOSS_SCALE.backoff), tf.zeros_like(finite_steps)

        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
        factor, count = tf.cond(finite, taken, skipped)
        scale.assign(scale * factor)
        finite_steps.assign(count)

    def _update(self, gradients: Sequence[tf.Tensor], lr: tf.Tensor) -> None:
        training, rule = self.training, self.training.optimizer
        self.steps.assign_add(1)
        if training.clip_norm is not None:
            gradients = self._clipped(gradients, training.clip_norm)
        rates = {factor: lr * factor for factor in map(training.lr_factor, self.trained)}
        updates = {factor: update_of(rule, rate, self.steps.value) for factor, rate in rates.items()}
        for (name, variable), gradient in zip(self.trained.items(), gradients):
            factor, weight = training.lr_factor(name), variable.value
            if training.decay(name):
                if rule.decoupled:
                    weight.assign_sub(rates[factor] * rule.weight_decay * weight)
                else:
                    gradient += rule.weight_decay * weight
            updates[factor](weight, gradient, *[self.slots[f"{name}/{slot}"].value for slot in rule.slots])
        if training.average is not None:
            self._average(training.average)

    def _clipped(self, gradients: Sequence[tf.Tensor], limit: float) -> list[tf.Tensor]:
        return clipped(gradients, limit)

    def _average(self, decay: float) -> None:
        """Move the averages towards the weights."""
        for name, variable in self.trained.items():
            average = self.slots[f"{name}/{AVERAGE}"].value
            average.assign(decay * average + (1 - decay) * variable.value)

    def _slots(self) -> dict[str, keras.Variable]:
        return dict(self.slots) if self.steps.numpy() else {}

    def _set_steps(self, steps: int) -> None:
        self.steps.assign(steps)
        for name, slot in self.slots.items():
            parameter, _, kind = name.rpartition("/")
            slot.assign(self.trained[parameter] if kind == AVERAGE else tf.zeros_like(slot))
