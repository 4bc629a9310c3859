"""Source for MXNet Gluon: classes of `gluon.HybridBlock`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.porting.source.code import Call, Expression, Symbol, call, literal
from benchmarks.porting.source.forms import RESIZE_WEIGHTS, described, dilated, repetitions
from benchmarks.porting.source.modules import ModuleWriter, Values, atom, is_call
from benchmarks.porting.source.program import Op, lacking
from benchmarks.porting.source.pytorch import same, scaled_tanh, times
from frameworks.arrays import resize_matrix
from frameworks.spec import AvgPool, Conv, Layer, MaxPool, Node, Pad, Resize, Select, pair, sides
from frameworks.spec.lowering import symmetric

HELPERS = {
    "sequential": """
def sequential(*blocks):
    sequence = nn.HybridSequential()
    sequence.add(*blocks)
    return sequence
""",
    "Affine": '''
class Affine(gluon.HybridBlock):
    """A trained factor for each channel, and with `shift` a trained summand."""

    def __init__(self, channels, shift=True):
        super().__init__()
        self.gamma = self.params.get("gamma", shape=(1, channels, 1, 1), init="ones")
        if shift:
            self.beta = self.params.get("beta", shape=(1, channels, 1, 1), init="zeros")

    def hybrid_forward(self, F, x, gamma, beta=None):
        y = F.broadcast_mul(x, gamma)
        return y if beta is None else F.broadcast_add(y, beta)
''',
    "GroupNorm": '''
class GroupNorm(gluon.HybridBlock):
    """With a factor and a summand for each channel; MXNet's has them for each group."""

    def __init__(self, groups, channels, epsilon=1e-5, center=True, scale=True):
        super().__init__()
        self.groups, self.epsilon = groups, epsilon
        if scale:
            self.gamma = self.params.get("gamma", shape=(1, channels, 1, 1), init="ones")
        if center:
            self.beta = self.params.get("beta", shape=(1, channels, 1, 1), init="zeros")

    def hybrid_forward(self, F, x, gamma=None, beta=None):
        y = F.reshape(x, (0, self.groups, -1))
        y = F.broadcast_sub(y, F.mean(y, axis=2, keepdims=True))
        y = F.broadcast_div(y, F.sqrt(F.mean(y**2, axis=2, keepdims=True) + self.epsilon))
        y = F.reshape_like(y, x)
        y = y if gamma is None else F.broadcast_mul(y, gamma)
        return y if beta is None else F.broadcast_add(y, beta)
''',
    "elu": '''
def elu(F, x, alpha=1.0):
    """In full precision; MXNet's operator rounds to float32."""
    return F.where(x > 0, x, alpha * F.expm1(F.minimum(x, 0)))
''',
    "selu": '''
def selu(F, x):
    """In full precision; MXNet's operator rounds to float32."""
    return 1.0507009873554805 * F.where(x > 0, x, 1.6732632423543772 * F.expm1(F.minimum(x, 0)))
''',
    "gelu": '''
def gelu(F, x):
    """In full precision, but for a factor in the gradient of erf; MXNet's operator rounds to float32."""
    return 0.5 * x * (1 + F.erf(x / 2**0.5))
''',
    "gelu_tanh": """
def gelu_tanh(F, x):
    return 0.5 * x * (1 + F.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
""",
    "softplus": '''
def softplus(F, x):
    """Also above 20, where MXNet's operator is x."""
    return F.relu(x) + F.log1p(F.exp(-F.abs(x)))
''',
    "mish": """
def mish(F, x):
    return x * F.tanh(F.relu(x) + F.log1p(F.exp(-F.abs(x))))
""",
    "silu": """
def silu(F, x):
    return x * F.sigmoid(x)
""",
    "hard_swish": """
def hard_swish(F, x):
    return x * F.clip(x / 6 + 0.5, 0, 1)
""",
    "PReLU": '''
class PReLU(gluon.HybridBlock):
    """In full precision; MXNet's operator rounds to float32."""

    def __init__(self, *shape):
        super().__init__()
        self.slope = self.params.get("slope", shape=shape, init=mx.init.Constant(0.25))

    def hybrid_forward(self, F, x, slope):
        return F.where(x > 0, x, F.broadcast_mul(x, slope))
''',
    "leaky_relu": '''
def leaky_relu(F, x, slope):
    """In full precision; MXNet's operator rounds to float32."""
    return F.where(x > 0, x, slope * x)
''',
    "normalize": """
def normalize(F, x, mean, std):
    channels = F.split(x, num_outputs=len(mean), axis=1)
    return F.concat(*[(channel - m) / s for channel, m, s in zip(channels, mean, std)], dim=1)
""",
    "double": '''
def double(F, x):
    """Behind the channels as many of zeros."""
    return F.concat(x, F.zeros_like(x), dim=1)
''',
    "pad_channels": '''
def pad_channels(F, x, before, after):
    """Channels of zeros before and after those of x; MXNet pads no channels."""
    zeros = F.zeros_like(F.slice_axis(x, axis=1, begin=0, end=1))
    begin, end = ([F.broadcast_axis(zeros, axis=1, size=count)] if count else [] for count in (before, after))
    return F.concat(*begin, x, *end, dim=1)
''',
    "select_channels": '''
def select_channels(F, x, *runs):
    """Runs of channels: the first and the number of each; of zeros where the first is None."""
    zeros = F.zeros_like(F.slice_axis(x, axis=1, begin=0, end=1))
    parts = [
        F.broadcast_axis(zeros, axis=1, size=count)
        if begin is None
        else F.slice_axis(x, axis=1, begin=begin, end=begin + count)
        for begin, count in runs
    ]
    return F.concat(*parts, dim=1)
''',
    "insert_zeros": '''
def insert_zeros(F, x, begin, count):
    """Channels of zeros before the channel `begin`."""
    zeros = F.broadcast_axis(F.zeros_like(F.slice_axis(x, axis=1, begin=0, end=1)), axis=1, size=count)
    before, after = F.slice_axis(x, axis=1, begin=0, end=begin), F.slice_axis(x, axis=1, begin=begin, end=None)
    return F.concat(before, zeros, after, dim=1)
''',
    "local_response_norm": '''
def local_response_norm(F, x, size, alpha=1e-4, beta=0.75, k=2.0):
    """alpha multiplies the mean of the squares. MXNet's operator has float32 and windows of odd sizes only."""
    squares = F.expand_dims(F.reshape(x**2, (0, 0, -1)), axis=1)
    padded = F.pad(squares, mode="constant", pad_width=(0, 0, 0, 0, size // 2, (size - 1) // 2, 0, 0))
    mean = F.reshape_like(F.Pooling(padded, kernel=(size, 1), pool_type="avg"), x)
    return x / (k + alpha * mean) ** beta
''',
    "dilated_max_pool": '''
def dilated_max_pool(F, x, size, stride, dilation):
    """The maximum over dilated windows, which Gluon lacks; of equal values, the first takes the gradient."""
    size, stride, dilation = (np.broadcast_to(each, 2).tolist() for each in (size, stride, dilation))
    y = None
    for place in np.ndindex(*size):
        begin = [each * gap for each, gap in zip(place, dilation)]
        end = [(each - count + 1) * gap or None for each, count, gap in zip(place, size, dilation)]  # from the end
        part = F.slice(x, begin=(None, None, *begin), end=(None, None, *end), step=(None, None, *stride))
        y = part if y is None else F.broadcast_maximum(y, part)
    return y
''',
    "Resize": RESIZE_WEIGHTS
    + '''

class Resize(gluon.HybridBlock):
    """A product with a matrix for each axis; MXNet's operator has positions in float32."""

    def __init__(self, size, to, method, positions):
        super().__init__()
        rows, columns = (resize_weights(*axis, method, positions) for axis in zip(size, to))
        self.rows = self.params.get_constant("rows", rows)
        self.columns = self.params.get_constant("columns", columns)

    def hybrid_forward(self, F, x, rows, columns):
        y = F.swapaxes(F.dot(F.swapaxes(x, 2, 3), rows, transpose_b=True), 2, 3)
        return F.dot(y, columns, transpose_b=True)
''',
    "channel_shuffle": """
def channel_shuffle(F, x, groups):
    return x.reshape((0, -4, groups, -1, -2)).swapaxes(1, 2).reshape((0, -3, -2))
""",
}

LOADER = '''
def load_weights(net, file):
    """Copy the arrays of an .npz file into an initialized net; the names are those of `save_parameters`."""
    with np.load(file) as arrays:
        for name, parameter in net._collect_params_with_prefix().items():
            parameter.set_data(mx.nd.array(arrays[name], dtype=parameter.dtype))
'''

ACTIVATIONS = {"ReLU": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh"}
WRITTEN = {"SELU": "selu", "SiLU": "silu", "HardSwish": "hard_swish", "Softplus": "softplus", "Mish": "mish"}


class GluonWriter(ModuleWriter):
    title = "gluon"
    base = "gluon.HybridBlock"
    sequence_class = "sequential"
    forward_head = "def hybrid_forward(self, F, x):"
    imports = (
        *("import sys", "from pathlib import Path", "", "import mxnet as mx", "import numpy as np"),
        *("from mxnet import autograd, gluon", "from mxnet.gluon import nn"),
    )
    unused = frozenset(("inputs",))

    def __init__(self) -> None:
        super().__init__()
        self.helpers = HELPERS

    def prepared(self, layer: Layer, node: Node) -> list[tuple[Layer, Node]]:
        if not isinstance(layer, (Conv, MaxPool, AvgPool)):
            return [(layer, node)]
        around = sides(layer.padding)
        if isinstance(layer, AvgPool) and layer.ceil and not np.any(around):
            # Gluon refuses a window larger than the image; the mean of what is inside is that of a smaller window.
            (height, width), (_, rows, columns) = pair(layer.kernel), node.input
            inside = min(height, rows), min(width, columns)
            if inside != pair(layer.kernel):
                layer = replace(layer, kernel=inside)
                node = replace(node, layer=layer)
        own = not dilated(layer) and not (isinstance(layer, MaxPool) and layer.ceil and not _full(layer, node))
        if own and symmetric(around):
            return [(layer, node)]
        if isinstance(layer, AvgPool) and (layer.ceil or not layer.count_padding):
            raise lacking(self, node, layer, "its padding differs at the sides and does not count")
        if isinstance(layer, MaxPool):
            layer = layer.resolved(node.input)
            around = sides(layer.padding)
            if not np.any(around):
                return [(layer, replace(node, layer=layer))]
        pad = Pad("", around, float("-inf") if isinstance(layer, MaxPool) else 0.0)
        padded = Node(f"{node.path}/pad", pad, node.input, pad.output(node.input), (), 0)
        bare = replace(layer, padding=0)
        return [(pad, padded), (bare, replace(node, layer=bare, input=padded.output))]

    def described(self, layer: Layer, node: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        form, values = described(self, layer, node)
        if layer.kind in ("BatchNorm", "LayerNorm"):
            values.pop("channels")
        if layer.kind == "BatchNorm":
            values["momentum"] = round(1 - values["momentum"], 12)
        if isinstance(layer, MaxPool):
            form = (*form, dilated(layer))
        if isinstance(layer, Resize):
            repeats = repetitions(layer, node)
            if repeats and repeats[0] == repeats[1]:
                return ("repeated",), {"scale": repeats[0]}
            values = {"pixels": node.input[1:], **values}
        if isinstance(layer, Select):
            if form[0] == "zeros" and values["count"] == node.input[0]:
                return ("double", form[1]), {}
            if form[0] in ("list", "places"):  # a concatenation, whose parts are no values
                return ("runs", form[1], tuple(layer.runs)), {}
        return form, values

    def in_training(self, value: str, otherwise: str) -> str:
        return f"{value} if autograd.is_training() else {otherwise}"

    def with_heads(self, forward: list[str]) -> tuple[str, str, list[str], list[str]]:
        """A Block: hybridize() would fix whether a pass is one of training. Its own blocks can be hybridized."""
        own = ["F = mx.nd"] if any(re.search(r"\bF\b", line) for line in forward) else []
        return "gluon.Block", "def forward(self, x):", self.init_start(), [*own, *forward]

    def is_attribute(self, op: Op, values: Values) -> bool:
        made = self.constructor(op, values)
        wrapped = isinstance(made, Call) and made.head == "nn.HybridLambda"
        return not wrapped and super().is_attribute(op, values)

    # --- layers -------------------------------------------------------------------------------------------------------

    def constructor(self, op: Op, v: Values) -> Expression | None:
        kind, *form = op.form
        match kind:
            case "Conv":
                options = {"strides": v.unless("stride", 1), "padding": v.unless("padding", 0)}
                options |= {"dilation": v.unless("dilation", 1), "groups": v.unless("groups", 1)}
                return call("nn.Conv2D", v["outputs"], v["kernel"], **options, use_bias=None if form[0] else False)
            case "Dense":
                return call("nn.Dense", v["outputs"], use_bias=None if form[0] else False)
            case "MaxPool" | "AvgPool" if not dilated(op.layer):
                stride = None if v["stride"] == v["kernel"] else v["stride"]
                options = {"strides": stride, "padding": v.unless("padding", 0)}
                options |= {"ceil_mode": True if form[0] else None}
                options |= {"count_include_pad": False if kind == "AvgPool" and not form[1] else None}
                return call("nn.MaxPool2D" if kind == "MaxPool" else "nn.AvgPool2D", v["kernel"], **options)
            case "GlobalAvgPool":
                return call("nn.GlobalAvgPool2D")
            case "BatchNorm":
                options = {"momentum": v.unless("momentum", 0.9), "epsilon": v.unless("eps", 1e-5)}
                options |= {"center": None if form[2] else False, "scale": None if form[1] else False}
                note = self.note("Gluon's momentum, 0.9 by default, is the fraction that the running statistics keep")
                return call("nn.BatchNorm", **options, comment=note)
            case "LayerNorm":
                options = {"axis": None if form[0] else 1, "epsilon": v.unless("eps", 1e-5)}
                options |= {"center": None if form[2] else False, "scale": None if form[1] else False}
                return call("nn.LayerNorm", **options)
            case "GroupNorm" | "InstanceNorm":
                options = {"epsilon": v.unless("eps", 1e-5), "center": None if form[2] else False}
                options |= {"scale": None if form[1] else False}
                groups = v["groups" if kind == "GroupNorm" else "channels"]
                return call(self.uses("GroupNorm"), groups, v["channels"], **options)
            case "Affine" if not form[0]:
                return call(self.uses("Affine"), v["channels"], shift=None if form[1] else False)
            case "PReLU":
                return call(self.uses("PReLU"), 1, v["channels"], *[1] * (len(op.node.input) - 1))
            case "Resize" if form != ["repeated"]:
                method, positions = (f'"{each}"' for each in form)
                return call(self.uses("Resize"), v["pixels"], v["size"], method, positions)
            case "Dropout":
                return call("nn.Dropout", v["rate"])
            case "StochasticDepth":
                return self.stochastic_depth(literal(v["rate"]))
            case "Flatten":
                return call("nn.Flatten")
            case "SiLU":
                return call("nn.Swish")
            case _ if kind in ACTIVATIONS and op.values in ({}, {"amplitude": 1.0, "slope": 1.0}):
                return call("nn.Activation", f'"{ACTIVATIONS[kind]}"')
        text = self.function(op, v, "x")
        return None if text is None else call("nn.HybridLambda", f"lambda F, x: {text}")

    def function(self, op: Op, v: Values, x: str) -> str | None:
        kind, *form = op.form
        match kind:
            case "GlobalAvgPool":
                return f"F.mean({x}, axis=(2, 3), keepdims=True)"
            case "AdaptiveAvgPool":
                return f"F.contrib.AdaptiveAvgPooling2D({x}, output_size={literal(tuple(pair(v['size'])))})"
            case "MaxPool" if dilated(op.layer):
                window = (v[name] for name in ("kernel", "stride", "dilation"))
                return str(call(self.uses("dilated_max_pool"), Symbol("F"), Symbol(x), *window))
            case "Resize" if form == ["repeated"]:
                return f'F.UpSampling({x}, scale={v["scale"]}, sample_type="nearest")'
            case "LocalResponseNorm":
                options = {"alpha": v.unless("alpha", 1e-4), "beta": v.unless("beta", 0.75)}
                name = self.uses("local_response_norm")
                return str(call(name, Symbol("F"), Symbol(x), v["size"], **options, k=v.unless("k", 2)))
            case "Dropout":
                return f"F.Dropout({x})" if v["rate"] == 0.5 else f"F.Dropout({x}, p={literal(v['rate'])})"
            case "ReLU6":
                return f"F.clip({x}, 0, 6)"
            case "LeakyReLU":
                return f"{self.uses('leaky_relu')}(F, {x}, {literal(v['slope'])})"
            case "ELU":
                alpha = "" if v["alpha"] == 1 else f", {literal(v['alpha'])}"
                return f"{self.uses('elu')}(F, {x}{alpha})"
            case "GELU":
                return f"{self.uses('gelu_tanh' if form[0] else 'gelu')}(F, {x})"
            case _ if kind in WRITTEN:
                return f"{self.uses(WRITTEN[kind])}(F, {x})"
            case "HardSigmoid":
                scaled = f"{atom(x)} / 6" if v["slope"] == 1 / 6 else f"{literal(v['slope'])} * {atom(x)}"
                return f"F.clip({scaled} + 0.5, 0, 1)"
            case "ReLU" | "Sigmoid":
                return f"F.{ACTIVATIONS[kind]}({x})"
            case "Tanh":
                return scaled_tanh("F.tanh", v, x)
            case "Flatten":
                if form[0]:
                    return x
                if is_call(x, "mean") and x.endswith(", axis=(2, 3), keepdims=True)"):
                    return x.removesuffix(", keepdims=True)") + ")"
                return f"F.flatten({x})"
            case "Scale":
                return times(v["factor"], x)
            case "Normalize":
                mean, std = v["mean"], v["std"]
                if len(mean) == len(std) == 1:
                    return f"({x} - {literal(mean[0])}) / {literal(std[0])}"
                count = op.node.input[0]
                mean, std = (values * (count // len(values)) for values in (mean, std))
                return f"{self.uses('normalize')}(F, {x}, {literal(mean)}, {literal(std)})"
            case "Pad":
                (top, bottom), (left, right) = sides(form[0])
                value = "" if form[1] == 0 else f", constant_value={_number(form[1])}"
                return f'F.pad({x}, mode="constant", pad_width=(0, 0, 0, 0, {top}, {bottom}, {left}, {right}){value})'
            case "Select":
                return self.selected(op, v, x)
        return None

    def selected(self, op: Op, v: Values, x: str) -> str:
        _, form, *_ = op.form
        match form:
            case "slice":
                return f"F.slice_axis({x}, axis=1, begin={v['begin']}, end={v['end']})"
            case "shuffle":
                return f"{self.uses('channel_shuffle')}(F, {x}, {v['groups']})"
            case "double":
                # Only a name stands twice in an expression: another value would be computed twice.
                return (
                    f"F.concat({x}, F.zeros_like({x}), dim=1)" if x.isidentifier() else f"{self.uses('double')}(F, {x})"
                )
            case "zeros":
                return f"{self.uses('pad_channels')}(F, {x}, 0, {v['count']})"
            case "pad":
                whole = (v["begin"], v["end"]) == (0, None)
                part = x if whole else f"F.slice_axis({x}, axis=1, begin={v['begin']}, end={v['end']})"
                return f"{self.uses('pad_channels')}(F, {part}, {v['before']}, {v['after']})"
            case "gap":
                return f"{self.uses('insert_zeros')}(F, {x}, {v['begin']}, {v['count']})"
            case "runs":
                runs: tuple[tuple[int | None, int], ...] = op.form[3]
                if not x.isidentifier() or any(begin is None for begin, _ in runs):
                    return f"{self.uses('select_channels')}(F, {x}, {', '.join(map(literal, runs))})"
                parts = [f"F.slice_axis({x}, axis=1, begin={a}, end={(a or 0) + n})" for a, n in runs]
                return f"F.concat({', '.join(parts)}, dim=1)"
        raise lacking(self, op.node, op.layer)

    def concatenated(self, ends: Sequence[str]) -> str:
        return f"F.concat({', '.join(ends)}, dim=1)"

    def multiplied(self, ends: Sequence[str]) -> str:
        text = ends[0]
        for end in ends[1:]:
            text = f"F.broadcast_mul({text}, {end})"
        return text

    def stochastic_depth(self, rate: str) -> Expression:
        return call("nn.Dropout", Symbol(rate), axes=(1, 2, 3))

    def sequential(self, group: Any, items: Sequence[tuple[str, Expression]]) -> Expression:
        self.uses("sequential")
        return super().sequential(group, items)

    # --- arrays -------------------------------------------------------------------------------------------------------

    def own_arrays(self, op: Op) -> list[tuple[str, str, Callable[[Any], Any]]]:
        if op.layer.kind in ("Affine", "PReLU", "GroupNorm", "InstanceNorm"):
            shape = (1, -1, *[1] * (len(op.node.input) - 1))
            return [(p.role, p.role, lambda array: array.reshape(shape)) for p in op.node.parameters]
        return [(p.role, p.role, same) for p in op.node.parameters]

    def constants(self) -> list[tuple[str, Any]]:
        """Gluon's fixed gamma is 1 and its fixed beta 0; a resize has its matrices."""
        found = []
        for op, prefix in self.owned(self.root, ""):
            if isinstance(op.layer, Resize):
                ways = zip(("rows", "columns"), op.node.input[1:], op.node.output[1:])
                found += [(f"{prefix}{name}", resize_matrix(op.layer, size, to)) for name, size, to in ways]
            if op.layer.kind not in ("BatchNorm", "LayerNorm"):
                continue
            roles = {parameter.role for parameter in op.node.parameters}
            for role, value in (("gamma", 1.0), ("beta", 0.0)):
                if role not in roles:
                    found.append((f"{prefix}{role}", np.full(op.node.input[0], value)))
        return found

    def has_arrays(self, op: Op) -> bool:
        is_constant = op.layer.kind == "Resize" and op.form[1:] != ("repeated",)
        return bool(op.node.parameters) or op.layer.kind == "LayerNorm" or is_constant

    def loader(self) -> str:
        return LOADER


def _full(layer: MaxPool, node: Node) -> bool:
    """Whether MXNet's rounding up gives the same number of windows.

    It allows a window outside of the image, and none that is larger than the image with its padding.
    """
    ways = zip(node.input[1:], node.output[1:], pair(layer.kernel), pair(layer.stride), sides(layer.padding))
    return all(
        (rest := size + sum(around) - kernel) >= 0 and -(-rest // stride) + 1 == to
        for size, to, kernel, stride, around in ways
    )


def _number(value: float) -> str:
    return "-np.inf" if value == float("-inf") else literal(value)
