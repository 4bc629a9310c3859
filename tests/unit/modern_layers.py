"""Networks of one layer of each modern kind, and finite differences."""

from __future__ import annotations

import numpy as np

from frameworks.arrays import Array
from frameworks.numpy_reference import Reference
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
    Add,
    Affine,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool,
    Mish,
    Multiply,
    Network,
    Pad,
    PReLU,
    ReLU6,
    Resize,
    Scale,
    Select,
    Sigmoid,
    SiLU,
    Softplus,
    StochasticDepth,
    Tanh,
)  # fmt: skip

TOLERANCE = 2e-9  # of a finite difference


def alone(layer: Layer, *shape: int) -> Network:
    """The layer, followed by a dense layer, so that its outputs have gradients of either sign and various sizes."""
    flat = [] if len(shape) == 1 else [Flatten()]
    return Network("alone", shape, [layer, *flat, Dense("fc", 3)])


def apart(shape: tuple[int, ...]) -> Array:
    """Values between -1.5 and 1.5 in random order, at least 3 / size apart, and half of that away from 0."""
    size = int(np.prod(shape))
    return (np.random.default_rng(0).permutation(size).reshape(shape) + 0.5) * 3 / size - 1.5


def gradient_and_differences(reference: Reference, images: Array, labels: Array, name: str) -> tuple[Array, Array]:
    """The gradient of the loss by an array or by `input`, and its central differences."""
    weights = reference.get_weights()
    moving = images if name == "input" else weights[name]
    gradient = reference.gradients(images, labels)[1][name]

    # (f(x + h) - f(x - h)) / 2h is off by h^2 / 6 times the third derivative, here 2e-11, and by f's rounding over h,
    # here 2^-53 / 1e-5 = 1e-11 for each of some tens of roundings; `TOLERANCE` allows third derivatives of
    # 100. A kink of ReLU or a change of the largest in a window within h would be off by the size of the gradient.
    h = 1e-5
    differences = np.zeros_like(moving)
    for place in np.ndindex(moving.shape):
        value, losses = moving[place], []
        for step in (h, -h):
            moving[place] = value + step
            reference.set_weights(weights)
            losses.append(reference.gradients(images, labels)[0])
        moving[place] = value
        differences[place] = (losses[0] - losses[1]) / (2 * h)
    return gradient, differences


MODERN = {
    "conv_dilated": alone(Conv("C", 3, 3, 1, 2, dilation=2), 2, 6, 5),
    "conv_dilated_strided": alone(Conv("C", 4, (3, 2), 2, ((1, 2), (0, 1)), groups=2, dilation=(2, 3)), 2, 7, 6),
    "max_pool_dilated": alone(MaxPool("P", 2, 2, 1, dilation=2), 2, 6, 5),
    "avg_pool_ceil": alone(AvgPool("P", 3, 2, 1, ceil=True), 2, 6, 5),
    "avg_pool_ceil_uncounted": alone(AvgPool("P", 3, 2, 1, count_padding=False, ceil=True), 2, 6, 5),
    "adaptive_avg_pool": alone(AdaptiveAvgPool("P", 3, 2), 2, 5, 5),
    "adaptive_avg_pool_enlarges": alone(AdaptiveAvgPool("P", 4, 5), 1, 3, 3),
    "pad": alone(Pad("P", ((1, 0), (0, 2)), 0.5), 2, 3, 3),
    "layer_norm": alone(LayerNorm("N"), 4, 2, 3),
    "layer_norm_flat": alone(LayerNorm("N", eps=0.1, gamma=False), 6),
    "group_norm": alone(GroupNorm("N", 2), 4, 2, 3),
    "group_norm_one_group": alone(GroupNorm("N", 1, beta=False), 3, 2, 2),
    "instance_norm": alone(InstanceNorm("N"), 2, 3, 3),
    "affine_without_beta": alone(Affine("A", beta=False), 3, 2, 2),
    "stochastic_depth": alone(StochasticDepth(rate=0.3), 2, 3, 3),
    "relu6": alone(ReLU6(), 2, 3, 3),
    "relu6_and_its_upper_end": Network(
        "beyond", (2, 3, 3), [ReLU6(), Scale(factor=6.0), ReLU6(), Flatten(), Dense("fc", 3)]
    ),
    "hard_swish_beyond_both_ends": Network(
        "beyond", (2, 3, 3), [HardSwish(), Scale(factor=4.0), HardSwish(), Flatten(), Dense("fc", 3)]
    ),
    "leaky_relu": alone(LeakyReLU(slope=0.3), 2, 3, 3),
    "prelu": alone(PReLU("A"), 3, 2, 3),
    "prelu_flat": alone(PReLU("A"), 6),
    "elu": alone(ELU(alpha=0.7), 2, 3, 3),
    "selu": alone(SELU(), 2, 3, 3),
    "hard_sigmoid": alone(HardSigmoid(), 2, 3, 3),
    "hard_sigmoid_0.5": alone(HardSigmoid(slope=0.5), 2, 3, 3),  # of which both ends are within the values
    "silu": alone(SiLU(), 2, 3, 3),
    "hard_swish": alone(HardSwish(), 2, 3, 3),
    "gelu": alone(GELU(), 2, 3, 3),
    "gelu_tanh": alone(GELU(approximate=True), 2, 3, 3),
    "softplus": alone(Softplus(), 2, 3, 3),
    "mish": alone(Mish(), 2, 3, 3),
    **{
        f"resize_{method}_{positions}": alone(Resize("R", 5, 2, method, positions), 2, 3, 4)
        for method in ("linear", "nearest")
        for positions in ("half_pixel", "aligned_corners", "asymmetric")
    },
    "select_with_zeros": alone(Select("S", (2, None, 0)), 3, 2, 2),
    "add": alone(Add("J", [[], [Conv("a", 2, 1)], [Tanh()]]), 2, 2, 3),
    "add_one": alone(Add("J", [[Conv("a", 2, 1)]]), 2, 2, 3),
    "multiply": alone(Multiply("J", [[Conv("a", 2, 1)], [], [Sigmoid()]]), 2, 2, 3),
    "multiply_by_channel": alone(Multiply("J", [[], [GlobalAvgPool(), Conv("a", 3, 1), Sigmoid()]]), 3, 2, 2),
    "multiply_flat": alone(Multiply("J", [[Dense("a", 4)], [Sigmoid()]]), 4),
}
