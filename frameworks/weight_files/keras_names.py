"""The names of Keras's .weights.h5, `layers/conv2d_3/vars/0`, for networks without branches."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from frameworks.arrays import Array, Weights
from frameworks.errors import WeightFileError
from frameworks.spec import BatchNorm, Concat, Conv, Dense, Flatten, Network, Node, Residual

_KERAS = {Conv: "conv2d", Dense: "dense", BatchNorm: "batch_normalization"}


def canonical(network: Network, arrays: Weights) -> Weights:
    """The arrays under the network's canonical names and in canonical layout.

    Keras counts the layers of a kind in the order in which they were created. Raises WeightFileError where the file's
    layers are not the network's.
    """
    nodes = [node for _, node in network.walk()]
    if branched := next((node.path for node in nodes if isinstance(node.layer, (Concat, Residual))), None):
        raise WeightFileError(
            f"{network.name} has branches at {branched}, and a file of Keras does not name the branches"
        )
    layers_of: dict[str, dict[int, list[Array]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(arrays, key=_numbers):
        if parts := re.fullmatch(r"layers/([a-z0-9_]+?)(?:_(\d+))?/vars/\d+", name):
            layers_of[parts[1]][int(parts[2] or 0)].append(arrays[name])
    weights: Weights = {}
    flattened: tuple[int, ...] | None = None
    for node in nodes:
        if isinstance(node.layer, Flatten):
            flattened = node.input
        if not node.parameters:
            continue
        kind = _KERAS.get(type(node.layer), node.layer.kind)
        if not layers_of[kind]:
            raise WeightFileError(f"it has fewer {kind} layers than {network.name}: none for {node.path}")
        weights |= _in_layout(node, layers_of[kind].pop(min(layers_of[kind])), flattened)
        flattened = None if isinstance(node.layer, Dense) else flattened
    if left := [kind for kind, layers in layers_of.items() if layers]:
        raise WeightFileError(f"it has more layers than {network.name}: {', '.join(left)}")
    return weights


def _in_layout(node: Node, arrays: list[Array], flattened: tuple[int, ...] | None) -> Weights:
    """A layer's arrays in canonical layout. flattened: C x H x W of what a dense layer takes flat, in Keras H, W, C."""
    kernel, *others = arrays
    if isinstance(node.layer, Conv):
        kernel = kernel.transpose(3, 2, 0, 1)  # height, width, in, out
    elif isinstance(node.layer, Dense):
        if flattened and len(flattened) == 3 and len(kernel) == np.prod(flattened):
            channels, *size = flattened
            kernel = kernel.reshape(*size, channels, -1).transpose(2, 0, 1, 3).reshape(len(kernel), -1)
        kernel = kernel.T
    return {p.name: np.ascontiguousarray(array) for p, array in zip(node.parameters, [kernel, *others])}


def _numbers(name: str) -> list[tuple[int, str]]:
    """For sorting: numbers in a name as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
