"""The spec of a network: layers, and the network that they form.

Standard library and NumPy only. `layers` and the modules that it lists have one class for each kind of layer, `network`
places them and computes shapes, parameters and multiply-adds, `lowering` splits them into the primitives that adapters
build, `serialization` turns a network into JSON and back. Where a paper prints a layer's output, `out=` gives it and it
is checked:

>>> Network("lenet", (1, 28, 28), [Conv("C1", 6, 5, out=(6, 28, 28))])
Traceback (most recent call last):
frameworks.spec.base.SpecError: lenet.C1: 1x28x28 gives 6x24x24, the paper says 6x28x28
"""

from __future__ import annotations

from frameworks.spec.activations import (
    ELU,
    GELU,
    SELU,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from frameworks.spec.base import Layer, Padding, Pair, Parameter, Shape, Sides, SpecError, pair, sides, times
from frameworks.spec.joins import Add, Auxiliary, Concat, Multiply, Residual
from frameworks.spec.layers import Dense, Dropout, Flatten, Resize, Select, StochasticDepth
from frameworks.spec.network import Network, Node
from frameworks.spec.normalization import (
    Affine,
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LocalResponseNorm,
    Normalize,
    Scale,
)
from frameworks.spec.serialization import from_json, to_json
from frameworks.spec.windowed import AdaptiveAvgPool, AvgPool, Conv, GlobalAvgPool, MaxPool, Pad, Pool, same

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "AdaptiveAvgPool",
    "Add",
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
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LocalResponseNorm",
    "MaxPool",
    "Mish",
    "Multiply",
    "Network",
    "Node",
    "Normalize",
    "PReLU",
    "Pad",
    "Padding",
    "Pair",
    "Parameter",
    "Pool",
    "ReLU",
    "ReLU6",
    "Residual",
    "Resize",
    "Scale",
    "Select",
    "Shape",
    "SiLU",
    "Sides",
    "Sigmoid",
    "Softplus",
    "SpecError",
    "StochasticDepth",
    "Tanh",
    "from_json",
    "pair",
    "same",
    "sides",
    "times",
    "to_json",
]
