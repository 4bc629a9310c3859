"""A layer in a few words, as network diagrams and tables show it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.reporting.number_formats import counted
from frameworks import spec
from frameworks.spec import Layer, Shape, pair, sides

TIMES = "\N{MULTIPLICATION SIGN}"
MOST_LISTED = 8  # maps of a Select that are listed one by one

# Kinds whose name in a page is not the name of the class in lower case.
_NAMES: dict[type[Layer], str] = {
    spec.BatchNorm: "batch norm",
    spec.GlobalAvgPool: "mean of each map",
    spec.HardSwish: "hard swish",
    spec.InstanceNorm: "instance norm",
    spec.LayerNorm: "layer norm",
}


def layer_text(layer: Layer, shape: Shape) -> str:
    """A layer's kind and arguments: `conv 5x5, 6, pad 2` with a multiplication sign. shape: of the layer's input."""
    match layer:
        case spec.Conv():
            return _conv_text(layer, shape)
        case spec.MaxPool() | spec.AvgPool():
            return _pool_text(layer)
        case spec.AdaptiveAvgPool():
            return f"mean, {layer.height}{TIMES}{layer.width} windows"
        case spec.Pad():
            value = f" with {layer.value:g}" if layer.value else ""
            return f"pad {_padding_text(layer.padding)}{value}"
        case spec.Dense():
            return f"dense, {layer.units}"
        case spec.GroupNorm():
            return f"group norm, {layer.groups} groups"
        case spec.LocalResponseNorm():
            return f"response norm {layer.size}"
        case spec.Affine():
            return "coefficient, bias" if layer.beta else "coefficient"
        case spec.StochasticDepth():
            return f"stochastic depth {layer.rate:g}"
        case spec.Dropout():
            return f"dropout {layer.rate:g}"
        case spec.LeakyReLU():
            return f"leaky relu {layer.slope:g}"
        case spec.ELU():
            return f"elu {layer.alpha:g}"
        case spec.HardSigmoid():
            return f"hard sigmoid, slope {layer.slope:.3g}"
        case spec.GELU():
            return "gelu (tanh form)" if layer.approximate else "gelu"
        case spec.Scale():
            return f"{TIMES} {layer.factor:.4g}"
        case spec.Resize():
            positions = "" if layer.positions == "half_pixel" else f", {layer.positions.replace('_', ' ')}"
            return f"{layer.method} resize to {layer.height}{TIMES}{layer.width}{positions}"
        case spec.Select():
            return _select_text(layer, shape)
    return _NAMES.get(type(layer), layer.kind.lower())


def _conv_text(layer: spec.Conv, shape: Shape) -> str:
    depthwise = layer.groups == shape[0] > 1
    kind = "depthwise conv" if depthwise else "conv"
    groups = f", {layer.groups} groups" if layer.groups > 1 and not depthwise else ""
    window = f"{_stride(layer.stride)}{_padding(layer)}{_dilation(layer.dilation)}"
    return f"{kind} {_pair(layer.kernel)}, {layer.channels}{window}{groups}"


def _pool_text(layer: spec.MaxPool | spec.AvgPool) -> str:
    stride = "" if pair(layer.stride) == pair(layer.kernel) else f", stride {_stride_text(layer.stride)}"
    text = f"{_pair(layer.kernel)}{stride}{_padding(layer)}"
    if isinstance(layer, spec.MaxPool):
        return f"max {text}{_dilation(layer.dilation)}"
    rounded = ", rounded up" if layer.ceil else ""
    uncounted = ", padding not counted" if layer.padding != 0 and not layer.count_padding else ""
    return f"mean {text}{rounded}{uncounted}"


def _select_text(layer: spec.Select, shape: Shape) -> str:
    """Few maps one by one; a channel shuffle by its groups; else runs of maps, or their number if runs are many."""
    maps, runs = layer.maps, layer.runs
    if len(maps) <= MOST_LISTED:
        return f"maps {' '.join('zero' if number is None else str(number) for number in maps)}"
    if groups := _shuffled_groups(maps, shape[0]):
        return f"shuffle, {groups} groups"
    if len(runs) <= MOST_LISTED // 2:
        return f"maps {', '.join(_run_text(*run) for run in runs)}"
    zeros = maps.count(None)
    beside = f", {counted(zeros, 'zero')}" if zeros else ""
    return f"{len(maps) - zeros} maps of {shape[0]}{beside}, reordered"


def _run_text(begin: int | None, count: int) -> str:
    if begin is None:
        return counted(count, "zero")
    return str(begin) if count == 1 else f"{begin} to {begin + count - 1}"


def _shuffled_groups(maps: Sequence[int | None], channels: int) -> int:
    """The number of groups of which a shuffle takes one channel each in turn; 0 for other orders."""
    size = maps[1] if len(maps) > 1 else None
    if not size or size == 1 or len(maps) != channels or channels % size:
        return 0
    groups = channels // size
    shuffle = [group * size + place for place in range(size) for group in range(groups)]
    return groups if list(maps) == shuffle else 0


def shape_text(shape: Sequence[int]) -> str:
    """A shape with multiplication signs between the sizes."""
    return TIMES.join(map(str, shape))


def padding_text(padding: spec.Padding) -> str:
    """A padding as text: 2; 0x3 (vertical, horizontal); 0:1 (none at the top and left, 1 at the bottom and right)."""
    both = [f"{before}" if before == after else f"{before}:{after}" for before, after in sides(padding)]
    return "x".join(dict.fromkeys(both))


def _pair(value: spec.Pair) -> str:
    return shape_text(pair(value))


def _stride(stride: spec.Pair) -> str:
    return "" if pair(stride) == (1, 1) else f", stride {_stride_text(stride)}"


def _stride_text(stride: spec.Pair) -> str:
    down, across = pair(stride)
    return str(down) if down == across else _pair(stride)


def _padding(layer: spec.Conv | spec.MaxPool | spec.AvgPool) -> str:
    return "" if layer.padding == 0 else f", pad {_padding_text(layer.padding)}"


def _padding_text(padding: spec.Padding) -> str:
    return padding_text(padding).replace("x", TIMES)


def _dilation(dilation: spec.Pair) -> str:
    return "" if pair(dilation) == (1, 1) else f", dilation {_stride_text(dilation)}"
