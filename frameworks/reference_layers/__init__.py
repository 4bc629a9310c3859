"""The layers of the NumPy reference, with which every framework is compared. Their speed does not matter.

Each layer is one function. It returns the output and a function that maps the gradient of the loss with respect to the
output (dy) to the gradients with respect to the input (dx) and the arrays. The docstrings give the formulas;
`tests/unit/test_reference.py` checks them against finite differences and against cases computed by hand. The modules
have the order of `frameworks/spec`.
"""

from __future__ import annotations

from collections.abc import Callable

from frameworks import spec
from frameworks.reference_layers import activations, joins, normalization, windowed
from frameworks.reference_layers.base import Result
from frameworks.spec import Layer

LAYERS: dict[type[Layer], Callable[..., Result]] = {
    spec.Conv: windowed.conv,
    spec.MaxPool: windowed.max_pool,
    spec.AvgPool: windowed.avg_pool,
    spec.GlobalAvgPool: windowed.global_avg_pool,
    spec.AdaptiveAvgPool: windowed.adaptive_avg_pool,
    spec.Pad: windowed.padded,
    spec.Dense: joins.dense,
    spec.BatchNorm: normalization.batch_norm,
    spec.LayerNorm: normalization.layer_norm,
    spec.GroupNorm: normalization.group_norm,
    spec.InstanceNorm: normalization.group_norm,
    spec.Affine: normalization.affine,
    spec.LocalResponseNorm: normalization.local_response_norm,
    spec.Dropout: joins.passed_on,
    spec.StochasticDepth: joins.passed_on,
    spec.ReLU: activations.relu,
    spec.ReLU6: activations.relu6,
    spec.LeakyReLU: activations.leaky_relu,
    spec.PReLU: activations.prelu,
    spec.ELU: activations.elu,
    spec.SELU: activations.selu,
    spec.Sigmoid: activations.sigmoid,
    spec.HardSigmoid: activations.hard_sigmoid,
    spec.Tanh: activations.tanh,
    spec.SiLU: activations.silu,
    spec.HardSwish: activations.hard_swish,
    spec.GELU: activations.gelu,
    spec.Softplus: activations.softplus,
    spec.Mish: activations.mish,
    spec.Flatten: joins.flatten,
    spec.Scale: normalization.scale,
    spec.Normalize: normalization.normalize,
    spec.Resize: joins.resize,
    spec.Select: joins.select,
    spec.Concat: joins.concat,
    spec.Add: joins.add,
    spec.Multiply: joins.multiply,
    spec.Residual: joins.add,
    spec.Auxiliary: joins.passed_on,
}
