"""A layer in a few words, as network diagrams and tables show it."""

from __future__ import annotations

from collections.abc import Sequence

from frameworks import spec
from frameworks.spec import Layer, pair, sides

TIMES = "\N{MULTIPLICATION SIGN}"


def layer_text(layer: Layer) -> str:
    """A layer's kind and arguments: `conv 5x5, 6, pad 2` with a multiplication sign."""
    match layer:
        case spec.Conv():
            groups = f", {layer.groups} groups" if layer.groups > 1 else ""
            return f"conv {_pair(layer.kernel)}, {layer.channels}{_stride(layer.stride)}{_padding(layer)}{groups}"
        case spec.MaxPool() | spec.AvgPool():
            kind = "max" if isinstance(layer, spec.MaxPool) else "mean"
            stride = "" if pair(layer.stride) == pair(layer.kernel) else f", stride {_stride_text(layer.stride)}"
            return f"{kind} {_pair(layer.kernel)}{stride}{_padding(layer)}"
        case spec.GlobalAvgPool():
            return "mean of each map"
        case spec.Dense():
            return f"dense, {layer.units}"
        case spec.BatchNorm():
            return "batch norm"
        case spec.LocalResponseNorm():
            return f"response norm {layer.size}"
        case spec.Affine():
            return "coefficient, bias"
        case spec.Dropout():
            return f"dropout {layer.rate:g}"
        case spec.Scale():
            return f"{TIMES} {layer.factor:.4g}"
        case spec.Resize():
            return f"resize to {layer.height}{TIMES}{layer.width}"
        case spec.Select():
            return f"maps {' '.join(map(str, layer.maps))}"
    return layer.kind.lower()


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
    return "" if layer.padding == 0 else f", pad {padding_text(layer.padding).replace('x', TIMES)}"
