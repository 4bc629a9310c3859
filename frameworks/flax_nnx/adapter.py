"""The adapter of JAX with Flax NNX: its defaults, its modules and their forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from frameworks import spec
from frameworks.channels_last import canonical
from frameworks.flax_nnx.layers import LAYERS
from frameworks.jax_training.adapter import JaxAdapter
from frameworks.jax_training.optimizers import Arrays
from frameworks.native import Default, Native
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Node, Shape, pair

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


class FlaxNNX(JaxAdapter):
    title, modes = FRAMEWORKS["jax"].title, FRAMEWORKS["jax"].modes
    native = NATIVE
    layers = LAYERS
    roles = ROLES

    @staticmethod
    def versions() -> dict[str, str]:
        versions = JaxAdapter.versions()
        return {"jax": versions.pop("jax"), "flax": flax.__version__, **versions}

    @classmethod
    def pads(cls, node: Node) -> bool:
        """Any padding, but none of a dilated pool, and an average counts what is padded."""
        layer = node.layer
        if isinstance(layer, spec.MaxPool):
            return pair(layer.dilation) == (1, 1)
        return not isinstance(layer, spec.AvgPool) or layer.count_padding

    def _build(self) -> None:
        self.layer_dtype = jnp.dtype(self.setting.precision)
        self.net = self._modules()
        self.structure = nnx.graphdef(self.net)
        self._map_variables({path: self.net[number] for path, number in self.numbers.items()})
        # A variable's place in the tree of modules.
        self.places = {name: (self.numbers[name.rpartition(".")[0]], at) for name, (_, at) in self._places.items()}
        self.slots = {f"{name}/{slot}": nnx.Variable(None) for name in self._trained() for slot in self.training.slots}

    def _modules(self) -> nnx.List:
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
                if self.setting.reduced and isinstance(layer, (nnx.Conv, nnx.Linear)):
                    layer.dtype = self.layer_dtype  # in which the module computes; it has its arrays in `param_dtype`
                self.numbers[node.path] = len(modules)
                modules.append(layer)
            else:
                self.functions[id(node)] = layer
        return modules

    def _declared(self, variable: nnx.Variable) -> tuple[Shape, bool]:
        return canonical(np.broadcast_to(0, variable.shape)).shape, isinstance(variable, nnx.Param)

    def _value(self, variable: nnx.Variable) -> jax.Array:
        return variable.get_value()

    def _put(self, variable: nnx.Variable, array: jax.Array) -> None:
        variable.set_value(array)

    def _allocate(self) -> None:
        """Nothing: an array takes its memory when it is written."""

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
                y = module(x, rngs=rngs) if isinstance(module, nnx.Dropout) else module(x)
                x = y.astype(self.layer_dtype)  # normalizations and sums with a bias give float32
            if node.reported:
                outputs[node.path] = x
        return x
