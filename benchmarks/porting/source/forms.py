"""Layers as forms and values: the same for every framework."""

from __future__ import annotations

from typing import Any

from benchmarks.porting.source.program import SourceTarget, collapsed, padding_of, rounded_up, select_form
from frameworks.spec import (
    AvgPool,
    BatchNorm,
    Conv,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    MaxPool,
    Node,
    Pad,
    Resize,
    Select,
    Tanh,
    pair,
)

# A helper of the sources, for frameworks whose interpolation is not that of the spec or has its weights in float32.
RESIZE_WEIGHTS = '''
def resize_weights(size, to, method, positions):
    """The matrix, to x size, that interpolates one axis: row i has the weights of the pixels at the position of i."""
    position = np.arange(to)
    if positions == "half_pixel":
        position = (position + 0.5) * size / to - 0.5
    elif positions == "aligned_corners":
        position = position * (size - 1) / max(to - 1, 1)
    else:  # "asymmetric"
        position = position * size / to
    if method == "nearest":
        position = np.floor(position if positions == "asymmetric" else position + 0.5)
    position = np.clip(position, 0, size - 1)
    return np.maximum(1 - np.abs(position[:, None] - np.arange(size)), 0)
'''


def described(target: SourceTarget, layer: Layer, node: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The form of a layer, which distinguishes two kinds of code, and the values that may be arguments.

    Raises `Lacking`.
    """
    inputs, flat = node.input[0], len(node.input) == 1
    form: tuple[Any, ...] = ()
    values: dict[str, Any] = {}
    match layer.kind:
        case "Conv":
            assert isinstance(layer, Conv)
            form = (layer.bias,)
            values = {"inputs": inputs, "outputs": layer.channels, "kernel": collapsed(layer.kernel)}
            values |= {"stride": collapsed(layer.stride), "padding": padding_of(layer)}
            values |= {"dilation": collapsed(layer.dilation), "groups": layer.groups}
        case "Dense":
            form = (layer.bias,)  # type: ignore[attr-defined]
            values = {"inputs": inputs, "outputs": layer.units}  # type: ignore[attr-defined]
        case "MaxPool":
            assert isinstance(layer, MaxPool)
            form = (rounded_up(layer, node),)
            values = {"kernel": collapsed(layer.kernel), "stride": collapsed(layer.stride)}
            values |= {"padding": padding_of(layer), "dilation": collapsed(layer.dilation)}
        case "AvgPool":
            assert isinstance(layer, AvgPool)
            padding = padding_of(layer)
            form = (rounded_up(layer, node), layer.count_padding or padding == 0)
            values = {"kernel": collapsed(layer.kernel), "stride": collapsed(layer.stride), "padding": padding}
        case "AdaptiveAvgPool":
            values = {"size": collapsed((layer.height, layer.width))}  # type: ignore[attr-defined]
        case "BatchNorm":
            assert isinstance(layer, BatchNorm)
            form = (flat, layer.gamma, layer.beta)
            values = {"channels": inputs, "eps": layer.eps, "momentum": layer.momentum}
        case "LayerNorm" | "GroupNorm" | "InstanceNorm":
            assert isinstance(layer, (LayerNorm, GroupNorm, InstanceNorm))
            form = (flat, layer.gamma, layer.beta)
            values = {"channels": inputs, "eps": layer.eps}
            values |= {"groups": layer.groups} if isinstance(layer, GroupNorm) else {}
        case "Affine":
            form = (flat, layer.beta)  # type: ignore[attr-defined]
            values = {"channels": inputs}
        case "PReLU":
            values = {"channels": inputs}
        case "LocalResponseNorm":
            values = {name: getattr(layer, name) for name in ("size", "alpha", "beta", "k")}
        case "Dropout" | "StochasticDepth":
            values = {"rate": layer.rate}  # type: ignore[attr-defined]
        case "LeakyReLU" | "HardSigmoid":
            values = {"slope": layer.slope}  # type: ignore[attr-defined]
        case "ELU":
            values = {"alpha": layer.alpha}  # type: ignore[attr-defined]
        case "GELU":
            form = (layer.approximate,)  # type: ignore[attr-defined]
        case "Tanh":
            assert isinstance(layer, Tanh)
            values = {"amplitude": layer.amplitude, "slope": layer.slope}
        case "Flatten":
            form = (flat, node.input[1:] == (1, 1))
        case "Scale":
            values = {"factor": layer.factor}  # type: ignore[attr-defined]
        case "Normalize":
            values = {"mean": layer.mean, "std": layer.std}  # type: ignore[attr-defined]
        case "Pad":
            assert isinstance(layer, Pad)
            form = (layer.padding, layer.value)
        case "Select":
            assert isinstance(layer, Select)
            kind, values = select_form(layer, inputs)
            if kind == "shuffle" and flat:  # the frameworks' functions shuffle images
                kind, values = "list", {"maps": layer.maps}
            # Without an end, a slice takes all: no argument of a block can say so.
            form = (kind, flat, *([values["end"] is None] if "end" in values else []))
        case "Resize":
            assert isinstance(layer, Resize)
            form = (layer.method, layer.positions)
            values = {"size": (layer.height, layer.width)}
    return form, values


def dilated(layer: Layer) -> bool:
    """Whether a layer is a maximum over windows with gaps."""
    return isinstance(layer, MaxPool) and pair(layer.dilation) != (1, 1)


def repetitions(layer: Layer, node: Node) -> tuple[int, int] | None:
    """How often a resize repeats each row and each column, if it does nothing else."""
    if not isinstance(layer, Resize) or layer.method != "nearest" or layer.positions == "aligned_corners":
        return None
    (_, height, width), (_, rows, columns) = node.output, node.input
    if height % rows or width % columns:
        return None
    return height // rows, width // columns
