"""Source for JAX: classes of `flax.nnx.Module`, channels last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.porting.source.code import Call, Expression, Symbol, call, literal
from benchmarks.porting.source.forms import RESIZE_WEIGHTS, described, dilated, repetitions
from benchmarks.porting.source.modules import ModuleWriter, Values, atom, is_call
from benchmarks.porting.source.program import Op, collapsed, lacking
from benchmarks.porting.source.pytorch import maps_text, number, scaled_tanh, slice_text, times
from frameworks.spec import AvgPool, Conv, Layer, MaxPool, Node, Pool, pair, sides
from frameworks.spec.windowed import rounded_up as with_whole_padding

HELPERS = {
    "Affine": '''
class Affine(nnx.Module):
    """A trained factor for each channel, and with `shift` a trained summand."""

    def __init__(self, channels, shift=True):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels)) if shift else None

    def __call__(self, x):
        y = self.scale[...] * x
        return y if self.bias is None else y + self.bias[...]
''',
    "PReLU": '''
class PReLU(nnx.Module):
    """With a slope for each channel; nnx.PReLU has one for all."""

    def __init__(self, channels):
        self.slope = nnx.Param(jnp.full(channels, 0.25))

    def __call__(self, x):
        return jnp.where(x > 0, x, self.slope[...] * x)
''',
    "local_response_norm": '''
def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """alpha multiplies the mean of the squares in the window, as in PyTorch."""
    channels = np.arange(x.shape[-1])
    distance = channels[:, None] - channels
    window = (distance >= -(size // 2)) & (distance <= (size - 1) // 2)
    return x / (k + alpha / size * (x**2 @ jnp.asarray(window, x.dtype))) ** beta
''',
    "insert_zeros": '''
def insert_zeros(x, begin, count):
    """Channels of zeros before the channel `begin`."""
    zeros = jnp.zeros((*x.shape[:-1], count), x.dtype)
    return jnp.concatenate([x[..., :begin], zeros, x[..., begin:]], axis=-1)
''',
    "adaptive_avg_pool": '''
def adaptive_avg_pool(x, height, width):
    """The means of height x width windows, as equal as possible; Flax has none."""

    def means(size, parts):
        places, rows = np.arange(size), np.arange(parts)[:, None]
        inside = (places >= rows * size // parts) & (places < -(-(rows + 1) * size // parts))
        return jnp.asarray(inside / inside.sum(1, keepdims=True), x.dtype)

    return jnp.einsum("nhwc,ih,jw->nijc", x, means(x.shape[1], height), means(x.shape[2], width))
''',
    "dilated_max_pool": '''
def dilated_max_pool(x, window_shape, dilation, strides=(1, 1), padding=((0, 0), (0, 0))):
    """The maximum over dilated windows, which Flax lacks; of equal values, the first takes the gradient."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf)
    rows, columns = (
        [slice(place * gap, size - (count - 1 - place) * gap, stride) for place in range(count)]
        for size, count, gap, stride in zip(x.shape[1:3], window_shape, dilation, strides)
    )
    first, *others = (x[:, row, column] for row in rows for column in columns)
    for other in others:
        first = jnp.where(other > first, other, first)
    return first
''',
    "resize": RESIZE_WEIGHTS
    + '''

def resize(x, size, method, positions):
    """A product with a matrix for each axis; JAX has half-pixel positions only, and finds nearest pixels in float32."""
    rows, columns = (
        jnp.asarray(resize_weights(before, to, method, positions), x.dtype) for before, to in zip(x.shape[1:3], size)
    )
    return jnp.einsum("nhwc,ih,jw->nijc", x, rows, columns)
''',
    "channel_shuffle": """
def channel_shuffle(x, groups):
    return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(x.shape)
""",
}

LOADER = '''
def load_weights(model, file):
    """Copy the arrays of an .npz file, whose names are the paths of the variables."""
    variables = nnx.to_flat_state(nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat)))
    with np.load(file) as arrays:
        for path, variable in variables:
            variable.set_value(jnp.asarray(arrays[".".join(map(str, path))]))
    nnx.update(model, nnx.from_flat_state(variables))
'''

SIMPLE = {
    "ReLU": "nnx.relu",
    "ReLU6": "nnx.relu6",
    "SELU": "nnx.selu",
    "Sigmoid": "nnx.sigmoid",
    "SiLU": "nnx.silu",
    "HardSwish": "nnx.hard_swish",
    "Softplus": "nnx.softplus",
    "Mish": "jax.nn.mish",
}
ROLES = {
    **{"weight": "kernel", "bias": "bias", "gamma": "scale", "beta": "bias"},
    **{"running_mean": "mean", "running_var": "var", "slope": "slope"},
}
RNGS = (("rngs=", "rngs"),)


class FlaxWriter(ModuleWriter):
    title = "flax"
    channels_last = True
    base = "nnx.Module"
    sequence_class = "nnx.Sequential"
    forward_head = "def __call__(self, x):"
    init_ending = "*, rngs: nnx.Rngs"
    constructor_ending = RNGS
    imports = (
        *("import sys", "from functools import partial", "from pathlib import Path", ""),
        *("import jax", "import jax.numpy as jnp", "import numpy as np", "import optax", "from flax import nnx"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.helpers = HELPERS

    def init_start(self) -> list[str]:
        return []

    def in_training(self, value: str, otherwise: str) -> str:
        return f"{otherwise} if self.deterministic else {value}"

    def with_heads(self, forward: list[str]) -> tuple[str, str, list[str], list[str]]:
        start = ["self.deterministic = False  # train() and eval() change it"]
        return self.base, self.forward_head, start, forward

    def described(self, layer: Layer, node: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        form, values = described(self, layer, node)
        if isinstance(layer, Conv):
            form = (*form, isinstance(values["kernel"], int))
        if isinstance(layer, (MaxPool, AvgPool)):
            whole: Pool = layer
            if layer.ceil:
                if isinstance(layer, AvgPool) and layer.padding and form[0] and layer.count_padding:
                    raise lacking(self, node, layer, "it counts some of the places outside")
                whole = replace(with_whole_padding(layer, node.input), ceil=False)
            if isinstance(layer, MaxPool):
                form = (*form, values.pop("dilation") if dilated(layer) else 1)
            form = (*form, sides(whole.padding), isinstance(values["kernel"], int), isinstance(values["stride"], int))
        if form == ("linear", "half_pixel") or repetitions(layer, node):
            form = ("built-in", form[0])
            values["channels"] = node.output[0]  # jax.image.resize takes the whole shape of its result
        if layer.kind == "BatchNorm":
            values["momentum"] = round(1 - values["momentum"], 12)
        return form, values

    def is_attribute(self, op: Op, values: Values) -> bool:
        return bool(op.node.parameters) or self.function(op, values, "x") is None

    # --- layers -------------------------------------------------------------------------------------------------------

    def constructor(self, op: Op, v: Values) -> Expression | None:
        kind, *form = op.form
        match kind:
            case "Conv":
                note = "" if self.keeps_size(op, v) else self.note('Flax pads to keep the size ("SAME") by default')
                options = {
                    "strides": v.unless("stride", 1),
                    "padding": None if self.keeps_size(op, v) else v["padding"],
                    "kernel_dilation": v.unless("dilation", 1),
                    "feature_group_count": v.unless("groups", 1),
                    "use_bias": None if form[0] else False,
                }
                kernel = squared(v["kernel"], form[1])
                return self.made("nnx.Conv", v["inputs"], v["outputs"], kernel, comment=note, **options)
            case "Dense":
                return self.made("nnx.Linear", v["inputs"], v["outputs"], use_bias=None if form[0] else False)
            case "BatchNorm":
                options = {"momentum": v.unless("momentum", 0.99), "epsilon": v.unless("eps", 1e-5)}
                options |= {"use_scale": None if form[1] else False, "use_bias": None if form[2] else False}
                note = self.note(
                    "Flax's momentum is the fraction that the running statistics keep; its default is 0.99"
                )
                return self.made("nnx.BatchNorm", v["channels"], comment=note, **options)
            case "LayerNorm":
                options = {"epsilon": v.unless("eps", 1e-6)}
                options |= {"use_scale": None if form[1] else False, "use_bias": None if form[2] else False}
                return self.made("nnx.LayerNorm", v["channels"], **options)
            case "GroupNorm" | "InstanceNorm":
                options = {"num_groups": v["groups" if kind == "GroupNorm" else "channels"]}
                options |= {"epsilon": v.unless("eps", 1e-6)}
                options |= {"use_scale": None if form[1] else False, "use_bias": None if form[2] else False}
                return self.made("nnx.GroupNorm", v["channels"], **options)
            case "Affine":
                return call(self.uses("Affine"), v["channels"], shift=None if form[1] else False)
            case "PReLU":
                return call(self.uses("PReLU"), v["channels"])
            case "Dropout":
                return self.made("nnx.Dropout", v["rate"])
            case "StochasticDepth":
                return self.stochastic_depth(literal(v["rate"]))
            case "GELU":
                note = self.note("Flax approximates by default") if not form[0] else ""
                return "nnx.gelu" if form[0] else call("partial", "nnx.gelu", approximate=False, comment=note)
            case "MaxPool" | "AvgPool":
                head, options = self.pool(op), self.window_options(op, v)
                return call("partial", head, window_shape=squared(v["kernel"], form[-2]), **options)
            case "HardSigmoid" if v["slope"] == 1 / 6:
                return "nnx.hard_sigmoid"
            case _ if kind in SIMPLE:
                return SIMPLE[kind]
        text = self.function(op, v, "x")
        return None if text is None else f"lambda x: {text}"

    def function(self, op: Op, v: Values, x: str) -> str | None:
        kind, *form = op.form
        match kind:
            case "MaxPool" | "AvgPool":
                head, options = self.pool(op), self.window_options(op, v)
                return str(call(head, x, squared(v["kernel"], form[-2]), **options))
            case "GlobalAvgPool":
                return f"{atom(x)}.mean((1, 2), keepdims=True)"
            case "AdaptiveAvgPool":
                return f"{self.uses('adaptive_avg_pool')}({x}, *{literal(tuple(pair(v['size'])))})"
            case "LocalResponseNorm":
                options = {"alpha": v.unless("alpha", 1e-4), "beta": v.unless("beta", 0.75), "k": v.unless("k", 1.0)}
                return str(call(self.uses("local_response_norm"), x, v["size"], **options))
            case "LeakyReLU":
                return f"nnx.leaky_relu({x}, {literal(v['slope'])})"
            case "ELU":
                return f"nnx.elu({x})" if v["alpha"] == 1 else f"nnx.elu({x}, {literal(v['alpha'])})"
            case "GELU":
                return f"nnx.gelu({x})" if form[0] else f"nnx.gelu({x}, approximate=False)"
            case "HardSigmoid":
                if v["slope"] == 1 / 6:
                    return f"nnx.hard_sigmoid({x})"
                return f"jnp.clip({literal(v['slope'])} * {atom(x)} + 0.5, 0, 1)"
            case "Tanh":
                return scaled_tanh("jnp.tanh", v, x)
            case "Flatten":
                if form[0]:
                    return x
                if is_call(x, "mean") and x.endswith(".mean((1, 2), keepdims=True)"):
                    return x.removesuffix(", keepdims=True)") + ")"
                return f"{atom(x)}.reshape(x.shape[0], -1)"
            case "Scale":
                return times(v["factor"], x)
            case "Normalize":
                mean, std = (f"jnp.asarray({literal(v[name])}, x.dtype)" for name in ("mean", "std"))
                return f"({x} - {mean}) / {std}"
            case "Pad":
                (top, bottom), (left, right) = sides(form[0])
                value = "" if form[1] == 0 else f", constant_values={number(form[1])}"
                return f"jnp.pad({x}, ((0, 0), ({top}, {bottom}), ({left}, {right}), (0, 0)){value})"
            case "Select":
                return self.selected(op, v, x)
            case "Resize":
                first, second = form
                if first != "built-in":
                    return str(call(self.uses("resize"), Symbol(x), v["size"], f'"{first}"', f'"{second}"'))
                size = f"*{v['size']}" if isinstance(v["size"], Symbol) else ", ".join(map(str, v["size"]))
                name = {"linear": "bilinear", "nearest": "nearest"}[second]
                # The variable x has the batch of every value; its channels may be others than those of this value.
                shape = f"(x.shape[0], {size}, {v['channels']})"
                return f'jax.image.resize({x}, {shape}, "{name}", antialias=False)'
            case _ if kind in SIMPLE:
                return f"{SIMPLE[kind]}({x})"
        return None

    def selected(self, op: Op, v: Values, x: str) -> str:
        _, form, flat, *_ = op.form
        match form:
            case "slice":
                return x if slice_text(v) == ":" else f"{atom(x)}[..., {slice_text(v)}]"
            case "shuffle":
                return f"{self.uses('channel_shuffle')}({x}, {v['groups']})"
            case "zeros":
                return self.padded(x, flat, 0, v["count"])
            case "pad":
                part = x if slice_text(v) == ":" else f"{atom(x)}[..., {slice_text(v)}]"
                return self.padded(part, flat, v["before"], v["after"])
            case "list":
                return f"{atom(x)}[..., np.array({maps_text(v)})]"
            case "places":
                return f"{self.padded(x, flat, 0, 1)}[..., np.array({maps_text(v)})]"
            case "gap":
                return f"{self.uses('insert_zeros')}({x}, {v['begin']}, {v['count']})"
        raise lacking(self, op.node, op.layer)

    @staticmethod
    def padded(x: str, flat: bool, before: Any, after: Any) -> str:
        """With channels of zeros."""
        return f"jnp.pad({x}, ({'(0, 0), ' * (1 if flat else 3)}({before}, {after})))"

    def keeps_size(self, op: Op, v: Values) -> bool:
        """Whether Flax's default padding is this convolution's."""
        kernel, padding = v["kernel"], v["padding"]
        if not isinstance(kernel, Symbol) and pair(kernel) == (1, 1) and not isinstance(padding, Symbol):
            return padding == 0
        if (v["stride"], v["dilation"]) != (1, 1):
            return False
        if isinstance(kernel, Symbol):
            return padding == f"{kernel} // 2"
        odd = all(size % 2 for size in pair(kernel))
        return odd and not isinstance(padding, Symbol) and padding == collapsed(tuple(k // 2 for k in pair(kernel)))

    def pool(self, op: Op) -> str:
        if op.layer.kind == "AvgPool":
            return "nnx.avg_pool"
        return self.uses("dilated_max_pool") if dilated(op.layer) else "nnx.max_pool"

    def window_options(self, op: Op, v: Values) -> dict[str, Any]:
        *_, around, _, square = op.form
        stride = squared(v["stride"], square)
        options: dict[str, Any] = {"dilation": pair(op.form[2])} if dilated(op.layer) else {}
        options["strides"] = None if stride == "(1, 1)" else stride
        if around != ((0, 0), (0, 0)):
            options["padding"] = around
            counts = op.layer.kind == "MaxPool" or (op.form[2] and not op.form[1])
            options["count_include_pad"] = None if counts else False
        return options

    @staticmethod
    def made(head: str, *values: Any, comment: str = "", **options: Any) -> Call:
        made = call(head, *values, comment=comment, **options)
        return replace(made, parts=(*made.parts, *RNGS))

    def concatenated(self, ends: Sequence[str]) -> str:
        return f"jnp.concatenate([{', '.join(ends)}], axis=-1)"

    def stochastic_depth(self, rate: str) -> Expression:
        return self.made("nnx.Dropout", Symbol(rate), broadcast_dims=(1, 2, 3))

    # --- arrays -------------------------------------------------------------------------------------------------------

    def in_sequence(self, prefix: str, index: int, name: str) -> str:
        return f"{prefix}layers.{index}."

    def own_arrays(self, op: Op) -> list[tuple[str, str, Callable[[Any], Any]]]:
        return [(p.role, ROLES[p.role], channels_last) for p in op.node.parameters]

    def loader(self) -> str:
        return LOADER


def squared(value: Any, square: bool) -> Symbol:
    """A window's size or stride as a tuple."""
    return Symbol(f"({literal(value)}, {literal(value)})" if square else literal(value))


def channels_last(array: Any) -> Any:
    """A weight with its inputs and outputs last; other arrays as they are."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T if array.ndim == 2 else array
