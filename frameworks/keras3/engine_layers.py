"""Where Keras on JAX and on PyTorch computes a primitive otherwise than on TensorFlow."""

from __future__ import annotations

import numpy as np
from keras import KerasTensor, ops

from frameworks import spec
from frameworks.adapter import Builder, combined
from frameworks.keras3.layers import LAYERS, activation
from frameworks.keras3.layers import max_pool as max_pool_on_tensorflow
from frameworks.spec import Layer, Node, pair


def max_pool(node: Node, layer: spec.MaxPool, x: KerasTensor) -> KerasTensor:
    """With dilation, of equals the first takes the whole gradient; `ops.maximum` divides it on these engines."""
    if pair(layer.dilation) == (1, 1):
        return max_pool_on_tensorflow(node, layer, x)
    (down, right), (vertical, horizontal) = pair(layer.dilation), pair(layer.stride)
    _, height, width = node.output

    def place(row: int, column: int) -> KerasTensor:
        rows = slice(row * down, row * down + (height - 1) * vertical + 1, vertical)
        columns = slice(column * right, column * right + (width - 1) * horizontal + 1, horizontal)
        return x[:, rows, columns]

    def larger(one: KerasTensor, other: KerasTensor) -> KerasTensor:
        return ops.where(other > one, other, one)

    return combined(larger, [place(*each) for each in np.ndindex(pair(layer.kernel))])


ENGINE_LAYERS: dict[type[Layer], Builder] = {
    **LAYERS,
    spec.MaxPool: max_pool,
    # Not `ops.hard_sigmoid`: PyTorch's has a derivative of 1/6 in float32.
    spec.HardSigmoid: activation(lambda x, layer: ops.relu6(6 * layer.slope * x + 3) / 6),
}
