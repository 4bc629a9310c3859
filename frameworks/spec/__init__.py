"""The spec of a network: layers, and the network that they form.

Standard library and NumPy only. `layers` has one class for each kind of layer, `network` places them and computes
shapes, parameters and multiply-adds, `lowering` splits them into the primitives that adapters build, `serialization`
turns a network into JSON and back. Where a paper prints a layer's output, `out=` gives it and it is checked:

>>> Network("lenet", (1, 28, 28), [Conv("C1", 6, 5, out=(6, 28, 28))])
Traceback (most recent call last):
frameworks.spec.layers.SpecError: lenet.C1: 1x28x28 gives 6x24x24, the paper says 6x28x28
"""

from __future__ import annotations

from frameworks.spec.layers import (
    Affine,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Normalize,
    Padding,
    Pair,
    Parameter,
    Pool,
    ReLU,
    Residual,
    Resize,
    Scale,
    Select,
    Shape,
    Sides,
    Sigmoid,
    SpecError,
    Tanh,
    pair,
    sides,
    times,
)
from frameworks.spec.network import Network, Node
from frameworks.spec.serialization import from_json, to_json

__all__ = [
    "Affine",
    "Auxiliary",
    "AvgPool",
    "BatchNorm",
    "Concat",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Layer",
    "LocalResponseNorm",
    "MaxPool",
    "Network",
    "Node",
    "Normalize",
    "Padding",
    "Pair",
    "Parameter",
    "Pool",
    "ReLU",
    "Residual",
    "Resize",
    "Scale",
    "Select",
    "Shape",
    "Sides",
    "Sigmoid",
    "SpecError",
    "Tanh",
    "from_json",
    "pair",
    "sides",
    "times",
    "to_json",
]
