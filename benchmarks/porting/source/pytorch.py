"""Source for PyTorch: classes of `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.porting.source.code import Call, Expression, Symbol, call, literal
from benchmarks.porting.source.forms import RESIZE_WEIGHTS, described
from benchmarks.porting.source.modules import ModuleWriter, Values, atom, is_call
from benchmarks.porting.source.program import Group, Op, identifier, lacking
from frameworks.arrays import resize_matrix
from frameworks.spec import AvgPool, BatchNorm, Conv, Layer, MaxPool, Node, Pad, Resize, pair, sides
from frameworks.spec.lowering import symmetric

HELPERS = {
    "Normalize": """
class Normalize(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64).view(-1, 1, 1), persistent=False)

    def forward(self, x):
        return (x - self.mean.to(x.dtype)) / self.std.to(x.dtype)
""",
    "Affine": '''
class Affine(nn.Module):
    """A trained factor for each channel, and with `shift` a trained summand."""

    def __init__(self, channels, shift=True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1)) if shift else None

    def forward(self, x):
        return x * self.weight if self.bias is None else x * self.weight + self.bias
''',
    **{
        f"ShiftingBatchNorm{rank}d": f'''
class ShiftingBatchNorm{rank}d(nn.BatchNorm{rank}d):
    """With a trained summand and no factor."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.weight = None
'''
        for rank in (1, 2)
    },
    "LayerNorm2d": '''
class LayerNorm2d(nn.LayerNorm):
    """Over the channels of each pixel."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
''',
    "insert_zeros": '''
def insert_zeros(x, begin, count):
    """Channels of zeros before the channel `begin`."""
    return torch.cat([x[:, :begin], x.new_zeros(len(x), count, *x.shape[2:]), x[:, begin:]], dim=1)
''',
    "resize": RESIZE_WEIGHTS
    + '''

def resize(x, size, method, positions):
    """A product with a matrix for each axis; F.interpolate has no such positions, or takes another nearest pixel."""
    rows, columns = (
        torch.tensor(resize_weights(before, to, method, positions), dtype=x.dtype, device=x.device)
        for before, to in zip(x.shape[2:], size)
    )
    return torch.einsum("nchw,ih,jw->ncij", x, rows, columns)
''',
    "StochasticDepth": '''
class StochasticDepth(nn.Module):
    """Drops whole images in training."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0:
            return x
        mask = x.new_empty(len(x), *[1] * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * mask / (1 - self.rate)
''',
}

LOADER = '''
def load_weights(model, file):
    """Copy the arrays of an .npz file, whose names are those of the state dict."""
    with np.load(file) as arrays:
        model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
'''

ROLES = {"weight": "weight", "gamma": "weight", "bias": "bias", "beta": "bias", "slope": "weight"}
INTERPOLATION = {  # arguments of F.interpolate
    ("linear", "half_pixel"): 'mode="bilinear", align_corners=False',
    ("linear", "aligned_corners"): 'mode="bilinear", align_corners=True',
    ("nearest", "half_pixel"): 'mode="nearest-exact"',
    ("nearest", "asymmetric"): 'mode="nearest"',
}
SIMPLE = {  # activations without options: the function and the module
    "ReLU": ("F.relu", "nn.ReLU"),
    "ReLU6": ("F.relu6", "nn.ReLU6"),
    "SELU": ("F.selu", "nn.SELU"),
    "Sigmoid": ("torch.sigmoid", "nn.Sigmoid"),
    "SiLU": ("F.silu", "nn.SiLU"),
    "HardSwish": ("F.hardswish", "nn.Hardswish"),
    "Mish": ("F.mish", "nn.Mish"),
}


class PyTorchWriter(ModuleWriter):
    title = "torch"
    imports = (
        *("import sys", "from collections import OrderedDict", "from pathlib import Path", ""),
        *("import numpy as np", "import torch"),
        *("import torch.nn.functional as F", "from torch import nn"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.helpers = HELPERS

    # --- layers -------------------------------------------------------------------------------------------------------

    def prepared(self, layer: Layer, node: Node) -> list[tuple[Layer, Node]]:
        if not isinstance(layer, (Conv, MaxPool, AvgPool)):
            return [(layer, node)]
        around = sides(layer.padding)
        half = isinstance(layer, Conv) or all(2 * a <= k for (a, _), k in zip(around, pair(layer.kernel)))
        if symmetric(around) and half:
            return [(layer, node)]
        pad = Pad("", around, float("-inf") if isinstance(layer, MaxPool) else 0.0)
        if isinstance(layer, MaxPool) and layer.ceil:
            whole = layer.resolved(node.input)
            pad, layer = replace(pad, padding=sides(whole.padding)), replace(layer, ceil=False)  # type: ignore[attr-defined]
        if isinstance(layer, AvgPool) and (layer.ceil or not layer.count_padding):
            raise lacking(self, node, layer, "its padding differs at the sides and does not count")
        padded = Node(f"{node.path}/pad", pad, node.input, pad.output(node.input), (), 0)
        bare = replace(layer, padding=0)
        return [(pad, padded), (bare, replace(node, layer=bare, input=padded.output))]

    def described(self, layer: Layer, node: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        form, values = described(self, layer, node)
        return (*form, _interpolates(layer, node)) if isinstance(layer, Resize) else form, values

    def constructor(self, op: Op, v: Values) -> Expression | None:
        layer = op.layer
        kind, *form = op.form
        match kind:
            case "Conv":
                options = {"stride": v.unless("stride", 1), "padding": v.unless("padding", 0)}
                options |= {"dilation": v.unless("dilation", 1), "groups": v.unless("groups", 1)}
                bias = None if form[0] else False
                return call("nn.Conv2d", v["inputs"], v["outputs"], v["kernel"], **options, bias=bias)
            case "Dense":
                return call("nn.Linear", v["inputs"], v["outputs"], bias=None if form[0] else False)
            case "MaxPool":
                options = {"padding": v.unless("padding", 0), "dilation": v.unless("dilation", 1)}
                options |= {"ceil_mode": True if form[0] else None}
                return call("nn.MaxPool2d", v["kernel"], stride=self.stride(v), **options)
            case "AvgPool":
                options = {"padding": v.unless("padding", 0), "ceil_mode": True if form[0] else None}
                options |= {"count_include_pad": None if form[1] else False}
                return call("nn.AvgPool2d", v["kernel"], stride=self.stride(v), **options)
            case "GlobalAvgPool":
                return call("nn.AdaptiveAvgPool2d", 1)
            case "AdaptiveAvgPool":
                return call("nn.AdaptiveAvgPool2d", v["size"])
            case "BatchNorm":
                if form[1] and not form[2]:
                    raise lacking(self, op.node, layer, "it has gamma and no beta")
                options = {"eps": v.unless("eps", 1e-5), "momentum": v.unless("momentum", 0.1)}
                affine = None if form[2] else False
                name = "nn.BatchNorm1d" if form[0] else "nn.BatchNorm2d"
                if form[2] and not form[1]:
                    name = self.uses("ShiftingBatchNorm1d" if form[0] else "ShiftingBatchNorm2d")
                note = self.note("PyTorch's running variance is that of the batch times n / (n - 1)")
                return call(name, v["channels"], **options, affine=affine, comment=note)
            case "LayerNorm":
                if form[2] and not form[1]:
                    raise lacking(self, op.node, layer, "it has beta and no gamma")
                name = "nn.LayerNorm" if form[0] else self.uses("LayerNorm2d")
                options = {"elementwise_affine": None if form[1] else False}
                options |= {"bias": False if form[1] and not form[2] else None}
                return call(name, v["channels"], eps=v.unless("eps", 1e-5), **options)
            case "GroupNorm" | "InstanceNorm":
                if form[1] != form[2]:
                    raise lacking(self, op.node, layer, "it has gamma or beta alone")
                if kind == "InstanceNorm":
                    affine = True if form[1] else None
                    return call("nn.InstanceNorm2d", v["channels"], eps=v.unless("eps", 1e-5), affine=affine)
                affine = None if form[1] else False
                return call("nn.GroupNorm", v["groups"], v["channels"], eps=v.unless("eps", 1e-5), affine=affine)
            case "Affine":
                if form[0]:
                    raise lacking(self, op.node, layer, "its input is flat")
                return call(self.uses("Affine"), v["channels"], shift=None if form[1] else False)
            case "PReLU":
                return call("nn.PReLU", v["channels"])
            case "LocalResponseNorm":
                options = {"alpha": v.unless("alpha", 1e-4), "beta": v.unless("beta", 0.75), "k": v.unless("k", 1.0)}
                note = self.note(
                    "PyTorch's alpha multiplies the mean of the squares, that of the paper and TensorFlow the sum"
                )
                return call("nn.LocalResponseNorm", v["size"], **options, comment=note)
            case "Dropout":
                return call("nn.Dropout", *self.positional_value(v, "rate", 0.5))
            case "StochasticDepth":
                return self.stochastic_depth(literal(v["rate"]))
            case "LeakyReLU":
                return call("nn.LeakyReLU", *self.positional_value(v, "slope", 0.01))
            case "ELU":
                return call("nn.ELU", *self.positional_value(v, "alpha", 1.0))
            case "GELU":
                return call("nn.GELU", *(['"tanh"'] if form[0] else []))
            case "HardSigmoid":
                return call("nn.Hardsigmoid") if v["slope"] == 1 / 6 else None
            case "Tanh":
                return call("nn.Tanh") if (v["amplitude"], v["slope"]) == (1, 1) else None
            case "Softplus":
                return call(
                    "nn.Softplus", threshold=40, comment=self.note("PyTorch's softplus is x above the threshold")
                )
            case "Flatten":
                return call("nn.Flatten")
            case "Pad":
                (top, bottom), (left, right) = sides(form[0])
                if form[1] == 0:
                    return call("nn.ZeroPad2d", (left, right, top, bottom))
                return call("nn.ConstantPad2d", (left, right, top, bottom), number(form[1]))
            case "Normalize":
                return call(self.uses("Normalize"), v["mean"], v["std"])
            case "Select":
                return call("nn.ChannelShuffle", v["groups"]) if form == ["shuffle", False] else None
            case _ if kind in SIMPLE:
                return call(SIMPLE[kind][1])
        return None

    def function(self, op: Op, v: Values, x: str) -> str | None:
        kind, *form = op.form
        match kind:
            case "GlobalAvgPool":
                return f"{atom(x)}.mean((2, 3), keepdim=True)"
            case "Dropout":
                return f"F.dropout({x}, {literal(v['rate'])}, self.training)"
            case "LeakyReLU":
                return f"F.leaky_relu({x}, {literal(v['slope'])})"
            case "ELU":
                return f"F.elu({x})" if v["alpha"] == 1 else f"F.elu({x}, {literal(v['alpha'])})"
            case "GELU":
                return f'F.gelu({x}, approximate="tanh")' if form[0] else f"F.gelu({x})"
            case "HardSigmoid":
                if v["slope"] == 1 / 6:
                    return f"F.hardsigmoid({x})"
                return f"torch.clamp({literal(v['slope'])} * {atom(x)} + 0.5, 0, 1)"
            case "Tanh":
                return scaled_tanh("torch.tanh", v, x)
            case "Softplus":
                return f"F.softplus({x}, threshold=40)"
            case "Flatten":
                if form[0]:
                    return x
                if is_call(x, "mean") and x.endswith(".mean((2, 3), keepdim=True)"):
                    return x.removesuffix(", keepdim=True)") + ")"
                return f"torch.flatten({x}, 1)"
            case "Scale":
                return times(v["factor"], x)
            case "Pad":
                (top, bottom), (left, right) = sides(form[0])
                value = "" if form[1] == 0 else f", value={number(form[1])}"
                return f"F.pad({x}, ({left}, {right}, {top}, {bottom}){value})"
            case "Select":
                return self.selected(op, v, x)
            case "Resize":
                method, positions, interpolates = form
                if interpolates:
                    return f"F.interpolate({x}, {v['size']}, {INTERPOLATION[method, positions]})"
                return str(call(self.uses("resize"), Symbol(x), v["size"], f'"{method}"', f'"{positions}"'))
            case _ if kind in SIMPLE:
                return f"{SIMPLE[kind][0]}({x})"
        return None

    def selected(self, op: Op, v: Values, x: str) -> str:
        _, form, flat, *_ = op.form
        match form:
            case "slice":
                return x if slice_text(v) == ":" else f"{atom(x)}[:, {slice_text(v)}]"
            case "shuffle":
                return f"F.channel_shuffle({x}, {v['groups']})"
            case "zeros":
                return self.padded(x, flat, 0, v["count"])
            case "pad":
                part = x if slice_text(v) == ":" else f"{atom(x)}[:, {slice_text(v)}]"
                return self.padded(part, flat, v["before"], v["after"])
            case "list":
                return f"{atom(x)}[:, {maps_text(v)}]"
            case "places":
                return f"{self.padded(x, flat, 0, 1)}[:, {maps_text(v)}]"
            case "gap":
                return f"{self.uses('insert_zeros')}({x}, {v['begin']}, {v['count']})"
        raise lacking(self, op.node, op.layer)

    @staticmethod
    def padded(x: str, flat: bool, before: Any, after: Any) -> str:
        """With channels of zeros."""
        return f"F.pad({x}, ({'' if flat else '0, 0, 0, 0, '}{before}, {after}))"

    @staticmethod
    def stride(v: Values) -> Any:
        """A pool's stride, or None if it is the kernel's size, which is the default."""
        return None if v["stride"] == v["kernel"] else v["stride"]

    @staticmethod
    def positional_value(v: Values, name: str, default: Any) -> list[Any]:
        value = v.unless(name, default)
        return [] if value is None else [value]

    def concatenated(self, ends: Sequence[str]) -> str:
        return f"torch.cat([{', '.join(ends)}], dim=1)"

    def stochastic_depth(self, rate: str) -> Expression:
        return call(self.uses("StochasticDepth"), Symbol(rate))

    # --- sequences and arrays -----------------------------------------------------------------------------------------

    def sequential(self, group: Group, items: Sequence[tuple[str, Expression]]) -> Expression:
        if self.positional(group):
            return super().sequential(group, items)
        if len(items) != len(group.items):  # a loop, whose places are numbers
            return super().sequential(group, items)
        parts = tuple((f"{self.key(group, index)}=", item) for index, (_, item) in enumerate(items))
        return call("nn.Sequential", Call("OrderedDict", parts, exploded=True))

    def key(self, group: Group, index: int) -> str:
        if self.positional(group):
            return str(index)
        taken: set[str] = set()
        for each in group.items[: index + 1]:
            stem = identifier(each.name, each.layer.kind if isinstance(each, Op) else "Block")  # type: ignore[union-attr]
            name, count = stem, 2
            while name in taken:
                name, count = f"{stem}{count}", count + 1
            taken.add(name)
        return name

    def in_sequence(self, prefix: str, index: int, name: str) -> str:
        return f"{prefix}{name}."

    def own_arrays(self, op: Op) -> list[tuple[str, str, Callable[[Any], Any]]]:
        shape = (-1, 1, 1) if op.layer.kind == "Affine" else None
        return [
            (p.role, ROLES.get(p.role, p.role), (lambda array: array.reshape(shape)) if shape else same)
            for p in op.node.parameters
        ]

    def constants(self) -> list[tuple[str, Any]]:
        """Batch norm's counters of batches, which are in the state dict."""
        norms = [prefix for op, prefix in self.owned(self.root, "") if isinstance(op.layer, BatchNorm)]
        return [(f"{prefix}num_batches_tracked", np.array(0)) for prefix in norms]

    def loader(self) -> str:
        return LOADER


def slice_text(v: Values) -> str:
    """Both ends of a slice; an expression with a dot has spaces around the colon."""
    begin, end = str(v["begin"] or ""), str(v["end"] or "")
    return f"{begin}{' ' * ('.' in begin)}:{' ' * ('.' in end)}{end}"


def maps_text(v: Values) -> str:
    """The channels of a selection as a list, or the argument that has them."""
    maps = v["maps"]
    return str(maps) if isinstance(maps, Symbol) else str(list(maps))


def same(array: Any) -> Any:
    return array


def _interpolates(layer: Resize, node: Node) -> bool:
    """Whether F.interpolate is a resize: it finds nearest pixels in float32, so where two are equally near it may take
    another than the spec."""
    if (layer.method, layer.positions) not in INTERPOLATION:
        return False
    first = np.float32(0.5 if layer.positions == "half_pixel" else 0)
    for size, to in zip(node.input[1:], node.output[1:]):
        pixels = np.floor((np.arange(to, dtype=np.float32) + first) * (np.float32(size) / np.float32(to)))
        own = resize_matrix(layer, size, to).argmax(axis=1)
        if layer.method == "nearest" and not np.array_equal(np.minimum(pixels, size - 1), own):
            return False
    return True


def number(value: float) -> str:
    return 'float("-inf")' if value == float("-inf") else literal(value)


def scaled_tanh(name: str, v: Values, x: str) -> str:
    slope, amplitude = v["slope"], v["amplitude"]
    inner = x if slope == 1 else f"{fraction(slope)} * {atom(x)}"
    return f"{name}({inner})" if amplitude == 1 else f"{literal(amplitude)} * {name}({inner})"


def fraction(value: float) -> str:
    """A number as a quotient of two small ones, if it is one."""
    for divisor in range(2, 10):
        if (value * divisor).is_integer() and not value.is_integer() and value * divisor / divisor == value:
            return f"{int(value * divisor)} / {divisor}"
    return literal(value)


def times(factor: float, x: str) -> str:
    divisor = round(1 / factor) if factor else 0
    if divisor > 1 and 1 / divisor == factor:
        return f"{atom(x)} / {divisor}"
    return f"{literal(factor)} * {atom(x)}"
