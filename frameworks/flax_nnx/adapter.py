"""The adapter of JAX with Flax NNX: its defaults and the contract."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import flax
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from flax import nnx
from jax import lax

from frameworks import spec
from frameworks.adapter import LayerAdapter, Setting, Split, Trained, batches
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.flax_nnx.layers import LAYERS
from frameworks.flax_nnx.optimizers import Arrays, change_of, clipped
from frameworks.native import Default, Native
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network, Node, Shape, pair
from frameworks.training import AVERAGE, Training

State: TypeAlias = tuple[Arrays, Arrays, Arrays]  # trained arrays, running statistics and slots, by canonical name

BLOCK = 16  # steps in one `lax.scan`: a block is compiled once, whatever the length of a slice


def configure(setting: Setting) -> None:
    """Threads and device of the process: they cannot be changed once XLA has started; the precision can."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    threads = os.environ.setdefault("NPROC", str(setting.threads))
    if threads != str(setting.threads):
        raise Unavailable(f"JAX has started with {threads} threads in this process, not {setting.threads}")
    jax.config.update("jax_platforms", setting.device)
    jax.config.update("jax_enable_x64", setting.precision == "float64")
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        device = jax.devices()[0]
    except RuntimeError:
        raise Unavailable(f"this build of JAX, {jax.__version__}, sees no CUDA device") from None
    if (device.platform == "cpu") != (setting.device == "cpu"):
        raise Unavailable(f"JAX has started on {device.platform} in this process, not on {setting.device}")


def flax_layout(array: Array) -> Array:
    """From the canonical layout to Flax's: out,in,kh,kw to kh,kw,in,out; out,in to in,out; vectors as they are."""
    return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array


def canonical(array: Array) -> Array:
    """From Flax's layout to the canonical one."""
    return np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array


# What a role is called in Flax.
ROLES = {"weight": "kernel", "gamma": "scale", "beta": "bias", "running_mean": "mean", "running_var": "var"}

# The defaults of Flax NNX and Optax.
NATIVE = Native(
    lr_in_velocity=Default(False, "optax.sgd"),
    epsilon=Default(1e-8, "optax.adam, eps"),
    epsilon_hat=Default(False, "optax.adam"),
    rmsprop_epsilon=Default(1e-8, "optax.rmsprop, eps"),
    rmsprop_epsilon_inside=Default(True, "optax.rmsprop, eps_in_sqrt", "written out"),
    rmsprop_lr_in_velocity=Default(True, "optax.rmsprop, momentum", "written out"),
    rmsprop_rho=Default("0.9", "optax.rmsprop, decay", "given"),
    adadelta_epsilon=Default(1e-6, "optax.adadelta, eps"),
    adadelta_rho=Default("0.9", "optax.adadelta, rho", "given"),
    adadelta_lr=Default("none", "optax.adadelta, learning_rate", "given"),
    adamw_decay=Default("0.0001", "optax.adamw, weight_decay", "given"),
    decoupled=Default(True, "optax.adamw; optax.sgd and adam have no decay", "decay w is added to the gradient"),
    decay_all=Default(True, "optax.adamw, mask", "weights alone are decayed"),
    norm_epsilon=Default(1e-5, "flax.nnx.BatchNorm, epsilon"),
    norm_momentum=Default(0.01, "flax.nnx.BatchNorm, 1 - momentum", "given"),
    norm_unbiased=Default(False, "flax.nnx.BatchNorm"),
    sum_squares=Default(False, "neither JAX nor Flax has one", "written out"),
    weights=Default("truncated, 1 / sqrt(fan_in)", "flax.nnx.Linear, kernel_init", "values from outside"),
    biases=Default("0", "flax.nnx.Linear, bias_init", "values from outside"),
    same_padding=Default("after", 'flax.nnx.Conv, padding, which is "SAME"', "given as sides"),
    pool_rounding=Default(
        "down", 'flax.nnx.max_pool, padding, which is "VALID"', "given as padding at the bottom and right"
    ),
    padding_counts=Default("counted", "flax.nnx.avg_pool, count_include_pad", "given"),
    resize_positions=Default("half pixel", "jax.image.resize", "a product of matrices"),
)


class FlaxNNX(LayerAdapter):
    title, modes = FRAMEWORKS["jax"].title, FRAMEWORKS["jax"].modes
    native = NATIVE
    layers = LAYERS
    roles = ROLES

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        configure(setting)
        self.dtype = jnp.dtype(setting.precision)
        self.device = jax.devices()[0]
        self.net = self._build()
        self.structure = nnx.graphdef(self.net)
        self._map_variables({path: self.net[number] for path, number in self.numbers.items()})
        # A variable's place in the tree of modules.
        self.places = {name: (self.numbers[name.rpartition(".")[0]], at) for name, (_, at) in self._places.items()}
        nodes = [node for _, node in self.network.walk()]
        self.heads = {n.branches[0][-1].path: n.layer.weight for n in nodes if isinstance(n.layer, spec.Auxiliary)}
        self.slots = {f"{name}/{slot}": nnx.Variable(None) for name in self._trained() for slot in self.training.slots}
        self.data: dict[str, tuple[jax.Array, jax.Array]] = {}
        self.step = jax.jit(self._step, donate_argnums=0)
        self.block = jax.jit(self._block, donate_argnums=0)
        self.evaluate = jax.jit(self._evaluate, static_argnames="batch_size")
        self.loss_and_gradients = jax.jit(jax.value_and_grad(self._loss, argnums=(0, 2), has_aux=True))
        self.forward = jax.jit(self._forward, static_argnames="training")

    @staticmethod
    def versions() -> dict[str, str]:
        return {
            "jax": jax.__version__,
            "flax": flax.__version__,
            "jaxlib": jaxlib.__version__,
            "numpy": np.__version__,
        }

    def settings(self) -> dict[str, str]:
        return {
            "mode": f"scan of {BLOCK} steps" if self.setting.mode == "scan" else "jit of a step",
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
        if self.setting.mode == "scan":
            begin = len(order) // batch_size // BLOCK * BLOCK
            for first in range(0, begin, BLOCK):
                block = slice(first, first + BLOCK)
                images = order[first * batch_size : (first + BLOCK) * batch_size].reshape(BLOCK, batch_size)
                state, *result = self.block(state, *data, images, lrs[block], steps[block], seed)
                results.append(result)
        for batch, lr, step in zip(batches(order[begin * batch_size :], batch_size), lrs[begin:], steps[begin:]):
            state, *result = self.step(state, *data, batch, lr, step, seed)
            results.append(result)
        losses, correct = map(np.hstack, zip(*jax.device_get(results)))  # waits for the device
        self._keep(state)
        self.steps += len(lrs)
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
        trained, buffers, _ = self._state()
        x = jnp.array(np.moveaxis(images, 1, -1), self.dtype)
        key = jax.random.key(0)
        (loss, _), (by_array, by_input) = self.loss_and_gradients(trained, buffers, x, jnp.array(labels), key)
        named = {name: canonical(np.asarray(gradient)) for name, gradient in by_array.items()}
        return float(loss), named | {"input": np.moveaxis(np.asarray(by_input), -1, 1)}

    def activations(self, images: Array, training: bool) -> Weights:
        x = jnp.array(np.moveaxis(images, 1, -1), self.dtype)
        outputs, _ = self.forward(self._arrays(), x, training, jax.random.key(0))
        return {path: np.moveaxis(output, -1, 1) for path, output in jax.device_get(outputs).items()}

    def peak_memory(self) -> dict[str, int]:
        on_cpu = self.setting.device == "cpu"
        return super().peak_memory() | ({} if on_cpu else {"device": self.device.memory_stats()["peak_bytes_in_use"]})

    # --- layers and variables -----------------------------------------------------------------------------------------

    @classmethod
    def pads(cls, node: Node) -> bool:
        """Any padding, but none of a dilated pool, and an average counts what is padded."""
        layer = node.layer
        if isinstance(layer, spec.MaxPool):
            return pair(layer.dilation) == (1, 1)
        return not isinstance(layer, spec.AvgPool) or layer.count_padding

    def _build(self) -> nnx.List:
        """The modules of all primitives in a list; `numbers` are their places by path.

        `functions` has the primitives without a module by the object's id: two may have one path.
        """
        self.numbers: dict[str, int] = {}
        self.functions: dict[int, Callable[..., jax.Array]] = {}
        modules = nnx.List([])
        for node in (inner for primitive in self.primitives for _, inner in primitive.walk()):
            build = partial(self._builder(node), node, node.layer)
            # One by one: JAX searches all of a trace for the origin of each array.
            layer = nnx.eval_shape(lambda build=build: nnx.Dict(layer=build())).layer
            if isinstance(layer, nnx.Module):
                self.numbers[node.path] = len(modules)
                modules.append(layer)
            else:
                self.functions[id(node)] = layer
        return modules

    def _declared(self, variable: nnx.Variable) -> tuple[Shape, bool]:
        return canonical(np.broadcast_to(0, variable.shape)).shape, isinstance(variable, nnx.Param)

    def _read(self, variable: nnx.Variable) -> Array:
        return canonical(np.array(variable.get_value()))

    def _write(self, variable: nnx.Variable, array: Array) -> None:
        # A copy: XLA would compute on the memory of an array of NumPy, and it is donated.
        variable.set_value(jnp.array(flax_layout(array), self.dtype))

    def _allocate(self) -> None:
        """Nothing: an array takes its memory when it is written."""

    # --- loss and steps -----------------------------------------------------------------------------------------------

    def _arrays(self) -> Arrays:
        """All arrays of the network by canonical name."""
        return {name: variable.get_value() for name, variable in self._variables().items()}

    def _state(self) -> State:
        arrays = self._arrays()
        trained, buffers = ({n: a for n, a in arrays.items() if self.arrays[n][1] is kind} for kind in (True, False))
        return trained, buffers, {name: slot.get_value() for name, slot in self.slots.items()}

    def _keep(self, state: State) -> None:
        variables = self._variables() | self.slots
        for arrays in state:
            for name, array in arrays.items():
                variables[name].set_value(array)

    def _forward(
        self, arrays: Arrays, images: jax.Array, training: bool, key: jax.Array | None = None
    ) -> tuple[Arrays, Arrays]:
        """Every layer's output by its path, and the running statistics after this pass; `key` is for dropout."""
        variables = nnx.from_flat_state([(self.places[name], array) for name, array in arrays.items()])
        net = nnx.merge(self.structure, variables)
        net.train() if training else net.eval()
        outputs: Arrays = {}
        self._chain(net, None if key is None else nnx.Rngs(dropout=key), self.primitives, images, outputs)
        running = {name: self.places[name] for name, (_, trained) in self.arrays.items() if not trained}
        return outputs, {name: getattr(net[number], role).get_value() for name, (number, role) in running.items()}

    def _chain(
        self, net: nnx.List, rngs: nnx.Rngs | None, nodes: Sequence[Node], x: jax.Array, outputs: Arrays
    ) -> jax.Array:
        """The output of primitives in a row; `outputs` takes each layer's by its path."""
        for node in nodes:
            ends = [self._chain(net, rngs, branch, x, outputs) for branch in node.branches]
            if function := self.functions.get(id(node)):
                x = function(x, *ends)
            else:
                module = net[self.numbers[node.path]]
                x = module(x, rngs=rngs) if isinstance(module, nnx.Dropout) else module(x)
            if node.reported:
                outputs[node.path] = x
        return x

    def _evaluate(self, arrays: Arrays, images: jax.Array, start: jax.Array, batch_size: int) -> jax.Array:
        """The logits of some images."""
        batch = lax.dynamic_slice_in_dim(images, start, batch_size).astype(self.dtype)
        return self._forward(arrays, batch, training=False)[0][self.network.nodes[-1].path]

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

    def _cross_entropy(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        smoothing = self.training.label_smoothing
        logarithms = jax.nn.log_softmax(logits)
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
        """The state after one step, the loss before it, and the number of correct images."""
        trained, buffers, slots = state
        x, targets = images[batch].astype(self.dtype), labels[batch]
        key = jax.random.fold_in(jax.random.key(seed), step)
        differentiate = jax.value_and_grad(self._loss, has_aux=True)
        (loss, (logits, buffers)), gradients = differentiate(trained, buffers, x, targets, key)
        trained, slots = self._update(trained, slots, gradients, lr, step)
        return (trained, buffers, slots), loss, (logits.argmax(1) == targets).sum()

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

    def _slots(self) -> dict[str, nnx.Variable]:
        return self.slots if self.steps else {}

    def _set_steps(self, steps: int) -> None:
        self.steps = steps
        for name, slot in self.slots.items():
            parameter, _, kind = name.rpartition("/")
            weight = self._variables()[parameter].get_value()
            slot.set_value(jnp.array(weight) if kind == AVERAGE else jnp.zeros_like(weight))
