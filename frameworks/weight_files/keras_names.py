"""The names of Keras's .weights.h5, `layers/conv2d_3/vars/0`, for networks without branches."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from frameworks.arrays import Array, Weights
from frameworks.errors import WeightFileError
from frameworks.spec import (
    Add,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    Multiply,
    Network,
    Node,
    Residual,
    Select,
    Shape,
)
from frameworks.weight_files.converted import Converted

_KERAS = {Conv: "conv2d", Dense: "dense", BatchNorm: "batch_normalization"}
_BRANCHED = (Add, Concat, Multiply, Residual)


def converted(network: Network, arrays: Weights, about: Mapping[str, Any]) -> Converted:
    """The arrays as `canonical` gives them."""
    return Converted(canonical(network, arrays))


def canonical(network: Network, arrays: Weights) -> Weights:
    """The arrays under the network's canonical names and in canonical layout.

    Keras counts the layers of a kind in the order in which they were created. Raises WeightFileError where the file's
    layers are not the network's.
    """
    nodes = [node for _, node in network.walk()]
    if branched := next((node.path for node in nodes if isinstance(node.layer, _BRANCHED)), None):
        raise WeightFileError(
            f"{network.name} has branches at {branched}, and a file of Keras does not name the branches"
        )
    layers_of: dict[str, dict[int, list[Array]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(arrays, key=_numbers):
        if parts := re.fullmatch(r"layers/([a-z0-9_]+?)(?:_(\d+))?/vars/\d+", name):
            layers_of[parts[1]][int(parts[2] or 0)].append(arrays[name])
    weights: Weights = {}
    order: Array | None = None
    for node in nodes:
        if isinstance(node.layer, Flatten) and len(node.input) == 3:
            order = _flat_order(node.input)
        if isinstance(node.layer, Select) and order is not None:
            raise WeightFileError(f"{node.path} selects flat values, whose order in the file is not known")
        if not node.parameters:
            continue
        kind = _KERAS.get(type(node.layer), node.layer.kind.lower())
        if not layers_of[kind]:
            raise WeightFileError(f"it has fewer {kind} layers than {network.name}: none for {node.path}")
        layer = layers_of[kind].pop(min(layers_of[kind]))
        if len(layer) != len(node.parameters):
            raise WeightFileError(f"it has {len(layer)} arrays for {node.path}, which needs {len(node.parameters)}")
        weights |= _in_layout(node, layer, order)
        if isinstance(node.layer, Dense):
            order = None
    if left := [kind for kind, layers in layers_of.items() if layers]:
        raise WeightFileError(f"it has more layers than {network.name}: {', '.join(left)}")
    return weights


def _flat_order(shape: Shape) -> Array:
    """Where Keras has each value of a flattened C x H x W: it flattens H x W x C."""
    channels, *size = shape
    return np.arange(np.prod(shape)).reshape(*size, channels).transpose(2, 0, 1).ravel()


def _in_layout(node: Node, arrays: list[Array], order: Array | None) -> Weights:
    """A layer's arrays in canonical layout. order: of its input, where that is flattened (`_flat_order`)."""
    if isinstance(node.layer, Conv):
        arrays = [arrays[0].transpose(3, 2, 0, 1), *arrays[1:]]  # height, width, in, out
    elif isinstance(node.layer, Dense):
        arrays = [_reordered(node, arrays[0], order).T, *arrays[1:]]  # in, out
    else:
        arrays = [_reordered(node, array, order) for array in arrays]  # a value for each channel or flat value
    return {p.name: np.ascontiguousarray(array) for p, array in zip(node.parameters, arrays)}


def _reordered(node: Node, array: Array, order: Array | None) -> Array:
    """The rows of an array in the order of a flattened input; another length is another network's."""
    if order is None:
        return array
    if len(array) != len(order):
        raise WeightFileError(f"it has {len(array)} rows for {node.path}, which takes {len(order)} flat values")
    return array[order]


def _numbers(name: str) -> list[tuple[int, str]]:
    """For sorting: numbers in a name as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
