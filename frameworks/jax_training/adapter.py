"""What the adapters of JAX share: the process's settings, and training as jitted functions of all arrays."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import lax

from frameworks import spec
from frameworks.adapter import LayerAdapter, Setting, Split, Trained, batches
from frameworks.arrays import Array, Weights
from frameworks.channels_last import canonical, channels_last
from frameworks.errors import Unavailable
from frameworks.jax_training.loss_scaling import STEP, finite, moved, scaling_of
from frameworks.jax_training.optimizers import Arrays, change_of, clipped
from frameworks.spec import Network
from frameworks.training import AVERAGE, FINITE_STEPS, LOSS_SCALE, SCALE, Training

# Trained arrays, running statistics and slots, by canonical name; the state of the loss scale, empty without one.
State: TypeAlias = tuple[Arrays, Arrays, Arrays, Arrays]

BLOCK = 16  # steps in one `lax.scan`: a block is compiled once, whatever the length of a slice


def configure(setting: Setting) -> None:
    """Threads and device of the process: they cannot be changed once XLA has started; the precision can."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    threads = os.environ.setdefault("NPROC", str(setting.threads))
    if threads != str(setting.threads):
        raise Unavailable(f"JAX has started with {threads} threads in this process, not {setting.threads}")
    if setting.device == "cuda" and not any("cuda" in plugin.name for plugin in entry_points(group="jax_plugins")):
        raise Unavailable(f"this build of JAX, {jax.__version__}, is without CUDA")
    jax.config.update("jax_platforms", setting.device)
    jax.config.update("jax_enable_x64", setting.precision == "float64")
    # Products of 16-bit factors are exact in float32 with either; the word also holds for what stays in float32.
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if setting.tf32 else "highest")
    try:
        device = jax.devices()[0]
    except (RuntimeError, AssertionError) as error:  # an assertion, without a text, where the machine has no GPU
        cause = " ".join(str(error).split()) or "this machine has no GPU of NVIDIA"
        raise Unavailable(f"this build of JAX, {jax.__version__}, is with CUDA, but sees no device: {cause}") from None
    if (device.platform == "cpu") != (setting.device == "cpu"):
        raise Unavailable(f"JAX has started on {device.platform} in this process, not on {setting.device}")


class JaxAdapter(LayerAdapter):
    """An adapter whose layers a library on JAX computes. The library's part is what is abstract here."""

    precisions = ("float64", "float32", "bfloat16", "float16")
    slots: Mapping[str, Any]
    """The variables of the optimizer's arrays by canonical name, `<parameter>/<slot>`."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        configure(setting)
        self.dtype = jnp.dtype(setting.arrays)
        self.device = jax.devices()[0]
        # On a GPU a step takes less time than Python takes to start it.
        self.scanned = setting.mode == "scan" or setting.device == "cuda"
        self.scaling: Arrays = {}  # the state of the loss scale; empty without one
        self._build()
        nodes = [node for _, node in self.network.walk()]
        self.heads = {n.branches[0][-1].path: n.layer.weight for n in nodes if isinstance(n.layer, spec.Auxiliary)}
        self.data: dict[str, tuple[jax.Array, jax.Array]] = {}
        # By default XLA leaves out roundings to 16 bits on a CPU, where a layer's output is not the program's.
        strict = setting.reduced and setting.device == "cpu"
        jit = partial(jax.jit, compiler_options={"xla_allow_excess_precision": False} if strict else None)
        self.step = jit(self._step, donate_argnums=0)
        self.block = jit(self._block, donate_argnums=0)
        self.blocks: dict[int, jax.stages.Compiled] = {}  # by batch size
        self.evaluate = jit(self._evaluate, static_argnames="batch_size")
        self.loss_and_gradients = jit(partial(self._differentiated, (0, 2)))
        self.forward = jit(self._outputs, static_argnames="training")

    @staticmethod
    def versions() -> dict[str, str]:
        return {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        return {
            "mode": f"scan of {BLOCK} steps" if self.scanned else "jit of a step",
            "threads": os.environ["NPROC"],
            "layout": "NHWC",
            "platform": self.device.platform,
            "matmul precision": jax.config.jax_default_matmul_precision,
            "xla flags": os.environ.get("XLA_FLAGS", ""),
        }

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.data[split] = jnp.array(np.moveaxis(images, 1, -1)), jnp.array(labels)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        data, state = self.data["train"], self._state()
        lrs, steps = lrs.astype(self.dtype), self.steps + 1 + np.arange(len(lrs))
        results, begin = [], 0
        if self.scanned:
            block_of = self._compiled_block(batch_size)
            begin = len(order) // batch_size // BLOCK * BLOCK
            for first in range(0, begin, BLOCK):
                block = slice(first, first + BLOCK)
                images = order[first * batch_size : (first + BLOCK) * batch_size].reshape(BLOCK, batch_size)
                state, *result = block_of(state, *data, images, lrs[block], steps[block], np.int64(seed))
                results.append(result)
        for batch, lr, step in zip(batches(order[begin * batch_size :], batch_size), lrs[begin:], steps[begin:]):
            state, *result = self.step(state, *data, batch, lr, step, seed)
            results.append(result)
        losses, correct = map(np.hstack, zip(*jax.device_get(results)))  # waits for the device
        self._keep(state)
        self.steps = int(self.scaling[STEP]) if self.scaling else self.steps + len(lrs)
        return Trained(losses.astype(np.float64), int(correct.sum()))

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        with self._averaged():
            arrays = self._arrays()
            starts = range(0, len(images), batch_size)
            sizes = [min(batch_size, len(images) - start) for start in starts]
            logits = [self.evaluate(arrays, images, start, batch_size=size) for start, size in zip(starts, sizes)]
        return np.concatenate(jax.device_get(logits))

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        trained, buffers, _, scaling = self._state()
        x = jnp.array(np.moveaxis(images, 1, -1), self.dtype)
        key = jax.random.key(0)
        targets = jnp.array(labels)
        (loss, _), (by_array, by_input) = self.loss_and_gradients(scaling, trained, buffers, x, targets, key)
        named = {name: canonical(np.asarray(gradient)) for name, gradient in by_array.items()}
        return float(loss), named | {"input": np.moveaxis(np.asarray(by_input), -1, 1)}

    def activations(self, images: Array, training: bool) -> Weights:
        x = jnp.array(np.moveaxis(images, 1, -1), self.dtype)
        outputs = self.forward(self._arrays(), x, training, jax.random.key(0))
        return {path: np.moveaxis(output, -1, 1) for path, output in jax.device_get(outputs).items()}

    def peak_memory(self) -> dict[str, int]:
        on_cpu = self.setting.device == "cpu"
        return super().peak_memory() | ({} if on_cpu else {"device": self.device.memory_stats()["peak_bytes_in_use"]})

    # --- variables ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def _build(self) -> None:
        """Declare the layers and `slots`, map the variables; no array is allocated."""

    @abstractmethod
    def _value(self, variable: Any) -> jax.Array:
        """A variable's array."""

    @abstractmethod
    def _put(self, variable: Any, array: jax.Array) -> None:
        """Set a variable's array, without a copy."""

    @abstractmethod
    def _forward(
        self, arrays: Arrays, images: jax.Array, training: bool, key: jax.Array | None = None
    ) -> tuple[Arrays, Arrays]:
        """Every layer's output by its path, and the running statistics after this pass; `key` is for dropout."""

    def _read(self, variable: Any) -> Array:
        return canonical(np.array(self._value(variable)))

    def _write(self, variable: Any, array: Array) -> None:
        # A copy: XLA would compute on the memory of an array of NumPy, and it is donated.
        self._put(variable, jnp.array(channels_last(array), self.dtype))

    def get_weights(self) -> Weights:
        state = {name: np.array(value) for name, value in self.scaling.items() if name != STEP}
        return super().get_weights() | state

    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights)
        scale, finite_steps = weights.get(SCALE, LOSS_SCALE.first), weights.get(FINITE_STEPS, 0)
        scaled = self.setting.precision == "float16"
        self.scaling = scaling_of(float(scale), int(finite_steps), self.steps) if scaled else {}

    def _slots(self) -> dict[str, Any]:
        return dict(self.slots) if self.steps else {}

    def _set_steps(self, steps: int) -> None:
        self.steps = steps
        for name, slot in self.slots.items():
            parameter, _, kind = name.rpartition("/")
            weight = self._value(self._variables()[parameter])
            self._put(slot, jnp.array(weight) if kind == AVERAGE else jnp.zeros_like(weight))

    # --- loss and steps -----------------------------------------------------------------------------------------------

    def _arrays(self) -> Arrays:
        """All arrays of the network by canonical name."""
        return {name: self._value(variable) for name, variable in self._variables().items()}

    def _state(self) -> State:
        arrays = self._arrays()
        trained, buffers = ({n: a for n, a in arrays.items() if self.arrays[n][1] is kind} for kind in (True, False))
        return trained, buffers, {name: self._value(slot) for name, slot in self.slots.items()}, self.scaling

    def _keep(self, state: State) -> None:
        variables = {**self._variables(), **self.slots}
        *kinds, self.scaling = state
        for arrays in kinds:
            for name, array in arrays.items():
                self._put(variables[name], array)

    def _evaluate(self, arrays: Arrays, images: jax.Array, start: jax.Array, batch_size: int) -> jax.Array:
        """The logits of some images."""
        batch = lax.dynamic_slice_in_dim(images, start, batch_size).astype(self.dtype)
        return self._outputs(arrays, batch, training=False)[self.network.nodes[-1].path]

    def _outputs(self, arrays: Arrays, images: jax.Array, training: bool, key: jax.Array | None = None) -> Arrays:
        """Every layer's output by its path, in the precision of the arrays."""
        outputs, _ = self._forward(arrays, images, training, key)
        return {path: output.astype(self.dtype) for path, output in outputs.items()}

    def _loss(
        self, trained: Arrays, buffers: Arrays, images: jax.Array, labels: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, Arrays]]:
        """The loss, auxiliary classifiers included; the main logits and the running statistics."""
        outputs, buffers = self._forward(trained | buffers, images, training=True, key=key)
        logits = outputs[self.network.nodes[-1].path]
        loss = self._cross_entropy(logits, labels)
        for head, weight in self.heads.items():
            loss += weight * self._cross_entropy(outputs[head], labels)
        return loss, (logits, buffers)

    def _differentiated(
        self, which: int | tuple[int, ...], scaling: Arrays, *arguments: Any
    ) -> tuple[tuple[jax.Array, tuple[jax.Array, Arrays]], Any]:
        """What `_loss` returns, and the gradient of the loss by some of its arguments."""
        if not scaling:
            return jax.value_and_grad(self._loss, which, has_aux=True)(*arguments)
        scale = scaling[SCALE]

        def scaled(*arguments: Any) -> tuple[jax.Array, Any]:
            loss, further = self._loss(*arguments)
            return scale * loss, (loss, further)

        gradients, unscaled = jax.grad(scaled, which, has_aux=True)(*arguments)
        return unscaled, jax.tree.map(lambda gradient: gradient / scale, gradients)

    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        smoothing = self.training.label_smoothing
        logarithms = jax.nn.log_softmax(logits.astype(self.dtype))
        of_label = jnp.take_along_axis(logarithms, labels[:, None], axis=1).mean()
        return -(1 - smoothing) * of_label - smoothing * logarithms.mean()

    def _step(
        self,
        state: State,
        images: jax.Array,
        labels: jax.Array,
        batch: jax.Array,
        lr: jax.Array,
        step: jax.Array,
        seed: jax.Array,
    ) -> tuple[State, jax.Array, jax.Array]:
        """The state after one step, the loss before it, and the number of correct images.

        With a loss scale, `step` is that of its state.
        """
        trained, buffers, slots, scaling = state
        step = scaling[STEP] + 1 if scaling else step
        x, targets = images[batch].astype(self.dtype), labels[batch]
        key = jax.random.fold_in(jax.random.key(seed), step)
        (loss, (logits, buffers)), gradients = self._differentiated(0, scaling, trained, buffers, x, targets, key)
        updated = self._update(trained, slots, gradients, lr, step)
        if scaling:
            taken = finite(gradients)
            updated = jax.tree.map(partial(jnp.where, taken), updated, (trained, slots))
            scaling = moved(scaling, taken)
        trained, slots = updated
        return (trained, buffers, slots, scaling), loss, (logits.argmax(1) == targets).sum()

    def _block(
        self,
        state: State,
        images: jax.Array,
        labels: jax.Array,
        batches: jax.Array,
        lrs: jax.Array,
        steps: jax.Array,
        seed: jax.Array,
    ) -> tuple[State, jax.Array, jax.Array]:
        """As `_step`, for as many steps as there are batches."""

        def step(state: State, each: tuple[jax.Array, ...]) -> tuple[State, tuple[jax.Array, jax.Array]]:
            batch, lr, step = each
            state, loss, correct = self._step(state, images, labels, batch, lr, step, seed)
            return state, (loss, correct)

        state, (losses, correct) = lax.scan(step, state, (batches, lrs, steps))
        return state, losses, correct

    def _compiled_block(self, batch_size: int) -> jax.stages.Compiled:
        """A block of steps with batches of this size, compiled before the first slice that has as many steps."""
        if batch_size not in self.blocks:
            batches, lrs = np.zeros((BLOCK, batch_size), np.int64), np.zeros(BLOCK, self.dtype)
            arguments = batches, lrs, np.zeros(BLOCK, np.int64), np.int64(0)
            self.blocks[batch_size] = self.block.lower(self._state(), *self.data["train"], *arguments).compile()
        return self.blocks[batch_size]

    def _update(
        self, trained: Arrays, slots: Arrays, gradients: Arrays, lr: jax.Array, step: jax.Array
    ) -> tuple[Arrays, Arrays]:
        """The trained arrays and the slots after one step of the optimizer."""
        training, rule = self.training, self.training.optimizer
        if training.clip_norm is not None:
            gradients = self._clipped(gradients, training.clip_norm)
        weights: Arrays = {}
        after: Arrays = {}
        for name, weight in trained.items():
            rate, decay, gradient = lr * training.lr_factor(name), training.decay(name), gradients[name]
            if decay and rule.decoupled:
                weight = weight - rate * decay * weight
            elif decay:
                gradient = gradient + decay * weight
            names = [f"{name}/{slot}" for slot in rule.slots]
            change, moved = change_of(rule, rate, step, gradient, [slots[slot] for slot in names])
            weights[name] = weight - change
            after |= dict(zip(names, moved))
        return weights, after | self._averages(weights, slots)

    def _clipped(self, gradients: Arrays, limit: float) -> Arrays:
        return clipped(gradients, limit)

    def _averages(self, weights: Arrays, slots: Arrays) -> Arrays:
        """The averages moved towards the weights, where the training has them."""
        decay = self.training.average
        if decay is None:
            return {}
        names = {name: f"{name}/{AVERAGE}" for name in weights}
        return {slot: decay * slots[slot] + (1 - decay) * weights[name] for name, slot in names.items()}
